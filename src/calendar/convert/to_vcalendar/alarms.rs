//! VALARM said as DALARM, AALARM, MALARM and PALARM: the first of each kind, with the time at which it runs for the
//! event's first date. What that cannot say is carried whole.

use std::collections::HashSet;

use super::super::lines;
use super::times::{Clock, shifted};
use super::{Done, Job, Part, Why, as_text};
use crate::calendar::event::{Format, Moment};
use crate::calendar::people;
use crate::calendar::property::Content;
use crate::calendar::{text, time};

/// One VALARM.
struct Alarm<'a> {
    lines: Vec<Content<'a>>,
    /// DALARM and so on; `None`: a kind that vCalendar does not have.
    kind: Option<&'static str>,
}

impl<'a> Alarm<'a> {
    fn find(&self, name: &str) -> Option<&Content<'a>> {
        self.lines.iter().find(|c| c.name == name)
    }

    fn value(&self, name: &str) -> Option<String> {
        self.find(name).map(|c| text::raw(c).trim().to_owned()).filter(|v| !v.is_empty())
    }

    fn words(&self, name: &str) -> String {
        self.find(name).map(|c| text::readable(c, Format::ICalendar)).unwrap_or_default()
    }

    fn whole(&self) -> String {
        let mut out = String::from("BEGIN:VALARM");
        for content in &self.lines {
            out.push('\n');
            out.push_str(&as_text(content));
        }
        out.push_str("\nEND:VALARM");
        out
    }

    /// The line of vCalendar says all that it says.
    fn is_simple(&self) -> bool {
        let own: &[&str] = match self.kind {
            Some("DALARM") => &["DESCRIPTION"],
            Some(_) if self.find(lines::CONTENT).is_some() => &[lines::CONTENT],
            Some("AALARM" | "PALARM") => &["ATTACH"],
            _ => return false,
        };
        let once: HashSet<&str> = self.lines.iter().map(|c| c.name.as_str()).collect();
        let plain = |c: &Content| match c.name.as_str() {
            "ACTION" | "DURATION" | "REPEAT" => c.params.is_empty(),
            "TRIGGER" => c.params.iter().all(|p| matches!(p.name.as_str(), "VALUE" | "RELATED")),
            lines::CONTENT => true,
            "ATTACH" => c.params.iter().all(|p| p.name == "FMTTYPE" && sound_type(&p.value).is_some()),
            name => own.contains(&name) && c.params.is_empty(),
        };
        // A DALARM without words comes back with the event's.
        let said = self.kind != Some("DALARM") || !self.words("DESCRIPTION").is_empty();
        said && once.len() == self.lines.len()
            && self.lines.iter().all(plain)
            && (self.kind == Some("AALARM") || own.iter().all(|n| once.contains(n)))
    }
}

impl Job<'_> {
    pub(super) fn write_alarms(&mut self, part: &Part, clock: &Clock) {
        let document = self.document;
        let mut kinds: HashSet<&'static str> = HashSet::new();
        let mut end = None;
        for (place, component) in document.components.iter().enumerate().skip(part.place + 1) {
            if component.lines.start >= document.components[part.place].lines.end {
                break;
            }
            if component.parent != part.place || super::is_event(&component.name) {
                continue;
            }
            if component.name != "VALARM" {
                self.losses.push(&component.name, "", Why::NoCounterpart, Done::LeftOut);
                continue;
            }
            let lines: Vec<Content> = document.lines_of(place).map(|(_, l)| document.content(l)).filter(|c| !c.name.is_empty()).collect();
            let action = lines.iter().find(|c| c.name == "ACTION").map(text::raw).unwrap_or_default();
            let kind = match action.trim().to_ascii_uppercase().as_str() {
                "DISPLAY" => Some("DALARM"),
                "AUDIO" => Some("AALARM"),
                "EMAIL" => Some("MALARM"),
                "PROCEDURE" => Some("PALARM"),
                _ => None,
            };
            let alarm = Alarm { lines, kind };
            // What stands in a component follows it.
            let nested = document.components.get(place + 1).is_some_and(|c| c.parent == place);
            let end = end.get_or_insert_with(|| self.ends(part)).clone();
            self.alarm(part, clock, &alarm, &mut kinds, nested, end.as_ref());
        }
    }

    fn alarm(&mut self, part: &Part, clock: &Clock, alarm: &Alarm, kinds: &mut HashSet<&'static str>, nested: bool, end: Option<&Moment>) {
        let run = self.run(part, alarm, end);
        let instant = run.as_ref().is_some_and(|run| self.seconds(run).is_some());
        let trigger = alarm.value("TRIGGER").unwrap_or_default();
        let line = alarm.kind.filter(|k| !kinds.contains(k)).zip(run.and_then(|run| self.written(&run, clock)));
        let absolute = time::parse(&trigger).is_some();
        let at_end = alarm.find("TRIGGER").is_some_and(|c| c.param("RELATED").is_some_and(|r| r.eq_ignore_ascii_case("END")));
        let simple = line.is_some() && alarm.is_simple() && !nested;
        // What runs once comes back with its time, what repeats with its distance from the start.
        let by_end = part.start.is_none() && part.todo;
        // Hours that make a day come back as days, which is the same where no clock changes.
        let hours = matches!(clock, Clock::Local(_)) && time::span(&trigger).is_some_and(|s| s.seconds.abs() >= 86_400);
        let exact = simple && !hours && absolute != part.recurring && if absolute { instant } else { at_end == by_end };
        if let Some((kind, run)) = &line {
            kinds.insert(kind);
            let params = if exact { String::new() } else { format!(";{}=YES", lines::OF_ICALENDAR) };
            self.write_alarm(kind, &params, run, alarm);
        }
        if !exact {
            let why = if alarm.kind.is_some_and(|k| kinds.contains(k)) && line.is_none() { Why::OnlyOne } else { Why::NoCounterpart };
            let done = if nested { Done::LeftOut } else { self.carry_text(alarm.whole()) };
            // Everybody reads when an alarm runs that runs once.
            if !simple || part.recurring || done == Done::LeftOut {
                self.losses.push("VALARM", &trigger, why, done);
            }
        }
    }

    /// When it runs for the first date.
    fn run(&self, part: &Part, alarm: &Alarm, end: Option<&Moment>) -> Option<Moment> {
        let trigger = alarm.find("TRIGGER")?;
        let value = text::raw(trigger);
        if time::parse(&value).is_some() {
            return time::moment(trigger, self.zones);
        }
        let distance = time::span(&value)?;
        let at_end = trigger.param("RELATED").is_some_and(|r| r.eq_ignore_ascii_case("END"));
        let start = part.start.as_ref();
        let base = if at_end { end.or(start) } else { start.or(end) };
        shifted(base?, distance, self.zones)
    }

    fn ends(&self, part: &Part) -> Option<Moment> {
        let given = self.moment_of(part, if part.todo { "DUE" } else { "DTEND" });
        let length = || time::span(&text::raw(part.find("DURATION")?));
        given.or_else(|| shifted(part.start.as_ref()?, length()?, self.zones))
    }

    fn write_alarm(&mut self, kind: &str, params: &str, run: &str, alarm: &Alarm) {
        let repeat = alarm.value("REPEAT").filter(|r| r.len() < 6 && r.bytes().all(|b| b.is_ascii_digit()));
        let snooze = alarm.value("DURATION").filter(|d| time::duration_seconds(d).is_some());
        let (snooze, repeat) = snooze.zip(repeat).unwrap_or_default();
        let attached =
            alarm.value("ATTACH").filter(|_| alarm.find("ATTACH").is_some_and(|c| !c.params.iter().any(|p| p.name == "ENCODING")));
        let mut parts = vec![run.to_owned(), snooze, repeat];
        let mut typed = params.to_owned();
        match kind {
            "DALARM" => parts.push(alarm.words("DESCRIPTION")),
            "MALARM" => {
                let user = alarm.find("ATTENDEE").and_then(people::seat).map(|s| s.person.address.to_string());
                parts.push(user.unwrap_or_default());
                parts.push(alarm.words("DESCRIPTION"));
            }
            _ => {
                if let Some(content) = alarm.find(lines::CONTENT) {
                    for param in content.params.iter().filter(|p| !matches!(p.name.as_str(), "ENCODING" | "CHARSET" | "VALUE" | "")) {
                        self.push_param(&mut typed, kind, &param.name, &param.value);
                    }
                    parts.push(alarm.words(lines::CONTENT));
                } else {
                    let format = alarm.find("ATTACH").and_then(|c| c.param("FMTTYPE")).and_then(sound_type);
                    if let Some(f) = format {
                        self.push_param(&mut typed, kind, "TYPE", f);
                    }
                    if attached.is_some() {
                        typed.push_str(";VALUE=URL");
                    }
                    parts.push(attached.unwrap_or_default());
                }
            }
        }
        self.out.list(kind, &typed, &parts);
    }
}

/// The word of vCalendar for a sound's media type.
fn sound_type(media: &str) -> Option<&'static str> {
    Some(match media.to_ascii_lowercase().as_str() {
        "audio/wav" => "WAVE",
        "audio/basic" => "PCM",
        "audio/aiff" => "AIFF",
        _ => return None,
    })
}
