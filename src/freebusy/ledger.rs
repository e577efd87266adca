//! The relay's own ledger as a source: what a user owns, and what he has accepted.
//!
//! An answer counts for the time that it was given to: where the event has moved since, the new time is BUSY-TENTATIVE.
//! What was declined, or not answered, is not busy (bridge 3). Invariant: a user of whom the ledger has never heard is
//! not told of as free.

use crate::calendar::busy::read::{How, busy_times};
use crate::calendar::busy::skeleton::{Attendance, attended, instance};
use crate::calendar::busy::{BusyTimes, Window};
use crate::calendar::event::{Moment, PartStat};
use crate::ident::UserId;
use crate::ledger::judge::counts;
use crate::ledger::records::{EventRecord, PersonRecord};
use crate::ledger::times::{EngagementRecord, TimesRecord};
use crate::ledger::{Ledger, LedgerError};
use crate::policy::directory::Directory;

/// Events of one user that are looked at.
const EVENTS: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum NotTold {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the times of an event of his could not be kept, or cannot be read")]
    Unreadable,
    #[error("he is in more than {EVENTS} events")]
    TooMany,
}

/// The busy times of a user, under his address as the directory has it. `None`: the ledger does not know him.
pub fn busy(ledger: &Ledger, directory: &Directory, user: &UserId, how: &How<'_>) -> Result<Option<BusyTimes>, NotTold> {
    let engaged = ledger.engagements(user, EVENTS + 1)?;
    if engaged.is_empty() {
        return Ok(None);
    }
    if engaged.len() > EVENTS {
        return Err(NotTold::TooMany);
    }
    let mut busy = BusyTimes::free(how.window);
    for engagement in &engaged {
        let owns = |owner: &UserId| directory.same_person(owner, user);
        if let Some(calendar) = calendar_of(ledger, engagement, owns, how.window)? {
            // The addresses were looked at already: nobody else is in a skeleton.
            let how = How { addresses: &[], ..*how };
            busy = busy.and(busy_times(calendar, &how).map_err(|_| NotTold::Unreadable)?);
        }
    }
    Ok(Some(busy))
}

/// One event as the user takes part in it. `None`: it takes none of his time in the window.
fn calendar_of(
    ledger: &Ledger,
    engagement: &EngagementRecord,
    owns: impl Fn(&UserId) -> bool,
    window: Window,
) -> Result<Option<Vec<u8>>, NotTold> {
    let times = ledger.times_of(&engagement.event_id)?;
    let touches = |t: &TimesRecord| t.first < window.end && t.last.is_none_or(|last| last > window.start);
    if !times.iter().any(touches) {
        return Ok(None);
    }
    let Some(record) = ledger.event(&engagement.event_id)? else { return Ok(None) };
    let person = match &engagement.person {
        Some(user) => match ledger.person(&engagement.event_id, user)? {
            Some(person) => Some(person),
            None => return Ok(None),
        },
        // He has handed it over.
        None if !owns(&record.owner) => return Ok(None),
        None => None,
    };
    let seat = Seat { record: &record, person: person.as_ref() };
    let whole = times.iter().find(|t| t.rid.is_none());
    let mut calendar = Vec::new();
    let cancelled = whole.filter(|w| w.cancelled).map(|w| w.version);
    let series = whole.filter(|w| !w.cancelled && seat.attendance(w) != Attendance::No);
    if let Some(whole) = series {
        calendar.extend(attended(&whole.skeleton().ok_or(NotTold::Unreadable)?, seat.attendance(whole)));
    }
    for part in times.iter().filter(|t| t.rid.is_some() && cancelled.is_none_or(|version| t.version > version)) {
        let attendance = if part.cancelled { Attendance::No } else { seat.attendance(part) };
        let older = series.is_some_and(|w| w.version > part.version);
        // What takes no time matters where it stands in place of what does.
        if attendance == Attendance::No && (older || series.is_none()) {
            continue;
        }
        let octets = attended(&part.skeleton().ok_or(NotTold::Unreadable)?, attendance);
        // The series was written anew since: whether the exception still holds is not known, so that both take time.
        let octets = if older { String::from_utf8_lossy(&octets).replace("RECURRENCE-ID", "X-INSTANCE").into_bytes() } else { octets };
        calendar.extend(octets);
    }
    if cancelled.is_none() {
        calendar.extend(seat.answered_apart(&times));
    }
    Ok(Some(calendar).filter(|c| !c.is_empty()))
}

/// A user's place in an event.
struct Seat<'a> {
    record: &'a EventRecord,
    /// `None`: the owner.
    person: Option<&'a PersonRecord>,
}

impl Seat<'_> {
    fn attendance(&self, times: &TimesRecord) -> Attendance {
        match self.person {
            Some(person) => self.of_answer(person, times.rid.as_deref()),
            None => match times.owner {
                Some(PartStat::Declined | PartStat::Delegated) => Attendance::No,
                Some(PartStat::Tentative) => Attendance::Perhaps,
                _ => Attendance::Takes,
            },
        }
    }

    fn of_answer(&self, person: &PersonRecord, rid: Option<&str>) -> Attendance {
        let answer = person.answer(rid).or_else(|| person.answer(None)).filter(|_| person.removed.is_none());
        let Some(answer) = answer else { return Attendance::No };
        match answer.status {
            PartStat::Accepted | PartStat::Completed if counts(self.record, answer) => Attendance::Takes,
            // What was answered to a time that the event had before may hold for the new one too.
            PartStat::Accepted | PartStat::Completed | PartStat::Tentative => Attendance::Perhaps,
            PartStat::Declined | PartStat::NeedsAction | PartStat::Delegated => Attendance::No,
        }
    }

    /// The instances that were answered otherwise than the series, without the organizer ever having spoken of them.
    fn answered_apart(&self, times: &[TimesRecord]) -> Vec<u8> {
        let Some(person) = self.person else { return Vec::new() };
        let series = self.of_answer(person, None);
        let known = |rid: &str| times.iter().any(|t| t.rid.as_deref() == Some(rid));
        let whole = self.record.part(None);
        let instant = |moment: Option<&Moment>| moment.and_then(Moment::instant);
        let start = whole.and_then(|p| instant(p.start.as_ref()));
        let seconds = start.zip(whole.and_then(|p| instant(p.end.as_ref()))).map_or(0, |(start, end)| end.since(start).as_secs());
        let mut calendar = Vec::new();
        for answer in &person.answers {
            let Some(rid) = answer.rid.as_deref().filter(|rid| !known(rid)) else { continue };
            let attendance = self.of_answer(person, Some(rid));
            if attendance != series {
                calendar.extend(attended(&instance(&self.record.ical_uid, rid, seconds), attendance));
            }
        }
        calendar
    }
}
