//! One message on its way through the door: read once, then parted among its recipients by the rules of bridge 6.
//!
//! A trusted client's message is carried to CIP only when whoever its object speaks for, the organizer or the answering
//! attendee, wrote it by From or Sender; for a gateway address what fits no rule is refused, for everybody else it goes
//! on octet for octet. Every recipient of the envelope has exactly one reply, in the envelope's order.

use super::groups::{Group, Ways};
use super::{Judged, Kind};
use crate::calendar::Object;
use crate::calendar::event::{Method, Person};
use crate::ident::UserId;
use crate::imip::read::{self, Incoming, ReadError};
use crate::intake::loops::Traces;
use crate::intake::{Intake, IntakeError, Target};
use crate::listen::{Envelope, MailClient, MailReply};
use crate::policy::authenticity::Findings;
use crate::queue::entry::{Destination, Origin, Via};

/// One message on its way through the door.
pub(super) struct Post<'a> {
    pub(super) intake: &'a Intake,
    pub(super) client: &'a MailClient,
    pub(super) envelope: &'a Envelope,
    pub(super) message: &'a [u8],
    pub(super) read: Result<Incoming, ReadError>,
    pub(super) traces: Traces,
    /// Of the mail's origin; `None`: our own side's, not looked at.
    pub(super) findings: Option<Findings>,
}

enum Carriage {
    Event,
    Answer,
    Times,
    Plain,
    Refused(MailReply),
}

impl<'a> Post<'a> {
    pub(super) async fn new(intake: &'a Intake, client: &'a MailClient, envelope: &'a Envelope, message: &'a [u8]) -> Self {
        let traces = Traces::of(message, |name| intake.0.config.is_own_name(name));
        let read = read::read(message);
        let findings = match read.is_ok() {
            true => intake.0.authenticator.findings(client, &envelope.sender, message).await,
            // Taken for nobody's.
            false => None,
        };
        Self { intake, client, envelope, message, read, traces, findings }
    }

    pub(super) fn origin(&self) -> Origin {
        Origin {
            via: self.client.via,
            peer: self.client.address.map(|a| a.to_string()),
            helo: Some(self.client.helo.clone()),
            identity: None,
            // The organization's own side vouches for its users; from outside nothing is known.
            standing: if self.client.trusted { 3 } else { 0 },
            sender: Some(self.envelope.sender.clone()),
            automatic: self.read.as_ref().is_ok_and(|m| m.automatic),
        }
    }

    /// The replies; where the client hears only one of them, the rest is reported. To outside nobody reports: the sender of such
    /// a mail may be anybody's name.
    pub(super) async fn answered(&self) -> Result<Vec<MailReply>, IntakeError> {
        let object = self.object();
        let replies = self.place(&object).await?;
        if self.one_reply() && replies.iter().any(MailReply::positive) {
            let object = object.as_ref().ok().and_then(Option::as_ref);
            match self.client.via {
                Via::Inbound => self.log_refused(&replies),
                _ => self.intake.report_refused(self.envelope, &replies, self.message, self.read.as_ref().ok(), object).await?,
            }
        }
        Ok(replies)
    }

    /// The client hears one reply for all recipients (RFC 5321 4.2.5).
    fn one_reply(&self) -> bool {
        matches!(self.client.via, Via::Smtp | Via::Inbound)
    }

    fn log_refused(&self, replies: &[MailReply]) {
        for (recipient, reply) in self.envelope.recipients.iter().zip(replies).filter(|(_, reply)| !reply.positive()) {
            tracing::warn!(sender = self.envelope.sender, recipient, reply = %reply.text, "a recipient of a mail from outside was refused");
        }
    }

    /// What all of the message is answered with, when one recipient's is to come again and the client hears one reply: what came
    /// to a reply address or is an answer is known when it comes again.
    fn to_come_again(&self, replies: &[MailReply]) -> Option<Vec<MailReply>> {
        let reply = replies.iter().find(|reply| reply.temporary()).filter(|_| self.one_reply())?;
        Some(vec![reply.clone(); replies.len()])
    }

    async fn place(&self, object: &Result<Option<(Object, Method)>, String>) -> Result<Vec<MailReply>, IntakeError> {
        let mut judged: Vec<Result<Vec<Judged>, MailReply>> = Vec::with_capacity(self.envelope.recipients.len());
        for recipient in &self.envelope.recipients {
            judged.push(self.intake.judge(self.client, recipient).await);
        }
        let mut replies: Vec<MailReply> = judged
            .iter()
            .map(|j| match j {
                Ok(_) => MailReply::new(250, "2.0.0", "Accepted"),
                Err(reply) => reply.clone(),
            })
            .collect();
        if let Some(all) = self.to_come_again(&replies) {
            return Ok(all);
        }
        let mut ways = Ways::default();
        let people = judged.into_iter().enumerate().flat_map(|(n, j)| j.into_iter().flatten().map(move |person| (n, person)));
        for (n, person) in people {
            let person = self.declined(person, object)?;
            match person.kind {
                _ if self.traces.too_many() => replies[n] = self.traces.exhausted(&person.address),
                Kind::Bounce(_) | Kind::Reply(_) => ways.token.add(n, person),
                _ => match self.carriage(&person, object)? {
                    Carriage::Event => ways.event.add(n, person),
                    Carriage::Answer => ways.answer.add(n, person),
                    Carriage::Times => ways.times.add(n, person),
                    Carriage::Plain => ways.plain.add(n, person),
                    Carriage::Refused(reply) => replies[n] = reply,
                },
            }
        }
        for group in &ways.token.0 {
            let reply = match &group.first().kind {
                Kind::Bounce(token) => self.bounce(token).await?,
                Kind::Reply(token) => self.to_token(token, object).await?,
                _ => continue,
            };
            group.answer(&reply, &mut replies);
        }
        for group in &ways.answer.0 {
            group.answer(&self.to_owner(group.first(), object).await?, &mut replies);
        }
        if let Some(all) = self.to_come_again(&replies) {
            return Ok(all);
        }
        if let (false, Ok(Some((object, method)))) = (ways.event.0.is_empty(), object) {
            ways.plain.0.extend(self.place_invitation(object, *method, ways.event.0, &mut replies).await?);
        }
        if let (false, Ok(Some((object, _)))) = (ways.times.0.is_empty(), object) {
            ways.plain.0.extend(self.tell_times(object, ways.times.0, &mut replies).await?);
        }
        self.pass_plain(ways.plain.0, &mut replies).await?;
        Ok(replies)
    }

    /// An organizer answers a COUNTER where it came from: to the reply address that stands for the attendee.
    fn declined(&self, person: Judged, object: &Result<Option<(Object, Method)>, String>) -> Result<Judged, IntakeError> {
        let (Kind::Reply(token), Ok(Some((object, Method::DeclineCounter))), true) = (&person.kind, object, self.client.trusted) else {
            return Ok(person);
        };
        let organizer = self.organizer(object)?;
        let holds = organizer.is_ok_and(|owner| self.intake.0.directory.same_person(&owner.address, &token.holder));
        let counterpart = token.counterpart.clone();
        Ok(if holds { Judged { address: counterpart.clone(), kind: Kind::Gateway(counterpart) } } else { person })
    }

    /// The calendar object and its method; `Ok(None)`: a mail without one; `Err`: why it cannot be read.
    pub(super) fn object(&self) -> Result<Option<(Object, Method)>, String> {
        let incoming = self.read.as_ref().map_err(ToString::to_string)?;
        let Some(part) = &incoming.calendar else {
            return if incoming.winmail {
                Err("the meeting is in winmail.dat (TNEF), which only Outlook can read; send it as iCalendar".to_owned())
            } else {
                Ok(None)
            };
        };
        let object = Object::parse(part.octets.clone()).map_err(|e| e.to_string())?;
        let Some(method) = part.method.or(object.event().method) else {
            return Err("the calendar part has no METHOD, neither in its MIME type nor in the object".to_owned());
        };
        Ok(Some((object, method)))
    }

    /// What the rules of bridge 6 make of a message for a recipient who is not a token.
    fn carriage(&self, person: &Judged, object: &Result<Option<(Object, Method)>, String>) -> Result<Carriage, IntakeError> {
        let gateway = matches!(person.kind, Kind::Gateway(_));
        let refuse = |why: &str| {
            if gateway {
                Carriage::Refused(MailReply::new(550, "5.6.0", format!("Not for a gateway address: {why}")))
            } else {
                Carriage::Plain
            }
        };
        if let Ok(Some((object, method))) = object
            && Self::asks_for_times(object, *method)
        {
            return Ok(match self.question(object) {
                Ok(_) => Carriage::Times,
                Err(why) => refuse(&why),
            });
        }
        if !self.client.trusted || matches!(person.kind, Kind::Local(_)) {
            return Ok(Carriage::Plain);
        }
        let (object, method) = match object {
            Ok(Some((object, method))) => (object, *method),
            Ok(None) => return Ok(refuse("there is no calendar part in the message")),
            Err(why) => return Ok(refuse(why)),
        };
        Ok(match method {
            Method::Request | Method::Publish | Method::Add | Method::Cancel | Method::DeclineCounter => match self.organizer(object)? {
                Ok(_) => Carriage::Event,
                Err(why) => refuse(&why),
            },
            Method::Reply | Method::Counter | Method::Refresh => match self.attendee(object, method) {
                Ok(attendee) => match &object.event().owner {
                    _ if self.forged(&attendee).is_some() => refuse("From fails DMARC"),
                    // A copy for somebody else is no answer to him.
                    Some(owner) if self.intake.0.directory.same_person(&owner.address, person.user()) => Carriage::Answer,
                    Some(owner) => refuse(&format!("the reply is for its ORGANIZER, {}", owner.address)),
                    None => refuse("the reply names no ORGANIZER"),
                },
                Err(why) => refuse(&why),
            },
        })
    }

    pub(super) fn wrote(&self, person: &Person) -> bool {
        let Ok(incoming) = &self.read else { return false };
        let writers = incoming.from.iter().chain(&incoming.sender);
        let same = |a: &UserId, b: &UserId| self.intake.0.directory.same_person(a, b);
        writers.into_iter().any(|w| same(w, &person.address) || person.sent_by.as_ref().is_some_and(|s| same(w, s)))
    }

    /// The organizer, if he wrote this and is local; else why this is not his to send.
    fn organizer(&self, object: &Object) -> Result<Result<Person, String>, IntakeError> {
        let Some(owner) = object.event().owner.clone() else { return Ok(Err("the object names no ORGANIZER".to_owned())) };
        if let Err(error) = object.check_sequence() {
            return Ok(Err(error.to_string()));
        }
        // Where the reply addresses are in a local domain: a mail of the relay's own is nobody's new event.
        if !self.intake.ours(owner.address.server()) || self.intake.is_token(&owner.address)? {
            return Ok(Err(format!("the organizer {} is not of this organization", owner.address)));
        }
        if !self.wrote(&owner) {
            return Ok(Err(format!("the organizer {} is neither in From nor in Sender", owner.address)));
        }
        if let Some(why) = self.forged(&owner) {
            return Ok(Err(why));
        }
        Ok(Ok(owner))
    }

    /// The attendee who answers, if he wrote this.
    pub(super) fn attendee(&self, object: &Object, method: Method) -> Result<Person, String> {
        let event = object.event();
        if method == Method::Counter
            && let Some(person) = event.attendees.iter().find(|p| self.wrote(p))
        {
            // A COUNTER may list the others too (RFC 5546 3.2.7).
            return Ok(person.clone());
        }
        let [person] = event.attendees.as_slice() else {
            return Err(format!("a reply is of one attendee, this names {}", event.attendees.len()));
        };
        if !self.wrote(person) {
            return Err(format!("the attendee {} is neither in From nor in Sender", person.address));
        }
        Ok(person.clone())
    }

    /// Everything else goes on octet for octet.
    async fn pass_plain(&self, people: Vec<Group>, replies: &mut [MailReply]) -> Result<(), IntakeError> {
        let from = self.read.as_ref().ok().and_then(|m| m.from.first());
        let mut targets = Vec::new();
        for group in people {
            let person = group.first();
            let key = self.traces.key(&person.address);
            let known = self.intake.0.passed.knows(&key) || self.intake.composed_for(from, &person.address)?;
            if known && self.traces.ours() {
                group.answer(&Traces::refusal(&person.address), replies);
                continue;
            }
            self.intake.0.passed.first_time(key);
            let user = person.user().clone();
            let destination = Destination::Mail(user.server().clone());
            targets.push(Target { user, original: person.address.clone(), destination, gateway: false });
        }
        let why = match &self.read {
            Err(error) => format!("passed on as it is: {error}"),
            Ok(m) if m.calendar.is_none() => "no calendar part, passed on as it is".to_owned(),
            Ok(_) => "passed on as it is".to_owned(),
        };
        self.intake.pass_on(targets, &self.origin(), self.message, &self.with_findings(&why)).await?;
        Ok(())
    }
}
