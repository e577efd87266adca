//! Rules written as a VTIMEZONE that Outlook and others understand: onsets in wall time, RRULE by month and weekday.

use chrono::{NaiveDateTime, Weekday};

use super::rules::{Observance, Rules, Yearly, wall};
use crate::calendar::{text, time};

impl Rules {
    /// `BEGIN:VTIMEZONE` … `END:VTIMEZONE` as content lines, not folded, for these rules under that TZID.
    pub fn vtimezone(&self, id: &str) -> Vec<String> {
        let mut lines = vec!["BEGIN:VTIMEZONE".to_owned(), format!("TZID:{}", text::escape(id))];
        for part in &*self.parts {
            part.write(&mut lines);
        }
        lines.push("END:VTIMEZONE".to_owned());
        lines
    }
}

impl Observance {
    fn write(&self, lines: &mut Vec<String>) {
        let kind = if self.daylight { "DAYLIGHT" } else { "STANDARD" };
        let first = self.first_onset();
        let start = first.map_or(self.start, |o| self.wall(o));
        lines.push(format!("BEGIN:{kind}"));
        lines.push(format!("DTSTART:{}", time::basic_local(start)));
        lines.extend(self.rule.as_ref().map(|rule| format!("RRULE:{}", rule.text())));
        let dates = self.onsets.iter().filter(|o| Some(**o) != first).map(|o| time::basic_local(self.wall(*o)));
        let dates = dates.collect::<Vec<_>>().join(",");
        if !dates.is_empty() {
            lines.push(format!("RDATE:{dates}"));
        }
        lines.push(format!("TZOFFSETFROM:{}", offset(self.from)));
        lines.push(format!("TZOFFSETTO:{}", offset(self.to)));
        if !self.name.is_empty() {
            lines.push(format!("TZNAME:{}", text::escape(&self.name)));
        }
        lines.push(format!("END:{kind}"));
    }
}

impl Yearly {
    fn text(&self) -> String {
        let mut text = "FREQ=YEARLY".to_owned();
        if self.interval > 1 {
            text.push_str(&format!(";INTERVAL={}", self.interval));
        }
        if self.year_days.is_empty() {
            text.push_str(&format!(";BYMONTH={}", self.month));
            text.push_str(&numbers("BYMONTHDAY", &self.days));
        } else {
            text.push_str(&numbers("BYYEARDAY", &self.year_days));
        }
        let nth = match self.nth {
            0 => String::new(),
            nth => nth.to_string(),
        };
        if let Some(weekday) = self.weekday {
            text.push_str(&format!(";BYDAY={nth}{}", day(weekday)));
        }
        let until = self.until.and_then(|u| wall(u, 0));
        text + &until.map_or_else(String::new, |u: NaiveDateTime| format!(";UNTIL={}Z", time::basic_local(u)))
    }
}

fn numbers(name: &str, days: &[i32]) -> String {
    let days = days.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if days.is_empty() { days } else { format!(";{name}={days}") }
}

fn day(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "MO",
        Weekday::Tue => "TU",
        Weekday::Wed => "WE",
        Weekday::Thu => "TH",
        Weekday::Fri => "FR",
        Weekday::Sat => "SA",
        Weekday::Sun => "SU",
    }
}

/// `+0100`, `-033000` where there are seconds.
pub(super) fn offset(seconds: i32) -> String {
    let (sign, size) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    let text = format!("{sign}{:02}{:02}", size / 3600, size / 60 % 60);
    if size % 60 == 0 { text } else { format!("{text}{:02}", size % 60) }
}
