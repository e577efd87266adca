//! Addresses and the people they belong to, in every spelling that the three formats use (profile 5).

use std::borrow::Cow;

use super::event::{PartStat, Person, Role};
use super::property::Content;
use super::text;
use crate::ident::UserId;

/// One address and its display name: `Name <local@server-id>`, `"Name" <…>`, `local@server-id (Name)`,
/// `local@server-id`, `<…>`, any of them after `mailto:`. `None` where no user-id stands.
pub fn read_user(value: &str) -> Option<(UserId, Option<String>)> {
    let value = value.trim();
    if let Some(open) = value.rfind('<')
        && let Some(close) = value[open..].find('>')
    {
        let address = bare_address(&value[open + 1..open + close])?;
        return Some((address, display_name(&value[..open])));
    }
    if let (Some(open), true) = (value.find('('), value.ends_with(')')) {
        return Some((bare_address(&value[..open])?, display_name(&value[open + 1..value.len() - 1])));
    }
    bare_address(value).map(|address| (address, None))
}

/// All addresses of a list separated by `,` or `;` outside quotes and angle brackets.
pub fn read_users(value: &str) -> Vec<(UserId, Option<String>)> {
    let (mut users, mut start, mut quoted, mut angle) = (Vec::new(), 0, false, false);
    for (i, c) in value.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' | ';' if !quoted && !angle => {
                users.extend(read_user(&value[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    users.extend(read_user(&value[start..]));
    if users.is_empty() { read_user(value).into_iter().collect() } else { users }
}

fn bare_address(text: &str) -> Option<UserId> {
    // No address has controls, and none is written: who is meant without them is meant with them, before and after.
    let clean: Cow<'_, str> = match text.contains(char::is_control) {
        true => text.chars().filter(|c| !c.is_control()).collect(),
        false => Cow::Borrowed(text),
    };
    let text = clean.trim();
    if let Some(rest) = text.get(..7).filter(|p| p.eq_ignore_ascii_case("mailto:")).map(|_| text[7..].trim()) {
        let rest = rest.split('?').next().unwrap_or(rest);
        let rest = rest.strip_prefix('<').map_or(rest, |r| r.trim_end_matches('>'));
        // RFC 6068: the address of a URL is percent-encoded; a `%` that encodes nothing stays.
        return user(percent_decoded(rest).trim());
    }
    user(text)
}

/// Most names are no address, which needs no error that says so.
fn user(text: &str) -> Option<UserId> {
    text.contains('@').then(|| UserId::parse(text).ok()).flatten()
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (bytes, mut out, mut i) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok()).filter(|_| bytes[i] == b'%');
        if let Some(octet) = hex.filter(|h| !h.starts_with('+')).and_then(|h| u8::from_str_radix(h, 16).ok()) {
            out.push(octet);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    Cow::Owned(text::guess(&out).into_owned())
}

fn display_name(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.get(..7).filter(|p| p.eq_ignore_ascii_case("mailto:")).map_or(text, |_| text[7..].trim());
    let inner = text.strip_prefix('"').map_or(text, |t| t.strip_suffix('"').unwrap_or(t));
    let inner = if inner.contains('\\') { Cow::Owned(inner.replace("\\\"", "\"")) } else { Cow::Borrowed(inner) };
    let plain = match inner.contains(char::is_control) {
        true => Cow::Owned(inner.chars().filter(|c| !c.is_control()).collect()),
        false => inner,
    };
    Some(plain.trim().to_owned()).filter(|p| !p.is_empty())
}

/// What an ATTENDEE or ORGANIZER line says.
pub(crate) struct Seat {
    pub person: Person,
    /// `ROLE=OWNER`, or the ORGANIZER property.
    pub owner: bool,
    /// `ROLE=ORGANIZER` on an ATTENDEE: the owner where nobody is named OWNER.
    pub organizer: bool,
}

/// Whether the value names a part of the same mail, which looks like an address and is nobody's.
pub(crate) fn is_content_id(content: &Content) -> bool {
    let names = |value: &str| ["CONTENT-ID", "CID"].iter().any(|w| value.trim().eq_ignore_ascii_case(w));
    content.params.iter().any(|p| matches!(p.name.as_str(), "" | "VALUE") && names(&p.value))
}

/// Reads an ATTENDEE or ORGANIZER line; `None` when it holds no user-id.
pub(crate) fn seat(content: &Content) -> Option<Seat> {
    if is_content_id(content) {
        return None;
    }
    let value = text::raw(content);
    let email = || content.param("EMAIL").and_then(bare_address).map(|a| (a, None));
    let (address, name) = read_user(&value).or_else(email)?;
    let mut person = Person::new(address);
    person.name = content.param("CN").and_then(display_name).or(name).filter(|n| bare_address(n).as_ref() != Some(&person.address));
    let (mut owner, mut organizer) = (content.name == "ORGANIZER", false);
    for param in &content.params {
        let word = param.value.as_str();
        let bare = param.name.is_empty();
        if bare || param.name == "ROLE" {
            owner |= is_word(word, "OWNER");
            organizer |= is_word(word, "ORGANIZER");
            person.role = said(&ROLES, word).or(person.role);
        }
        if bare || param.name == "EXPECT" {
            person.role = said(&EXPECTATIONS, word).or(person.role);
        }
        if bare || param.name == "STATUS" || param.name == "PARTSTAT" {
            person.status = part_stat(word).or(person.status);
        }
        match param.name.as_str() {
            "RSVP" => person.rsvp = Some(is_word(word, "TRUE") || is_word(word, "YES")),
            "SENT-BY" => person.sent_by = bare_address(&param.value),
            "DELEGATED-FROM" | "X-CIP-DELEGATED-FROM" => person.delegated_from = bare_address(first_quoted(&param.value)),
            "DELEGATED-TO" | "X-CIP-DELEGATED-TO" => person.delegated_to = bare_address(first_quoted(&param.value)),
            _ => {}
        }
    }
    Some(Seat { person, owner, organizer })
}

/// The first of `"mailto:a@b","mailto:c@d"`.
fn first_quoted(value: &str) -> &str {
    value.trim_start_matches('"').split('"').next().unwrap_or(value)
}

const ROLES: [(&str, Role); 4] = [
    ("CHAIR", Role::Chair),
    ("REQ-PARTICIPANT", Role::Required),
    ("OPT-PARTICIPANT", Role::Optional),
    ("NON-PARTICIPANT", Role::NonParticipant),
];
const EXPECTATIONS: [(&str, Role); 4] =
    [("REQUIRE", Role::Required), ("IMMEDIATE", Role::Required), ("REQUEST", Role::Optional), ("FYI", Role::NonParticipant)];
const ANSWERS: [(&str, PartStat); 9] = [
    ("NEEDS-ACTION", PartStat::NeedsAction),
    ("SENT", PartStat::NeedsAction),
    ("ACCEPTED", PartStat::Accepted),
    ("CONFIRMED", PartStat::Accepted),
    ("IN-PROCESS", PartStat::Accepted),
    ("DECLINED", PartStat::Declined),
    ("TENTATIVE", PartStat::Tentative),
    ("DELEGATED", PartStat::Delegated),
    ("COMPLETED", PartStat::Completed),
];

/// The words of both formats for an attendee's answer (bridge 2).
pub(crate) fn part_stat(word: &str) -> Option<PartStat> {
    said(&ANSWERS, word)
}

fn said<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| is_word(word, known)).map(|(_, meaning)| *meaning)
}

/// The same word in any case, with blanks around it, and with `_` or a blank for `-`.
fn is_word(text: &str, word: &str) -> bool {
    let same = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || b == b'-' && matches!(a, b' ' | b'_');
    let text = text.trim();
    text.len() == word.len() && text.bytes().zip(word.bytes()).all(same)
}

impl PartStat {
    /// The PARTSTAT word of iCalendar.
    pub const fn icalendar(self) -> &'static str {
        match self {
            Self::NeedsAction => "NEEDS-ACTION",
            Self::Accepted => "ACCEPTED",
            Self::Declined => "DECLINED",
            Self::Tentative => "TENTATIVE",
            Self::Delegated => "DELEGATED",
            Self::Completed => "COMPLETED",
        }
    }

    /// The STATUS word of vCalendar; CONFIRMED for an acceptance, as in the draft's session (bridge 2).
    pub const fn vcalendar(self) -> &'static str {
        match self {
            Self::NeedsAction => "NEEDS ACTION",
            Self::Accepted => "CONFIRMED",
            other => other.icalendar(),
        }
    }
}

impl Role {
    /// The ROLE word of iCalendar.
    pub const fn icalendar(self) -> &'static str {
        match self {
            Self::Chair => "CHAIR",
            Self::Required => "REQ-PARTICIPANT",
            Self::Optional => "OPT-PARTICIPANT",
            Self::NonParticipant => "NON-PARTICIPANT",
        }
    }
}
