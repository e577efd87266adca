//! Which way the times of an event are written (bridge 8), and the zone that TZ and DAYLIGHT name.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Duration, NaiveDateTime, NaiveTime};

use super::super::lines;
use super::{Done, Job, Part, Why};
use crate::calendar::event::Moment;
use crate::calendar::property::Content;
use crate::calendar::time::Span;
use crate::calendar::zone::Zones;
use crate::calendar::{text, time};

/// Years that DAYLIGHT names after the last one known, and most of them.
const YEARS_ON: i32 = 5;
const MOST_YEARS: i32 = 60;
/// X-CIP-TZID of times that have no zone in a calendar that has one.
pub(super) const FLOATING: &str = "floating";

/// The zone of TZ and DAYLIGHT, by the first recurring event that needs one.
pub(super) struct Shared {
    zone: String,
    tz: String,
    daylight: Vec<String>,
    years: RangeInclusive<i32>,
}

impl Shared {
    /// The values of TZ and DAYLIGHT for the years that were written.
    pub fn of_years(&self, years: RangeInclusive<i32>, zones: &Zones) -> (String, Vec<String>) {
        let years = *years.start()..=(*years.end()).min(*years.start() + MOST_YEARS);
        let own = || (self.tz.clone(), self.daylight.clone());
        if years == self.years { own() } else { zones.tz_daylight(&self.zone, years).unwrap_or_else(own) }
    }
}

pub(super) fn shared(parts: &[Part], zones: &Zones) -> Option<Shared> {
    let zoned = |p: &Part| match &p.anchor {
        Some(Moment::Zoned { zone, local, .. }) if p.recurring && zones.instant(*local, zone).is_some() => Some(zone.clone()),
        _ => None,
    };
    let candidates: Vec<(String, RangeInclusive<i32>)> = parts.iter().filter_map(|p| Some((zoned(p)?, years(p, zones)?))).collect();
    let mut tried: Vec<&str> = Vec::new();
    for (zone, _) in &candidates {
        if tried.len() > 20 || tried.contains(&zone.as_str()) {
            continue;
        }
        let same = candidates.iter().filter(|(z, _)| z == zone).map(|(_, years)| years.clone());
        let years = same.reduce(|a, b| *a.start().min(b.start())..=*a.end().max(b.end()))?;
        let years = *years.start()..=(*years.end()).min(*years.start() + MOST_YEARS);
        if let Some((tz, daylight)) = zones.tz_daylight(zone, years.clone()) {
            return Some(Shared { zone: zone.clone(), tz, daylight, years });
        }
        tried.push(zone);
    }
    None
}

/// The year up to which TZ and DAYLIGHT are written for a rule without end: some years after it was written.
pub(super) fn years_on(part: &Part, first: i32, zones: &Zones) -> i32 {
    let written = ["DTSTAMP", "LAST-MODIFIED", "CREATED"].iter().filter_map(|n| time::instant(part.find(n)?, zones)?.datetime());
    (written.map(|t| t.year()).max().unwrap_or(first).max(first) + YEARS_ON).min(first + MOST_YEARS)
}

/// From the first instance to the last that is known, or some years on.
fn years(part: &Part, zones: &Zones) -> Option<RangeInclusive<i32>> {
    let Some(Moment::Zoned { local, .. }) = &part.anchor else { return None };
    let first = local.year();
    let on = years_on(part, first, zones);
    let until = |c: &Content| {
        let rule = text::raw(c).to_ascii_uppercase();
        let (_, until) = rule.split_once("UNTIL=")?;
        Some(time::parse(until.split(';').next()?)?.date.year())
    };
    let mut last = first;
    for rule in part.all("RRULE") {
        last = last.max(until(rule).unwrap_or(on));
    }
    for dates in part.all("RDATE") {
        let dates = text::raw(dates);
        last = dates.split([',', ';']).filter_map(|d| d.trim().get(..4)?.parse().ok()).fold(last, i32::max);
    }
    Some(first..=last.clamp(first, first + MOST_YEARS))
}

/// How the times of one event are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// As they stand: dates, floating times, times of an unknown zone.
    Plain,
    Utc,
    /// The wall time of this zone, which TZ and DAYLIGHT describe.
    Local(String),
}

impl Job<'_> {
    pub(super) fn seconds(&self, moment: &Moment) -> Option<i64> {
        seconds(moment, self.zones)
    }

    pub(super) fn utc(&self, moment: &Moment) -> Option<NaiveDateTime> {
        DateTime::from_timestamp(self.seconds(moment)?, 0).map(|t| t.naive_utc())
    }

    /// The local time of a moment, for a clock that is not UTC.
    pub(super) fn wall(&self, moment: &Moment, zone: Option<&str>) -> Option<NaiveDateTime> {
        match (moment, zone) {
            (Moment::Date(date), _) => Some(date.and_time(NaiveTime::MIN)),
            (Moment::Floating(local), _) | (Moment::Zoned { local, .. }, None) => Some(*local),
            (Moment::Zoned { local, zone, .. }, Some(own)) if zone == own => Some(*local),
            (_, Some(own)) => self.zones.local(self.seconds(moment)?, own),
            (Moment::Utc { .. }, None) => self.utc(moment),
        }
    }

    /// The clock of an event: UTC for single ones with a zone, local time for recurring ones.
    pub(super) fn clock(&self, part: &Part) -> Clock {
        match &part.anchor {
            Some(Moment::Utc { .. }) => Clock::Utc,
            Some(m @ Moment::Zoned { zone, local, .. }) if self.seconds(m).is_some() => {
                if part.recurring && self.in_shared(zone, local.year()) { Clock::Local(zone.clone()) } else { Clock::Utc }
            }
            _ => Clock::Plain,
        }
    }

    /// Whether TZ and DAYLIGHT say what this zone is.
    fn in_shared(&self, zone: &str, year: i32) -> bool {
        let Some(shared) = &self.shared else { return false };
        if !shared.years.contains(&year) {
            return shared.zone == zone;
        }
        if shared.zone == zone {
            return true;
        }
        // Writing TZ and DAYLIGHT costs more than reading an event: once for each zone.
        if let Some(known) = self.alike.borrow().get(zone) {
            return *known;
        }
        let alike =
            self.zones.tz_daylight(zone, shared.years.clone()).is_some_and(|(tz, summers)| tz == shared.tz && summers == shared.daylight);
        self.alike.borrow_mut().insert(zone.to_owned(), alike);
        alike
    }

    /// A moment as the clock writes it.
    pub(super) fn written(&self, moment: &Moment, clock: &Clock) -> Option<String> {
        let floats = matches!(moment, Moment::Date(_) | Moment::Floating(_));
        match clock {
            Clock::Utc if !floats => Some(format!("{}Z", time::basic_local(self.utc(moment)?))),
            Clock::Local(zone) => {
                let wall = self.wall(moment, Some(zone))?;
                // The second of an hour that comes twice.
                if let Some(at) = self.seconds(moment).filter(|at| self.zones.instant(wall, zone) != Some(*at)) {
                    return Some(format!("{}Z", time::basic_local(DateTime::from_timestamp(at, 0)?.naive_utc())));
                }
                self.reach(wall.year());
                Some(time::basic_local(wall))
            }
            Clock::Plain if matches!(moment, Moment::Utc { .. }) => Some(format!("{}Z", time::basic_local(self.utc(moment)?))),
            Clock::Plain | Clock::Utc => Some(time::basic_local(self.wall(moment, None)?)),
        }
    }

    /// TZ and DAYLIGHT are needed for this year.
    pub(super) fn reach(&self, year: i32) {
        let (first, last) = self.reached.get().unwrap_or((year, year));
        self.reached.set(Some((first.min(year), last.max(year))));
    }

    pub(super) fn moment_of(&self, part: &Part, name: &str) -> Option<Moment> {
        time::moment(part.find(name)?, self.zones)
    }

    /// DTSTART, DTEND or DUE, and the zone that they had.
    pub(super) fn write_times(&mut self, part: &Part, clock: &Clock) {
        let end_name = if part.todo { "DUE" } else { "DTEND" };
        let end = self.end(part, end_name);
        if let Some(start) = &part.start {
            self.write_moment("DTSTART", part, start, clock);
        }
        if let Some(end) = &end {
            let whole = self.would_be_whole(part, end, clock);
            self.write_moment(end_name, part, end, if whole { &Clock::Utc } else { clock });
        }
        for name in ["DTSTART", end_name] {
            if let Some(content) = part.find(name).filter(|c| time::moment(c, self.zones).is_none()) {
                self.losses.push(name, &text::raw(content), Why::Unreadable, Done::LeftOut);
            }
        }
        self.write_zone(part, end.as_ref(), clock, end_name);
    }

    fn write_moment(&mut self, name: &str, part: &Part, moment: &Moment, clock: &Clock) {
        // A to-do may have one time alone, which no end makes a whole day of.
        let written = match moment {
            Moment::Date(date) if part.todo => Some(date.format("%Y%m%d").to_string()),
            _ => self.written(moment, clock),
        };
        let params = part.find(name).cloned().map(|c| self.params(&c, &["TZID"])).unwrap_or_default();
        match written {
            Some(written) => self.out.raw(name, &params, &written),
            None => self.losses.push(name, "", Why::Zone, Done::LeftOut),
        }
    }

    /// DTEND or DUE, computed from DURATION where it is not there. Of a date: the day after the last.
    fn end(&mut self, part: &Part, end_name: &str) -> Option<Moment> {
        let other = if part.todo { "DTEND" } else { "DUE" };
        if let Some(content) = part.find(other) {
            self.losses.push(other, &text::raw(content), Why::NoCounterpart, Done::LeftOut);
        }
        let given = self.moment_of(part, end_name);
        let duration = part.find("DURATION");
        if let Some(content) = duration {
            let length = time::span(&text::raw(content));
            match (&given, &part.start, length) {
                (None, Some(start), Some(length)) => {
                    if let Some(end) = time::later(start, length, self.zones) {
                        return Some(end);
                    }
                    self.losses.push("DURATION", &text::raw(content), Why::Contradiction, Done::LeftOut);
                }
                (Some(_), ..) => self.losses.push("DURATION", &text::raw(content), Why::Contradiction, Done::LeftOut),
                _ => self.losses.push("DURATION", &text::raw(content), Why::Unreadable, Done::LeftOut),
            }
        }
        if let (Some(Moment::Date(_)), Some(end)) = (&part.start, &given)
            && !part.todo
            && !matches!(end, Moment::Date(_))
        {
            let raw = part.find(end_name).map(text::raw).unwrap_or_default();
            self.losses.push(end_name, &raw, Why::Contradiction, Done::Approximated("its day".to_owned()));
        }
        let given = given.map(|end| match (&part.start, &end) {
            (Some(Moment::Date(_)), Moment::Utc { .. }) if !part.todo => self.utc(&end).map_or(end, |utc| Moment::Date(utc.date())),
            (start, _) if !part.todo => like_start(end, start.as_ref()),
            _ => end,
        });
        match (&part.start, given) {
            (Some(Moment::Date(start)), None) if !part.todo => Some(Moment::Date(start.succ_opt()?)),
            (Some(Moment::Date(start)), Some(Moment::Date(end))) if !part.todo && end <= *start => Some(Moment::Date(start.succ_opt()?)),
            (_, given) => given,
        }
    }

    /// X-CIP-TZID, and what is not kept of the zones.
    fn write_zone(&mut self, part: &Part, end: Option<&Moment>, clock: &Clock, end_name: &str) {
        let of = |m: Option<&Moment>| match m {
            Some(Moment::Zoned { zone, .. }) if zone != "UTC" => Some(zone.clone()),
            _ => None,
        };
        let (first, second) = (of(part.start.as_ref()), of(end));
        if let (Some(first), Some(second)) = (&first, &second)
            && first != second
        {
            self.losses.push(end_name, second, Why::Zone, Done::Approximated(format!("the same instant in {first}")));
        }
        if *clock == Clock::Plain {
            let timed = |m: Option<&Moment>| matches!(m, Some(Moment::Floating(_)));
            // Of an event, it is written as a time.
            let day_alone = !part.todo && part.start.is_none() && matches!(end, Some(Moment::Date(_)));
            if let Some(zone) = first.or(second) {
                // Beside TZ every local time is one of TZ's zone.
                self.out.text(lines::ZONE, "", if self.shared.is_some() { FLOATING } else { &zone });
                self.losses.push("TZID", &zone, Why::Zone, Done::Approximated("local time without a zone".to_owned()));
            } else if self.shared.is_some() && (timed(part.start.as_ref()) || timed(end) || day_alone) {
                self.out.text(lines::ZONE, "", FLOATING);
            }
            self.whole_day(part, end);
            return;
        }
        let Some(zone) = first.or(second) else { return };
        let mut instants = [part.start.as_ref(), end].into_iter().flatten().filter_map(|m| self.seconds(m));
        let redefined = instants.any(|at| self.zones.is_redefined(&zone, at));
        if *clock == Clock::Utc && redefined {
            let what = "the same instant, which today's rules of that name show at another time of day";
            self.losses.push("VTIMEZONE", &zone, Why::Zone, Done::Approximated(what.to_owned()));
        }
        if matches!(clock, Clock::Local(_)) && redefined {
            // By that name everybody knows other rules.
            let name = lines::rules_name(|local| {
                let at = self.zones.instant(local, &zone);
                at.map_or(0, |at| i32::try_from(local.and_utc().timestamp() - at).unwrap_or(0))
            });
            self.out.text(lines::ZONE, "", &name);
            return self.losses.push("TZID", &zone, Why::Zone, Done::Approximated(name));
        }
        let year = part.anchor.as_ref().and_then(|at| self.utc(at)).map_or(0, |at| at.year());
        if *clock == Clock::Utc && !self.comes_back(&zone, year) {
            self.losses.push("TZID", &zone, Why::Zone, Done::Approximated("UTC".to_owned()));
        } else {
            self.out.text(lines::ZONE, "", &zone);
        }
    }

    /// The zone is known by its name, or it is the one that TZ and DAYLIGHT say.
    fn comes_back(&self, zone: &str, year: i32) -> bool {
        let named = || Zones::default().instant(NaiveDateTime::default(), zone).is_some();
        lines::offset_of(zone).is_some() || named() || self.in_shared(zone, year)
    }

    /// In the wall time of a zone the event would be read as one of whole days; an end in UTC shows that it is none.
    fn would_be_whole(&self, part: &Part, end: &Moment, clock: &Clock) -> bool {
        let Clock::Local(zone) = clock else { return false };
        let wall = |moment: &Moment| self.wall(moment, Some(zone));
        !part.todo && part.start.as_ref().and_then(wall).zip(wall(end)).is_some_and(|(start, end)| is_whole(start, end))
    }

    /// A floating time from midnight to midnight is what says a whole day in vCalendar.
    fn whole_day(&mut self, part: &Part, end: Option<&Moment>) {
        let (Some(Moment::Floating(start)), Some(Moment::Floating(end))) = (&part.start, end) else { return };
        if is_whole(*start, *end) {
            self.losses.push("DTSTART", &time::basic_local(*start), Why::NoCounterpart, Done::Approximated("a whole day".to_owned()));
        }
    }

    /// Moments of an EXDATE or RDATE line. A date among times means the instance of that day; of a period, its start.
    pub(super) fn listed_moments(&mut self, content: &Content, start: Option<&Moment>) -> Vec<Moment> {
        let value = text::raw(content);
        let mut moments = Vec::new();
        for one in value.split([',', ';']).map(str::trim).filter(|v| !v.is_empty()) {
            let (first, length) = one.split_once('/').map_or((one, None), |(a, b)| (a, Some(b)));
            let single = Content { name: content.name.clone(), params: content.params.clone(), value: first.as_bytes().into() };
            match time::moment(&single, self.zones) {
                Some(moment) => moments.push(like_start(moment, start)),
                None => self.losses.push(&content.name, one, Why::Unreadable, Done::LeftOut),
            }
            if length.is_some() {
                self.losses.push(&content.name, one, Why::NoCounterpart, Done::Approximated("its start alone".to_owned()));
            }
        }
        moments
    }
}

/// What vCalendar takes for whole days.
fn is_whole(start: NaiveDateTime, end: NaiveDateTime) -> bool {
    let last = end.time() >= NaiveTime::from_hms_opt(23, 59, 0).unwrap_or(NaiveTime::MIN);
    start.time() == NaiveTime::MIN && (end.time() == NaiveTime::MIN || last) && end > start
}

/// Seconds since 1970, also before it.
fn seconds(moment: &Moment, zones: &Zones) -> Option<i64> {
    match moment {
        Moment::Utc { at, .. } => i64::try_from(at.millis() / 1000).ok(),
        // How times before 1970 are kept, see `time`.
        Moment::Zoned { local, zone, .. } if zone == "UTC" => Some(local.and_utc().timestamp()),
        Moment::Zoned { local, zone, .. } => zones.instant(*local, zone),
        Moment::Floating(_) | Moment::Date(_) => None,
    }
}

/// The normalized text of a RECURRENCE-ID; `None` in a zone that is not known.
pub(super) fn instance_id(moment: &Moment, zones: &Zones) -> Option<String> {
    match moment {
        Moment::Date(date) => Some(date.format("%Y%m%d").to_string()),
        Moment::Floating(local) => Some(time::basic_local(*local)),
        other => {
            let utc = DateTime::from_timestamp(seconds(other, zones)?, 0)?;
            Some(format!("{}Z", time::basic_local(utc.naive_utc())))
        }
    }
}

/// A date as the time that the instance of that day has, and a time as the day of an event of whole days.
pub(super) fn like_start(moment: Moment, start: Option<&Moment>) -> Moment {
    if let (Some(Moment::Date(_)), Moment::Floating(local) | Moment::Zoned { local, .. }) = (start, &moment) {
        return Moment::Date(local.date());
    }
    let Moment::Date(date) = moment else { return moment };
    match start {
        Some(Moment::Zoned { local, zone, .. }) => Moment::Zoned { local: date.and_time(local.time()), zone: zone.clone(), at: None },
        Some(Moment::Floating(local)) => Moment::Floating(date.and_time(local.time())),
        Some(Moment::Utc { at, .. }) => {
            let time = at.datetime().map_or(NaiveTime::MIN, |t| t.time());
            Moment::Zoned { local: date.and_time(time), zone: "UTC".to_owned(), at: None }
        }
        _ => Moment::Date(date),
    }
}

/// Used where an alarm runs before or after a moment.
pub(super) fn shifted(moment: &Moment, by: Span, zones: &Zones) -> Option<Moment> {
    match moment {
        Moment::Date(date) => Some(Moment::Floating(date.and_time(NaiveTime::MIN).checked_add_signed(Duration::try_seconds(by.total())?)?)),
        other => time::later(other, by, zones),
    }
}
