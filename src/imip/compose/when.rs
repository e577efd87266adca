//! Times for people: in the event's own zone, and in UTC beside it when the instant is known (bridge 5).
//!
//! Invariant: no time is shown in a zone that the event does not name; a floating time says that it is one.

use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};

use crate::calendar::event::Moment;
use crate::clock::Timestamp;
use crate::imip::compose::header::visible;
use crate::imip::compose::words::{Clock, Span, Words};
use crate::mime::transfer::clip;

/// One line, or two: the event's own time, then UTC.
pub(crate) fn lines(words: &dyn Words, start: &Moment, end: Option<&Moment>) -> Vec<String> {
    if let Moment::Date(first) = start {
        return vec![words.span(&whole_days(*first, end))];
    }
    let (from, clock) = local(start);
    let to = end.filter(|e| !matches!(e, Moment::Date(_))).map(local);
    let mut lines = vec![match &to {
        Some((to, other)) if *other == clock => words.by_clock(&words.span(&span(from, Some(*to))), &clock),
        // Summer time may have begun in between, which is no other clock.
        Some((to, other)) => words.between_clocks((from, &clock), (*to, other)),
        None => words.by_clock(&words.span(&span(from, None)), &clock),
    }];
    if clock != Clock::Utc
        && let Some(from) = instant(start)
    {
        lines.push(words.by_clock(&words.span(&span(from, end.and_then(instant))), &Clock::Utc));
    }
    lines
}

/// The time that was, in one line; on which clock only where that is another one than that of `now`.
pub(crate) fn former(words: &dyn Words, start: &Moment, end: Option<&Moment>, now: Option<&Moment>) -> Option<String> {
    let timed = |m: &Moment| !matches!(m, Moment::Date(_));
    let same = |m: &Moment| now.is_some_and(|now| timed(now) && timed(m) && local(now).1 == local(m).1);
    if same(start) && end.is_none_or(same) {
        return Some(words.span(&span(local(start).0, end.map(|e| local(e).0))));
    }
    lines(words, start, end).into_iter().next()
}

/// The day on which it begins, where it takes place.
pub(crate) fn day(moment: &Moment) -> NaiveDate {
    local(moment).0.date()
}

/// DTEND of a whole-day event is the day after its last (RFC 5545 3.6.1).
fn whole_days(first: NaiveDate, end: Option<&Moment>) -> Span {
    let last = match end {
        Some(Moment::Date(end)) => end.pred_opt().unwrap_or(*end),
        _ => first,
    };
    if last > first { Span::Days(first, last) } else { Span::Day(first) }
}

/// The time on the clock where it takes place, and which clock that is.
pub(crate) fn local(moment: &Moment) -> (NaiveDateTime, Clock) {
    match moment {
        Moment::Utc { at, offset_minutes: None | Some(0) } => (utc(*at), Clock::Utc),
        Moment::Utc { at, offset_minutes: Some(minutes) } => match FixedOffset::east_opt(minutes.saturating_mul(60)) {
            Some(offset) => (utc(*at).checked_add_offset(offset).unwrap_or_else(|| utc(*at)), Clock::Offset(*minutes)),
            None => (utc(*at), Clock::Utc),
        },
        Moment::Zoned { local, zone, .. } if zone == "UTC" => (*local, Clock::Utc),
        Moment::Zoned { local, zone, at } => (*local, zone_clock(*local, zone, *at)),
        Moment::Floating(local) => (*local, Clock::Floating),
        Moment::Date(date) => (date.and_time(NaiveTime::MIN), Clock::Floating),
    }
}

/// The areas of the IANA names; before them stands what a program put there to make the name its own.
const AREAS: [&str; 11] =
    ["Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific", "Etc"];

/// A zone by its name, where that tells a person something; else by how far it is from UTC.
fn zone_clock(local: NaiveDateTime, zone: &str, at: Option<Timestamp>) -> Clock {
    let name = visible(zone);
    let parts: Vec<&str> = name.split('/').collect();
    let area = parts.iter().position(|p| AREAS.contains(p)).filter(|i| i + 1 < parts.len());
    if let Some(area) = area {
        return Clock::Named(clip(&parts[area..].join("/").replace('_', " "), 80).to_owned());
    }
    let lower = name.to_ascii_lowercase();
    // `UTC-0500/-0400` is how a zone is named that has rules and no name (TZ and DAYLIGHT).
    let offsets = name.strip_prefix("UTC").is_some_and(|rest| rest.starts_with(['+', '-']));
    let made = offsets
        || name.is_empty()
        || name.starts_with('/')
        || ["x-", "custom", "tz", "local", "unnamed"].iter().any(|p| lower.starts_with(p));
    match at.filter(|_| made) {
        Some(at) => Clock::Offset(i32::try_from((local - utc(at)).num_minutes()).unwrap_or(0)),
        None => Clock::Named(clip(&name, 80).trim_end().to_owned()),
    }
}

/// Only what is an instant by itself.
fn instant(moment: &Moment) -> Option<NaiveDateTime> {
    match moment {
        Moment::Utc { at, .. } => Some(utc(*at)),
        Moment::Zoned { at, .. } => at.map(utc),
        Moment::Floating(_) | Moment::Date(_) => None,
    }
}

fn utc(at: Timestamp) -> NaiveDateTime {
    at.datetime().unwrap_or(DateTime::UNIX_EPOCH).naive_utc()
}

fn span(from: NaiveDateTime, to: Option<NaiveDateTime>) -> Span {
    match to {
        Some(to) if to > from && to.date() == from.date() => Span::SameDay(from, to.time()),
        // Past midnight into the small hours reads better without the second date.
        Some(to) if to > from && to - from < Duration::hours(12) => Span::Overnight(from, to.time()),
        Some(to) if to > from => Span::Over(from, to),
        _ => Span::At(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imip::compose::words::Language;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn naive(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    fn zoned(l: &str, zone: &str, t: Option<&str>) -> Moment {
        Moment::Zoned { local: naive(l), zone: zone.into(), at: t.map(at) }
    }

    #[test]
    fn times_in_words() {
        let offset = |t: &str, o| Moment::Utc { at: at(t), offset_minutes: o };
        let berlin = |l: &str, t: Option<&str>| zoned(l, "Europe/Berlin", t);
        let date = |d: &str| Moment::Date(d.parse().unwrap());
        for (start, end, expected) in [
            (
                offset("1997-01-01T01:00:00Z", Some(-300)),
                Some(offset("1997-01-01T03:00:00Z", Some(-300))),
                vec!["Tuesday, 31 December 1996, 20:00 to 22:00 (UTC-05:00)", "Wednesday, 1 January 1997, 01:00 to 03:00 (UTC)"],
            ),
            (offset("1997-01-01T01:00:00Z", None), None, vec!["Wednesday, 1 January 1997, 01:00 (UTC)"]),
            (
                offset("1997-01-01T23:00:00Z", None),
                Some(offset("1997-01-02T01:00:00Z", None)),
                vec!["Wednesday, 1 January 1997, 23:00 to 01:00 (next day) (UTC)"],
            ),
            (
                berlin("2026-07-01T09:00:00", Some("2026-07-01T07:00:00Z")),
                Some(berlin("2026-07-03T17:00:00", Some("2026-07-03T15:00:00Z"))),
                vec![
                    "Wednesday, 1 July 2026, 09:00 to Friday, 3 July 2026, 17:00 (Europe/Berlin)",
                    "Wednesday, 1 July 2026, 07:00 to Friday, 3 July 2026, 15:00 (UTC)",
                ],
            ),
            // The night in which the clocks go back.
            (
                berlin("2026-10-24T22:00:00", Some("2026-10-24T20:00:00Z")),
                Some(berlin("2026-10-25T06:00:00", Some("2026-10-25T05:00:00Z"))),
                vec![
                    "Saturday, 24 October 2026, 22:00 to 06:00 (next day) (Europe/Berlin)",
                    "Saturday, 24 October 2026, 20:00 to 05:00 (next day) (UTC)",
                ],
            ),
            (
                berlin("2026-07-01T09:00:00", Some("2026-07-01T07:00:00Z")),
                Some(zoned("2026-07-01T10:00:00", "America/New_York", Some("2026-07-01T14:00:00Z"))),
                vec![
                    "Wednesday, 1 July 2026, 09:00 (Europe/Berlin) to Wednesday, 1 July 2026, 10:00 (America/New York)",
                    "Wednesday, 1 July 2026, 07:00 to 14:00 (UTC)",
                ],
            ),
            (berlin("2026-07-01T09:00:00", None), None, vec!["Wednesday, 1 July 2026, 09:00 (Europe/Berlin)"]),
            (Moment::Floating(naive("2026-07-01T09:00:00")), None, vec!["Wednesday, 1 July 2026, 09:00 (local time where it takes place)"]),
            (date("2026-07-01"), Some(date("2026-07-02")), vec!["Wednesday, 1 July 2026 (all day)"]),
            (date("2026-07-01"), Some(date("2026-07-04")), vec!["Wednesday, 1 July 2026 to Friday, 3 July 2026 (all day)"]),
            (date("2026-07-01"), None, vec!["Wednesday, 1 July 2026 (all day)"]),
            (offset("1997-01-01T01:00:00Z", Some(i32::MAX)), None, vec!["Wednesday, 1 January 1997, 01:00 (UTC)"]),
        ] {
            assert_eq!(lines(Language::English.words(), &start, end.as_ref()), expected);
        }
    }

    #[test]
    fn zones_have_names_that_a_person_knows() {
        let clock = |zone: &str| local(&zoned("2026-07-01T09:00:00", zone, Some("2026-07-01T07:00:00Z"))).1;
        let named = |name: &str| Clock::Named(name.into());
        for (zone, expected) in [
            ("/freeassociation.sourceforge.net/Tzfile/Europe/Berlin", named("Europe/Berlin")),
            ("/softwarestudio.org/Olson_20011030_5/America/Argentina/Buenos_Aires", named("America/Argentina/Buenos Aires")),
            ("W. Europe Standard Time", named("W. Europe Standard Time")),
            ("(UTC+01:00) Amsterdam, Berlin", named("(UTC+01:00) Amsterdam, Berlin")),
            ("Customized Time Zone", Clock::Offset(120)),
            ("X-TZ-0500", Clock::Offset(120)),
            ("UTC+0100/+0200", Clock::Offset(120)),
            ("UTC", Clock::Utc),
        ] {
            assert_eq!(clock(zone), expected, "{zone}");
        }
    }
}
