//! One event or to-do, line by line.

use super::super::lines::{self, Place, Restored};
use super::values::{geo, is_unsaid};
use super::{Done, Job, Method, Part, Refining, Why};
use crate::calendar::convert::loss::note;
use crate::calendar::event::Format;
use crate::calendar::object::method;
use crate::calendar::property::Content;
use crate::calendar::{text, time};

/// Carriers that may refine the lines of one name.
const MAX_REFINING: usize = 8;

/// Lines that are written together with others, before or after the rest.
const TOGETHER: [&str; 14] = [
    "UID",
    "SEQUENCE",
    "RECURRENCE-ID",
    "DTSTART",
    "DTEND",
    "DUE",
    "DURATION",
    "RRULE",
    "EXRULE",
    "RDATE",
    "EXDATE",
    "ORGANIZER",
    "ATTENDEE",
    "DESCRIPTION",
];

impl Job<'_> {
    pub(super) fn component(&mut self, part: &Part) {
        self.losses.uid.clone_from(&part.uid);
        self.carriers.clear();
        self.notes.clear();
        self.place = Place::Event;
        self.read_refining(part);
        if part.dropped {
            let id = part.exception.as_ref().map_or("", |e| &e.0);
            self.losses.push("RECURRENCE-ID", id, Why::NoCounterpart, Done::Approximated("EXDATE in the series".to_owned()));
            for content in part.lost.iter().map(|at| &part.lines[*at]) {
                self.losses.push(&content.name, &text::raw(content), Why::NoCounterpart, Done::LeftOut);
            }
            return;
        }
        let name = if part.todo { "VTODO" } else { "VEVENT" };
        self.out.line_of(format_args!("BEGIN:{name}"));
        let clock = self.clock(part);
        self.identity(part);
        self.write_times(part, &clock);
        self.write_recurrence(part, &clock);
        self.write_people(part);
        let mut last_list = Vec::new();
        for content in part.lines.iter().filter(|c| !TOGETHER.contains(&c.name.as_str())) {
            if matches!(content.name.as_str(), "CATEGORIES" | "RESOURCES") {
                if !last_list.contains(&content.name) {
                    last_list.push(content.name.clone());
                    self.list(part, &content.name);
                }
                continue;
            }
            self.line(part, content);
        }
        self.write_alarms(part, &clock);
        self.write_description(part);
        self.write_carriers();
        for unused in std::mem::take(&mut self.refining).iter().filter(|r| !r.restored) {
            self.losses.push(lines::OF_VCALENDAR, &unused.line, Why::Contradiction, Done::LeftOut);
        }
        self.out.line_of(format_args!("END:{name}"));
    }

    /// UID, SEQUENCE and the series that an exception belongs to.
    fn identity(&mut self, part: &Part) {
        match (&part.exception, &part.uid) {
            (Some((id, None)), Some(uid)) if !self.answers() => {
                self.out.text("UID", "", uid);
                self.losses.push("RECURRENCE-ID", id, Why::Unreadable, Done::LeftOut);
            }
            (Some((id, _)), Some(uid)) if !self.answers() => {
                self.out.text("UID", "", &crate::ident::instance_uid(uid, id));
                let range = part.find("RECURRENCE-ID").and_then(|c| c.param("RANGE")).map(str::trim);
                let param = range.map(|r| format!(";{}RANGE={}", lines::PARAMETER, text::param_value(r))).unwrap_or_default();
                // The parts are lists of their own: a `;` in the UID is escaped, the one between is not.
                let mut uid_first = super::VWriter::default();
                uid_first.list(lines::SERIES, &param, &[uid.as_str(), id.as_str()]);
                self.out.octets.extend_from_slice(&uid_first.octets);
                if let Some(range) = range {
                    self.losses.push(
                        "RECURRENCE-ID",
                        &format!("RANGE={range}"),
                        Why::NoCounterpart,
                        Done::Approximated("that instance alone".to_owned()),
                    );
                    note(&mut self.notes, "the change also holds for the dates that follow".to_owned());
                }
            }
            (exception, Some(uid)) => {
                self.out.text("UID", "", uid);
                if let Some((id, _)) = exception {
                    self.out.text("RECURRENCE-ID", "", id);
                }
            }
            (Some((id, _)), None) => self.losses.push("RECURRENCE-ID", id, Why::Contradiction, Done::LeftOut),
            (None, None) => {}
        }
        self.sequence(part);
    }

    /// The version: one more than SEQUENCE (profile 5), which an organizer may leave out when it is 0 (RFC 5546 3.2).
    fn sequence(&mut self, part: &Part) {
        let organizer = [Method::Request, Method::Publish, Method::Add, Method::Cancel].map(Some).contains(&self.method);
        let digits = |v: &str| Some(v.trim()).filter(|v| v.bytes().all(|b| b.is_ascii_digit())).and_then(|v| v.parse::<u32>().ok());
        let mut number = organizer.then_some(0);
        for (content, first) in part.all("SEQUENCE").zip(std::iter::once(true).chain(std::iter::repeat(false))) {
            let value = text::raw(content);
            match digits(&value).filter(|n| *n < i32::MAX.unsigned_abs()) {
                Some(n) if first => number = Some(n),
                Some(_) => self.losses.push("SEQUENCE", &value, Why::OnlyOne, Done::LeftOut),
                None => self.losses.push("SEQUENCE", &value, Why::Unreadable, Done::LeftOut),
            }
        }
        if let Some(number) = number {
            self.out.line_of(format_args!("SEQUENCE:{}", number + 1));
        }
    }

    fn line(&mut self, part: &Part, content: &Content) {
        let value = || text::raw(content).trim().to_owned();
        match content.name.as_str() {
            "SUMMARY" | "LOCATION" | "COMMENT" | "RELATED-TO" => {
                let params = self.params(content, &[]);
                let said = text::readable(content, Format::ICalendar);
                if !said.is_empty() {
                    self.out.text(&content.name, &params, &said);
                }
            }
            "URL" if value().is_empty() => {}
            "URL" => {
                let params = self.params(content, &[]);
                self.out.raw("URL", &params, &value());
            }
            "RESPONSE-SEQUENCE" => self.out.raw("RESPONSE-SEQUENCE", "", &value()),
            "DTSTAMP" | "LAST-MODIFIED" | "COMPLETED" => self.stamp(&content.name.clone(), content),
            "CREATED" => self.stamp("DCREATED", content),
            "STATUS" => self.word(content, status(&value())),
            "CLASS" => self.word(content, class(&value())),
            "PRIORITY" => self.word(content, Some(value()).filter(|v| v.len() == 1 && v.bytes().all(|b| b.is_ascii_digit()))),
            "TRANSP" => self.word(content, transparency(&value())),
            "GEO" => self.word(content, geo(&value())),
            "ATTACH" => self.attachment(content),
            // Carried for the calendar, or what the calendar's own contradicts.
            "METHOD" if method(&value()) == self.method => {}
            "" => self.losses.push("", &text::guess(&content.value), Why::Unreadable, Done::LeftOut),
            lines::OF_VCALENDAR => self.restore_in_event(part, content),
            name if name.starts_with("X-") => self.extension(content),
            _ => self.carry(content, Why::NoCounterpart),
        }
    }

    /// A line that came across in a carrier; a word that iCalendar does not have only where none stands beside it.
    fn restore_in_event(&mut self, part: &Part, content: &Content) {
        let Some(Restored::Refining { name, line }) = lines::restored(&text::readable(content, Format::ICalendar), Place::Event) else {
            return self.restore(content);
        };
        let found = self.refining.iter().position(|r| !r.restored && r.name == name && r.line == line);
        if let Some(found) = found.filter(|_| part.find(&name).is_none() && is_unsaid(&name, &line, part.todo)) {
            self.refining[found].restored = true;
            self.out.line(&line);
        }
    }

    /// The carriers that refine a line of this event, each read once and few of a name.
    fn read_refining(&mut self, part: &Part) {
        self.refining.clear();
        for content in part.all(lines::OF_VCALENDAR) {
            let Some(Restored::Refining { name, line }) = lines::restored(&text::readable(content, Format::ICalendar), Place::Event) else {
                continue;
            };
            if self.refining.iter().filter(|r| r.name == name).count() < MAX_REFINING {
                self.refining.push(Refining { name, line, restored: false });
            } else {
                self.losses.push(lines::OF_VCALENDAR, &line, Why::OnlyOne, Done::LeftOut);
            }
        }
    }

    /// A time in UTC.
    fn stamp(&mut self, name: &str, content: &Content) {
        let moment = time::moment(content, self.zones);
        match moment.as_ref().and_then(|m| self.utc(m).or_else(|| self.wall(m, None))) {
            Some(utc) => self.out.line_of(format_args!("{name}:{}Z", time::basic_local(utc))),
            None => self.losses.push(&content.name, &text::raw(content), Why::Unreadable, Done::LeftOut),
        }
    }

    /// DESCRIPTION, with what a person would miss (bridge 7), once.
    fn write_description(&mut self, part: &Part) {
        let mut notes = if self.options.notes { std::mem::take(&mut self.notes) } else { Vec::new() };
        for content in part.all("DESCRIPTION") {
            let params = self.params(content, &[]);
            let mut said = text::readable(content, Format::ICalendar);
            // It may have been said at an earlier translation.
            notes.retain(|note| !said.contains(note));
            if let Some(note) = missed(&std::mem::take(&mut notes)) {
                said = if said.is_empty() { note } else { format!("{said}\n\n{note}") };
            }
            if !said.is_empty() {
                self.out.text("DESCRIPTION", &params, &said);
            }
        }
        if let Some(note) = missed(&notes) {
            self.out.text("DESCRIPTION", "", &note);
        }
    }
}

fn missed(notes: &[String]) -> Option<String> {
    (!notes.is_empty()).then(|| format!("Not shown in your calendar: {}", notes.join("; ")))
}

/// The words of bridge 2.
fn status(word: &str) -> Option<String> {
    let said = match word.to_ascii_uppercase().as_str() {
        "TENTATIVE" => "TENTATIVE",
        "CONFIRMED" => "CONFIRMED",
        "CANCELLED" | "CANCELED" => "CANCELLED",
        "NEEDS-ACTION" | "NEEDS ACTION" => "NEEDS ACTION",
        "COMPLETED" => "COMPLETED",
        "IN-PROCESS" => "ACCEPTED",
        _ => return None,
    };
    Some(said.to_owned())
}

fn class(word: &str) -> Option<String> {
    Some(word.to_ascii_uppercase()).filter(|w| matches!(w.as_str(), "PUBLIC" | "PRIVATE" | "CONFIDENTIAL"))
}

fn transparency(word: &str) -> Option<String> {
    match word.to_ascii_uppercase().as_str() {
        "OPAQUE" => Some("0".to_owned()),
        "TRANSPARENT" => Some("1".to_owned()),
        _ => None,
    }
}
