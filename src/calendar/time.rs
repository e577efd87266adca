//! Dates, times, offsets and durations as the three formats and the draft's dialect write them (profile 5, bridge 8).

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::event::Moment;
use super::property::Content;
use super::text;
use super::zone::Zones;
use crate::clock::Timestamp;

/// What the text itself says, before any zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub date: NaiveDate,
    pub time: NaiveTime,
    pub has_time: bool,
    /// Seconds east of UTC; `Z` is 0.
    pub offset: Option<i32>,
    /// It ended in `Z`.
    pub zulu: bool,
}

impl Stamp {
    pub fn local(&self) -> NaiveDateTime {
        self.date.and_time(self.time)
    }
}

/// `19961231T2000-0500`, `19961231T200000Z`, `19961231`, `1996-12-31`, `1996-12-31T20:00:00+01:00`; and what is a date all
/// the same, `19961231T`, `19961231Z`.
pub(crate) fn parse(text: &str) -> Option<Stamp> {
    let text = text.trim();
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(i) => (&text[..i], Some(text[i + 1..].trim())),
        None => (text.trim_end_matches(['Z', 'z']), None),
    };
    let dashed = date.len() == 10 && date.as_bytes()[4] == b'-' && date.as_bytes()[7] == b'-';
    let digits = if dashed { Cow::Owned(date.replace('-', "")) } else { Cow::Borrowed(date) };
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?)?;
    let Some(rest) = rest.filter(|r| !r.is_empty()) else {
        return Some(Stamp { date, time: NaiveTime::MIN, has_time: false, offset: None, zulu: false });
    };
    let clock_end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, tail) = (rest[..clock_end].trim(), rest[clock_end..].trim());
    let zulu = tail.eq_ignore_ascii_case("Z");
    let offset = match tail {
        "" => None,
        _ if zulu => Some(0),
        _ => Some(offset_seconds(tail)?),
    };
    let (days, time) = clock_time(clock)?;
    Some(Stamp { date: date.checked_add_signed(Duration::days(days))?, time, has_time: true, offset, zulu })
}

/// `2000`, `200000`, `20:00:00`, with a fraction that is dropped; 24:00 is the next day's start. RFC 2446's own example and
/// Funambol have a zero too many, `2000000`.
fn clock_time(text: &str) -> Option<(i64, NaiveTime)> {
    let text = text.split(['.', ',']).next().unwrap_or(text);
    let text = if text.contains(':') { Cow::Owned(text.replace(':', "")) } else { Cow::Borrowed(text) };
    let text = if text.len() == 7 { text.strip_suffix('0')? } else { &*text };
    if !matches!(text.len(), 4 | 6) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hour, minute): (u32, u32) = (text[..2].parse().ok()?, text[2..4].parse().ok()?);
    let second: u32 = if text.len() == 6 { text[4..].parse().ok()? } else { 0 };
    if (hour, minute, second) == (24, 0, 0) {
        return Some((1, NaiveTime::MIN));
    }
    // A leap second is the last second of its minute.
    Some((0, NaiveTime::from_hms_opt(hour, minute, if second == 60 { 59 } else { second })?))
}

/// `-05`, `-0500`, `+05:30`, `-053000`: seconds east of UTC, less than a day.
pub(crate) fn offset_seconds(text: &str) -> Option<i32> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        b'0'..=b'9' => (1, text),
        _ => return None,
    };
    let digits = digits.replace(':', "");
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
    let part = |i: usize| digits.get(i..i + 2).map_or(Some(0), |p| p.parse::<i32>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    let valid = (2..=6).contains(&digits.len()) && hours < 24 && minutes < 60 && seconds < 60;
    valid.then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// A length of time: days of the calendar, which a change of the clocks makes longer or shorter, and then seconds that
/// pass (RFC 5545 3.3.6). Both have one sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub days: i64,
    pub seconds: i64,
}

impl Span {
    /// Seconds that pass, whatever the clocks do.
    pub fn exact(seconds: i64) -> Self {
        Self { days: 0, seconds }
    }

    /// With days of 24 hours.
    pub fn total(self) -> i64 {
        self.days * 86_400 + self.seconds
    }
}

/// [`span`] with days of 24 hours, in seconds.
pub(crate) fn duration_seconds(text: &str) -> Option<i64> {
    span(text).map(Span::total)
}

/// `P1DT2H`, `PT15M`, `P6W`, `-PT5M`, less than 400 years. Years and months, which vCalendar allows, count 365 and 30 days.
pub(crate) fn span(text: &str) -> Option<Span> {
    let text = text.trim().to_ascii_uppercase();
    let (sign, body) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let body = body.strip_prefix('P')?;
    let (mut days, mut seconds, mut number, mut timed, mut any) = (0i64, 0i64, None::<i64>, false, false);
    for c in body.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(i64::from(digit))?);
            continue;
        }
        if c == 'T' {
            timed = true;
            continue;
        }
        let (sum, unit) = match (c, timed) {
            ('Y', _) => (&mut days, 365),
            ('M', false) => (&mut days, 30),
            ('W', _) => (&mut days, 7),
            ('D', _) => (&mut days, 1),
            ('H', _) => (&mut seconds, 3_600),
            ('M', true) => (&mut seconds, 60),
            ('S', _) => (&mut seconds, 1),
            _ => return None,
        };
        *sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
        any = true;
    }
    let total = days.checked_mul(86_400)?.checked_add(seconds)?;
    (any && number.is_none() && total < 400 * 365 * 86_400).then_some(Span { days: sign * days, seconds: sign * seconds })
}

/// A DTSTART, DTEND, DUE or RECURRENCE-ID line.
pub(crate) fn moment(content: &Content, zones: &Zones) -> Option<Moment> {
    let stamp = parse(&text::raw(content))?;
    if !stamp.has_time {
        return Some(Moment::Date(stamp.date));
    }
    let local = stamp.local();
    if let Some(offset) = stamp.offset {
        return utc(local, offset, (!stamp.zulu).then_some(offset / 60));
    }
    if let Some(zone) = content.param("TZID").map(|z| z.trim().trim_matches('"').to_owned()).filter(|z| !z.is_empty()) {
        let at = zones.instant(local, &zone).map(timestamp);
        return Some(Moment::Zoned { local, zone, at });
    }
    match &zones.local {
        Some(rules) => {
            let offset = rules.offset(local);
            utc(local, offset, Some(offset / 60))
        }
        None => Some(Moment::Floating(local)),
    }
}

/// An instant; before 1970, where [`Timestamp`] cannot say it, as a local time of the zone UTC.
pub(crate) fn utc(local: NaiveDateTime, offset: i32, offset_minutes: Option<i32>) -> Option<Moment> {
    let instant = local.checked_sub_signed(Duration::seconds(i64::from(offset)))?;
    let seconds = instant.and_utc().timestamp();
    Some(if seconds < 0 {
        Moment::Zoned { local: instant, zone: "UTC".to_owned(), at: Some(timestamp(seconds)) }
    } else {
        Moment::Utc { at: timestamp(seconds), offset_minutes }
    })
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

/// An instant for DTSTAMP, LAST-MODIFIED: local times read as UTC.
pub(crate) fn instant(content: &Content, zones: &Zones) -> Option<Timestamp> {
    moment(content, zones)?.instant()
}

/// A moment later by a DURATION. One that the wall time of its zone cannot say, since it is the second of an hour that
/// comes twice, is one in UTC.
pub(crate) fn later(start: &Moment, by: Span, zones: &Zones) -> Option<Moment> {
    let (days, seconds) = (Duration::try_days(by.days)?, Duration::try_seconds(by.seconds)?);
    Some(match start {
        Moment::Utc { at, offset_minutes } => {
            let at = at.datetime()?.naive_utc();
            // A local time by TZ and DAYLIGHT has days of that zone.
            let own = zones.local.as_ref().filter(|r| by.days != 0 && *offset_minutes == Some(r.offset_at(at.and_utc().timestamp()) / 60));
            let Some(rules) = own else {
                return utc(at.checked_add_signed(days)?.checked_add_signed(seconds)?, 0, *offset_minutes);
            };
            let local = rules.local(at.and_utc().timestamp())?.checked_add_signed(days)?;
            let at = local.checked_sub_signed(Duration::seconds(rules.offset(local).into()))?.checked_add_signed(seconds)?;
            return utc(at, 0, Some(rules.offset_at(at.and_utc().timestamp()) / 60));
        }
        Moment::Zoned { local, zone, .. } => {
            let local = local.checked_add_signed(days)?;
            let Some(at) = zones.instant(local, zone).filter(|_| by.seconds != 0) else {
                let local = local.checked_add_signed(seconds)?;
                return Some(Moment::Zoned { local, zone: zone.clone(), at: zones.instant(local, zone).map(timestamp) });
            };
            let at = at.checked_add(by.seconds)?;
            let local = zones.local(at, zone)?;
            if zones.instant(local, zone) != Some(at) {
                return utc(DateTime::from_timestamp(at, 0)?.naive_utc(), 0, None);
            }
            Moment::Zoned { local, zone: zone.clone(), at: Some(timestamp(at)) }
        }
        Moment::Floating(local) => Moment::Floating(local.checked_add_signed(days)?.checked_add_signed(seconds)?),
        Moment::Date(date) if by.seconds % 86_400 == 0 => Moment::Date(date.checked_add_signed(days)?.checked_add_signed(seconds)?),
        Moment::Date(_) => return None,
    })
}

/// UTC basic form: `19970101T010000Z`.
pub(crate) fn basic_utc(at: Timestamp) -> String {
    at.datetime().map_or_else(|| "19700101T000000Z".to_owned(), |t| basic(t.naive_utc(), "Z"))
}

/// Local basic form: `19970101T010000`.
pub(crate) fn basic_local(local: NaiveDateTime) -> String {
    basic(local, "")
}

/// What chrono's `%Y%m%dT%H%M%S` gives; a translation writes dozens of these.
fn basic(local: NaiveDateTime, end: &str) -> String {
    let mut out = String::with_capacity(16);
    let Ok(year @ 0..=9999) = u32::try_from(local.year()) else {
        out.push_str(&local.format("%Y%m%dT%H%M%S").to_string());
        out.push_str(end);
        return out;
    };
    let pairs = [year / 100, year % 100, local.month(), local.day(), local.hour(), local.minute(), local.second()];
    for (i, pair) in pairs.into_iter().enumerate() {
        if i == 4 {
            out.push('T');
        }
        out.extend([pair / 10, pair % 10].map(|digit| char::from_digit(digit, 10).unwrap_or('0')));
    }
    out.push_str(end);
    out
}

/// RECURRENCE-ID as normalized text: UTC basic form when it has an instant, `YYYYMMDD` for a date, else as it stands.
pub(crate) fn recurrence_id(content: &Content, zones: &Zones) -> Option<String> {
    let text = text::raw(content).trim().to_owned();
    match moment(content, zones) {
        // Before 1970 a Timestamp stops, and instances would share a name.
        Some(Moment::Zoned { local, zone, at: Some(Timestamp(0)) }) => {
            let seconds = if zone == "UTC" { local.and_utc().timestamp() } else { zones.instant(local, &zone)? };
            Some(basic(DateTime::from_timestamp(seconds, 0)?.naive_utc(), "Z"))
        }
        Some(Moment::Utc { at, .. } | Moment::Zoned { at: Some(at), .. }) => Some(basic_utc(at)),
        Some(Moment::Floating(local)) => Some(basic_local(local)),
        Some(Moment::Date(date)) => Some(date.format("%Y%m%d").to_string()),
        // What is no time is still the name of an instance, within reason.
        _ => Some(text.chars().take(64).collect()).filter(|t: &String| !t.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_forms_are_those_of_chrono() {
        let time = NaiveTime::from_hms_opt(3, 4, 5).unwrap();
        for date in [(-1, 1, 1), (0, 2, 29), (7, 12, 31), (1969, 10, 9), (2026, 3, 11), (9999, 12, 31), (10_000, 1, 1)] {
            let local = NaiveDate::from_ymd_opt(date.0, date.1, date.2).unwrap().and_time(time);
            assert_eq!(basic_local(local), local.format("%Y%m%dT%H%M%S").to_string());
        }
        assert_eq!(basic_utc(Timestamp::from_millis(946_684_800_000)), "20000101T000000Z");
    }
}
