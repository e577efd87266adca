//! Alarms: vCalendar's one line of runtime, snooze, repetitions and content against iCalendar's VALARM component.

use super::canon::readings;
use super::moments::{Point, Side, seconds};
use super::reader::{Line, Node};

/// An alarm of either format.
pub struct Alarm<'a> {
    pub action: String,
    pub at: Option<Point>,
    /// What else it says: name of the part (of iCalendar), the text.
    pub parts: Vec<(String, String)>,
    /// The name by which a loss would call it.
    pub name: &'a str,
    pub lines: Vec<&'a Line>,
}

pub const LINES: [&str; 4] = ["AALARM", "DALARM", "MALARM", "PALARM"];

/// All alarms of a component.
pub fn alarms<'a>(event: &'a Node, side: &Side) -> Vec<Alarm<'a>> {
    let side = &side.of(event);
    let (start, end) = side.bounds(event);
    let says = |l: &&Line| LINES.contains(&l.name.as_str()) && l.raw().chars().any(|c| c != ';' && !c.is_whitespace());
    let lines = event.lines.iter().filter(says).map(|l| old(l, side, start.as_ref()));
    let components = event.children.iter().filter(|c| c.name == "VALARM").map(|c| modern(c, side, start.as_ref(), end.as_ref()));
    lines.chain(components).collect()
}

fn old<'a>(line: &'a Line, side: &Side, start: Option<&Point>) -> Alarm<'a> {
    let raw = line.raw();
    let mut parts = raw.splitn(4, ';').map(str::trim);
    let runtime = parts.next().unwrap_or_default();
    let at = match seconds(runtime) {
        Some(offset) => start.map(|s| s.later(offset)),
        // A day is rung in at its start.
        None if runtime.len() == 8 => Some(side.point(&format!("{runtime}T000000"), &[])),
        None => Some(side.point(runtime, &[])),
    };
    let action = match line.name.as_str() {
        "AALARM" => "AUDIO",
        "DALARM" => "DISPLAY",
        "MALARM" => "EMAIL",
        _ => "PROCEDURE",
    };
    let names = ["DURATION", "REPEAT", "CONTENT"];
    let parts = names.iter().zip(parts).map(|(n, p)| ((*n).to_owned(), p.to_owned()));
    Alarm { action: action.to_owned(), at, parts: parts.collect(), name: &line.name, lines: vec![line] }
}

fn modern<'a>(alarm: &'a Node, side: &Side, start: Option<&Point>, end: Option<&Point>) -> Alarm<'a> {
    let trigger = alarm.first("TRIGGER");
    let at = trigger.and_then(|t| match seconds(&t.raw()) {
        Some(offset) => {
            let of_end = t.param("RELATED").is_some_and(|r| r.eq_ignore_ascii_case("END"));
            let from = if of_end { end } else { start.or(end) };
            from.map(|p| p.later(offset))
        }
        None => Some(side.point(t.raw().trim(), &t.params)),
    });
    let action = alarm.first("ACTION").map_or_else(|| "DISPLAY".to_owned(), |l| l.raw().trim().to_ascii_uppercase());
    let other = alarm.lines.iter().filter(|l| !matches!(l.name.as_str(), "TRIGGER" | "ACTION"));
    Alarm { action, at, parts: other.map(|l| (l.name.clone(), l.raw())).collect(), name: &alarm.name, lines: alarm.lines.iter().collect() }
}

impl Alarm<'_> {
    /// The same kind at the same time.
    pub fn same(&self, other: &Self) -> bool {
        // A clock without zone beside an event in UTC can only be read as UTC.
        let utc = |at: &Option<Point>| at.clone().map(Point::in_utc);
        let mixed = self.at.as_ref().map(Point::is_local) != other.at.as_ref().map(Point::is_local);
        self.action == other.action && (self.at == other.at || mixed && utc(&self.at) == utc(&other.at))
    }

    /// Parts that the other one does not say.
    pub fn missing(&self, other: &Self) -> Vec<String> {
        let says = |text: &str| {
            let text = text.trim_start_matches("mailto:").trim_start_matches("MAILTO:");
            other.parts.iter().any(|(_, theirs)| {
                let (a, b) = (seconds(text), seconds(theirs));
                let whole = readings(theirs);
                a.is_some() && a == b || readings(text).iter().any(|t| whole.iter().any(|w| w.contains(t.as_str())))
            })
        };
        // Whom a mail goes to and what it says are one part in the one format and two in the other.
        let says = |text: &str| says(text) || text.contains(';') && text.split(';').all(|part| says(part.trim()));
        let snooze = self.parts.iter().any(|(name, text)| name == "DURATION" && !text.is_empty());
        // How often it is repeated means nothing without the time between.
        let nothing = |name: &str, text: &str| text.is_empty() || name == "REPEAT" && (!snooze || text.trim() == "0");
        self.parts.iter().filter(|(name, text)| !nothing(name, text) && !says(text)).map(|(name, _)| name.clone()).collect()
    }
}
