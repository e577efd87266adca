//! What a version of an event says, as far as a person is told what changed since, and what else of an object is shown to
//! a person beside its [`Event`].
//!
//! Invariants: a [`Snapshot`] is bounded (below [`Snapshot::MAX`] octets) and made from the object as it came, so that the
//! snapshots of two versions in one format can be compared; a change in what it holds shows in it, also beyond what it
//! keeps of a text.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, Duration, NaiveDateTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::event::{Event, Moment};
use super::object::Object;
use super::property::{Document, trim};
use super::zone::Zones;
use super::{people, text, time};
use crate::clock::Timestamp;
use crate::ident::UserId;
use crate::mime::transfer::clip;

/// Octets kept of a title, a place or a rule.
const TEXT: usize = 240;
/// Of a RECURRENCE-ID, and of the name of a zone.
const NAME: usize = 64;
const RULES: usize = 3;
const EXCEPTIONS: usize = 24;
/// RDATE and EXDATE read of one event.
const DATES: usize = 500;

/// Enough of a SHA-256 to tell two texts of one event apart.
pub type Mark = [u8; 8];

/// One version of an event, or of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub summary: Option<String>,
    pub location: Option<String>,
    pub start: Option<Moment>,
    pub end: Option<Moment>,
    /// As [`Event::rules`], the first ones.
    pub rules: Vec<String>,
    /// Of RRULE, EXRULE, RDATE and EXDATE; zeros without any.
    pub recurrence: Mark,
    pub description: Mark,
    /// Of the exceptions that came with the series: RECURRENCE-ID and what they say.
    pub exceptions: Vec<(String, Mark)>,
}

impl Snapshot {
    /// Octets of one, at most.
    pub const MAX: usize = 3_000;

    /// The series' own state at one of its dates.
    #[must_use]
    pub fn at_instance(&self, date: &Moment) -> Self {
        let date = &self.start.as_ref().map_or_else(|| date.clone(), |start| in_zone_of(date, start));
        let length = self.start.as_ref().and_then(Moment::instant).zip(self.end.as_ref().and_then(Moment::instant));
        let end = length.and_then(|(start, end)| {
            let seconds = i64::try_from(end.millis().checked_sub(start.millis())? / 1000).ok()?;
            time::later(date, time::Span::exact(seconds), &Zones::default())
        });
        Self { start: Some(date.clone()), end, rules: Vec::new(), recurrence: Mark::default(), exceptions: Vec::new(), ..self.clone() }
    }
}

/// The clock of a moment, and the way from UTC to it and back: by the name of its zone, else by the offset that it had at
/// that moment, which may be an hour off where summer time begins or ends in between.
pub(crate) struct Wall {
    zone: Option<String>,
    offset: Duration,
}

impl Wall {
    pub fn of(moment: &Moment) -> Self {
        match moment {
            Moment::Utc { offset_minutes, .. } => Self { zone: None, offset: Duration::minutes(i64::from(offset_minutes.unwrap_or(0))) },
            Moment::Zoned { local, zone, at } => {
                let utc = at.and_then(Timestamp::datetime);
                Self { zone: Some(zone.clone()), offset: utc.map_or(Duration::zero(), |utc| *local - utc.naive_utc()) }
            }
            Moment::Floating(_) | Moment::Date(_) => Self { zone: None, offset: Duration::zero() },
        }
    }

    pub fn to_local(&self, utc: NaiveDateTime) -> NaiveDateTime {
        let named = self.zone.as_ref().and_then(|zone| Zones::default().local(utc.and_utc().timestamp(), zone));
        named.or_else(|| utc.checked_add_signed(self.offset)).unwrap_or(utc)
    }

    pub fn to_utc(&self, local: NaiveDateTime) -> NaiveDateTime {
        let named = self.zone.as_ref().and_then(|zone| Zones::default().instant(local, zone));
        let named = named.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).map(|at| at.naive_utc());
        named.or_else(|| local.checked_sub_signed(self.offset)).unwrap_or(local)
    }
}

/// A moment in UTC on the clock of another one.
pub(crate) fn in_zone_of(moment: &Moment, other: &Moment) -> Moment {
    let (Moment::Utc { at, offset_minutes: None | Some(0) }, Some(utc)) = (moment, moment.instant().and_then(Timestamp::datetime)) else {
        return moment.clone();
    };
    match other {
        Moment::Utc { offset_minutes, .. } => Moment::Utc { at: *at, offset_minutes: *offset_minutes },
        Moment::Zoned { zone, at: Some(_), .. } => {
            Moment::Zoned { local: Wall::of(other).to_local(utc.naive_utc()), zone: zone.clone(), at: Some(*at) }
        }
        _ => moment.clone(),
    }
}

/// What a person is shown of one event of an object beside the [`Event`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// RECURRENCE-ID, where it is a time.
    pub instance: Option<Moment>,
    pub rdates: Vec<Moment>,
    pub exdates: Vec<Moment>,
    /// PERCENT-COMPLETE.
    pub percent: Option<u8>,
    pub completed: Option<Moment>,
    /// CUTYPE in upper case, where it is given.
    pub sorts: HashMap<UserId, String>,
}

impl Object {
    /// What this version says in short.
    pub fn snapshot(&self) -> Snapshot {
        let event = self.event();
        let series = event.recurrence_id.is_none();
        let place = self.places[0];
        Snapshot {
            summary: event.summary.as_deref().map(kept),
            location: event.location.as_deref().map(kept),
            start: event.start.clone().map(short_zone),
            end: event.end.clone().map(short_zone),
            rules: event.rules.iter().filter(|_| series).take(RULES).map(String::as_str).map(kept).collect(),
            recurrence: recurrence_mark(&self.document, place),
            description: event.description.as_deref().map(mark).unwrap_or_default(),
            exceptions: self.events().iter().skip(1).filter(|_| series).take(EXCEPTIONS).filter_map(exception).collect(),
        }
    }

    /// The date of the series that the first event stands for, on the clock of its DTSTART when it gives one.
    pub fn instance(&self) -> Option<Moment> {
        self.event().recurrence_id.as_ref()?;
        let date = self.shown().into_iter().next()?.instance?;
        Some(self.event().start.as_ref().map_or_else(|| date.clone(), |start| in_zone_of(&date, start)))
    }

    /// What else is shown of each event, in the order of [`Object::events`].
    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.places.iter().map(|place| shown(&self.document, *place, &self.zones.of(*place))).collect()
    }
}

pub(super) fn kept(text: &str) -> String {
    clip(text.trim(), TEXT).to_owned()
}

fn kept_name(text: &str) -> String {
    clip(text, NAME).to_owned()
}

/// A TZID may be as long as its line.
fn short_zone(moment: Moment) -> Moment {
    match moment {
        Moment::Zoned { local, zone, at } if zone.len() > NAME => Moment::Zoned { local, zone: kept_name(&zone), at },
        short => short,
    }
}

/// The mark that [`Snapshot`] has of a text.
pub(super) fn mark(text: &str) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&Sha256::digest(text.trim())[..8]);
    mark
}

fn exception(event: &Event) -> Option<(String, Mark)> {
    let told = format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        event.start, event.end, event.summary, event.location, event.description, event.status
    );
    Some((kept_name(event.recurrence_id.as_deref()?), mark(&told)))
}

fn recurrence_mark(document: &Document, place: usize) -> Mark {
    let mut lines: Vec<Vec<u8>> = document
        .lines_of(place)
        .filter(|(_, l)| matches!(&*l.name, "RRULE" | "EXRULE" | "RDATE" | "EXDATE"))
        .map(|(_, l)| {
            let text = document.joined(l);
            [l.name.as_bytes(), b":", trim(&text[Document::value_range(&text)])].concat()
        })
        .collect();
    if lines.is_empty() {
        return Mark::default();
    }
    lines.sort_unstable();
    let mut mark = Mark::default();
    mark.copy_from_slice(&Sha256::digest(lines.join(&b'\n'))[..8]);
    mark
}

fn shown(document: &Document, place: usize, zones: &Zones) -> Shown {
    let mut shown = Shown::default();
    for (_, line) in document.lines_of(place) {
        match &*line.name {
            "RECURRENCE-ID" => shown.instance = time::moment(&document.content(line), zones),
            "COMPLETED" => shown.completed = time::moment(&document.content(line), zones),
            "PERCENT-COMPLETE" => {
                shown.percent = text::raw(&document.content(line)).trim().parse().ok().filter(|p| *p <= 100);
            }
            "RDATE" | "EXDATE" => {
                let mut content = document.content(line);
                let list = if &*line.name == "RDATE" { &mut shown.rdates } else { &mut shown.exdates };
                let listed = text::raw(&content).into_owned();
                for value in listed.split([',', ';']) {
                    // Of a period, the start.
                    content.value = Cow::Borrowed(value.split('/').next().unwrap_or(value).trim().as_bytes());
                    if list.len() < DATES {
                        list.extend(time::moment(&content, zones));
                    }
                }
            }
            "ATTENDEE" => {
                let content = document.content(line);
                if let (Some(sort), Some(seat)) = (content.param("CUTYPE"), people::seat(&content)) {
                    shown.sorts.insert(seat.person.address, sort.trim().to_ascii_uppercase());
                }
            }
            _ => {}
        }
    }
    shown
}
