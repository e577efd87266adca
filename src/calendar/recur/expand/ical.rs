//! The periods of an iCalendar rule (RFC 5545 3.3.10).
//!
//! A part that the table there calls "N/A" limits like the others. BYWEEKNO without BYDAY takes DTSTART's weekday. On
//! dates BYHOUR, BYMINUTE and BYSECOND are ignored, as the RFC has it.

use chrono::{Datelike, Duration, Months, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Weekday};

use super::super::Frame;
use super::super::ical::{Frequency, Rule};
use super::{Budget, Passes};

pub(super) struct Periods<'a> {
    rule: &'a Rule,
    start: NaiveDateTime,
    week_start: Weekday,
    /// The next period, counted from DTSTART's.
    index: i64,
    months: Vec<u32>,
    month_days: Vec<i32>,
    /// (nth in month or year, 0: each; weekday).
    days: Vec<(i32, Weekday)>,
    hours: Vec<u32>,
    minutes: Vec<u32>,
    seconds: Vec<u32>,
}

fn sorted<T: Copy + Into<u32>>(list: &[T]) -> Vec<u32> {
    let mut list: Vec<u32> = list.iter().map(|n| (*n).into()).collect();
    list.sort_unstable();
    list.dedup();
    list
}

impl<'a> Periods<'a> {
    pub fn new(rule: &'a Rule, frame: &Frame<'_>) -> Self {
        use Frequency as F;
        let start = frame.start;
        let (frequency, timed) = (rule.frequency, !frame.all_day);
        let times = |list: &[u8]| if timed { sorted(list) } else { Vec::new() };
        let (mut hours, mut minutes, mut seconds) = (times(&rule.by_hour), times(&rule.by_minute), times(&rule.by_second));
        // What the rule does not say below its frequency, DTSTART says.
        for (list, own, below) in [
            (&mut hours, start.hour(), F::Hourly),
            (&mut minutes, start.minute(), F::Minutely),
            (&mut seconds, start.second(), F::Secondly),
        ] {
            if list.is_empty() && frequency > below {
                list.push(own);
            }
        }
        let (mut months, mut month_days) = (sorted(&rule.by_month), rule.by_month_day.iter().map(|d| i32::from(*d)).collect::<Vec<_>>());
        let nth_counts = matches!(frequency, F::Monthly | F::Yearly) && rule.by_week_no.is_empty();
        let mut days: Vec<(i32, Weekday)> = rule.by_day.iter().map(|(n, d)| (if nth_counts { i32::from(*n) } else { 0 }, *d)).collect();
        if rule.by_year_day.is_empty() && month_days.is_empty() && days.is_empty() {
            match frequency {
                F::Yearly if !rule.by_week_no.is_empty() => days.push((0, start.weekday())),
                F::Yearly | F::Monthly => {
                    if frequency == F::Yearly && months.is_empty() {
                        months.push(start.month());
                    }
                    month_days.push(i32::try_from(start.day()).unwrap_or(1));
                }
                F::Weekly => days.push((0, start.weekday())),
                _ => {}
            }
        }
        let week_start = rule.week_start.unwrap_or(Weekday::Mon);
        Self { rule, start, week_start, index: 0, months, month_days, days, hours, minutes, seconds }
    }

    /// Days of the next period.
    fn days(&self, first: NaiveDate) -> Vec<NaiveDate> {
        let all = |count: u32| first.iter_days().take(count as usize).filter(|d| self.fits(*d)).collect::<Vec<_>>();
        match self.rule.frequency {
            Frequency::Yearly if !self.months.is_empty() => {
                let firsts = self.months.iter().filter_map(|m| NaiveDate::from_ymd_opt(first.year(), *m, 1));
                firsts.flat_map(|f| f.iter_days().take(usize::from(f.num_days_in_month())).filter(|d| self.fits(*d))).collect()
            }
            Frequency::Yearly => all(if first.leap_year() { 366 } else { 365 }),
            Frequency::Monthly => all(u32::from(first.num_days_in_month())),
            Frequency::Weekly => all(7),
            _ => all(1),
        }
    }

    fn fits(&self, date: NaiveDate) -> bool {
        let signed = |n: u32| i32::try_from(n).unwrap_or(0);
        let length = i32::from(date.num_days_in_month());
        let year = if date.leap_year() { 366 } else { 365 };
        let (day, ordinal) = (signed(date.day()), signed(date.ordinal()));
        let either = |n: i32, at: i32, of: i32| n == at || n + of + 1 == at;
        (self.months.is_empty() || self.months.contains(&date.month()))
            && (self.month_days.is_empty() || self.month_days.iter().any(|n| either(*n, day, length)))
            && (self.rule.by_year_day.is_empty() || self.rule.by_year_day.iter().any(|n| either(i32::from(*n), ordinal, year)))
            && (self.rule.by_week_no.is_empty() || self.in_week(date))
            && (self.days.is_empty() || self.days.iter().any(|(nth, weekday)| self.is_nth(date, *nth, *weekday)))
    }

    /// In the month, or in the year where no month is named.
    fn is_nth(&self, date: NaiveDate, nth: i32, weekday: Weekday) -> bool {
        if date.weekday() != weekday {
            return false;
        }
        let of_month = self.rule.frequency == Frequency::Monthly || !self.rule.by_month.is_empty();
        let (at, length) = match of_month {
            true => (date.day0(), u32::from(date.num_days_in_month())),
            false => (date.ordinal0(), if date.leap_year() { 366 } else { 365 }),
        };
        let from_end = (length - 1 - at) / 7 + 1;
        nth == 0 || nth.signum() > 0 && nth.unsigned_abs() == at / 7 + 1 || nth < 0 && nth.unsigned_abs() == from_end
    }

    fn in_week(&self, date: NaiveDate) -> bool {
        // The week belongs to the year of its fourth day.
        let first = |day: NaiveDate| day - Duration::days(i64::from(day.weekday().days_since(self.week_start)));
        let year = (first(date) + Duration::days(3)).year();
        let one = |year| NaiveDate::from_ymd_opt(year, 1, 4).map(first);
        let (Some(one), Some(next)) = (one(year), one(year + 1)) else { return false };
        let week = (first(date) - one).num_days() / 7 + 1;
        let weeks = (next - one).num_days() / 7;
        self.rule.by_week_no.iter().any(|n| i64::from(*n) == week || i64::from(*n) + weeks + 1 == week)
    }

    /// The first day of the next period, for frequencies from DAILY on.
    fn period(&self) -> Option<NaiveDate> {
        let steps = self.index.checked_mul(self.rule.interval.into())?;
        let day = self.start.date();
        let add = |day: NaiveDate, days: i64| day.checked_add_signed(Duration::try_days(days)?);
        let found = match self.rule.frequency {
            Frequency::Yearly => NaiveDate::from_ymd_opt(i32::try_from(i64::from(day.year()).checked_add(steps)?).ok()?, 1, 1),
            Frequency::Monthly => day.with_day(1)?.checked_add_months(Months::new(u32::try_from(steps).ok()?)),
            Frequency::Weekly => add(day, steps.checked_mul(7)?.checked_sub(day.weekday().days_since(self.week_start).into())?),
            _ => add(day, steps),
        };
        // Far from the end of what a date can be, so that weeks and months around it can be computed.
        found.filter(|d| d.year() < 200_000)
    }

    /// Seconds between two periods of a frequency below DAILY.
    fn step(&self) -> Option<i64> {
        let unit = match self.rule.frequency {
            Frequency::Hourly => 3600,
            Frequency::Minutely => 60,
            Frequency::Secondly => 1,
            _ => return None,
        };
        Some(unit * i64::from(self.rule.interval))
    }

    fn origin(&self) -> NaiveDateTime {
        let start = self.start;
        let cut = match self.rule.frequency {
            Frequency::Hourly => start.minute() * 60 + start.second(),
            Frequency::Minutely => start.second(),
            _ => 0,
        };
        start - Duration::seconds(cut.into())
    }

    /// The next period's first second, for frequencies below DAILY.
    fn moment(&self, step: i64) -> Option<NaiveDateTime> {
        let at = self.origin().checked_add_signed(Duration::try_seconds(self.index.checked_mul(step)?)?)?;
        Some(at).filter(|at| at.year() < 200_000)
    }

    /// The short period, or nothing and a jump over what cannot fit.
    fn short_pass(&mut self, step: i64) -> Vec<NaiveDateTime> {
        let Some(at) = self.moment(step) else { return Vec::new() };
        let allows = |list: &[u32], n: u32| list.is_empty() || list.contains(&n);
        let frequency = self.rule.frequency;
        let midnight = || at.date().succ_opt().map(|d| d.and_time(NaiveTime::MIN));
        let after = |list: &[u32], n: u32| list.iter().copied().find(|m| *m > n);
        let next = if !self.fits(at.date()) {
            midnight()
        } else if !allows(&self.hours, at.hour()) {
            after(&self.hours, at.hour()).map_or_else(midnight, |hour| at.date().and_hms_opt(hour, 0, 0))
        } else if frequency < Frequency::Hourly && !allows(&self.minutes, at.minute()) {
            let minute = after(&self.minutes, at.minute()).unwrap_or(60);
            let hour = at.date().and_hms_opt(at.hour(), 0, 0).unwrap_or(at);
            hour.checked_add_signed(Duration::minutes(minute.into()))
        } else {
            self.index += 1;
            return self.within(at, frequency, &allows);
        };
        let ahead = next.map_or(step, |n| (n - self.origin()).num_seconds());
        self.index = self.index.saturating_add(1).max(ahead / step + i64::from(ahead % step != 0));
        Vec::new()
    }

    fn within(&self, at: NaiveDateTime, frequency: Frequency, allows: &dyn Fn(&[u32], u32) -> bool) -> Vec<NaiveDateTime> {
        let found: Vec<NaiveDateTime> = match frequency {
            Frequency::Hourly => {
                let each = self.minutes.iter().flat_map(|m| self.seconds.iter().map(move |s| (*m, *s)));
                each.filter_map(|(m, s)| at.with_minute(m)?.with_second(s)).collect()
            }
            Frequency::Minutely => self.seconds.iter().filter_map(|s| at.with_second(*s)).collect(),
            _ => Some(at).filter(|at| allows(&self.seconds, at.second())).into_iter().collect(),
        };
        self.at_positions(found)
    }

    fn times(&self) -> Vec<NaiveTime> {
        let mut times = Vec::new();
        for h in &self.hours {
            for m in &self.minutes {
                times.extend(self.seconds.iter().filter_map(|s| NaiveTime::from_hms_opt(*h, *m, *s)));
            }
        }
        times
    }

    /// BYSETPOS.
    fn at_positions(&self, found: Vec<NaiveDateTime>) -> Vec<NaiveDateTime> {
        if self.rule.by_set_pos.is_empty() {
            return found;
        }
        let place = |n: &i16| match usize::from(n.unsigned_abs()) {
            n0 if *n > 0 => n0.checked_sub(1),
            n0 => found.len().checked_sub(n0),
        };
        let mut places: Vec<usize> = self.rule.by_set_pos.iter().filter_map(place).filter(|p| *p < found.len()).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|p| found[p]).collect()
    }
}

impl Passes for Periods<'_> {
    fn begins(&mut self) -> Option<NaiveDateTime> {
        match self.step() {
            Some(step) => self.moment(step),
            None => self.period().map(|d| d.and_time(NaiveTime::MIN)),
        }
    }

    fn pass(&mut self, budget: &Budget) -> Option<Vec<NaiveDateTime>> {
        if let Some(step) = self.step() {
            budget.spend(4 + self.minutes.len() * self.seconds.len() / 8)?;
            return Some(self.short_pass(step));
        }
        let Some(first) = self.period() else { return Some(Vec::new()) };
        budget.spend(match self.rule.frequency {
            Frequency::Yearly => self.months.len().checked_sub(1).map_or(366, |more| 31 + 31 * more),
            Frequency::Monthly => 31,
            Frequency::Weekly => 7,
            _ => 1,
        })?;
        self.index = self.index.saturating_add(1);
        let days = self.days(first);
        budget.spend(days.len() * self.hours.len() * self.minutes.len() * self.seconds.len())?;
        let times = if days.is_empty() { Vec::new() } else { self.times() };
        Some(self.at_positions(days.iter().flat_map(|d| times.iter().map(|t| d.and_time(*t))).collect()))
    }
}
