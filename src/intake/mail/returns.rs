//! What comes back by mail: answers to an owner elsewhere, and whatever reaches a reply address or an envelope sender of
//! ours (bridge 4).
//!
//! A reply address is worth what its holder is: an answer of somebody else by it is never the holder's, and one that its
//! attendee did not write is held. A human's mail to a reply address goes on to the counterpart, an automatic one is
//! dropped, and an envelope sender of ours takes delivery reports only, each of them once.

use super::post::Post;
use super::{Judged, Kind, held_enough, unreadable};
use crate::calendar::Object;
use crate::calendar::event::{Event, Method, Person};
use crate::ident::{EventId, UserId};
use crate::intake::answers::{ANSWERS, AnswerArrival, AnswerPlaced};
use crate::intake::loops::Traces;
use crate::intake::refresh::Refreshed;
use crate::intake::{IntakeError, Target};
use crate::ledger::judge::MAX_VERSION;
use crate::ledger::records::TokenRecord;
use crate::listen::MailReply;
use crate::policy::directory::Whereabouts;
use crate::policy::verify::NotNow;
use crate::queue::entry::{BodyKind, Destination};

/// What became of one answer to a reply address.
enum Answered {
    Said(MailReply),
    /// The message went on to the owner as it is.
    PassedOn(MailReply),
}

impl Post<'_> {
    /// A reply for an owner elsewhere, addressed plainly or through the gateway.
    pub(super) async fn to_owner(
        &self,
        person: &Judged,
        object: &Result<Option<(Object, Method)>, String>,
    ) -> Result<MailReply, IntakeError> {
        let Ok(Some((object, method))) = object else { return Ok(unreadable("no calendar part")) };
        let (event, attendee) = (object.event(), self.attendee(object, *method));
        let (Some(owner), Ok(attendee)) = (event.owner.as_ref(), attendee) else { return Ok(unreadable("no organizer")) };
        if self.traces.ours() {
            return Ok(Traces::refusal(&person.address));
        }
        let addressed = person.user();
        if *method == Method::Refresh {
            // One who is in the event has it from here; anybody else asks its owner.
            let known = self.intake.0.ledger.event(&event.uid)?.is_some_and(|r| r.owner == owner.address && r.owner == *addressed);
            let rid = event.recurrence_id.as_deref();
            if known && self.intake.refresh(&event.uid, rid, &attendee.address, &self.origin()).await? == Refreshed::Sent {
                return Ok(MailReply::new(250, "2.0.0", "Accepted: the current version follows"));
            }
        }
        let parts = object.one_by_one();
        let mut full = None;
        for part in parts.iter().take(ANSWERS) {
            let Ok(attendee) = self.attendee(part, *method) else { continue };
            let mut arrival = self.answer(event.uid.clone(), part, &attendee);
            // The message as a whole would answer as often as it has answers.
            arrival.plain = !matches!(person.kind, Kind::Gateway(_)) && parts.len() == 1;
            arrival.may_pass = true;
            let known = self.intake.0.ledger.event(&event.uid)?.is_some_and(|r| r.owner == owner.address && r.owner == *addressed);
            let placed =
                if known && *method != Method::Refresh { self.intake.place_answer(&arrival).await? } else { AnswerPlaced::NoEvent };
            match placed {
                AnswerPlaced::NoEvent | AnswerPlaced::NotOnEvent => self.intake.pass_answer(&arrival, addressed).await?,
                AnswerPlaced::Stored | AnswerPlaced::Known | AnswerPlaced::Held => {}
                AnswerPlaced::Refused => full = Some(held_enough()),
            }
        }
        Ok(full.unwrap_or_else(|| MailReply::new(250, "2.0.0", "Accepted")))
    }

    fn answer<'e>(&'e self, event_id: EventId, object: &'e Object, attendee: &Person) -> AnswerArrival<'e> {
        let event = object.event();
        AnswerArrival {
            event_id,
            rid: event.recurrence_id.clone(),
            attendee: attendee.address.clone(),
            name: attendee.name.clone(),
            status: attendee.status.unwrap_or(crate::calendar::event::PartStat::NeedsAction),
            comment: event.comment.clone(),
            // In the relay's own mail as in an object of theirs (profile 5).
            version: event.sequence.map(|s| s.saturating_add(1).min(MAX_VERSION)),
            response_sequence: None,
            dtstamp: event.dtstamp,
            standing: if self.client.trusted { 3 } else { 0 },
            origin: self.origin(),
            kind: BodyKind::Message,
            body: self.message,
            hops: event.traces.len(),
            findings: self.findings.as_ref().map(ToString::to_string),
            plain: false,
            object,
            may_pass: true,
            delegated_from: None,
            delegated_to: attendee.delegated_to.clone(),
        }
    }

    /// A message to a reply address (bridge 4).
    pub(super) async fn to_token(
        &self,
        token: &TokenRecord,
        object: &Result<Option<(Object, Method)>, String>,
    ) -> Result<MailReply, IntakeError> {
        let (object, method) = match object {
            Ok(Some((object, method))) => (object, *method),
            Ok(None) => return self.human(token).await,
            Err(why) => return Ok(unreadable(why)),
        };
        if !matches!(method, Method::Reply | Method::Counter | Method::Refresh) {
            let why = format!(
                "{} is not for this reply address: it takes REPLY, COUNTER and REFRESH, and DECLINECOUNTER from the organizer to whom it was given",
                method.as_str()
            );
            return Ok(MailReply::new(550, "5.6.1", why));
        }
        let event = object.event();
        let Some(record) = self.intake.0.ledger.event(&token.event_id)? else {
            return Ok(MailReply::new(550, "5.1.6", "The event of this reply address is over and forgotten"));
        };
        if event.uid.as_str() != record.ical_uid && event.uid != record.event_id {
            return Ok(MailReply::new(550, "5.6.0", "This reply address belongs to another event"));
        }
        // An address that was given out under a former id of the event (profile 8).
        let now = TokenRecord { event_id: self.intake.0.ledger.followed(&token.event_id)?, ..token.clone() };
        let token = &now;
        if method == Method::Refresh {
            return self.refresh(token, object).await;
        }
        let mut said: Option<MailReply> = None;
        for part in object.one_by_one().iter().take(ANSWERS) {
            let reply = match self.by_token(token, part, method).await? {
                Answered::Said(reply) => reply,
                // The message is on its way as a whole.
                Answered::PassedOn(reply) => return Ok(reply),
            };
            let worse =
                |known: &MailReply| reply.temporary() && !known.temporary() || reply.positive() && !known.positive() && !known.temporary();
            if said.as_ref().is_none_or(worse) {
                said = Some(reply);
            }
        }
        Ok(said.unwrap_or_else(|| unreadable("it names no event")))
    }

    /// One answer to a reply address.
    async fn by_token(&self, token: &TokenRecord, object: &Object, method: Method) -> Result<Answered, IntakeError> {
        let event = object.event();
        let refuse = |code, enhanced, why: String| Ok(Answered::Said(MailReply::new(code, enhanced, why)));
        let attendee = match method {
            // A COUNTER may list the others too (RFC 5546 3.2.7): it is of whoever was given this address, else of who wrote it.
            Method::Counter => self.countering(token, event)?,
            _ => self.answering(event),
        };
        let Some(attendee) = attendee else {
            return refuse(550, "5.6.0", format!("A reply is of one attendee, this names {}", event.attendees.len()));
        };
        if attendee.status.is_none() && method == Method::Reply {
            return refuse(550, "5.6.0", "The reply's ATTENDEE has no PARTSTAT".to_owned());
        }
        if self.undecided() {
            return refuse(451, "4.7.0", "Whether this is from whom it says cannot be looked up now, try again later".to_owned());
        }
        let is_holder = self.is_holder(token, &attendee.address)?;
        let mut arrival = self.answer(token.event_id.clone(), object, attendee);
        arrival.standing = if self.client.trusted { 3 } else { 2 };
        arrival.origin.standing = arrival.standing;
        // Whoever has the reply address and says so has it from its holder.
        if !is_holder && let Some(from) = &attendee.delegated_from {
            arrival.delegated_from = self.is_holder(token, from)?.then(|| token.holder.clone());
        }
        let may_answer = is_holder || arrival.delegated_from.is_some();
        let cannot = || Ok(Answered::Said(MailReply::new(451, "4.1.1", format!("<{}> cannot be looked up now", attendee.address))));
        if !may_answer {
            match self.vouched_for(attendee).await {
                // A forwarded invitation (bridge 4): the owner decides what this answer is worth.
                Ok(true) => {
                    let why = "an answer by someone who was not invited, as plain mail";
                    return Ok(Answered::PassedOn(self.to_counterpart(token, why).await?));
                }
                Ok(false) => {}
                Err(_) => return cannot(),
            }
        }
        let Ok(sent) = self.sent_for(attendee).await else { return cannot() };
        let doubt = if may_answer {
            let stranger = || format!("the answer is of {}, who is neither in From nor in Sender", attendee.address);
            let sender = || format!("who wrote the answer says only himself that {} has sent him", attendee.address);
            match (self.wrote(attendee), sent) {
                (false, _) => Some(stranger()),
                (true, false) => Some(sender()),
                (true, true) => self.forged(attendee),
            }
        } else {
            Some(format!("{} answers by a reply address that was given to {}", attendee.address, token.holder))
        };
        let placed = match doubt {
            Some(reason) => self.intake.hold_answer(&arrival, &reason).await?,
            None => self.intake.place_answer(&arrival).await?,
        };
        Ok(Answered::Said(match placed {
            AnswerPlaced::Stored | AnswerPlaced::Known => MailReply::new(250, "2.0.0", "Accepted"),
            AnswerPlaced::Held => MailReply::new(250, "2.0.0", "Accepted, and held for the administrator"),
            AnswerPlaced::Refused => held_enough(),
            AnswerPlaced::NotOnEvent => MailReply::new(550, "5.7.1", format!("{} is not in this event any more", attendee.address)),
            AnswerPlaced::NoEvent => MailReply::new(550, "5.1.6", "The event of this reply address is over and forgotten"),
        }))
    }

    /// Whether it is written by the attendee himself, or by somebody who may write for him: whom our own side lets say so, or,
    /// from outside, a user of the attendee's own domain. A reply address alone lets nobody be sent (bridge 4).
    async fn sent_for(&self, attendee: &Person) -> Result<bool, NotNow> {
        let himself = Person { sent_by: None, ..attendee.clone() };
        if self.client.trusted || self.wrote(&himself) {
            return Ok(true);
        }
        let Some(sender) = attendee.sent_by.as_ref().filter(|s| s.server() == attendee.address.server()) else { return Ok(false) };
        Ok(matches!(self.intake.0.directory.look_up(sender).await?, Whereabouts::Here { .. } | Whereabouts::Elsewhere))
    }

    /// The holder of a reply address asks for the current version.
    async fn refresh(&self, token: &TokenRecord, object: &Object) -> Result<MailReply, IntakeError> {
        let event = object.event();
        let asker = event.attendees.iter().find(|p| self.wrote(p));
        let person = self.intake.person_of(&token.event_id, &token.holder)?;
        let same = |address: &UserId| {
            self.intake.0.directory.same_person(address, &token.holder) || person.as_ref().is_some_and(|p| p.is(address))
        };
        let Some(asker) = asker.filter(|asker| same(&asker.address)) else {
            return Ok(MailReply::new(550, "5.7.1", format!("Only {} may ask for the event by this reply address", token.holder)));
        };
        let rid = event.recurrence_id.as_deref();
        Ok(match self.intake.refresh(&token.event_id, rid, &asker.address, &self.origin()).await? {
            Refreshed::Sent => MailReply::new(250, "2.0.0", "Accepted: the current version follows"),
            Refreshed::NoEvent => MailReply::new(550, "5.1.6", "Nothing is kept here of the event: ask its organizer"),
            Refreshed::NotOnEvent => MailReply::new(550, "5.7.1", "You are no longer in this event"),
        })
    }

    /// A human answer goes on to the counterpart; an automatic one is dropped.
    async fn human(&self, token: &TokenRecord) -> Result<MailReply, IntakeError> {
        if self.read.as_ref().is_ok_and(|m| m.automatic) || self.envelope.sender.is_empty() {
            tracing::info!(counterpart = %token.counterpart, "dropped an automatic message to a reply address");
            return Ok(MailReply::new(250, "2.0.0", "Accepted: automatic, dropped"));
        }
        self.to_counterpart(token, "a message to a reply address").await
    }

    /// Who answers: the one attendee, or the one who wrote it of two between whom the place is given (some programs write both
    /// lines).
    fn answering<'e>(&self, event: &'e Event) -> Option<&'e Person> {
        match event.attendees.as_slice() {
            [one] => Some(one),
            [a, b] => {
                let gives = |from: &Person, to: &Person| {
                    let same = |named: Option<&UserId>, user: &UserId| named.is_some_and(|n| self.intake.0.directory.same_person(n, user));
                    same(from.delegated_to.as_ref(), &to.address) || same(to.delegated_from.as_ref(), &from.address)
                };
                let by = [a, b].into_iter().filter(|p| self.wrote(p)).collect::<Vec<_>>();
                (gives(a, b) || gives(b, a)).then_some(by).filter(|by| by.len() == 1)?.pop()
            }
            _ => None,
        }
    }

    /// Whose COUNTER it is.
    fn countering<'e>(&self, token: &TokenRecord, event: &'e Event) -> Result<Option<&'e Person>, IntakeError> {
        for person in &event.attendees {
            if self.is_holder(token, &person.address)? {
                return Ok(Some(person));
            }
        }
        let wrote = event.attendees.iter().find(|p| self.wrote(p));
        Ok(wrote.or_else(|| self.answering(event)))
    }

    /// Whether this is the holder of a reply address, under any of the addresses that are known for him (bridge 3).
    fn is_holder(&self, token: &TokenRecord, address: &UserId) -> Result<bool, IntakeError> {
        if *address == token.holder || self.intake.0.directory.same_person(address, &token.holder) {
            return Ok(true);
        }
        let holder = self.intake.person_of(&token.event_id, &token.holder)?;
        let person = self.intake.person_of(&token.event_id, address)?;
        Ok(holder.zip(person).is_some_and(|(holder, person)| holder.user == person.user))
    }

    /// From is the answering person, and that is proved; or he is a local user and the organization's own side says so, which
    /// is as authenticated as mail without a proof gets here.
    async fn vouched_for(&self, attendee: &Person) -> Result<bool, NotNow> {
        if self.proved(attendee) {
            return Ok(true);
        }
        if !self.client.trusted || !self.wrote(attendee) || self.forged(attendee).is_some() {
            return Ok(false);
        }
        Ok(matches!(self.intake.0.directory.look_up(&attendee.address).await?, Whereabouts::Here { .. }))
    }

    /// The message, octet for octet, to whom the reply address stands for.
    async fn to_counterpart(&self, token: &TokenRecord, why: &str) -> Result<MailReply, IntakeError> {
        if self.traces.ours() {
            return Ok(Traces::refusal(&token.counterpart));
        }
        let user = token.counterpart.clone();
        let target = Target { destination: Destination::Mail(user.server().clone()), original: user.clone(), user, gateway: false };
        self.intake.pass_on(vec![target], &self.origin(), self.message, &self.with_findings(why)).await?;
        Ok(MailReply::new(250, "2.0.0", "Accepted"))
    }

    /// A delivery report to an envelope sender of ours.
    pub(super) async fn bounce(&self, token: &TokenRecord) -> Result<MailReply, IntakeError> {
        let Some(report) = self.read.as_ref().ok().and_then(|m| m.report.as_ref()) else {
            tracing::info!(holder = %token.holder, "dropped what is no delivery report from an envelope sender of ours");
            return Ok(MailReply::new(250, "2.0.0", "Accepted: not a delivery report, dropped"));
        };
        // A mail server that got no answer sends its report again.
        let key = self.traces.key(&token.holder);
        if !self.intake.0.passed.knows(&key) {
            self.intake.bounced(token, report).await?;
            self.intake.0.passed.first_time(key);
        }
        Ok(MailReply::new(250, "2.0.0", "Accepted"))
    }
}
