//! Answers on their way out: one person's RSVP for a CIP server, his REPLY or COUNTER for an organizer's mail program.
//!
//! Invariants: an answer goes under the address that the organizer knows; one that came alone by CIP goes on by CIP as it
//! came; what an answer proposes (a COUNTER, or an RSVP with other properties than those in force) goes with it, by
//! whichever way.

use super::prepare::{NotPrepared, readable, stand_in};
use super::{Delivery, ledger_event};
use crate::calendar::compose::{self, ReplyJob, RsvpJob};
use crate::calendar::event::{Event, Method, PartStat, Person};
use crate::calendar::{Object, Patch};
use crate::config::ObjectFormat;
use crate::ident::{EventId, UserId};
use crate::imip;
use crate::imip::compose::{Before, Language};
use crate::ledger::LedgerError;
use crate::ledger::proposals::Proposed;
use crate::ledger::records::EventRecord;
use crate::queue::entry::{BodyKind, Entry};

impl Delivery {
    /// One person's answer, under the address that the owner knows.
    pub(super) fn rsvp(&self, entry: &Entry, object: &Object) -> Result<Vec<u8>, NotPrepared> {
        let (Some(event_id), Some(answering)) = (&entry.event_id, &entry.answer) else {
            return Err(NotPrepared::Hold("the entry does not say whose answer it carries".to_owned()));
        };
        // Given to an instance that was an event of its own where it comes from, it says nothing of the series.
        let whole = entry.recurrence_id.is_some() && object.event().recurrence_id.is_none();
        if let (BodyKind::Object, [one], false) = (entry.body.kind, object.answers().as_slice(), whole) {
            let mut patch = Patch { drop_recipients: true, add_trace: Some(self.trace(entry)), ..Patch::default() };
            patch.uid = Some(event_id.clone());
            if one.address != answering.attendee {
                patch.rewrite.push((one.address.clone(), answering.attendee.clone()));
            }
            return Ok(object.patched(&patch));
        }
        // From a mail, or one of several answers in one object: each was accepted or refused by itself, and goes by itself.
        let answer = self.answer_of(entry, object)?;
        let owner = entry.owner.clone().map(Person::new);
        let proposed = self.proposed(entry, object)?;
        let proposal = proposed.as_ref().map(|p| &p.proposal);
        if let (ObjectFormat::Icalendar, Some(owner)) = (self.object_format(entry), &owner) {
            let job = ReplyJob {
                method: if proposal.is_some() { Method::Counter } else { Method::Reply },
                uid: event_id.as_str(),
                sequence: entry.version.map_or(0, |v| v.saturating_sub(1)),
                response_sequence: Some(answering.response_sequence),
                recurrence_id: entry.recurrence_id.as_deref(),
                organizer: owner,
                attendee: &answer,
                event: proposal.map(|_| object.event()),
                proposal,
                comment: object.event().comment.as_deref(),
                now: entry.received,
            };
            return self.traced(entry, compose::reply(&job));
        }
        let job = RsvpJob {
            event_id,
            version: entry.version,
            response_sequence: answering.response_sequence,
            attendee: &answer,
            owner: owner.as_ref(),
            comment: object.event().comment.as_deref(),
            recurrence_id: entry.recurrence_id.as_deref(),
            now: entry.received,
            proposal,
        };
        self.traced(entry, compose::rsvp(&job))
    }

    /// An answer that was composed, with its trace line.
    fn traced(&self, entry: &Entry, octets: Vec<u8>) -> Result<Vec<u8>, NotPrepared> {
        let object = Object::parse(octets).map_err(|e| NotPrepared::Hold(format!("the RSVP that was composed cannot be read: {e}")))?;
        Ok(object.patched(&Patch { add_trace: Some(self.trace(entry)), ..Patch::default() }))
    }

    /// What the answer of an entry proposes.
    fn proposed(&self, entry: &Entry, object: &Object) -> Result<Option<Proposed>, NotPrepared> {
        let hold = |error: LedgerError| NotPrepared::Hold(error.to_string());
        let record = ledger_event(entry).map(|event| self.0.ledger.event(event)).transpose().map_err(hold)?.flatten();
        let version = entry.version.or_else(|| record.as_ref().map(EventRecord::version)).unwrap_or(1);
        self.0.ledger.proposed(record.as_ref(), entry.recurrence_id.as_deref(), version, object, entry.received).map_err(hold)
    }

    /// The person who answers, with the status of the stored answer and the address that the organizer knows.
    fn answer_of(&self, entry: &Entry, object: &Object) -> Result<Person, NotPrepared> {
        let unclear = || NotPrepared::Hold("the entry does not say whose answer it carries".to_owned());
        let attendee = &entry.answer.as_ref().ok_or_else(unclear)?.attendee;
        // A COUNTER may list others with their answers, and its own attendee without one (RFC 5546 3.2.7).
        let counter = object.event().method == Some(Method::Counter);
        let answers = if counter { object.event().attendees.clone() } else { object.answers() };
        let mut person = match answers.as_slice() {
            [one] => one.clone(),
            [] => Person::new(attendee.clone()),
            several => {
                // He may have answered under any of his addresses.
                let known = ledger_event(entry).map(|event| self.0.ledger.person_at(event, attendee)).transpose();
                let known = known.map_err(|e| NotPrepared::Hold(e.to_string()))?.flatten();
                let his = |p: &&Person| {
                    self.0.directory.same_person(&p.address, attendee) || known.as_ref().is_some_and(|known| known.is(&p.address))
                };
                several.iter().find(|p| p.address == *attendee).or_else(|| several.iter().find(his)).ok_or_else(unclear)?.clone()
            }
        };
        person.address.clone_from(attendee);
        if let (Some(event), Some(from)) = (ledger_event(entry), person.delegated_from.clone()) {
            // The organizer knows the delegator under the name that he wrote.
            let people = self.0.ledger.people(event).map_err(|e| NotPrepared::Hold(e.to_string()))?;
            let known = people.iter().find(|p| p.is(&from) || self.0.directory.same_person(&p.user, &from));
            person.delegated_from = Some(known.map_or(from, |p| p.written().clone()));
        }
        person.status.get_or_insert(PartStat::NeedsAction);
        Ok(person)
    }

    pub(super) fn reply_mail(
        &self,
        entry: &Entry,
        object: &Object,
        n: usize,
        record: Option<&EventRecord>,
        reply_to: &UserId,
    ) -> Result<(Vec<u8>, Vec<String>), NotPrepared> {
        let recipient = &entry.recipients[n];
        let answer = self.answer_of(entry, object)?;
        let event_id = entry.event_id.as_ref().map_or("", EventId::as_str);
        let rid = entry.recurrence_id.as_deref();
        let stand_in = record.and_then(|r| stand_in(r, rid, object));
        let version = entry.version.unwrap_or(1);
        let sequence = record
            .and_then(|r| r.answered_part(rid))
            .and_then(|p| p.seen.iter().find(|s| s.version == version))
            .map_or_else(|| version.saturating_sub(1), |s| s.sequence);
        let mut organizer = Person::new(record.map_or_else(|| recipient.original.clone(), |r| r.owner.clone()));
        organizer.name = record.and_then(|r| r.owner_name.clone());
        let proposed = self.proposed(entry, object)?;
        let job = ReplyJob {
            method: match object.event().method {
                _ if proposed.is_some() => Method::Counter,
                Some(Method::Refresh) => Method::Refresh,
                _ => Method::Reply,
            },
            uid: record.map_or(event_id, |r| &r.ical_uid),
            sequence,
            response_sequence: None,
            recurrence_id: rid,
            organizer: &organizer,
            attendee: &answer,
            event: stand_in.as_ref(),
            proposal: proposed.as_ref().map(|p| &p.proposal),
            comment: object.event().comment.as_deref(),
            now: entry.received,
        };
        let calendar = match &proposed {
            Some(proposed) => readable(compose::counter(&job, proposed.object.as_ref()))?,
            None => readable(compose::reply(&job))?,
        };
        let said = proposed.as_ref().map(|p| told(p, stand_in.as_ref().unwrap_or(object.event()), object.event()));
        let states = proposed.as_ref().and_then(|p| Some((p.in_force.as_ref()?, p.proposal.applied(p.in_force.as_ref()?))));
        let mail = imip::compose::Envelope {
            calendar: &calendar,
            event: said.as_ref().or(stand_in.as_ref()).unwrap_or(object.event()),
            attendee: &answer.address,
            before: match (&proposed, &states) {
                (None, _) => Before::Nothing,
                (Some(_), None) => Before::Unknown,
                (Some(_), Some((had, has))) => Before::Known { had, has },
            },
            language: Language::English,
            from: reply_to,
            reply_to,
            recipient: &recipient.user,
            recipient_name: organizer.name.as_deref(),
            site: &self.0.config.server_id,
            mail_domain: self.0.config.mail_domain(),
            event_id,
            standing: entry.origin.standing,
            traces: &[self.trace(entry)],
            now: entry.received,
        };
        imip::compose::reply(&mail, &answer).map(|mail| (mail, Vec::new())).map_err(|e| NotPrepared::Hold(e.to_string()))
    }
}

/// The event of a proposal as a person is told of it: in its own words, with what is proposed and the proposer's comment.
fn told(proposed: &Proposed, stand_in: &Event, answer: &Event) -> Event {
    let known = proposed.object.as_ref().map_or(stand_in, Object::event);
    Event { comment: answer.comment.clone(), ..proposed.proposal.applied_to(known) }
}
