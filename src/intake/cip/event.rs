//! SENDEVENT: who is to receive the event, and the line that each of them gets (profile 6).
//!
//! Invariants: the DNS and the mail server are asked before the event's lock is taken; below standing 3 nobody speaks for
//! an owner here; a source that has guessed too often hears nothing of anybody.

use super::{DNS_FAILS, GUESSING, refuse_all};
use crate::calendar::Object;
use crate::cip::response::{Answer, Completion, Info, code};
use crate::ident::{ServerId, UserId};
use crate::intake::events::{Arrival, Placed, content_digest, is_cancel};
use crate::intake::loops::HOPS;
use crate::intake::{Intake, IntakeError, Target};
use crate::listen::CipClient;
use crate::policy::directory::{Found, Whereabouts};
use crate::policy::standing::Standing;
use crate::queue::entry::{BodyKind, Destination};

/// The line for one recipient.
enum Line {
    /// His place among the people, and the name that he was asked for by.
    Placing(usize, UserId),
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
    pub(super) async fn take_event(&self, client: &CipClient, object: &Object) -> Result<Answer, IntakeError> {
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
                Line::Placing(n, user) if refused(n) => Info::PermDenied(user.to_string()),
                Line::Placing(_, user) => {
                    stored += 1;
                    Info::Tentative(user.clone())
                }
                Line::Said(info) => info.clone(),
            });
        }
        let guessed = standing == 0 && missed > 0 && self.0.strangers.missed(client.address, missed, self.now());
        answer.completion = match stored {
            n if n == lines.len() => Completion::ok(code::NONE, "Stored."),
            // What was stored has to be answered as stored; the next command is then the last.
            0 if guessed => Completion::no(code::CLOSING, GUESSING),
            0 => Completion::no(code::NONE, "Nobody received the event."),
            _ => Completion::ok(code::PARTIAL, "Not all attendees received the event."),
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
                sorted.lines.push(Line::Placing(n, user));
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
                sorted.lines.push(Line::Placing(n, user.clone()));
                // Under the address that the sender wrote for him, rather than as one of a group.
                if by_group.remove(&n) {
                    sorted.people[n].original = user;
                }
                continue;
            }
            index.insert(canonical.key(), sorted.people.len());
            index.insert(user.key(), sorted.people.len());
            sorted.lines.push(Line::Placing(sorted.people.len(), user.clone()));
            sorted.people.push(Target { user: canonical, original: user, destination, gateway: false });
        }
        sorted
    }

    /// Where a local user has moved, as the ledger knows it.
    fn redirected(&self, user: &UserId) -> Option<UserId> {
        self.0.ledger.redirect_of_user(user, self.now()).unwrap_or_else(|error| {
            tracing::error!(%error, %user, "a redirect cannot be looked up");
            None
        })
    }
}

/// How many recipients one object may have (profile 4).
const fn recipients_limit(standing: u8) -> usize {
    if standing < 2 { 100 } else { 1000 }
}
