//! The names of the field, parsed once and then trusted: server-id, user-id, event-id, entry id.
//!
//! Invariants: a [`ServerId`] is a domain name of 1 to 253 octets that could stand in DNS; a [`UserId`] has exactly one
//! `@` before its server-id and no octet that could end a line or an angle bracket; an [`EventId`] is one line without
//! controls. All three keep the spelling they were given and compare without regard to ASCII case (profile 5), except
//! that an event-id's case is kept significant, since iCalendar UIDs are opaque (RFC 5545 3.8.4.7).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    #[error("server-id {0:?} is not a domain name (letters, digits, `-` and `.`, labels of 1 to 63, 253 in all)")]
    ServerId(String),
    #[error("user-id {0:?} is not of the form local@server-id")]
    UserId(String),
    #[error("event-id {0:?} is empty, longer than 1024 octets, or contains control characters")]
    EventId(String),
    #[error("{0:?} is not an entry id: eleven letters and digits as `queue list` shows them")]
    EntryId(String),
}

/// The server identifier of a CIP server: a domain name (draft 1.5).
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerId(CompactString);

impl ServerId {
    /// Parses a domain name; one trailing dot is dropped.
    pub fn parse(text: &str) -> Result<Self, IdentError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b >= 0x80)
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
            return Err(IdentError::ServerId(clip(text)));
        }
        Ok(Self(name.into()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case: the form for keys and look-ups.
    pub fn key(&self) -> String {
        self.0.as_str().to_ascii_lowercase()
    }
}

/// The user identifier `local@server-id` (draft 1.6).
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId {
    local: CompactString,
    server: ServerId,
}

impl UserId {
    /// Parses a bare `local@server-id`; the last `@` splits, and the local part may be quoted as in RFC 5321.
    pub fn parse(text: &str) -> Result<Self, IdentError> {
        let bad = || IdentError::UserId(clip(text));
        let (local, server) = text.rsplit_once('@').ok_or_else(bad)?;
        let server = ServerId::parse(server).map_err(|_| bad())?;
        Self::new(local, server)
    }

    /// Joins a local part and a server-id.
    pub fn new(local: &str, server: ServerId) -> Result<Self, IdentError> {
        let special = |c| matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | '\\' | ',' | ';' | ':' | '"' | '@');
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !special(c);
        let quoted = local.len() > 2
            && local.starts_with('"')
            && local.ends_with('"')
            && local[1..local.len() - 1].chars().all(|c| !c.is_control() && !"\"\\<>".contains(c));
        if local.is_empty() || local.len() > 255 || !(quoted || local.chars().all(plain)) {
            return Err(IdentError::UserId(clip(&format!("{local}@{server}"))));
        }
        Ok(Self { local: local.into(), server })
    }

    pub fn local(&self) -> &str {
        &self.local
    }

    pub fn server(&self) -> &ServerId {
        &self.server
    }

    /// In lower case: the form for keys and look-ups.
    pub fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }
}

/// The event identifier: the UID (draft 1.7). Opaque, case kept and significant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Box<str>);

impl EventId {
    /// Octets of an event-id.
    pub const MAX: usize = 1024;

    pub fn parse(text: &str) -> Result<Self, IdentError> {
        let text = text.trim_matches([' ', '\t']);
        if text.is_empty() || text.len() > Self::MAX || text.chars().any(char::is_control) {
            return Err(IdentError::EventId(clip(text)));
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that an instance of this event has where it is an event of its own (bridge 2): `local.RID@server`.
    pub fn instance(&self, rid: &str) -> Option<Self> {
        Self::parse(&instance_uid(&self.0, rid)).ok()
    }

    /// The server that owns the event, when the id has the draft's form `local-event-id@server-id`.
    pub fn server(&self) -> Option<ServerId> {
        ServerId::parse(self.0.rsplit_once('@')?.1).ok()
    }
}

/// `local.RID@server`, or `UID.RID`: the UID of an exception that is an event of its own (bridge 2). Where that would be too long
/// for an event-id, the first part is a digest of it.
pub fn instance_uid(uid: &str, rid: &str) -> String {
    let (local, end) = match uid.rsplit_once('@') {
        Some((local, server)) => (local, format!(".{rid}@{server}")),
        None => (uid, format!(".{rid}")),
    };
    if local.len() + end.len() <= EventId::MAX {
        return format!("{local}{end}");
    }
    let digest: String = Sha256::digest(uid).iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("{digest}{end}")
}

/// The id of a queue entry: 55 bits, milliseconds since 2020 above a counter, shown as eleven characters of base 32
/// that sort as the number does. Never used twice (see `queue`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId(u64);

/// Digits before letters, so that text order is number order; without `i l o u`, which are read wrong.
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl EntryId {
    /// 2020-01-01T00:00:00Z in Unix milliseconds.
    pub const EPOCH_MS: u64 = 1_577_836_800_000;
    /// Bits of the counter below the milliseconds.
    pub const COUNTER_BITS: u32 = 14;

    /// Only the low 55 bits count.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw & ((1 << 55) - 1))
    }

    pub const fn raw(self) -> u64 {
        self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..11).rev().try_for_each(|i| fmt::Write::write_char(f, char::from(BASE32[(self.0 >> (i * 5) & 31) as usize])))
    }
}

impl FromStr for EntryId {
    type Err = IdentError;

    fn from_str(text: &str) -> Result<Self, IdentError> {
        let bad = || IdentError::EntryId(clip(text));
        if text.len() != 11 {
            return Err(bad());
        }
        text.bytes()
            .try_fold(0u64, |n, b| {
                let digit = BASE32.iter().position(|&d| d == b.to_ascii_lowercase())?;
                Some(n << 5 | digit as u64)
            })
            .map(Self)
            .ok_or_else(bad)
    }
}

/// At most 80 characters of a refused input, for an error text.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! string_conversions {
    ($t:ty) => {
        impl TryFrom<String> for $t {
            type Error = IdentError;
            fn try_from(text: String) -> Result<Self, IdentError> {
                text.parse()
            }
        }
        impl From<$t> for String {
            fn from(v: $t) -> String {
                v.to_string()
            }
        }
    };
}
string_conversions!(ServerId);
string_conversions!(UserId);
string_conversions!(EntryId);

macro_rules! caseless {
    ($t:ty) => {
        impl PartialEq for $t {
            fn eq(&self, other: &Self) -> bool {
                self.is(other)
            }
        }
        impl Eq for $t {}
        impl PartialOrd for $t {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $t {
            type Err = IdentError;
            fn from_str(text: &str) -> Result<Self, IdentError> {
                Self::parse(text)
            }
        }
    };
}
caseless!(ServerId);
caseless!(UserId);

fn lower(text: &str) -> impl Iterator<Item = u8> + '_ {
    text.bytes().map(|b| b.to_ascii_lowercase())
}

impl ServerId {
    fn is(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl UserId {
    fn is(&self, other: &Self) -> bool {
        self.local.eq_ignore_ascii_case(&other.local) && self.server.is(&other.server)
    }
}

impl Ord for ServerId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        lower(&self.0).cmp(lower(&other.0))
    }
}

impl Hash for ServerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl Ord for UserId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.server.cmp(&other.server).then_with(|| lower(&self.local).cmp(lower(&other.local)))
    }
}

impl Hash for UserId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local.to_ascii_lowercase().hash(state);
        self.server.hash(state);
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.server)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_keep_their_spelling() {
        let a = UserId::parse("Mary.Weaver@Tiny.COM").unwrap();
        assert_eq!(a, UserId::parse("mary.weaver@tiny.com").unwrap());
        assert_eq!(a.to_string(), "Mary.Weaver@Tiny.COM");
        assert_eq!(a.key(), "mary.weaver@tiny.com");
        assert_eq!(ServerId::parse("tiny.com.").unwrap().as_str(), "tiny.com");
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in
            ["", "@tiny.com", "mary@", "mary", "ma ry@tiny.com", "m\r\n@tiny.com", "m<@tiny.com", "m@ti ny.com", "m@-a.com", "m@a..b"]
        {
            assert!(UserId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ServerId::parse(&"a".repeat(64)).is_err());
        assert!(EventId::parse("a\rb").is_err());
        assert!(EventId::parse("  ").is_err());
    }

    #[test]
    fn a_quoted_local_part_may_hold_blanks() {
        assert_eq!(UserId::parse("\"mary weaver\"@tiny.com").unwrap().local(), "\"mary weaver\"");
    }

    #[test]
    fn entry_ids_sort_as_their_numbers() {
        let (a, b) = (EntryId::from_raw(31), EntryId::from_raw(32));
        assert_eq!(a.to_string(), "0000000000z");
        assert!(a.to_string() < b.to_string());
        assert_eq!(b.to_string().parse::<EntryId>().unwrap(), b);
        assert!("0000000000u".parse::<EntryId>().is_err());
    }
}
