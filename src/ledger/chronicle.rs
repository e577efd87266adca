//! What happened to an event, and until when the ledger keeps it.
//!
//! A queue entry is gone once it is settled; the chronicle is what is left of it: who brought which version, by which way
//! it reached whom, what was answered, held, refused, expired. It is a record of its own beside the event's, since it grows
//! with every delivery and the event does not. Invariants: its lines are written in the commit that makes them true,
//! under the event's lock; it is bounded ([`Chronicle::LINES`], [`Chronicle::LINE`]): the first lines stay, the newest stay;
//! an event that the ledger does not know has none.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Batch, Ledger, LedgerError, Record, encode, keys, short};
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// The history of one event, and its extent in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chronicle {
    pub event_id: EventId,
    /// When the last known instance is over; `None`: it has no end, or none that is known.
    pub ends: Option<Timestamp>,
    /// The event as a whole was seen, and not only instances of it.
    whole: bool,
    /// The id under which the event was before: its versions no longer follow the organizer's SEQUENCE (profile 8).
    pub former: Option<EventId>,
    /// When something last happened to it.
    pub last: Timestamp,
    /// Oldest first.
    pub lines: Vec<Line>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub at: Timestamp,
    pub what: String,
}

/// How long records outlive their event (bridge 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// After the end, or after the last traffic when that is later.
    pub ended: Duration,
    /// After the last traffic, where no end is known.
    pub endless: Duration,
}

impl Record for Chronicle {}

impl Chronicle {
    /// Lines kept: the first quarter for ever, the rest the newest.
    pub const LINES: usize = 64;
    /// Octets kept of one line.
    pub const LINE: usize = 300;

    pub fn new(event_id: EventId, now: Timestamp) -> Self {
        Self { event_id, ends: None, whole: false, former: None, last: now, lines: Vec::new() }
    }

    /// Adds a line, within the bounds.
    pub fn tell(&mut self, at: Timestamp, what: impl Into<String>) {
        let what: String = what.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.lines.len() >= Self::LINES {
            self.lines.remove(Self::LINES / 4);
        }
        let what = crate::mime::transfer::clip(&what, Self::LINE).to_owned();
        self.last = self.last.max(at);
        self.lines.push(Line { at, what });
    }

    /// The newest state of the whole event, or of one instance, ends then; `None`: it goes on, or nobody can tell.
    pub fn extend(&mut self, instance: bool, ends: Option<Timestamp>) {
        match (instance, self.whole) {
            (false, _) => (self.ends, self.whole) = (ends, true),
            (true, true) if self.ends.is_none() => {}
            (true, _) => self.ends = self.ends.max(ends),
        }
    }

    /// From when on nothing needs to be known of the event any more.
    pub fn expires(&self, keep: Retention) -> Timestamp {
        match self.ends {
            Some(ends) => ends.max(self.last).after(keep.ended),
            None => self.last.after(keep.endless),
        }
    }
}

/// `a, b, c and 4 more`, for a line about several people.
pub fn names<'a>(people: impl IntoIterator<Item = &'a UserId>) -> String {
    const NAMED: usize = 3;
    let all: Vec<&UserId> = people.into_iter().collect();
    let mut text = all.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if all.len() > NAMED {
        text.push_str(&format!(" and {} more", all.len() - NAMED));
    }
    text
}

impl Ledger {
    pub fn chronicle(&self, event: &EventId) -> Result<Option<Chronicle>, LedgerError> {
        self.read(&chronicle_key(event), || format!("of the history of {event}"))
    }

    pub fn put_chronicle(&self, batch: &mut Batch, record: &Chronicle) -> Result<(), LedgerError> {
        batch.put(chronicle_key(&record.event_id), encode(record, || format!("of the history of {}", record.event_id))?);
        Ok(())
    }

    /// Adds lines to the history of an event that the ledger knows; of another it keeps none. The caller holds the lock.
    pub fn tell(&self, batch: &mut Batch, event: &EventId, now: Timestamp, lines: Vec<String>) -> Result<(), LedgerError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut chronicle = match self.chronicle(event)? {
            Some(known) => known,
            // Accepted by a program that kept no history.
            None if self.event(event)?.is_some() => Chronicle::new(event.clone(), now),
            None => return Ok(()),
        };
        for line in lines {
            chronicle.tell(now, line);
        }
        self.put_chronicle(batch, &chronicle)
    }
}

pub(super) fn chronicle_key(event: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"h", &short(&[event.as_str()])].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_795_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn chronicle() -> Chronicle {
        Chronicle::new(EventId::parse("961@jumbo.com").unwrap(), AT)
    }

    #[test]
    fn the_first_lines_and_the_newest_stay_within_the_bounds() {
        let mut c = chronicle();
        for n in 0..1000 {
            c.tell(AT, format!("{n} {}\n", "é".repeat(400)));
        }
        assert_eq!(c.lines.len(), Chronicle::LINES);
        assert!(c.lines[0].what.starts_with("0 ") && c.lines[15].what.starts_with("15 "));
        assert!(c.lines[16].what.starts_with("952 ") && c.lines[63].what.starts_with("999 "));
        assert!(c.lines.iter().all(|l| l.what.len() <= Chronicle::LINE && !l.what.contains('\n')));
    }

    #[test]
    fn it_ends_some_time_after_the_event_or_after_the_last_traffic() {
        let keep = Retention { ended: 90 * DAY, endless: 400 * DAY };
        let mut c = chronicle();
        assert_eq!(c.expires(keep), AT.after(400 * DAY), "nothing is known of its end");
        c.extend(true, Some(AT.after(DAY)));
        assert_eq!(c.expires(keep), AT.after(91 * DAY), "one instance, and nothing of the series");
        c.extend(false, None);
        c.extend(true, Some(AT.after(2 * DAY)));
        assert_eq!(c.expires(keep), AT.after(400 * DAY), "a series without an end");
        c.extend(false, Some(AT.after(10 * DAY)));
        c.extend(true, Some(AT.after(20 * DAY)));
        assert_eq!(c.expires(keep), AT.after(110 * DAY), "an instance moved behind the last");
        c.extend(false, Some(AT.after(5 * DAY)));
        assert_eq!(c.expires(keep), AT.after(95 * DAY), "a new version of the series says it all");
        c.tell(AT.after(50 * DAY), "a late answer");
        assert_eq!(c.expires(keep), AT.after(140 * DAY));
    }

    /// A record is what the program wrote when its version was made: a change here needs a version of its own.
    #[test]
    fn golden() {
        let mut c = chronicle();
        c.extend(false, Some(AT));
        c.tell(AT, "version 1 accepted");
        assert_eq!(crc32fast::hash(&encode(&c, String::new).unwrap()), 517_078_251);
    }

    #[test]
    fn several_people_are_named_in_few_words() {
        let people: Vec<UserId> = (1..=5).map(|n| UserId::parse(&format!("p{n}@a.com")).unwrap()).collect();
        assert_eq!(names(&people[..1]), "p1@a.com");
        assert_eq!(names(&people), "p1@a.com, p2@a.com, p3@a.com and 2 more");
    }
}
