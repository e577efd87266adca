//! Whether a mail is from whom it says: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989), checked here, or read from
//! the Authentication-Results (RFC 8601) of a mail server that is trusted (bridge 6).
//!
//! Invariants: a check takes at most [`PATIENCE`] and looks at no more than [`SIGNATURES`] signatures; what the DNS could
//! not say is [`Outcome::TempError`] and never "nothing is published"; SPF is not judged where the client is a mail server
//! of our own side, which says nothing of the sender, and then no failure is concluded from its absence. Nothing is
//! decided here: a [`Findings`] says what was found, and for which domain.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{AuthenticatedMessage, DkimResult, DmarcResult, MessageAuthenticator, SpfOutput, SpfResult};
use tokio::time::timeout;

use crate::config::Config;
use crate::listen::MailClient;
use crate::mime;
use crate::resolver::Resolver;

/// For all look-ups of one message.
const PATIENCE: Duration = Duration::from_secs(20);
/// DKIM signatures looked at.
const SIGNATURES: usize = 8;
/// Authentication-Results fields looked at.
const FIELDS: usize = 20;

/// The result of one method, by the words of RFC 8601 2.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pass,
    Fail,
    SoftFail,
    Neutral,
    None,
    TempError,
    PermError,
}

impl Outcome {
    const ALL: [(Self, &str); 7] = [
        (Self::Pass, "pass"),
        (Self::Fail, "fail"),
        (Self::SoftFail, "softfail"),
        (Self::Neutral, "neutral"),
        (Self::None, "none"),
        (Self::TempError, "temperror"),
        (Self::PermError, "permerror"),
    ];

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|(outcome, _)| outcome)
    }

    fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(outcome, _)| *outcome == self).map_or("none", |(_, name)| name)
    }
}

/// What is known of a mail's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// `None`: not judged.
    pub spf: Option<Outcome>,
    pub dkim: Option<Outcome>,
    pub dmarc: Option<Outcome>,
    /// The domain of From asks that what fails DMARC be quarantined or rejected.
    pub enforced: bool,
    /// The domain of From that DMARC was judged for; `None` when From names several, or nobody.
    pub author: Option<String>,
    /// The server whose word it is; `None`: checked here.
    pub by: Option<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in [("spf", self.spf), ("dkim", self.dkim), ("dmarc", self.dmarc)] {
            if let Some(outcome) = outcome {
                write!(f, "{name}={} ", outcome.word())?;
            }
        }
        match &self.by {
            Some(server) => write!(f, "by {server}"),
            None => f.write_str("checked here"),
        }
    }
}

impl Findings {
    /// Whether From is proved to be in the domain of this address.
    pub fn prove(&self, domain: &str) -> bool {
        self.dmarc == Some(Outcome::Pass) && self.is_of(domain)
    }

    /// Whether it says anything about addresses in this domain.
    pub fn is_of(&self, domain: &str) -> bool {
        self.author.as_deref().is_some_and(|author| author.eq_ignore_ascii_case(domain))
    }
}

/// Who checks. Clones share the resolver's cache.
#[derive(Clone)]
pub struct Authenticator {
    checker: MessageAuthenticator,
    hostname: String,
    authserv_id: Option<String>,
    own_networks: Vec<IpNet>,
}

impl Authenticator {
    pub fn new(config: &Config, resolver: &Resolver) -> Self {
        Self {
            checker: MessageAuthenticator(resolver.library()),
            hostname: config.host_name(),
            authserv_id: config.mail.authserv_id.clone(),
            own_networks: config.mail.trusted_networks.clone(),
        }
    }

    /// What is known of a message's origin. The word of the trusted server comes first; without it, what comes from our own
    /// side is not checked (`None`).
    pub async fn findings(&self, client: &MailClient, sender: &str, message: &[u8]) -> Option<Findings> {
        let message = mime::without_preamble(message);
        if let Some(server) = &self.authserv_id
            && let Some(findings) = reported(&mime::header_values(message, "Authentication-Results", FIELDS), server, message)
        {
            return Some(findings);
        }
        if client.trusted {
            return None;
        }
        let checked = timeout(PATIENCE, self.check(client, sender, message)).await;
        Some(checked.unwrap_or_else(|_| {
            let late = Some(Outcome::TempError);
            Findings { spf: late, dkim: late, dmarc: late, enforced: false, author: None, by: None }
        }))
    }

    async fn check(&self, client: &MailClient, sender: &str, message: &[u8]) -> Findings {
        let address = client.address.filter(|address| !self.own_networks.iter().any(|net| net.contains(address)));
        let spf = match address {
            Some(address) => Some(self.spf(address, &client.helo, sender).await),
            None => None,
        };
        let Some(mut mail) = AuthenticatedMessage::parse(message) else {
            return Findings {
                spf: spf.map(|s| spf_outcome(s.result())),
                dkim: None,
                dmarc: None,
                enforced: false,
                author: None,
                by: None,
            };
        };
        mail.dkim_headers.truncate(SIGNATURES);
        let dkim = self.checker.verify_dkim(&mail).await;
        let unjudged = SpfOutput::default();
        let from = sender.rsplit_once('@').map_or(client.helo.as_str(), |(_, domain)| domain);
        let dmarc = DmarcParameters::new(&mail, &dkim, from, spf.as_ref().unwrap_or(&unjudged));
        let dmarc = self.checker.verify_dmarc(dmarc).await;
        let result = match dmarc.result() {
            DmarcResult::Pass => Outcome::Pass,
            // SPF might have passed.
            DmarcResult::Fail(_) if spf.is_none() => Outcome::None,
            DmarcResult::Fail(_) => Outcome::Fail,
            DmarcResult::TempError(_) => Outcome::TempError,
            DmarcResult::PermError(_) => Outcome::PermError,
            DmarcResult::None => Outcome::None,
        };
        let signed = dkim.iter().map(|signature| match signature.result() {
            DkimResult::Pass => Outcome::Pass,
            DkimResult::TempError(_) => Outcome::TempError,
            DkimResult::Fail(_) => Outcome::Fail,
            DkimResult::Neutral(_) => Outcome::Neutral,
            DkimResult::PermError(_) => Outcome::PermError,
            DkimResult::None => Outcome::None,
        });
        Findings {
            spf: spf.map(|s| spf_outcome(s.result())),
            dkim: Some(best(signed)),
            dmarc: Some(result),
            enforced: matches!(dmarc.policy(), Policy::Quarantine | Policy::Reject),
            author: one_domain(mail.from.iter().map(String::as_str)),
            by: None,
        }
    }

    /// The null sender is judged by the name that the client gave itself (RFC 7208 2.4).
    async fn spf(&self, address: IpAddr, helo: &str, sender: &str) -> SpfOutput {
        let asked = match sender.contains('@') {
            true => SpfParameters::verify_mail_from(address, helo, &self.hostname, sender),
            false => SpfParameters::verify_ehlo(address, helo, &self.hostname),
        };
        self.checker.verify_spf(asked).await
    }
}

fn spf_outcome(result: SpfResult) -> Outcome {
    match result {
        SpfResult::Pass => Outcome::Pass,
        SpfResult::Fail => Outcome::Fail,
        SpfResult::SoftFail => Outcome::SoftFail,
        SpfResult::Neutral => Outcome::Neutral,
        SpfResult::TempError => Outcome::TempError,
        SpfResult::PermError => Outcome::PermError,
        SpfResult::None => Outcome::None,
    }
}

/// Of several signatures: one that passes is enough (RFC 6376 6.1), and one that could not be looked up might have.
fn best(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Pass => 0,
        Outcome::TempError => 1,
        Outcome::Fail => 2,
        Outcome::Neutral | Outcome::SoftFail => 3,
        Outcome::PermError => 4,
        Outcome::None => 5,
    };
    outcomes.min_by_key(rank).unwrap_or(Outcome::None)
}

/// The domain that all the addresses share.
fn one_domain<'a>(addresses: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut domains = addresses.map(|address| address.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()));
    let first = domains.next()??;
    domains.all(|domain| domain.as_ref() == Some(&first)).then_some(first)
}

/// What a server says in its fields, the topmost word on each method first; `None` when it says nothing.
fn reported(fields: &[String], server: &str, message: &[u8]) -> Option<Findings> {
    let mut findings = Findings { spf: None, dkim: None, dmarc: None, enforced: false, author: None, by: Some(server.to_owned()) };
    let mut said = false;
    let mut author = None;
    for field in fields {
        let mut statements = statements(field).into_iter();
        // `authserv-id [version]`.
        let id = statements.next().and_then(|s| s.words.first().cloned()).unwrap_or_default();
        if !id.eq_ignore_ascii_case(server) {
            continue;
        }
        said = true;
        let mut signatures = Vec::new();
        for statement in statements {
            let Some((method, outcome)) = statement.result() else { continue };
            match method.as_str() {
                "spf" if findings.spf.is_none() => findings.spf = Some(outcome),
                "dkim" => signatures.push(outcome),
                "dmarc" if findings.dmarc.is_none() => {
                    findings.dmarc = Some(outcome);
                    // Where the policy is not told, a failure is one.
                    findings.enforced = statement.policy.as_deref() != Some("none");
                    author = statement.words.iter().find_map(|w| w.strip_prefix("header.from=")).map(str::to_owned);
                }
                _ => {}
            }
        }
        if findings.dkim.is_none() && !signatures.is_empty() {
            findings.dkim = Some(best(signatures.into_iter()));
        }
    }
    let from = mime::parse(message).map(|mail| mail.from).unwrap_or_default();
    let from: Vec<String> = from.iter().map(|mailbox| mailbox.address.to_string()).collect();
    let of_message = one_domain(from.iter().map(String::as_str));
    findings.author = match author {
        // `header.from=` is a domain, or with some programs the whole address.
        Some(author) => Some(author.rsplit('@').next().unwrap_or_default().to_ascii_lowercase()).filter(|a| Some(a) == of_message.as_ref()),
        None => of_message,
    };
    said.then_some(findings)
}

/// One statement of an Authentication-Results field, in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Statement {
    /// Without comments, and without blanks around `=`.
    words: Vec<String>,
    /// The DMARC policy, wherever the program says it: `(p=reject …)`, `(policy=reject)`, `policy.dmarc=reject`.
    policy: Option<String>,
}

impl Statement {
    fn result(&self) -> Option<(String, Outcome)> {
        let (method, result) = self.words.first()?.split_once('=')?;
        // `method/version`.
        Some((method.split('/').next()?.to_owned(), Outcome::parse(result)?))
    }
}

/// The parts of a field between semicolons, with comments (RFC 5322 3.2.2) and quoted strings read as such.
fn statements(field: &str) -> Vec<Statement> {
    let mut parts = vec![(String::new(), String::new())];
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for c in field.chars() {
        let Some((text, comments)) = parts.last_mut() else { break };
        let literal = std::mem::take(&mut escaped);
        match c {
            '\\' if !literal && (quoted || depth > 0) => escaped = true,
            '"' if !literal && depth == 0 => quoted = !quoted,
            '(' if !literal && !quoted => {
                depth += 1;
                comments.push(' ');
                text.push(' ');
            }
            ')' if !literal && !quoted && depth > 0 => depth -= 1,
            ';' if depth == 0 && !quoted => parts.push((String::new(), String::new())),
            _ if depth > 0 => comments.push(c.to_ascii_lowercase()),
            // A quoted value is one word.
            _ if quoted && c.is_whitespace() => text.push('_'),
            _ => text.push(c.to_ascii_lowercase()),
        }
    }
    let statement = |(text, comments): (String, String)| {
        let mut words: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            match words.last_mut() {
                Some(last) if word.starts_with('=') || last.ends_with('=') => last.push_str(word),
                _ => words.push(word.to_owned()),
            }
        }
        let told = |word: &str| ["p=", "policy=", "policy.dmarc="].iter().find_map(|name| word.strip_prefix(name)).map(str::to_owned);
        let policy = words.iter().find_map(|w| told(w)).or_else(|| comments.split([' ', ',', ';']).find_map(told));
        Statement { words, policy }
    };
    parts.into_iter().map(statement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM_MARY: &[u8] = b"From: Mary <mary@tiny.com>\r\n\r\nx\r\n";

    fn read(fields: &[&str]) -> Option<Findings> {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        reported(&fields, "mx.tiny.com", FROM_MARY)
    }

    /// As OpenDMARC, Rspamd, Gmail, Exim and Fastmail write it.
    #[test]
    fn the_fields_of_real_servers_are_read() {
        use Outcome::{Fail, None as Nothing, Pass, SoftFail};
        let table = [
            ("mx.tiny.com; dmarc=fail (p=reject dis=none) header.from=tiny.com", (None, None, Some(Fail)), true),
            ("mx.tiny.com; dmarc=fail (p=none dis=none) header.from=tiny.com", (None, None, Some(Fail)), false),
            (
                "mx.tiny.com; dkim=pass header.d=tiny.com header.s=a header.b=x; dmarc=pass (policy=quarantine) header.from=tiny.com; \
                 spf=softfail (mx.tiny.com: 192.0.2.1 is neither permitted nor denied; \"x;y) by\") smtp.mailfrom=mary@tiny.com",
                (Some(SoftFail), Some(Pass), Some(Pass)),
                true,
            ),
            (
                "MX.tiny.com 1; dkim = fail (a (nested; one) p=none) ; dkim/1=pass reason=\"good; dmarc=fail\"",
                (None, Some(Pass), None),
                false,
            ),
            ("mx.tiny.com; none", (None, None, None), false),
            ("mx.tiny.com (the front one); dmarc=none policy.dmarc=none header.from=mary@tiny.com", (None, None, Some(Nothing)), false),
        ];
        for (field, (spf, dkim, dmarc), enforced) in table {
            let findings = read(&[field]).unwrap_or_else(|| panic!("{field}"));
            assert_eq!((findings.spf, findings.dkim, findings.dmarc, findings.enforced), (spf, dkim, dmarc, enforced), "{field}");
            assert_eq!(findings.author.as_deref(), Some("tiny.com"), "{field}");
        }
    }

    #[test]
    fn only_the_trusted_servers_word_counts_and_the_topmost_first() {
        assert_eq!(read(&["mx.evil.org; dmarc=pass header.from=tiny.com", "mx.tiny.com.evil.org; dmarc=pass"]), None);
        let two = read(&["mx.tiny.com; dmarc=fail (p=reject)", "mx.tiny.com; dmarc=pass; spf=pass"]).unwrap();
        assert_eq!((two.dmarc, two.spf), (Some(Outcome::Fail), Some(Outcome::Pass)));
        assert_eq!(two.to_string(), "spf=pass dmarc=fail by mx.tiny.com");
        // It speaks of another From than the message has.
        assert_eq!(read(&["mx.tiny.com; dmarc=pass header.from=evil.org"]).unwrap().author, None);
    }

    #[test]
    fn several_authors_of_several_domains_are_none() {
        assert_eq!(one_domain(["a@tiny.com", "b@Tiny.com"].into_iter()).as_deref(), Some("tiny.com"));
        assert_eq!(one_domain(["a@tiny.com", "b@evil.org"].into_iter()), None);
        assert_eq!(one_domain(std::iter::empty()), None);
    }
}
