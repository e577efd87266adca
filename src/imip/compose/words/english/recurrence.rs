//! Rules in English: `On the first and third Monday of every second month until 30 June 2026, at 09:00 and 14:00`.

use chrono::Weekday;

use super::{MONTHS, list, number, short_day, time};
use crate::imip::compose::pattern::{Days, Months, Pattern, Phrase, Unit};

/// In lower case, as it stands inside a sentence.
pub(super) fn rule(phrase: &Phrase) -> String {
    let mut text = pattern(&phrase.pattern);
    if !phrase.times.is_empty() {
        text.push_str(" at ");
        text.push_str(&list(&phrase.times.iter().map(|t| time(*t)).collect::<Vec<_>>()));
    }
    if let Some(until) = phrase.until {
        text.push_str(" until ");
        text.push_str(&short_day(until));
    }
    match phrase.count {
        None => {}
        Some(1) => text.push_str(", once"),
        Some(2) => text.push_str(", twice"),
        Some(n) => text.push_str(&format!(", {n} times")),
    }
    text
}

fn pattern(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Every(n, unit) => every(*n, unit_name(*unit)),
        Pattern::Weekly(1, days) => each(days),
        Pattern::Weekly(n, Days::Any) => format!("on all days of {}", every(*n, "week")),
        Pattern::Weekly(n, Days::Working) => format!("{} from Monday to Friday", every(*n, "week")),
        Pattern::Weekly(n, days) => format!("{} on {}", every(*n, "week"), named(days, "and")),
        Pattern::DaysIn(days, months) => format!("{} {}", each(days), of(months, "in")),
        Pattern::Nth(positions, days, months) => {
            format!("on the {} {} {}", positions_named(positions), one_of(days), of(months, "of"))
        }
        Pattern::MonthDays(days, Months::Of(months, n)) => match (&days[..], &months[..]) {
            ([day], [month]) if *day > 0 => format!("{} on {day} {}", every(*n, "year"), month_name(*month)),
            _ => format!("{} on the {} of {}", every(*n, "year"), month_days(days), month_list(months)),
        },
        Pattern::MonthDays(days, months) => format!("on the {} {}", month_days(days), of(months, "of")),
        Pattern::MonthDaysWhen(days, weekdays, months) => {
            format!("on the {} {}, when it is {}", month_days(days), of(months, "of"), article(weekdays))
        }
        Pattern::NthOfYear(positions, days, n) => {
            format!("on the {} {} of {}", positions_named(positions), one_of(days), every(*n, "year"))
        }
        Pattern::YearDays(days, n) => {
            let days: Vec<String> = days.iter().map(|d| counted(i32::from(*d))).collect();
            format!("on the {} day of {}", list(&days), every(*n, "year"))
        }
        Pattern::Weeks(weeks, days, n) => {
            let from_end = weeks.iter().any(|w| *w < 0);
            let weeks = if from_end {
                format!("the {} week", list(&weeks.iter().map(|w| counted(i32::from(*w))).collect::<Vec<_>>()))
            } else {
                let names: Vec<String> = weeks.iter().map(ToString::to_string).collect();
                format!("week{} {}", if weeks.len() > 1 { "s" } else { "" }, list(&names))
            };
            format!("on {} of {weeks} of {}", named(days, "and"), every(*n, "year"))
        }
    }
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Second => "second",
        Unit::Minute => "minute",
        Unit::Hour => "hour",
        Unit::Day => "day",
    }
}

/// `every month`, `every second month`, `every 3 months`.
fn every(n: u32, unit: &str) -> String {
    match n {
        0 | 1 => format!("every {unit}"),
        // `every second second` says nothing.
        2 if unit != "second" => format!("every second {unit}"),
        n => format!("every {n} {unit}s"),
    }
}

/// `every day`, `every weekday (Monday to Friday)`, `every Tuesday and Thursday`.
fn each(days: &Days) -> String {
    match days {
        Days::Any => "every day".to_owned(),
        Days::Working => "every weekday (Monday to Friday)".to_owned(),
        Days::Weekend => "every Saturday and Sunday".to_owned(),
        Days::These(_) => format!("every {}", named(days, "and")),
    }
}

fn named(days: &Days, joint: &str) -> String {
    match days {
        Days::Any => "every day".to_owned(),
        Days::Working => "Monday to Friday".to_owned(),
        Days::Weekend => format!("Saturday {joint} Sunday"),
        Days::These(these) => joined(&these.iter().map(|d| weekday(*d).to_owned()).collect::<Vec<_>>(), joint),
    }
}

/// What a position counts.
fn one_of(days: &Days) -> String {
    match days {
        Days::Any => "day".to_owned(),
        Days::Working => "weekday (Monday to Friday)".to_owned(),
        Days::Weekend => "weekend day".to_owned(),
        Days::These(_) => named(days, "or"),
    }
}

fn article(days: &Days) -> String {
    match days {
        Days::Any => "any day".to_owned(),
        Days::Working => "a weekday (Monday to Friday)".to_owned(),
        Days::Weekend => "a weekend day".to_owned(),
        Days::These(_) => format!("a {}", named(days, "or")),
    }
}

/// `of every month`, `in January and July`, `of July of every second year`.
fn of(months: &Months, preposition: &str) -> String {
    match months {
        Months::Every(n) => format!("of {}", every(*n, "month")),
        Months::Of(months, 1) => format!("{preposition} {}", month_list(months)),
        Months::Of(months, n) => format!("{preposition} {} {}", month_list(months), every(*n, "year")),
    }
}

fn month_name(month: u8) -> &'static str {
    MONTHS.get(usize::from(month).wrapping_sub(1)).copied().unwrap_or("another month")
}

fn month_list(months: &[u8]) -> String {
    list(&months.iter().map(|m| month_name(*m).to_owned()).collect::<Vec<_>>())
}

/// `1st and 15th`, `last day`.
fn month_days(days: &[i8]) -> String {
    let from_end = days.iter().any(|d| *d < 0);
    let text = list(&days.iter().map(|d| counted(i32::from(*d))).collect::<Vec<_>>());
    if from_end { format!("{text} day") } else { text }
}

fn positions_named(positions: &[i16]) -> String {
    let name = |n: &i16| match n {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        4 => "fourth".to_owned(),
        5 => "fifth".to_owned(),
        n => counted(i32::from(*n)),
    };
    list(&positions.iter().map(name).collect::<Vec<_>>())
}

/// `3rd`, `last`, `second-to-last`, `12th-to-last`.
fn counted(n: i32) -> String {
    match n {
        -1 => "last".to_owned(),
        -2 => "second-to-last".to_owned(),
        -3 => "third-to-last".to_owned(),
        n if n < 0 => format!("{}-to-last", number(n.unsigned_abs())),
        n => number(n.unsigned_abs()),
    }
}

pub(super) fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "Monday",
        Weekday::Tue => "Tuesday",
        Weekday::Wed => "Wednesday",
        Weekday::Thu => "Thursday",
        Weekday::Fri => "Friday",
        Weekday::Sat => "Saturday",
        Weekday::Sun => "Sunday",
    }
}

fn joined(parts: &[String], joint: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} {joint} {last}", head.join(", ")),
    }
}

/// For tests and lists alike.
pub(super) fn and(parts: &[String]) -> String {
    joined(parts, "and")
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, NaiveDateTime, Weekday};

    use super::*;
    use crate::calendar::recur::Until;
    use crate::calendar::recur::ical::{Frequency, Rule};
    use crate::imip::compose::words::Language;

    const fn bare(frequency: Frequency) -> Rule {
        Rule {
            frequency,
            interval: 1,
            count: None,
            until: None,
            by_second: Vec::new(),
            by_minute: Vec::new(),
            by_hour: Vec::new(),
            by_day: Vec::new(),
            by_month_day: Vec::new(),
            by_year_day: Vec::new(),
            by_week_no: Vec::new(),
            by_month: Vec::new(),
            by_set_pos: Vec::new(),
            week_start: None,
        }
    }

    /// `DTSTART:20260505T093000`, a Tuesday.
    fn said(change: impl FnOnce(&mut Rule), frequency: Frequency) -> Option<String> {
        let start: NaiveDateTime = "2026-05-05T09:30:00".parse().unwrap();
        let mut rule = bare(frequency);
        change(&mut rule);
        Phrase::of(&rule, start, &|at| at + chrono::Duration::hours(2)).map(|p| Language::English.words().rule(&p))
    }

    #[test]
    fn rules_as_a_person_says_them() {
        use Frequency::{Daily, Hourly, Monthly, Weekly, Yearly};
        use Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
        type Change = fn(&mut Rule);
        let working = |r: &mut Rule| r.by_day = [Mon, Tue, Wed, Thu, Fri].map(|d| (0, d)).to_vec();
        let table: Vec<(Frequency, Change, &str)> = vec![
            (Daily, |_| (), "Every day"),
            (Daily, |r| r.interval = 2, "Every second day"),
            (Daily, |r| (r.interval, r.count) = (3, Some(10)), "Every 3 days, 10 times"),
            (Daily, working, "Every weekday (Monday to Friday)"),
            (Daily, |r| r.by_month = vec![1], "Every day in January"),
            (Hourly, |r| r.interval = 4, "Every 4 hours"),
            (Weekly, |_| (), "Every Tuesday"),
            (Weekly, working, "Every weekday (Monday to Friday)"),
            (Weekly, |r| r.by_day = vec![(0, Thu), (0, Tue)], "Every Tuesday and Thursday"),
            (
                Weekly,
                |r| {
                    r.by_day = vec![(0, Tue), (0, Thu)];
                    (r.interval, r.count) = (2, Some(10));
                    r.until = Some(Until::Date(NaiveDate::from_ymd_opt(2026, 6, 30).unwrap()));
                },
                "Every second week on Tuesday and Thursday until 30 June 2026, 10 times",
            ),
            (Monthly, |_| (), "On the 5th of every month"),
            (Monthly, |r| r.by_month_day = vec![15, 1], "On the 1st and 15th of every month"),
            (Monthly, |r| r.by_month_day = vec![-1], "On the last day of every month"),
            (Monthly, |r| r.by_day = vec![(-1, Fri)], "On the last Friday of every month"),
            (Monthly, |r| r.by_day = vec![(1, Mon), (3, Mon)], "On the first and third Monday of every month"),
            (Monthly, |r| (r.by_day, r.interval) = (vec![(2, Tue)], 3), "On the second Tuesday of every 3 months"),
            (
                Monthly,
                |r| {
                    r.by_day = [Mon, Tue, Wed, Thu, Fri].map(|d| (0, d)).to_vec();
                    r.by_set_pos = vec![-1];
                },
                "On the last weekday (Monday to Friday) of every month",
            ),
            (Monthly, |r| (r.by_day, r.by_set_pos) = (vec![(0, Mon), (0, Tue)], vec![1]), "On the first Monday or Tuesday of every month"),
            (Monthly, |r| (r.by_day, r.by_month_day) = (vec![(0, Fri)], vec![13]), "On the 13th of every month, when it is a Friday"),
            (Monthly, |r| (r.by_day, r.by_month_day) = (vec![(0, Sat)], (8..15).collect()), "On the second Saturday of every month"),
            (Yearly, |_| (), "Every year on 5 May"),
            (Yearly, |r| (r.by_month, r.by_month_day, r.interval) = (vec![5], vec![3], 2), "Every second year on 3 May"),
            (Yearly, |r| (r.by_month, r.by_day) = (vec![10], vec![(-1, Sun)]), "On the last Sunday of October"),
            (Yearly, |r| (r.by_month, r.by_day) = (vec![7, 1], vec![(0, Sun)]), "Every Sunday in January and July"),
            (Yearly, |r| (r.by_month, r.by_month_day) = (vec![1, 7], vec![1, 15]), "Every year on the 1st and 15th of January and July"),
            (Yearly, |r| r.by_day = vec![(20, Mon)], "On the 20th Monday of every year"),
            (Yearly, |r| r.by_year_day = vec![100, -1], "On the 100th and last day of every year"),
            (Yearly, |r| r.by_week_no = vec![20], "On Tuesday of week 20 of every year"),
            (Weekly, |r| r.by_hour = vec![9, 14], "Every Tuesday at 09:30 and 14:30"),
            (Weekly, |r| (r.by_hour, r.by_minute) = (vec![9], vec![30]), "Every Tuesday"),
            (Weekly, |r| r.until = Some(Until::Utc("2026-06-30T22:30:00".parse().unwrap())), "Every Tuesday until 1 July 2026"),
        ];
        for (frequency, change, expected) in table {
            assert_eq!(said(change, frequency).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_no_phrase_says_in_full_is_not_said() {
        use Frequency::{Daily, Hourly, Monthly, Yearly};
        type Change = fn(&mut Rule);
        let table: Vec<(Frequency, Change)> = vec![
            (Hourly, |r| r.by_hour = vec![9, 10]),
            (Daily, |r| (r.interval, r.by_day) = (2, vec![(0, Weekday::Mon)])),
            (Monthly, |r| (r.by_month_day, r.by_set_pos) = (vec![1, 2], vec![1])),
            (Monthly, |r| (r.interval, r.by_month) = (2, vec![3])),
            (Monthly, |r| r.by_day = vec![(1, Weekday::Mon), (2, Weekday::Tue)]),
            (Yearly, |r| (r.by_month, r.by_day, r.by_set_pos) = (vec![1, 2], vec![(0, Weekday::Mon)], vec![1])),
            (Yearly, |r| (r.by_hour, r.by_minute) = (vec![1, 2], vec![3, 4])),
            (Monthly, |r| r.by_month_day = (1..31).collect()),
        ];
        for (i, (frequency, change)) in table.into_iter().enumerate() {
            assert_eq!(said(change, frequency), None, "{i}");
        }
    }
}
