//! The local users: who lives in a domain that this relay serves, under which names, and who has moved away.
//!
//! Invariants: an answer never depends on the case of an address; a redirect wins over an alias, an alias over the list;
//! an alias leads to exactly one local user (groups are a matter of the mail system). The users of a domain whose list
//! is a file follow the file at [`Directory::reload`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use crate::config::{Config, Deliver, Domain, Users};
use crate::ident::{ServerId, UserId};

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Served here, under this canonical address.
    Here { user: UserId, deliver: Deliver },
    /// Reserved, with a new address elsewhere (draft 1.6).
    Moved(UserId),
    /// The domain is served here and has no such user.
    Unknown,
    /// Not a local domain.
    Elsewhere,
}

/// Why the users of a domain could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("the users of {domain}: {path}: {error}; make the file readable, one local part or address a line")]
    File { domain: ServerId, path: String, error: std::io::Error },
    #[error("the users of {domain}: {line:?} is not a local part or an address of that domain")]
    Name { domain: ServerId, line: String },
}

struct LocalDomain {
    name: ServerId,
    deliver: Deliver,
    /// `None`: any.
    users: Option<HashSet<String>>,
    aliases: HashMap<String, String>,
    redirects: HashMap<String, UserId>,
}

/// The local users of all domains. Clones share one state.
#[derive(Clone)]
pub struct Directory(Arc<RwLock<HashMap<String, LocalDomain>>>);

impl Directory {
    pub fn load(config: &Config) -> Result<Self, DirectoryError> {
        Ok(Self(Arc::new(RwLock::new(read(config)?))))
    }

    /// Reads the domains and their files anew; on an error the old state stays.
    pub fn reload(&self, config: &Config) -> Result<(), DirectoryError> {
        let fresh = read(config)?;
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub fn is_local(&self, domain: &ServerId) -> bool {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains_key(&domain.key())
    }

    pub fn find(&self, user: &UserId) -> Whereabouts {
        let domains = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(domain) = domains.get(&user.server().key()) else { return Whereabouts::Elsewhere };
        let local = user.local().to_ascii_lowercase();
        if let Some(new) = domain.redirects.get(&local) {
            return Whereabouts::Moved(new.clone());
        }
        if let Some(canonical) = domain.aliases.get(&local) {
            return match UserId::new(canonical, domain.name.clone()) {
                Ok(user) => Whereabouts::Here { user, deliver: domain.deliver },
                Err(_) => Whereabouts::Unknown,
            };
        }
        match &domain.users {
            Some(users) if !users.contains(&local) => Whereabouts::Unknown,
            _ => Whereabouts::Here { user: user.clone(), deliver: domain.deliver },
        }
    }

    /// Whether two addresses are one person, as far as this relay can know.
    pub fn same_person(&self, a: &UserId, b: &UserId) -> bool {
        a == b
            || match (self.find(a), self.find(b)) {
                (Whereabouts::Here { user: a, .. }, Whereabouts::Here { user: b, .. }) => a == b,
                _ => false,
            }
    }
}

fn read(config: &Config) -> Result<HashMap<String, LocalDomain>, DirectoryError> {
    config.domain.iter().map(|d| Ok((d.name.key(), read_domain(d)?))).collect()
}

fn read_domain(domain: &Domain) -> Result<LocalDomain, DirectoryError> {
    let users = match &domain.users {
        Users::Any => None,
        Users::List(names) => Some(local_parts(domain, names.iter().map(String::as_str))?),
        Users::File { file } => {
            let text = std::fs::read_to_string(file).map_err(|error| DirectoryError::File {
                domain: domain.name.clone(),
                path: file.display().to_string(),
                error,
            })?;
            let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| !l.is_empty());
            Some(local_parts(domain, lines)?)
        }
    };
    let aliases = domain
        .aliases
        .iter()
        .map(|(alias, user)| Ok((local_part(domain, alias)?, local_part(domain, user)?)))
        .collect::<Result<_, DirectoryError>>()?;
    let redirects = domain
        .redirects
        .iter()
        .map(|(old, new)| {
            let new = UserId::parse(new).map_err(|_| DirectoryError::Name { domain: domain.name.clone(), line: new.clone() })?;
            Ok((local_part(domain, old)?, new))
        })
        .collect::<Result<_, DirectoryError>>()?;
    Ok(LocalDomain { name: domain.name.clone(), deliver: domain.deliver, users, aliases, redirects })
}

fn local_parts<'a>(domain: &Domain, names: impl Iterator<Item = &'a str>) -> Result<HashSet<String>, DirectoryError> {
    names.map(|name| local_part(domain, name)).collect()
}

/// `mary` or `mary@tiny.com`, in lower case.
fn local_part(domain: &Domain, name: &str) -> Result<String, DirectoryError> {
    let bad = || DirectoryError::Name { domain: domain.name.clone(), line: name.to_owned() };
    let user = if name.contains('@') { UserId::parse(name) } else { UserId::new(name, domain.name.clone()) }.map_err(|_| bad())?;
    if *user.server() != domain.name {
        return Err(bad());
    }
    Ok(user.local().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(toml: &str) -> Directory {
        let config: Config = toml::from_str(toml).unwrap();
        Directory::load(&config).unwrap()
    }

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    #[test]
    fn users_aliases_and_redirects() {
        let d = directory(
            r#"
            [[domain]]
            name = "tiny.com"
            users = ["mary", "bob@tiny.com"]
            redirects = { "old.name" = "new.name@other.org" }
            aliases = { "m.weaver" = "mary" }
            [[domain]]
            name = "open.org"
            deliver = "cip"
            "#,
        );
        let here = |u: &str, deliver| Whereabouts::Here { user: user(u), deliver };
        assert_eq!(d.find(&user("MARY@Tiny.com")), here("mary@tiny.com", Deliver::Mail));
        assert_eq!(d.find(&user("M.Weaver@tiny.com")), here("mary@tiny.com", Deliver::Mail));
        assert_eq!(d.find(&user("bob@tiny.com")), here("bob@tiny.com", Deliver::Mail));
        assert_eq!(d.find(&user("carol@tiny.com")), Whereabouts::Unknown);
        assert_eq!(d.find(&user("Old.Name@tiny.com")), Whereabouts::Moved(user("new.name@other.org")));
        assert_eq!(d.find(&user("anyone@open.org")), here("anyone@open.org", Deliver::Cip));
        assert_eq!(d.find(&user("tom@jumbo.com")), Whereabouts::Elsewhere);
        assert!(d.same_person(&user("m.weaver@tiny.com"), &user("Mary@tiny.com")));
        assert!(!d.same_person(&user("bob@tiny.com"), &user("mary@tiny.com")));
    }

    #[test]
    fn a_users_file_is_followed_and_a_bad_one_keeps_the_old_state() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users.txt");
        std::fs::write(&file, "# staff\nmary\nbob@tiny.com # left handed\n\n").unwrap();
        let config: Config =
            toml::from_str(&format!("[[domain]]\nname = \"tiny.com\"\nusers = {{ file = {:?} }}", file.display().to_string())).unwrap();
        let d = Directory::load(&config).unwrap();
        assert!(matches!(d.find(&user("bob@tiny.com")), Whereabouts::Here { .. }));
        std::fs::write(&file, "carol\n").unwrap();
        d.reload(&config).unwrap();
        assert_eq!(d.find(&user("bob@tiny.com")), Whereabouts::Unknown);
        std::fs::write(&file, "dave@elsewhere.org\n").unwrap();
        assert!(d.reload(&config).unwrap_err().to_string().contains("dave@elsewhere.org"));
        assert!(matches!(d.find(&user("carol@tiny.com")), Whereabouts::Here { .. }));
    }
}
