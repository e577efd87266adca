//! Reverse-path and forward-path: `<local@domain>` and its kin (RFC 5321 4.1.2, RFC 6531 3.3).
//!
//! Written here because the grammar crate drops the quotes of a local part, refuses address literals and turns
//! `<postmaster>` into the null path. Invariant: a path that was read holds no control character and its mailbox stands
//! as it was given: a relay does not rewrite another host's local part (RFC 5321 2.3.11).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::ident::ServerId;

/// Octets of a local part that are taken. RFC 5321 4.5.3.1.1 asks for 64 at least and advises against a fixed limit;
/// gateway addresses, which hold a whole address in theirs, need more.
pub const MAX_LOCAL: usize = 255;

/// What stood between the angle brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path<'a> {
    /// `<>`
    Null,
    /// `<postmaster>` without a domain, in any case.
    Postmaster(&'a str),
    Mailbox(&'a str),
}

impl<'a> Path<'a> {
    /// As it was given, without the angle brackets; the null path is `""`.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Null => "",
            Self::Postmaster(text) | Self::Mailbox(text) => text,
        }
    }
}

/// Why a path was refused; each is the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("address is not in angle brackets: <local@domain>")]
    Brackets,
    #[error("source route before the address is malformed")]
    Route,
    #[error("local part of the address is malformed")]
    Local,
    #[error("local part of the address is longer than 255 octets")]
    LocalTooLong,
    #[error("address has no domain")]
    NoDomain,
    #[error("domain of the address is malformed")]
    Domain,
}

/// Reads the path at the start of `text`; gives what follows its `>` beside it.
pub fn read(text: &str) -> Result<(Path<'_>, &str), PathError> {
    let inner = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    if let Some(rest) = inner.strip_prefix('>') {
        return Ok((Path::Null, rest));
    }
    let mailbox = skip_route(inner)?;
    let local = local_part(mailbox)?;
    if local == 0 {
        return Err(PathError::Local);
    }
    if local > MAX_LOCAL {
        return Err(PathError::LocalTooLong);
    }
    let (name, rest) = mailbox.split_at(local);
    if let Some(rest) = rest.strip_prefix('>') {
        // A route in front means that a domain was to follow.
        let bare = mailbox.len() == inner.len() && name.eq_ignore_ascii_case("postmaster");
        return if bare { Ok((Path::Postmaster(name), rest)) } else { Err(PathError::NoDomain) };
    }
    let domain = rest.strip_prefix('@').ok_or(PathError::Local)?;
    // Neither a domain nor a literal can hold `>`.
    let (domain, rest) = domain.split_once('>').ok_or(PathError::Brackets)?;
    if !is_host(domain) {
        return Err(PathError::Domain);
    }
    Ok((Path::Mailbox(&mailbox[..local + 1 + domain.len()]), rest))
}

/// A domain name, or an address literal `[192.0.2.1]`, `[IPv6:2001:db8::1]`. Other kinds of literal have no registered
/// meaning and are refused.
pub fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(literal) => match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => literal[5..].parse::<Ipv6Addr>().is_ok(),
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        },
        None => !text.ends_with('.') && ServerId::parse(text).is_ok(),
    }
}

/// Drops `@a,@b:` (RFC 5321 C: accepted and ignored).
fn skip_route(text: &str) -> Result<&str, PathError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, mailbox) = text.split_once(':').ok_or(PathError::Route)?;
    let good = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(|host| ServerId::parse(host).is_ok()));
    if good { Ok(mailbox) } else { Err(PathError::Route) }
}

/// The length of the local part at the start of `text`.
fn local_part(text: &str) -> Result<usize, PathError> {
    if text.starts_with('"') {
        return quoted(text);
    }
    let end = text.find(['@', '>']).ok_or(PathError::Brackets)?;
    if text[..end].split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) { Ok(end) } else { Err(PathError::Local) }
}

fn quoted(text: &str) -> Result<usize, PathError> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(at + 1),
            '\\' => match chars.next() {
                Some((_, ' '..='~')) => {}
                _ => return Err(PathError::Local),
            },
            c if c.is_control() => return Err(PathError::Local),
            _ => {}
        }
    }
    Err(PathError::Local)
}

/// RFC 5322 atext; RFC 6531 adds every character beyond ASCII. Blanks and controls beyond ASCII are refused, since they
/// only ever disguise an address.
fn is_atext(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) } else { !c.is_control() && !c.is_whitespace() }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, Result<(Path<'a>, &'a str), PathError>);

    #[test]
    fn paths() {
        use Path::{Mailbox, Null, Postmaster};
        let long_local = format!("<{}@tiny.com>", "a".repeat(255));
        let too_long_local = format!("<{}@tiny.com>", "a".repeat(256));
        let long_label = format!("<a@{}.com>", "b".repeat(64));
        let long_domain = format!("<a@{}com>", "b.".repeat(126));
        let table: &[Row] = &[
            ("<>", Ok((Null, ""))),
            ("<> SIZE=1", Ok((Null, " SIZE=1"))),
            ("<mary@tiny.com>", Ok((Mailbox("mary@tiny.com"), ""))),
            ("<mary@tiny.com>X", Ok((Mailbox("mary@tiny.com"), "X"))),
            ("<tom=jumbo.com@cip.tiny.com>", Ok((Mailbox("tom=jumbo.com@cip.tiny.com"), ""))),
            ("<postMaster>", Ok((Postmaster("postMaster"), ""))),
            ("<postmaster@tiny.com>", Ok((Mailbox("postmaster@tiny.com"), ""))),
            ("<@a.example,@b.example:mary@tiny.com>", Ok((Mailbox("mary@tiny.com"), ""))),
            ("<@a.example:postmaster>", Err(PathError::NoDomain)),
            ("<@a.example,b:mary@tiny.com>", Err(PathError::Route)),
            ("<@a.example>", Err(PathError::Route)),
            // Quoted local parts, with what would end the path or the mailbox outside of quotes.
            ("<\"mary weaver\"@tiny.com>", Ok((Mailbox("\"mary weaver\"@tiny.com"), ""))),
            ("<\"a@b>c\"@tiny.com> X", Ok((Mailbox("\"a@b>c\"@tiny.com"), " X"))),
            ("<\"a\\\"b\\\\\"@tiny.com>", Ok((Mailbox("\"a\\\"b\\\\\"@tiny.com"), ""))),
            ("<\"\"@tiny.com>", Ok((Mailbox("\"\"@tiny.com"), ""))),
            ("<\"a@tiny.com>", Err(PathError::Local)),
            ("<\"a\"b@tiny.com>", Err(PathError::Local)),
            ("<\"a\\\u{e9}\"@tiny.com>", Err(PathError::Local)),
            ("<\"a\tb\"@tiny.com>", Err(PathError::Local)),
            // Address literals.
            ("<mary@[192.0.2.1]>", Ok((Mailbox("mary@[192.0.2.1]"), ""))),
            ("<mary@[IPv6:2001:db8::1]>", Ok((Mailbox("mary@[IPv6:2001:db8::1]"), ""))),
            ("<mary@[ipv6:::1]>", Ok((Mailbox("mary@[ipv6:::1]"), ""))),
            ("<mary@[192.0.2.256]>", Err(PathError::Domain)),
            ("<mary@[2001:db8::1]>", Err(PathError::Domain)),
            ("<mary@[x400:foo]>", Err(PathError::Domain)),
            ("<mary@[]>", Err(PathError::Domain)),
            ("<mary@[\u{e9}\u{e9}\u{e9}]>", Err(PathError::Domain)),
            ("<mary@[192.0.2.1>", Err(PathError::Domain)),
            // Beyond ASCII.
            ("<j\u{f6}rg@m\u{fc}ller.example>", Ok((Mailbox("j\u{f6}rg@m\u{fc}ller.example"), ""))),
            ("<a\u{2003}b@tiny.com>", Err(PathError::Local)),
            ("<a\u{85}b@tiny.com>", Err(PathError::Local)),
            // Nonsense.
            ("", Err(PathError::Brackets)),
            ("mary@tiny.com", Err(PathError::Brackets)),
            ("<mary@tiny.com", Err(PathError::Brackets)),
            ("<mary", Err(PathError::Brackets)),
            ("<mary>", Err(PathError::NoDomain)),
            ("<@>", Err(PathError::Route)),
            ("<@:>", Err(PathError::Route)),
            ("<mary@>", Err(PathError::Domain)),
            ("<mary@tiny..com>", Err(PathError::Domain)),
            ("<mary@tiny.com.>", Err(PathError::Domain)),
            ("<mary@-tiny.com>", Err(PathError::Domain)),
            ("<mary@a@b>", Err(PathError::Domain)),
            ("<.mary@tiny.com>", Err(PathError::Local)),
            ("<mary.@tiny.com>", Err(PathError::Local)),
            ("<ma..ry@tiny.com>", Err(PathError::Local)),
            ("<ma ry@tiny.com>", Err(PathError::Local)),
            ("< mary@tiny.com>", Err(PathError::Local)),
            ("<mary@tiny.com >", Err(PathError::Domain)),
            ("<<mary@tiny.com>>", Err(PathError::Local)),
            ("<mary(x)@tiny.com>", Err(PathError::Local)),
            (&long_local, Ok((Mailbox(&long_local[1..long_local.len() - 1]), ""))),
            (&too_long_local, Err(PathError::LocalTooLong)),
            (&long_label, Err(PathError::Domain)),
            (&long_domain, Err(PathError::Domain)),
        ];
        for (text, want) in table {
            assert_eq!(&read(text), want, "{text:?}");
        }
    }
}
