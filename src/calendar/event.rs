//! What the relay needs to know of a calendar object, whichever of the three formats it came in (profile 5).
//!
//! An [`Event`] is read from an object and never written back: what travels from CIP to CIP are the original octets,
//! patched in place (`calendar::Patch`). What is composed anew (`calendar::compose`) is composed from an `Event`.
//!
//! Invariants: `uid` is there; `version`, when there, is 1 … 2^31−1; `attendees` holds nobody twice and holds the owner
//! only when the owner also stands as an ordinary attendee.

use serde::{Deserialize, Serialize};

use super::zone::Zones;
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// The three forms of an object on the wire (profile 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Bare,
    VCalendar,
    ICalendar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    Event,
    Todo,
    FreeBusy,
}

/// iTIP methods (RFC 5546 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Publish,
    Request,
    Reply,
    Add,
    Cancel,
    Refresh,
    Counter,
    DeclineCounter,
}

/// How an attendee stands to the event, in the union of the formats' words (bridge 2). CONFIRMED of vCalendar reads as
/// `Accepted`, IN-PROCESS too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartStat {
    NeedsAction,
    Accepted,
    Declined,
    Tentative,
    Delegated,
    Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Chair,
    Required,
    Optional,
    NonParticipant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventStatus {
    Tentative,
    Confirmed,
    Cancelled,
    NeedsAction,
    Completed,
    InProcess,
}

/// An owner or attendee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub address: UserId,
    pub name: Option<String>,
    pub status: Option<PartStat>,
    pub role: Option<Role>,
    pub rsvp: Option<bool>,
    pub sent_by: Option<UserId>,
    pub delegated_from: Option<UserId>,
    pub delegated_to: Option<UserId>,
}

impl Person {
    pub fn new(address: UserId) -> Self {
        Self { address, name: None, status: None, role: None, rsvp: None, sent_by: None, delegated_from: None, delegated_to: None }
    }
}

/// A date or time as the object gives it. `local` is `YYYY-MM-DDTHH:MM:SS`, `date` is `YYYY-MM-DD` (chrono's ISO forms).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moment {
    /// `Z`, or an offset as in the draft's own dialect (`offset_minutes`, kept for showing the sender's local time).
    Utc {
        at: Timestamp,
        offset_minutes: Option<i32>,
    },
    /// With a TZID; `at` is its instant by the object's own rules, IANA or Microsoft names; `None`: zone unknown.
    Zoned {
        local: chrono::NaiveDateTime,
        zone: String,
        at: Option<Timestamp>,
    },
    Floating(chrono::NaiveDateTime),
    Date(chrono::NaiveDate),
}

impl Moment {
    /// The instant in UTC, also before 1970, where a [`Timestamp`] stops; `None` for a floating time, a date, or a time in a
    /// zone that is not known by its name alone.
    pub fn utc(&self) -> Option<chrono::NaiveDateTime> {
        match self {
            Self::Zoned { local, zone, at: Some(Timestamp(0)) } if zone == "UTC" => Some(*local),
            Self::Zoned { local, zone, at: Some(Timestamp(0)) } => {
                let seconds = Zones::default().instant(*local, zone).filter(|at| *at <= 0)?;
                chrono::DateTime::from_timestamp(seconds, 0).map(|at| at.naive_utc())
            }
            Self::Utc { at, .. } | Self::Zoned { at: Some(at), .. } => at.datetime().map(|at| at.naive_utc()),
            _ => None,
        }
    }

    /// The instant, reading floating times and dates as UTC (for expiry and sorting, never for showing).
    pub fn instant(&self) -> Option<Timestamp> {
        match self {
            Self::Utc { at, .. } => Some(*at),
            Self::Zoned { at, .. } => *at,
            Self::Floating(local) => Some(local.and_utc().into()),
            Self::Date(date) => Some(date.and_hms_opt(0, 0, 0)?.and_utc().into()),
        }
    }
}

/// A trace line `X-CIP-TRACE:server-id;time;verb;version` (profile 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub server: String,
    pub time: String,
    pub verb: String,
    pub version: String,
}

/// One event or to-do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub format: Format,
    pub component: Component,
    /// METHOD of an iCalendar object.
    pub method: Option<Method>,
    pub uid: EventId,
    /// SEQUENCE as it stands.
    pub sequence: Option<u32>,
    /// The CIP version: SEQUENCE, or SEQUENCE + 1 in an iCalendar object (profile 5). `None`: no or bad SEQUENCE.
    pub version: Option<u32>,
    pub response_sequence: Option<u32>,
    /// RECURRENCE-ID as normalized text: UTC basic form when it has an instant, else as it stands.
    pub recurrence_id: Option<String>,
    pub dtstamp: Option<Timestamp>,
    pub last_modified: Option<Timestamp>,
    pub owner: Option<Person>,
    /// In the object's order, without the owner's own ROLE=OWNER line.
    pub attendees: Vec<Person>,
    pub start: Option<Moment>,
    pub end: Option<Moment>,
    pub summary: Option<String>,
    pub description: Option<String>,
    pub location: Option<String>,
    pub comment: Option<String>,
    pub status: Option<EventStatus>,
    /// RRULE texts as they stand, for showing and for what must not be lost silently.
    pub rules: Vec<String>,
    /// `X-CIP-RCPT` lines (profile 5): who is to be served, when there are any.
    pub recipients: Vec<UserId>,
    pub traces: Vec<Trace>,
}

impl Trace {
    /// Reads the value of a trace line; what is missing is empty.
    pub fn read(value: &str) -> Self {
        let mut parts = value.splitn(4, ';').map(|p| p.trim().to_owned());
        let mut next = || parts.next().unwrap_or_default();
        Self { server: next(), time: next(), verb: next(), version: next() }
    }
}

impl Event {
    /// STATUS:CANCELLED on the event, or METHOD:CANCEL.
    pub fn is_cancelled(&self) -> bool {
        self.status == Some(EventStatus::Cancelled) || self.method == Some(Method::Cancel)
    }
}

impl Method {
    /// As METHOD and the MIME parameter write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "PUBLISH",
            Self::Request => "REQUEST",
            Self::Reply => "REPLY",
            Self::Add => "ADD",
            Self::Cancel => "CANCEL",
            Self::Refresh => "REFRESH",
            Self::Counter => "COUNTER",
            Self::DeclineCounter => "DECLINECOUNTER",
        }
    }
}

impl std::str::FromStr for Method {
    type Err = ();

    /// Without regard to case and surrounding blanks.
    fn from_str(word: &str) -> Result<Self, ()> {
        super::object::method(word).ok_or(())
    }
}
