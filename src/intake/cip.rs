//! SENDEVENT, RSVP and FREEBUSY as they come from a CIP client (draft 2.2–2.4; profile 4–6, 9).

use super::answers::{AnswerArrival, AnswerPlaced};
use super::events::{Arrival, Placed, content_digest, is_cancel};
use super::loops::HOPS;
use super::{Intake, IntakeError, Target};
use crate::calendar::event::{Event, Person, Trace};
use crate::calendar::{self, Object, ObjectError};
use crate::cip::response::{Answer, FreeBusyAnswer, Info, code};
use crate::freebusy::{Asker, Told};
use crate::ident::{EventId, ServerId, UserId};
use crate::ledger::LedgerError;
use crate::listen::{CipClient, CipDoor, Login};
use crate::policy::directory::{Found, Whereabouts};
use crate::policy::standing::Standing;
use crate::queue::entry::{BodyKind, Destination, Origin, Via};

/// Answers taken from one RSVP; each may cost a look-up.
const ANSWERS: usize = 100;
/// Server-ids that the DNS is asked about for one RSVP.
const JUDGED: usize = 10;
const GUESSING: &str = "Too many unknown users.";
const DNS_FAILS: &str = "The DNS cannot say now who you are, try again later.";
/// Octets from which on an object is read apart.
const LARGE: usize = 256 << 10;

impl CipDoor for Intake {
    fn ready(&self) -> Result<(), String> {
        self.open()
    }

    async fn login(&self, _client: &CipClient, identity: &str, password: &[u8]) -> Option<Login> {
        // Argon2 takes tens of milliseconds and some 19 MiB by design: few at a time, and not on a thread that serves others.
        let Ok(_turn) = self.0.logins.acquire().await else { return None };
        let (credentials, identity, password) = (self.credentials(), identity.to_owned(), password.to_vec());
        tokio::task::spawn_blocking(move || credentials.verify(&identity, &password)).await.ok().flatten()
    }

    async fn send_event(&self, client: &CipClient, object: Vec<u8>) -> Answer {
        if let Err(reason) = self.open() {
            return Answer::no(code::BUSY, reason);
        }
        let object = match read_object(object, Object::require_sendevent).await {
            Ok(object) => object,
            Err(answer) => return answer,
        };
        self.take_event(client, &object).await.unwrap_or_else(|e| busy(&e, client, object.event()))
    }

    async fn rsvp(&self, client: &CipClient, object: Vec<u8>) -> Answer {
        if let Err(reason) = self.open() {
            return Answer::no(code::BUSY, reason);
        }
        let object = match read_object(object, Object::require_rsvp).await {
            Ok(object) => object,
            Err(answer) => return answer,
        };
        self.take_rsvp(client, &object).await.unwrap_or_else(|e| busy(&e, client, object.event()))
    }

    async fn free_busy(&self, client: &CipClient, request: Vec<u8>) -> FreeBusyAnswer {
        if let Err(reason) = self.open() {
            return FreeBusyAnswer { data: None, answer: Answer::no(code::BUSY, reason) };
        }
        let request = match calendar::freebusy_request(&request) {
            Ok(request) => request,
            Err(error) => return FreeBusyAnswer { data: None, answer: Answer::no(code::BAD, error.to_string()) },
        };
        let relay = self.may_relay(client);
        let asker = Asker { client, relay, guesses: if relay { u32::MAX } else { self.0.strangers.left(client.address, self.now()) } };
        if asker.guesses == 0 {
            return FreeBusyAnswer { data: None, answer: Answer::no(code::CLOSING, GUESSING) };
        }
        let Told { mut answer, missed } = self.0.free_busy.answer(&asker, request).await;
        let stranger = !relay && client.login.is_none();
        if stranger && missed > 0 && self.0.strangers.missed(client.address, missed, self.now()) && answer.data.is_none() {
            answer.answer.completion = crate::cip::response::Completion::no(code::CLOSING, GUESSING);
        }
        answer
    }
}

/// The store or the ledger could not do it: nothing was kept.
fn busy(error: &IntakeError, client: &CipClient, event: &Event) -> Answer {
    let owner = event.owner.as_ref().map(|o| tracing::field::display(&o.address));
    tracing::error!(%error, peer = %client.address, event = %event.uid, owner, "an acceptance failed");
    if error.is_permanent() {
        return Answer::no(code::BAD, "The object cannot be stored: it names too much at once.");
    }
    Answer::no(code::BUSY, "Storage failure, try again later.")
}

/// Reads an object; a large one takes long enough to be in the way of others, and is read on a thread for such work.
async fn read_object(octets: Vec<u8>, require: fn(&Object) -> Result<(), ObjectError>) -> Result<Object, Answer> {
    let large = octets.len() > LARGE;
    let read = move || Object::parse(octets).and_then(|object| require(&object).map(|()| object));
    let object = if large {
        tokio::task::spawn_blocking(read).await.map_err(|_| Answer::no(code::BUSY, "The object could not be read now."))?
    } else {
        read()
    };
    object.map_err(|error| Answer::no(code::BAD, error.to_string()))
}

/// The standings found for one RSVP, by the key of the server-id.
type Judges = std::collections::HashMap<String, Standing>;

/// The answers of one RSVP before they are placed.
enum Judged {
    All(Vec<(Person, Option<Standing>)>),
    NoEvent,
    /// The DNS could not say.
    Later,
}

/// What an RSVP is about: an instance may be an event of its own where it comes from (bridge 2).
struct About {
    event_id: EventId,
    rid: Option<String>,
}

/// The line for one recipient.
enum Line {
    Placing(usize),
    /// A group, and its people.
    Group(UserId, Vec<usize>),
    Said(Info),
}

/// The recipients of an event, sorted.
struct Sorted {
    /// One for each who was asked for, in that order.
    lines: Vec<Line>,
    people: Vec<Target>,
    /// How many were sought in local domains and are not there.
    missed: u32,
}

impl Intake {
    fn may_relay(&self, client: &CipClient) -> bool {
        client.login.as_ref().is_some_and(|l| l.relay) || self.0.config.cip.relay_networks.iter().any(|n| n.contains(&client.address))
    }

    fn origin(client: &CipClient, standing: u8) -> Origin {
        Origin {
            via: Via::Cip,
            peer: Some(client.address.to_string()),
            helo: None,
            identity: client.login.as_ref().map(|l| l.identity.clone()),
            standing,
            sender: None,
            automatic: false,
        }
    }

    fn our_trace(&self, event: &Event, verb: &str, version: Option<u32>) -> bool {
        let version = version.map_or_else(String::new, |v| v.to_string());
        event
            .traces
            .iter()
            .any(|t: &Trace| self.0.config.is_own_name(&t.server) && t.verb.eq_ignore_ascii_case(verb) && t.version == version)
    }

    async fn take_event(&self, client: &CipClient, object: &Object) -> Result<Answer, IntakeError> {
        let event = object.event();
        let Some(owner) = event.owner.as_ref() else { return Ok(Answer::no(code::BAD, "The object names no owner.")) };
        let version = event.version.unwrap_or(1);
        let asked: Vec<UserId> = if event.recipients.is_empty() {
            event.attendees.iter().map(|p| p.address.clone()).filter(|a| *a != owner.address).collect()
        } else {
            event.recipients.clone()
        };
        if event.traces.len() >= HOPS {
            return Ok(refuse_all(&asked, "The event is looping."));
        }
        let owner_local = self.ours(owner.address.server());
        // The DNS is asked before the lock is taken, so that a slow name server holds up nobody else.
        let known_owner = self.0.ledger.event(&event.uid)?.map(|r| r.owner);
        let standing = self.standing_of(client, &owner.address, known_owner.as_ref()).await;
        // Nor does a slow mail server. Who hears nothing has nobody looked up for him.
        let left = |level: u8| if level == 0 { self.0.strangers.left(client.address, self.now()) } else { u32::MAX };
        let speaks = standing.level >= 3 || !owner_local;
        let limit = asked.len().min(recipients_limit(standing.level));
        let found = match left(standing.level) {
            guesses if speaks && guesses > 0 => self.0.directory.look_up_all(&asked[..limit], guesses).await,
            _ => Found::default(),
        };
        let _lock = self.0.ledger.lock(&event.uid).await;
        let record = self.0.ledger.event(&event.uid)?;
        // Another session may have brought the same event meanwhile, of the same owner as a rule.
        let asked_of = |server: &ServerId| server == owner.address.server() || known_owner.as_ref().is_some_and(|k| k.server() == server);
        let judged = record.as_ref().is_none_or(|r| asked_of(r.owner.server()));
        let standing = if judged { standing } else { Standing { level: standing.level.min(1), ..standing } };
        if record.as_ref().is_some_and(|r| standing.may_become(r.standing)) {
            return Ok(Answer::no(code::BUSY, DNS_FAILS));
        }
        let standing = standing.level;
        let local_id = event.uid.server().is_some_and(|s| self.ours(&s));
        // A local event-id is of a local owner's event, also when the ledger no longer knows it.
        let other_owner = record.as_ref().map_or(!owner_local, |r| !self.0.directory.same_person(&r.owner, &owner.address));
        if owner_local && standing < 3 || local_id && other_owner {
            return Ok(refuse_all(&asked, "The owner is not yours to speak for."));
        }
        // Looked at before anything is told: a source that has guessed too often hears no more, whomever it names.
        let guesses = left(standing);
        if guesses == 0 {
            return Ok(Answer::no(code::CLOSING, GUESSING));
        }
        if found.not_now().is_some() {
            return Ok(Answer::no(code::BUSY, "Not all recipients can be looked up now, try again later."));
        }
        let Sorted { lines, people, missed } = self.sort_recipients(client, asked, &found, standing, guesses);
        let arrival = Arrival {
            event_id: event.uid.clone(),
            ical_uid: record.as_ref().map_or_else(|| event.uid.to_string(), |r| r.ical_uid.clone()),
            own: false,
            owner: owner.address.clone(),
            owner_name: owner.name.clone(),
            version,
            sequence: version.saturating_sub(1),
            object,
            event,
            digest: content_digest(object, is_cancel(event, None)),
            stamp: event.dtstamp.or(event.last_modified),
            rest: None,
            cancel: is_cancel(event, None),
            standing,
            origin: Self::origin(client, standing),
            kind: BodyKind::Object,
            body: object.octets(),
        };
        let users: Vec<UserId> = people.iter().map(|t| t.original.clone()).collect();
        let looping = self.our_trace(event, "SENDEVENT", Some(version));
        let before = self.newest_until_now(&arrival, record.as_ref())?;
        let placed = self.place_event(&arrival, record, people, looping).await?;
        if placed.contains(&Placed::Stored) {
            self.cancel_left_out(&arrival, before.as_ref()).await?;
        }
        let mut answer = Answer::ok(code::NONE, "");
        let mut stored = 0;
        let refused = |n: &usize| matches!(placed[*n], Placed::Looping | Placed::Refused);
        for line in &lines {
            answer.infos.push(match line {
                Line::Group(group, members) if members.iter().any(refused) => Info::PermDenied(group.to_string()),
                Line::Group(group, _) => {
                    stored += 1;
                    Info::Tentative(group.clone())
                }
                Line::Placing(n) if refused(n) => Info::PermDenied(users[*n].to_string()),
                Line::Placing(n) => {
                    stored += 1;
                    Info::Tentative(users[*n].clone())
                }
                Line::Said(info) => info.clone(),
            });
        }
        let guessed = standing == 0 && missed > 0 && self.0.strangers.missed(client.address, missed, self.now());
        answer.completion = match stored {
            n if n == lines.len() => crate::cip::response::Completion::ok(code::NONE, "Stored."),
            // What was stored has to be answered as stored; the next command is then the last.
            0 if guessed => crate::cip::response::Completion::no(code::CLOSING, GUESSING),
            0 => crate::cip::response::Completion::no(code::NONE, "Nobody received the event."),
            _ => crate::cip::response::Completion::ok(code::PARTIAL, "Not all attendees received the event."),
        };
        Ok(answer)
    }

    /// The standing towards the claimed owner; when the ledger knows another owner of another server, towards both.
    async fn standing_of(&self, client: &CipClient, owner: &UserId, known: Option<&UserId>) -> Standing {
        let standing = self.0.standings.of(client, owner.server()).await;
        match known {
            Some(known) if known.server() != owner.server() => standing.and(self.0.standings.of(client, known.server()).await),
            _ => standing,
        }
    }

    /// For each recipient either a place in the list of those to be served, or the line that refuses him (profile 6).
    /// After so many `guesses` at local users, nothing more is told of any.
    fn sort_recipients(&self, client: &CipClient, asked: Vec<UserId>, known: &Found, standing: u8, guesses: u32) -> Sorted {
        let limit = recipients_limit(standing);
        let relay = self.may_relay(client);
        let mut sorted = Sorted { lines: Vec::with_capacity(asked.len()), people: Vec::new(), missed: 0 };
        let (mut index, mut by_group) = (std::collections::HashMap::new(), std::collections::HashSet::new());
        for user in asked {
            if let Some(&n) = index.get(&user.key()) {
                sorted.lines.push(Line::Placing(n));
                by_group.remove(&n);
                continue;
            }
            // Beyond the limit nobody is looked up.
            if sorted.lines.len() >= limit {
                sorted.lines.push(Line::Said(Info::PermDenied(user.to_string())));
                continue;
            }
            let found = self.0.directory.found(known, &user);
            if sorted.missed >= guesses && found != Whereabouts::Elsewhere {
                sorted.lines.push(Line::Said(Info::PermDenied(user.to_string())));
                continue;
            }
            if found != Whereabouts::Elsewhere
                && let Some(new) = self.redirected(&user)
            {
                sorted.lines.push(Line::Said(Info::RedirectUser { old: user, new }));
                continue;
            }
            let (destination, canonical) = match found {
                Whereabouts::Group(members) => {
                    let places = members.into_iter().map(|member| {
                        *index.entry(member.key()).or_insert_with(|| {
                            let destination = self.destination_of(&member);
                            by_group.insert(sorted.people.len());
                            // He answers for himself, not for the group.
                            sorted.people.push(Target { user: member.clone(), original: member, destination, gateway: false });
                            sorted.people.len() - 1
                        })
                    });
                    let places = places.collect();
                    sorted.lines.push(Line::Group(user, places));
                    continue;
                }
                Whereabouts::Here { user: canonical, .. } => (self.destination_of(&canonical), canonical),
                Whereabouts::Moved(new) => {
                    sorted.lines.push(Line::Said(Info::RedirectUser { old: user, new }));
                    continue;
                }
                Whereabouts::Elsewhere if relay => (Destination::Cip(user.server().clone()), user.clone()),
                // The draft's own attendee lists name people of many servers; only who is sought here is a guess.
                Whereabouts::Elsewhere => {
                    sorted.lines.push(Line::Said(Info::NotFound(user.to_string())));
                    continue;
                }
                Whereabouts::Unknown => {
                    sorted.missed += 1;
                    sorted.lines.push(Line::Said(Info::NotFound(user.to_string())));
                    continue;
                }
            };
            if let Some(&n) = index.get(&canonical.key()) {
                sorted.lines.push(Line::Placing(n));
                // Under the address that the sender wrote for him, rather than as one of a group.
                if by_group.remove(&n) {
                    sorted.people[n].original = user;
                }
                continue;
            }
            index.insert(canonical.key(), sorted.people.len());
            index.insert(user.key(), sorted.people.len());
            sorted.lines.push(Line::Placing(sorted.people.len()));
            sorted.people.push(Target { user: canonical, original: user, destination, gateway: false });
        }
        sorted
    }

    async fn take_rsvp(&self, client: &CipClient, object: &Object) -> Result<Answer, IntakeError> {
        let event = object.event();
        if event.traces.len() >= HOPS || self.our_trace(event, "RSVP", event.version) {
            return Ok(refuse_all(&people_of(event), "The answer is looping."));
        }
        if let Some(new) = self.0.ledger.redirect_of_event(&event.uid, self.now())? {
            let mut answer = Answer::no(code::NONE, "The event has moved.");
            answer.infos.push(Info::RedirectEvent { old: event.uid.clone(), new });
            return Ok(answer);
        }
        let about = self.about(event)?;
        // An owner of ours who has left reads no answers.
        if let Some(record) = self.0.ledger.event(&about.event_id)? {
            match self.0.directory.look_up(&record.owner).await {
                Ok(Whereabouts::Unknown) => return Ok(not_found(&event.uid)),
                Ok(_) => {}
                Err(_) => return Ok(Answer::no(code::BUSY, "The owner cannot be looked up now, try again later.")),
            }
        }
        let (mut answer, mut judges) = (Answer::ok(code::NONE, "RSVP accepted."), Judges::default());
        let judged = match self.judge_answers(client, object, &about, &mut judges).await? {
            Judged::All(judged) => judged,
            Judged::NoEvent => return Ok(not_found(&event.uid)),
            Judged::Later => return Ok(Answer::no(code::BUSY, DNS_FAILS)),
        };
        let (mut stored, mut refused) = (0, 0);
        for (person, standing) in judged {
            let placed = match standing {
                Some(standing) => self.take_answer(client, object, &about, &person, standing.level).await?,
                None => AnswerPlaced::NotOnEvent,
            };
            match placed {
                AnswerPlaced::NoEvent => return Ok(not_found(&event.uid)),
                AnswerPlaced::Stored | AnswerPlaced::Known | AnswerPlaced::Held => stored += 1,
                AnswerPlaced::NotOnEvent | AnswerPlaced::Refused => {
                    refused += 1;
                    answer.infos.push(Info::PermDenied(person.address.to_string()));
                }
            }
        }
        if stored == 0 {
            answer.completion = crate::cip::response::Completion::no(code::NONE, "Nobody here is on that event.");
            return Ok(answer);
        }
        if refused > 0 {
            answer.completion = crate::cip::response::Completion::ok(code::PARTIAL, "Some answers were refused.");
        }
        let asker = event.attendees.first().map(|p| p.address.clone());
        let known = match asker {
            Some(asker) => self.judged(client, &asker, &mut judges).await.level > 0,
            None => false,
        };
        if known {
            let confirmed = self.confirmed(&about.event_id, about.rid.as_deref())?;
            answer.infos.extend(confirmed.into_iter().map(Info::Confirmed));
        }
        Ok(answer)
    }

    /// Where a local user has moved, as the ledger knows it.
    fn redirected(&self, user: &UserId) -> Option<UserId> {
        self.0.ledger.redirect_of_user(user, self.now()).unwrap_or_else(|error| {
            tracing::error!(%error, %user, "a redirect cannot be looked up");
            None
        })
    }

    fn about(&self, event: &Event) -> Result<About, LedgerError> {
        if self.0.ledger.event(&event.uid)?.is_none()
            && let Some(instance) = self.0.ledger.instance(&event.uid)?
        {
            return Ok(About { event_id: instance.series, rid: Some(instance.rid) });
        }
        Ok(About { event_id: event.uid.clone(), rid: event.recurrence_id.clone() })
    }

    /// The standing with which each answer comes; `None`: he is not on the event. Nothing is kept yet: when the DNS fails on one
    /// whose known answer came with more, all of it is to come again.
    async fn judge_answers(&self, client: &CipClient, object: &Object, about: &About, judges: &mut Judges) -> Result<Judged, IntakeError> {
        if self.0.ledger.event(&about.event_id)?.is_none() {
            return Ok(Judged::NoEvent);
        }
        let mut judged = Vec::new();
        for person in object.answers().into_iter().take(ANSWERS) {
            let Some(known) = self.person_of(&about.event_id, &person.address)? else {
                let standing = self.delegate_standing(client, &about.event_id, &person, judges).await?;
                judged.push((person, standing));
                continue;
            };
            let standing = self.judged(client, &person.address, judges).await;
            if known.answer(about.rid.as_deref()).is_some_and(|a| standing.may_become(a.standing)) {
                return Ok(Judged::Later);
            }
            judged.push((person, Some(standing)));
        }
        Ok(Judged::All(judged))
    }

    /// Of one who is not on the event: he may have the place of somebody who is, when that one's own server says so.
    async fn delegate_standing(
        &self,
        client: &CipClient,
        event: &EventId,
        person: &Person,
        judges: &mut Judges,
    ) -> Result<Option<Standing>, IntakeError> {
        let Some(from) = &person.delegated_from else { return Ok(None) };
        if self.person_of(event, from)?.is_none() || self.judged(client, from, judges).await.level < 2 {
            return Ok(None);
        }
        Ok(Some(self.judged(client, &person.address, judges).await))
    }

    /// The standing towards a person's server-id; beyond [`JUDGED`] server-ids the DNS is not asked any more.
    async fn judged(&self, client: &CipClient, person: &UserId, judges: &mut Judges) -> Standing {
        let key = person.server().key();
        if let Some(standing) = judges.get(&key) {
            return *standing;
        }
        if judges.len() >= JUDGED {
            return Standing::NONE;
        }
        let standing = self.0.standings.of(client, person.server()).await;
        judges.insert(key, standing);
        standing
    }

    async fn take_answer(
        &self,
        client: &CipClient,
        object: &Object,
        about: &About,
        person: &Person,
        standing: u8,
    ) -> Result<AnswerPlaced, IntakeError> {
        let event = object.event();
        let Some(status) = person.status else { return Ok(AnswerPlaced::NotOnEvent) };
        let arrival = AnswerArrival {
            event_id: about.event_id.clone(),
            rid: about.rid.clone(),
            attendee: person.address.clone(),
            name: person.name.clone(),
            status,
            comment: event.comment.clone(),
            version: event.version,
            response_sequence: event.response_sequence,
            dtstamp: event.dtstamp,
            standing,
            origin: Self::origin(client, standing),
            kind: BodyKind::Object,
            body: object.octets(),
            hops: event.traces.len(),
            findings: None,
            plain: false,
            object,
            may_pass: self.may_relay(client),
            // Judged before: whoever is not on the event is there by his delegator's own server.
            delegated_from: person.delegated_from.clone(),
            delegated_to: person.delegated_to.clone(),
        };
        self.place_answer(&arrival).await
    }
}

/// How many recipients one object may have (profile 4).
const fn recipients_limit(standing: u8) -> usize {
    if standing < 2 { 100 } else { 1000 }
}

fn people_of(event: &Event) -> Vec<UserId> {
    event.attendees.iter().map(|p| p.address.clone()).collect()
}

fn refuse_all(people: &[UserId], text: &str) -> Answer {
    let mut answer = Answer::no(code::NONE, text);
    answer.infos = people.iter().map(|u| Info::PermDenied(u.to_string())).collect();
    answer
}

fn not_found(event: &EventId) -> Answer {
    let mut answer = Answer::no(code::NONE, "No such event here.");
    answer.infos.push(Info::NotFound(event.to_string()));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cip::response::Completion;
    use crate::store::CommitError;

    #[test]
    fn only_what_can_never_be_stored_is_the_objects_fault() {
        let refused = || CommitError::Refused("too large".into());
        let table = [
            (IntakeError::Commit(refused()), code::BAD),
            (IntakeError::Queue(crate::queue::QueueError::Commit(refused())), code::BAD),
            (IntakeError::Commit(CommitError::NotReady("full".into())), code::BUSY),
            (IntakeError::Commit(CommitError::Failed("broken".into())), code::BUSY),
        ];
        let client = CipClient { address: [127, 0, 0, 1].into(), login: None };
        let object = Object::parse(b"UID:a@b.com\r\nATTENDEE:m@c.com\r\n".to_vec()).unwrap();
        for (error, code) in table {
            let Answer { completion: Completion { ok, code: said, .. }, .. } = busy(&error, &client, object.event());
            assert_eq!((ok, said), (false, code), "{error}");
        }
    }

    /// On a runtime of one thread nobody else would get a turn while an object is read in place.
    #[tokio::test]
    async fn a_large_object_is_read_apart() {
        for (size, apart) in [(LARGE + 1, true), (1000, false)] {
            let mut octets = b"UID:a@b.com\r\nSEQUENCE:1\r\nATTENDEE;ROLE=OWNER:t@b.com\r\nATTENDEE:m@c.com\r\n".to_vec();
            while octets.len() < size {
                octets.extend_from_slice(b"DESCRIPTION:words words words words words words words\r\n");
            }
            let done = std::cell::Cell::new(false);
            let read = async {
                read_object(octets, Object::require_sendevent).await.unwrap();
                done.set(true);
            };
            let other = async { assert_eq!(!done.get(), apart, "{size}") };
            tokio::join!(read, other);
        }
    }
}
