//! Words, lists, places, attachments, extensions and parameters.

use std::borrow::Cow;
use std::fmt::Write;

use super::super::lines;
use super::{Done, Job, Part, Refining, Why};
use crate::calendar::event::Format;
use crate::calendar::property::{Content, Encoding, Param};
use crate::calendar::{object, text};

/// Parameters of one line, in octets: more is left out, so that a line stays one that the wire takes.
const MAX_PARAMS: usize = 8 * 1024;

/// Parameters of people that were carried since they name nobody.
const ADDRESSES: [&str; 5] = ["X-CIP-SENT-BY", "X-CIP-DELEGATED-FROM", "X-CIP-DELEGATED-TO", "X-CIP-MEMBER", "X-CIP-DIR"];

impl Job<'_> {
    /// The parameters that vCalendar has no place for, as X-CIP-NAME; X- and LANGUAGE as they are.
    pub(super) fn params(&mut self, content: &Content, said: &[&str]) -> String {
        let mut out = String::new();
        for param in &content.params {
            let name = param.name.as_str();
            if said.contains(&name) || matches!(name, "" | "VALUE" | "ENCODING" | "CHARSET") {
                continue;
            }
            let person = matches!(content.name.as_str(), "ATTENDEE" | "ORGANIZER");
            if person && ADDRESSES.contains(&name) {
                // It could not be read as an address before; it stays what it is.
                self.push_param(&mut out, &content.name, name, &param.value);
            } else if name == "LANGUAGE" && !person || name.starts_with("X-") && !name.starts_with(lines::PARAMETER) {
                self.push_param(&mut out, &content.name, name, &param.value);
            } else if lines::param_restores(name) {
                let value = if person { addresses(&param.value) } else { param.value.to_string() };
                self.push_param(&mut out, &content.name, &format!("{}{name}", lines::PARAMETER), &value);
            } else {
                self.losses.push(&content.name, &format!("{name}={}", param.value), Why::NoCounterpart, Done::LeftOut);
            }
        }
        out
    }

    /// Older software takes the first colon of a line for the end of its parameters, whether quoted or not: a value with
    /// one is written for people alone, where the bridge needs it.
    pub(super) fn push_param(&mut self, out: &mut String, property: &str, name: &str, value: &str) {
        let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let person = matches!(property, "ATTENDEE" | "ORGANIZER");
        let sayable = token && out.len() + value.len() < MAX_PARAMS && (person || !value.contains([':', ';', '"']));
        if !sayable {
            self.losses.push(property, &format!("{name}={value}"), Why::NoCounterpart, Done::LeftOut);
            return;
        }
        let value = if lines::is_quoted_list(value) { Cow::Borrowed(value) } else { text::param_value(value) };
        // Writing to a String cannot fail.
        let _ = write!(out, ";{name}={value}");
    }

    /// An X- property. One that is no text comes back only from a carrier.
    pub(super) fn extension(&mut self, content: &Content) {
        if matches!(content.name.as_str(), object::RECIPIENT | object::TRACE) {
            self.out.raw(&content.name, "", text::raw(content).trim());
            return;
        }
        if matches!(content.name.as_str(), lines::ZONE | lines::SERIES | lines::CANCELLED) {
            self.losses.push(&content.name, &text::raw(content), Why::Contradiction, Done::LeftOut);
            return;
        }
        let typed = content.param("VALUE").is_some_and(|v| !v.eq_ignore_ascii_case("TEXT"));
        let kept =
            |p: &Param| p.name.starts_with("X-") || matches!(p.name.as_str(), "VALUE" | "ENCODING") || lines::param_restores(&p.name);
        let quoted = content.params.iter().any(|p| p.value.contains([':', ';', '"']) || !kept(p));
        if typed || quoted || Encoding::named(&content.params) == Encoding::Base64 {
            self.carry(content, Why::NoCounterpart);
            return;
        }
        let params = self.params(content, &[]);
        self.out.text(&content.name, &params, &text::readable(content, Format::ICalendar));
    }

    /// CATEGORIES or RESOURCES: all lines of that name as one.
    pub(super) fn list(&mut self, part: &Part, name: &str) {
        let (mut values, mut params) = (Vec::new(), None);
        for content in part.all(name) {
            let raw = text::raw(content);
            let parts = text::split_list(&raw, &[',']);
            values.extend(parts.into_iter().map(|p| text::unescape(p, true).trim().to_owned()).filter(|p| !p.is_empty()));
            if params.is_none() {
                params = Some(self.params(content, &[]));
            }
        }
        if !values.is_empty() {
            self.out.list(name, &params.unwrap_or_default(), &values);
        }
    }

    /// STATUS, CLASS, PRIORITY, TRANSP or GEO: `said` is the vCalendar value, or what was carried of it where that says
    /// the same more exactly.
    pub(super) fn word(&mut self, content: &Content, said: Option<String>) {
        let value = text::raw(content);
        let value = value.trim();
        let same = |r: &&mut Refining| r.name == *content.name && says_the_same(&content.name, &r.line, value);
        if let Some(exact) = self.refining.iter_mut().find(same) {
            exact.restored = true;
            self.out.line(&exact.line);
            return;
        }
        let Some(said) = said else {
            self.carry(content, Why::NoCounterpart);
            return;
        };
        let params = self.params(content, &[]);
        self.out.raw(&content.name, &params, &said);
    }

    pub(super) fn attachment(&mut self, content: &Content) {
        let params = self.params(content, &[]);
        let binary = content.param("VALUE").is_some_and(|v| v.eq_ignore_ascii_case("BINARY"));
        if binary || Encoding::named(&content.params) == Encoding::Base64 {
            match packed(&content.value) {
                Some(data) => self.out.base64("ATTACH", &format!(";VALUE=INLINE{params}"), &data),
                None => self.losses.push("ATTACH", "", Why::Unreadable, Done::LeftOut),
            }
            return;
        }
        let value = text::raw(content);
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        match value.get(..4).filter(|p| p.eq_ignore_ascii_case("cid:")) {
            Some(_) => self.out.raw("ATTACH", &format!(";VALUE=CONTENT-ID{params}"), &format!("<{}>", &value[4..])),
            None => self.out.raw("ATTACH", &format!(";VALUE=URL{params}"), value),
        }
    }
}

/// Whether a vCalendar line is what the iCalendar value says in fewer words.
fn says_the_same(name: &str, line: &str, value: &str) -> bool {
    let Some((_, exact)) = line.rsplit_once(':') else { return false };
    let exact = exact.trim();
    let same_word = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    match name {
        "TRANSP" => exact.parse::<u32>().is_ok_and(|n| n > 1) && same_word(value, "TRANSPARENT"),
        "PRIORITY" => exact.parse::<u32>().is_ok_and(|n| n > 9) && value == "9",
        "CLASS" => same_word(value, "PRIVATE") && !["PUBLIC", "CONFIDENTIAL"].iter().any(|w| same_word(exact, w)),
        "STATUS" => match exact.to_ascii_uppercase().as_str() {
            "SENT" => same_word(value, "NEEDS-ACTION"),
            "ACCEPTED" => same_word(value, "CONFIRMED") || same_word(value, "IN-PROCESS"),
            // Of a to-do, in which iCalendar does not have it.
            "CONFIRMED" => same_word(value, "IN-PROCESS"),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a carried word of vCalendar is one that iCalendar does not have, so that nothing stands beside it.
pub(super) fn is_unsaid(name: &str, line: &str, todo: bool) -> bool {
    let Some((_, value)) = line.split_once(':') else { return false };
    let value = value.trim();
    let number = value.parse::<u32>().is_ok();
    match name {
        "STATUS" => lines::status(value, todo).0.is_empty(),
        "TRANSP" => todo || !number && !["OPAQUE", "TRANSPARENT"].iter().any(|w| value.eq_ignore_ascii_case(w)),
        "PRIORITY" => !number,
        "GEO" => lines::geo_in_icalendar(value).is_none(),
        _ => false,
    }
}

/// iCalendar writes latitude first.
pub(super) fn geo(value: &str) -> Option<String> {
    let (latitude, longitude) = value.split_once([';', ','])?;
    let (latitude, longitude) = (latitude.trim(), longitude.trim());
    let within = |text: &str, most: f64| text.len() < 40 && text.parse::<f64>().is_ok_and(|n| n.abs() <= most);
    (within(latitude, 90.0) && within(longitude, 180.0)).then(|| format!("{longitude},{latitude}"))
}

/// `"mailto:a@b.com","mailto:c@d.com"` as `a@b.com,c@d.com`, when all of them are addresses.
fn addresses(value: &str) -> String {
    let parts: Vec<&str> = value.split(',').map(|p| p.trim().trim_matches('"')).collect();
    let scheme = |p: &str| p.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("mailto:"));
    if parts.iter().all(|p| scheme(p) && !p[7..].contains([':', ';', ',', '"', '%'])) {
        return parts.iter().map(|p| &p[7..]).collect::<Vec<_>>().join(",");
    }
    value.to_owned()
}

/// Base64 without blanks; `None` when it is none.
fn packed(raw: &[u8]) -> Option<Vec<u8>> {
    let data: Vec<u8> = raw.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    (!data.is_empty() && data.iter().all(fits)).then_some(data)
}
