//! RRULE and EXRULE of iCalendar (RFC 5545 3.3.10) as a value.

use chrono::Weekday;

use super::{RuleError, Until};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Frequency {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub frequency: Frequency,
    pub interval: u32,
    pub count: Option<u32>,
    pub until: Option<Until>,
    pub by_second: Vec<u8>,
    pub by_minute: Vec<u8>,
    pub by_hour: Vec<u8>,
    /// (0 for every one, 1 first, -1 last; weekday).
    pub by_day: Vec<(i16, Weekday)>,
    pub by_month_day: Vec<i8>,
    pub by_year_day: Vec<i16>,
    pub by_week_no: Vec<i8>,
    pub by_month: Vec<u8>,
    pub by_set_pos: Vec<i16>,
    pub week_start: Option<Weekday>,
}

impl Rule {
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        Err(RuleError(text.to_owned()))
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
