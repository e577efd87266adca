//! ATTENDEE lines: who owns the event, who attends, and what each one answered.

use compact_str::CompactString;

use super::part::{Kind, Part};
use super::values::{self, is_uri};
use super::{Done, Job, Why, lines};
use crate::calendar::people;
use crate::calendar::property::{Content, Param};
use crate::calendar::text;
use crate::ident::UserId;

/// Who owns an event, by the index of his line among its contents.
pub(super) struct Owner {
    index: usize,
    address: Option<UserId>,
}

/// The line that names the owner: ORGANIZER or ROLE=OWNER, else ROLE=ORGANIZER; one with an address before one without.
pub(super) fn owner(contents: &[Content]) -> Option<Owner> {
    let says = |c: &Content, word: &str| {
        c.params.iter().any(|p| matches!(p.name.as_str(), "" | "ROLE") && p.value.trim().eq_ignore_ascii_case(word))
    };
    let rank = |c: &Content| match c.name.as_str() {
        "ORGANIZER" => Some(0),
        "ATTENDEE" if says(c, "OWNER") => Some(0),
        "ATTENDEE" if says(c, "ORGANIZER") => Some(1),
        _ => None,
    };
    let ranked = contents.iter().enumerate().filter_map(|(index, content)| {
        let rank = rank(content)?;
        let address = people::seat(content).map(|s| s.person.address);
        Some((address.is_none(), rank, Owner { index, address }))
    });
    ranked.min_by_key(|(nobody, rank, _)| (*nobody, *rank)).map(|(.., owner)| owner)
}

/// A line being put together: parameters in iCalendar's words.
#[derive(Default)]
struct Words {
    role: Option<&'static str>,
    status: Option<&'static str>,
    kind: Option<CompactString>,
    rsvp: Option<bool>,
    /// What has no word of its own, as `;X-CIP-…=`, and the other parameters.
    rest: String,
    owner: bool,
    organizer: bool,
    /// Words that were carried, to be listed.
    carried: Vec<(&'static str, String)>,
}

impl Job<'_> {
    /// An ATTENDEE or ORGANIZER line.
    pub(super) fn attendee(&mut self, part: &Part<'_>, index: usize, content: &Content) {
        let owns = part.owner.as_ref().is_some_and(|o| o.index == index);
        let owner = part.owner.as_ref().filter(|_| !owns).and_then(|o| o.address.as_ref());
        let again = owner.is_some() && people::seat(content).is_some_and(|s| (s.owner || s.organizer) && Some(&s.person.address) == owner);
        if again {
            // The owner named as such once more does not attend.
            if part.owner.as_ref().is_some_and(|o| part.contents[o.index].params != content.params) {
                self.losses.push(&content.name, &text::raw(content), Why::OnlyOne, Done::LeftOut);
            }
            return;
        }
        self.person(content, owns, part.kind == Kind::Todo);
    }

    /// ORGANIZER with his address alone, which is the same in all instances of a series (RFC 5546 3.2.2).
    pub(super) fn organizer(&mut self, part: &Part<'_>) {
        if let Some(address) = part.owner.as_ref().and_then(|o| o.address.as_ref()) {
            self.body.line_of(format_args!("ORGANIZER:{}", mailto(address)));
        }
    }

    fn person(&mut self, content: &Content, owns: bool, todo: bool) {
        let value = text::raw(content);
        if value.trim().is_empty() && content.param("EMAIL").is_none() && content.param("CN").is_none() {
            // It names nobody.
            return;
        }
        if people::is_content_id(content) {
            return self.losses.push(&content.name, &value, Why::NoCounterpart, Done::LeftOut);
        }
        let read = people::read_user(&value).or_else(|| content.param("EMAIL").and_then(people::read_user));
        let (address, name, near) = match &read {
            Some((address, name)) => (mailto(address), name.clone(), None),
            None => no_user(&value),
        };
        let name = content.param("CN").map(clean).or(name).filter(|n| !n.is_empty() && Some(n.as_str()) != address.strip_prefix("mailto:"));
        let mut words = words(content, todo);
        if owns && self.reader == super::Reader::MailProgram {
            // What the owner answered himself is said where he stands as an attendee.
            words = Words { owner: true, ..Words::default() };
        }
        let mut line = String::with_capacity(96);
        line.push_str(if owns { "ORGANIZER" } else { "ATTENDEE" });
        let mut push = |name: &str, value: &str| {
            for part in [";", name, "=", value] {
                line.push_str(part);
            }
        };
        if let Some(name) = name {
            push("CN", &values::param_value(&name));
        }
        if let Some(kind) = &words.kind {
            push("CUTYPE", kind);
        }
        if let Some(role) = words.role {
            push("ROLE", role);
        }
        if let Some(status) = words.status {
            push("PARTSTAT", status);
        }
        if let Some(rsvp) = words.rsvp {
            push("RSVP", if rsvp { "TRUE" } else { "FALSE" });
        }
        line.push_str(&words.rest);
        let carries = self.reader == super::Reader::Anybody;
        for (name, word) in &words.carried {
            if carries {
                for part in [";X-CIP-", name, "=", &values::param_value(word)] {
                    line.push_str(part);
                }
            }
            let done = if carries { Done::Carried(format!("X-CIP-{name}")) } else { Done::LeftOut };
            self.losses.push(&content.name, &format!("{name}={word}"), Why::NoCounterpart, done);
        }
        // Who owns the event is never said by a carried word, so none is written.
        if !owns && (words.owner || words.organizer || content.name == "ORGANIZER") {
            self.losses.push(&content.name, &value, Why::OnlyOne, Done::Approximated("ATTENDEE".to_owned()));
        }
        line.push(':');
        line.push_str(&address);
        if let Some(near) = near {
            self.losses.push(&content.name, &value, Why::Unreadable, Done::Approximated(near.to_owned()));
        }
        self.body.line(&line);
    }
}

/// A value without user-id: a URI stays, a telephone number becomes one, and a name alone gets the URI that calendar
/// programs use for nobody's address.
fn no_user(value: &str) -> (String, Option<String>, Option<&'static str>) {
    let value = value.trim();
    let rest = value.get(..7).filter(|p| p.eq_ignore_ascii_case("mailto:")).map_or(value, |_| value[7..].trim());
    if rest.len() == value.len() && is_uri(value) {
        return (value.to_owned(), None, None);
    }
    let digits: String = rest.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
    if digits.len() >= 3 && rest.chars().all(|c| c.is_ascii_digit() || " +-./()".contains(c)) {
        return (format!("tel:{digits}"), None, Some("a telephone number"));
    }
    ("invalid:nomail".to_owned(), Some(clean(rest)), Some("a name without address"))
}

fn clean(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name);
    name.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}

/// The URI of an address. RFC 6068: what may not stand in one is percent-encoded, and `%` itself, so that it reads back.
fn mailto(address: &UserId) -> String {
    use std::fmt::Write;
    let (local, server) = (address.local(), address.server().as_str());
    let mut out = String::with_capacity(local.len() + server.len() + 16);
    out.push_str("mailto:");
    let mut rest = local;
    while let Some(at) = rest.find(['%', '?', '"', '<', '>', ' ', '\\']) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}%{:02X}", &rest[..at], rest.as_bytes()[at]);
        rest = &rest[at + 1..];
    }
    for part in [rest, "@", server] {
        out.push_str(part);
    }
    out
}

/// Words compared without regard to case, blanks and hyphens.
fn squeezed(word: &str) -> CompactString {
    word.chars().filter(|c| !matches!(c, ' ' | '-' | '_' | '"')).map(|c| c.to_ascii_uppercase()).collect()
}

fn words(content: &Content, todo: bool) -> Words {
    let mut words = Words::default();
    for param in &content.params {
        word(&mut words, param, todo);
    }
    words
}

fn word(words: &mut Words, param: &Param, todo: bool) {
    let bare = param.name.is_empty();
    let word = squeezed(&param.value);
    match param.name.as_str() {
        "CN" | "EMAIL" | "VALUE" | "ENCODING" | "CHARSET" | "TZID" => return,
        "RSVP" => {
            words.rsvp = match word.as_str() {
                "YES" | "TRUE" => Some(true),
                "NO" | "FALSE" => Some(false),
                _ => return words.carried.push(("RSVP", param.value.to_string())),
            };
            return;
        }
        "TYPE" | "CUTYPE" => {
            match word.as_str() {
                "INDIVIDUAL" | "GROUP" | "RESOURCE" | "ROOM" | "UNKNOWN" => words.kind = Some(word),
                _ if word.starts_with('X') && values::is_token(&param.value) => words.kind = Some(param.value.clone()),
                _ => words.carried.push(("TYPE", param.value.to_string())),
            }
            return;
        }
        "" | "ROLE" | "EXPECT" | "STATUS" | "PARTSTAT" | "X-CIP-ROLE" => {}
        "SENT-BY"
        | "DELEGATED-FROM"
        | "DELEGATED-TO"
        | "MEMBER"
        | "DIR"
        | "X-CIP-SENT-BY"
        | "X-CIP-DELEGATED-FROM"
        | "X-CIP-DELEGATED-TO"
        | "X-CIP-MEMBER"
        | "X-CIP-DIR" => return address_param(words, param),
        _ => return values::push_param(&mut words.rest, param),
    }
    if (bare || matches!(param.name.as_str(), "ROLE" | "X-CIP-ROLE")) && role(words, &word) {
        return;
    }
    if (bare || param.name == "EXPECT") && expect(words, &word, &param.value) {
        return;
    }
    if (bare || matches!(param.name.as_str(), "STATUS" | "PARTSTAT"))
        && let Some(status) = answer(&word, todo)
    {
        if word == "SENT" {
            words.carried.push(("STATUS", param.value.to_string()));
        }
        words.status = Some(status);
        return;
    }
    let name = match param.name.as_str() {
        "ROLE" => "ROLE",
        "EXPECT" => "EXPECT",
        "STATUS" | "PARTSTAT" => "STATUS",
        // QUOTED-PRINTABLE and the like say nothing of the person.
        _ => return,
    };
    if !word.is_empty() {
        words.carried.push((name, param.value.to_string()));
    }
}

fn role(words: &mut Words, word: &str) -> bool {
    match word {
        "OWNER" => words.owner = true,
        "ORGANIZER" => words.organizer = true,
        "ATTENDEE" => {}
        "DELEGATE" => words.carried.push(("ROLE", "DELEGATE".to_owned())),
        "CHAIR" => words.role = Some("CHAIR"),
        "REQPARTICIPANT" => words.role = Some("REQ-PARTICIPANT"),
        "OPTPARTICIPANT" => words.role = Some("OPT-PARTICIPANT"),
        "NONPARTICIPANT" => words.role = Some("NON-PARTICIPANT"),
        _ => return false,
    }
    true
}

/// X-CIP-ROLE=CHAIR beside it says more, so it stays.
fn expect(words: &mut Words, word: &str, value: &str) -> bool {
    let role = match word {
        "REQUIRE" | "IMMEDIATE" => "REQ-PARTICIPANT",
        "REQUEST" => "OPT-PARTICIPANT",
        "FYI" => "NON-PARTICIPANT",
        _ => return false,
    };
    if words.role != Some("CHAIR") {
        words.role = Some(role);
    }
    if word == "IMMEDIATE" {
        words.carried.push(("EXPECT", value.to_owned()));
    }
    true
}

/// An attendee's answer in iCalendar's words (bridge 2).
fn answer(word: &str, todo: bool) -> Option<&'static str> {
    Some(match word {
        "NEEDSACTION" | "SENT" => "NEEDS-ACTION",
        "INPROCESS" if todo => "IN-PROCESS",
        "ACCEPTED" | "CONFIRMED" | "INPROCESS" => "ACCEPTED",
        "DECLINED" => "DECLINED",
        "TENTATIVE" => "TENTATIVE",
        "DELEGATED" => "DELEGATED",
        "COMPLETED" => "COMPLETED",
        _ => return None,
    })
}

/// A parameter that holds addresses: each as a quoted URI.
fn address_param(words: &mut Words, param: &Param) {
    let name = param.name.strip_prefix("X-CIP-").unwrap_or(&param.name);
    let mut uris = Vec::new();
    // No parameter has controls, so what is carried could be an address without them.
    let value: String = param.value.chars().filter(|c| !c.is_control()).collect();
    // A directory entry is one URI, in which commas may stand.
    let entry = value.split('"').map(str::trim).filter(|p| name == "DIR" && !p.is_empty());
    for part in entry.chain(lines::addresses(&value).filter(|_| name != "DIR")) {
        let uri = match people::read_user(part) {
            Some((user, _)) => mailto(&user),
            None if is_uri(part) => part.to_owned(),
            None => continue,
        };
        uris.push(format!("\"{}\"", uri.replace('"', "%22")));
    }
    if uris.is_empty() {
        words.carried.push(match name {
            "SENT-BY" => ("SENT-BY", value),
            "DELEGATED-FROM" => ("DELEGATED-FROM", value),
            "DELEGATED-TO" => ("DELEGATED-TO", value),
            "MEMBER" => ("MEMBER", value),
            _ => ("DIR", value),
        });
        return;
    }
    for part in [";", name, "=", &uris.join(",")] {
        words.rest.push_str(part);
    }
}

/// The address that an alarm by mail goes to.
pub(super) fn alarm_address(value: &str) -> Option<String> {
    match people::read_user(value) {
        Some((user, _)) => Some(mailto(&user)),
        None => is_uri(value.trim()).then(|| value.trim().to_owned()),
    }
}
