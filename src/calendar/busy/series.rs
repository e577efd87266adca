//! One event's instances as periods: in the wall time of its zone, so that a meeting at nine stays at nine when the
//! clocks change.
//!
//! An instance ends as long after its start as the first one does by the clock on the wall (DTEND, DURATION in days), or
//! by the time that passes (DURATION in hours). Floating times and dates are times of the zone that the reader names.
//!
//! Invariant: a time that cannot be read, in an event that takes time, is an error and not an empty list.

use std::collections::HashMap;

use chrono::{Duration, NaiveDateTime};

use super::{BusyError, Window};
use crate::calendar::event::Format;
use crate::calendar::property::{Content, Document, Line};
use crate::calendar::recur::expand::{Either, Series, expand};
use crate::calendar::recur::{Frame, ical, vcal};
use crate::calendar::zone::{Rules, Zones};
use crate::calendar::{text, time};
use crate::clock::Timestamp;

/// Instances of one event from its start on: every hour for eleven years.
const MAX_INSTANCES: usize = 100_000;
/// Dates in RDATE and EXDATE lines.
const MAX_DATES: usize = 20_000;
const MAX_RULES: usize = 20;
/// Seconds.
const DAY: i64 = 86_400;

/// What local times without a zone of their own are read by.
pub(super) struct Reading<'a> {
    pub document: &'a Document,
    pub zones: &'a Zones,
    /// The zone of floating times and dates, and of times in a zone that nobody knows.
    pub zone: &'a str,
}

/// How the wall time of an event relates to UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wall {
    /// Seconds east.
    Offset(i32),
    Zone(String),
    /// TZ and DAYLIGHT of the object.
    Object(Rules),
}

/// A wall time, and whether it was written as a date.
#[derive(Clone, Debug)]
struct At {
    local: NaiveDateTime,
    wall: Wall,
    date: bool,
    floating: bool,
}

/// Gets each value of a line of dates, and its start when that is a time.
type EachDate<'a> = &'a mut dyn FnMut(&str, Option<At>) -> Result<(), BusyError>;

/// How long an instance lasts.
#[derive(Clone, Copy, Debug)]
enum Length {
    OnTheWall(Duration),
    Passing(Duration),
}

impl Length {
    fn by(self) -> Duration {
        match self {
            Self::OnTheWall(by) | Self::Passing(by) => by,
        }
    }
}

/// One VEVENT (or bare event), taken apart.
pub(super) struct Times {
    start: At,
    length: Length,
    rules: Vec<Either>,
    exrules: Vec<Either>,
    /// Instant, and how long when the line says so.
    rdates: Vec<(i64, Option<i64>)>,
    exdates: Vec<At>,
    /// The instance that this stands for.
    pub instance: Option<i64>,
    /// It stands for all later ones too (RANGE=THISANDFUTURE).
    pub and_future: bool,
    /// Of its first line.
    number: usize,
}

impl Reading<'_> {
    /// Seconds since 1970 of a wall time.
    fn instant(&self, local: NaiveDateTime, wall: &Wall) -> i64 {
        let seconds = local.and_utc().timestamp();
        match wall {
            Wall::Offset(offset) => seconds - i64::from(*offset),
            Wall::Zone(id) => self.zones.instant(local, id).or_else(|| self.zones.instant(local, self.zone)).unwrap_or(seconds),
            Wall::Object(rules) => seconds - i64::from(rules.offset(local)),
        }
    }

    /// The wall time of an instant: the inverse, found by trying, since a zone's rules are given by wall time. In the hour
    /// that the clocks show twice it is the first.
    fn wall_time(&self, seconds: i64, wall: &Wall) -> Option<NaiveDateTime> {
        let naive = |s: i64| chrono::DateTime::from_timestamp(s, 0).map(|t| t.naive_utc());
        let mut guess = seconds;
        for _ in 0..3 {
            let miss = seconds - self.instant(naive(guess)?, wall);
            if miss == 0 {
                break;
            }
            guess += miss;
        }
        naive(guess)
    }

    fn at(&self, text: &str, content: &Content) -> Option<At> {
        let stamp = time::parse(text)?;
        let zone = content.param("TZID").map(|z| z.trim().trim_matches('"')).filter(|z| !z.is_empty());
        let (wall, floating) = match (stamp.offset, zone) {
            _ if !stamp.has_time => (Wall::Zone(self.zone.to_owned()), true),
            (Some(offset), _) => (Wall::Offset(offset), false),
            (None, Some(zone)) => (Wall::Zone(zone.to_owned()), false),
            (None, None) => match &self.zones.local {
                Some(rules) => (Wall::Object(rules.clone()), false),
                None => (Wall::Zone(self.zone.to_owned()), true),
            },
        };
        Some(At { local: stamp.local(), wall, date: !stamp.has_time, floating })
    }

    fn seconds(&self, at: &At) -> i64 {
        self.instant(at.local, &at.wall)
    }

    /// Reads the event in a component. `None`: it has no DTSTART, and so takes no time.
    pub fn times(&self, place: usize) -> Result<Option<Times>, BusyError> {
        Reading { zones: &self.zones.of(place), ..*self }.times_inside(place)
    }

    fn times_inside(&self, place: usize) -> Result<Option<Times>, BusyError> {
        let (mut start, mut end, mut duration) = (None, None, None);
        let (mut rules, mut exrules, mut rdates, mut exdates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut instance, mut and_future, mut number) = (None, false, 0);
        for (_, line) in self.document.lines_of(place) {
            let bad = |what: &str| BusyError::Event { line: line.number, what: format!("{} {what}", line.name) };
            let content = || self.document.content(line);
            match &*line.name {
                "DTSTART" if start.is_none() => {
                    start = Some(self.moment(&content()).ok_or_else(|| bad("is not a time that can be read"))?);
                    number = line.number;
                }
                "DTEND" if end.is_none() => {
                    end = Some(self.moment(&content()).ok_or_else(|| bad("is not a time that can be read"))?);
                }
                "DURATION" => {
                    let content = content();
                    let text = text::raw(&content);
                    duration = Some(time::duration_seconds(&text).ok_or_else(|| bad("is not a length of time"))?);
                }
                "RRULE" if rules.len() < MAX_RULES => rules.push(self.rule(line)?),
                "EXRULE" if exrules.len() < MAX_RULES => exrules.push(self.rule(line)?),
                "RRULE" | "EXRULE" => return Err(BusyError::TooMuch),
                "RDATE" => self.dates(&content(), &mut |text, at| {
                    let at = at.ok_or_else(|| bad("holds what is not a time"))?;
                    let length = text.split_once('/').map(|(_, end)| self.period_length(&at, end, &content()));
                    let length = length.map(|l| l.ok_or_else(|| bad("holds what is not a period"))).transpose()?;
                    rdates.push((self.seconds(&at), length));
                    if rdates.len() > MAX_DATES { Err(BusyError::TooMuch) } else { Ok(()) }
                })?,
                // An exception that cannot be read takes nothing out.
                "EXDATE" => self.dates(&content(), &mut |_, at| {
                    exdates.extend(at);
                    if exdates.len() > MAX_DATES { Err(BusyError::TooMuch) } else { Ok(()) }
                })?,
                "RECURRENCE-ID" => {
                    let content = content();
                    instance = self.moment(&content).map(|at| self.seconds(&at));
                    and_future = content.param("RANGE").is_some_and(|r| r.trim().eq_ignore_ascii_case("THISANDFUTURE"));
                }
                _ => {}
            }
        }
        let Some(start) = start else { return Ok(None) };
        let length = self.length(&start, end.as_ref(), duration);
        Ok(Some(Times { start, length, rules, exrules, rdates, exdates, instance, and_future, number }))
    }

    fn moment(&self, content: &Content) -> Option<At> {
        self.at(&text::raw(content), content)
    }

    /// Each value of an RDATE or EXDATE line; of a period, its start.
    fn dates(&self, content: &Content, each: EachDate<'_>) -> Result<(), BusyError> {
        let list = text::raw(content);
        for value in list.split([',', ';']).map(str::trim).filter(|v| !v.is_empty()) {
            let start = value.split('/').next().unwrap_or(value);
            each(value, self.at(start, content))?;
        }
        Ok(())
    }

    fn period_length(&self, start: &At, end: &str, content: &Content) -> Option<i64> {
        match time::duration_seconds(end) {
            Some(seconds) => Some(seconds),
            None => Some(self.seconds(&self.at(end, content)?) - self.seconds(start)),
        }
    }

    fn rule(&self, line: &Line) -> Result<Either, BusyError> {
        let value = self.document.raw(line);
        let rule = match self.document.format {
            Format::ICalendar => ical::Rule::parse(&value).map(Either::ICal),
            // Some software wrote iCalendar's rules into vCalendar objects.
            _ if value.to_ascii_uppercase().contains("FREQ=") => ical::Rule::parse(&value).map(Either::ICal),
            _ => vcal::Rule::parse(&value).map(Either::VCal),
        };
        rule.map_err(|error| BusyError::Event { line: line.number, what: format!("{}: {error}", line.name) })
    }

    fn length(&self, start: &At, end: Option<&At>, duration: Option<i64>) -> Length {
        let none = Length::OnTheWall(Duration::zero());
        match (end, duration) {
            (Some(end), _) if end.date && start.date || end.wall == start.wall => Length::OnTheWall(end.local - start.local),
            (Some(end), _) => Duration::try_seconds(self.seconds(end) - self.seconds(start)).map_or(none, Length::Passing),
            (None, Some(seconds)) if seconds % DAY == 0 => Duration::try_seconds(seconds).map_or(none, Length::OnTheWall),
            (None, Some(seconds)) => Duration::try_seconds(seconds).map_or(none, Length::Passing),
            // RFC 5545 3.6.1: a date lasts a day, a time no time at all.
            (None, None) if start.date => Length::OnTheWall(Duration::days(1)),
            (None, None) => none,
        }
    }

    fn period(&self, local: NaiveDateTime, wall: &Wall, length: Length) -> Option<Window> {
        let start = self.instant(local, wall);
        let end = match length {
            Length::OnTheWall(by) => self.instant(local.checked_add_signed(by)?, wall),
            Length::Passing(by) => start.checked_add(by.num_seconds())?,
        };
        Some(window(start, end))
    }

    /// Start and period of every instance that may reach into the window, with those that the overrides stand for left
    /// out. Gives how many instances were looked at.
    pub fn instances(
        &self,
        times: &Times,
        overrides: &[&Times],
        window: Window,
        found: &mut dyn FnMut(Window),
    ) -> Result<usize, BusyError> {
        if times.rules.is_empty() && times.rdates.is_empty() {
            let replaced = overrides.iter().any(|o| o.instance == Some(self.seconds(&times.start)));
            if !replaced && let Some(period) = self.period(times.start.local, &times.start.wall, times.length) {
                found(period);
            }
            return Ok(1);
        }
        let lengths: HashMap<i64, i64> = times.rdates.iter().filter_map(|(at, length)| Some((*at, (*length)?))).collect();
        let starts = self.starts(times, window)?;
        // What is over long before the window needs no look at its zone's rules.
        let longest = lengths.values().copied().max().unwrap_or(0).max(times.length.by().num_seconds()).max(0);
        let moves = overrides.iter().any(|o| o.and_future);
        let over =
            |local: NaiveDateTime| !moves && local.and_utc().timestamp().saturating_add(longest + 2 * DAY) < seconds_of(window.start);
        for &local in starts.iter().filter(|local| !over(**local)) {
            let seconds = self.instant(local, &times.start.wall);
            if overrides.iter().any(|o| o.instance == Some(seconds) && !o.and_future) {
                continue;
            }
            let later = overrides.iter().filter(|o| o.and_future && o.instance.is_some_and(|from| from <= seconds));
            let period = match (later.max_by_key(|o| o.instance), lengths.get(&seconds)) {
                (Some(change), _) => self.changed(local, times, change),
                (None, Some(length)) => Some(self::window(seconds, seconds.saturating_add(*length))),
                (None, None) => self.period(local, &times.start.wall, times.length),
            };
            if let Some(period) = period {
                found(period);
            }
        }
        Ok(starts.len())
    }

    /// An instance moved as its predecessor was, from which on all are.
    fn changed(&self, local: NaiveDateTime, times: &Times, change: &Times) -> Option<Window> {
        let was = self.wall_time(change.instance?, &times.start.wall)?;
        let is = self.wall_time(self.seconds(&change.start), &times.start.wall)?;
        self.period(local.checked_add_signed(is - was)?, &times.start.wall, change.length)
    }

    /// When it happens, on the wall of its zone.
    fn starts(&self, times: &Times, window: Window) -> Result<Vec<NaiveDateTime>, BusyError> {
        let wall = &times.start.wall;
        let on_wall = |seconds: i64| self.wall_time(seconds, wall);
        let series = Series {
            rules: times.rules.clone(),
            exrules: times.exrules.clone(),
            rdates: times.rdates.iter().filter_map(|(at, _)| on_wall(*at)).collect(),
            exdates: times.exdates.iter().filter(|e| !e.date || times.start.date).filter_map(|e| on_wall(self.seconds(e))).collect(),
        };
        let to_local = |utc: NaiveDateTime| on_wall(utc.and_utc().timestamp()).unwrap_or(utc);
        let to_utc = |local: NaiveDateTime| chrono::DateTime::from_timestamp(self.instant(local, wall), 0).map_or(local, |t| t.naive_utc());
        let frame = Frame {
            start: times.start.local,
            all_day: times.start.date,
            floating: times.start.floating,
            to_local: &to_local,
            to_utc: &to_utc,
        };
        let until = on_wall(seconds_of(window.end).saturating_add(1)).ok_or(BusyError::TooMuch)?;
        let instances = expand(&series, &frame, until, MAX_INSTANCES);
        if !instances.complete {
            return Err(BusyError::Event { line: times.number, what: "the event repeats too often to be looked through".to_owned() });
        }
        // A date in EXDATE takes out what happens on that day.
        let days: Vec<_> = times.exdates.iter().filter(|e| e.date && !times.start.date).map(|e| e.local.date()).collect();
        Ok(instances.starts.into_iter().filter(|start| !days.contains(&start.date())).collect())
    }

    /// From when to when it may take time; `None`: it repeats. A day is allowed for zones.
    pub fn reach(&self, times: &Times) -> (Timestamp, Option<Timestamp>) {
        let start = self.seconds(&times.start);
        let earliest = times.rdates.iter().map(|(at, _)| *at).chain([start]).min().unwrap_or(start);
        let end = start.saturating_add(times.length.by().num_seconds().max(0)).saturating_add(DAY);
        let reach = window(earliest.saturating_sub(DAY), end);
        (reach.start, (times.rules.is_empty() && times.rdates.is_empty()).then_some(reach.end))
    }

    /// Whether it is over before the window, or begins after it, as far as that is seen without expanding. A day is
    /// allowed for zones, and an override may stand for an instance that is not seen here.
    pub fn is_outside(&self, times: &Times, window: Window) -> bool {
        let start = self.seconds(&times.start);
        let single = times.rules.is_empty() && times.rdates.is_empty() && times.instance.is_none();
        let after = start > seconds_of(window.end).saturating_add(DAY) && times.instance.is_none() && times.rdates.is_empty();
        let by = times.length.by().num_seconds().max(0);
        after || single && start.saturating_add(by).saturating_add(DAY) < seconds_of(window.start)
    }
}

fn seconds_of(at: Timestamp) -> i64 {
    i64::try_from(at.millis() / 1000).unwrap_or(i64::MAX)
}

/// What lies before 1970 counts as 1970.
fn window(start: i64, end: i64) -> Window {
    let at = |seconds: i64| Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    Window { start: at(start), end: at(end) }
}
