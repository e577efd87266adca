//! One event, to-do or journal entry, property by property.

use std::rc::Rc;

use super::part::{Kind, Part};
use super::times::{self, When};
use super::values::{self, Attached};
use super::{Done, Job, Place, Reader, Restored, Why, alarms, lines, recurrence};
use crate::calendar::event::Format;
use crate::calendar::property::Content;
use crate::calendar::recur::ical;
use crate::calendar::text;
use crate::calendar::time;
use crate::calendar::writer::Writer;

impl Job<'_> {
    pub(super) fn component(&mut self, place: usize, kind: Kind) {
        let document = self.document;
        let of_event = |name: &str| place != 0 || !super::of_calendar(name);
        let contents: Vec<Content> = document.lines_of(place).filter(|(_, l)| of_event(&l.name)).map(|(_, l)| self.content(l)).collect();
        let own = self.zones.of(place);
        let outer = (own.local != self.zones.local).then(|| std::mem::replace(&mut self.zones, Rc::new(own)));
        self.place = Place::Event;
        let mut part = self.part(&contents, kind);
        self.losses.uid = Some(part.uid.clone());
        self.body.line_of(format_args!("BEGIN:{}", kind.name()));
        let uid = part.uid.clone();
        self.body.text("UID", &uid);
        self.stamp(&part);
        self.restored_rules(&mut part);
        for (index, content) in contents.iter().enumerate() {
            self.property(&mut part, index, content);
        }
        self.describe(&mut part);
        for child in std::mem::take(&mut self.children[place]) {
            let component = &document.components[child];
            match component.name.as_str() {
                "VALARM" => self.alarm_component(child),
                name if super::is_extension(name) => self.copy(child),
                name if Kind::of(name).is_event() => {}
                name => {
                    let name = name.to_owned();
                    self.losses.push(&name, "", Why::NoCounterpart, Done::LeftOut);
                }
            }
        }
        self.write_alarms();
        self.body.line_of(format_args!("END:{}", kind.name()));
        self.cancelled(&part);
        if let Some(outer) = outer {
            self.zones = outer;
        }
    }

    /// DTSTAMP, which iCalendar requires.
    fn stamp(&mut self, part: &Part<'_>) {
        let at = ["DTSTAMP", "LAST-MODIFIED", "DCREATED", "CREATED"].iter().find_map(|name| {
            let content = part.contents.iter().find(|c| c.name == *name)?;
            let when = When::read(content)?;
            Some(times::instant(&when, &self.zones).unwrap_or_else(|| when.stamp.local()))
        });
        match at {
            Some(utc) => self.body.line_of(format_args!("DTSTAMP:{}Z", time::basic_local(utc))),
            None => self.body.line_of(format_args!("DTSTAMP:{}", time::basic_utc(self.options.now))),
        }
    }

    /// Whether a once-only property comes again; what says something else then is listed.
    fn again<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) -> bool {
        // Two names of one property.
        let name = if content.name == "CREATED" { "DCREATED" } else { &content.name };
        let Some(&first) = part.seen.get(name) else {
            part.seen.insert(name, index);
            return false;
        };
        if part.contents[first].value != content.value && !content.value.is_empty() {
            self.losses.push(&content.name, &text::raw(content), Why::OnlyOne, Done::LeftOut);
        }
        true
    }

    fn property<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        let name = content.name.as_str();
        match name {
            // Written already, or said by what is written.
            "UID" | "DTSTAMP" | "RNUM" | lines::CANCELLED | "BEGIN" | "END" | "PRODID" | "VERSION" | lines::ZONE => {}
            "TZ" | "DAYLIGHT" if self.zones.local.is_some() || content.value.is_empty() => {}
            "SUMMARY" | "SUBJECT" => self.summary(part, index, content),
            "DESCRIPTION" => self.description(part, content),
            "LOCATION" | "COMMENT" | "CONTACT" | "RELATED-TO" => self.text(part, index, content),
            "DTSTART" | "DTEND" | "DUE" => self.moment(part, index, content),
            "DURATION" => self.duration(part, content),
            "RECURRENCE-ID" | lines::SERIES => self.recurrence_id(part, content),
            "RRULE" | "EXRULE" if !content.value.is_empty() => self.rule(part, content),
            "RDATE" | "EXDATE" if !content.value.is_empty() => self.dates(part, content),
            "RRULE" | "EXRULE" | "RDATE" | "EXDATE" => {}
            "ATTENDEE" | "ORGANIZER" => self.attendee(part, index, content),
            "DALARM" | "AALARM" | "MALARM" | "PALARM" => self.alarm(part, content),
            "ATTACH" => self.attachment(part, content),
            lines::OF_ICALENDAR => self.restore_in_event(part, index, content),
            "CATEGORIES" | "RESOURCES" => {
                let list = values::list(&text::raw(content));
                if !list.is_empty() {
                    self.body.line_of(format_args!("{name}{}:{list}", values::params(content)));
                }
            }
            "" => self.losses.push("", &text::raw(content), Why::Unreadable, Done::LeftOut),
            name if name.starts_with("X-") => {
                let mut out = std::mem::take(&mut self.body);
                self.extension(content, &mut out);
                self.body = out;
            }
            _ => self.word(part, index, content),
        }
    }

    /// A line that iCalendar has no place for: carried.
    pub(super) fn carry_here(&mut self, content: &Content, why: Why) {
        let mut out = std::mem::take(&mut self.body);
        self.carry(content, why, &mut out);
        self.body = out;
    }

    fn restore_in_event(&mut self, part: &mut Part<'_>, index: usize, content: &Content) {
        if let Some(alarm) = alarms::carried(content) {
            return self.add_alarm(&alarm);
        }
        if let Some(rule) = recurrence::carried_rule(content) {
            // See `restored_rules`.
            if part.restored_rules.contains(&index) {
                self.body.line_of(format_args!("RRULE:{rule}"));
            }
            return;
        }
        if let Some(Restored::Refining { name, line }) = lines::restored(&text::readable(content, Format::VCalendar), Place::Event) {
            // A word that vCalendar does not have, and nothing near it; or dates left out that no rule of it says.
            let exclusion = || line.split_once(':').is_some_and(|(_, rule)| ical::Rule::parse(rule).is_ok());
            let comes_back = if name == "EXRULE" {
                part.exception || part.recurring && exclusion()
            } else {
                !part.names.contains(name.as_str()) && part.restored_words.insert(name)
            };
            if comes_back {
                return self.body.line(&line);
            }
        }
        let mut out = std::mem::take(&mut self.body);
        self.restore(content, &mut out);
        self.body = out;
    }

    /// Properties of one word, number or time.
    fn word<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        let raw = text::raw(content);
        let value = raw.trim();
        if value.is_empty() || self.again(part, index, content) {
            return;
        }
        let todo = part.kind == Kind::Todo;
        let number = || value.parse::<u32>().ok();
        let written = match content.name.as_str() {
            "SEQUENCE" => number().filter(|n| *n <= i32::MAX.unsigned_abs()).map(|n| format!("SEQUENCE:{}", n.saturating_sub(1))),
            "RESPONSE-SEQUENCE" => number().map(|n| format!("RESPONSE-SEQUENCE:{n}")),
            "CLASS" => match values::word(value) {
                Some(word) => Some(format!("CLASS:{word}")),
                None => {
                    self.body.line("CLASS:PRIVATE");
                    return self.carry_here(content, Why::Unreadable);
                }
            },
            "PRIORITY" => match number() {
                Some(n) if n > 9 => {
                    self.body.line("PRIORITY:9");
                    return self.carry_here(content, Why::NoCounterpart);
                }
                n => n.map(|n| format!("PRIORITY:{n}")),
            },
            "TRANSP" if part.kind == Kind::Event => match value.to_ascii_uppercase().as_str() {
                "0" | "OPAQUE" => Some("TRANSP:OPAQUE".to_owned()),
                "1" | "TRANSPARENT" => Some("TRANSP:TRANSPARENT".to_owned()),
                _ if number().is_some() => {
                    self.body.line("TRANSP:TRANSPARENT");
                    return self.carry_here(content, Why::NoCounterpart);
                }
                _ => None,
            },
            "TRANSP" => return self.carry_here(content, Why::NoCounterpart),
            "STATUS" => return self.status(content, value, todo),
            "GEO" => lines::geo_in_icalendar(value).map(|geo| format!("GEO:{geo}")),
            "URL" => (!value.contains(char::is_whitespace)).then(|| format!("URL:{value}")),
            "LAST-MODIFIED" => return self.utc("LAST-MODIFIED", content),
            "DCREATED" | "CREATED" => return self.utc("CREATED", content),
            "COMPLETED" if todo => return self.utc("COMPLETED", content),
            name if is_icalendar(name) => Some(format!("{name}{}:{value}", values::params(content))),
            _ => return self.carry_here(content, Why::NoCounterpart),
        };
        match written {
            Some(line) => self.body.line(&line),
            None => self.carry_here(content, Why::Unreadable),
        }
    }

    /// STATUS in the words that its component has; what says more is carried beside it (bridge 2).
    fn status(&mut self, content: &Content, value: &str, todo: bool) {
        let (written, exact) = lines::status(value, todo);
        if !written.is_empty() {
            self.body.line_of(format_args!("STATUS:{written}"));
        }
        if !exact {
            self.carry_here(content, Why::NoCounterpart);
        }
    }

    fn summary<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        if part.summary_line == Some(index) {
            self.body.property("SUMMARY", &values::params(content), part.summary.as_deref().unwrap_or_default());
        } else if !content.value.is_empty() && part.summary_line.is_none_or(|i| part.contents[i].value != content.value) {
            self.losses.push(&content.name, &text::raw(content), Why::OnlyOne, Done::LeftOut);
        }
    }

    fn description<'c>(&mut self, part: &mut Part<'c>, content: &'c Content) {
        let value = text::readable(content, self.document.format);
        match &part.description {
            Some((_, _, first)) if !first.is_empty() => {
                if *first != value && !value.is_empty() {
                    self.losses.push("DESCRIPTION", &value, Why::OnlyOne, Done::LeftOut);
                }
            }
            Some((at, ..)) => part.description = Some((*at, values::params(content), value)),
            None => part.description = Some((self.body.octets.len(), values::params(content), value)),
        }
    }

    /// Writes DESCRIPTION with what a person would miss, where it stood.
    fn describe(&mut self, part: &mut Part<'_>) {
        let described = part.description.is_some();
        let (at, params, mut value) = part.description.take().unwrap_or_else(|| (self.body.octets.len(), String::new(), String::new()));
        // It may have been said at an earlier translation.
        let mut notes = std::mem::take(&mut part.notes);
        notes.retain(|note| self.options.notes && !value.contains(note.as_str()));
        if !notes.is_empty() {
            value.push_str(if value.is_empty() { "" } else { "\n\n" });
            value.push_str(&format!("Not shown in your calendar: {}", notes.join("; ")));
        } else if !described {
            return;
        }
        let mut out = Writer::default();
        out.property("DESCRIPTION", &params, &value);
        let rest = self.body.octets.split_off(at);
        self.body.octets.extend_from_slice(&out.octets);
        self.body.octets.extend_from_slice(&rest);
    }

    fn text<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        let often = matches!(content.name.as_str(), "COMMENT" | "CONTACT" | "RELATED-TO");
        if !often && (content.value.is_empty() || self.again(part, index, content)) {
            return;
        }
        let value = text::readable(content, self.document.format);
        if !value.is_empty() {
            self.body.property(&content.name, &values::params(content), &value);
        }
    }

    fn attachment(&mut self, part: &mut Part<'_>, content: &Content) {
        if content.value.is_empty() {
            return;
        }
        let decoded = text::raw(content);
        let params = values::params(content);
        match values::attached(&content.params, &content.value, &decoded) {
            Some(Attached::Uri(uri)) => self.body.line_of(format_args!("ATTACH{params}:{uri}")),
            Some(Attached::Binary(data, kind)) => {
                let kind = kind.filter(|_| content.param("FMTTYPE").is_none()).map(|k| format!(";FMTTYPE={k}")).unwrap_or_default();
                self.body.line_of(format_args!("ATTACH{params}{kind};ENCODING=BASE64;VALUE=BINARY:{data}"));
            }
            Some(Attached::File(uri)) => {
                self.body.line_of(format_args!("ATTACH{params}:{uri}"));
                self.losses.push("ATTACH", &decoded, Why::NoCounterpart, Done::Approximated(uri));
            }
            None if self.reader == Reader::Anybody => self.carry_here(content, Why::Unreadable),
            None => self.unreadable(part, content, "an attachment"),
        }
    }
}

/// Registered properties of iCalendar that vCalendar does not have and that some of its writers use all the same: their
/// values stay as they are.
fn is_icalendar(name: &str) -> bool {
    matches!(
        name,
        "PERCENT-COMPLETE"
            | "REQUEST-STATUS"
            | "FREEBUSY"
            | "COLOR"
            | "IMAGE"
            | "CONFERENCE"
            | "NAME"
            | "REFRESH-INTERVAL"
            | "SOURCE"
            | "ACKNOWLEDGED"
    )
}
