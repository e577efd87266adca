//! The instances of an object: what its series produces, with its exceptions in their places.
//!
//! Rules are walked in the wall time that DTSTART is written in (a zone, the object's TZ and DAYLIGHT, an offset, or
//! none), so that a meeting at nine stays at nine when the clocks change. An exception replaces or moves the instance that
//! its RECURRENCE-ID names, or takes it out when it is cancelled; with RANGE=THISANDFUTURE all that follow go with it.
//!
//! Invariants: starts ascend, none twice; what could not be read or did not fit is told, and then `complete` is false;
//! work is bounded (see [`super::recur::expand`]).

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, NaiveDateTime, NaiveTime};

use super::error::clip;
use super::event::{EventStatus, Format, Moment};
use super::object::Object;
use super::property::Content;
use super::recur::expand::{self, Either, Series};
use super::recur::{Frame, RuleError, ical, vcal};
use super::zone::{Rules, Zones};
use super::{text, time};
use crate::clock::Timestamp;

/// Dates of RDATE and EXDATE read of one event, each.
const MAX_LISTED: usize = 5_000;
const MAX_RULES: usize = 20;
const MAX_PROBLEMS: usize = 20;
/// Instances looked at for the end of a series that counts them.
const MAX_COUNTED: usize = 2_000;
/// The westernmost clock: a floating time is over when it is over there.
const WEST: Duration = Duration::hours(12);

/// The starts of an object's instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// Ascending by instant; floating times and dates in the order that they would have in UTC.
    pub starts: Vec<Moment>,
    /// All that start before the time asked for.
    pub complete: bool,
    /// What could not be read, with its line, or which limit was met.
    pub problems: Vec<String>,
}

/// What the wall time of an event is read by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wall {
    /// UTC, or an offset of seconds east of it.
    Offset(i32, bool),
    Zone(String),
    /// TZ and DAYLIGHT of the object.
    Own(Rules),
    Floating,
    Date,
}

/// One date or time of a line.
struct Stamp {
    local: NaiveDateTime,
    wall: Wall,
}

impl Wall {
    fn of(stamp: &time::Stamp, content: &Content, zones: &Zones) -> Self {
        let zone = content.param("TZID").map(|z| z.trim().trim_matches('"')).filter(|z| !z.is_empty());
        match (stamp.offset, zone) {
            _ if !stamp.has_time => Self::Date,
            (Some(east), _) => Self::Offset(east, stamp.zulu),
            (None, Some(zone)) => Self::Zone(zone.to_owned()),
            (None, None) => zones.local.clone().map_or(Self::Floating, Self::Own),
        }
    }

    fn has_instants(&self) -> bool {
        !matches!(self, Self::Floating | Self::Date)
    }

    /// Seconds since 1970; times without a zone that is known are read as UTC.
    fn seconds(&self, local: NaiveDateTime, zones: &Zones) -> i64 {
        let seconds = local.and_utc().timestamp();
        match self {
            Self::Offset(east, _) => seconds - i64::from(*east),
            Self::Zone(zone) => zones.instant(local, zone).unwrap_or(seconds),
            Self::Own(rules) => seconds - i64::from(rules.offset(local)),
            Self::Floating | Self::Date => seconds,
        }
    }

    fn local(&self, seconds: i64, zones: &Zones) -> Option<NaiveDateTime> {
        let utc = DateTime::from_timestamp(seconds, 0)?.naive_utc();
        match self {
            Self::Offset(east, _) => utc.checked_add_signed(Duration::seconds((*east).into())),
            Self::Zone(zone) => zones.local(seconds, zone).or(Some(utc)),
            Self::Own(rules) => rules.local(seconds),
            Self::Floating | Self::Date => Some(utc),
        }
    }

    fn moment(&self, local: NaiveDateTime, zones: &Zones) -> Option<Moment> {
        match self {
            Self::Offset(east, zulu) => time::utc(local, *east, (!zulu).then_some(east / 60)),
            Self::Own(rules) => {
                let east = rules.offset(local);
                time::utc(local, east, Some(east / 60))
            }
            Self::Zone(zone) => {
                let at = zones.instant(local, zone).and_then(|s| DateTime::from_timestamp(s, 0)).map(Timestamp::from);
                Some(Moment::Zoned { local, zone: zone.clone(), at })
            }
            Self::Floating => Some(Moment::Floating(local)),
            Self::Date => Some(Moment::Date(local.date())),
        }
    }
}

/// What one event says of its recurrence.
struct Read {
    zones: Zones,
    start: Stamp,
    series: Series,
    /// The end of the RDATE that ends last, where they say so.
    last_period: Option<i64>,
    problems: Vec<String>,
    /// Something was not understood.
    doubtful: bool,
}

impl Read {
    /// `None`: no start, and nothing to start from.
    fn of(object: &Object, index: usize) -> Option<Self> {
        let (document, zones) = (&object.document, object.zones.of(object.places[index]));
        let lines = || document.lines_of(object.places[index]).map(|(_, line)| line);
        let start = ["DTSTART", "DUE"].into_iter().find_map(|name| {
            let mut named = lines().filter(|l| &*l.name == name);
            named.find_map(|l| Stamp::of(&document.content(l), &zones))
        })?;
        let mut read = Self { zones, start, series: Series::default(), last_period: None, problems: Vec::new(), doubtful: false };
        for line in lines() {
            let name = &*line.name;
            if !matches!(name, "RRULE" | "EXRULE" | "RDATE" | "EXDATE") {
                continue;
            }
            let content = document.content(line);
            match name {
                "RRULE" | "EXRULE" => read.rule(&content, object.format(), line.number),
                _ => read.dates(&content, line.number),
            }
        }
        Some(read)
    }

    fn problem(&mut self, number: usize, what: &str) {
        self.doubtful = true;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(format!("line {number}: {what}"));
        }
    }

    fn rule(&mut self, content: &Content, format: Format, number: usize) {
        let value = text::raw(content);
        // Phones and Symbian write the name with nothing after it.
        if value.trim().is_empty() {
            return;
        }
        if self.series.rules.len() + self.series.exrules.len() >= MAX_RULES {
            return self.problem(number, &format!("more than {MAX_RULES} rules in one event"));
        }
        match rule(&value, format) {
            Ok(rule) if content.name == "EXRULE" => self.series.exrules.push(rule),
            Ok(rule) => self.series.rules.push(rule),
            Err(why) => self.problem(number, &format!("{} {}: {why}", content.name, clip(&value))),
        }
    }

    fn dates(&mut self, content: &Content, number: usize) {
        let raw = text::raw(content);
        for value in raw.split([',', ';']).map(str::trim).filter(|v| !v.is_empty()) {
            let (value, length) = value.split_once('/').map_or((value, None), |(v, l)| (v, Some(l)));
            let Some(stamp) = time::parse(value) else {
                self.problem(number, &format!("{} {} is not a time that can be read", content.name, clip(value)));
                continue;
            };
            let wall = Wall::of(&stamp, content, &self.zones);
            let local = self.in_own_time(&Stamp { local: stamp.local(), wall: wall.clone() });
            if let Some(length) = length {
                let begins = wall.seconds(stamp.local(), &self.zones);
                let lasts = time::duration_seconds(length).and_then(|s| begins.checked_add(s));
                let ends =
                    lasts.or_else(|| time::parse(length).map(|e| Wall::of(&e, content, &self.zones).seconds(e.local(), &self.zones)));
                self.last_period = self.last_period.max(ends);
            }
            let list = if content.name == "RDATE" { &mut self.series.rdates } else { &mut self.series.exdates };
            if list.len() >= MAX_LISTED {
                return self.problem(number, &format!("more than {MAX_LISTED} dates in one event"));
            }
            list.push(local);
        }
    }

    /// A date of this event's series in the wall time of its start; a date alone takes the start's time of day.
    fn in_own_time(&self, stamp: &Stamp) -> NaiveDateTime {
        let own = &self.start;
        match (&own.wall, &stamp.wall) {
            (Wall::Date, _) => stamp.local.date().and_time(NaiveTime::MIN),
            (_, Wall::Date) => stamp.local.date().and_time(own.local.time()),
            (mine, theirs) if mine == theirs || !mine.has_instants() || !theirs.has_instants() => stamp.local,
            (mine, theirs) => mine.local(theirs.seconds(stamp.local, &self.zones), &self.zones).unwrap_or(stamp.local),
        }
    }

    fn expand(&self, until: NaiveDateTime, limit: usize) -> expand::Instances {
        let (wall, zones) = (&self.start.wall, &self.zones);
        let to_local = |utc: NaiveDateTime| wall.local(utc.and_utc().timestamp(), zones).unwrap_or(utc);
        let to_utc = |local: NaiveDateTime| DateTime::from_timestamp(wall.seconds(local, zones), 0).map_or(local, |t| t.naive_utc());
        let frame = Frame {
            start: self.start.local,
            all_day: *wall == Wall::Date,
            floating: !wall.has_instants(),
            to_local: &to_local,
            to_utc: &to_utc,
        };
        expand::expand(&self.series, &frame, until, limit)
    }

    /// The last start there can be, in seconds since 1970; `None`: there is none, or it is not known.
    fn last_start(&self) -> Option<i64> {
        let seconds = |local: NaiveDateTime| self.start.wall.seconds(local, &self.zones);
        if self.doubtful {
            return None;
        }
        let ends: Vec<Option<i64>> = self.series.rules.iter().map(|rule| self.until(rule)).collect();
        let listed = self.series.rdates.iter().copied().chain([self.start.local]).map(seconds).max();
        if ends.iter().all(Option::is_some) {
            return ends.into_iter().flatten().chain(listed).max();
        }
        if self.series.rules.iter().any(|rule| !ends_some_day(rule)) {
            return None;
        }
        let found = self.expand(NaiveDateTime::MAX, MAX_COUNTED);
        // Without an instance left, the event is over when its start is.
        if found.complete { found.starts.last().copied().map(seconds).or(listed) } else { None }
    }

    /// The rule's own end, in seconds since 1970.
    fn until(&self, rule: &Either) -> Option<i64> {
        use super::recur::Until;
        let until = match rule {
            Either::ICal(rule) => rule.until,
            Either::VCal(rule) => rule.until,
        }?;
        Some(match until {
            Until::Date(date) => self.start.wall.seconds(date.and_hms_opt(23, 59, 59)?, &self.zones),
            Until::Local(local) => self.start.wall.seconds(local, &self.zones),
            Until::Utc(utc) => utc.and_utc().timestamp(),
        })
    }
}

fn ends_some_day(rule: &Either) -> bool {
    match rule {
        Either::ICal(rule) => rule.count.is_some() || rule.until.is_some(),
        Either::VCal(rule) => rule.count.is_some() || rule.until.is_some(),
    }
}

/// A rule in the grammar that it is written in: vCalendar objects of newer software have iCalendar's.
fn rule(value: &str, format: Format) -> Result<Either, RuleError> {
    let named = value.to_ascii_uppercase().contains("FREQ");
    if format == Format::ICalendar || named {
        ical::Rule::parse(value).map(Either::ICal)
    } else {
        vcal::Rule::parse(value).map(Either::VCal)
    }
}

/// A RECURRENCE-ID that stands for all later instances too.
fn reaches_on(content: &Content) -> bool {
    content.param("RANGE").is_some_and(|range| range.trim().eq_ignore_ascii_case("THISANDFUTURE"))
}

impl Stamp {
    fn of(content: &Content, zones: &Zones) -> Option<Self> {
        let stamp = time::parse(&text::raw(content))?;
        Some(Self { local: stamp.local(), wall: Wall::of(&stamp, content, zones) })
    }
}

/// What stands in the place of an instance, in the series' wall time.
#[derive(Default)]
struct Overrides {
    single: Vec<NaiveDateTime>,
    /// From that instance on: moved by so much; `None`: cancelled.
    following: BTreeMap<NaiveDateTime, Option<Duration>>,
    /// The exceptions' own starts.
    starts: Vec<Moment>,
}

impl Overrides {
    fn read(object: &Object, series: Option<&Read>) -> Self {
        let document = &object.document;
        let mut found = Self::default();
        for (index, event) in object.events().iter().enumerate().filter(|(_, e)| e.recurrence_id.is_some()) {
            let (place, zones) = (object.places[index], &object.zones.of(object.places[index]));
            let line = document.lines_of(place).map(|(_, l)| l).find(|l| &*l.name == "RECURRENCE-ID");
            let content = line.map(|l| document.content(l));
            let named = content.as_ref().zip(series).and_then(|(c, series)| Some(series.in_own_time(&Stamp::of(c, zones)?)));
            // A part that came alone is shown even when it cancels: it is all there is.
            let cancelled = event.status == Some(EventStatus::Cancelled) && series.is_some();
            let own = if cancelled { None } else { Read::of(object, index) };
            if let Some((named, series)) = named.zip(series) {
                if content.as_ref().is_some_and(reaches_on) {
                    let moved = own.as_ref().map(|own| series.in_own_time(&own.start) - named);
                    found.following.insert(named, if cancelled { None } else { Some(moved.unwrap_or_default()) });
                }
                found.single.push(named);
                if own.is_none() && !cancelled {
                    found.starts.extend(series.start.wall.moment(named, zones));
                }
            }
            found.starts.extend(own.and_then(|own| own.start.wall.moment(own.start.local, zones)));
        }
        found.single.sort_unstable();
        found
    }

    /// Where an instance of the series takes place; `None`: not at all, or an exception says it.
    fn place(&self, instance: NaiveDateTime) -> Option<NaiveDateTime> {
        if self.single.binary_search(&instance).is_ok() {
            return None;
        }
        match self.following.range(..=instance).next_back() {
            Some((_, moved)) => instance.checked_add_signed((*moved)?),
            None => Some(instance),
        }
    }
}

impl Object {
    /// The instances that start before `until`, at most `limit`. Floating times and dates are compared as UTC.
    pub fn instances(&self, until: Timestamp, limit: usize) -> Instances {
        let series = if self.event().recurrence_id.is_none() { Read::of(self, 0) } else { None };
        let overrides = Overrides::read(self, series.as_ref());
        let mut found = Instances { starts: overrides.starts.clone(), complete: true, problems: Vec::new() };
        if let Some(read) = &series {
            // A day more for the zone, and what is moved towards the present.
            let back = overrides.following.values().flatten().map(|moved| -*moved).max().unwrap_or_default();
            let ahead = Duration::days(1) + back.clamp(Duration::zero(), Duration::days(400));
            let horizon = until.datetime().and_then(|t| t.naive_utc().checked_add_signed(ahead)).unwrap_or(NaiveDateTime::MAX);
            let expanded = read.expand(horizon, limit.saturating_add(overrides.single.len()).saturating_add(1));
            let places = expanded.starts.iter().filter_map(|at| overrides.place(*at));
            found.starts.extend(places.filter_map(|at| read.start.wall.moment(at, &self.zones)));
            found.complete = expanded.complete && !read.doubtful;
            found.problems.clone_from(&read.problems);
            if !expanded.complete && expanded.starts.len() <= limit {
                found.problems.push("the rules take more work than is done for them".to_owned());
            }
        } else if self.event().recurrence_id.is_none() && !self.event().rules.is_empty() {
            (found.complete, found.problems) = (false, vec!["it repeats, and has no start".to_owned()]);
        }
        let order = |moment: &Moment| match moment {
            Moment::Zoned { local, at: None, .. } => Timestamp::from(local.and_utc()),
            moment => moment.instant().unwrap_or_default(),
        };
        found.starts.retain(|moment| order(moment) < until);
        found.starts.sort_by_key(order);
        found.starts.dedup();
        if found.starts.len() > limit {
            found.starts.truncate(limit);
            found.complete = false;
            found.problems.push(format!("more than {limit} instances"));
        }
        found
    }

    /// When the last instance is over, or some time after that; floating times and dates as late as they can be. `None`:
    /// never, or it is not known.
    pub fn ends(&self) -> Option<Timestamp> {
        let named = self.document.lines.iter().filter(|l| &*l.name == "RECURRENCE-ID");
        // Whole tails of a series that are moved: where they end is not worth the work.
        if named.map(|l| self.document.content(l)).any(|c| reaches_on(&c)) {
            return None;
        }
        let mut last: Option<i64> = None;
        for (index, event) in self.events().iter().enumerate() {
            if index > 0 && event.status == Some(EventStatus::Cancelled) {
                continue;
            }
            let seconds = |moment: &Moment| moment.instant().and_then(|at| i64::try_from(at.millis() / 1000).ok());
            let end = seconds(event.end.as_ref()?)?;
            let floats = matches!(event.end, Some(Moment::Floating(_) | Moment::Date(_)));
            let read = Read::of(self, index)?;
            // An exception ends when it ends; it has no rules of its own.
            let more = if event.recurrence_id.is_none() {
                let start = read.start.wall.seconds(read.start.local, &self.zones);
                read.last_start()?.checked_sub(start)?.max(0)
            } else {
                0
            };
            let ends = end.checked_add(more)?.max(read.last_period.unwrap_or(0));
            last = last.max(Some(if floats { ends.checked_add(WEST.num_seconds())? } else { ends }));
        }
        let last = u64::try_from(last?).ok()?;
        Some(Timestamp::from_millis(last.checked_mul(1000)?))
    }
}
