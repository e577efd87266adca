//! vCalendar 1.0 and the bare dialect said in iCalendar 2.0: calendars, zones, and what belongs to no single event.
//!
//! [`part`] finds out what must be known of one event or to-do, [`component`] goes through its lines; [`moments`],
//! [`recurrence`], [`people`], [`alarms`] and [`values`] know one kind of property each, [`times`] the form of a time, [`zones`] its zone. Invariants: each line is decoded once; what is written is legal iCalendar
//! (UID, DTSTAMP, PRODID and VERSION are there, every TZID has its VTIMEZONE where its zone is known).

mod alarms;
mod component;
mod moments;
mod part;
mod people;
mod recurrence;
mod times;
mod values;
mod zones;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use compact_str::CompactString;

use super::lines::{self, Place, Restored};
use super::loss::{Losses, note};
use super::{Done, Options, Source, Translation, Why};
use crate::calendar::compose::PRODID;
use crate::calendar::error::ObjectError;
use crate::calendar::event::Format;
use crate::calendar::patch::params_text;
use crate::calendar::property::{Content, Document, Encoding, Line};
use crate::calendar::text;
use crate::calendar::writer::Writer;
use crate::calendar::zone::Zones;
use part::Kind;
use values::Attached;
use zones::ZoneUse;

/// For whom an object is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::calendar) enum Reader {
    /// Another translation may follow: what has no place is carried.
    Anybody,
    /// A person's mail program, which would only echo carriers (profile 9): what has no place is left out. Alarms that act
    /// in the reader's name (EMAIL, PROCEDURE) are left out too.
    MailProgram,
}

pub(super) fn translate(source: &Source<'_>, options: &Options) -> Result<Translation, ObjectError> {
    translate_for(source, options, Reader::Anybody)
}

pub(super) fn translate_for(source: &Source<'_>, options: &Options, reader: Reader) -> Result<Translation, ObjectError> {
    let document = &*source.document;
    let mut job = Job::new(document, Rc::new(source.zones.clone()), options, reader);
    let calendars = job.calendars()?;
    let mut out = Vec::with_capacity(document.octets.len() + document.octets.len() / 2 + 256);
    for calendar in &calendars {
        job.calendar(calendar, &mut out);
    }
    let (losses, more_losses) = job.losses.finish();
    Ok(Translation { octets: out, losses, more_losses })
}

/// What becomes one VCALENDAR.
struct Calendar {
    /// Its own component; 0 for what stands in none.
    place: usize,
    /// Components to be written, in their order; 0: the bare object itself.
    members: Vec<(usize, Kind)>,
}

struct Job<'a> {
    document: &'a Document,
    /// Of the object, or of the event that has TZ and DAYLIGHT of its own.
    zones: Rc<Zones>,
    options: &'a Options,
    reader: Reader,
    /// Where what is being written stands.
    place: Place,
    /// The components directly in each component.
    children: Vec<Vec<usize>>,
    losses: Losses,
    /// Of the calendar being written, without its head.
    body: Writer,
    /// Of the event being written.
    alarms: Vec<Vec<u8>>,
    /// Zones that the calendar being written needs.
    used: BTreeMap<String, ZoneUse>,
    /// Zones that have other rules in the object than in the world, lower case.
    redefined: HashSet<String>,
    /// Zones whose VTIMEZONE came with the object, lower case.
    given: HashSet<String>,
    /// Exceptions that are to leave the EXDATEs of their series, by its UID.
    series: HashMap<String, Vec<String>>,
    /// How often each content without UID came.
    nameless: HashMap<[u8; 32], usize>,
}

impl<'a> Job<'a> {
    fn new(document: &'a Document, zones: Rc<Zones>, options: &'a Options, reader: Reader) -> Self {
        let mut children = vec![Vec::new(); document.components.len()];
        for (i, component) in document.components.iter().enumerate().skip(1) {
            children[component.parent].push(i);
        }
        let named = |name: &'static str| document.lines.iter().filter(move |l| &*l.name == name);
        let given = named("TZID").filter(|l| document.components[l.component].name == "VTIMEZONE");
        let given = given.map(|l| text::raw(&document.content(l)).trim().to_lowercase()).collect();
        let mut series: HashMap<String, Vec<String>> = HashMap::new();
        for line in named(lines::SERIES) {
            if let Some((uid, id)) = part::series(&document.content(line)) {
                series.entry(uid).or_default().push(id);
            }
        }
        let redefined = zones::redefined(document, &zones);
        Self {
            document,
            zones,
            redefined,
            options,
            reader,
            place: Place::Calendar,
            children,
            losses: Losses::default(),
            body: Writer::default(),
            alarms: Vec::new(),
            used: BTreeMap::new(),
            given,
            series,
            nameless: HashMap::new(),
        }
    }

    /// Which components make which calendar.
    fn calendars(&self) -> Result<Vec<Calendar>, ObjectError> {
        let document = self.document;
        let mut calendars = Vec::new();
        let mut loose = Calendar { place: 0, members: Vec::new() };
        for &place in &self.children[0] {
            if document.components[place].name == "VCALENDAR" {
                let mut calendar = Calendar { place, members: Vec::new() };
                self.gather(place, &mut calendar.members);
                calendars.push(calendar);
            } else {
                self.gather_one(place, &mut loose.members);
            }
        }
        if loose.members.iter().any(|(_, kind)| kind.is_event()) || !calendars.is_empty() && !loose.members.is_empty() {
            calendars.push(loose);
        } else if calendars.is_empty() {
            let todo = document.lines.iter().any(|l| &*l.name == "DUE");
            let kind = if todo { Kind::Todo } else { Kind::Event };
            if !document.lines.iter().any(|l| lines::has_place(&l.name)) {
                return Err(ObjectError::NoEvent);
            }
            calendars.push(Calendar { place: 0, members: vec![(0, kind)] });
        }
        Ok(calendars)
    }

    fn gather(&self, place: usize, members: &mut Vec<(usize, Kind)>) {
        for &child in &self.children[place] {
            self.gather_one(child, members);
        }
    }

    /// An event that stands inside another (whose END is missing) is one of its own. Depth is bounded by the reader.
    fn gather_one(&self, place: usize, members: &mut Vec<(usize, Kind)>) {
        let kind = Kind::of(&self.document.components[place].name);
        members.push((place, kind));
        if kind.is_event() {
            for &child in &self.children[place] {
                if Kind::of(&self.document.components[child].name).is_event() {
                    self.gather_one(child, members);
                }
            }
        } else if self.document.components[place].name == "VCALENDAR" {
            members.pop();
            self.gather(place, members);
        }
    }

    fn calendar(&mut self, calendar: &Calendar, out: &mut Vec<u8>) {
        let mut head = Writer::default();
        self.head(calendar, &mut head);
        self.used.clear();
        self.body.octets.clear();
        for &(place, kind) in &calendar.members {
            if kind.is_event() {
                self.component(place, kind);
            } else if kind == Kind::Known || is_extension(&self.document.components[place].name) {
                self.copy(place);
            } else {
                let name = self.document.components[place].name.clone();
                self.losses.uid = None;
                self.losses.push(&name, "", Why::NoCounterpart, Done::LeftOut);
            }
        }
        out.extend_from_slice(&head.octets);
        let mut zones = Writer::default();
        for (id, used) in &self.used {
            if !self.given.contains(&id.to_lowercase()) {
                used.lines(id).iter().for_each(|line| zones.line(line));
            }
        }
        out.extend_from_slice(&zones.octets);
        out.extend_from_slice(&self.body.octets);
        out.extend_from_slice(b"END:VCALENDAR\r\n");
    }

    /// BEGIN, PRODID, VERSION and the calendar's own lines.
    fn head(&mut self, calendar: &Calendar, head: &mut Writer) {
        let document = self.document;
        let bare = calendar.members.first().is_some_and(|m| m.0 == 0);
        let own: Vec<Content> =
            document.lines_of(calendar.place).filter(|(_, l)| !bare || of_calendar(&l.name)).map(|(_, l)| self.content(l)).collect();
        // Phones write it inside the event.
        let product = document.lines.iter().find(|l| &*l.name == "PRODID" && self.reader == Reader::Anybody);
        let product = product.map(|l| text::readable(&document.content(l), document.format)).filter(|p| !p.is_empty());
        head.line("BEGIN:VCALENDAR");
        head.text("PRODID", product.as_deref().unwrap_or(PRODID));
        head.line("VERSION:2.0");
        self.losses.uid = None;
        self.place = Place::Calendar;
        for content in &own {
            self.calendar_line(content, head);
        }
    }

    fn calendar_line(&mut self, content: &Content, head: &mut Writer) {
        let value = text::raw(content);
        let value = value.trim();
        match content.name.as_str() {
            "PRODID" | "VERSION" | "BEGIN" | "END" => {}
            "METHOD" | "CALSCALE" => match values::word(value) {
                Some(word) => head.line_of(format_args!("{}:{word}", content.name)),
                None => self.losses.push(&content.name, value, Why::Unreadable, Done::LeftOut),
            },
            "TZ" if value.is_empty() || self.zones.local.is_some() => {}
            "DAYLIGHT" if times::says_no_summer(value) => {}
            "DAYLIGHT" if self.zones.local.is_some() && times::is_summer(value) => {}
            "TZ" | "DAYLIGHT" => self.losses.push(&content.name, value, Why::Unreadable, Done::LeftOut),
            lines::OF_ICALENDAR => self.restore(content, head),
            name if name.starts_with("X-") => self.extension(content, head),
            "" => self.losses.push("", value, Why::Unreadable, Done::LeftOut),
            _ => self.carry(content, Why::NoCounterpart, head),
        }
    }

    /// A line taken apart; of one that is no property, the whole is its value.
    fn content(&self, line: &Line) -> Content<'a> {
        if line.name.is_empty() {
            return Content { name: CompactString::default(), params: Vec::new(), value: self.document.joined(line) };
        }
        self.document.content(line)
    }

    /// A line that only vCalendar has: carried where somebody may restore it.
    fn carry(&mut self, content: &Content, why: Why, out: &mut Writer) {
        let done = self.carried(content, out);
        self.losses.push(&content.name, &text::raw(content), why, done);
    }

    /// Writes the carrier and says what was done; the loss is the caller's to list.
    fn carried(&self, content: &Content, out: &mut Writer) -> Done {
        let line = as_text(content);
        // What nobody may restore is not carried: a date or a person that cannot be read.
        if self.reader == Reader::MailProgram || content.name == "EXRULE" || lines::restored(&line, self.place).is_none() {
            return Done::LeftOut;
        }
        out.text(lines::OF_VCALENDAR, &line);
        Done::Carried(lines::OF_VCALENDAR.to_owned())
    }

    /// A line of iCalendar that came across in a carrier.
    fn restore(&mut self, content: &Content, out: &mut Writer) {
        let value = text::readable(content, Format::VCalendar);
        match lines::restored(&value, self.place) {
            Some(Restored::Line(line)) => out.line(&line),
            Some(Restored::Alarm(lines)) => lines.iter().for_each(|l| out.line(l)),
            Some(Restored::Refining { .. }) | None => self.losses.push(lines::OF_ICALENDAR, &value, Why::Contradiction, Done::LeftOut),
        }
    }

    fn extension(&self, content: &Content, out: &mut Writer) {
        if self.reader == Reader::MailProgram && content.name.starts_with(lines::PARAMETER) {
            return;
        }
        out.property(&content.name, &values::params(content), &text::readable(content, Format::VCalendar));
    }

    /// A component of iCalendar inside a vCalendar object, line by line. Its name is a token; depth is bounded by the reader.
    fn copy(&mut self, place: usize) {
        let document = self.document;
        let name = &document.components[place].name;
        self.body.line_of(format_args!("BEGIN:{name}"));
        for (_, line) in document.lines_of(place) {
            if line.name.is_empty() {
                let joined = document.joined(line);
                self.losses.push("", &text::guess(&joined), Why::Unreadable, Done::LeftOut);
            } else if let Some(Attached::File(uri)) = self.pointed_at(place, line) {
                self.body.line_of(format_args!("ATTACH:{uri}"));
                self.losses.push("ATTACH", &text::raw(&document.content(line)), Why::NoCounterpart, Done::Approximated(uri));
            } else {
                self.body.line(&copied(document, line));
            }
        }
        for child in self.children[place].clone() {
            let name = &document.components[child].name;
            if values::is_token(name) {
                self.copy(child);
            } else {
                self.losses.push(name, "", Why::Unreadable, Done::LeftOut);
            }
        }
        self.body.line_of(format_args!("END:{name}"));
    }

    /// What the ATTACH of an alarm points to.
    fn pointed_at(&self, place: usize, line: &Line) -> Option<Attached> {
        if &*line.name != "ATTACH" || self.document.components[place].name != "VALARM" {
            return None;
        }
        let content = self.document.content(line);
        values::attached(&content.params, &content.value, &text::raw(&content))
    }
}

/// A component of somebody's own, by a name that can be written.
fn is_extension(name: &str) -> bool {
    name.starts_with("X-") && values::is_token(name)
}

/// Lines of a bare object that belong to the calendar around it.
fn of_calendar(name: &str) -> bool {
    matches!(name, "TZ" | "DAYLIGHT" | "VERSION" | "PRODID" | "METHOD" | "CALSCALE")
}

/// A line of iCalendar as it is, with what vCalendar encodes decoded.
fn copied(document: &Document, line: &Line) -> String {
    let joined = document.joined(line);
    // Blanks around a name are no part of a content line.
    let plain_name = joined.get(..line.name.len()).is_some_and(|n| n.eq_ignore_ascii_case(line.name.as_bytes()))
        && matches!(joined.get(line.name.len()), Some(b':' | b';'));
    if plain_name && !joined.contains(&b'=') && joined.is_ascii() {
        return text::guess(&joined).into_owned();
    }
    let content = document.content(line);
    if !plain_name {
        return as_text(&content);
    }
    let plain = Encoding::named(&content.params) == Encoding::Plain && content.param("CHARSET").is_none();
    if plain || content.name == "ATTACH" {
        return text::guess(&joined).into_owned();
    }
    format!("{}{}:{}", content.name, values::params(&content), text::escape(&text::readable(&content, Format::VCalendar)))
}

/// The content line in one piece, with its transfer encoding, in UTF-8.
fn as_text(content: &Content) -> String {
    let plain = Encoding::named(&content.params) == Encoding::Plain;
    if plain && content.param("CHARSET").is_some() {
        let params = params_text(content.params.iter().filter(|p| p.name != "CHARSET"), Format::VCalendar);
        return format!("{}{params}:{}", content.name, text::raw(content));
    }
    format!("{}{}:{}", content.name, params_text(content.params.iter(), Format::VCalendar), text::guess(&content.value))
}
