//! Ledger records as earlier programs wrote them, and what becomes of them.
//!
//! Invariant: a struct here stands for one version and is never changed: bincode has no names, and such records lie on
//! disks. A record is written in its newest version the next time it changes.

use serde::Deserialize;
#[cfg(test)]
use serde::Serialize;

use super::records::{AnswerOrder, AnswerRecord, EventRecord, Part, PersonRecord, Reached, Route, Seen};
use crate::calendar::Mark;
use crate::calendar::event::{Moment, PartStat};
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// Version 1 of [`EventRecord`].
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct EventRecord1 {
    pub event_id: EventId,
    pub ical_uid: String,
    pub owner: UserId,
    pub owner_name: Option<String>,
    pub own: bool,
    pub standing: u8,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub parts: Vec<Part1>,
}

/// Version 1 of [`Part`].
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct Part1 {
    pub rid: Option<String>,
    pub seen: Vec<Seen>,
    pub cancelled: bool,
    pub summary: Option<String>,
    pub start: Option<Moment>,
    pub end: Option<Moment>,
}

/// [`AnswerRecord`] in versions 1 to 3 of [`PersonRecord`].
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct AnswerRecord3 {
    pub rid: Option<String>,
    pub status: PartStat,
    pub comment: Option<String>,
    pub order: AnswerOrder,
    pub standing: u8,
    pub at: Timestamp,
}

/// [`AnswerRecord`] in version 4 of [`PersonRecord`].
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct AnswerRecord4 {
    pub rid: Option<String>,
    pub status: PartStat,
    pub comment: Option<String>,
    pub order: AnswerOrder,
    pub standing: u8,
    pub at: Timestamp,
    pub proposal: Option<Mark>,
}

/// Version 1 of [`PersonRecord`].
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct PersonRecord1 {
    pub event_id: EventId,
    pub user: UserId,
    pub addresses: Vec<UserId>,
    pub name: Option<String>,
    pub accepted: Vec<(Option<String>, u32)>,
    pub versions: u32,
    pub answers: Vec<AnswerRecord3>,
    pub late_answers: Vec<AnswerRecord3>,
    pub response_sequence: u32,
    pub route: Option<Route>,
}

/// Version 2 of [`PersonRecord`]: answers to a time that the event no longer has lay apart.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct PersonRecord2 {
    pub event_id: EventId,
    pub user: UserId,
    pub addresses: Vec<UserId>,
    pub name: Option<String>,
    pub accepted: Vec<(Option<String>, u32)>,
    pub versions: u32,
    pub answers: Vec<AnswerRecord3>,
    pub late_answers: Vec<AnswerRecord3>,
    pub response_sequence: u32,
    pub route: Option<Route>,
    pub reached: Vec<Reached>,
}

/// Version 3 of [`PersonRecord`]: nobody was ever taken out of an event, and proposals were not carried.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct PersonRecord3 {
    pub event_id: EventId,
    pub user: UserId,
    pub addresses: Vec<UserId>,
    pub name: Option<String>,
    pub accepted: Vec<(Option<String>, u32)>,
    pub versions: u32,
    pub answers: Vec<AnswerRecord3>,
    pub response_sequence: u32,
    pub route: Option<Route>,
    pub reached: Vec<Reached>,
}

/// Version 4 of [`PersonRecord`]: whether an answer came through was not kept.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub struct PersonRecord4 {
    pub event_id: EventId,
    pub user: UserId,
    pub addresses: Vec<UserId>,
    pub name: Option<String>,
    pub accepted: Vec<(Option<String>, u32)>,
    pub versions: u32,
    pub answers: Vec<AnswerRecord4>,
    pub response_sequence: u32,
    pub route: Option<Route>,
    pub reached: Vec<Reached>,
    pub removed: Option<u32>,
}

impl From<AnswerRecord4> for AnswerRecord {
    fn from(old: AnswerRecord4) -> Self {
        let AnswerRecord4 { rid, status, comment, order, standing, at, proposal } = old;
        Self { rid, status, comment, order, standing, at, proposal, lost: false }
    }
}

impl From<PersonRecord4> for PersonRecord {
    fn from(old: PersonRecord4) -> Self {
        Self {
            event_id: old.event_id,
            user: old.user,
            addresses: old.addresses,
            name: old.name,
            accepted: old.accepted,
            versions: old.versions,
            answers: old.answers.into_iter().map(Into::into).collect(),
            response_sequence: old.response_sequence,
            route: old.route,
            reached: old.reached,
            removed: old.removed,
        }
    }
}

impl From<AnswerRecord3> for AnswerRecord {
    fn from(old: AnswerRecord3) -> Self {
        let AnswerRecord3 { rid, status, comment, order, standing, at } = old;
        Self { rid, status, comment, order, standing, at, proposal: None, lost: false }
    }
}

impl From<PersonRecord3> for PersonRecord {
    fn from(old: PersonRecord3) -> Self {
        Self {
            event_id: old.event_id,
            user: old.user,
            addresses: old.addresses,
            name: old.name,
            accepted: old.accepted,
            versions: old.versions,
            answers: old.answers.into_iter().map(Into::into).collect(),
            response_sequence: old.response_sequence,
            route: old.route,
            reached: old.reached,
            removed: None,
        }
    }
}

impl From<EventRecord1> for EventRecord {
    fn from(old: EventRecord1) -> Self {
        let part = |p: Part1| Part {
            rid: p.rid,
            seen: p.seen,
            cancelled: p.cancelled,
            summary: p.summary,
            start: p.start,
            end: p.end,
            states: Vec::new(),
        };
        Self {
            event_id: old.event_id,
            ical_uid: old.ical_uid,
            owner: old.owner,
            owner_name: old.owner_name,
            own: old.own,
            standing: old.standing,
            created: old.created,
            updated: old.updated,
            parts: old.parts.into_iter().map(part).collect(),
        }
    }
}

impl From<PersonRecord1> for PersonRecord2 {
    fn from(old: PersonRecord1) -> Self {
        // What was accepted for somebody whom the event has reached, has reached him, or is about to.
        let accepted = old.accepted.iter().filter(|_| old.route.is_some());
        let reached = accepted.map(|(rid, version)| Reached { rid: rid.clone(), newest: *version, before: None }).collect();
        Self {
            event_id: old.event_id,
            user: old.user,
            addresses: old.addresses,
            name: old.name,
            accepted: old.accepted,
            versions: old.versions,
            answers: old.answers,
            late_answers: old.late_answers,
            response_sequence: old.response_sequence,
            route: old.route,
            reached,
        }
    }
}

impl From<PersonRecord2> for PersonRecord {
    fn from(old: PersonRecord2) -> Self {
        let mut person = Self::from(PersonRecord3 {
            event_id: old.event_id,
            user: old.user,
            addresses: old.addresses,
            name: old.name,
            accepted: old.accepted,
            versions: old.versions,
            answers: old.answers,
            response_sequence: old.response_sequence,
            route: old.route,
            reached: old.reached,
        });
        for late in old.late_answers.into_iter().map(AnswerRecord::from) {
            if person.answer(late.rid.as_deref()).is_none_or(|a| (a.standing, a.order) < (late.standing, late.order)) {
                person.set_answer(late);
            }
        }
        person
    }
}
