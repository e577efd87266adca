//! Values of properties in a form that is the same in both formats, and what the names of the one are in the other.

use std::collections::BTreeSet;

use super::moments::{Point, Side};
use super::reader::{Line, unescaped};

/// What a property line says, apart from how its format writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// All readings of a text; two texts are the same when they share one.
    Text(Vec<String>),
    Word(String),
    Number(i64),
    List(BTreeSet<String>),
    Points(BTreeSet<Point>),
    Place(f64, f64),
    Octets(Vec<u8>),
}

/// The name that a property has in iCalendar.
pub fn name(line: &Line) -> &str {
    match line.name.as_str() {
        "SUBJECT" => "SUMMARY",
        "DCREATED" => "CREATED",
        name => name,
    }
}

/// What a line says; `modern`: it stands in an iCalendar object.
pub fn value(line: &Line, side: &Side) -> Value {
    let modern = side.modern();
    let raw = line.raw();
    let word = || raw.trim().to_ascii_uppercase().replace([' ', '_'], "-");
    match name(line) {
        "SEQUENCE" => match raw.trim().parse::<i64>() {
            // Versions are the same: SEQUENCE counts from 1 in vCalendar, from 0 in iCalendar.
            Ok(n) => Value::Number(if modern { n + 1 } else { n.max(1) }),
            Err(_) => Value::Word(word()),
        },
        "PRIORITY" | "PERCENT-COMPLETE" | "REPEAT" => raw.trim().parse().map_or_else(|_| Value::Word(word()), Value::Number),
        "CLASS" | "METHOD" | "BUSYTYPE" => Value::Word(word()),
        "STATUS" => Value::Word(status(&word())),
        "TRANSP" => Value::Word(match word().as_str() {
            "0" => "OPAQUE".to_owned(),
            "1" => "TRANSPARENT".to_owned(),
            other => other.to_owned(),
        }),
        "GEO" => place(&raw, modern).unwrap_or_else(|| text(line)),
        "CATEGORIES" | "RESOURCES" => Value::List(list(&raw, modern)),
        "RECURRENCE-ID" => Value::Points(side.points(line)),
        // Both formats give these in UTC; a writer who forgot the Z meant it.
        "CREATED" | "LAST-MODIFIED" | "COMPLETED" | "DTSTAMP" => Value::Points(side.points(line).into_iter().map(Point::in_utc).collect()),
        "ATTACH" => attach(line),
        _ => text(line),
    }
}

fn text(line: &Line) -> Value {
    Value::Text(readings(&line.raw()))
}

/// A text with and without its escapes, blanks aside: where lines break is no matter of what they say.
pub fn readings(raw: &str) -> Vec<String> {
    let flat = |t: &str| t.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\u{feff}').collect::<String>();
    // vCalendar knows no `\n`, yet its writers use it.
    let mut all = vec![flat(&unescaped(raw)), flat(raw), flat(&unescaped(&unescaped(raw)))];
    all.dedup();
    all
}

fn status(word: &str) -> String {
    match word {
        // What vCalendar has no word for is on its way to be done.
        "CONFIRMED" | "ACCEPTED" | "IN-PROCESS" => "CONFIRMED",
        "SENT" | "NEEDS-ACTION" => "NEEDS-ACTION",
        "CANCELED" => "CANCELLED",
        other => other,
    }
    .to_owned()
}

fn place(raw: &str, modern: bool) -> Option<Value> {
    let (first, second) = raw.split_once(if modern { ';' } else { ',' }).or_else(|| raw.split_once([';', ',']))?;
    let (first, second) = (first.trim().parse().ok()?, second.trim().parse().ok()?);
    Some(if modern { Value::Place(first, second) } else { Value::Place(second, first) })
}

fn list(raw: &str, modern: bool) -> BTreeSet<String> {
    // vCalendar separates by semicolons; Outlook wrote commas all the same.
    let separators: &[char] = if modern { &[','] } else { &[';', ','] };
    let (mut items, mut item, mut escaped) = (BTreeSet::new(), String::new(), false);
    for c in raw.chars() {
        if separators.contains(&c) && !escaped {
            items.insert(std::mem::take(&mut item));
        } else {
            item.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    items.insert(item);
    let clean = |i: String| unescaped(&i).trim().to_uppercase();
    items.into_iter().map(clean).filter(|i| !i.is_empty()).collect()
}

fn attach(line: &Line) -> Value {
    if line.base64() {
        return Value::Octets(line.octets());
    }
    let raw = line.raw();
    let address = raw.trim();
    let strip = |prefix: &str| address.get(..prefix.len()).filter(|p| p.eq_ignore_ascii_case(prefix)).map(|_| &address[prefix.len()..]);
    let bare = strip("cid:").unwrap_or(address).trim_matches(['<', '>']);
    Value::Text(readings(bare))
}

impl Value {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(all) => all.first().is_none_or(String::is_empty),
            Self::Word(word) => word.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Points(points) => points.is_empty(),
            Self::Octets(octets) => octets.is_empty(),
            Self::Number(_) | Self::Place(..) => false,
        }
    }

    /// Whether a counterpart says the same.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.iter().any(|t| b.contains(t)),
            // A text that was attached inline may travel packed.
            (Self::Text(text), Self::Octets(octets)) | (Self::Octets(octets), Self::Text(text)) => {
                readings(&String::from_utf8_lossy(octets)).iter().any(|t| text.contains(t))
            }
            (Self::Place(a, b), Self::Place(c, d)) => (a - c).abs() < 1e-6 && (b - d).abs() < 1e-6,
            _ => self == other,
        }
    }

    /// A text at the start of a longer one: DESCRIPTION may have notes of the translation behind it.
    pub fn starts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.iter().any(|t| b.iter().any(|u| u.starts_with(t.as_str()))),
            _ => false,
        }
    }
}
