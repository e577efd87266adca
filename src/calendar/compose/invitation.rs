//! An object as iCalendar for mail: a bare or vCalendar one is translated first; then it is patched line by line.
//!
//! No X-CIP- line or parameter goes to a mail program: it would only echo it in its answers (profile 9), and nothing at
//! its side restores what a carrier brings. What is not carried is listed as left out, and said in DESCRIPTION where a
//! person would miss it.

use std::collections::{HashMap, HashSet};

use super::fresh;
use super::{ComposeError, Composed, MailJob};
use crate::calendar::convert::{self, Done, Losses, Why};
use crate::calendar::event::{Component, Event, Format, Method, Moment, PartStat, Person};
use crate::calendar::object::{Object, RECIPIENT, TRACE};
use crate::calendar::patch::{Edits, params_text};
use crate::calendar::property::{Content, Param};
use crate::calendar::{people, text, time};
use crate::ident::UserId;

/// The object as one iCalendar object for mail (bridge 5 and 7).
pub fn icalendar(object: &Object, job: &MailJob<'_>) -> Result<Composed, ComposeError> {
    let mut plan = Plan {
        job,
        addresses: job.addresses.iter().map(|(old, new)| (old, new)).collect(),
        only: job.only.as_ref().map(|o| o.iter().collect()),
        losses: Losses::default(),
        translated: false,
    };
    if object.format() == Format::ICalendar {
        return plan.patch(object);
    }
    let options = convert::Options { now: job.now, notes: true };
    let translation = convert::for_mail(object, &options).map_err(ComposeError::NotTranslated)?;
    plan.losses.add(translation.losses, translation.more_losses);
    plan.translated = true;
    plan.patch(&Object::parse(translation.octets).map_err(ComposeError::NotTranslated)?)
}

struct Plan<'a> {
    job: &'a MailJob<'a>,
    addresses: HashMap<&'a UserId, &'a UserId>,
    only: Option<HashSet<&'a UserId>>,
    losses: Losses,
    /// It was no iCalendar object.
    translated: bool,
}

/// Methods whose object may do without a DTSTART.
fn needs_start(method: Method) -> bool {
    !matches!(method, Method::Reply | Method::Cancel | Method::Refresh | Method::DeclineCounter)
}

impl Plan<'_> {
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

    fn patch(mut self, object: &Object) -> Result<Composed, ComposeError> {
        let document = &object.document;
        let mut edits = Edits::new(document);
        for (index, line) in document.lines.iter().enumerate() {
            match &*line.name {
                RECIPIENT | TRACE => edits.drop_line(index),
                name if self.job.drop_attach && document.is_untrusted(line) => {
                    edits.drop_line(index);
                    let inside = matches!(name, "BEGIN" | "END") || document.components[line.component].name == "VALARM";
                    if !inside {
                        self.losses.push(name, &text::raw(&document.content(line)), Why::Unverified, Done::LeftOut);
                    } else if name == "BEGIN" {
                        self.losses.push("VALARM", "", Why::Unverified, Done::LeftOut);
                    }
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
        let (losses, more_losses) = self.losses.finish();
        Ok(Composed { octets, losses, more_losses })
    }

    fn patch_event(&mut self, edits: &mut Edits<'_>, object: &Object, place: usize, event: &Event) -> Result<(), ComposeError> {
        let document = &object.document;
        edits.set(place, "UID", &text::escape(&self.job.uid));
        edits.set(place, "SEQUENCE", &self.job.sequence.to_string());
        edits.set(place, "DTSTAMP", &time::basic_utc(self.job.now));
        if self.job.cancelled {
            edits.set(place, "STATUS", "CANCELLED");
        }
        self.fill_in(edits, object, place, event)?;
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
            let Some(seat) = people::seat(&content) else {
                if self.only.is_some() {
                    edits.drop_line(index);
                }
                continue;
            };
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

    /// DTSTART, DTEND and SUMMARY where the object has none.
    fn fill_in(&self, edits: &mut Edits<'_>, object: &Object, place: usize, event: &Event) -> Result<(), ComposeError> {
        let has = |names: &[&str]| object.document.lines_of(place).any(|(_, l)| names.contains(&&*l.name));
        let stand_in = self.job.stand_in.filter(|_| event.recurrence_id.is_none());
        if !has(&["DTSTART"]) {
            match stand_in.and_then(|e| e.start.as_ref()) {
                Some(start) => edits.insert(place, &fresh::moment_line("DTSTART", start)?),
                None if needs_start(self.job.method) && event.component != Component::FreeBusy => return Err(ComposeError::NoStart),
                None => {}
            }
            let end = stand_in.and_then(|e| e.end.as_ref()).filter(|_| !has(&["DTEND", "DUE", "DURATION"]));
            if let Some(end) = end {
                let name = if event.component == Component::Todo { "DUE" } else { "DTEND" };
                edits.insert(place, &fresh::moment_line(name, end)?);
            }
        }
        if !has(&["SUMMARY"]) {
            let first_line =
                || event.description.as_deref().filter(|_| self.translated)?.lines().next().map(|l| l.chars().take(80).collect());
            if let Some(summary) = stand_in.and_then(|s| s.summary.clone()).or_else(first_line) {
                edits.insert(place, &format!("SUMMARY:{}", text::escape(&summary)));
            }
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
        let params = params_text(content.params.iter().filter(|p| !drop.contains(&p.name.as_str())), Format::ICalendar);
        let asks = if asked { ";RSVP=TRUE;PARTSTAT=NEEDS-ACTION" } else { "" };
        Some(format!("ATTENDEE{params}{asks}:mailto:{new}"))
    }
}

/// The ORGANIZER line with another person: its parameters stay, except what belonged to the old address.
fn organizer_over(content: &Content, person: &Person, replaced: bool) -> String {
    let stays = |p: &&Param| p.name != "CN" && !(replaced && matches!(p.name.as_str(), "SENT-BY" | "EMAIL" | "DIR" | "SCHEDULE-STATUS"));
    let params = params_text(content.params.iter().filter(stays), Format::ICalendar);
    format!("ORGANIZER{}{params}:mailto:{}", fresh::common_name(person.name.as_deref()), person.address)
}
