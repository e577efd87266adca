//! The credentials file: who may log in to the CIP listener, and who of them may send to remote users.
//!
//! One identity a line, `IDENTITY:ARGON2ID:SCRAM-VERIFIER [relay]`; blank lines and lines that begin with `#` pass. The
//! first two colons divide: an Argon2id hash (PHC form, `$argon2id$v=19$m=…`) holds none, and everything behind the
//! second, colons included, is the SCRAM verifier in the form of RFC 5803, `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER`
//! with base64. The word `relay` after a blank lets the identity send to remote users. LOGIN checks the Argon2id hash;
//! the verifier serves SCRAM, which an Argon2id hash cannot.
//!
//! Invariants: [`Credentials::verify`] computes exactly one Argon2id hash whether or not the identity is known; no
//! password and no hash is ever shown by `Debug` or in an error.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::{Digest, Sha256};

use crate::listen::Login;

/// Iterations of a new SCRAM verifier; RFC 7677 4 asks for at least 4096.
const SCRAM_ITERATIONS: u32 = 16_384;
/// What a hash in the file may cost, so that a mistyped parameter does not take the machine's memory.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_FILE: u64 = 16 << 20;

/// Why a credentials file, or a line of one, was refused.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("{path}: {error}; make it with `cip-relay passwd IDENTITY >> {path}`, readable for the relay")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{path}:{line}: {what}; write a line with `cip-relay passwd IDENTITY`")]
    Line { path: PathBuf, line: usize, what: String },
    #[error("{0:?} cannot be an identity: it is one word of up to 255 octets without `:`, such as \"jumbo.com\"")]
    Identity(String),
    #[error("the password is empty, longer than 1024 octets, or contains control characters")]
    Password,
}

/// The SCRAM-SHA-256 verifier of one identity (RFC 5802 3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

struct Identity {
    /// As the file spells it.
    name: String,
    argon2: String,
    scram: ScramVerifier,
    relay: bool,
}

/// All identities of a file. Identities compare without regard to ASCII case, as server-ids do.
pub struct Credentials {
    identities: HashMap<String, Identity>,
    /// Checked when the identity is unknown, so that the answer takes as long.
    dummy: String,
}

impl Default for Credentials {
    /// Nobody may log in.
    fn default() -> Self {
        Self { identities: HashMap::new(), dummy: hash(b"nobody").unwrap_or_default() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} identities)", self.identities.len())
    }
}

impl Credentials {
    /// Reads a file; the first bad line refuses all of it.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let unreadable = |error| CredentialsError::Read { path: path.to_owned(), error };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
            return Err(unreadable(std::io::Error::other("larger than 16 MiB")));
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// [`Credentials::load`] of a text that has been read; `path` is for errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, CredentialsError> {
        let mut identities: HashMap<String, Identity> = HashMap::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |what: String| CredentialsError::Line { path: path.to_owned(), line: n + 1, what };
            let identity = parse_line(line).map_err(bad)?;
            let key = identity.name.to_ascii_lowercase();
            if let Some(twice) = identities.insert(key, identity) {
                return Err(CredentialsError::Line {
                    path: path.to_owned(),
                    line: n + 1,
                    what: format!("{} stands here twice", twice.name),
                });
            }
        }
        Ok(Self { identities, ..Self::default() })
    }

    pub fn is_empty(&self) -> bool {
        self.identities.is_empty()
    }

    pub fn len(&self) -> usize {
        self.identities.len()
    }

    /// Checks a password. Takes some ten milliseconds and 19 MiB: call it from a blocking thread, and bound how many at
    /// a time. Costs the same for an unknown identity (profile 4).
    pub fn verify(&self, identity: &str, password: &[u8]) -> Option<Login> {
        let known = self.identities.get(&identity.to_ascii_lowercase());
        let text = known.map_or(self.dummy.as_str(), |i| i.argon2.as_str());
        let hash = PasswordHash::new(text).ok()?;
        let matches = Argon2::default().verify_password(password, &hash).is_ok();
        known.filter(|_| matches).map(|i| Login { identity: i.name.clone(), relay: i.relay })
    }

    /// What SCRAM-SHA-256 needs of an identity, and whether it may relay.
    pub fn scram(&self, identity: &str) -> Option<(&ScramVerifier, bool)> {
        self.identities.get(&identity.to_ascii_lowercase()).map(|i| (&i.scram, i.relay))
    }
}

fn parse_line(line: &str) -> Result<Identity, String> {
    let mut words = line.split_whitespace();
    let fields = words.next().ok_or("the line is empty")?;
    let relay = match (words.next(), words.next()) {
        (None, _) => false,
        (Some("relay"), None) => true,
        (Some(word), _) => return Err(format!("{word:?} after the verifier is not known; only `relay` may stand there")),
    };
    let mut parts = fields.splitn(3, ':');
    let (Some(name), Some(argon2), Some(scram)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("is not IDENTITY:ARGON2ID:SCRAM-VERIFIER".to_owned());
    };
    if !valid_identity(name) {
        return Err("the identity is empty or too long".to_owned());
    }
    let hash = PasswordHash::new(argon2).map_err(|_| format!("the hash of {name} is not an Argon2id hash"))?;
    let params = Params::try_from(&hash).map_err(|_| format!("the hash of {name} has parameters that do not fit Argon2id"))?;
    if hash.algorithm != argon2::ARGON2ID_IDENT || hash.hash.is_none() {
        return Err(format!("the hash of {name} is not a whole Argon2id hash"));
    }
    if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES {
        return Err(format!("the hash of {name} costs more than {MAX_MEMORY_KIB} KiB of memory or {MAX_PASSES} passes"));
    }
    let scram = scram.parse().map_err(|()| format!("the SCRAM verifier of {name} is not SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER"))?;
    Ok(Identity { name: name.to_owned(), argon2: argon2.to_owned(), scram, relay })
}

fn valid_identity(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.starts_with('#') && !name.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control())
}

/// A line for the file, with fresh salts.
pub fn line(identity: &str, password: &[u8], relay: bool) -> Result<String, CredentialsError> {
    if !valid_identity(identity) {
        return Err(CredentialsError::Identity(identity.chars().take(80).collect()));
    }
    if password.is_empty() || password.len() > 1024 || password.iter().any(u8::is_ascii_control) {
        return Err(CredentialsError::Password);
    }
    let argon2 = hash(password).ok_or(CredentialsError::Password)?;
    let scram = ScramVerifier::new(password, &random::<16>(), SCRAM_ITERATIONS);
    Ok(format!("{identity}:{argon2}:{scram}{}", if relay { " relay" } else { "" }))
}

/// An Argon2id hash in PHC form with the crate's recommended cost (19 MiB, 2 passes).
fn hash(password: &[u8]) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    argon2.hash_password(password, &salt).ok().map(|hash| hash.to_string())
}

fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    rand::rng().fill_bytes(&mut octets);
    octets
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl ScramVerifier {
    /// StoredKey and ServerKey of RFC 5802 3 for SHA-256 (RFC 7677).
    pub fn new(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        // Hi(): PBKDF2 with one block, since the key is as long as the hash.
        let mut u = hmac(password, &[salt, &1u32.to_be_bytes()]);
        let mut salted = u;
        for _ in 1..iterations {
            u = hmac(password, &[&u]);
            salted.iter_mut().zip(u).for_each(|(s, u)| *s ^= u);
        }
        let stored_key = Sha256::digest(hmac(&salted, &[b"Client Key"])).into();
        Self { iterations, salt: salt.to_vec(), stored_key, server_key: hmac(&salted, &[b"Server Key"]) }
    }
}

impl fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key)
        )
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramVerifier({} iterations)", self.iterations)
    }
}

impl std::str::FromStr for ScramVerifier {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.strip_prefix("SCRAM-SHA-256$").ok_or(())?.split('$');
        let (first, keys) = (parts.next().ok_or(())?, parts.next().ok_or(())?);
        let (iterations, salt) = first.split_once(':').ok_or(())?;
        let (stored, server) = keys.split_once(':').ok_or(())?;
        let iterations = iterations.parse().ok().filter(|i| (4096..=10_000_000).contains(i)).ok_or(())?;
        let salt = BASE64.decode(salt).ok().filter(|s| (8..=255).contains(&s.len())).ok_or(())?;
        let key = |text: &str| BASE64.decode(text).ok().and_then(|k| <[u8; 32]>::try_from(k).ok()).ok_or(());
        if parts.next().is_some() {
            return Err(());
        }
        Ok(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        Credentials::parse(Path::new("credentials"), text)
    }

    #[test]
    fn a_line_that_was_made_is_read_and_verifies() {
        let text =
            format!("# who may relay\n\n{}\n{}\n", line("jumbo.com", b"s e:c$r,et", true).unwrap(), line("Tom", b"x", false).unwrap());
        let credentials = parse(&text).unwrap();
        assert_eq!(credentials.len(), 2);
        let jumbo = credentials.verify("JUMBO.com", b"s e:c$r,et").unwrap();
        assert_eq!((jumbo.identity.as_str(), jumbo.relay), ("jumbo.com", true));
        assert!(!credentials.verify("tom", b"x").unwrap().relay);
        for (identity, password) in [("jumbo.com", &b"secret"[..]), ("jumbo.com", b""), ("nobody", b"nobody"), ("", b"")] {
            assert!(credentials.verify(identity, password).is_none(), "{identity}");
        }
        let (scram, relay) = credentials.scram("jumbo.com").unwrap();
        assert!(relay);
        assert_eq!(*scram, ScramVerifier::new(b"s e:c$r,et", &scram.salt, scram.iterations));
    }

    /// The example of RFC 7677 3: user "user", password "pencil"; the server's signature in it proves the ServerKey.
    #[test]
    fn the_verifier_agrees_with_the_example_of_rfc_7677() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let scram = ScramVerifier::new(b"pencil", &salt, 4096);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac(&scram.server_key, &[message.as_bytes()]);
        assert_eq!(BASE64.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(scram.to_string().parse::<ScramVerifier>(), Ok(scram));
    }

    #[test]
    fn bad_lines_are_refused_with_their_number() {
        let good = line("a.com", b"x", false).unwrap();
        let (argon2, scram) = good.strip_prefix("a.com:").unwrap().split_once(':').unwrap();
        let weak = argon2.replace("m=19456", "m=99999999");
        for (bad, why) in [
            ("jumbo.com".to_owned(), "IDENTITY:ARGON2ID:SCRAM-VERIFIER"),
            (format!("a.com:{argon2}"), "IDENTITY:ARGON2ID:SCRAM-VERIFIER"),
            (format!(":{argon2}:{scram}"), "identity is empty"),
            (format!("a.com:plain:{scram}"), "not an Argon2id hash"),
            (format!("a.com:{}:{scram}", argon2.replace("argon2id", "argon2i")), "not a whole Argon2id"),
            (format!("a.com:{weak}:{scram}"), "costs more"),
            (format!("a.com:{argon2}:{}", scram.replace("256$16384", "256$12")), "SCRAM verifier"),
            (format!("a.com:{argon2}:{scram}$"), "SCRAM verifier"),
            (format!("{good} admin"), "only `relay`"),
            (format!("{good} relay relay"), "only `relay`"),
            (format!("{good}\n{}", good.replace("a.com", "A.COM")), "twice"),
        ] {
            let error = parse(&format!("# first line\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(error.starts_with(if why == "twice" { "credentials:3:" } else { "credentials:2:" }), "{error}");
            assert!(!error.contains("$argon2"), "no hash in an error: {error}");
        }
    }

    #[test]
    fn identities_and_passwords_that_would_break_the_file_are_refused() {
        for identity in ["", "a:b", "a b", "a\nb", "#a", &"a".repeat(256)] {
            assert!(matches!(line(identity, b"x", false), Err(CredentialsError::Identity(_))), "{identity:?}");
        }
        for password in [&b""[..], b"a\nb", &[b'a'; 1025]] {
            assert!(matches!(line("a", password, false), Err(CredentialsError::Password)));
        }
    }
}
