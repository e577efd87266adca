//! The form in which one event's times are written, and each time in it (bridge 8).
//!
//! An event has one [`Form`], taken from its start: a date, a floating time, UTC, or the wall time of a zone. EXDATE and
//! RDATE are written in the same form as DTSTART, whatever form they came in, since iCalendar compares them so.

use chrono::{Duration, NaiveDateTime, NaiveTime, Timelike};

use super::values;
use super::zones::by_rules;
use crate::calendar::convert::lines;
use crate::calendar::property::Content;
use crate::calendar::text;
use crate::calendar::time::{self, Span, Stamp};
use crate::calendar::zone::{Rules, Zones};

/// A time as its line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub stamp: Stamp,
    /// TZID, which vCalendar does not have and some of its writers use.
    pub zone: Option<String>,
}

impl When {
    pub fn read(content: &Content) -> Option<Self> {
        Self::parse(&text::raw(content), content)
    }

    /// One value of a list.
    pub fn parse(value: &str, content: &Content) -> Option<Self> {
        let zone = content.param("TZID").map(|z| z.trim().trim_matches('"').to_owned()).filter(|z| !z.is_empty());
        Some(Self { stamp: time::parse(value)?, zone })
    }
}

/// X-CIP-TZID of times that have no zone in a calendar that has one.
const FLOATING: &str = "floating";

/// Whose rules say what the wall time of a zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// TZ and DAYLIGHT.
    Rules,
    /// The name.
    Name,
    /// Seconds east of UTC.
    Offset(i32),
    /// Nobody: the zone is not known.
    Nobody,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Date,
    Floating,
    Utc,
    Zone { id: String, by: By },
}

/// What [`Form::of`] goes by.
pub(super) struct Given<'a> {
    pub start: Option<&'a When>,
    pub end: Option<&'a When>,
    pub todo: bool,
    pub recurring: bool,
    /// The object says elsewhere that the event takes whole days.
    pub whole_days: bool,
    /// X-CIP-TZID.
    pub zone: Option<Named<'a>>,
}

/// The name of a zone.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub id: &'a str,
    /// TZ and DAYLIGHT give it other rules than the world does.
    pub redefined: bool,
}

impl Form {
    /// The form, and whether X-CIP-TZID contradicts the times.
    pub fn of(given: &Given<'_>, zones: &Zones) -> (Self, bool) {
        let (form, contradicts) = Self::named(given, zones);
        match given.start.and_then(|start| form.unsaid(start, zones)) {
            // The start itself is what the zone's wall time cannot say.
            Some(_) => (Self::Utc, true),
            None => (form, contradicts),
        }
    }

    fn named(given: &Given<'_>, zones: &Zones) -> (Self, bool) {
        let Some(start) = given.start else { return (zones.local.as_ref().map_or(Self::Floating, by_rules), false) };
        if !start.stamp.has_time || whole_days(given, zones) {
            return (Self::Date, false);
        }
        let local = start.stamp.local();
        if let (Some(id), None) = (&start.zone, start.stamp.offset) {
            let known = zones.instant(local, id).is_some();
            return (Self::Zone { id: id.clone(), by: if known { By::Name } else { By::Nobody } }, false);
        }
        let own = match start.stamp.offset {
            Some(offset) if given.recurring && !start.stamp.zulu => Self::Zone { id: lines::offset_name(offset), by: By::Offset(offset) },
            Some(_) => Self::Utc,
            None => zones.local.as_ref().map_or(Self::Floating, by_rules),
        };
        let Some(Named { id, redefined }) = given.zone else { return (own, false) };
        if id == FLOATING && start.stamp.offset.is_none() {
            return (Self::Floating, false);
        }
        let by = |by| Self::Zone { id: id.to_owned(), by };
        match (&own, zones.instant(local, id)) {
            (Self::Utc, Some(_)) if redefined && zones.local.is_some() => (by(By::Rules), false),
            (Self::Utc, Some(_)) => (by(By::Name), false),
            (Self::Zone { by: By::Rules, .. }, Some(at)) => {
                let agrees = zones.local.as_ref().is_some_and(|r| local.and_utc().timestamp() - i64::from(r.offset(local)) == at);
                let rules = if redefined { By::Rules } else { By::Name };
                if agrees { (by(rules), false) } else { (own, true) }
            }
            // The name of a zone that only TZ and DAYLIGHT describe.
            // A name of ours, see [`lines::offset_name`].
            (Self::Utc, None) if let Some(offset) = lines::offset_of(id) => (by(By::Offset(offset)), false),
            // Any zone shows the instant of what happens once; a rule in UTC has other dates in the time of a zone.
            (Self::Utc, None) if zones.local.is_some() && !given.recurring => (by(By::Rules), false),
            (Self::Floating, None) => (by(By::Nobody), false),
            (Self::Zone { by: By::Rules, .. }, None) => (by(By::Rules), false),
            _ => (own, true),
        }
    }

    pub fn to_utc(&self, local: NaiveDateTime, zones: &Zones) -> NaiveDateTime {
        let offset = match self {
            // The day of an event of whole days is one of the calendar's zone.
            Self::Date | Self::Zone { by: By::Rules, .. } => zones.local.as_ref().map_or(0, |r| r.offset(local)),
            Self::Zone { by: By::Offset(offset), .. } => *offset,
            Self::Zone { by: By::Name, id } => {
                let seconds = zones.instant(local, id).unwrap_or_else(|| local.and_utc().timestamp());
                return chrono::DateTime::from_timestamp(seconds, 0).map_or(local, |t| t.naive_utc());
            }
            _ => 0,
        };
        shifted(local, -i64::from(offset))
    }

    pub fn to_local(&self, utc: NaiveDateTime, zones: &Zones) -> NaiveDateTime {
        match self {
            Self::Date | Self::Zone { by: By::Rules, .. } => zones.local.as_ref().map_or(utc, |r| wall(r, utc)),
            Self::Zone { by: By::Offset(offset), .. } => shifted(utc, i64::from(*offset)),
            Self::Zone { by: By::Name, id } => zones.local(utc.and_utc().timestamp(), id).unwrap_or(utc),
            _ => utc,
        }
    }

    /// The time in this form's wall time. One without any zone is taken to be in it.
    pub fn wall(&self, when: &When, zones: &Zones) -> NaiveDateTime {
        let local = when.stamp.local();
        if !when.stamp.has_time || *self == Self::Floating && when.stamp.offset.is_none() {
            return local;
        }
        if *self == Self::Date {
            // The day as it was written; UTC is read by the object's own zone.
            return match (when.stamp.zulu, &zones.local) {
                (true, Some(rules)) => wall(rules, local),
                _ => local,
            };
        }
        match instant(when, zones) {
            // The wall time that was written, also where it occurs twice or never.
            Some(_) if when.stamp.offset.is_none() && self.is_zone_of(when, zones) => local,
            Some(utc) => self.to_local(utc, zones),
            None => local,
        }
    }

    /// The instant, in UTC, that this form's wall time cannot say: the second of an hour that comes twice, or any where
    /// nobody knows the zone.
    fn unsaid(&self, when: &When, zones: &Zones) -> Option<NaiveDateTime> {
        let Self::Zone { by, .. } = self else { return None };
        let utc = instant(when, zones)?;
        let as_written = when.stamp.offset.is_none() && self.is_zone_of(when, zones);
        (!as_written && (*by == By::Nobody || self.to_utc(self.to_local(utc, zones), zones) != utc)).then_some(utc)
    }

    /// The form and wall time to write a time in: this form's, or UTC for what it cannot say.
    pub fn said(&self, when: &When, zones: &Zones) -> (Self, NaiveDateTime) {
        match self.unsaid(when, zones) {
            Some(utc) => (Self::Utc, utc),
            None => (self.clone(), self.wall(when, zones)),
        }
    }

    /// How far one time is from another: days of the calendar, then what passes beyond them (RFC 5545 3.3.6).
    pub fn distance(&self, from: &When, to: &When, zones: &Zones) -> Span {
        let (start, end) = (self.wall(from, zones), self.wall(to, zones));
        let nominal = (end - start).num_seconds();
        let Self::Zone { .. } = self else { return Span { days: nominal / 86_400, seconds: nominal % 86_400 } };
        let utc = |wall, when| self.unsaid(when, zones).unwrap_or_else(|| self.to_utc(wall, zones));
        let (begins, ends) = (utc(start, from), utc(end, to));
        let sign = (ends - begins).num_seconds().signum();
        let rest = |days: i64| {
            let day = Duration::try_days(days).and_then(|d| start.checked_add_signed(d)).unwrap_or(start);
            (ends - if days == 0 { begins } else { self.to_utc(day, zones) }).num_seconds()
        };
        let days = nominal / 86_400;
        // Where the clocks change the last day may be too long.
        let days = if rest(days).signum() == -sign { days - sign } else { days };
        Span { days, seconds: rest(days) }
    }

    /// Whether a time is one of this form that has no instant, also where the calendar has a zone.
    pub fn floats(&self, when: &When, zones: &Zones) -> bool {
        let marked = *self == Self::Floating && when.stamp.offset.is_none() && when.zone.is_none();
        marked || instant(when, zones).is_none()
    }

    fn is_zone_of(&self, when: &When, zones: &Zones) -> bool {
        match (self, &when.zone) {
            (Self::Zone { id, .. }, Some(zone)) => id.eq_ignore_ascii_case(zone),
            // X-CIP-TZID agrees with TZ and DAYLIGHT, else it would not have become the form.
            (Self::Zone { by: By::Rules | By::Name, .. }, None) => zones.local.is_some(),
            _ => false,
        }
    }

    /// `NAME;TZID=…:` and the time, in this form.
    pub fn line(&self, name: &str, wall: NaiveDateTime) -> String {
        format!("{}:{}", self.head(name), self.value(wall))
    }

    /// The name with VALUE or TZID.
    pub fn head(&self, name: &str) -> String {
        match self {
            Self::Date => format!("{name};VALUE=DATE"),
            Self::Floating | Self::Utc => name.to_owned(),
            Self::Zone { id, .. } => format!("{name};TZID={}", values::param_value(id)),
        }
    }

    pub fn value(&self, wall: NaiveDateTime) -> String {
        match self {
            Self::Date => wall.format("%Y%m%d").to_string(),
            Self::Floating | Self::Zone { .. } => time::basic_local(wall),
            Self::Utc => format!("{}Z", time::basic_local(wall)),
        }
    }
}

/// The instant of a time, as UTC; `None` for a floating time or a date.
pub(super) fn instant(when: &When, zones: &Zones) -> Option<NaiveDateTime> {
    let local = when.stamp.local();
    if !when.stamp.has_time {
        return None;
    }
    if let Some(offset) = when.stamp.offset {
        return Some(shifted(local, -i64::from(offset)));
    }
    if let Some(zone) = &when.zone {
        return chrono::DateTime::from_timestamp(zones.instant(local, zone)?, 0).map(|t| t.naive_utc());
    }
    zones.local.as_ref().map(|rules| shifted(local, -i64::from(rules.offset(local))))
}

fn shifted(at: NaiveDateTime, seconds: i64) -> NaiveDateTime {
    Duration::try_seconds(seconds).and_then(|d| at.checked_add_signed(d)).unwrap_or(at)
}

fn wall(rules: &Rules, utc: NaiveDateTime) -> NaiveDateTime {
    rules.local(utc.and_utc().timestamp()).unwrap_or(utc)
}

fn midnight(when: &When) -> bool {
    when.stamp.time.num_seconds_from_midnight() == 0
}

fn ends_day(when: &When) -> bool {
    when.stamp.time.hour() == 23 && when.stamp.time.minute() == 59
}

/// vCalendar's way to say all day: from midnight to midnight, or to the last minute of a day, in the sender's own time.
fn whole_days(given: &Given<'_>, zones: &Zones) -> bool {
    let Some(start) = given.start.filter(|s| !s.stamp.zulu && midnight(s) && s.zone.is_none() && !given.todo) else { return false };
    let local = |when: &When| instant(when, zones).unwrap_or_else(|| when.stamp.local());
    // An end before the start is left out.
    match given.end.filter(|end| !end.stamp.has_time || local(end) >= local(start)) {
        Some(end) if end.stamp.zulu => false,
        Some(end) if !end.stamp.has_time => end.stamp.date > start.stamp.date,
        Some(end) => {
            ends_day(end) && end.stamp.date >= start.stamp.date || midnight(end) && (given.whole_days || end.stamp.date > start.stamp.date)
        }
        None => given.whole_days,
    }
}

/// The end of an event of whole days: the day after its last one. `None`: it says nothing that the start does not.
pub(super) fn day_after(end: &When) -> Option<NaiveDateTime> {
    let date = if end.stamp.has_time && ends_day(end) { end.stamp.date.succ_opt()? } else { end.stamp.date };
    Some(date.and_time(NaiveTime::MIN))
}

/// DAYLIGHT:FALSE, or nothing.
pub(super) fn says_no_summer(value: &str) -> bool {
    value.split(';').next().is_some_and(|f| f.trim().is_empty() || f.trim().eq_ignore_ascii_case("FALSE"))
}

/// `TRUE;-04;19960407T025959;19961027T010000;EST;EDT`.
pub(super) fn is_summer(value: &str) -> bool {
    let parts: Vec<&str> = value.split(';').map(str::trim).collect();
    matches!(parts[..], [flag, offset, start, end, ..]
        if flag.eq_ignore_ascii_case("TRUE") && time::offset_seconds(offset).is_some() && time::parse(start).is_some() && time::parse(end).is_some())
}
