//! How the values of the configuration are written: durations, sizes, listening addresses, smarthosts, users.
//!
//! Invariant: every error says what was written, that it does not fit, and what to write instead.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};

use super::{Alias, Listen, Size, Smarthost, Span, TlsUse, UserProbe, Users};

/// How long the mail server's word on an address counts: a new user is found soon, one who leaves is rare.
const FOUND: Span = Span(Duration::from_hours(24));
const NOT_FOUND: Span = Span(Duration::from_mins(15));

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split_unit(&text);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(format!("{text:?} is not a duration; write a number and one of ms s m h d, such as \"30s\" or \"4h\"")),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(unit_ms))
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("{text:?} is not a duration; write a whole number before the unit, such as \"30s\""))
    }
}

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split_unit(&text);
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(format!("{text:?} is not a size; write a number and one of KiB MiB GiB, such as \"10 MiB\"")),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size; write a whole number before the unit, such as \"10 MiB\""))
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_| format!("{text:?} is not a listening address; write \"127.0.0.1:2525\", \"[::1]:2525\" or \"unix:/path\""))
    }
}

impl TryFrom<String> for Smarthost {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is not a mail server; write \"smtp://HOST:PORT\" or \"smtps://HOST:PORT\", with ?tls=required, opportunistic or none"
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let implicit_tls = match scheme {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(bad()),
        };
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tls = match query {
            "" if implicit_tls => TlsUse::Required,
            "" | "tls=opportunistic" => TlsUse::Opportunistic,
            "tls=required" => TlsUse::Required,
            "tls=none" if !implicit_tls => TlsUse::Never,
            _ => return Err(bad()),
        };
        let default_port = if implicit_tls { 465 } else { 25 };
        let (host, port) = split_host_port(address.trim_end_matches('/')).ok_or_else(bad)?;
        Ok(Self { host, port: port.unwrap_or(default_port), implicit_tls, tls })
    }
}

/// `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT`; the brackets are taken off.
pub fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return None;
    }
    let port = match port {
        Some(p) => Some(p.parse().ok().filter(|&p: &u16| p != 0)?),
        None => None,
    };
    Some((host.to_owned(), port))
}

impl<'de> Deserialize<'de> for Alias {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AliasVisitor)
    }
}

struct AliasVisitor;

impl<'de> Visitor<'de> for AliasVisitor {
    type Value = Alias;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user such as \"mary\", or a list such as [\"mary\", \"tom@jumbo.com\"]")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Alias, E> {
        Ok(Alias(vec![name.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Alias, A::Error> {
        let mut list = Vec::new();
        while let Some(name) = items.next_element::<String>()? {
            list.push(name);
        }
        Ok(Alias(list))
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UsersVisitor)
    }
}

/// By hand rather than `untagged`, whose only error is "did not match any variant".
struct UsersVisitor;

impl<'de> Visitor<'de> for UsersVisitor {
    type Value = Users;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"any\", a list of local parts, { file = \"users.txt\" } or { probe = \"smtp://127.0.0.1:25\" }")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Users, E> {
        match word {
            "any" => Ok(Users::Any),
            _ => Err(E::custom(format!(
                "{word:?} is not known as users; write \"any\", a list such as [{word:?}], or {{ file = {word:?} }}"
            ))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Users, A::Error> {
        let mut list = Vec::new();
        while let Some(name) = items.next_element::<String>()? {
            list.push(name);
        }
        Ok(Users::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Users, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct UsersTable {
            file: Option<PathBuf>,
            probe: Option<Smarthost>,
            found: Option<Span>,
            not_found: Option<Span>,
        }
        use serde::de::Error as _;
        let table = UsersTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        match (table.file, table.probe) {
            (Some(file), None) if table.found.is_none() && table.not_found.is_none() => Ok(Users::File { file }),
            (Some(_), None) => Err(A::Error::custom("found and not-found are for `probe` alone; remove them beside `file`")),
            (None, Some(server)) => {
                Ok(Users::Probe(UserProbe { server, found: table.found.unwrap_or(FOUND), not_found: table.not_found.unwrap_or(NOT_FOUND) }))
            }
            (Some(_), Some(_)) => Err(A::Error::custom("file and probe are two ways to know the users; keep one")),
            (None, None) => Err(A::Error::missing_field("file (or probe)")),
        }
    }
}
