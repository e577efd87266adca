//! iCalendar 2.0 said in vCalendar 1.0: the calendar around the events, the one zone that TZ and DAYLIGHT can name, and
//! which exception belongs to which series.
//!
//! [`component`] goes through the lines of one event or to-do; [`times`], [`recurrence`], [`people`], [`alarms`] and
//! [`values`] know one kind of property each. Invariants: each line is decoded once; the result is one VCALENDAR with
//! VEVENT and VTODO side by side; a time is written as the instant that it was, or as the local time that it was.

mod alarms;
mod component;
mod people;
mod recurrence;
mod times;
mod values;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use super::lines::{self, Place, Restored};
use super::loss::Losses;
use super::vwriter::VWriter;
use super::{Done, Options, Source, Translation, Why};
use crate::calendar::compose::PRODID;
use crate::calendar::error::ObjectError;
use crate::calendar::event::{Format, Method, Moment};
use crate::calendar::object::method_of;
use crate::calendar::patch::params_text;
use crate::calendar::property::{Content, Document, Line};
use crate::calendar::zone::Zones;
use crate::calendar::{text, time};

pub(super) fn translate(source: &Source<'_>, options: &Options) -> Result<Translation, ObjectError> {
    let (document, zones) = (&*source.document, &source.zones);
    let mut parts = parts(document, zones);
    if parts.is_empty() {
        return Err(nothing(document));
    }
    let mut job = Job {
        document,
        zones,
        options,
        method: method_of(document),
        shared: None,
        reached: Cell::new(None),
        alike: RefCell::default(),
        losses: Losses::default(),
        out: VWriter::with_capacity(document.octets.len() + document.octets.len() / 4),
        carriers: Vec::new(),
        notes: Vec::new(),
        refining: Vec::new(),
        place: Place::Calendar,
    };
    if !job.answers() {
        join_series(&mut parts, zones);
    }
    job.shared = times::shared(&parts, zones);
    job.calendar_lines();
    for part in parts {
        job.component(&part);
    }
    job.left_out();
    let room = job.out.octets.len() + 1024;
    let body = std::mem::replace(&mut job.out, VWriter::with_capacity(room));
    job.head();
    let mut octets = job.out.octets;
    octets.extend_from_slice(&body.octets);
    octets.extend_from_slice(b"END:VCALENDAR\r\n");
    let (losses, more_losses) = job.losses.finish();
    Ok(Translation { octets, losses, more_losses })
}

fn nothing(document: &Document) -> ObjectError {
    let found = |name: &str| document.components.iter().any(|c| c.name == name);
    for (name, what) in [("VJOURNAL", "a journal entry"), ("VFREEBUSY", "free/busy times"), ("VTIMEZONE", "a time zone alone")] {
        if found(name) {
            return ObjectError::NotInVCalendar { what };
        }
    }
    ObjectError::NotInVCalendar { what: "a calendar without events and to-dos" }
}

struct Job<'a> {
    document: &'a Document,
    zones: &'a Zones,
    options: &'a Options,
    method: Option<Method>,
    /// The zone of TZ and DAYLIGHT.
    shared: Option<times::Shared>,
    /// First and last year of the local times that were written in it.
    reached: Cell<Option<(i32, i32)>>,
    /// Other zones, and whether TZ and DAYLIGHT say what they are too.
    alike: RefCell<HashMap<String, bool>>,
    losses: Losses,
    out: VWriter,
    /// Of the component at hand: values of X-CIP-ICAL lines.
    carriers: Vec<String>,
    /// Of the component at hand: what a person would miss.
    notes: Vec<String>,
    /// Of the component at hand: lines of vCalendar that came in carriers to refine others.
    refining: Vec<Refining>,
    /// Where what is being written stands.
    place: Place,
}

/// A line that came in a carrier to say more than the line beside it.
struct Refining {
    name: String,
    line: String,
    restored: bool,
}

/// An event or to-do.
struct Part<'a> {
    place: usize,
    todo: bool,
    lines: Vec<Content<'a>>,
    uid: Option<String>,
    start: Option<Moment>,
    /// What rules and alarms count from: the start, or the end of what has none.
    anchor: Option<Moment>,
    /// Has a rule or further dates.
    recurring: bool,
    /// Of an exception: its RECURRENCE-ID as normalized text, and its time.
    exception: Option<(String, Option<Moment>)>,
    /// Of a series: the instances that are events of their own now.
    excluded: Vec<Moment>,
    /// Of a series: its instances that are cancelled, as [`lines::CANCELLED`] lists them.
    cancelled: Vec<String>,
    /// A cancelled exception whose series says so.
    dropped: bool,
    /// Of such a one: indexes of the lines that say more than its series does.
    lost: Vec<usize>,
}

impl<'a> Part<'a> {
    fn find(&self, name: &str) -> Option<&Content<'a>> {
        self.lines.iter().find(|c| c.name == name)
    }

    fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p Content<'a>> {
        self.lines.iter().filter(move |c| c.name == name)
    }
}

/// All events and to-dos, wherever they stand: one inside another (whose END is missing) is one of its own.
fn parts<'a>(document: &'a Document, zones: &Zones) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for (place, component) in document.components.iter().enumerate().filter(|(_, c)| is_event(&c.name)) {
        let mut lines: Vec<Content> = Vec::with_capacity(component.lines.len());
        lines.extend(document.lines_of(place).map(|(_, l)| document.content(l)));
        let find = |name: &str| lines.iter().find(|c| c.name == name);
        let exception = find("RECURRENCE-ID").and_then(|c| Some((time::recurrence_id(c, zones)?, time::moment(c, zones))));
        let moment = |name: &str| find(name).and_then(|c| time::moment(c, zones));
        let start = moment("DTSTART");
        parts.push(Part {
            place,
            todo: component.name == "VTODO",
            uid: find("UID").and_then(lines::uid),
            anchor: start.clone().or_else(|| moment("DUE")).or_else(|| moment("DTEND")),
            start,
            // An exception is one instance, whatever rules its writer left in it (RFC 5545 3.8.4.4).
            recurring: exception.is_none() && lines.iter().any(recurrence::says),
            exception,
            lines,
            excluded: Vec::new(),
            cancelled: Vec::new(),
            dropped: false,
            lost: Vec::new(),
        });
    }
    parts
}

/// What [`lines::CANCELLED`] says of an instance, and what its series says for it.
const CANCELLATION: [&str; 8] = ["UID", "RECURRENCE-ID", "SEQUENCE", "DTSTAMP", "STATUS", "DTSTART", "DTEND", "DUE"];

/// A line by all that it says; ORGANIZER by the address, which is what a series' instances share.
fn identity(content: &Content) -> String {
    match crate::calendar::people::seat(content).filter(|_| content.name == "ORGANIZER") {
        Some(seat) => format!("ORGANIZER:{}", seat.person.address),
        None => as_text(content),
    }
}

fn is_event(name: &str) -> bool {
    name == "VEVENT" || name == "VTODO"
}

/// Takes the instances that are events of their own out of their series.
fn join_series(parts: &mut [Part], zones: &Zones) {
    // One without a start has no instances to take out.
    let whole = |p: &Part| p.exception.is_none() && p.recurring && p.anchor.is_some();
    let series: HashMap<String, usize> =
        parts.iter().enumerate().filter(|(_, p)| whole(p)).filter_map(|(i, p)| Some((p.uid.clone()?, i))).collect();
    let mut seen = HashSet::new();
    let mut said: HashMap<usize, HashSet<String>> = HashMap::new();
    for i in 0..parts.len() {
        let Some((_, Some(moment))) = parts[i].exception.clone() else { continue };
        let Some(&of) = parts[i].uid.as_ref().and_then(|u| series.get(u)) else { continue };
        if parts[i].anchor.is_none() {
            // It takes place when its series says.
            (parts[i].start, parts[i].anchor) = (Some(moment.clone()), Some(moment.clone()));
        }
        // The series' own form of time is its instance's name.
        let moment = times::like_start(moment, parts[of].anchor.as_ref());
        let Some(id) = times::instance_id(&moment, zones) else { continue };
        parts[i].exception = Some((id.clone(), Some(moment.clone())));
        if !seen.insert((of, id.clone())) {
            continue;
        }
        let alone = parts[i].find("RECURRENCE-ID").is_some_and(|c| c.param("RANGE").is_none());
        let status = parts[i].find("STATUS").map(text::raw);
        if alone && status.is_some_and(|s| s.trim().eq_ignore_ascii_case("CANCELLED")) {
            let plain = |name: &str| parts[i].find(name).map(|c| text::raw(c).trim().to_owned()).unwrap_or_default();
            let cancelled = format!("{id};{};{}", plain("SEQUENCE"), plain("DTSTAMP"));
            let said = said.entry(of).or_insert_with(|| parts[of].lines.iter().map(identity).collect());
            let more = |(_, c): &(usize, &Content)| !CANCELLATION.contains(&c.name.as_str()) && !said.contains(&identity(c));
            parts[i].lost = parts[i].lines.iter().enumerate().filter(more).map(|(at, _)| at).collect();
            parts[i].dropped = true;
            parts[of].cancelled.push(cancelled);
        }
        parts[of].excluded.push(moment);
    }
}

impl Job<'_> {
    /// A RECURRENCE-ID of an answer names what is answered, as it does in CIP.
    pub(super) fn answers(&self) -> bool {
        matches!(self.method, Some(Method::Reply | Method::Counter | Method::Refresh | Method::DeclineCounter))
    }

    /// BEGIN, VERSION, PRODID, TZ and DAYLIGHT: last, when it is known which years they are needed for.
    fn head(&mut self) {
        self.out.line("BEGIN:VCALENDAR");
        self.out.line("VERSION:1.0");
        self.out.raw("PRODID", "", PRODID);
        if let (Some(shared), Some((first, last))) = (&self.shared, self.reached.get()) {
            let (tz, daylight) = shared.of_years(first..=last, self.zones);
            self.out.raw("TZ", "", &tz);
            for summer in &daylight {
                self.out.raw("DAYLIGHT", "", summer);
            }
        }
    }

    /// The calendar's own lines.
    fn calendar_lines(&mut self) {
        let document = self.document;
        let calendars = document.components.iter().enumerate().filter(|(i, c)| *i == 0 || c.name == "VCALENDAR");
        for (place, _) in calendars {
            for (_, line) in document.lines_of(place) {
                let content = document.content(line);
                self.calendar_line(&content);
            }
        }
        // Some write it inside the event.
        let stray = |l: &&Line| &*l.name == "METHOD" && is_event(&document.components[l.component].name);
        if self.method.is_some()
            && !document.lines.iter().any(|l| &*l.name == "METHOD" && !is_event(&document.components[l.component].name))
            && let Some(line) = document.lines.iter().find(stray)
        {
            self.carry(&document.content(line), Why::NoCounterpart);
        }
        self.write_carriers();
    }

    fn calendar_line(&mut self, content: &Content) {
        match content.name.as_str() {
            "PRODID" | "VERSION" => {}
            "CALSCALE" if text::raw(content).trim().eq_ignore_ascii_case("GREGORIAN") => {}
            "" => self.losses.push("", &text::guess(&content.value), Why::Unreadable, Done::LeftOut),
            lines::OF_VCALENDAR => self.restore(content),
            name if name.starts_with("X-") => self.extension(content),
            // It belongs into an event, and says nothing of any.
            name if lines::has_place(name) => self.losses.push(name, &text::raw(content), Why::Contradiction, Done::LeftOut),
            _ => self.carry(content, Why::NoCounterpart),
        }
    }

    /// Components beside the events.
    fn left_out(&mut self) {
        self.losses.uid = None;
        let document = self.document;
        for component in document.components.iter().skip(1) {
            let outer = component.parent == 0 || document.components[component.parent].name == "VCALENDAR";
            if outer && !is_event(&component.name) && !matches!(component.name.as_str(), "VCALENDAR" | "VTIMEZONE") {
                self.losses.push(&component.name, "", Why::NoCounterpart, Done::LeftOut);
            }
        }
    }

    /// A line that vCalendar has no place for.
    fn carry(&mut self, content: &Content, why: Why) {
        let done = self.carry_text(as_text(content));
        self.losses.push(&content.name, &text::raw(content), why, done);
    }

    /// The loss is the caller's to list.
    fn carry_text(&mut self, line: String) -> Done {
        if lines::restored(&line, self.place).is_none() {
            return Done::LeftOut;
        }
        self.carriers.push(line);
        Done::Carried(lines::OF_ICALENDAR.to_owned())
    }

    fn write_carriers(&mut self) {
        for line in std::mem::take(&mut self.carriers) {
            self.out.text(lines::OF_ICALENDAR, "", &line);
        }
    }

    /// A line of vCalendar that came across in a carrier.
    fn restore(&mut self, content: &Content) {
        let value = text::readable(content, self.document.format);
        match lines::restored(&value, self.place) {
            Some(Restored::Line(line)) => self.out.line(&line),
            // Restored beside the line that it refines, or in its place, where there is an event.
            Some(Restored::Refining { .. }) if self.place == Place::Event => {}
            _ => self.losses.push(lines::OF_VCALENDAR, &value, Why::Contradiction, Done::LeftOut),
        }
    }
}

/// The content line in one piece, in UTF-8.
fn as_text(content: &Content) -> String {
    format!("{}{}:{}", content.name, params_text(content.params.iter(), Format::ICalendar), text::guess(&content.value))
}
