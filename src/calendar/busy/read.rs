//! A whole calendar (an iCalendar or vCalendar file of any number of events) or a published free/busy file, as busy times.
//!
//! What counts (RFC 5545 3.8.1.11, 3.8.2.7; bridge 2): an event that is neither cancelled nor transparent and that the
//! user has not left unanswered or declined. Tentative events, and those answered tentatively, are BUSY-TENTATIVE; what
//! Outlook marks as out of office is BUSY-UNAVAILABLE.
//!
//! Invariants: a to-do, a journal and an alarm take no time; an exception stands in place of its instance; a file that
//! ends early is refused, since the rest could say anything.

use std::collections::HashMap;

use super::series::{Reading, Times};
use super::{BusyError, BusyTimes, BusyType, Window};
use crate::calendar::event::{Format, PartStat};
use crate::calendar::people::{self, Seat};
use crate::calendar::property::{Content, Document};
use crate::calendar::zone::Zones;
use crate::calendar::{text, time};
use crate::clock::Timestamp;
use crate::ident::UserId;

/// Events of one calendar.
const MAX_EVENTS: usize = 40_000;
/// Instances looked at in one calendar.
const MAX_INSTANCES: usize = 1_000_000;

/// How a calendar is to be read.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    pub window: Window,
    /// IANA name of the zone of floating times and dates; X-WR-TIMEZONE in the calendar goes before it.
    pub zone: &'a str,
    /// Whose it is: under which addresses the user stands among attendees.
    pub addresses: &'a [UserId],
    /// What a VFREEBUSY without DTSTART and DTEND covers: the answer to a question covers what was asked.
    pub covers: Option<Window>,
}

/// One event of a calendar that may take time.
struct Entry {
    place: usize,
    uid: String,
    sequence: u32,
    kind: Option<BusyType>,
    times: Times,
}

/// The busy times that a calendar tells of.
pub fn busy_times(octets: Vec<u8>, how: &How<'_>) -> Result<BusyTimes, BusyError> {
    let document = Document::parse(octets).map_err(|error| BusyError::NotCalendar(error.to_string()))?;
    if document.format == Format::Bare {
        return Err(BusyError::NotCalendar("it does not begin with BEGIN:VCALENDAR".to_owned()));
    }
    let open = |c: &crate::calendar::property::Component| !c.closed && matches!(c.name.as_str(), "VCALENDAR" | "VEVENT" | "VFREEBUSY");
    if document.components.iter().any(open) {
        return Err(BusyError::CutShort);
    }
    let (zones, _) = Zones::read(&document);
    let named = zone_of(&document).filter(|zone| zones.instant(chrono::NaiveDateTime::default(), zone).is_some());
    let reading = Reading { document: &document, zones: &zones, zone: named.as_deref().unwrap_or(how.zone) };
    let mut times = published(&reading, how)?.unwrap_or_else(|| BusyTimes::free(how.window));
    events(&reading, how, &mut times)?;
    times.settle();
    Ok(times)
}

/// X-WR-TIMEZONE of the calendar.
fn zone_of(document: &Document) -> Option<String> {
    let line = document.lines.iter().find(|l| &*l.name == "X-WR-TIMEZONE" && document.components[l.component].name == "VCALENDAR")?;
    Some(text::raw(&document.content(line)).trim().to_owned()).filter(|zone| !zone.is_empty())
}

fn components<'a>(document: &'a Document, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let outer = |at: usize| document.components[at].name == "VCALENDAR";
    document.components.iter().enumerate().skip(1).filter(move |(_, c)| c.name == name && outer(c.parent)).map(|(at, _)| at)
}

/// The times of VFREEBUSY components, where there are any: known within the longest time that they cover together.
fn published(reading: &Reading<'_>, how: &How<'_>) -> Result<Option<BusyTimes>, BusyError> {
    let document = reading.document;
    let (mut covered, mut periods) = (Vec::new(), Vec::new());
    for place in components(document, "VFREEBUSY") {
        covered.push(component_times(reading, place, how.covers, &mut periods)?);
    }
    covered.sort_unstable();
    covered.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
    let best = covered.into_iter().map(|c| c.within(how.window)).max_by_key(|c| c.end.since(c.start));
    Ok(best.map(|window| {
        let mut times = BusyTimes::free(window);
        for (kind, period) in periods {
            times.add(kind, period);
        }
        times
    }))
}

/// The periods of one VFREEBUSY; gives what it covers.
fn component_times(
    reading: &Reading<'_>,
    place: usize,
    covers: Option<Window>,
    periods: &mut Vec<(BusyType, Window)>,
) -> Result<Window, BusyError> {
    let document = reading.document;
    let (mut start, mut end) = (None, None);
    for (_, line) in document.lines_of(place) {
        let content = || document.content(line);
        match &*line.name {
            "DTSTART" => start = time::moment(&content(), reading.zones).and_then(|m| m.instant()),
            "DTEND" => end = time::moment(&content(), reading.zones).and_then(|m| m.instant()),
            "FREEBUSY" => {
                let read = free_busy(&content(), periods);
                read.ok_or_else(|| BusyError::Event { line: line.number, what: "FREEBUSY holds what is not a period".to_owned() })?;
            }
            _ => {}
        }
    }
    let range = start.zip(end).map(|(start, end)| Window { start, end });
    range.or(covers).ok_or(BusyError::NoRange)
}

/// `19970101T180000Z/PT5H30M,19970102T180000Z/19970102T200000Z` (RFC 5545 3.8.2.6), in UTC.
fn free_busy(content: &Content, periods: &mut Vec<(BusyType, Window)>) -> Option<()> {
    let kind = content.param("FBTYPE").or_else(|| content.param("TYPE")).or_else(|| content.param("")).unwrap_or("BUSY");
    let Some(kind) = BusyType::read(kind) else { return Some(()) };
    let utc = |text: &str| {
        let stamp = time::parse(text).filter(|s| s.has_time)?;
        let seconds = stamp.local().and_utc().timestamp() - i64::from(stamp.offset.unwrap_or(0));
        Some(Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)))
    };
    for period in text::raw(content).split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (start, end) = period.split_once('/')?;
        let start = utc(start)?;
        let end = match time::duration_seconds(end) {
            Some(seconds) => start.after(std::time::Duration::from_secs(u64::try_from(seconds).ok()?)),
            None => utc(end)?,
        };
        periods.push((kind, Window { start, end }));
    }
    Some(())
}

fn events(reading: &Reading<'_>, how: &How<'_>, busy: &mut BusyTimes) -> Result<(), BusyError> {
    let mut entries: Vec<Entry> = Vec::new();
    for (n, place) in components(reading.document, "VEVENT").enumerate() {
        if n >= MAX_EVENTS {
            return Err(BusyError::TooMuch);
        }
        let Some(times) = reading.times(place)? else { continue };
        if reading.is_outside(&times, how.window) {
            continue;
        }
        let (uid, sequence, kind) = about(reading.document, place, how.addresses);
        entries.push(Entry { place, uid, sequence, kind, times });
    }
    let mut by_uid: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for entry in &entries {
        by_uid.entry(&entry.uid).or_default().push(entry);
    }
    let mut looked_at = 0;
    for group in by_uid.values() {
        let exceptions = newest(group);
        let overrides: Vec<&Times> = exceptions.iter().map(|e| &e.times).collect();
        for entry in group.iter().filter(|e| e.times.instance.is_none()).chain(&exceptions) {
            // Of one that stands for those after it, these are its series' own, moved.
            let overrides = if entry.times.instance.is_none() { overrides.as_slice() } else { &[] };
            looked_at += occupy(reading, entry, overrides, how.window, busy)?;
            if looked_at > MAX_INSTANCES {
                return Err(BusyError::TooMuch);
            }
        }
    }
    Ok(())
}

fn occupy(reading: &Reading<'_>, entry: &Entry, overrides: &[&Times], window: Window, busy: &mut BusyTimes) -> Result<usize, BusyError> {
    let Some(kind) = entry.kind else { return Ok(0) };
    reading.instances(&entry.times, overrides, window, &mut |period| busy.add(kind, period))
}

/// The exceptions, of several for one instance the newest alone.
fn newest<'a>(group: &[&'a Entry]) -> Vec<&'a Entry> {
    let mut newest: HashMap<i64, &Entry> = HashMap::new();
    for &entry in group {
        let Some(instance) = entry.times.instance else { continue };
        let known = newest.entry(instance).or_insert(entry);
        if (known.sequence, known.place) < (entry.sequence, entry.place) {
            *known = entry;
        }
    }
    newest.into_values().collect()
}

/// UID, SEQUENCE, and how the event takes its time, if it does.
fn about(document: &Document, place: usize, addresses: &[UserId]) -> (String, u32, Option<BusyType>) {
    let (mut uid, mut sequence) = (String::new(), 0);
    let (mut free, mut kind, mut organizer, mut answer) = (false, BusyType::Busy, false, None);
    for (_, line) in document.lines_of(place) {
        let word = || text::raw(&document.content(line)).trim().to_ascii_uppercase();
        match &*line.name {
            "UID" => uid = document.raw(line),
            "SEQUENCE" => sequence = word().parse().unwrap_or(0),
            "STATUS" => match word().as_str() {
                "CANCELLED" | "CANCELED" => free = true,
                "TENTATIVE" => kind = kind.max(BusyType::Tentative),
                _ => {}
            },
            // vCalendar: 0 blocks time, every other number does not.
            "TRANSP" => free |= matches!(word().as_str(), "TRANSPARENT") || word().parse::<u32>().is_ok_and(|n| n > 0),
            "X-MICROSOFT-CDO-BUSYSTATUS" => match word().as_str() {
                "FREE" => free = true,
                "TENTATIVE" => kind = kind.max(BusyType::Tentative),
                "OOF" => kind = BusyType::Unavailable,
                _ => {}
            },
            "ATTENDEE" | "ORGANIZER" if !addresses.is_empty() => {
                let Some(Seat { person, owner, .. }) = people::seat(&document.content(line)) else { continue };
                if addresses.contains(&person.address) {
                    organizer |= owner;
                    answer = person.status.or(answer);
                }
            }
            _ => {}
        }
    }
    free |= match answer {
        Some(PartStat::Declined | PartStat::Delegated) => true,
        // An organizer need not answer himself.
        Some(PartStat::NeedsAction) => !organizer,
        Some(PartStat::Tentative) => {
            kind = kind.max(BusyType::Tentative);
            false
        }
        _ => false,
    };
    (uid, sequence, (!free).then_some(kind))
}

/// The answer of another server: the times of each VFREEBUSY, with the user it is about (ATTENDEE, RFC 5546 3.3.3).
pub fn answers(octets: Vec<u8>, window: Window) -> Result<Vec<(Option<UserId>, BusyTimes)>, BusyError> {
    let document = Document::parse(octets).map_err(|error| BusyError::NotCalendar(error.to_string()))?;
    let (zones, _) = Zones::read(&document);
    let reading = Reading { document: &document, zones: &zones, zone: "UTC" };
    let mut answers = Vec::new();
    for (place, component) in document.components.iter().enumerate().filter(|(_, c)| c.name == "VFREEBUSY") {
        if !component.closed {
            return Err(BusyError::CutShort);
        }
        let attendee = document.lines_of(place).find(|(_, l)| &*l.name == "ATTENDEE");
        let user = attendee.and_then(|(_, l)| people::seat(&document.content(l))).map(|seat| seat.person.address);
        let mut periods = Vec::new();
        let covered = component_times(&reading, place, Some(window), &mut periods)?;
        let mut times = BusyTimes::free(covered.within(window));
        for (kind, period) in periods {
            times.add(kind, period);
        }
        times.settle();
        answers.push((user, times));
    }
    Ok(answers)
}
