//! Mail as it comes by SMTP, LMTP or `submit`: whose it is, what it carries, and what becomes of each recipient
//! (bridge 1, 4, 6).
//!
//! A recipient is one of five kinds ([`Kind`]), judged when RCPT names him and again when the message is there. The
//! message decides what his kind means: an invitation to someone elsewhere becomes a SENDEVENT, a reply to a token
//! becomes an RSVP, and what fits no rule goes on octet for octet, as the mail server would have sent it.

use std::collections::HashMap;

use tokio::sync::OwnedMutexGuard;

use super::answers::{AnswerArrival, AnswerPlaced};
use super::events::{Arrival, Placed, content_digest, is_cancel};
use super::loops::Traces;
use super::{Inner, Intake, IntakeError, Target};
use crate::calendar::Object;
use crate::calendar::event::{Event, Method, Person};
use crate::config::Deliver;
use crate::ident::{EventId, UserId};
use crate::imip::address::{Gateway, Token};
use crate::imip::read::{self, Incoming, ReadError};
use crate::ledger::judge::{Judgement, MAX_VERSION, event_id_of, first_version, give_version, older_than_had};
use crate::ledger::records::TokenRecord;
use crate::listen::{Envelope, MailClient, MailDoor, MailReply};
use crate::policy::directory::Whereabouts;
use crate::queue::entry::{BodyKind, Destination, Origin, Via};

/// What a mail recipient is to the relay.
#[derive(Clone, Debug)]
enum Kind {
    /// A reply address of ours.
    Reply(TokenRecord),
    /// An envelope sender of ours: delivery reports.
    Bounce(TokenRecord),
    /// `user=domain@cip.tiny.com`: this user elsewhere, by CIP or by composed mail.
    Gateway(UserId),
    /// A user of a local domain.
    Local(UserId),
    /// Anybody elsewhere.
    Remote,
}

/// A recipient, judged.
struct Judged {
    address: UserId,
    kind: Kind,
}

impl Judged {
    /// Who that is, unwrapped from a gateway address or an alias.
    fn user(&self) -> &UserId {
        match &self.kind {
            Kind::Gateway(user) | Kind::Local(user) => user,
            Kind::Reply(_) | Kind::Bounce(_) | Kind::Remote => &self.address,
        }
    }
}

/// One person under every address that the envelope has for him, each with its place there; at least one, and the first
/// speaks for all.
struct Group(Vec<(usize, Judged)>);

impl Group {
    fn first(&self) -> &Judged {
        &self.0[0].1
    }

    /// Puts the first address that `fits` in front.
    fn lead(&mut self, fits: impl Fn(&UserId) -> bool) {
        if let Some(at) = self.0.iter().position(|(_, judged)| fits(&judged.address)) {
            self.0.swap(0, at);
        }
    }

    fn answer(&self, reply: &MailReply, replies: &mut [MailReply]) {
        for (n, _) in &self.0 {
            replies[*n].clone_from(reply);
        }
    }
}

/// The people of one way to be carried, each once (bridge 3: deduplicated after unwrapping).
#[derive(Default)]
struct Groups(Vec<Group>, HashMap<String, usize>);

impl Groups {
    fn add(&mut self, n: usize, judged: Judged) {
        let at = *self.1.entry(judged.user().key()).or_insert(self.0.len());
        match self.0.get_mut(at) {
            Some(group) => group.0.push((n, judged)),
            None => self.0.push(Group(vec![(n, judged)])),
        }
    }
}

#[derive(Default)]
struct Ways {
    token: Groups,
    answer: Groups,
    event: Groups,
    plain: Groups,
}

impl MailDoor for Intake {
    fn ready(&self) -> Result<(), String> {
        self.open()
    }

    async fn recipient(&self, client: &MailClient, _sender: &str, recipient: &str) -> MailReply {
        if let Err(reason) = self.open() {
            return MailReply::new(452, "4.3.1", reason);
        }
        match self.judge(client, recipient) {
            Ok(_) => MailReply::new(250, "2.1.5", "Recipient ok"),
            Err(reply) => reply,
        }
    }

    async fn message(&self, client: &MailClient, envelope: &Envelope, message: Vec<u8>) -> Vec<MailReply> {
        if let Err(reason) = self.open() {
            return vec![MailReply::new(452, "4.3.1", reason); envelope.recipients.len()];
        }
        let post = Post::new(self, client, envelope, &message);
        match post.answered().await {
            Ok(replies) => replies,
            Err(error) if error.is_permanent() => {
                tracing::error!(%error, "a message cannot be stored");
                vec![MailReply::new(554, "5.3.4", "The message cannot be stored: it names too much at once"); envelope.recipients.len()]
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    sender = envelope.sender,
                    peer = client.address.map(tracing::field::display),
                    event = post.object().ok().flatten().map(|(object, _)| object.event().uid.to_string()),
                    "a message could not be stored"
                );
                vec![MailReply::new(451, "4.3.0", "Storage failure, try again later"); envelope.recipients.len()]
            }
        }
    }
}

impl Intake {
    /// Who reads the relay's own mail: the postmaster of the first domain that has its mail elsewhere than here.
    fn postmaster(&self) -> Option<UserId> {
        let domain = self.0.config.domain.iter().find(|d| d.deliver == Deliver::Mail)?;
        UserId::new("postmaster", domain.name.clone()).ok()
    }

    /// What a recipient is, or the reply that refuses him.
    fn judge(&self, client: &MailClient, recipient: &str) -> Result<Judged, MailReply> {
        // RFC 5321 4.5.1: a postmaster without a domain is ours.
        let postmaster = recipient.eq_ignore_ascii_case("postmaster")
            || recipient.rsplit_once('@').is_some_and(|(local, domain)| {
                local.eq_ignore_ascii_case("postmaster") && domain.eq_ignore_ascii_case(self.0.config.mail_domain().as_str())
            });
        if postmaster && let Some(address) = self.postmaster() {
            return Ok(Judged { kind: Kind::Local(address.clone()), address });
        }
        let address = UserId::parse(recipient)
            .map_err(|_| MailReply::new(553, "5.1.3", format!("<{recipient}> is not an address of the form local@domain")))?;
        let temporary = |error: crate::ledger::LedgerError| {
            tracing::error!(%error, "a recipient could not be looked up");
            MailReply::new(451, "4.3.0", "Look-up failure, try again later")
        };
        let unknown = || MailReply::new(550, "5.1.1", format!("No such address here: <{address}>"));
        if address.server() == self.0.config.mail_domain() {
            if Token::parse(address.local()).is_some()
                && let Some(record) = self.0.ledger.token(address.local()).map_err(temporary)?
            {
                let kind = if record.bounce { Kind::Bounce(record) } else { Kind::Reply(record) };
                return Ok(Judged { address, kind });
            }
            if let Some(unwrapped) = Gateway::unwrap(&address, self.0.config.mail_domain()) {
                let user = unwrapped.map_err(|e| MailReply::new(553, "5.1.3", format!("Not a gateway address: {e}")))?;
                if !client.trusted {
                    return Err(MailReply::new(550, "5.7.1", "Gateway addresses are for this organization's own users"));
                }
                return Ok(Judged { address, kind: Kind::Gateway(user) });
            }
        }
        match self.0.directory.find(&address) {
            // A domain with a CIP server of its own: its users are reached as those elsewhere are.
            Whereabouts::Here { user, deliver: Deliver::Cip } if client.trusted => Ok(Judged { address: user, kind: Kind::Remote }),
            Whereabouts::Here { user, .. } => Ok(Judged { address, kind: Kind::Local(user) }),
            Whereabouts::Moved(new) if client.trusted => Ok(Judged { address, kind: Kind::Local(new) }),
            Whereabouts::Moved(new) => Err(MailReply::new(551, "5.1.6", format!("User has moved; try <{new}>"))),
            Whereabouts::Unknown => Err(unknown()),
            Whereabouts::Elsewhere if address.server() == self.0.config.mail_domain() => Err(unknown()),
            Whereabouts::Elsewhere if client.trusted => Ok(Judged { address, kind: Kind::Remote }),
            Whereabouts::Elsewhere => Err(MailReply::new(550, "5.7.1", format!("Relaying denied: <{address}> is not local"))),
        }
    }
}

/// One message on its way through the door.
struct Post<'a> {
    intake: &'a Intake,
    client: &'a MailClient,
    envelope: &'a Envelope,
    message: &'a [u8],
    read: Result<Incoming, ReadError>,
    traces: Traces,
}

impl<'a> Post<'a> {
    fn new(intake: &'a Intake, client: &'a MailClient, envelope: &'a Envelope, message: &'a [u8]) -> Self {
        let traces = Traces::of(message, intake.0.config.server_id.as_str());
        Self { intake, client, envelope, message, read: read::read(message), traces }
    }

    fn origin(&self) -> Origin {
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

    /// The replies; where the client hears only one of them, the rest is reported.
    async fn answered(&self) -> Result<Vec<MailReply>, IntakeError> {
        let object = self.object();
        let replies = self.place(&object).await?;
        let one_reply = matches!(self.client.via, Via::Smtp | Via::Inbound);
        if one_reply && replies.iter().any(MailReply::positive) {
            let object = object.as_ref().ok().and_then(Option::as_ref);
            self.intake.report_refused(self.envelope, &replies, self.message, self.read.as_ref().ok(), object).await?;
        }
        Ok(replies)
    }

    async fn place(&self, object: &Result<Option<(Object, Method)>, String>) -> Result<Vec<MailReply>, IntakeError> {
        let judged: Vec<Result<Judged, MailReply>> = self.envelope.recipients.iter().map(|r| self.intake.judge(self.client, r)).collect();
        let mut replies: Vec<MailReply> = judged
            .iter()
            .map(|j| match j {
                Ok(_) => MailReply::new(250, "2.0.0", "Accepted"),
                Err(reply) => reply.clone(),
            })
            .collect();
        let mut ways = Ways::default();
        for (n, person) in judged.into_iter().enumerate().filter_map(|(n, j)| Some((n, j.ok()?))) {
            match person.kind {
                _ if self.traces.too_many() => replies[n] = self.traces.exhausted(&person.address),
                Kind::Bounce(_) | Kind::Reply(_) => ways.token.add(n, person),
                _ => match self.carriage(&person, object)? {
                    Carriage::Event => ways.event.add(n, person),
                    Carriage::Answer => ways.answer.add(n, person),
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
        if let (false, Ok(Some((object, method)))) = (ways.event.0.is_empty(), object) {
            self.place_invitation(object, *method, ways.event.0, &mut replies).await?;
        }
        self.pass_plain(ways.plain.0, &mut replies).await?;
        Ok(replies)
    }

    /// The calendar object and its method; `Ok(None)`: a mail without one; `Err`: why it cannot be read.
    fn object(&self) -> Result<Option<(Object, Method)>, String> {
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
                Ok(_) if matches!(method, Method::Request | Method::Cancel) => Carriage::Event,
                Ok(_) => refuse("this version carries REQUEST, REPLY and CANCEL to CIP"),
                Err(why) => refuse(&why),
            },
            Method::Reply => match self.attendee(object) {
                Ok(_) => match &object.event().owner {
                    // A copy for somebody else is no answer to him.
                    Some(owner) if self.intake.0.directory.same_person(&owner.address, person.user()) => Carriage::Answer,
                    Some(owner) => refuse(&format!("the reply is for its ORGANIZER, {}", owner.address)),
                    None => refuse("the reply names no ORGANIZER"),
                },
                Err(why) => refuse(&why),
            },
            Method::Counter | Method::Refresh => refuse("this version carries REQUEST, REPLY and CANCEL to CIP"),
        })
    }

    fn wrote(&self, person: &Person) -> bool {
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
        Ok(Ok(owner))
    }

    /// The attendee who answers, if he wrote this.
    fn attendee(&self, object: &Object) -> Result<Person, String> {
        let event = object.event();
        let [person] = event.attendees.as_slice() else {
            return Err(format!("a reply is of one attendee, this names {}", event.attendees.len()));
        };
        if !self.wrote(person) {
            return Err(format!("the attendee {} is neither in From nor in Sender", person.address));
        }
        Ok(person.clone())
    }

    async fn place_invitation(
        &self,
        object: &Object,
        method: Method,
        people: Vec<Group>,
        replies: &mut [MailReply],
    ) -> Result<(), IntakeError> {
        let event = object.event();
        let Some(owner) = event.owner.clone() else { return Ok(()) };
        let (event_id, _lock) = self.event_of(event, &owner.address).await?;
        let record = self.intake.0.ledger.event(&event_id)?;
        let cancel = is_cancel(event, Some(method));
        let digest = content_digest(object, cancel);
        let sequence = event.sequence.unwrap_or(0).min(MAX_VERSION - 1);
        let stamp = event.dtstamp.or(event.last_modified);
        let rid = event.recurrence_id.as_deref();
        let mut arrival = Arrival {
            event_id,
            ical_uid: event.uid.to_string(),
            own: true,
            owner: owner.address.clone(),
            owner_name: owner.name.clone(),
            version: first_version(sequence),
            sequence,
            event,
            digest,
            cancel,
            standing: 3,
            origin: self.origin(),
            kind: BodyKind::Message,
            body: self.message,
        };
        let part = record.as_ref().and_then(|r| r.part(rid));
        let (mut fresh, mut back) = (Vec::new(), Vec::new());
        for mut group in people {
            group.lead(|address| event.attendees.iter().any(|p| p.address == *address));
            let target = self.target(group.first());
            let last = self.intake.0.ledger.person(&arrival.event_id, &target.user)?.and_then(|p| p.accepted_version(rid));
            match older_than_had(part, last, sequence, stamp) {
                Some(Judgement::WentBack) => back.push((group, target)),
                Some(_) => {
                    let reply = MailReply::new(250, "2.0.0", "Accepted: older than what was already sent, nothing more to do");
                    group.answer(&reply, replies);
                }
                None => fresh.push((group, target)),
            }
        }
        let given = give_version(record.as_ref(), rid, sequence, stamp, &digest);
        let mut rounds = vec![(given, fresh)];
        if !back.is_empty() {
            // Held by the version that its SEQUENCE stands for, and judged so before its content is known.
            rounds.insert(0, (first_version(sequence), back));
        }
        for (version, people) in rounds {
            arrival.version = version;
            let (groups, targets): (Vec<Group>, Vec<Target>) = people.into_iter().unzip();
            let record = self.intake.0.ledger.event(&arrival.event_id)?;
            let placed = self.intake.place_event(&arrival, record, targets, self.traces.ours()).await?;
            for (group, placed) in groups.into_iter().zip(placed) {
                match placed {
                    Placed::Looping => group.answer(&Traces::refusal(&group.first().address), replies),
                    Placed::Refused => group.answer(&held_enough(), replies),
                    Placed::Stored | Placed::Held | Placed::Known => self.know_addresses(&arrival.event_id, &group).await?,
                }
            }
        }
        Ok(())
    }

    /// One who was named under several addresses in one envelope may answer from each of them.
    async fn know_addresses(&self, event: &EventId, group: &Group) -> Result<(), IntakeError> {
        let Some(mut person) = self.intake.0.ledger.person(event, group.first().user())? else { return Ok(()) };
        let known = person.addresses.len();
        group.0.iter().for_each(|(_, judged)| person.add_address(&judged.address));
        if person.addresses.len() > known {
            let mut change = self.intake.0.queue.change();
            self.intake.0.ledger.put_person(change.batch_mut(), &person)?;
            self.intake.0.queue.commit(change).await?;
        }
        Ok(())
    }

    /// The id of the organizer's event with this UID, and its lock. A UID that already is the event-id of somebody else's
    /// event gets an id of its own: nobody takes over a colleague's event by writing its UID.
    async fn event_of(&self, event: &Event, owner: &UserId) -> Result<(EventId, OwnedMutexGuard<()>), IntakeError> {
        let Inner { ledger, directory, config, .. } = &*self.intake.0;
        let known = ledger.event_of_uid(event.uid.as_str(), owner)?;
        let id = known.unwrap_or_else(|| event_id_of(&event.uid, owner, &config.server_id, |s| self.intake.ours(s)));
        let lock = ledger.lock(&id).await;
        if ledger.event(&id)?.is_none_or(|record| directory.same_person(&record.owner, owner)) {
            return Ok((id, lock));
        }
        // Two events may share a lock: this one goes before the other is taken.
        drop(lock);
        let id = event_id_of(&event.uid, owner, &config.server_id, |_| false);
        let lock = ledger.lock(&id).await;
        Ok((id, lock))
    }

    fn target(&self, person: &Judged) -> Target {
        match &person.kind {
            Kind::Gateway(user) => Target {
                user: user.clone(),
                original: person.address.clone(),
                destination: self.intake.destination_of(user),
                gateway: true,
            },
            _ => Target {
                user: person.address.clone(),
                original: person.address.clone(),
                destination: Destination::Cip(person.address.server().clone()),
                gateway: false,
            },
        }
    }

    /// A reply for an owner elsewhere, addressed plainly or through the gateway.
    async fn to_owner(&self, person: &Judged, object: &Result<Option<(Object, Method)>, String>) -> Result<MailReply, IntakeError> {
        let Ok(Some((object, _))) = object else { return Ok(unreadable("no calendar part")) };
        let (event, attendee) = (object.event(), self.attendee(object));
        let (Some(owner), Ok(attendee)) = (event.owner.as_ref(), attendee) else { return Ok(unreadable("no organizer")) };
        if self.traces.ours() {
            return Ok(Traces::refusal(&person.address));
        }
        let addressed = person.user();
        let mut arrival = self.answer(event.uid.clone(), event, &attendee);
        arrival.plain = !matches!(person.kind, Kind::Gateway(_));
        arrival.may_pass = true;
        let known = self.intake.0.ledger.event(&event.uid)?.is_some_and(|r| r.owner == owner.address && r.owner == *addressed);
        let placed = if known { self.intake.place_answer(&arrival).await? } else { AnswerPlaced::NoEvent };
        Ok(match placed {
            AnswerPlaced::NoEvent | AnswerPlaced::NotOnEvent => {
                self.intake.pass_answer(&arrival, addressed).await?;
                MailReply::new(250, "2.0.0", "Accepted")
            }
            AnswerPlaced::Stored | AnswerPlaced::Known | AnswerPlaced::Held => MailReply::new(250, "2.0.0", "Accepted"),
            AnswerPlaced::Refused => held_enough(),
        })
    }

    fn answer<'e>(&'e self, event_id: EventId, event: &Event, attendee: &Person) -> AnswerArrival<'e> {
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
            plain: false,
            may_pass: true,
        }
    }

    /// A message to a reply address (bridge 4).
    async fn to_token(&self, token: &TokenRecord, object: &Result<Option<(Object, Method)>, String>) -> Result<MailReply, IntakeError> {
        let (object, method) = match object {
            Ok(Some((object, method))) => (object, *method),
            Ok(None) => return self.human(token).await,
            Err(why) => return Ok(unreadable(why)),
        };
        if method != Method::Reply {
            return Ok(MailReply::new(
                550,
                "5.6.1",
                format!("{method:?} cannot be answered here yet: accept, decline or accept tentatively"),
            ));
        }
        let event = object.event();
        let Some(record) = self.intake.0.ledger.event(&token.event_id)? else {
            return Ok(MailReply::new(550, "5.1.6", "The event of this reply address is over and forgotten"));
        };
        if event.uid.as_str() != record.ical_uid && event.uid != record.event_id {
            return Ok(MailReply::new(550, "5.6.0", "This reply address belongs to another event"));
        }
        let [attendee] = event.attendees.as_slice() else {
            return Ok(MailReply::new(550, "5.6.0", format!("A reply is of one attendee, this names {}", event.attendees.len())));
        };
        if attendee.status.is_none() {
            return Ok(MailReply::new(550, "5.6.0", "The reply's ATTENDEE has no PARTSTAT"));
        }
        let holder = self.intake.person_of(&token.event_id, &token.holder)?;
        let is_holder = attendee.address == token.holder
            || self.intake.0.directory.same_person(&attendee.address, &token.holder)
            || holder.as_ref().is_some_and(|p| p.is(&attendee.address));
        let mut arrival = self.answer(token.event_id.clone(), event, attendee);
        arrival.standing = if self.client.trusted { 3 } else { 2 };
        if !is_holder && self.vouched_for(attendee) {
            // A forwarded invitation (bridge 4): the owner decides what this answer is worth.
            return self.to_counterpart(token, "an answer by someone who was not invited, as plain mail").await;
        }
        let placed = if !is_holder {
            let reason = format!("{} answers by a reply address that was given to {}", attendee.address, token.holder);
            self.intake.hold_answer(&arrival, &reason).await?
        } else if !self.wrote(attendee) {
            let reason = format!("the answer is of {}, who is neither in From nor in Sender", attendee.address);
            self.intake.hold_answer(&arrival, &reason).await?
        } else {
            self.intake.place_answer(&arrival).await?
        };
        Ok(match placed {
            AnswerPlaced::Stored | AnswerPlaced::Known => MailReply::new(250, "2.0.0", "Accepted"),
            AnswerPlaced::Held => MailReply::new(250, "2.0.0", "Accepted, and held for the administrator"),
            AnswerPlaced::Refused => held_enough(),
            AnswerPlaced::NoEvent | AnswerPlaced::NotOnEvent => {
                MailReply::new(550, "5.1.6", "The event of this reply address is over and forgotten")
            }
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

    /// From is the answering local user, and the organization's own side says so: as authenticated as mail gets here.
    fn vouched_for(&self, attendee: &Person) -> bool {
        let local = matches!(self.intake.0.directory.find(&attendee.address), Whereabouts::Here { .. });
        self.client.trusted && local && self.wrote(attendee)
    }

    /// The message, octet for octet, to whom the reply address stands for.
    async fn to_counterpart(&self, token: &TokenRecord, why: &str) -> Result<MailReply, IntakeError> {
        if self.traces.ours() {
            return Ok(Traces::refusal(&token.counterpart));
        }
        let user = token.counterpart.clone();
        let target = Target { destination: Destination::Mail(user.server().clone()), original: user.clone(), user, gateway: false };
        self.intake.pass_on(vec![target], &self.origin(), self.message, why).await?;
        Ok(MailReply::new(250, "2.0.0", "Accepted"))
    }

    /// A delivery report to an envelope sender of ours.
    async fn bounce(&self, token: &TokenRecord) -> Result<MailReply, IntakeError> {
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
        self.intake.pass_on(targets, &self.origin(), self.message, &why).await?;
        Ok(())
    }
}

enum Carriage {
    Event,
    Answer,
    Plain,
    Refused(MailReply),
}

fn held_enough() -> MailReply {
    MailReply::new(550, "5.7.1", "Too much of this event waits for the administrator")
}

fn unreadable(why: &str) -> MailReply {
    MailReply::new(554, "5.6.0", format!("The calendar part cannot be used: {why}"))
}
