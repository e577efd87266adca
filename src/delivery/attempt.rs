//! One attempt: what goes out is built, a courier carries it, and its result becomes each recipient's fate (profile 7).

use super::prepare::{Mailing, NotPrepared, calendar_of};
use super::verdict::{self, Verdict};
use super::{Delivery, DeliveryError, Fate, Hop, MAILS_A_TURN, Outcome, pending};
use crate::cip::response::{Answer, Completion};
use crate::config::NotFound;
use crate::courier::{CipResult, CipVerb, MailResult, Unreachable};
use crate::ident::UserId;
use crate::imip::sendable;
use crate::logbook;
use crate::queue::entry::{BodyKind, Destination, Entry, Recipient, Status, Verb};

use super::health::Trouble;

impl Delivery {
    pub(super) async fn attempt_cip(&self, entry: &Entry) -> Result<Outcome, DeliveryError> {
        let body = self.0.queue.body(&entry.body)?;
        let objects = match self.cip_objects(entry, body) {
            Ok(objects) => objects,
            Err(why) => return Ok(held(entry, &why)),
        };
        logbook::attempt(entry);
        self.recall_cip(entry.destination.server())?;
        let verb = if entry.verb == Verb::Rsvp { CipVerb::Rsvp } else { CipVerb::SendEvent };
        self.ensure_instances(&objects.instances).await?;
        let mut outcome = Outcome::all(entry, &Fate::Later { said: "there is nothing to be sent".to_owned() });
        for (n, octets) in objects.octets.iter().enumerate() {
            let next = self.attempt_object(entry, verb, octets).await;
            outcome = if n == 0 { next } else { both(outcome, next) };
            if !outcome.fates.iter().any(|(_, fate)| matches!(fate, Fate::Delivered { .. })) {
                break;
            }
        }
        if outcome.fates.iter().any(|(_, fate)| matches!(fate, Fate::Delivered { .. })) {
            lost(entry, &objects.losses, &mut outcome);
        }
        outcome.attempted = true;
        Ok(outcome)
    }

    /// One object to the entry's server.
    async fn attempt_object(&self, entry: &Entry, verb: CipVerb, octets: &[u8]) -> Outcome {
        match self.0.cip.deliver(entry.destination.server(), verb, octets).await {
            CipResult::Answered(answer) => {
                let mut outcome = self.answered(entry, &answer);
                outcome.hop = Hop::Up;
                outcome
            }
            CipResult::Uncertain(detail) => {
                let said = format!("the connection ended after the data and before the answer: {detail}");
                let mut outcome = Outcome::all(entry, &Fate::Later { said });
                outcome.uncertain = true;
                outcome
            }
            CipResult::Unreachable { why, detail } => self.unreachable(entry, why, &detail),
        }
    }

    fn answered(&self, entry: &Entry, answer: &Answer) -> Outcome {
        let server = entry.destination.server();
        let places: Vec<usize> = pending(entry).collect();
        let users: Vec<UserId> = places.iter().map(|&n| entry.recipients[n].user.clone()).collect();
        let attendee = entry.answer.as_ref().map(|a| &a.attendee);
        let rsvp = entry.event_id.as_ref().filter(|_| entry.verb == Verb::Rsvp).map(|event| verdict::Rsvp { event, attendee });
        let (verdicts, notes) = verdict::judge(answer, server, &users, rsvp);
        let said = completion_words(&answer.completion);
        let fates = verdicts.into_iter().map(|v| self.fate(entry, v, &said));
        let fates = places.into_iter().zip(fates).collect();
        Outcome { fates, notes, ..Outcome::new() }
    }

    fn fate(&self, entry: &Entry, verdict: Verdict, said: &str) -> Fate {
        let server = entry.destination.server();
        match verdict {
            Verdict::Stored => Fate::Delivered { status: Status::DeliveredByCip, said: format!("{server}: {said}") },
            Verdict::Moved(new) => Fate::Moved { new, known: false },
            Verdict::EventMoved(new) => Fate::EventMoved { new, known: false },
            Verdict::Denied(why) => Fate::Failed { status: Status::Refused, why: format!("{server}: {why}") },
            Verdict::NotFound => self.not_found(entry, &format!("{server} says NOTFOUND ({said})")),
            Verdict::BadObject(why) if self.may_fall_back(entry) => {
                Fate::ByMail { why: format!("{server} does not take the object: {why}") }
            }
            Verdict::BadObject(why) => Fate::Failed { status: Status::Failed, why: format!("{server}: {why}") },
            Verdict::Later(why) if self.patience_is_over(entry, self.now()) => {
                Fate::ByMail { why: format!("{server} has been putting it off for too long: {why}") }
            }
            Verdict::Later(why) => Fate::Later { said: format!("{server}: {why}") },
        }
    }

    /// NOTFOUND by the user's own server: e-mail, unless configured to fail; for an RSVP first the event's server.
    fn not_found(&self, entry: &Entry, why: &str) -> Fate {
        if let Some(next) = self.events_server(entry) {
            return Fate::ToServer { server: next, why: why.to_owned() };
        }
        if self.0.config.delivery.not_found == NotFound::Fail || !self.may_fall_back(entry) {
            return Fate::Failed { status: Status::NotFound, why: why.to_owned() };
        }
        Fate::ByMail { why: why.to_owned() }
    }

    /// For an RSVP that was tried at the owner's server: the event-id's server, when that is another and not this relay.
    fn events_server(&self, entry: &Entry) -> Option<crate::ident::ServerId> {
        if entry.verb != Verb::Rsvp {
            return None;
        }
        let server = entry.event_id.as_ref()?.server()?;
        let here =
            *entry.destination.server() == server || self.0.config.is_own_name(server.as_str()) || self.0.directory.is_local(&server);
        let owners = entry.owner.as_ref().is_some_and(|o| o.server() == entry.destination.server());
        (!here && owners).then_some(server)
    }

    fn unreachable(&self, entry: &Entry, why: Unreachable, detail: &str) -> Outcome {
        let by_mail = |why: &str| match self.events_server(entry) {
            Some(server) => Fate::ToServer { server, why: why.to_owned() },
            None => Fate::ByMail { why: why.to_owned() },
        };
        let later = Fate::Later { said: detail.to_owned() };
        let (fate, hop) = match why {
            // Nothing to wait for: whatever waited may go by mail as well.
            Unreachable::NoCip | Unreachable::Silent => (by_mail(detail), Hop::NoCip),
            Unreachable::Dns => (later, Hop::Down { trouble: Trouble::Dns, detail: detail.to_owned() }),
            Unreachable::Down | Unreachable::Refused => {
                let hop = Hop::Down { trouble: Trouble::Down, detail: detail.to_owned() };
                let over = self.patience_is_over(entry, self.now());
                (if over { by_mail(&format!("no CIP server reachable for too long: {detail}")) } else { later }, hop)
            }
        };
        // Where e-mail may not take over, "no CIP" is a matter of waiting as well.
        let (fate, hop) = match fate {
            Fate::ByMail { why } if !self.may_fall_back(entry) => {
                (Fate::Later { said: why.clone() }, Hop::Down { trouble: Trouble::Down, detail: why })
            }
            other => (other, hop),
        };
        Outcome { hop, ..Outcome::all(entry, &fate) }
    }

    pub(super) async fn attempt_mail(&self, entry: &Entry) -> Result<Outcome, DeliveryError> {
        let body = self.0.queue.body(&entry.body)?;
        let mut composed: Vec<usize> = match (entry.verb, entry.body.kind) {
            (Verb::Mail | Verb::Report, _) => Vec::new(),
            (_, BodyKind::Object) => pending(entry).collect(),
            (verb, BodyKind::Message) => {
                // The original names somebody else as its attendee (profile 7).
                let moved = |r: &Recipient| verb == Verb::SendEvent && !r.visited.is_empty() && r.user != r.original;
                pending(entry).filter(|&n| entry.recipients[n].gateway || moved(&entry.recipients[n])).collect()
            }
        };
        let plain: Vec<usize> = pending(entry).filter(|n| !composed.contains(n)).collect();
        logbook::attempt(entry);
        let mut outcome = Outcome { attempted: true, ..Outcome::new() };
        if !plain.is_empty() {
            let mailing = self.pass_on(entry, &body, &plain);
            self.post(entry, &mailing, sendable::MAX_LINE_PASSED_ON, &mut outcome).await;
        }
        let object = if composed.is_empty() { None } else { Some(calendar_of(entry, body)) };
        // Those who were never tried come first, or a few who put us off would keep the others waiting.
        composed.sort_by_key(|&n| !entry.recipients[n].last.is_empty());
        outcome.again = composed.iter().skip(MAILS_A_TURN).any(|&n| entry.recipients[n].last.is_empty());
        for &n in composed.iter().take(MAILS_A_TURN) {
            if matches!(outcome.hop, Hop::Down { .. }) {
                break;
            }
            let mailing = match &object {
                Some(Ok(object)) => self.compose(entry, object, n).await?,
                Some(Err(why)) => Err(why.clone()),
                None => continue,
            };
            match mailing {
                Ok(mailing) => self.post(entry, &mailing, sendable::MAX_LINE, &mut outcome).await,
                Err(NotPrepared::Refused(why)) => outcome.fates.push((n, Fate::Failed { status: Status::Failed, why })),
                Err(NotPrepared::Hold(why)) => outcome.hold = Some(why),
            }
        }
        let said = match &outcome.hop {
            Hop::Down { detail, .. } => Some(detail.clone()),
            _ => None,
        };
        if let Some(said) = said {
            let done: Vec<usize> = outcome.fates.iter().map(|(n, _)| *n).collect();
            outcome.fates.extend(pending(entry).filter(|n| !done.contains(n)).map(|n| (n, Fate::Later { said: said.clone() })));
        }
        Ok(outcome)
    }

    /// Hands one message, of lines up to `max_line`, to the mail courier and adds its recipients' fates.
    async fn post(&self, entry: &Entry, mailing: &Mailing, max_line: usize, outcome: &mut Outcome) {
        let domain = match &entry.destination {
            Destination::Mail(domain) | Destination::Cip(domain) => domain,
        };
        if let Err(why) = sendable::check(&mailing.message, max_line) {
            let fate = Fate::Failed { status: Status::Failed, why: format!("the message cannot be sent by SMTP: {why}") };
            outcome.fates.extend(mailing.places.iter().map(|&n| (n, fate.clone())));
            return;
        }
        lost(entry, &mailing.losses, outcome);
        let results = self.0.mail.deliver(domain, &mailing.sender, &mailing.recipients, &mailing.message).await;
        for (&n, result) in mailing.places.iter().zip(results) {
            let fate = match result {
                MailResult::Sent { host, reply } => {
                    outcome.hop = Hop::Up;
                    Fate::Delivered { status: Status::SentByMail, said: format!("{host}: {reply}") }
                }
                MailResult::Later { detail, hop_down, uncertain } => {
                    outcome.uncertain |= uncertain;
                    outcome.hop = if hop_down { Hop::Down { trouble: Trouble::Down, detail: detail.clone() } } else { Hop::Up };
                    Fate::Later { said: detail }
                }
                MailResult::Failed { code, detail } => Fate::Failed { status: Status::Failed, why: format!("{code} {detail}") },
            };
            outcome.fates.push((n, fate));
        }
    }
}

/// What the translation could not keep, for the history and the log.
fn lost(entry: &Entry, losses: &[String], outcome: &mut Outcome) {
    if !losses.is_empty() {
        logbook::translated(entry.id, losses.len());
        outcome.notes.extend(losses.iter().map(|loss| format!("lost in translation: {loss}")));
    }
}

fn held(entry: &Entry, why: &NotPrepared) -> Outcome {
    match why {
        NotPrepared::Refused(why) => Outcome::all(entry, &Fate::Failed { status: Status::Failed, why: why.clone() }),
        NotPrepared::Hold(why) => Outcome { hold: Some(why.clone()), ..Outcome::new() },
    }
}

/// `OK 000 Stored.`, for a history.
fn completion_words(completion: &Completion) -> String {
    let word = if completion.ok { "OK" } else { "NO" };
    format!("{word} {:03} {}", completion.code, completion.text).trim_end().to_owned()
}

/// The outcome of two objects for the same people, one after the other: who has the first has both only with the second,
/// and something of the event already.
fn both(first: Outcome, second: Outcome) -> Outcome {
    let fate = |n: usize| second.fates.iter().find(|(at, _)| *at == n).map(|(_, fate)| fate.clone());
    let delivered = |fate: &Fate| matches!(fate, Fate::Delivered { .. });
    let half = first.fates.iter().any(|(n, had)| delivered(had) && fate(*n).is_some_and(|has| !delivered(&has)));
    let fates = first.fates.into_iter().map(|(n, had)| match had {
        Fate::Delivered { .. } => (n, fate(n).unwrap_or(had)),
        had => (n, had),
    });
    let notes = first.notes.into_iter().chain(second.notes).collect();
    Outcome { fates: fates.collect(), notes, uncertain: half || first.uncertain || second.uncertain, ..second }
}
