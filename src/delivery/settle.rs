//! From the outcome of an attempt to one commit: the entry again or gone, its children, its reports, the ledger.

use super::seat::Seat;
use super::told::Told;
use super::{Delivery, DeliveryError, Fate, Hop, Outcome, ledger_event, ledger_user, log_delivered, waiting_state};
use crate::clock::Timestamp;
use crate::ident::UserId;
use crate::intake::{first_deadline, patience};
use crate::ledger::records::{RedirectRecord, Route};
use crate::ledger::{REDIRECT_LIFE, RedirectKind};
use crate::logbook;
use crate::policy::directory::Whereabouts;
use crate::queue::entry::{Destination, Entry, Recipient, State, Status, Verb, Via};
use crate::queue::{Change, Lease};

/// Redirects that one delivery follows (profile 7).
pub(super) const REDIRECTS: usize = 5;

/// The recipients of an entry, sorted by what is to become of them.
#[derive(Default)]
struct Sorted {
    moving: Vec<(Destination, Vec<Recipient>)>,
    failed: Vec<Recipient>,
    later: bool,
    again: bool,
    /// For the event's history.
    told: Told,
}

/// What a turn was, as far as the next one depends on it.
struct Turn {
    later: bool,
    again: bool,
    /// Without an attempt only the deadline moves; the attempt keeps its time.
    attempted: bool,
}

impl Sorted {
    fn moves(&mut self, destination: Destination, recipient: Recipient) {
        match self.moving.iter_mut().find(|(d, _)| *d == destination) {
            Some((_, people)) => people.push(recipient),
            None => self.moving.push((destination, vec![recipient])),
        }
    }
}

impl Delivery {
    /// Gives the worker back as soon as the outcome is known, and returns when it is on disk.
    pub(super) async fn settle(&self, lease: Lease, outcome: Outcome, seat: &Seat) -> Result<(), DeliveryError> {
        let now = self.now();
        let before = lease.entry.clone();
        let mut entry = lease.entry.clone();
        let mut change = self.0.queue.change();
        let event = ledger_event(&before).cloned();
        let lock = match &event {
            Some(event) => Some(self.0.ledger.lock(event).await),
            None => None,
        };
        outcome.notes.iter().for_each(|note| entry.note(now, note.as_str()));
        entry.uncertain |= outcome.uncertain;
        if outcome.attempted {
            entry.attempts = entry.attempts.saturating_add(1);
        }
        let mut sorted = self.sort(&mut entry, &outcome, &mut change, now)?;
        if let Some(reason) = outcome.hold {
            sorted.told.of_all(format!("held: {reason}"));
            entry.state = State::Held;
            entry.note(now, format!("held: {reason}"));
            entry.reason = reason;
        }
        if outcome.warn && entry.pending().next().is_some() {
            self.report_delay(&mut entry, &mut change);
        }
        if !sorted.failed.is_empty() {
            self.report_failure(&entry, &sorted.failed, &mut change);
        }
        if outcome.hop == Hop::Up && matches!(before.destination, Destination::Cip(_)) {
            self.store_cip(before.destination.server(), &mut change, now)?;
        }
        if let Some(event) = &event {
            self.0.ledger.tell(change.batch_mut(), event, now, std::mem::take(&mut sorted.told).lines(&before))?;
        }
        let hop = self.hop(&before, &outcome.hop, now);
        self.place(&mut entry, &before, sorted, (outcome.attempted, outcome.again), hop, &mut change, now);
        // Before the lease ends: a probe that has failed must not make room for the next one.
        self.tell_queue(&before, &outcome.hop, hop);
        self.0.queue.attempted(before.id);
        seat.leave();
        self.0.queue.settle(lease, change).await?;
        drop(lock);
        Ok(())
    }

    /// Applies each fate to its recipient; those who leave this destination are taken out of the entry.
    fn sort(&self, entry: &mut Entry, outcome: &Outcome, change: &mut Change, now: Timestamp) -> Result<Sorted, DeliveryError> {
        let mut sorted = Sorted::default();
        let mut leaving = Vec::new();
        for (n, fate) in &outcome.fates {
            let Some(mut recipient) = entry.recipients.get(*n).cloned() else { continue };
            let fate = self.settled_fate(entry, &recipient, fate)?;
            sorted.told.of(&recipient, &fate, outcome.uncertain);
            let may_have_it = self.may_have_it(entry, outcome, &fate);
            if let Fate::Failed { .. } = fate {
                self.0.ledger.give_up(change.batch_mut(), entry, &recipient, may_have_it)?;
            } else if may_have_it {
                self.remember_route(entry, &recipient, Status::Queued, change)?;
            }
            match fate {
                Fate::Delivered { status, said } => {
                    recipient.status = if recipient.visited.is_empty() { status } else { Status::Redirected };
                    entry.note(now, format!("{}: delivered ({}) {said}", recipient.user, recipient.status.code()));
                    log_delivered(entry, &recipient, recipient.status, &said);
                    if self.takes_both(entry, &recipient)? {
                        let copy = Recipient { status: Status::Queued, last: String::new(), ..recipient.clone() };
                        sorted.moves(Destination::Mail(copy.user.server().clone()), copy);
                    }
                    recipient.last = said;
                    self.remember_route(entry, &recipient, status, change)?;
                }
                Fate::Later { said } => {
                    sorted.later = true;
                    if outcome.attempted {
                        entry.note(now, format!("{}: {said}", recipient.user));
                    }
                    recipient.last = said;
                }
                Fate::ByMail { why } => {
                    entry.note(now, format!("{}: on by e-mail: {why}", recipient.user));
                    logbook::fallback(entry.id, &recipient.user, &why);
                    recipient.last = why;
                    leaving.push(*n);
                    sorted.moves(Destination::Mail(recipient.user.server().clone()), recipient.clone());
                }
                Fate::ToServer { server, why } => {
                    entry.note(now, format!("{}: on to the event's server {server}: {why}", recipient.user));
                    recipient.last = why;
                    leaving.push(*n);
                    sorted.moves(Destination::Cip(server), recipient.clone());
                }
                Fate::Moved { new, known } => {
                    let how = if known { "is known to have moved" } else { "redirected" };
                    entry.note(now, format!("{}: {how} to {new}", recipient.user));
                    logbook::redirected(entry.id, &recipient.user, &new);
                    if !known {
                        if recipient.visited.contains(&new) {
                            // He has moved back: what was remembered of `new` is untrue.
                            self.0.ledger.remove_redirect(change.batch_mut(), RedirectKind::User, &new.key());
                        }
                        self.learn(change, RedirectKind::User, &recipient.user.key(), &new.to_string(), entry)?;
                    }
                    recipient.visited.push(recipient.user.clone());
                    recipient.user = new;
                    recipient.last = "redirected".to_owned();
                    leaving.push(*n);
                    sorted.moves(self.destination_of(&recipient.user), recipient.clone());
                }
                Fate::EventMoved { new, known } => {
                    if let Some(old) = entry.event_id.replace(new.clone()) {
                        entry.note(now, format!("the event moved from {old} to {new}"));
                        // Only the event-id's server speaks for everybody's answers (profile 3).
                        if !known && old.server().as_ref() == Some(entry.destination.server()) {
                            self.learn(change, RedirectKind::Event, old.as_str(), new.as_str(), entry)?;
                        }
                        entry.moved_from.push(old);
                    }
                    recipient.last = "event redirected".to_owned();
                    sorted.again = true;
                }
                Fate::Failed { status, why } => {
                    recipient.status = status;
                    entry.note(now, format!("{}: failed ({}) {why}", recipient.user, status.code()));
                    logbook::failed(entry.id, &recipient.user, &why);
                    recipient.last = why;
                    sorted.failed.push(recipient.clone());
                }
                Fate::Pointless { why } => {
                    entry.note(now, format!("{}: {why}", recipient.user));
                    logbook::superseded(entry.id, &recipient.user, entry.version.unwrap_or(0));
                    leaving.push(*n);
                }
            }
            entry.recipients[*n] = recipient;
        }
        let mut n = 0;
        entry.recipients.retain(|_| {
            n += 1;
            !leaving.contains(&(n - 1))
        });
        Ok(sorted)
    }

    /// A server may have the event, or something of it, though nobody said so: it is not in this entry's power to tell any more,
    /// or this attempt did not end clearly. A later CANCEL is then not pointless (bridge 3).
    fn may_have_it(&self, entry: &Entry, outcome: &Outcome, fate: &Fate) -> bool {
        match fate {
            Fate::Delivered { .. } => false,
            Fate::Later { .. } => outcome.uncertain,
            Fate::Pointless { .. } | Fate::Failed { .. } if self.0.queue.restored(entry) => !entry.cancel,
            _ => outcome.uncertain && matches!(entry.destination, Destination::Cip(_)),
        }
    }

    /// The fate after the bounds on redirects and the rule that e-mail may not be allowed.
    fn settled_fate(&self, entry: &Entry, recipient: &Recipient, fate: &Fate) -> Result<Fate, DeliveryError> {
        let chain = |last: &str| {
            let steps = recipient.visited.iter().map(ToString::to_string).chain([recipient.user.to_string(), last.to_owned()]);
            steps.collect::<Vec<_>>().join(" → ")
        };
        Ok(match fate {
            Fate::Later { .. } if self.replaced(entry, recipient)? => {
                Fate::Pointless { why: "not tried again: the same version came with other content".to_owned() }
            }
            Fate::Moved { new, .. } if self.led_back(recipient, new).is_some() => {
                let last = self.led_back(recipient, new).map_or_else(|| new.to_string(), |last| format!("{new} → {last}"));
                Fate::Failed { status: Status::Failed, why: format!("redirects lead in a circle: {}", chain(&last)) }
            }
            Fate::Moved { new, .. }
                if *new == recipient.user || recipient.visited.contains(new) && !self.moved_back(entry, recipient, new)? =>
            {
                Fate::Failed { status: Status::Failed, why: format!("redirects lead in a circle: {}", chain(&new.to_string())) }
            }
            Fate::Moved { new, .. } if recipient.visited.len() >= REDIRECTS => {
                Fate::Failed { status: Status::Failed, why: format!("more than {REDIRECTS} redirects: {}", chain(&new.to_string())) }
            }
            Fate::EventMoved { new, .. } => {
                let steps = || {
                    let all = entry.moved_from.iter().chain(&entry.event_id).chain([new]);
                    all.map(ToString::to_string).collect::<Vec<_>>().join(" → ")
                };
                if entry.event_id.as_ref() == Some(new) || entry.moved_from.contains(new) {
                    return Ok(Fate::Failed {
                        status: Status::Failed,
                        why: format!("redirects of the event lead in a circle: {}", steps()),
                    });
                }
                if entry.moved_from.len() >= REDIRECTS {
                    return Ok(Fate::Failed {
                        status: Status::Failed,
                        why: format!("more than {REDIRECTS} redirects of the event: {}", steps()),
                    });
                }
                fate.clone()
            }
            Fate::ByMail { why } if !self.may_fall_back(entry) => {
                Fate::Later { said: format!("{why}; e-mail is not allowed for this server") }
            }
            _ => fate.clone(),
        })
    }

    /// Where a user here whom a redirect names has moved by the configuration, when this delivery has been there.
    fn led_back(&self, recipient: &Recipient, new: &UserId) -> Option<UserId> {
        let Whereabouts::Moved(last) = self.0.directory.find(new) else { return None };
        (last == recipient.user || recipient.visited.contains(&last)).then_some(last)
    }

    fn learn(&self, change: &mut Change, kind: RedirectKind, old: &str, new: &str, entry: &Entry) -> Result<(), DeliveryError> {
        let now = self.now();
        let record = RedirectRecord {
            old: old.to_owned(),
            new: new.to_owned(),
            source: entry.destination.server().to_string(),
            learned: now,
            expires: Some(now.after(REDIRECT_LIFE)),
        };
        Ok(self.0.ledger.put_redirect(change.batch_mut(), kind, &record)?)
    }

    /// An earlier version may have arrived by CIP and did go by mail: this one goes both ways.
    fn takes_both(&self, entry: &Entry, recipient: &Recipient) -> Result<bool, DeliveryError> {
        let (Verb::SendEvent, Destination::Cip(_), Some(event)) = (entry.verb, &entry.destination, &entry.event_id) else {
            return Ok(false);
        };
        let person = self.0.ledger.person(event, ledger_user(recipient))?;
        Ok(person.is_some_and(|p| p.route == Some(Route::Both)))
    }

    /// By which route an event reached a person (bridge 3), and which version did.
    fn remember_route(&self, entry: &Entry, recipient: &Recipient, status: Status, change: &mut Change) -> Result<(), DeliveryError> {
        let (Verb::SendEvent, Some(event)) = (entry.verb, &entry.event_id) else { return Ok(()) };
        let route = match (status, &entry.destination) {
            (Status::Queued, _) => Route::Uncertain,
            (_, Destination::Cip(_)) => Route::Cip,
            (_, Destination::Mail(_)) => Route::Mail,
        };
        let Some(mut person) = self.0.ledger.person(event, ledger_user(recipient))? else { return Ok(()) };
        let route = match (person.route, route) {
            (Some(Route::Uncertain), Route::Mail) | (Some(Route::Both), _) => Route::Both,
            (Some(known), Route::Uncertain) => known,
            // The answer to a question by mail goes by mail, and the event where it went before.
            (Some(known), Route::Mail) if answers_question(entry) => known,
            (_, route) => route,
        };
        let news = entry.version.is_some_and(|version| person.reach(entry.recurrence_id.as_deref(), version));
        if !news && person.route == Some(route) && person.addresses.contains(&recipient.user) {
            return Ok(());
        }
        person.route = Some(route);
        person.add_address(&recipient.user);
        Ok(self.0.ledger.put_person(change.batch_mut(), &person)?)
    }

    /// What an attempt says of its destination's health; the time of the next try when it is down.
    fn hop(&self, entry: &Entry, hop: &Hop, now: Timestamp) -> Option<Timestamp> {
        let key = entry.destination.key();
        match hop {
            Hop::Up | Hop::NoCip => {
                self.0.health.up(&key);
                None
            }
            Hop::Down { trouble, detail } => {
                let failing = self.0.health.down(&key, *trouble, detail, now, |failed| self.wait(failed));
                Some(failing.next_try)
            }
            Hop::Unknown => None,
        }
    }

    fn tell_queue(&self, entry: &Entry, hop: &Hop, until: Option<Timestamp>) {
        match (hop, until) {
            (Hop::Up | Hop::NoCip, _) => self.0.queue.hop_up(&entry.destination),
            (Hop::Down { .. }, Some(until)) => self.0.queue.hop_down(&entry.destination, until, true),
            _ => {}
        }
    }

    /// Puts the entry where it belongs next: back, on to another destination, or out; the rest as children.
    #[allow(clippy::too_many_arguments)]
    fn place(
        &self,
        entry: &mut Entry,
        before: &Entry,
        sorted: Sorted,
        (attempted, again): (bool, bool),
        hop: Option<Timestamp>,
        change: &mut Change,
        now: Timestamp,
    ) {
        let mut moving = sorted.moving.into_iter();
        let stays = entry.pending().next().is_some();
        if stays && entry.state != State::Held {
            let turn = Turn { later: sorted.later, again: sorted.again || again, attempted };
            self.reschedule(entry, &turn, hop, now);
        }
        let mut kept = stays;
        if !stays && let Some((destination, people)) = moving.next() {
            entry.recipients.extend(people);
            self.send_to(entry, destination, now);
            kept = true;
        }
        for (destination, people) in moving {
            let mut child = entry.clone();
            child.id = self.0.queue.next_id();
            child.parent = Some(before.id);
            child.recipients = people;
            child.history.clone_from(&entry.history);
            self.send_to(&mut child, destination, now);
            child.note(now, format!("split off from {}", before.id));
            child.body = change.share_body(&entry.body);
            logbook::moved(before.id, child.id, &child.destination.key());
            logbook::accepted(&child);
            change.put(child);
        }
        if kept {
            change.put(entry.clone());
        } else {
            change.remove(before);
            logbook::removed(entry, now);
        }
    }

    /// A fresh start at another destination; age and expiry stay.
    fn send_to(&self, entry: &mut Entry, destination: Destination, now: Timestamp) {
        entry.destination = destination;
        entry.attempts = 0;
        entry.first_failure = None;
        entry.waits_for_hop = false;
        entry.state = State::Due;
        entry.next_attempt = now;
        entry.reason.clear();
        entry.deadline = self.next_deadline(entry, now);
    }

    fn reschedule(&self, entry: &mut Entry, turn: &Turn, hop: Option<Timestamp>, now: Timestamp) {
        let later = turn.later;
        if turn.attempted {
            entry.waits_for_hop = hop.is_some();
            entry.next_attempt = match hop {
                _ if turn.again => now,
                Some(until) => until,
                None if later => now.after(self.wait(entry.attempts)),
                None => now,
            };
        }
        if later {
            entry.first_failure.get_or_insert(now);
            let reason = entry.pending().map(|r| r.last.clone()).find(|l| !l.is_empty());
            entry.reason = reason.unwrap_or_default();
            entry.state = waiting_state(entry.attempts);
            logbook::deferred(entry, entry.next_attempt);
        } else {
            entry.state = State::Due;
        }
        entry.deadline = self.next_deadline(entry, now);
    }

    /// The next moment at which the entry wants attention whatever its destination does.
    pub(super) fn next_deadline(&self, entry: &Entry, now: Timestamp) -> Timestamp {
        let config = &self.0.config;
        let deadline = first_deadline(entry, config);
        if deadline > now {
            return deadline;
        }
        let warn = entry.received.after(config.delivery.warn_after.0);
        let patient = entry.received.after(patience(entry, config));
        let cip = matches!(entry.destination, Destination::Cip(_)).then_some(patient);
        let warn = (!entry.warned && entry.verb != Verb::Report).then_some(warn);
        // E-mail may take over from now on: soon, whenever the look-up says more than that it failed.
        let over = (cip.is_some_and(|t| t <= now)).then(|| now.after(config.delivery.retry.max.0));
        [warn, cip, over].into_iter().flatten().filter(|t| *t > now).min().unwrap_or(entry.expires).min(entry.expires)
    }
}

/// Whether an entry answers a REFRESH.
pub(super) fn answers_question(entry: &Entry) -> bool {
    entry.origin.via == Via::Relay && entry.origin.sender.as_deref() == Some("")
}
