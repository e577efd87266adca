//! The relay behind the listener of a transcript: users, events and passwords as the transcript's head says.
//!
//! ```text
//! # relay: domain yip.com                      a local domain
//! # relay: user jen@yip.com                    who lives in one
//! # relay: moved old@yip.com new@other.org     a redirect
//! # relay: event UID OWNER ATTENDEE…           an event that is known here
//! # relay: event-moved UID NEW-UID
//! # relay: busy jen@yip.com 19961231T200000Z/19970101T060000Z
//! # relay: login IDENTITY PASSWORD [relay]
//! # relay: not-ready REASON
//! # relay: idle MILLISECONDS · max-event-size OCTETS · max-sessions N · no-plaintext-login
//! ```

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use cip_relay::cip::response::{Answer, Completion, FreeBusyAnswer, Info};
use cip_relay::ident::{EventId, UserId};
use cip_relay::listen::cip::CipSettings;
use cip_relay::listen::{CipClient, CipDoor, Login};

#[derive(Debug, Default)]
pub struct Door {
    domains: Vec<String>,
    users: Vec<String>,
    moved: HashMap<String, String>,
    events: Mutex<HashMap<String, Event>>,
    events_moved: HashMap<String, String>,
    busy: HashMap<String, String>,
    logins: Vec<(String, String, bool)>,
    not_ready: Option<String>,
    /// How long each object takes.
    pub work: Duration,
}

#[derive(Debug, Default)]
struct Event {
    attendees: Vec<String>,
    confirmed: Vec<String>,
}

/// The door and the settings that the head of a transcript asks for.
pub fn from_head(transcript: &str) -> (Door, impl FnOnce(&mut CipSettings)) {
    let mut door = Door::default();
    let mut changes: Vec<(String, usize)> = Vec::new();
    for line in transcript.lines().filter_map(|l| l.strip_prefix("# relay: ")) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let number = || words[1].parse::<usize>().unwrap();
        match words[0].as_str() {
            "domain" => door.domains.push(words[1].clone()),
            "user" => door.users.push(words[1].clone()),
            "moved" => drop(door.moved.insert(words[1].clone(), words[2].clone())),
            "event" => {
                let event = Event { attendees: words[3..].to_vec(), confirmed: vec![words[2].clone()] };
                door.events.get_mut().unwrap().insert(words[1].clone(), event);
            }
            "event-moved" => drop(door.events_moved.insert(words[1].clone(), words[2].clone())),
            "busy" => drop(door.busy.insert(words[1].clone(), words[2].clone())),
            "login" => door.logins.push((words[1].clone(), words[2].clone(), words.get(3).is_some_and(|w| w == "relay"))),
            "not-ready" => door.not_ready = Some(words[1..].join(" ")),
            "no-plaintext-login" => changes.push((words[0].clone(), 0)),
            "idle" | "max-event-size" | "max-sessions" => changes.push((words[0].clone(), number())),
            _ => panic!("no such line in a head: {line:?}"),
        }
    }
    let change = move |settings: &mut CipSettings| {
        for (key, value) in changes {
            match key.as_str() {
                "idle" => settings.idle_timeout = Duration::from_millis(value as u64),
                "max-event-size" => settings.max_event_size = value,
                "max-sessions" => settings.max_sessions = value,
                _ => settings.allow_plaintext_login = false,
            }
        }
    };
    (door, change)
}

/// The properties of a bare object: name in capitals, parameters in capitals, value. A line without a colon that
/// begins with a blank or `<` belongs to the one before (profile 5); any other is left out.
fn properties(object: &[u8]) -> Vec<(String, String, String)> {
    let text = String::from_utf8_lossy(object);
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t', '<']) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    let split = |line: &String| {
        let (head, value) = line.split_once(':')?;
        let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
        let capitals = |s: &str| s.to_ascii_uppercase().replace(' ', "");
        Some((capitals(name), capitals(parameters), value.trim().to_owned()))
    };
    lines.iter().filter_map(split).collect()
}

fn address(value: &str) -> String {
    let bare = value.rsplit_once('<').map_or(value, |(_, a)| a.trim_end_matches('>'));
    bare.trim().to_owned()
}

struct Object(Vec<(String, String, String)>);

impl Object {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|p| p.0 == name).map(|p| p.2.as_str())
    }

    fn people(&self, owner: bool) -> Vec<String> {
        self.0.iter().filter(|p| p.0 == "ATTENDEE" && p.1.contains("ROLE=OWNER") == owner).map(|p| address(&p.2)).collect()
    }

    fn missing(&self, names: &[&str]) -> Option<Answer> {
        names.iter().find(|n| self.value(n).is_none()).map(|n| Answer::no(1, format!("{n} is missing.")))
    }
}

impl Door {
    fn is_local(&self, user: &str) -> bool {
        user.rsplit_once('@').is_some_and(|(_, domain)| self.domains.iter().any(|d| d.eq_ignore_ascii_case(domain)))
    }

    fn judge(&self, client: &CipClient, user: &str) -> Info {
        let id = |text: &str| UserId::parse(text).unwrap();
        let relay = client.login.as_ref().is_some_and(|l| l.relay);
        if let Some(new) = self.moved.get(user) {
            return Info::RedirectUser { old: id(user), new: id(new) };
        }
        match self.is_local(user) {
            true if self.users.iter().any(|u| u.eq_ignore_ascii_case(user)) => Info::Tentative(id(user)),
            false if relay => Info::Tentative(id(user)),
            _ => Info::NotFound(user.to_owned()),
        }
    }
}

impl CipDoor for Door {
    fn ready(&self) -> Result<(), String> {
        self.not_ready.clone().map_or(Ok(()), Err)
    }

    async fn login(&self, _: &CipClient, identity: &str, password: &[u8]) -> Option<Login> {
        let found = self.logins.iter().find(|l| l.0 == identity && l.1.as_bytes() == password)?;
        Some(Login { identity: identity.to_owned(), relay: found.2 })
    }

    async fn send_event(&self, client: &CipClient, object: Vec<u8>) -> Answer {
        tokio::time::sleep(self.work).await;
        let object = Object(properties(&object));
        if let Some(bad) = object.missing(&["UID", "SEQUENCE"]) {
            return bad;
        }
        let Some(owner) = object.people(true).first().cloned() else {
            return Answer::no(1, "An owner is missing.");
        };
        let guests = object.people(false);
        let infos: Vec<Info> =
            if self.is_local(&owner) && !client.login.as_ref().is_some_and(|l| owner.ends_with(&format!("@{}", l.identity))) {
                guests.into_iter().map(Info::PermDenied).collect()
            } else {
                guests.iter().map(|g| self.judge(client, g)).collect()
            };
        let stored = infos.iter().filter(|i| matches!(i, Info::Tentative(_))).count();
        let completion = match stored {
            0 => Completion::no(0, "Nobody received the event."),
            n if n == infos.len() => Completion::ok(0, "Stored."),
            _ => Completion::ok(3, "Some did not receive the event."),
        };
        Answer { infos, completion }
    }

    async fn rsvp(&self, client: &CipClient, object: Vec<u8>) -> Answer {
        tokio::time::sleep(self.work).await;
        let object = Object(properties(&object));
        if let Some(bad) = object.missing(&["UID"]) {
            return bad;
        }
        let uid = object.value("UID").unwrap_or_default();
        let id = |text: &str| EventId::parse(text).unwrap();
        if let Some(new) = self.events_moved.get(uid) {
            let infos = vec![Info::RedirectEvent { old: id(uid), new: id(new) }];
            return Answer { infos, completion: Completion::no(0, "The event has moved.") };
        }
        let mut events = self.events.lock().unwrap();
        let Some(event) = events.get_mut(uid) else {
            return Answer { infos: vec![Info::NotFound(uid.to_owned())], completion: Completion::no(0, "No such event.") };
        };
        for guest in object.people(false) {
            if !event.attendees.contains(&guest) {
                return Answer { infos: vec![Info::PermDenied(guest)], completion: Completion::no(0, "Not on the event.") };
            }
            event.confirmed.push(guest);
        }
        // An unknown client is not told who comes (profile 4).
        let confirmed = if client.login.is_some() { event.confirmed.clone() } else { Vec::new() };
        let infos = confirmed.iter().map(|u| Info::Confirmed(UserId::parse(u).unwrap())).collect();
        Answer { infos, completion: Completion::ok(0, "RSVP accepted.") }
    }

    async fn free_busy(&self, _: &CipClient, request: Vec<u8>) -> FreeBusyAnswer {
        let request = Object(properties(&request));
        if let Some(answer) = request.missing(&["ATTENDEE", "DTSTART", "DTEND"]) {
            return FreeBusyAnswer { data: None, answer };
        }
        let (mut data, mut infos) = (String::new(), Vec::new());
        for user in request.people(false) {
            match self.busy.get(&user) {
                Some(busy) => {
                    write!(data, "BEGIN:VFREEBUSY\r\nATTENDEE:mailto:{user}\r\nFREEBUSY:{busy}\r\nEND:VFREEBUSY\r\n").unwrap();
                }
                None => infos.push(Info::NotFound(user)),
            }
        }
        let data =
            (!data.is_empty()).then(|| format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REPLY\r\n{data}END:VCALENDAR\r\n").into_bytes());
        let completion = if data.is_some() { Completion::ok(0, "") } else { Completion::no(0, "Nobody was found.") };
        FreeBusyAnswer { data, answer: Answer { infos, completion } }
    }
}
