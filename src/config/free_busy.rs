//! Where a domain's free/busy times come from, and who may ask for them.
//!
//! Invariants: a [`UrlPattern`] is an absolute http or https URL whatever it is filled in with; a user's name never gets
//! outside of the part of the path or query that `%u` stands in, and never into the host.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Config, Size, Span, Users};
use crate::config::source::Problem;
use crate::ident::UserId;

/// Bounds of the look-ups behind FREEBUSY.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FreeBusy {
    /// For one source, and for another organization's server, to answer.
    pub timeout: Span,
    /// Octets of one published calendar or answer.
    pub max_size: Size,
}

/// Who may ask when the users of a domain are busy; everybody else is told what is told of a user who does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FreeBusyFor {
    Nobody,
    /// Clients that have logged in, and those in `cip.relay-networks`.
    #[default]
    Authenticated,
    /// These, and the servers of the `[[peer]]` tables, known by the addresses that their names lead to.
    Peers,
    Anyone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The events of the relay's own ledger that the user owns or has accepted.
    Ledger,
    /// A published iCalendar or free/busy file.
    Url,
    /// A calendar collection on a CalDAV server (RFC 4791).
    Caldav,
}

/// A report of RFC 4791.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// 7.10: the server works out the times. Where it lacks that, `calendar-query` follows.
    FreeBusyQuery,
    /// 7.8: the server gives the events, and the relay works out the times.
    CalendarQuery,
}

/// One source of a domain's free/busy times; what several tell is put together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FreeBusySource {
    pub source: SourceKind,
    /// With `%u` for the user's local part and `%d` for the domain.
    pub url: Option<UrlPattern>,
    /// Which CalDAV report is asked for first; default: `free-busy-query`.
    pub report: Option<Report>,
    /// Log in there, with the password in the file.
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
}

/// A URL in which `%u` stands for a local part and `%d` for a domain; `%` and two hexadecimal digits stand for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UrlPattern(String);

impl TryFrom<String> for UrlPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = |what: &str| format!("{text:?} {what}");
        let octets = text.as_bytes();
        for (at, _) in text.match_indices('%') {
            let next = |n: usize| octets.get(at + n).copied().unwrap_or(0);
            match next(1) {
                b'd' if next(2).is_ascii_hexdigit() => {
                    return Err(bad("leaves open whether %d or an encoded octet is meant; write the octet in upper case (%D0)"));
                }
                b'u' | b'd' => {}
                a if a.is_ascii_hexdigit() && next(2).is_ascii_hexdigit() => {}
                _ => return Err(bad("has a % that is neither %u nor %d nor an encoded octet; write %25 for a percent sign")),
            }
        }
        let pattern = Self(text.clone());
        let (Some(url), Some(other)) = (pattern.filled("u", "d.example"), pattern.filled("v", "d.example")) else {
            return Err(bad("is not a URL; write \"https://HOST/PATH\", with %u where the user's name belongs"));
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("is not an http or https URL; write \"https://HOST/PATH\""));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("holds a name or password; write user = … and password-file = … beside it"));
        }
        if (url.host_str(), url.port()) != (other.host_str(), other.port()) {
            return Err(bad("has %u in the host's name, so that a user's name would choose the server; put it into the path"));
        }
        if url.fragment().is_some() {
            return Err(bad("has a `#`, which no server is told; leave out what follows it"));
        }
        Ok(pattern)
    }
}

impl UrlPattern {
    /// The URL of one user. `None`: his name would be a step in the path (`..`).
    pub fn of(&self, user: &UserId) -> Option<reqwest::Url> {
        let local = user.local().to_ascii_lowercase();
        if local.bytes().all(|b| b == b'.') {
            return None;
        }
        self.filled(&local, &user.server().key())
    }

    fn filled(&self, local: &str, domain: &str) -> Option<reqwest::Url> {
        // In one pass, so that nothing in a name is taken for a placeholder.
        let mut parts = self.0.split('%');
        let mut url = parts.next()?.to_owned();
        for part in parts {
            match part.as_bytes().first() {
                Some(b'u') => url.push_str(&(encoded(local) + &part[1..])),
                Some(b'd') => url.push_str(&(encoded(domain) + &part[1..])),
                _ => url.push_str(&format!("%{part}")),
            }
        }
        reqwest::Url::parse(&url).ok().filter(reqwest::Url::has_host)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_each_users_own(&self) -> bool {
        self.0.contains("%u")
    }

    fn is_plain(&self) -> bool {
        self.0.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"))
    }
}

/// All but the unreserved characters of RFC 3986 as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// What the text alone shows to be wrong.
pub(super) fn rules(config: &Config, found: &mut Vec<Problem>) {
    for (i, domain) in config.domain.iter().enumerate() {
        for (n, source) in domain.free_busy.iter().enumerate() {
            let key = |rest: &str| format!("domain[{i}].free-busy[{n}].{rest}");
            source_rules(config, source, &key, found);
            let one = matches!(&domain.users, Users::List(list) if list.len() == 1);
            if let Some(url) = source.url.as_ref().filter(|url| !one && !url.is_each_users_own()) {
                let what =
                    format!("{:?} is the same for all users of {}; write %u where the user's name belongs", url.as_str(), domain.name);
                found.push(config.source.warning(&key("url"), what));
            }
        }
        let twice = domain.free_busy.iter().enumerate().find(|(n, source)| domain.free_busy[..*n].contains(source));
        if let Some((n, _)) = twice {
            found.push(config.source.problem(&format!("domain[{i}].free-busy[{n}]"), "stands there twice; remove one"));
        }
        if let Some(zone) = &domain.time_zone
            && !crate::calendar::is_zone(zone)
        {
            let what = format!("{zone:?} is not a time zone; write an IANA name such as \"Europe/Berlin\"");
            found.push(config.source.problem(&format!("domain[{i}].time-zone"), what));
        }
    }
    for (key, value) in
        [("free-busy.timeout", config.free_busy.timeout.0.as_millis()), ("free-busy.max-size", u128::from(config.free_busy.max_size.0))]
    {
        if value == 0 {
            found.push(config.source.problem(key, "is zero; write a value above zero, or leave it out for the default"));
        }
    }
}

fn source_rules(config: &Config, source: &FreeBusySource, key: &dyn Fn(&str) -> String, found: &mut Vec<Problem>) {
    let at = &config.source;
    match (source.source, &source.url) {
        (SourceKind::Ledger, Some(_)) => found.push(at.problem(&key("url"), "has no meaning for the ledger; remove it")),
        (SourceKind::Url | SourceKind::Caldav, None) => {
            found.push(at.problem(&key("source"), "needs a url beside it, such as url = \"https://cal.tiny.com/%u/calendar/\""));
        }
        _ => {}
    }
    if source.report.is_some() && source.source != SourceKind::Caldav {
        found.push(at.problem(&key("report"), "is for a caldav source alone; remove it"));
    }
    match (&source.user, &source.password_file) {
        (Some(_), _) | (_, Some(_)) if source.source == SourceKind::Ledger => {
            found.push(at.problem(&key("source"), "the ledger asks for no user and password; remove them"));
        }
        (Some(_), None) => found.push(at.problem(&key("user"), "needs a password-file beside it")),
        (None, Some(_)) => found.push(at.problem(&key("password-file"), "needs a user beside it")),
        (Some(user), Some(_)) if user.contains(':') || user.chars().any(char::is_control) => {
            found.push(at.problem(&key("user"), "holds a colon or a control character, which HTTP cannot log in with"));
        }
        (Some(_), Some(_)) if source.url.as_ref().is_some_and(UrlPattern::is_plain) => {
            found.push(
                at.warning(&key("url"), "the password goes over the network in clear text; write https:// unless it is this machine"),
            );
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{check, parse};
    use super::*;

    fn read(free_busy: &str) -> Result<Config, String> {
        let text = format!("[[domain]]\nname = \"tiny.com\"\n{free_busy}\n");
        parse(Path::new("/etc/x.toml"), &text).map_err(|errors| errors.to_string())
    }

    #[test]
    fn sources_are_read_as_they_are_documented() {
        let config = read(
            "free-busy = [{ source = \"ledger\" }, { source = \"url\", url = \"HTTP://cal.%d:8080/%u.ifb\" }, \
             { source = \"caldav\", url = \"https://h/%u/\", user = \"svc\", password-file = \"pw\", report = \"calendar-query\" }]\n\
             free-busy-for = \"peers\"\ntime-zone = \"Europe/Berlin\"",
        )
        .unwrap();
        let domain = &config.domain[0];
        assert_eq!((domain.free_busy.len(), domain.free_busy_for, domain.zone()), (3, FreeBusyFor::Peers, "Europe/Berlin"));
        assert_eq!(domain.free_busy[2].password_file.as_deref(), Some(Path::new("/etc/pw")));
        let url = |user: &str| domain.free_busy[1].url.as_ref().unwrap().of(&UserId::parse(user).unwrap()).map(String::from);
        assert_eq!(url("M.Weaver+%u%d@TINY.com").as_deref(), Some("http://cal.tiny.com:8080/m.weaver%2B%25u%25d.ifb"));
        assert_eq!(url("..@tiny.com"), None);
        let default = read("").unwrap();
        assert_eq!((default.domain[0].free_busy.len(), default.domain[0].free_busy_for), (0, FreeBusyFor::Authenticated));
        assert_eq!(default.domain[0].zone(), "UTC");
    }

    #[test]
    fn what_is_wrong_is_said_where_it_stands() {
        let url = |url: &str| format!("free-busy = [{{ source = \"url\", url = \"{url}\" }}]");
        let table = [
            (url("ftp://h/%u"), "3:38: domain[0].free-busy[0].url:"),
            (url("h/%u"), "is not a URL"),
            (url("http://"), "is not a URL"),
            (url("http:///%u"), "would choose the server"),
            (url("file:///etc/%u"), "is not"),
            (url("http://%u.h/"), "would choose the server"),
            (url("http://svc:pw@h/%u"), "password-file"),
            (url("http://h/%u#x"), "`#`"),
            (url("http://h/%x"), "neither %u nor %d"),
            (url("http://h/%"), "neither %u nor %d"),
            (url("http://h/%d0%90"), "upper case"),
            ("free-busy = [{ source = \"url\" }]".into(), "needs a url"),
            ("free-busy = [{ source = \"web\" }]".into(), "\"web\" is not known here; write \"ledger\" or \"url\" or \"caldav\""),
            ("free-busy = [{ url = \"http://h/%u\" }]".into(), "`source` is missing"),
            ("free-busy = [{ source = \"ledger\", url = \"http://h/%u\" }]".into(), "no meaning for the ledger"),
            ("free-busy = [{ source = \"ledger\", user = \"x\" }]".into(), "asks for no user"),
            ("free-busy = [{ source = \"ledger\", uri = \"x\" }]".into(), "no such key; write `url`"),
            ("free-busy = [{ source = \"ledger\" }, { source = \"ledger\" }]".into(), "stands there twice"),
            ("free-busy = [{ source = \"url\", url = \"http://h/%u\", user = \"x\" }]".into(), "needs a password-file"),
            ("free-busy = [{ source = \"url\", url = \"http://h/%u\", password-file = \"x\" }]".into(), "needs a user"),
            ("free-busy = [{ source = \"url\", url = \"http://h/%u\", report = \"calendar-query\" }]".into(), "caldav source alone"),
            ("free-busy-for = \"everybody\"".into(), "\"everybody\" is not known here"),
            ("time-zone = \"Mars/Olympus\"".into(), "is not a time zone"),
            ("[free-busy]\ntimeout = \"0s\"".into(), "is zero"),
            ("[free-busy]\ntime = \"1s\"".into(), "no such key; known here: timeout, max-size"),
        ];
        for (text, words) in table {
            let errors = read(&text).map(|_| ()).expect_err(&text);
            assert!(errors.contains(words) && errors.lines().count() == 1, "{text}: {errors}");
        }
    }

    #[test]
    fn what_the_machine_lacks_and_what_deserves_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let with = |url: &str, file: &str| {
            let text = format!(
                "data-dir = \"data\"\n[[domain]]\nname = \"tiny.com\"\nfree-busy = [{{ source = \"caldav\", url = \"{url}\", user = \"svc\", password-file = \"{file}\" }}]"
            );
            let config = parse(&folder.path().join("x.toml"), &text).unwrap();
            check(&config).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert!(with("https://h/%u", "absent").contains("domain[0].free-busy[0].password-file: "));
        std::fs::write(folder.path().join("pw"), "secret\n").unwrap();
        assert!(
            with("http://h/%u", "pw").contains("warning: domain[0].free-busy[0].url: the password goes over the network in clear text")
        );
        assert!(with("https://h/all", "pw").contains("is the same for all users"));
        assert!(!with("https://h/%u", "pw").contains("free-busy[0].url"));
    }
}
