//! Names of zones: IANA's, Microsoft's, and the forms that software wraps them in.
//!
//! Only the tables of names are calcard's (its own reading of `(UTC+05:30) …` drops the minutes). A name is never guessed
//! from its offset alone, since that says nothing about the summer.
//!
//! Invariants: a name longer than any real one is no name; a city is believed only with an offset or a second city that
//! agree with it.

use std::collections::HashMap;
use std::sync::OnceLock;

use calcard::common::timezone::Tz;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Offset, TimeZone};

use super::world::LAST_YEAR;
use crate::calendar::time;

const MAX_NAME: usize = 160;
/// 1 January and 1 July 2024.
const WINTER_AND_SUMMER: [i64; 2] = [1_704_067_200, 1_719_792_000];
const REGIONS: [&str; 8] = ["Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Pacific"];
/// Cities of Microsoft's lists that give no IANA zone its name.
const MORE_CITIES: [(&str, &str); 12] = [
    ("bern", "Europe/Zurich"),
    ("edinburgh", "Europe/London"),
    ("kyiv", "Europe/Kiev"),
    ("st. petersburg", "Europe/Moscow"),
    ("new delhi", "Asia/Kolkata"),
    ("mumbai", "Asia/Kolkata"),
    ("chennai", "Asia/Kolkata"),
    ("hanoi", "Asia/Bangkok"),
    ("beijing", "Asia/Shanghai"),
    ("osaka", "Asia/Tokyo"),
    ("brasilia", "America/Sao_Paulo"),
    ("brasília", "America/Sao_Paulo"),
];

/// The zone of a name: IANA's, Microsoft's, a path that ends in one, a list of cities, `GMT+0100`.
pub(super) fn named(id: &str) -> Option<Tz> {
    let id = id.trim();
    let id = id.strip_prefix('"').and_then(|i| i.strip_suffix('"')).unwrap_or(id).trim();
    if id.is_empty() || id.len() > MAX_NAME {
        return None;
    }
    if let Some(zone) = exact(id) {
        return Some(zone);
    }
    if let Some((offset, name)) = prefixed(id) {
        return match name {
            "" => fixed(offset),
            _ => exact(name).or_else(|| loose(name)).or_else(|| cities(name, Some(offset))),
        };
    }
    loose(id).or_else(|| path(id)).or_else(|| zone_offset(id).and_then(fixed)).or_else(|| cities(id, None))
}

/// Seconds east of UTC at an instant in a named zone; `None` outside the calendar.
pub(super) fn offset_at(zone: Tz, seconds: i64) -> Option<i32> {
    let at = within_data(DateTime::from_timestamp(seconds, 0)?.naive_utc());
    Some(match zone {
        Tz::Floating => return None,
        Tz::Fixed(offset) => offset.local_minus_utc(),
        Tz::Tz(zone) => zone.offset_from_utc_datetime(&at).fix().local_minus_utc(),
    })
}

/// A time after the data of the zones ends, on the same day of a year within it that is as long and begins on the same
/// weekday: rules go on, as those of a VTIMEZONE do.
pub(super) fn within_data(at: NaiveDateTime) -> NaiveDateTime {
    if at.year() <= LAST_YEAR {
        return at;
    }
    let kind = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1).map(|first| (first.weekday(), first.leap_year()));
    let like = (LAST_YEAR - 27..=LAST_YEAR).find(|year| kind(*year) == kind(at.year()));
    like.and_then(|year| at.with_year(year)).unwrap_or(at)
}

/// What people call the offset in use at an instant: `CEST`, `+03`.
pub(super) fn abbreviation(zone: Tz, seconds: i64) -> String {
    match (zone, DateTime::from_timestamp(seconds, 0)) {
        (Tz::Tz(zone), Some(at)) => zone.offset_from_utc_datetime(&at.naive_utc()).to_string(),
        _ => String::new(),
    }
}

fn exact(name: &str) -> Option<Tz> {
    if name.starts_with(['(', '/']) {
        return None;
    }
    name.parse::<Tz>().ok().filter(|z| !z.is_floating())
}

/// The same without regard to case, and with `-` or `_` in the place of `/`.
fn loose(name: &str) -> Option<Tz> {
    let lower = name.to_lowercase();
    let names = iana();
    let found = names.get(&lower).or_else(|| names.get(&lower.replacen(['-', '_'], "/", 1)));
    if let Some(zone) = found {
        return Some(*zone);
    }
    // Microsoft's names: `W. Europe Standard Time`, `US Eastern Standard Time`, `AUS Central Standard Time`.
    let word = |w: &str| match w {
        "us" | "aus" | "utc" | "gmt" | "sa" => w.to_uppercase(),
        "and" | "of" => w.to_owned(),
        _ => {
            let at = w.find(char::is_alphabetic).unwrap_or(0);
            let first = w[at..].chars().next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
            format!("{}{first}{}", &w[..at], w[at..].chars().skip(1).collect::<String>())
        }
    };
    exact(&lower.split_whitespace().map(word).collect::<Vec<_>>().join(" "))
}

/// `/mozilla.org/20050126_1/Europe/Berlin`, `tzone://Microsoft/Utc`: the longest end that is a name.
fn path(id: &str) -> Option<Tz> {
    let any = id.starts_with('/') || id.contains("://");
    let ends = id.match_indices('/').map(|(i, _)| &id[i + 1..]).filter(|e| any || e.contains('/'));
    ends.filter(|e| !e.is_empty()).find_map(|end| exact(end).or_else(|| iana().get(&end.to_lowercase()).copied()))
}

/// `(UTC+01:00) Amsterdam, Berlin`, `(GMT+05.30) Calcutta`: the offset and the rest.
fn prefixed(id: &str) -> Option<(i32, &str)> {
    let (offset, name) = id.strip_prefix('(')?.split_once(')')?;
    Some((zone_offset(&offset.replace('.', ":"))?, name.trim()))
}

/// `GMT+0100`, `UTC-5`, `UTC`, `+01:00`.
fn zone_offset(text: &str) -> Option<i32> {
    let text = text.trim();
    let rest = match text.get(..3).filter(|p| p.eq_ignore_ascii_case("UTC") || p.eq_ignore_ascii_case("GMT")) {
        Some(_) => text[3..].trim(),
        None => text,
    };
    // A bare number names many things.
    match rest.as_bytes().first() {
        None => Some(0),
        Some(b'+' | b'-') => time::offset_seconds(rest).filter(|o| o.abs() <= 18 * 3600),
        Some(_) => None,
    }
}

fn fixed(offset: i32) -> Option<Tz> {
    // calcard numbers fixed zones by their minutes, and has no number for none.
    if offset.abs() < 60 {
        return Some(Tz::UTC);
    }
    FixedOffset::east_opt(offset).map(Tz::Fixed)
}

/// IANA names in lower case.
fn iana() -> &'static HashMap<String, Tz> {
    static NAMES: OnceLock<HashMap<String, Tz>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let zones = (0..2_000).filter_map(Tz::from_id);
        let named = |zone: Tz| match zone {
            Tz::Tz(z) => Some((z.name().to_lowercase(), zone)),
            _ => None,
        };
        zones.filter_map(named).collect()
    })
}

/// Cities in lower case, by the IANA zones that bear their names.
fn city(name: &str) -> Option<Tz> {
    static CITIES: OnceLock<HashMap<String, Tz>> = OnceLock::new();
    let cities = CITIES.get_or_init(|| {
        let mut cities = HashMap::new();
        for zone in iana().values() {
            let Tz::Tz(named) = zone else { continue };
            let Some((region, city)) = named.name().split_once('/') else { continue };
            let state = region == "Australia" && matches!(city, "North" | "South" | "West");
            if REGIONS.contains(&region) && !state {
                let city = city.rsplit('/').next().unwrap_or(city).replace('_', " ").to_lowercase();
                cities.insert(city, *zone);
            }
        }
        cities.extend(MORE_CITIES.iter().filter_map(|(city, zone)| Some((String::from(*city), exact(zone)?))));
        cities
    });
    cities.get(name).copied()
}

/// A list of cities, as Microsoft and others show zones: the first that the offset, or else another one, agrees with.
fn cities(text: &str, offset: Option<i32>) -> Option<Tz> {
    let lower = text.to_lowercase();
    let mut found = lower.split([',', ';', ':', '/', '&']).filter_map(|c| city(c.trim()));
    if let Some(offset) = offset {
        return found.find(|z| WINTER_AND_SUMMER.iter().any(|at| offset_at(*z, *at) == Some(offset)));
    }
    // Without an offset a path would be taken for a list.
    if text.contains('/') {
        return None;
    }
    let first = found.next()?;
    let same = |z: &Tz| WINTER_AND_SUMMER.iter().all(|at| offset_at(*z, *at) == offset_at(first, *at));
    let others: Vec<Tz> = found.collect();
    (!others.is_empty() && others.iter().all(same)).then_some(first)
}
