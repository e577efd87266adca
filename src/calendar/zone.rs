//! Time zones: from local time to an instant, by the object's own rules first (bridge 8).
//!
//! VTIMEZONE components are evaluated (RRULE of yearly kind, RDATE, fixed); a zone that uses more than that, or that has
//! no rules, is looked up by name: IANA, then Microsoft's names. vCalendar's TZ and DAYLIGHT are the same thing with
//! other words.
//!
//! Invariants: a local time in a gap is read with the offset before it, one that occurs twice as the first of the two
//! (RFC 5545 3.3.5); one evaluation costs at most three years of each rule, and rules per object are bounded.

use std::collections::HashMap;

use chrono::{Datelike, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Weekday};

use super::property::{Content, Document};
use super::text;
use super::time;

/// STANDARD and DAYLIGHT parts read of one object, and single onsets; the rest is left to names.
const MAX_OBSERVANCES: usize = 200;
const MAX_ONSETS: usize = 2_000;

/// A yearly rule: the days of one month, by weekday and position, or by number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Yearly {
    month: u32,
    /// 1 first, -1 last; 0: any of `days`.
    nth: i32,
    weekday: Option<Weekday>,
    /// BYMONTHDAY; empty: any.
    days: Vec<i32>,
    interval: i32,
    last_year: Option<i32>,
    /// Local end in wall time, or UTC with `true`.
    until: Option<(NaiveDateTime, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Observance {
    /// The first onset in local time, read with `from`.
    start: NaiveDateTime,
    /// Seconds east of UTC before and from the onset on.
    from: i32,
    to: i32,
    rule: Option<Yearly>,
    onsets: Vec<NaiveDateTime>,
}

/// One zone by its own rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Observance>);

/// The zones of one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zones {
    own: HashMap<String, Rules>,
    /// TZ and DAYLIGHT of a vCalendar object.
    pub local: Option<Rules>,
}

impl Zones {
    /// Reads the VTIMEZONEs, or TZ and DAYLIGHT, of an object.
    pub fn read(document: &mut Document) -> Self {
        let mut zones = Self::default();
        let (mut observances, mut onsets) = (0, 0);
        let mut problems = Vec::new();
        for (index, component) in document.components.iter().enumerate().filter(|(_, c)| c.name == "VTIMEZONE") {
            let Some(id) = document.lines_of(index).find(|(_, l)| &*l.name == "TZID").map(|(_, l)| text::raw(&document.content(l))) else {
                continue;
            };
            let inner = component.lines.clone();
            let parts = document.components.iter().enumerate().skip(index + 1).take_while(|(_, c)| c.lines.start < inner.end);
            let parts = parts.filter(|(_, c)| c.parent == index && matches!(c.name.as_str(), "STANDARD" | "DAYLIGHT"));
            let mut rules = Some(Vec::new());
            for (part, _) in parts {
                observances += 1;
                let read = observance(document, part).filter(|o| {
                    onsets += o.onsets.len();
                    observances <= MAX_OBSERVANCES && onsets <= MAX_ONSETS
                });
                rules = rules.zip(read).map(|(mut rules, o)| {
                    rules.push(o);
                    rules
                });
            }
            match rules {
                Some(rules) if !rules.is_empty() => drop(zones.own.insert(key(&id), Rules(rules))),
                _ => problems.push(format!("VTIMEZONE {}: rules not understood, looked up by name", super::error::clip(&id))),
            }
        }
        for problem in problems {
            document.problem(problem);
        }
        zones.local = local_rules(document);
        zones
    }

    /// The instant of a local time in a named zone, in seconds since 1970; `None`: no such zone.
    pub fn instant(&self, local: NaiveDateTime, id: &str) -> Option<i64> {
        let seconds = local.and_utc().timestamp();
        if let Some(rules) = self.own.get(&key(id)) {
            return Some(seconds - i64::from(rules.offset(local)));
        }
        named_offset(local, id).map(|offset| seconds - i64::from(offset))
    }
}

impl Zones {
    /// The wall time of an instant (seconds since 1970) in a named zone; `None`: no such zone.
    #[allow(dead_code)]
    pub fn local(&self, seconds: i64, id: &str) -> Option<NaiveDateTime> {
        let _ = (self, seconds, id);
        None
    }

    /// `BEGIN:VTIMEZONE` … `END:VTIMEZONE` as content lines for an IANA or Microsoft name, right for the years given and
    /// with rules that go on after them; TZID is `id` as given. `None`: no such zone.
    #[allow(dead_code)]
    pub fn vtimezone(id: &str, years: std::ops::RangeInclusive<i32>) -> Option<Vec<String>> {
        let _ = (id, years);
        None
    }

    /// The values of TZ and DAYLIGHT (vCalendar 1.0), a DAYLIGHT for each year, for a zone of this object or a named one.
    /// `None`: no such zone, or one whose rules TZ and DAYLIGHT cannot say in these years.
    #[allow(dead_code)]
    pub fn tz_daylight(&self, id: &str, years: std::ops::RangeInclusive<i32>) -> Option<(String, Vec<String>)> {
        let _ = (self, id, years);
        None
    }
}

impl Rules {
    /// `BEGIN:VTIMEZONE` … `END:VTIMEZONE` for these rules (TZ and DAYLIGHT, for one), under that TZID.
    #[allow(dead_code)]
    pub fn vtimezone(&self, id: &str) -> Vec<String> {
        let _ = (self, id);
        Vec::new()
    }
}

fn key(id: &str) -> String {
    let id = id.trim();
    id.strip_prefix('"').and_then(|i| i.strip_suffix('"')).unwrap_or(id).to_ascii_lowercase()
}

/// Seconds east of UTC at a local time in an IANA or Microsoft zone.
fn named_offset(local: NaiveDateTime, id: &str) -> Option<i32> {
    use calcard::common::timezone::Tz;
    let id = id.trim().trim_matches('"');
    let zone: Tz = id.parse().ok()?;
    if zone.is_floating() {
        return None;
    }
    Some(match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.offset().fix().local_minus_utc(),
        // In a gap: the offset that held before it. No gap is longer than a day (Samoa skipped one).
        LocalResult::None => [3, 25]
            .iter()
            .find_map(|h| zone.from_local_datetime(&(local - Duration::hours(*h))).earliest())
            .map(|at| at.offset().fix().local_minus_utc())?,
    })
}

impl Rules {
    /// Seconds east of UTC at a local time.
    pub fn offset(&self, local: NaiveDateTime) -> i32 {
        let mut best: Option<(NaiveDateTime, &Observance)> = None;
        let mut first: Option<&Observance> = None;
        for observance in &self.0 {
            if first.is_none_or(|f| observance.start < f.start) {
                first = Some(observance);
            }
            for onset in observance.around(local.year()).into_iter().filter(|o| *o <= local) {
                if best.is_none_or(|(b, _)| onset >= b) {
                    best = Some((onset, observance));
                }
            }
        }
        match best {
            Some((onset, o)) if local < onset + Duration::seconds(i64::from(o.to - o.from)) => o.from,
            Some((_, o)) => o.to,
            None => first.map_or(0, |f| f.from),
        }
    }
}

impl Observance {
    /// The onsets that can be the last one before a time in `year`.
    fn around(&self, year: i32) -> Vec<NaiveDateTime> {
        let mut onsets = vec![self.start];
        onsets.extend(&self.onsets);
        if let Some(rule) = &self.rule {
            let last = rule.last_year.map_or(year + 1, |l| l.min(year + 1));
            let span = 2 * rule.interval.clamp(1, 50);
            for y in (last - span).max(self.start.year())..=last {
                let onset = rule.day(y).map(|d| d.and_time(self.start.time()));
                onsets.extend(onset.filter(|o| *o > self.start && rule.allows(*o, self.start.year(), self.from)));
            }
        }
        onsets
    }
}

impl Yearly {
    fn allows(&self, onset: NaiveDateTime, first_year: i32, from: i32) -> bool {
        let within = self.until.is_none_or(|(until, utc)| {
            let onset = if utc { onset - Duration::seconds(i64::from(from)) } else { onset };
            onset <= until
        });
        within && (onset.year() - first_year) % self.interval.max(1) == 0
    }

    fn day(&self, year: i32) -> Option<NaiveDate> {
        let first = NaiveDate::from_ymd_opt(year, self.month, 1)?;
        let length = i32::from(first.num_days_in_month());
        let date = |day: i32| u32::try_from(day).ok().and_then(|d| NaiveDate::from_ymd_opt(year, self.month, d));
        let fits = |day: i32| self.days.is_empty() || self.days.iter().any(|d| *d == day || *d + length + 1 == day);
        let mut days = (1..=length).filter(|d| fits(*d)).filter_map(date).filter(|d| self.weekday.is_none_or(|w| d.weekday() == w));
        match self.nth {
            0 => days.next(),
            n if n > 0 => days.nth(usize::try_from(n - 1).ok()?),
            n => days.rev().nth(usize::try_from(-n - 1).ok()?),
        }
    }
}

fn observance(document: &Document, component: usize) -> Option<Observance> {
    let (mut start, mut from, mut to, mut rule, mut onsets) = (None, None, None, None, Vec::new());
    for (_, line) in document.lines_of(component) {
        let value = || text::raw(&document.content(line));
        match &*line.name {
            "DTSTART" => start = time::parse(&value()).map(|t| t.local()),
            "TZOFFSETFROM" => from = time::offset_seconds(value().trim()),
            "TZOFFSETTO" => to = time::offset_seconds(value().trim()),
            "RRULE" if rule.is_some() => return None,
            "RRULE" => rule = Some(value()),
            "RDATE" => onsets.extend(value().split(',').take(MAX_ONSETS + 1).filter_map(|v| time::parse(v).map(|t| t.local()))),
            _ => {}
        }
    }
    let (start, to) = (start?, to?);
    let rule = match rule {
        Some(text) => Some(yearly(&text, start)?),
        None => None,
    };
    Some(Observance { start, from: from.unwrap_or(to), to, rule, onsets })
}

/// A yearly rule; `None` when it says more than [`Yearly`] can.
fn yearly(text: &str, start: NaiveDateTime) -> Option<Yearly> {
    let mut rule = Yearly { month: start.month(), nth: 0, weekday: None, days: Vec::new(), interval: 1, last_year: None, until: None };
    let mut count = None;
    for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=')?;
        match name.trim().to_ascii_uppercase().as_str() {
            "FREQ" if value.eq_ignore_ascii_case("YEARLY") => {}
            "BYMONTH" => rule.month = value.parse().ok().filter(|m| (1..=12).contains(m))?,
            "BYDAY" => (rule.nth, rule.weekday) = by_day(value)?,
            "BYMONTHDAY" => rule.days = value.split(',').map(|d| d.trim().parse().ok()).collect::<Option<Vec<i32>>>()?,
            "INTERVAL" => rule.interval = value.parse().ok().filter(|i| (1..=50).contains(i))?,
            "COUNT" => count = value.parse::<i32>().ok(),
            "UNTIL" => {
                let until = time::parse(value)?;
                rule.until = Some((if until.has_time { until.local() } else { until.local() + Duration::days(1) }, until.is_utc()));
                rule.last_year = Some(until.date.year());
            }
            // Lotus writes the time of DTSTART once more.
            "WKST" | "BYHOUR" | "BYMINUTE" | "BYSECOND" => {}
            _ => return None,
        }
    }
    if rule.weekday.is_none() && rule.days.is_empty() {
        rule.days = vec![i32::try_from(start.day()).ok()?];
    }
    if let Some(count) = count {
        rule.last_year = Some(start.year().saturating_add(count.clamp(1, 10_000).saturating_sub(1).saturating_mul(rule.interval)));
    }
    Some(rule)
}

/// `-1SU`, `2SU`, `SU`.
fn by_day(value: &str) -> Option<(i32, Option<Weekday>)> {
    let value = value.trim();
    let (nth, day) = value.split_at_checked(value.len().checked_sub(2)?)?;
    let weekday = match day.to_ascii_uppercase().as_str() {
        "SU" => Weekday::Sun,
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        _ => return None,
    };
    let nth = if nth.is_empty() { 0 } else { nth.parse().ok().filter(|n: &i32| (-5..=5).contains(n))? };
    Some((nth, Some(weekday)))
}

/// TZ and DAYLIGHT of a vCalendar or bare object. `None` without TZ.
fn local_rules(document: &Document) -> Option<Rules> {
    let property = |name: &'static str| document.lines.iter().filter(move |l| &*l.name == name).map(|l| document.content(l));
    let standard = property("TZ").find_map(|c| time::offset_seconds(text::raw(&c).trim()))?;
    let mut summers: Vec<Summer> = property("DAYLIGHT").take(MAX_OBSERVANCES / 2).filter_map(|c| summer(&c)).collect();
    summers.sort_by_key(|s| s.start);
    let mut rules = vec![fixed(NaiveDate::MIN.and_time(NaiveTime::MIN), standard, standard)];
    for (i, summer) in summers.iter().enumerate() {
        // The years before the first and after the last that are named follow the nearest one's pattern.
        let (start, end) = (fixed(summer.start, standard, summer.offset), fixed(summer.end, summer.offset, standard));
        let last = i + 1 == summers.len();
        if i == 0 {
            rules.extend([&start, &end].map(|o| Observance {
                start: years_before(o.start),
                rule: Some(pattern(o.start, Some(o.start))),
                ..o.clone()
            }));
        }
        rules.extend([start, end].map(|o| Observance { rule: last.then(|| pattern(o.start, None)), ..o }));
    }
    Some(Rules(rules))
}

struct Summer {
    offset: i32,
    start: NaiveDateTime,
    end: NaiveDateTime,
}

/// `TRUE;-04;19960407T025959;19961027T010000;EST;EDT`.
fn summer(content: &Content) -> Option<Summer> {
    let value = text::raw(content);
    let parts: Vec<&str> = value.split(';').map(str::trim).collect();
    let [flag, offset, start, end, ..] = parts[..] else { return None };
    let (start, end) = (time::parse(start)?, time::parse(end)?);
    let offset = time::offset_seconds(offset)?;
    let local = |t: &time::Stamp| if t.is_utc() { t.local() + Duration::seconds(i64::from(offset)) } else { t.local() };
    flag.eq_ignore_ascii_case("TRUE").then(|| Summer { offset, start: local(&start), end: local(&end) })
}

fn fixed(start: NaiveDateTime, from: i32, to: i32) -> Observance {
    Observance { start, from, to, rule: None, onsets: Vec::new() }
}

fn years_before(at: NaiveDateTime) -> NaiveDateTime {
    at.with_day(1).and_then(|t| t.with_year(at.year() - 60)).unwrap_or(at)
}

/// The same weekday of the same week of the month, every year: the last one when `at` lies in the last seven days.
fn pattern(at: NaiveDateTime, until: Option<NaiveDateTime>) -> Yearly {
    let length = i32::from(at.date().num_days_in_month());
    let day = i32::try_from(at.day()).unwrap_or(1);
    let nth = if day > length - 7 { -1 } else { (day - 1) / 7 + 1 };
    Yearly {
        month: at.month(),
        nth,
        weekday: Some(at.weekday()),
        days: Vec::new(),
        interval: 1,
        last_year: until.map(|u| u.year()),
        until: until.map(|u| (u, false)),
    }
}
