//! Addresses of the relay's own: reply and bounce tokens, and gateway addresses (bridge 1, 4).
//!
//! Invariants: a token is 27 lower case letters and digits, the first of which tells its kind, the others 130 bits of an
//! HMAC; the same inputs always give the same token. Tokens are stored with what they mean (the ledger's task) and never
//! recomputed to find out: [`Token::parse`] says only that a local part looks like one.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::ident::{EventId, IdentError, ServerId, UserId};

/// What mail to a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// In ORGANIZER and Reply-To: an answer to the event's owner.
    Reply,
    /// The envelope sender: a delivery report.
    Bounce,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Reply => 'r',
            Self::Bounce => 'b',
        }
    }
}

/// The local part of a reply or bounce address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Box<str>);

/// Characters after the first; five bits each.
const DIGITS: usize = 26;
/// RFC 4648 base32 in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Token {
    /// The token of (event, owner, recipient) for one kind. Addresses count without case, the event-id with it.
    pub fn derive(secret: &[u8; 32], event: &EventId, owner: &UserId, recipient: &UserId, kind: Kind) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        for field in ["cip-relay address 1", kind.letter().encode_utf8(&mut [0; 4]), event.as_str(), &owner.key(), &recipient.key()] {
            // The length first, so that no two lists of fields give the same octets.
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field.as_bytes());
        }
        let digest = mac.finalize().into_bytes();
        let mut text = String::from(kind.letter());
        text.extend((0..DIGITS).map(|i| {
            let (byte, shift) = (i * 5 / 8, i * 5 % 8);
            let pair = u16::from_be_bytes([digest[byte], digest[byte + 1]]);
            char::from(BASE32[usize::from(pair >> (11 - shift) & 31)])
        }));
        Self(text.into())
    }

    /// Whether a local part looks like a token; its case is not kept by all mail systems and does not count.
    pub fn parse(local: &str) -> Option<Self> {
        let text = local.to_ascii_lowercase();
        let looks = text.len() == DIGITS + 1 && text.starts_with(['r', 'b']) && text.bytes().skip(1).all(|b| BASE32.contains(&b));
        looks.then(|| Self(text.into()))
    }

    pub fn kind(&self) -> Kind {
        if self.0.starts_with('b') { Kind::Bounce } else { Kind::Reply }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `token@mail-domain`.
    pub fn at(&self, mail_domain: &ServerId) -> UserId {
        UserId::new(&self.0, mail_domain.clone()).expect("27 letters and digits are a local part")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Gateway addresses `user=domain@mail-domain`: how a mail program names a person on a CIP server (bridge 1).
pub struct Gateway;

impl Gateway {
    /// The person behind a gateway address. `None`: no gateway address (another domain, or no `=`). An error: one that
    /// names nobody, or leads back to the gateway itself.
    pub fn unwrap(address: &UserId, mail_domain: &ServerId) -> Option<Result<UserId, IdentError>> {
        if address.server() != mail_domain {
            return None;
        }
        let quoted = address.local().strip_prefix('"').and_then(|l| l.strip_suffix('"'));
        let (user, domain) = quoted.unwrap_or(address.local()).rsplit_once('=')?;
        let local = if quoted.is_some() { format!("\"{user}\"") } else { user.to_owned() };
        let bad = || IdentError::UserId(address.to_string());
        Some(
            ServerId::parse(domain)
                .map_err(|_| bad())
                .and_then(|server| if server == *mail_domain { Err(bad()) } else { UserId::new(&local, server).map_err(|_| bad()) }),
        )
    }

    /// The gateway address of a person; an error when it would be too long for a local part.
    pub fn wrap(user: &UserId, mail_domain: &ServerId) -> Result<UserId, IdentError> {
        let local = match user.local().strip_suffix('"') {
            Some(quoted) => format!("{quoted}={}\"", user.server()),
            None => format!("{}={}", user.local(), user.server()),
        };
        UserId::new(&local, mail_domain.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn token(event: &str, owner: &str, recipient: &str, kind: Kind) -> Token {
        Token::derive(&[7; 32], &EventId::parse(event).unwrap(), &user(owner), &user(recipient), kind)
    }

    #[test]
    fn a_token_is_stable_and_tells_its_kind() {
        let reply = token("1@jumbo.com", "tom@jumbo.com", "mary@tiny.com", Kind::Reply);
        assert_eq!(reply, token("1@jumbo.com", "TOM@Jumbo.com", "Mary@tiny.COM", Kind::Reply));
        assert_eq!(reply.as_str().len(), 27);
        assert!(reply.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_eq!(reply.kind(), Kind::Reply);
        let bounce = token("1@jumbo.com", "tom@jumbo.com", "mary@tiny.com", Kind::Bounce);
        assert_eq!(bounce.kind(), Kind::Bounce);
        assert_ne!(reply.as_str()[1..], bounce.as_str()[1..]);
        assert_eq!(Token::parse(&reply.as_str().to_ascii_uppercase()), Some(reply));
    }

    #[test]
    fn every_field_and_the_secret_make_another_token() {
        let base = token("1@jumbo.com", "tom@jumbo.com", "mary@tiny.com", Kind::Reply);
        let others = [
            token("2@jumbo.com", "tom@jumbo.com", "mary@tiny.com", Kind::Reply),
            token("1@JUMBO.com", "tom@jumbo.com", "mary@tiny.com", Kind::Reply),
            token("1@jumbo.com", "tim@jumbo.com", "mary@tiny.com", Kind::Reply),
            token("1@jumbo.com", "tom@jumbo.com", "marv@tiny.com", Kind::Reply),
            Token::derive(&[8; 32], &EventId::parse("1@jumbo.com").unwrap(), &user("tom@jumbo.com"), &user("mary@tiny.com"), Kind::Reply),
        ];
        assert!(others.iter().all(|t| *t != base));
    }

    #[test]
    fn what_is_no_token() {
        for local in ["", "mary", "robert.with.a.long.name.xyz", &"r".repeat(26), &"r".repeat(28), &"x".repeat(27), &"r1".repeat(13)] {
            assert_eq!(Token::parse(local), None, "{local}");
        }
    }

    #[test]
    fn gateway_addresses() {
        let gateway = ServerId::parse("cip.tiny.com").unwrap();
        let open = |text: &str| Gateway::unwrap(&user(text), &gateway);
        for (wrapped, person) in [
            ("tom=jumbo.com@cip.tiny.com", "tom@jumbo.com"),
            ("Tom=Jumbo.COM@CIP.tiny.com", "Tom@Jumbo.COM"),
            ("a=b=jumbo.com@cip.tiny.com", "a=b@jumbo.com"),
            ("\"tom jones=jumbo.com\"@cip.tiny.com", "\"tom jones\"@jumbo.com"),
        ] {
            assert_eq!(open(wrapped).unwrap().unwrap().to_string(), person);
            assert_eq!(Gateway::wrap(&user(person), &gateway).unwrap(), user(wrapped));
        }
        assert!(open("tom=jumbo.com@tiny.com").is_none());
        assert!(open("tom@cip.tiny.com").is_none());
        for bad in ["=jumbo.com@cip.tiny.com", "tom=@cip.tiny.com", "tom=-x@cip.tiny.com", "a=cip.tiny.com@cip.tiny.com"] {
            assert!(open(bad).unwrap().is_err(), "{bad}");
        }
        assert!(Gateway::wrap(&user(&format!("{}@{}.com", "a".repeat(200), "b".repeat(60))), &gateway).is_err());
    }
}
