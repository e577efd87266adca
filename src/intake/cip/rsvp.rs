//! RSVP: whose answers they are, how well their sender is known, and what becomes of each (profile 4, 6).
//!
//! Invariants: the answers of one object are judged before any is kept, so that all of it may come again; of one RSVP at
//! most [`ANSWERS`] answers are taken, and the DNS is asked about at most [`JUDGED`] server-ids.

use super::{DNS_FAILS, refuse_all};
use crate::calendar::Object;
use crate::calendar::event::{Event, Person};
use crate::cip::response::{Answer, Completion, Info, code};
use crate::ident::{EventId, UserId};
use crate::intake::answers::{ANSWERS, AnswerArrival, AnswerPlaced};
use crate::intake::loops::HOPS;
use crate::intake::{Intake, IntakeError};
use crate::ledger::LedgerError;
use crate::listen::CipClient;
use crate::policy::directory::Whereabouts;
use crate::policy::standing::Standing;
use crate::queue::entry::BodyKind;

/// Server-ids that the DNS is asked about for one RSVP.
const JUDGED: usize = 10;

/// The standings found for one RSVP, by the key of the server-id.
type Judges = std::collections::HashMap<String, Standing>;

/// One event of an RSVP, and who answers it with which standing (`None`: he is not on it).
type Part = (Object, About, Vec<(Person, Option<Standing>)>);

/// The answers of one RSVP before they are placed.
enum Judged {
    All(Vec<(Person, Option<Standing>)>),
    NoEvent,
    /// Somebody could not be looked up.
    Later(&'static str),
}

/// What an RSVP is about: an instance may be an event of its own where it comes from (bridge 2).
struct About {
    event_id: EventId,
    rid: Option<String>,
}

impl Intake {
    pub(super) async fn take_rsvp(&self, client: &CipClient, object: &Object) -> Result<Answer, IntakeError> {
        let event = object.event();
        if event.traces.len() >= HOPS || self.our_trace(event, "RSVP", event.version) {
            return Ok(refuse_all(&people_of(event), "The answer is looping."));
        }
        if let Some(new) = self.0.ledger.redirect_of_event(&event.uid, self.now())? {
            let mut answer = Answer::no(code::NONE, "The event has moved.");
            answer.infos.push(Info::RedirectEvent { old: event.uid.clone(), new });
            return Ok(answer);
        }
        // Answers to several instances may come together; what any of them needs is asked before one is kept.
        let (mut judges, mut parts) = (Judges::default(), Vec::new());
        for part in object.one_by_one() {
            let about = self.about(part.event())?;
            let room = ANSWERS.saturating_sub(parts.iter().map(|(_, _, judged): &(_, _, Vec<_>)| judged.len()).sum());
            match self.judge_answers(client, &part, &about, &mut judges, room).await? {
                Judged::All(judged) => parts.push((part, about, judged)),
                Judged::NoEvent => return Ok(not_found(&event.uid)),
                Judged::Later(why) => return Ok(Answer::no(code::BUSY, why)),
            }
        }
        self.take_answers(client, parts).await
    }

    async fn take_answers(&self, client: &CipClient, parts: Vec<Part>) -> Result<Answer, IntakeError> {
        let mut answer = Answer::ok(code::NONE, "RSVP accepted.");
        let (mut stored, mut refused) = (0, 0);
        let mut tell = |info: Info| {
            if !answer.infos.contains(&info) {
                answer.infos.push(info);
            }
        };
        let mut confirmed = Vec::new();
        for (object, about, judged) in parts {
            let mut known = false;
            for (person, standing) in judged {
                let placed = match standing {
                    Some(standing) => self.take_answer(client, &object, &about, &person, standing.level).await?,
                    None => AnswerPlaced::NotOnEvent,
                };
                match placed {
                    AnswerPlaced::NoEvent => return Ok(not_found(&object.event().uid)),
                    AnswerPlaced::Stored | AnswerPlaced::Known => {
                        stored += 1;
                        // Who is known for one of the event's people is told of the others; to others an answer is no key.
                        known |= standing.is_some_and(|s| s.level > 0);
                    }
                    AnswerPlaced::Held => stored += 1,
                    AnswerPlaced::NotOnEvent | AnswerPlaced::Refused => {
                        refused += 1;
                        tell(Info::PermDenied(person.address.to_string()));
                    }
                }
            }
            if known {
                confirmed.extend(self.confirmed(&about.event_id, about.rid.as_deref())?);
            }
        }
        confirmed.into_iter().map(Info::Confirmed).for_each(tell);
        if stored == 0 {
            answer.completion = Completion::no(code::NONE, "Nobody here is on that event.");
        } else if refused > 0 {
            answer.completion = Completion::ok(code::PARTIAL, "Some answers were refused.");
        }
        Ok(answer)
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
    async fn judge_answers(
        &self,
        client: &CipClient,
        object: &Object,
        about: &About,
        judges: &mut Judges,
        room: usize,
    ) -> Result<Judged, IntakeError> {
        let Some(record) = self.0.ledger.event(&about.event_id)? else { return Ok(Judged::NoEvent) };
        // An owner of ours who has left reads no answers.
        match self.0.directory.look_up(&record.owner).await {
            Ok(Whereabouts::Unknown) => return Ok(Judged::NoEvent),
            Ok(_) => {}
            Err(_) => return Ok(Judged::Later("The owner cannot be looked up now, try again later.")),
        }
        let mut judged = Vec::new();
        for person in object.answers().into_iter().take(room) {
            let Some(known) = self.person_of(&about.event_id, &person.address)? else {
                let standing = self.delegate_standing(client, &about.event_id, &person, judges).await?;
                judged.push((person, standing));
                continue;
            };
            let standing = self.judged(client, &person.address, judges).await;
            if known.answer(about.rid.as_deref()).is_some_and(|a| standing.may_become(a.standing)) {
                return Ok(Judged::Later(DNS_FAILS));
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

fn people_of(event: &Event) -> Vec<UserId> {
    event.attendees.iter().map(|p| p.address.clone()).collect()
}

fn not_found(event: &EventId) -> Answer {
    let mut answer = Answer::no(code::NONE, "No such event here.");
    answer.infos.push(Info::NotFound(event.to_string()));
    answer
}
