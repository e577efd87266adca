//! Reads a rule of vCalendar 1.0, word by word.

use chrono::NaiveTime;

use super::super::super::error::clip;
use super::super::{RuleError, Until, weekday};
use super::{Day, Group, Kind, Rule};

/// Rules inside one another; the 1996 grammar has seven kinds.
const MAX_DEPTH: usize = 7;
const MAX_WORDS: usize = 500;
const MAX_INTERVAL: u32 = 1_000_000;

fn fault<T>(text: String) -> Result<T, RuleError> {
    Err(RuleError(text))
}

/// One rule of a nest while it is read.
struct Level {
    kind: Kind,
    interval: u32,
    count: Option<u32>,
    mark: Option<usize>,
    entries: usize,
    /// The last word was a position: the next one belongs to the same group.
    open: bool,
}

pub(super) fn rule(text: &str) -> Result<Rule, RuleError> {
    let words = words(text);
    if words.is_empty() {
        // Symbian's own test objects have it.
        return fault("the rule is empty".to_owned());
    }
    if words.len() > MAX_WORDS {
        return fault(format!("more than {MAX_WORDS} words"));
    }
    let mut levels: Vec<Level> = Vec::new();
    let mut until = None;
    let mut rest = words.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        if let Some((kind, digits)) = kind(word) {
            let digits = match digits {
                // `MP 1- TU`, of a Symbian test: the interval is left out. `W 2 TU`: it stands apart.
                "" => rest.next_if(|w| w.len() < 4 && w.bytes().all(|b| b.is_ascii_digit())).unwrap_or("1"),
                digits => digits,
            };
            let interval = digits.parse().ok().filter(|n| (1..=MAX_INTERVAL).contains(n));
            let Some(interval) = interval else {
                return fault(format!("{}: the interval is not between 1 and {MAX_INTERVAL}", clip(word)));
            };
            if levels.len() >= MAX_DEPTH {
                return fault(format!("more than {MAX_DEPTH} rules inside one another"));
            }
            levels.push(Level { kind, interval, count: None, mark: None, entries: 0, open: false });
            continue;
        }
        let Some(level) = levels.last_mut() else {
            return fault(format!("{} is no kind of rule: D, W, MP, MD, YM, YD or M with an interval is", clip(word)));
        };
        if let Some(number) = word.strip_prefix('#') {
            let Ok(number) = number.parse::<u32>() else { return fault(format!("{} is no number of occurrences", clip(word))) };
            if level.count.replace(number).is_some_and(|n| n != number) {
                return fault("#n stands twice".to_owned());
            }
        } else if word.len() >= 8 && word.as_bytes()[0].is_ascii_digit() {
            let Some(end) = Until::parse(word) else { return fault(format!("{} is no date", clip(word))) };
            if until.replace(end).is_some_and(|e| e != end) {
                return fault("two ends".to_owned());
            }
        } else {
            level.word(word)?;
        }
    }
    build(levels, until)
}

fn build(levels: Vec<Level>, until: Option<Until>) -> Result<Rule, RuleError> {
    let mut built: Option<Rule> = None;
    let outermost = levels.len().saturating_sub(1);
    for (i, level) in levels.into_iter().rev().enumerate() {
        let outer = i == outermost;
        let end = until.filter(|_| outer);
        let count = match level.count {
            // The specification's default, where nothing says how often.
            None if end.is_none() => Some(2),
            None | Some(0) => None,
            some => some,
        };
        let mut rule =
            Rule { count, until: end, mark: level.mark, inner: built.take().map(Box::new), ..Rule::new(level.kind, level.interval) };
        if outer && !rule.is_sayable() {
            // Every minute, for months or for ever, is what nobody means: Nokia's 9110 wrote M1 and Y1 for monthly and
            // yearly.
            rule.kind = Kind::MonthDays(Vec::new());
        }
        built = Some(rule);
    }
    built.ok_or_else(|| RuleError("the rule is empty".to_owned()))
}

/// Blanks, commas and semicolons divide; so does `#` (`D1#3`), which may stand apart from its number.
fn words(text: &str) -> Vec<String> {
    let text = text.to_ascii_uppercase().replace('#', " #");
    let mut words: Vec<String> = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c == ',' || c == ';').filter(|w| !w.is_empty()) {
        match words.last_mut() {
            Some(last) if last == "#" => last.push_str(word),
            // `1996-12-12 09:00:00`: an end in two words.
            Some(last) if word.contains(':') && matches!(Until::parse(last), Some(Until::Date(_))) => {
                last.push('T');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
        if words.len() > MAX_WORDS {
            break;
        }
    }
    words
}

/// `MP12`: the kind and the digits after it; none for a word of a list.
fn kind(word: &str) -> Option<(Kind, &str)> {
    let at = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
    let (name, digits) = word.split_at(at);
    let kind = match name {
        "M" => Kind::Minutes,
        "D" => Kind::Daily(Vec::new()),
        "W" => Kind::Weekly(Vec::new()),
        "MP" => Kind::Positions(Vec::new()),
        "MD" => Kind::MonthDays(Vec::new()),
        // Y1: Nokia's 9110.
        "YM" | "Y" => Kind::Months(Vec::new()),
        "YD" => Kind::YearDays(Vec::new()),
        _ => return None,
    };
    digits.bytes().all(|b| b.is_ascii_digit()).then_some((kind, digits))
}

impl Level {
    /// A word of the list: `TU`, `1130`, `1+`, `3-`, `LD`, `6`, glued together (`1+MO`) or with `$`.
    fn word(&mut self, word: &str) -> Result<(), RuleError> {
        let (body, marked) = match word.strip_suffix('$') {
            Some(body) => (body, true),
            None => (word, false),
        };
        let unsigned = body.bytes().take_while(u8::is_ascii_digit).count();
        let signed = unsigned + usize::from(body[unsigned..].starts_with(['+', '-']));
        if body.is_empty() || !body.is_ascii() {
            return fault(format!("{} is not understood", clip(word)));
        }
        if unsigned > 0 && signed < body.len() {
            // `1+MO`
            self.entry(&body[..signed])?;
            self.entry(&body[signed..])?;
        } else {
            self.entry(body)?;
        }
        if marked {
            self.mark = Some(self.entries - 1);
        }
        Ok(())
    }

    fn entry(&mut self, text: &str) -> Result<(), RuleError> {
        let day = weekday(text);
        let digits = text.trim_end_matches(['+', '-']);
        let number: Option<u16> = digits.parse().ok().filter(|_| text.len() - digits.len() <= 1 && digits.len() < 4);
        let minus = text.ends_with('-');
        let plain = digits.len() == text.len();
        let read = match &mut self.kind {
            Kind::Minutes => None,
            Kind::Daily(times) => clock(text).map(|t| times.push(t)),
            Kind::Weekly(days) => in_days(days, text, day),
            Kind::Positions(groups) => match number.filter(|n| (1..=5).contains(n)) {
                // `2 WE`, without a sign, of a Symbian test.
                Some(n) => {
                    let position = i8::try_from(n).unwrap_or(5) * if minus { -1 } else { 1 };
                    match groups.last_mut().filter(|_| self.open) {
                        Some(group) => group.positions.push(position),
                        None => groups.push(Group { positions: vec![position], days: Vec::new() }),
                    }
                    Some(())
                }
                None => groups.last_mut().and_then(|g| in_days(&mut g.days, text, day)),
            },
            Kind::MonthDays(days) => match number.filter(|n| (1..=31).contains(n)).and_then(|n| i8::try_from(n).ok()) {
                _ if text == "LD" => Some(-1),
                Some(n) => Some(if minus { -n } else { n }),
                None => None,
            }
            .map(|n| days.push(n)),
            Kind::Months(months) => {
                number.filter(|n| plain && (1..=12).contains(n)).and_then(|n| u8::try_from(n).ok()).map(|n| months.push(n))
            }
            Kind::YearDays(days) => number.filter(|n| plain && (1..=366).contains(n)).map(|n| days.push(n)),
        };
        self.open = matches!(self.kind, Kind::Positions(_)) && number.is_some();
        self.entries += 1;
        read.ok_or_else(|| {
            let list = match self.kind {
                Kind::Minutes => "nothing",
                Kind::Daily(_) => "times of day (1200)",
                Kind::Weekly(_) => "weekdays (TU), each with its times (TU 1130)",
                Kind::Positions(_) => "positions from 1+ to 5+ or 1- to 5-, and weekdays after them",
                Kind::MonthDays(_) => "days from 1 to 31 (3-: third from the end; LD: last)",
                Kind::Months(_) => "months from 1 to 12",
                Kind::YearDays(_) => "days from 1 to 366",
            };
            RuleError(format!("{} is not understood: here stand {list}, #n or an end", clip(text)))
        })
    }
}

/// A weekday, or a time of the last one.
fn in_days(days: &mut Vec<Day>, text: &str, day: Option<chrono::Weekday>) -> Option<()> {
    match day {
        Some(weekday) => days.push(Day { weekday, times: Vec::new() }),
        None => days.last_mut()?.times.push(clock(text)?),
    }
    Some(())
}

/// `1130`, `113000`.
fn clock(text: &str) -> Option<NaiveTime> {
    if !matches!(text.len(), 4 | 6) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |i: usize| text.get(i..i + 2).map_or(Some(0), |p| p.parse().ok());
    NaiveTime::from_hms_opt(part(0)?, part(2)?, part(4)?)
}
