//! Placing one person's answer, from a CIP RSVP or an iMIP REPLY: found on the event, ordered, queued for the owner.

use std::cmp::Ordering;
use std::time::Duration;

use super::{HeldFor, Intake, IntakeError, first_deadline, via_words};
use crate::calendar::Object;
use crate::calendar::event::PartStat;
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};
use crate::imip::address::Gateway;
use crate::ledger::LedgerError;
use crate::ledger::judge::counts;
use crate::ledger::records::{AnswerOrder, AnswerRecord, EventRecord, PersonRecord, clipped};
use crate::logbook;
use crate::queue::entry::{Answering, BodyKind, Entry, Origin, Recipient, State, Verb};

/// Answers taken from one object; each may cost a look-up.
pub(super) const ANSWERS: usize = 100;
/// People of one event who were not invited but had a place delegated to them.
const DELEGATES: usize = 20;

/// One person's answer as it arrived.
pub(super) struct AnswerArrival<'a> {
    pub event_id: EventId,
    pub rid: Option<String>,
    pub attendee: UserId,
    pub name: Option<String>,
    pub status: PartStat,
    pub comment: Option<String>,
    /// The version that is answered; `None`: the newest accepted for him.
    pub version: Option<u32>,
    pub response_sequence: Option<u32>,
    pub dtstamp: Option<Timestamp>,
    pub standing: u8,
    pub origin: Origin,
    pub kind: BodyKind,
    pub body: &'a [u8],
    pub hops: usize,
    /// What SPF, DKIM and DMARC say of the mail that it came in.
    pub findings: Option<String>,
    /// A mail that was addressed to the owner plainly: by e-mail it is passed on, not composed.
    pub plain: bool,
    /// The answer itself, to see what it proposes.
    pub object: &'a Object,
    /// The sender may have answers passed to owners elsewhere.
    pub may_pass: bool,
    /// Who gave him his place, when that is vouched for: then he need not be on the event yet.
    pub delegated_from: Option<UserId>,
    /// To whom he gives his place.
    pub delegated_to: Option<UserId>,
}

impl AnswerArrival<'_> {
    /// `DECLINED of mary@tiny.com to version 3, accepted by smtp, standing 3`, for a history.
    fn words(&self, version: u32) -> String {
        let instance = self.rid.as_ref().map_or_else(String::new, |rid| format!(" of instance {rid}"));
        let (status, who) = (self.status.icalendar(), &self.attendee);
        format!("answer {status} of {who} to version {version}{instance}, by {}", self.via())
    }

    fn via(&self) -> String {
        let via = via_words(&self.origin);
        self.findings.as_ref().map_or_else(|| via.clone(), |findings| format!("{via}, {findings}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerPlaced {
    Stored,
    /// The same answer, or an older one than is known: nothing is sent.
    Known,
    Held,
    /// It would be held, and there is too much of that.
    Refused,
    NotOnEvent,
    NoEvent,
}

impl Intake {
    /// Places an answer to an event that the ledger knows.
    pub(super) async fn place_answer(&self, arrival: &AnswerArrival<'_>) -> Result<AnswerPlaced, IntakeError> {
        let _lock = self.0.ledger.lock(&arrival.event_id).await;
        let Some(record) = self.0.ledger.event(&arrival.event_id)? else { return Ok(AnswerPlaced::NoEvent) };
        if !self.ours(record.owner.server()) && !arrival.may_pass && arrival.standing < 2 {
            return Ok(AnswerPlaced::NoEvent);
        }
        let person = match self.person_of(&record.event_id, &arrival.attendee)? {
            Some(person) => Some(person).filter(|p| p.removed.is_none()),
            None if arrival.delegated_from.is_some() => self.delegate(&record.event_id, &arrival.attendee)?,
            None => None,
        };
        let Some(person) = person else { return Ok(AnswerPlaced::NotOnEvent) };
        self.store_answer(arrival, &record, person, None).await
    }

    /// One who takes the place of somebody on the event (RFC 5546 3.2.2.3), unless there are too many.
    fn delegate(&self, event: &EventId, delegate: &UserId) -> Result<Option<PersonRecord>, LedgerError> {
        let uninvited = self.0.ledger.people(event)?.iter().filter(|p| p.versions == 0).count();
        let mut person = PersonRecord::new(event.clone(), delegate.clone());
        person.add_address(delegate);
        Ok((uninvited < DELEGATES).then_some(person))
    }

    /// Keeps an answer for the administrator, who may release it (bridge 4: never dropped, never another's).
    pub(super) async fn hold_answer(&self, arrival: &AnswerArrival<'_>, reason: &str) -> Result<AnswerPlaced, IntakeError> {
        let _lock = self.0.ledger.lock(&arrival.event_id).await;
        let Some(record) = self.0.ledger.event(&arrival.event_id)? else { return Ok(AnswerPlaced::NoEvent) };
        let person = PersonRecord::new(record.event_id.clone(), arrival.attendee.clone());
        self.store_answer(arrival, &record, person, Some(reason)).await
    }

    /// The person with this address in an event, under any of the addresses that are known for him (bridge 3).
    pub(super) fn person_of(&self, event: &EventId, address: &UserId) -> Result<Option<PersonRecord>, LedgerError> {
        self.keeper().person_of(event, address)
    }

    /// Attendees known to have confirmed (draft 2.3).
    pub(super) fn confirmed(&self, event: &EventId, rid: Option<&str>) -> Result<Vec<UserId>, LedgerError> {
        let Some(record) = self.0.ledger.event(event)? else { return Ok(Vec::new()) };
        let accepted = |p: &PersonRecord| {
            let answer = p.answer(rid).or_else(|| p.answer(None));
            p.removed.is_none() && answer.is_some_and(|a| a.status == PartStat::Accepted && counts(&record, a))
        };
        // A gateway address is nobody's address elsewhere.
        let told = |p: PersonRecord| match Gateway::unwrap(p.written(), self.0.config.mail_domain()) {
            Some(_) => p.user,
            None => p.written().clone(),
        };
        Ok(self.0.ledger.people(event)?.into_iter().filter(accepted).map(told).collect())
    }

    async fn store_answer(
        &self,
        arrival: &AnswerArrival<'_>,
        record: &EventRecord,
        mut person: PersonRecord,
        held: Option<&str>,
    ) -> Result<AnswerPlaced, IntakeError> {
        let now = self.now();
        let rid = arrival.rid.as_deref();
        let order = believed_order(arrival, record, &person, now);
        let comment = arrival.comment.as_deref().map(clipped);
        let proposal = self.0.ledger.proposed(Some(record), rid, order.version, arrival.object, now)?.map(|p| p.proposal.mark());
        // A COUNTER need not say again how its attendee stands to what is in force.
        let status = match person.answer(rid) {
            Some(known) if proposal.is_some() && arrival.status == PartStat::NeedsAction => known.status,
            _ => arrival.status,
        };
        let mut held = held.map(str::to_owned);
        if held.is_none()
            && let Some(known) = person.answer(rid)
        {
            let same =
                (known.status, &known.comment, known.proposal) == (status, &comment, proposal) && known.order.version == order.version;
            match compare(arrival, order, known, same) {
                // What was given up on is said once more.
                Compared::Known | Compared::Again if same && known.lost => {}
                Compared::Newer => {}
                Compared::Known => {
                    // What was stored before may still be on its way to the disk, when its client did not wait for the answer.
                    self.0.queue.commit(self.0.queue.change()).await?;
                    return Ok(AnswerPlaced::Known);
                }
                Compared::Again => return self.known_again(person, rid, order, arrival.standing).await,
                Compared::Doubtful => {
                    held = Some(format!(
                        "it differs from the known answer, which came with standing {}, and its sender has standing {}",
                        known.standing, arrival.standing
                    ));
                }
            }
        }
        let held = held.as_deref();
        let version = order.version;
        if held.is_some() {
            let (event, who) = (&record.event_id, &arrival.attendee);
            let person = HeldFor { event, rid, verb: Verb::Rsvp, who, version, standing: arrival.origin.standing };
            if self.held_before(&person, arrival.kind, arrival.body)? {
                return Ok(AnswerPlaced::Known);
            }
            if !self.may_hold(event, arrival.standing)? {
                return Ok(AnswerPlaced::Refused);
            }
        }
        person.response_sequence = person.response_sequence.saturating_add(1);
        let mut change = self.0.queue.change();
        let body = change.add_body(arrival.kind, arrival.body, 1);
        let owner = Recipient::new(record.owner.clone(), record.owner.clone(), !arrival.plain);
        let mut entry = self.entry(Verb::Rsvp, self.destination_of(&record.owner), vec![owner], arrival.origin.clone(), body);
        entry.event_id = Some(record.event_id.clone());
        entry.recurrence_id.clone_from(&arrival.rid);
        entry.version = Some(version);
        entry.owner = Some(record.owner.clone());
        entry.hops = u32::try_from(arrival.hops).unwrap_or(u32::MAX);
        let attendee = if held.is_some() { arrival.attendee.clone() } else { person.written().clone() };
        entry.answer = Some(Answering { attendee, response_sequence: person.response_sequence });
        let part = record.answered_part(rid);
        entry.event_start = part.and_then(|p| p.start.as_ref()).and_then(crate::calendar::event::Moment::instant);
        // Whether the whole event is a series is not known here; one instance ends when it ends.
        entry.event_end = part.filter(|_| rid.is_some()).and_then(|p| p.end.as_ref()).and_then(crate::calendar::event::Moment::instant);
        entry.note(now, format!("answer of {} accepted by {}", arrival.attendee, arrival.via()));
        let mut told = arrival.words(version);
        if let Some(reason) = held {
            told.push_str(&format!(", held: {reason}"));
            entry.state = State::Held;
            entry.doubted = true;
            reason.clone_into(&mut entry.reason);
            entry.note(now, format!("held: {reason}"));
        } else {
            let answer = AnswerRecord {
                rid: arrival.rid.clone(),
                status,
                comment,
                order,
                standing: arrival.standing,
                at: now,
                proposal,
                lost: false,
            };
            if proposal.is_some() {
                entry.note(now, "proposes a change to the event");
            }
            person.add_address(&arrival.attendee);
            if person.name.is_none() {
                person.name = arrival.name.as_deref().map(clipped);
            }
            let over = !counts(record, &answer);
            if over {
                told.push_str(", late: the event's time has changed since");
                entry.note(now, format!("answers version {version}; the event's time has changed since"));
            }
            // Better known than a later one that counts: passed on as what it is, and not in its place (profile 6).
            if !over || !person.answer(rid).is_some_and(|known| answer.order < known.order && counts(record, known)) {
                person.set_answer(answer);
            }
            // He may answer from now on, whichever way his answer comes.
            if let Some(delegate) = &arrival.delegated_to
                && (arrival.status, arrival.standing >= 2) == (PartStat::Delegated, true)
                && self.person_of(&record.event_id, delegate)?.is_none()
                && let Some(delegate) = self.delegate(&record.event_id, delegate)?
            {
                self.0.ledger.put_person(change.batch_mut(), &delegate)?;
            }
            self.keeper().engage(change.batch_mut(), &record.event_id, &arrival.attendee, Some(&person.user))?;
            self.0.ledger.put_person(change.batch_mut(), &person)?;
        }
        self.0.ledger.tell(change.batch_mut(), &record.event_id, now, vec![told])?;
        entry.deadline = first_deadline(&entry, &self.0.config);
        change.put(entry.clone());
        self.0.queue.commit(change).await?;
        logbook::accepted(&entry);
        if held.is_some() {
            logbook::held(&entry);
            return Ok(AnswerPlaced::Held);
        }
        self.drop_older_answers(&entry).await;
        Ok(AnswerPlaced::Stored)
    }
}

impl Intake {
    /// Keeps the place and the standing of the known answer given again.
    async fn known_again(
        &self,
        mut person: PersonRecord,
        rid: Option<&str>,
        order: AnswerOrder,
        standing: u8,
    ) -> Result<AnswerPlaced, IntakeError> {
        let mut change = self.0.queue.change();
        if let Some(known) = person.answer_mut(rid) {
            (known.order, known.standing) = (order, standing);
            self.0.ledger.put_person(change.batch_mut(), &person)?;
        }
        self.0.queue.commit(change).await?;
        Ok(AnswerPlaced::Known)
    }

    /// A newer answer makes an older, still waiting one of the same attendee pointless (bridge 3).
    async fn drop_older_answers(&self, placed: &Entry) {
        let (Some(event), Some(newer)) = (&placed.event_id, &placed.answer) else { return };
        let waiting = self.0.queue.waiting(event, placed.recurrence_id.as_deref(), Verb::Rsvp, &newer.attendee);
        for (id, _) in waiting.unwrap_or_default() {
            if id == placed.id {
                continue;
            }
            let Some(lease) = self.0.queue.take(id, Duration::ZERO).await else { continue };
            let older = lease.entry.answer.as_ref().is_some_and(|a| a.response_sequence < newer.response_sequence);
            if !older || lease.entry.owner != placed.owner || lease.before() == State::Held {
                continue;
            }
            let mut change = self.0.queue.change();
            change.remove(&lease.entry);
            let line = format!("answer of {}: not sent, a newer one takes its place (entry {id})", newer.attendee);
            if let Err(error) = self.0.ledger.tell(change.batch_mut(), event, self.now(), vec![line]) {
                tracing::error!(%id, %error, "the history of an event cannot be written");
            }
            logbook::superseded(id, &newer.attendee, placed.version.unwrap_or(0));
            logbook::removed(&lease.entry, self.now());
            if let Err(error) = self.0.queue.settle(lease, change).await {
                tracing::error!(%id, %error, "a superseded answer could not be settled; delivery will drop it");
            }
        }
    }
}

/// What an answer is beside the one that is known.
enum Compared {
    Newer,
    /// The same, or older: nothing is sent.
    Known,
    /// The same, later or from someone who is better known. Nothing is sent, but what was answered in between must not come
    /// after it, and it counts with his standing from now on.
    Again,
    /// Another one, from someone who is less well known than the sender of the known one (profile 4).
    Doubtful,
}

/// The order counts only between answers of the same standing: a forged one is never in the way of a better known one.
#[allow(clippy::match_same_arms, reason = "one line a case reads as the rule does")]
fn compare(arrival: &AnswerArrival<'_>, order: AnswerOrder, known: &AnswerRecord, same: bool) -> Compared {
    match arrival.standing.cmp(&known.standing) {
        Ordering::Less if same => Compared::Known,
        Ordering::Less => Compared::Doubtful,
        Ordering::Greater if same => Compared::Again,
        Ordering::Equal if same && order > known.order => Compared::Again,
        Ordering::Equal if same || order < known.order => Compared::Known,
        Ordering::Greater | Ordering::Equal => Compared::Newer,
    }
}

/// The place of an answer in the order of the attendee's answers, as far as it can be believed. Numbers out of all reach would
/// put every later answer behind this one: no version is answered before there is one, nothing was written after now,
/// and below standing 2 an answer is at most the next one.
fn believed_order(arrival: &AnswerArrival<'_>, record: &EventRecord, person: &PersonRecord, now: Timestamp) -> AnswerOrder {
    let rid = arrival.rid.as_deref();
    let known = person.answer(rid).map_or(0, |a| a.order.response_sequence);
    let version = arrival.version.or_else(|| person.accepted_version(rid)).unwrap_or_else(|| record.version());
    let response_sequence = arrival.response_sequence.unwrap_or(known);
    AnswerOrder {
        version: version.min(record.version()),
        response_sequence: if arrival.standing < 2 { response_sequence.min(known.saturating_add(1)) } else { response_sequence },
        dtstamp: arrival.dtstamp.unwrap_or(now).min(now),
    }
}

impl Intake {
    /// An answer to an event that the ledger does not know, whose owner lives elsewhere: sent to the owner as it is.
    pub(super) async fn pass_answer(&self, arrival: &AnswerArrival<'_>, owner: &UserId) -> Result<(), IntakeError> {
        let mut change = self.0.queue.change();
        let body = change.add_body(arrival.kind, arrival.body, 1);
        let recipient = Recipient::new(owner.clone(), owner.clone(), !arrival.plain);
        let mut entry = self.entry(Verb::Rsvp, self.destination_of(owner), vec![recipient], arrival.origin.clone(), body);
        entry.event_id = Some(arrival.event_id.clone());
        entry.recurrence_id.clone_from(&arrival.rid);
        entry.version = arrival.version;
        entry.owner = Some(owner.clone());
        entry.answer = Some(Answering { attendee: arrival.attendee.clone(), response_sequence: 1 });
        entry.note(self.now(), format!("answer of {} to an event not known here, accepted by {}", arrival.attendee, arrival.via()));
        entry.deadline = first_deadline(&entry, &self.0.config);
        change.put(entry.clone());
        self.0.queue.commit(change).await?;
        logbook::accepted(&entry);
        Ok(())
    }
}
