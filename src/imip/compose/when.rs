//! Times in words, for people: in the event's own zone, and in UTC beside it when the instant is known (bridge 5).
//!
//! Invariant: no time is shown in a zone that the event does not name; a floating time says that it is one.

use chrono::{DateTime, Duration, FixedOffset, NaiveDate, NaiveDateTime};

use crate::calendar::event::Moment;
use crate::clock::Timestamp;
use crate::imip::compose::header::visible;
use crate::mime::transfer::clip;

/// One line, or two: the event's own time, then UTC.
pub fn lines(start: &Moment, end: Option<&Moment>) -> Vec<String> {
    if let Moment::Date(first) = start {
        return vec![whole_days(*first, end)];
    }
    let (from, zone) = local(start);
    let to = end.filter(|e| !matches!(e, Moment::Date(_))).map(local);
    let mut lines = vec![match to {
        Some((to, other)) if other == zone => format!("{} ({zone})", span(from, Some(to))),
        Some((to, other)) => format!("{} ({zone}) to {} ({other})", full(from), full(to)),
        None => format!("{} ({zone})", full(from)),
    }];
    if zone != "UTC"
        && let Some(from) = instant(start)
    {
        lines.push(format!("{} (UTC)", span(from, end.and_then(instant))));
    }
    lines
}

/// DTEND of a whole-day event is the day after its last (RFC 5545 3.6.1).
fn whole_days(first: NaiveDate, end: Option<&Moment>) -> String {
    let last = match end {
        Some(Moment::Date(end)) => end.pred_opt().unwrap_or(*end),
        _ => first,
    };
    if last > first { format!("{} to {} (all day)", day(first), day(last)) } else { format!("{} (all day)", day(first)) }
}

fn local(moment: &Moment) -> (NaiveDateTime, String) {
    match moment {
        Moment::Utc { at, offset_minutes: None | Some(0) } => (utc(*at), "UTC".to_owned()),
        Moment::Utc { at, offset_minutes: Some(minutes) } => match FixedOffset::east_opt(minutes.saturating_mul(60)) {
            Some(offset) => (utc(*at).checked_add_offset(offset).unwrap_or_else(|| utc(*at)), format!("UTC{offset}")),
            None => (utc(*at), "UTC".to_owned()),
        },
        Moment::Zoned { local, zone, .. } => (*local, clip(&visible(zone), 80).to_owned()),
        Moment::Floating(local) => (*local, "local time where it takes place".to_owned()),
        Moment::Date(date) => (date.and_time(chrono::NaiveTime::MIN), "all day".to_owned()),
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

fn span(from: NaiveDateTime, to: Option<NaiveDateTime>) -> String {
    match to {
        Some(to) if to > from && to.date() == from.date() => format!("{} to {}", full(from), to.format("%H:%M")),
        // Past midnight into the small hours reads better without the second date.
        Some(to) if to > from && to - from < Duration::hours(12) => format!("{} to {} (next day)", full(from), to.format("%H:%M")),
        Some(to) if to > from => format!("{} to {}", full(from), full(to)),
        _ => full(from),
    }
}

fn full(at: NaiveDateTime) -> String {
    format!("{}, {}", day(at.date()), at.format("%H:%M"))
}

fn day(date: NaiveDate) -> String {
    date.format("%A, %-d %B %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn naive(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn times_in_words() {
        let offset = |t: &str, o| Moment::Utc { at: at(t), offset_minutes: o };
        let zoned = |l: &str, t: Option<&str>| Moment::Zoned { local: naive(l), zone: "Europe/Berlin".into(), at: t.map(at) };
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
                zoned("2026-07-01T09:00:00", Some("2026-07-01T07:00:00Z")),
                Some(zoned("2026-07-03T17:00:00", Some("2026-07-03T15:00:00Z"))),
                vec![
                    "Wednesday, 1 July 2026, 09:00 to Friday, 3 July 2026, 17:00 (Europe/Berlin)",
                    "Wednesday, 1 July 2026, 07:00 to Friday, 3 July 2026, 15:00 (UTC)",
                ],
            ),
            (zoned("2026-07-01T09:00:00", None), None, vec!["Wednesday, 1 July 2026, 09:00 (Europe/Berlin)"]),
            (Moment::Floating(naive("2026-07-01T09:00:00")), None, vec!["Wednesday, 1 July 2026, 09:00 (local time where it takes place)"]),
            (date("2026-07-01"), Some(date("2026-07-02")), vec!["Wednesday, 1 July 2026 (all day)"]),
            (date("2026-07-01"), Some(date("2026-07-04")), vec!["Wednesday, 1 July 2026 to Friday, 3 July 2026 (all day)"]),
            (date("2026-07-01"), None, vec!["Wednesday, 1 July 2026 (all day)"]),
            (offset("1997-01-01T01:00:00Z", Some(i32::MAX)), None, vec!["Wednesday, 1 January 1997, 01:00 (UTC)"]),
        ] {
            assert_eq!(lines(&start, end.as_ref()), expected);
        }
    }
}
