//! What proptest makes up: rules of both grammars over starts of every kind.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::expand::Either;
use super::super::ical::{self, Frequency};
use super::super::vcal::{self, Day, Group, Kind};
use super::super::{Frame, Said, Until, translate};
use super::{all_day, floating, instances, zoned};

/// Enough to see a difference, and few enough to be quick.
const LIMIT: usize = 300;

pub(super) fn start() -> impl Strategy<Value = NaiveDateTime> {
    let edges = select(vec!["20000229", "19990131", "20041231", "20010101", "20030228", "19960331", "20240229", "20081026"]);
    let edges = edges.prop_map(|d| NaiveDate::parse_from_str(d, "%Y%m%d").unwrap());
    let any = (0i64..9000).prop_map(|d| NaiveDate::from_ymd_opt(1996, 4, 1).unwrap() + chrono::Duration::days(d));
    (prop_oneof![edges, any], select(vec![(0, 0, 0), (9, 0, 0), (12, 0, 0), (13, 30, 0), (23, 45, 0), (8, 15, 30)]))
        .prop_map(|(d, (h, m, s))| d.and_hms_opt(h, m, s).unwrap())
}

/// An end some time after 1996, in every shape.
fn until() -> impl Strategy<Value = Until> {
    let at = (0i64..12_000, 0u32..24)
        .prop_map(|(d, h)| (NaiveDate::from_ymd_opt(1996, 4, 1).unwrap() + chrono::Duration::days(d)).and_hms_opt(h, 0, 0).unwrap());
    (at, 0..3).prop_map(|(at, shape)| match shape {
        0 => Until::Date(at.date()),
        1 => Until::Local(at),
        _ => Until::Utc(at),
    })
}

fn weekday() -> impl Strategy<Value = Weekday> {
    (0u8..7).prop_map(|n| Weekday::try_from(n).unwrap())
}

fn weekdays() -> impl Strategy<Value = Vec<Weekday>> {
    subsequence((0u8..7).map(|n| Weekday::try_from(n).unwrap()).collect::<Vec<_>>(), 0..=7)
}

fn times() -> impl Strategy<Value = Vec<NaiveTime>> {
    let time = (select(vec![0u32, 9, 12, 14]), select(vec![0u32, 30])).prop_map(|(h, m)| NaiveTime::from_hms_opt(h, m, 0).unwrap());
    prop_oneof![3 => Just(Vec::new()), 1 => vec(time, 1..4)]
}

fn day() -> impl Strategy<Value = Day> {
    (weekday(), times()).prop_map(|(weekday, times)| Day { weekday, times })
}

fn group() -> impl Strategy<Value = Group> {
    (vec(select(vec![1i8, 2, 3, 4, 5, -1, -2, -3, -4, -5]), 1..4), vec(day(), 1..3)).prop_map(|(positions, days)| Group { positions, days })
}

fn kind() -> impl Strategy<Value = Kind> {
    let last = (vec(select(vec![1i8, 2, -1]), 1..3)).prop_map(|positions| Group { positions, days: Vec::new() });
    let positions = (vec(group(), 0..3), option::of(last)).prop_map(|(mut groups, last)| {
        groups.extend(last);
        Kind::Positions(groups)
    });
    prop_oneof![
        times().prop_map(Kind::Daily),
        vec(day(), 0..4).prop_map(Kind::Weekly),
        positions,
        vec(select(vec![1i8, 10, 15, 28, 29, 30, 31, -1, -3, -31]), 0..4).prop_map(Kind::MonthDays),
        vec(1u8..=12, 0..4).prop_map(Kind::Months),
        vec(select(vec![1u16, 59, 60, 100, 200, 365, 366]), 0..4).prop_map(Kind::YearDays),
    ]
}

fn flat() -> impl Strategy<Value = vcal::Rule> {
    let minutes =
        (1u32..2000, 1u32..50).prop_map(|(interval, n)| vcal::Rule { count: Some(n), ..vcal::Rule::new(Kind::Minutes, interval) });
    let others =
        (kind(), 1u32..5, option::weighted(0.6, 1u32..40)).prop_map(|(kind, n, count)| vcal::Rule { count, ..vcal::Rule::new(kind, n) });
    prop_oneof![1 => minutes, 8 => others]
}

fn few<T: Clone + std::fmt::Debug + 'static>(list: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let most = list.len().min(3);
    prop_oneof![2 => Just(Vec::new()), 1 => subsequence(list, 1..=most)]
}

fn vcal_rule() -> impl Strategy<Value = vcal::Rule> {
    (flat(), option::weighted(0.5, until()), option::weighted(0.1, 0usize..4), option::weighted(0.2, flat())).prop_map(
        |(mut rule, until, mark, inner)| {
            rule.until = until;
            // A mark stands on an entry that is there.
            let words = rule.to_string().split(' ').count();
            let ends = 1 + usize::from(rule.count.is_some() || until.is_none()) + usize::from(until.is_some());
            rule.mark = mark.filter(|m| *m + ends < words);
            rule.inner = inner.map(Box::new);
            rule
        },
    )
}

pub(super) fn ical_rule() -> impl Strategy<Value = ical::Rule> {
    let frequency = prop_oneof![
        1 => Just(Frequency::Minutely),
        1 => Just(Frequency::Hourly),
        4 => Just(Frequency::Daily),
        4 => Just(Frequency::Weekly),
        6 => Just(Frequency::Monthly),
        6 => Just(Frequency::Yearly),
    ];
    let by_day = prop_oneof![
        2 => Just(Vec::new()),
        2 => weekdays().prop_map(|days| days.into_iter().map(|d| (0, d)).collect()),
        2 => vec((select(vec![1i16, 2, 3, 4, 5, -1, -2]), weekday()), 1..3).prop_map(|mut days| {
            days.dedup();
            days
        }),
    ];
    let by_month_day =
        prop_oneof![4 => few(vec![1i8, 13, 15, 29, 30, 31, -1, -2]), 1 => Just((8..=14).collect()), 1 => Just((-7..=-1).collect())];
    let by_month = prop_oneof![2 => few((1..=12).collect::<Vec<u8>>()), 1 => Just(vec![1, 4, 7, 10])];
    let rare = (few(vec![1i16, 100, 366, -1]), few(vec![1i8, 20, 53, -1]), 0..12).prop_map(|(days, weeks, which)| match which {
        0 => (days, Vec::new()),
        1 => (Vec::new(), weeks),
        _ => (Vec::new(), Vec::new()),
    });
    let positions = prop_oneof![4 => Just(Vec::new()), 1 => few(vec![1i16, 2, -1])];
    let clock = (few(vec![9u8, 12, 17]), few(vec![0u8, 30]), 0..4)
        .prop_map(|(h, m, which)| if which == 0 { (h, m) } else { (Vec::new(), Vec::new()) });
    let end = (option::weighted(0.5, 1u32..40), option::weighted(0.3, until()));
    (frequency, 1u32..5, end, by_day, by_month_day, by_month, rare, positions, clock, option::of(weekday())).prop_map(
        |(
            frequency,
            interval,
            (count, until),
            by_day,
            by_month_day,
            by_month,
            (by_year_day, by_week_no),
            by_set_pos,
            (by_hour, by_minute),
            week_start,
        )| {
            ical::Rule {
                interval,
                count,
                until,
                by_minute,
                by_hour,
                by_day,
                by_month_day,
                by_year_day,
                by_week_no,
                by_month,
                by_set_pos,
                week_start,
                ..ical::Rule::new(frequency)
            }
        },
    )
}

pub(super) fn frames(start: NaiveDateTime) -> [Frame<'static>; 3] {
    [floating(start), zoned(start), all_day(start)]
}

/// The rule in its own grammar against what became of it.
fn compare(own: Either, said: Result<Vec<Either>, Vec<NaiveDateTime>>, frame: &Frame<'_>) -> Result<(), TestCaseError> {
    let shown = format!("{own:?}\n{said:?}\n{}", frame.start);
    let before = instances(vec![own], frame, LIMIT);
    match said {
        Ok(rules) => {
            let after = instances(rules, frame, LIMIT);
            prop_assert_eq!(&before, &after, "{}", shown);
        }
        Err(mut dates) => {
            dates.push(frame.start);
            dates.sort_unstable();
            dates.retain(|d| *d < frame.start + chrono::Duration::days(3653));
            prop_assert_eq!(&before.starts, &dates, "{}", shown);
            prop_assert!(before.complete);
        }
    }
    Ok(())
}

pub(super) fn from_vcalendar(rule: &vcal::Rule, frame: &Frame<'_>) -> Result<(), TestCaseError> {
    let own = Either::VCal(rule.clone());
    match translate::to_ical(rule, frame) {
        Said::Rules(rules) => compare(own, Ok(rules.into_iter().map(Either::ICal).collect()), frame)?,
        Said::Dates(dates) => compare(own, Err(dates), frame)?,
        Said::Neither(why) => prop_assert!(!why.is_empty()),
    }
    Ok(())
}

pub(super) fn from_icalendar(rule: &ical::Rule, frame: &Frame<'_>) -> Result<(), TestCaseError> {
    let own = Either::ICal(rule.clone());
    match translate::to_vcal(rule, frame) {
        Said::Rules(rules) => compare(own, Ok(rules.into_iter().map(Either::VCal).collect()), frame)?,
        Said::Dates(dates) => compare(own, Err(dates), frame)?,
        Said::Neither(why) => prop_assert!(!why.is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::calendar::tests::cases(300))]

    #[test]
    fn what_is_written_reads_as_the_same_rule(v in vcal_rule(), i in ical_rule()) {
        prop_assert_eq!(vcal::Rule::parse(&v.to_string()), Ok(v.clone()), "{}", v);
        prop_assert_eq!(ical::Rule::parse(&i.to_string()), Ok(i.clone()), "{}", i);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ DWMPYTUMOSULD#$+;,0-9:-]{0,40}") {
        if let Ok(rule) = vcal::Rule::parse(&text) {
            prop_assert_eq!(vcal::Rule::parse(&rule.to_string()), Ok(rule));
        }
        let _ = ical::Rule::parse(&text);
    }

    #[test]
    fn from_vcalendar_the_instances_stay(rule in vcal_rule(), start in start(), which in 0usize..3) {
        from_vcalendar(&rule, &frames(start)[which])?;
    }

    #[test]
    fn from_icalendar_the_instances_stay(rule in ical_rule(), start in start(), which in 0usize..3) {
        from_icalendar(&rule, &frames(start)[which])?;
    }
}
