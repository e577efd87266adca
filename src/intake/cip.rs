//! SENDEVENT, RSVP and FREEBUSY as they come from a CIP client (draft 2.2–2.4; profile 4–6, 9).
//!
//! Here is the door: what is read, who may relay, and FREEBUSY. An event is parted among its recipients in [`event`], an
//! RSVP among those who answer in [`rsvp`]. Invariant: nothing is answered as stored before it is.

mod event;
mod rsvp;

use super::{Intake, IntakeError};
use crate::calendar::event::{Event, Trace};
use crate::calendar::{self, Object, ObjectError};
use crate::cip::response::{Answer, FreeBusyAnswer, Info, code};
use crate::freebusy::{Asker, Told};
use crate::ident::UserId;
use crate::listen::{CipClient, CipDoor, Login};
use crate::queue::entry::{Origin, Via};

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
}

fn refuse_all(people: &[UserId], text: &str) -> Answer {
    let mut answer = Answer::no(code::NONE, text);
    answer.infos = people.iter().map(|u| Info::PermDenied(u.to_string())).collect();
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
