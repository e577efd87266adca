//! Which objects are valid: by rules of their own format, decided before anything is translated. An object that breaks
//! one is read and translated all the same, but what becomes of its lines is not judged.

use super::reader::{self, Line, Node};

/// The first rule that an object breaks, in words.
pub fn fault(octets: &[u8]) -> Option<String> {
    match reader::tree(octets) {
        Err(fault) => Some(fault),
        Ok(node) => node_fault(&node),
    }
}

fn node_fault(root: &Node) -> Option<String> {
    if root.name != "VCALENDAR" {
        return Some(format!("it is a {} without its VCALENDAR", root.name));
    }
    let versions: Vec<String> = root.all("VERSION").map(|l| l.raw().trim().to_owned()).collect();
    let modern = match versions.as_slice() {
        [one] if one == "1.0" => false,
        [one] if one == "2.0" => true,
        [] => return Some("VERSION is missing".to_owned()),
        [one] => return Some(format!("VERSION {one:?} is neither 1.0 nor 2.0")),
        _ => return Some("several VERSIONs".to_owned()),
    };
    if root.events().next().is_none() {
        return Some("it holds no event or to-do".to_owned());
    }
    root.events().find_map(|event| event_fault(event, modern))
}

fn event_fault(event: &Node, modern: bool) -> Option<String> {
    let count = |name: &str| event.all(name).count();
    if modern && event.name != "VFREEBUSY" && count("UID") == 0 {
        return Some(format!("{} without UID", event.name));
    }
    for name in ["UID", "DTSTART", "DTEND", "DUE", "SEQUENCE", "RECURRENCE-ID", "DURATION", "DTSTAMP", "LAST-MODIFIED"] {
        if count(name) > 1 {
            return Some(format!("{} has several {name}s", event.name));
        }
    }
    if event.first("UID").is_some_and(|l| l.raw().trim().is_empty()) {
        return Some("an empty UID".to_owned());
    }
    if modern && event.name == "VEVENT" && event.children.iter().any(|c| c.name == "VEVENT") {
        return Some("a VEVENT inside a VEVENT".to_owned());
    }
    if !modern && let Some(child) = event.children.first() {
        return Some(format!("a {} inside a {}", child.name, event.name));
    }
    for name in ["DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "DTSTAMP", "LAST-MODIFIED", "DCREATED", "CREATED", "COMPLETED"] {
        if let Some(line) = event.all(name).find(|l| !is_time(l, modern)) {
            return Some(format!("line {}: {name} {:?} is no time", line.number, line.raw()));
        }
    }
    if modern
        && let Some(line) = event.lines.iter().find(|l| l.param("ENCODING").is_some_and(|e| e.eq_ignore_ascii_case("QUOTED-PRINTABLE")))
    {
        return Some(format!("line {}: quoted-printable in iCalendar (RFC 5545 has none)", line.number));
    }
    None
}

/// `19960401`, `19960401T235959`, the same with `Z`; in vCalendar also ISO 8601's other spellings.
fn is_time(line: &Line, modern: bool) -> bool {
    let text = line.raw();
    let text = text.trim();
    let digits = |t: &str, n: usize| t.len() == n && t.bytes().all(|b| b.is_ascii_digit());
    let text = if modern { text.to_owned() } else { text.replace(['-', ':'], "") };
    match text.split_once('T') {
        None => digits(&text, 8),
        Some((date, clock)) => {
            let clock = clock.strip_suffix('Z').unwrap_or(clock);
            digits(date, 8) && (digits(clock, 6) || (!modern && digits(clock, 4)))
        }
    }
}
