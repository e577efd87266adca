//! An object as iCalendar for mail: an iCalendar object patched line by line, a bare or vCalendar one written anew.

use std::collections::{HashMap, HashSet};

use super::fresh;
use super::{ComposeError, Composed, Loss, MailJob, PRODID};
use crate::calendar::event::{Component, Event, EventStatus, Format, Method, Moment, PartStat, Person};
use crate::calendar::object::{Object, RECIPIENT, TRACE};
use crate::calendar::patch::{Edits, params_text};
use crate::calendar::property::{Content, Param};
use crate::calendar::writer::Writer;
use crate::calendar::{people, text, time};
use crate::ident::UserId;

/// The object as one iCalendar object for mail (bridge 5 and 7).
pub fn icalendar(object: &Object, job: &MailJob<'_>) -> Result<Composed, ComposeError> {
    let plan = Plan {
        job,
        addresses: job.addresses.iter().map(|(old, new)| (old, new)).collect(),
        only: job.only.as_ref().map(|o| o.iter().collect()),
        losses: Vec::new(),
    };
    match object.format() {
        Format::ICalendar => plan.patch(object),
        Format::Bare | Format::VCalendar => plan.write(object),
    }
}

struct Plan<'a> {
    job: &'a MailJob<'a>,
    addresses: HashMap<&'a UserId, &'a UserId>,
    only: Option<HashSet<&'a UserId>>,
    losses: Vec<Loss>,
}

/// Methods whose object may do without a DTSTART.
fn needs_start(method: Method) -> bool {
    !matches!(method, Method::Reply | Method::Cancel | Method::Refresh)
}

impl Plan<'_> {
    fn lose(&mut self, property: &str, what: impl Into<String>) {
        if self.losses.len() < 100 {
            self.losses.push(Loss { property: property.to_owned(), what: what.into() });
        }
    }

    fn new_address<'u>(&'u self, old: &'u UserId) -> &'u UserId {
        self.addresses.get(old).copied().unwrap_or(old)
    }

    fn listed(&self, old: &UserId) -> bool {
        let is_recipient = self.is_recipient(old);
        self.only.as_ref().is_none_or(|only| is_recipient || only.contains(old) || only.contains(self.new_address(old)))
    }

    fn is_recipient(&self, old: &UserId) -> bool {
        self.job.recipient.as_ref().is_some_and(|r| r == old || r == self.new_address(old))
    }

    /// The recipient is asked for an answer.
    fn asks(&self) -> bool {
        self.job.method == Method::Request && !self.job.cancelled
    }

    fn organizer(&self, event: &Event) -> Option<Person> {
        let own = event.owner.clone();
        match &self.job.organizer {
            Some(o) => Some(Person { name: o.name.clone().or(own.and_then(|p| p.name)), ..Person::new(o.address.clone()) }),
            None => own.map(|p| Person { address: self.new_address(&p.address).clone(), ..p }),
        }
    }

    // ---- an iCalendar object

    fn patch(mut self, object: &Object) -> Result<Composed, ComposeError> {
        let document = &object.document;
        let mut edits = Edits::new(document);
        for (index, line) in document.lines.iter().enumerate() {
            match &*line.name {
                RECIPIENT | TRACE => edits.drop_line(index),
                "ATTACH" if self.job.drop_attach => {
                    edits.drop_line(index);
                    self.lose("ATTACH", "left out, since the sender is not verified");
                }
                _ if std::str::from_utf8(&document.octets[line.span.clone()]).is_err() => {
                    // The mail names UTF-8 as the charset of the whole part.
                    edits.replace(index, &text::guess(&document.joined(line)));
                }
                _ => {}
            }
        }
        edits.set_method(self.job.method);
        for (&place, event) in object.places.iter().zip(object.events()) {
            self.patch_event(&mut edits, object, place, event)?;
        }
        let octets = crate::calendar::crlf(edits.apply());
        Ok(Composed { octets, losses: self.losses })
    }

    fn patch_event(&mut self, edits: &mut Edits<'_>, object: &Object, place: usize, event: &Event) -> Result<(), ComposeError> {
        let document = &object.document;
        edits.set(place, "UID", &text::escape(&self.job.uid));
        edits.set(place, "SEQUENCE", &self.job.sequence.to_string());
        edits.set(place, "DTSTAMP", &time::basic_utc(self.job.now));
        if self.job.cancelled {
            edits.set(place, "STATUS", "CANCELLED");
        }
        if !document.lines_of(place).any(|(_, l)| &*l.name == "DTSTART") {
            let stand_in = self.job.stand_in.filter(|_| event.recurrence_id.is_none());
            match stand_in.and_then(|e| e.start.as_ref()) {
                Some(start) => edits.insert(place, &fresh::moment_line("DTSTART", start)?),
                None if needs_start(self.job.method) && event.component != Component::FreeBusy => return Err(ComposeError::NoStart),
                None => {}
            }
        }
        if let (Some(Moment::Zoned { zone, at: None, .. }), true) = (&event.start, needs_start(self.job.method)) {
            return Err(ComposeError::UnknownZone(zone.clone()));
        }
        let mut organizer = self.organizer(event);
        let named = document.lines_of(place).any(|(_, l)| &*l.name == "ORGANIZER");
        let mut here = false;
        for (index, line) in document.lines_of(place).filter(|(_, l)| matches!(&*l.name, "ATTENDEE" | "ORGANIZER")) {
            let content = document.content(line);
            if content.name == "ORGANIZER" {
                match organizer.take() {
                    Some(person) => edits.replace(index, &organizer_over(&content, &person, self.job.organizer.is_some())),
                    None => edits.drop_line(index),
                }
                continue;
            }
            let Some(seat) = people::seat(&content) else { continue };
            let owner_line = seat.owner || seat.organizer && !named;
            if owner_line || !self.listed(&seat.person.address) {
                edits.drop_line(index);
                continue;
            }
            here |= self.is_recipient(&seat.person.address);
            if let Some(line) = self.attendee_over(&content, &seat.person.address) {
                edits.replace(index, &line);
            }
        }
        if let Some(person) = organizer {
            edits.insert(place, &fresh::organizer_line(&person));
        }
        if let Some(recipient) = self.job.recipient.as_ref().filter(|_| !here && place == object.places[0]) {
            edits.insert(place, &fresh::attendee_line(&self.guest(recipient)));
        }
        Ok(())
    }

    /// The recipient as an attendee of his own line.
    fn guest(&self, recipient: &UserId) -> Person {
        let mut person = Person::new(self.new_address(recipient).clone());
        if self.asks() {
            person.status = Some(PartStat::NeedsAction);
            person.rsvp = Some(true);
        }
        person
    }

    /// The ATTENDEE line as it is to be; `None`: as it is.
    fn attendee_over(&self, content: &Content, old: &UserId) -> Option<String> {
        let new = self.new_address(old);
        let asked = self.asks() && self.is_recipient(old);
        let value = text::raw(content);
        if !asked && new == old && value.starts_with("mailto:") {
            return None;
        }
        let mut drop: Vec<&str> = if asked { vec!["RSVP", "PARTSTAT"] } else { Vec::new() };
        let readdressed = new != old || !value.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("mailto:"));
        if readdressed && new != old {
            drop.push("EMAIL");
        }
        let params = params_text(content.params.iter().filter(|p| !drop.contains(&p.name.as_str())));
        let asks = if asked { ";RSVP=TRUE;PARTSTAT=NEEDS-ACTION" } else { "" };
        Some(format!("ATTENDEE{params}{asks}:mailto:{new}"))
    }

    // ---- a bare or vCalendar object

    fn write(mut self, object: &Object) -> Result<Composed, ComposeError> {
        let event = object.event();
        let mut out = Writer::default();
        out.line("BEGIN:VCALENDAR");
        out.line(&format!("PRODID:{PRODID}"));
        out.line("VERSION:2.0");
        out.line(&format!("METHOD:{}", self.job.method.as_str()));
        let component = if event.component == Component::Todo { "VTODO" } else { "VEVENT" };
        out.line(&format!("BEGIN:{component}"));
        out.text("UID", &self.job.uid);
        out.line(&format!("SEQUENCE:{}", self.job.sequence));
        out.line(&format!("DTSTAMP:{}", time::basic_utc(self.job.now)));
        self.write_times(&mut out, event)?;
        if let Some(id) = &event.recurrence_id {
            out.line(&super::answer::recurrence_line(id));
        }
        let rest = self.other_properties(object);
        self.write_texts(&mut out, event);
        self.write_status(&mut out, event);
        out.0.extend_from_slice(&rest);
        self.write_people(&mut out, event);
        out.line(&format!("END:{component}"));
        out.line("END:VCALENDAR");
        Ok(Composed { octets: out.0, losses: self.losses })
    }

    fn write_times(&mut self, out: &mut Writer, event: &Event) -> Result<(), ComposeError> {
        let end_name = if event.component == Component::Todo { "DUE" } else { "DTEND" };
        if let Some((first, after)) = fresh::all_day(event) {
            out.line(&fresh::moment_line("DTSTART", &Moment::Date(first))?);
            out.line(&fresh::moment_line(end_name, &Moment::Date(after))?);
            return Ok(());
        }
        let stand_in = self.job.stand_in.filter(|_| event.start.is_none());
        let Some(start) = event.start.as_ref().or(stand_in.and_then(|s| s.start.as_ref())) else {
            return if needs_start(self.job.method) { Err(ComposeError::NoStart) } else { Ok(()) };
        };
        out.line(&fresh::moment_line("DTSTART", start)?);
        let Some(end) = event.end.as_ref().or(stand_in.and_then(|s| s.end.as_ref())) else { return Ok(()) };
        let dates = matches!(start, Moment::Date(_));
        if dates != matches!(end, Moment::Date(_)) || end.instant() < start.instant() {
            self.lose(end_name, "left out, since it does not fit DTSTART");
            return Ok(());
        }
        // A day that ends on itself: DTEND of a date is the day after, and one day is what a date alone says.
        if !(dates && start == end) {
            out.line(&fresh::moment_line(end_name, end)?);
        }
        Ok(())
    }

    fn write_texts(&mut self, out: &mut Writer, event: &Event) {
        let stand_in = self.job.stand_in.and_then(|s| s.summary.as_deref());
        let from_description = || event.description.as_deref().and_then(|d| d.lines().next()).map(|l| l.chars().take(80).collect());
        let summary = event.summary.as_deref().or(stand_in).map(str::to_owned).or_else(from_description);
        if let Some(summary) = summary {
            out.text("SUMMARY", &summary);
        }
        let notes: Vec<&str> = self.losses.iter().filter(|l| matters(&l.property)).map(|l| l.what.as_str()).collect();
        let mut description = event.description.clone().unwrap_or_default();
        if !notes.is_empty() {
            if !description.is_empty() {
                description.push_str("\n\n");
            }
            description.push_str("Not shown in your calendar: ");
            description.push_str(&notes.join("; "));
        }
        for (name, value) in
            [("DESCRIPTION", Some(&description)), ("LOCATION", event.location.as_ref()), ("COMMENT", event.comment.as_ref())]
        {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                out.text(name, value);
            }
        }
    }

    fn write_status(&self, out: &mut Writer, event: &Event) {
        let todo = event.component == Component::Todo;
        let word = match event.status {
            _ if self.job.cancelled => "CANCELLED",
            Some(EventStatus::Cancelled) => "CANCELLED",
            Some(EventStatus::Tentative) if !todo => "TENTATIVE",
            Some(EventStatus::Confirmed) if !todo => "CONFIRMED",
            Some(EventStatus::NeedsAction) if todo => "NEEDS-ACTION",
            Some(EventStatus::Completed) if todo => "COMPLETED",
            Some(EventStatus::InProcess | EventStatus::Confirmed) if todo => "IN-PROCESS",
            _ => return,
        };
        out.line(&format!("STATUS:{word}"));
    }

    fn write_people(&self, out: &mut Writer, event: &Event) {
        if let Some(owner) = self.organizer(event) {
            out.line(&fresh::organizer_line(&owner));
        }
        let mut here = false;
        for attendee in event.attendees.iter().filter(|a| self.listed(&a.address)) {
            let mut person = Person { address: self.new_address(&attendee.address).clone(), ..attendee.clone() };
            if self.is_recipient(&attendee.address) {
                here = true;
                if self.asks() {
                    person.status = Some(PartStat::NeedsAction);
                    person.rsvp = Some(true);
                }
            }
            out.line(&fresh::attendee_line(&person));
        }
        if let Some(recipient) = self.job.recipient.as_ref().filter(|_| !here) {
            out.line(&fresh::attendee_line(&self.guest(recipient)));
        }
    }

    /// The properties that an [`Event`] does not hold: written where iCalendar has them, else listed as lost.
    fn other_properties(&mut self, object: &Object) -> Vec<u8> {
        let mut out = Writer::default();
        let document = &object.document;
        let place = object.places[0];
        for (_, line) in document.lines_of(place) {
            let content = document.content(line);
            self.other_property(&mut out, &content, object.event());
        }
        let inner = document.components.iter().skip(1).filter(|c| c.parent == place && c.name != "VCALENDAR" && place != 0);
        for component in inner.take(20) {
            let name = component.name.clone();
            self.lose(&name, "not carried over");
        }
        if object.events().len() > 1 {
            self.lose("VEVENT", format!("{} further events of this series", object.events().len() - 1));
        }
        out.0
    }

    fn other_property(&mut self, out: &mut Writer, content: &Content, event: &Event) {
        let value = || text::raw(content).trim().to_owned();
        let name = content.name.as_str();
        let todo = event.component == Component::Todo;
        match name {
            "" => self.lose("a line that is no property", super::super::error::clip(&value())),
            "CLASS" => out.line(&format!("CLASS:{}", word(&value()).unwrap_or_else(|| "PRIVATE".to_owned()))),
            "CATEGORIES" | "RESOURCES" => {
                let joined = text::raw(content);
                let parts = text::split_list(&joined, &[';', ',']).into_iter().map(|p| text::escape(text::unescape(p, false).trim()));
                let parts: Vec<String> = parts.filter(|p| !p.is_empty()).collect();
                if !parts.is_empty() {
                    out.line(&format!("{name}:{}", parts.join(",")));
                }
            }
            "PRIORITY" => match value().parse::<u32>() {
                Ok(n) => out.line(&format!("PRIORITY:{}", n.min(9))),
                Err(_) => self.lose(name, "is not a number"),
            },
            "URL" => out.line(&format!("URL:{}", value())),
            "TRANSP" if !todo => out.line(if matches!(value().as_str(), "0" | "OPAQUE") { "TRANSP:OPAQUE" } else { "TRANSP:TRANSPARENT" }),
            "COMPLETED" if todo => {
                if let Some(at) = time::parse(&value()).filter(time::Stamp::is_utc) {
                    out.line(&format!("COMPLETED:{}Z", time::basic_local(at.local())));
                }
            }
            "RELATED-TO" => out.text(name, &value()),
            "RRULE"
                if value().to_ascii_uppercase().starts_with("FREQ=")
                    && !matches!(event.start, Some(Moment::Utc { offset_minutes: Some(_), .. })) =>
            {
                out.line(&format!("RRULE:{}", value()));
            }
            "RRULE" => self.lose(name, format!("it repeats by the rule \"{}\"; the calendar has the first date only", value())),
            "EXRULE" | "RDATE" | "EXDATE" => self.lose(name, format!("{name} \"{}\"", super::super::error::clip(&value()))),
            "ATTACH" if self.job.drop_attach => self.lose(name, "left out, since the sender is not verified"),
            "ATTACH" if !value().is_empty() && value().contains(':') && value().len() < 2000 => out.line(&format!("ATTACH:{}", value())),
            "ATTACH" => self.lose(name, "an attachment"),
            "GEO" => match geo(&value()) {
                Some(geo) => out.line(&format!("GEO:{geo}")),
                None => self.lose(name, "a position that cannot be read"),
            },
            "DTSTART" | "DTEND" | "DUE" if event.start.is_none() && name == "DTSTART" || event.end.is_none() && name != "DTSTART" => {
                self.lose(name, format!("the time \"{}\", which cannot be read", super::super::error::clip(&value())));
            }
            RECIPIENT | TRACE | "TRANSP" | "COMPLETED" => {}
            x if x.starts_with("X-") => out.text(x, &text::readable(content, Format::VCalendar)),
            known if CARRIED.contains(&known) => {}
            "AALARM" | "DALARM" | "MALARM" | "PALARM" => self.lose(name, "the sender's own alarm"),
            other => self.lose(other, format!("{other} \"{}\"", super::super::error::clip(&value()))),
        }
    }
}

/// Properties that the event itself carries, or that mean nothing without what is not carried over.
const CARRIED: [&str; 26] = [
    "UID",
    "SEQUENCE",
    "RESPONSE-SEQUENCE",
    "ATTENDEE",
    "ORGANIZER",
    "DTSTART",
    "DTEND",
    "DUE",
    "DURATION",
    "RECURRENCE-ID",
    "DTSTAMP",
    "LAST-MODIFIED",
    "DCREATED",
    "CREATED",
    "SUMMARY",
    "SUBJECT",
    "DESCRIPTION",
    "LOCATION",
    "COMMENT",
    "STATUS",
    "RNUM",
    "TZ",
    "DAYLIGHT",
    "VERSION",
    "PRODID",
    "METHOD",
];

/// Whether a person would miss it in the calendar.
fn matters(property: &str) -> bool {
    !matches!(property, "AALARM" | "DALARM" | "MALARM" | "PALARM" | "VALARM" | "a line that is no property") && !property.starts_with("X-")
}

/// vCalendar writes longitude first, iCalendar latitude.
fn geo(value: &str) -> Option<String> {
    let (longitude, latitude) = value.split_once([',', ';'])?;
    let (longitude, latitude): (f64, f64) = (longitude.trim().parse().ok()?, latitude.trim().parse().ok()?);
    (longitude.abs() <= 180.0 && latitude.abs() <= 90.0).then(|| format!("{latitude};{longitude}"))
}

/// An iana-token in upper case.
fn word(value: &str) -> Option<String> {
    let fits = !value.is_empty() && value.len() < 60 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    fits.then(|| value.to_ascii_uppercase())
}

/// The ORGANIZER line with another person: its parameters stay, except what belonged to the old address.
fn organizer_over(content: &Content, person: &Person, replaced: bool) -> String {
    let stays = |p: &&Param| p.name != "CN" && !(replaced && matches!(p.name.as_str(), "SENT-BY" | "EMAIL" | "DIR" | "SCHEDULE-STATUS"));
    let params = params_text(content.params.iter().filter(stays));
    format!("ORGANIZER{}{params}:mailto:{}", fresh::common_name(person.name.as_deref()), person.address)
}
