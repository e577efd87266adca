//! AALARM, DALARM, MALARM and PALARM as VALARM, and VALARMs that came inside a vCalendar object.

use std::collections::HashSet;

use super::part::{Kind, Part};
use super::times::{self, Form, When};
use super::values::{self, Attached};
use super::{Done, Job, Reader, Restored, Why, lines, people};
use crate::calendar::event::Format;
use crate::calendar::property::Content;
use crate::calendar::text;
use crate::calendar::time::{self, Span, Stamp};
use crate::calendar::writer::Writer;

/// A length of time in iCalendar: `PT15M`, `P1DT2H`, `P2W`.
pub(super) fn duration(span: Span) -> String {
    let (days, rest) = (span.days.unsigned_abs(), span.seconds.unsigned_abs());
    let mut out = String::from(if span.total() < 0 { "-P" } else { "P" });
    if days > 0 && rest == 0 && days.is_multiple_of(7) {
        return format!("{out}{}W", days / 7);
    }
    if days > 0 {
        out.push_str(&format!("{days}D"));
    }
    if rest > 0 || days == 0 {
        out.push('T');
        for (n, unit) in [(rest / 3600, 'H'), (rest / 60 % 60, 'M'), (rest % 60, 'S')] {
            if n > 0 || unit == 'S' && rest == 0 {
                out.push_str(&format!("{n}{unit}"));
            }
        }
    }
    out
}

impl Job<'_> {
    pub(super) fn alarm(&mut self, part: &Part<'_>, content: &Content) {
        let raw = text::raw(content);
        let parts: Vec<&str> = text::split_list(&raw, &[';']);
        if parts.iter().all(|p| p.trim().is_empty()) {
            return;
        }
        if content.param(lines::OF_ICALENDAR).is_some() && part.carried_alarms.contains(&*content.name) {
            // It stands for the one that is carried.
            return;
        }
        let acts = matches!(content.name.as_str(), "MALARM" | "PALARM");
        if acts && self.reader == Reader::MailProgram {
            return self.losses.push(&content.name, &raw, Why::NoCounterpart, Done::LeftOut);
        }
        // A date alone is its first minute.
        let run = When::parse(parts[0], content).map(|w| When { stamp: Stamp { has_time: true, ..w.stamp }, ..w });
        let Some(run) = run else { return self.carry_here(content, Why::Unreadable) };
        let trigger = self.trigger(part, content, &run);
        let lead = if content.name == "MALARM" { 5 } else { 4 };
        // What follows the last semicolon of the grammar belongs to the text.
        let rest = parts.iter().skip(lead - 1).map(|p| text::unescape(p, true)).collect::<Vec<_>>().join(";");
        let mut lines = vec!["BEGIN:VALARM".to_owned(), trigger];
        match content.name.as_str() {
            "DALARM" => display(&mut lines, part, &rest),
            "MALARM" => {
                let address = text::unescape(parts.get(3).map_or("", |p| p.trim()), false);
                let Some(address) = people::alarm_address(&address) else { return self.carry_here(content, Why::Unreadable) };
                mail(&mut lines, part, &rest, &address);
            }
            name => {
                let action = if name == "AALARM" { "ACTION:AUDIO" } else { "ACTION:PROCEDURE" };
                lines.push(action.to_owned());
                if !self.sound(&mut lines, content, rest.trim()) && name == "PALARM" {
                    return self.carry_here(content, Why::Unreadable);
                }
            }
        }
        self.repeat(&mut lines, content, parts.get(1).map_or("", |p| p.trim()), parts.get(2).map_or("", |p| p.trim()));
        lines.push("END:VALARM".to_owned());
        self.add_alarm(&lines);
    }

    /// An absolute trigger where the event happens once and the instant is known, else the distance from its start.
    fn trigger(&mut self, part: &Part<'_>, content: &Content, run: &When) -> String {
        // A time without zone beside a start that has one is meant in the same.
        let known = times::instant(run, &self.zones).filter(|_| part.anchor().is_none() || !part.form.floats(run, &self.zones));
        let instant = known.or_else(|| {
            let zoned = part.anchor().is_some() && matches!(part.form, Form::Utc | Form::Zone { .. });
            zoned.then(|| part.form.to_utc(part.form.wall(run, &self.zones), &self.zones))
        });
        if !part.recurring
            && let Some(utc) = instant
        {
            return format!("TRIGGER;VALUE=DATE-TIME:{}Z", time::basic_local(utc));
        }
        let Some(anchor) = part.anchor() else {
            let at = time::basic_local(run.stamp.local());
            self.losses.push(&content.name, &text::raw(content), Why::Zone, Done::Approximated(format!("{at}Z")));
            return format!("TRIGGER;VALUE=DATE-TIME:{at}Z");
        };
        let distance = part.form.distance(anchor, run, &self.zones);
        let related = if part.start.is_none() && part.kind == Kind::Todo { ";RELATED=END" } else { "" };
        format!("TRIGGER{related}:{}", duration(distance))
    }

    /// DURATION and REPEAT, both or none.
    fn repeat(&mut self, lines: &mut Vec<String>, content: &Content, snooze: &str, count: &str) {
        let (pause, times) = (time::span(snooze).filter(|s| s.total() > 0), count.parse::<u32>().ok());
        match (pause, times) {
            (Some(pause), Some(times)) if times > 0 => {
                lines.push(format!("DURATION:{}", duration(pause)));
                lines.push(format!("REPEAT:{}", times.min(10_000)));
            }
            _ if snooze.is_empty() && (count.is_empty() || times.is_some_and(|n| n <= 1)) => {}
            _ if times == Some(0) => {}
            _ => {
                let done = Done::Approximated("an alarm that does not repeat".to_owned());
                self.losses.push(&content.name, &format!("{snooze};{count}"), Why::Contradiction, done);
            }
        }
    }

    /// The ATTACH of a sound or program; false where there is none.
    fn sound(&mut self, lines: &mut Vec<String>, content: &Content, value: &str) -> bool {
        let kind = content.params.iter().find(|p| p.name == "TYPE" || p.name == "FMTTYPE").map(|p| p.value.to_ascii_uppercase());
        let kind = match kind.as_deref() {
            Some("WAVE" | "WAV") => ";FMTTYPE=audio/wav".to_owned(),
            Some("PCM") => ";FMTTYPE=audio/basic".to_owned(),
            Some("AIFF") => ";FMTTYPE=audio/aiff".to_owned(),
            Some(other) if other.contains('/') => format!(";FMTTYPE={}", values::param_value(&other.to_ascii_lowercase())),
            _ => String::new(),
        };
        if value.is_empty() {
            return false;
        }
        // Of an alarm, the transfer encoding holds for the whole value and is undone already.
        let params: Vec<_> =
            content.params.iter().filter(|p| p.name == "VALUE" && !p.value.eq_ignore_ascii_case("INLINE")).cloned().collect();
        match values::attached(&params, value.as_bytes(), value) {
            Some(Attached::Uri(uri)) => lines.push(format!("ATTACH{kind}:{uri}")),
            Some(Attached::File(uri)) => {
                self.losses.push(&content.name, value, Why::NoCounterpart, Done::Approximated(uri.clone()));
                lines.push(format!("ATTACH{kind}:{uri}"));
            }
            Some(Attached::Binary(..)) | None if self.reader == Reader::Anybody && content.name == "AALARM" => {
                let params = values::params(content);
                self.losses.push(&content.name, value, Why::NoCounterpart, Done::Carried(lines::CONTENT.to_owned()));
                lines.push(format!("{}{params}:{}", lines::CONTENT, text::escape(value)));
            }
            Some(Attached::Binary(..)) | None => {
                self.losses.push(&content.name, value, Why::NoCounterpart, Done::LeftOut);
                return false;
            }
        }
        true
    }

    /// A VALARM inside a vCalendar object; without TRIGGER and ACTION it is none.
    pub(super) fn alarm_component(&mut self, place: usize) {
        let document = self.document;
        let value = |name: &str| document.lines_of(place).find(|(_, l)| &*l.name == name).map(|(_, l)| document.raw(l));
        let (Some(_), Some(action)) = (value("TRIGGER"), value("ACTION")) else {
            return self.losses.push("VALARM", "", Why::Unreadable, Done::LeftOut);
        };
        let acts = matches!(action.trim().to_ascii_uppercase().as_str(), "EMAIL" | "PROCEDURE");
        if acts && self.reader == Reader::MailProgram {
            return self.losses.push("VALARM", &action, Why::NoCounterpart, Done::LeftOut);
        }
        let body = std::mem::take(&mut self.body);
        self.copy(place);
        self.alarms.push(std::mem::replace(&mut self.body, body).octets);
    }

    pub(super) fn add_alarm(&mut self, lines: &[String]) {
        let mut alarm = Writer::default();
        for line in lines {
            alarm.line(line);
        }
        self.alarms.push(alarm.octets);
    }

    /// Alarms stand after all properties (RFC 5545 3.6.1), in an order of their own: vCalendar does not keep any.
    pub(super) fn write_alarms(&mut self) {
        let action = |alarm: &Vec<u8>| alarm.split(|b| *b == b'\n').find(|l| l.starts_with(b"ACTION")).map(<[u8]>::to_vec);
        self.alarms.sort_by_cached_key(|alarm| (action(alarm), alarm.clone()));
        for alarm in self.alarms.drain(..) {
            self.body.octets.extend_from_slice(&alarm);
        }
    }
}

/// The lines of an alarm in a carrier.
pub(super) fn carried(content: &Content) -> Option<Vec<String>> {
    match lines::restored(&text::readable(content, Format::VCalendar), lines::Place::Event) {
        Some(Restored::Alarm(lines)) => Some(lines),
        _ => None,
    }
}

/// The properties of vCalendar that are nearest to the alarms in carriers.
pub(super) fn carried_kinds(contents: &[Content]) -> HashSet<&'static str> {
    // Only a line that says so stands for one.
    if !contents.iter().any(|c| c.param(lines::OF_ICALENDAR).is_some()) {
        return HashSet::new();
    }
    contents.iter().filter(|c| c.name == lines::OF_ICALENDAR).filter_map(|c| kind(&carried(c)?)).collect()
}

/// The property of vCalendar that is nearest to an alarm.
fn kind(alarm: &[String]) -> Option<&'static str> {
    let (_, action) = alarm.iter().filter(|l| lines::name(l).as_deref() == Some("ACTION")).find_map(|l| l.split_once(':'))?;
    Some(match action.trim().to_ascii_uppercase().as_str() {
        "AUDIO" => "AALARM",
        "DISPLAY" => "DALARM",
        "EMAIL" => "MALARM",
        "PROCEDURE" => "PALARM",
        _ => return None,
    })
}

/// What an alarm says where it says nothing itself.
fn subject<'p>(part: &'p Part<'_>) -> &'p str {
    part.summary.as_deref().filter(|s| !s.is_empty()).unwrap_or("Reminder")
}

fn display(lines: &mut Vec<String>, part: &Part<'_>, words: &str) {
    let words = if words.trim().is_empty() { subject(part) } else { words };
    lines.push("ACTION:DISPLAY".to_owned());
    lines.push(format!("DESCRIPTION:{}", text::escape(words)));
}

fn mail(lines: &mut Vec<String>, part: &Part<'_>, note: &str, address: &str) {
    lines.push("ACTION:EMAIL".to_owned());
    lines.push(format!("ATTENDEE:{address}"));
    lines.push(format!("SUMMARY:{}", text::escape(subject(part))));
    lines.push(format!("DESCRIPTION:{}", text::escape(if note.trim().is_empty() { subject(part) } else { note })));
}
