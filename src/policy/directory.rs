//! The local users: who lives in a domain that this relay serves, under which names, and who has moved away.
//!
//! Invariants: an answer never depends on the case of an address; a redirect wins over an alias, an alias over the list;
//! an alias leads to one local user, or else to a group of people, here or elsewhere, in which nobody stands twice and
//! no alias stands. The users of a domain whose list is a file follow the file, as soon as it has stood still for one
//! [`WATCH`], and at [`Directory::reload`]; a file that cannot be used leaves those known before in force.
//!
//! Whether a user of a domain whose mail server knows the users is there, only [`Directory::look_up`] tells, which asks;
//! for [`Directory::find`] each of them is.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::{Config, Deliver, Domain, UserProbe, Users};
use crate::ident::{ServerId, UserId};
use crate::policy::aliases::Aliases;
use crate::policy::verify::{NotNow, Verifier};

/// How often the users' files are looked at.
pub const WATCH: Duration = Duration::from_secs(1);
/// Addresses of one object that are looked up at a time.
const AT_A_TIME: usize = 8;

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Served here, under this canonical address.
    Here { user: UserId, deliver: Deliver },
    /// The name of several people, or of somebody elsewhere, by the administrator's word.
    Group(Vec<UserId>),
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
    #[error("the users of {domain}: {path} names nobody any more; write one local part or address a line")]
    Empty { domain: ServerId, path: String },
}

struct LocalDomain {
    name: ServerId,
    deliver: Deliver,
    users: Known,
    redirects: HashMap<String, UserId>,
    /// The file that the users are in, as it was before it was read.
    file: Option<(PathBuf, Stamp)>,
}

/// The users of a domain.
enum Known {
    Any,
    These(HashSet<String>),
    /// The mail server knows.
    Asked(Arc<UserProbe>),
}

/// By which a change of a file is seen.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The local users of all domains. Clones share one state.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    state: RwLock<State>,
    verifier: Option<Verifier>,
}

struct State {
    domains: HashMap<String, LocalDomain>,
    aliases: Aliases,
}

/// What was found of several addresses.
#[derive(Default)]
pub struct Found(HashMap<String, Result<Whereabouts, NotNow>>);

impl Found {
    /// Why somebody could not be looked up now.
    pub fn not_now(&self) -> Option<&NotNow> {
        self.0.values().find_map(|found| found.as_ref().err())
    }
}

impl Directory {
    /// The users as the configuration and its files have them; a domain whose mail server knows them takes everybody.
    pub fn load(config: &Config) -> Result<Self, DirectoryError> {
        Self::with(config, None)
    }

    /// The same, with what asks the mail servers.
    pub fn asking(config: &Config, verifier: Verifier) -> Result<Self, DirectoryError> {
        Self::with(config, Some(verifier))
    }

    fn with(config: &Config, verifier: Option<Verifier>) -> Result<Self, DirectoryError> {
        Ok(Self(Arc::new(Inner { state: RwLock::new(read(config)?), verifier })))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the domains and their files anew, and forgets who was not found; on an error the old state stays.
    pub fn reload(&self, config: &Config) -> Result<(), DirectoryError> {
        let fresh = read(config)?;
        *self.state_mut() = fresh;
        if let Some(verifier) = &self.0.verifier {
            verifier.forget_misses();
        }
        Ok(())
    }

    pub fn is_local(&self, domain: &ServerId) -> bool {
        self.state().domains.contains_key(&domain.key())
    }

    /// What the relay itself knows of an address.
    pub fn find(&self, user: &UserId) -> Whereabouts {
        self.state().find(user)
    }

    /// The other names of one person here.
    pub fn aliases_of(&self, user: &UserId) -> Vec<UserId> {
        let state = self.state();
        state.aliases.names().filter(|name| matches!(state.find(name), Whereabouts::Here { user: of, .. } if of == *user)).collect()
    }

    /// [`Directory::find`], and where only the mail server knows, its word.
    pub async fn look_up(&self, user: &UserId) -> Result<Whereabouts, NotNow> {
        let found = self.find(user);
        let Whereabouts::Here { user: canonical, .. } = &found else { return Ok(found) };
        let (Some(probe), Some(verifier)) = (self.probe(canonical.server()), &self.0.verifier) else { return Ok(found) };
        Ok(if verifier.exists(&probe, canonical).await? { found } else { Whereabouts::Unknown })
    }

    /// Looks up several, in their order, until so many `misses` are known: about those behind them nothing is asked.
    pub async fn look_up_all(&self, users: &[UserId], misses: u32) -> Found {
        let mut found = Found::default();
        // The common case: the relay knows by itself, and nothing is to be kept.
        let asked: Vec<&UserId> = users.iter().filter(|user| self.probe(user.server()).is_some()).collect();
        let mut missed = 0;
        for some in asked.chunks(AT_A_TIME) {
            let mut tasks = JoinSet::new();
            for user in some.iter().filter(|user| !found.0.contains_key(&user.key())) {
                let (this, user) = (self.clone(), (*user).clone());
                tasks.spawn(async move { (user.key(), this.look_up(&user).await) });
            }
            for (key, told) in tasks.join_all().await {
                missed += u32::from(told == Ok(Whereabouts::Unknown));
                found.0.insert(key, told);
            }
            if missed >= misses {
                break;
            }
        }
        found
    }

    /// What was found of one of those who were looked up; of anybody else what the relay itself knows.
    pub fn found(&self, found: &Found, user: &UserId) -> Whereabouts {
        match found.0.get(&user.key()) {
            Some(Ok(whereabouts)) => whereabouts.clone(),
            _ => self.find(user),
        }
    }

    fn probe(&self, domain: &ServerId) -> Option<Arc<UserProbe>> {
        match &self.state().domains.get(&domain.key())?.users {
            Known::Asked(probe) => Some(probe.clone()),
            Known::Any | Known::These(_) => None,
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

    /// Follows the users' files for as long as it is polled.
    pub async fn follow_files(&self) {
        let mut last: HashMap<PathBuf, Stamp> = HashMap::new();
        let mut ticks = tokio::time::interval(WATCH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let files = self.files();
            last.retain(|file, _| files.iter().any(|(_, known, _)| known == file));
            for (domain, file, read) in files {
                let now = stamp(&file);
                // While somebody writes it, it is half a list: it must have stood still.
                if now != read && last.insert(file.clone(), now) == Some(now) {
                    self.read_again(&domain, &file, now);
                }
            }
        }
    }

    fn files(&self) -> Vec<(ServerId, PathBuf, Stamp)> {
        let state = self.state();
        state.domains.values().filter_map(|d| d.file.clone().map(|(file, stamp)| (d.name.clone(), file, stamp))).collect()
    }

    /// Reads the users of a domain anew, from its file as it is now.
    fn read_again(&self, domain: &ServerId, file: &Path, now: Stamp) {
        let users = match read_file(domain, file) {
            Ok(users) if users.is_empty() => Err(DirectoryError::Empty { domain: domain.clone(), path: file.display().to_string() }),
            other => other,
        };
        let mut state = self.state_mut();
        // A reload may have come between.
        let Some(known) = state.domains.get_mut(&domain.key()) else { return };
        let Some((_, stamp)) = known.file.as_mut().filter(|(known, _)| known == file) else { return };
        // Also of a bad one: it is said once.
        *stamp = now;
        match users {
            Ok(users) => {
                tracing::info!(%domain, file = %file.display(), users = users.len(), "the users' file was read anew");
                known.users = Known::These(users);
            }
            Err(error) => tracing::error!(%error, "the users' file has changed and cannot be used; the users known before stay"),
        }
    }
}

impl State {
    fn find(&self, user: &UserId) -> Whereabouts {
        let Some(domain) = self.domains.get(&user.server().key()) else { return Whereabouts::Elsewhere };
        let local = user.local().to_ascii_lowercase();
        if let Some(new) = domain.redirects.get(&local) {
            return Whereabouts::Moved(new.clone());
        }
        if let Some(expansion) = self.aliases.expand(user) {
            let home = |user: &UserId| self.domains.get(&user.server().key());
            return match expansion.people.as_slice() {
                [] => Whereabouts::Unknown,
                [one] => match home(one) {
                    Some(home) => Whereabouts::Here { user: one.clone(), deliver: home.deliver },
                    None => Whereabouts::Group(expansion.people),
                },
                _ => Whereabouts::Group(expansion.people),
            };
        }
        match &domain.users {
            Known::These(users) if !users.contains(&local) => Whereabouts::Unknown,
            _ => Whereabouts::Here { user: user.clone(), deliver: domain.deliver },
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn read(config: &Config) -> Result<State, DirectoryError> {
    let domains = config.domain.iter().map(|d| Ok((d.name.key(), read_domain(d)?))).collect::<Result<_, DirectoryError>>()?;
    Ok(State { domains, aliases: Aliases::read(config) })
}

fn read_domain(domain: &Domain) -> Result<LocalDomain, DirectoryError> {
    let (users, file) = match &domain.users {
        Users::Any => (Known::Any, None),
        Users::List(names) => (Known::These(local_parts(&domain.name, names.iter().map(String::as_str))?), None),
        Users::File { file } => {
            let stamp = stamp(file);
            (Known::These(read_file(&domain.name, file)?), Some((file.clone(), stamp)))
        }
        Users::Probe(probe) => (Known::Asked(Arc::new(probe.clone())), None),
    };
    let name = &domain.name;
    let redirects = domain
        .redirects
        .iter()
        .map(|(old, new)| {
            let new = UserId::parse(new).map_err(|_| DirectoryError::Name { domain: name.clone(), line: new.clone() })?;
            Ok((local_part(name, old)?, new))
        })
        .collect::<Result<_, DirectoryError>>()?;
    Ok(LocalDomain { name: name.clone(), deliver: domain.deliver, users, redirects, file })
}

fn read_file(domain: &ServerId, file: &Path) -> Result<HashSet<String>, DirectoryError> {
    let text = std::fs::read_to_string(file).map_err(|error| DirectoryError::File {
        domain: domain.clone(),
        path: file.display().to_string(),
        error,
    })?;
    local_parts(domain, text.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| !l.is_empty()))
}

fn local_parts<'a>(domain: &ServerId, names: impl Iterator<Item = &'a str>) -> Result<HashSet<String>, DirectoryError> {
    names.map(|name| local_part(domain, name)).collect()
}

/// `mary` or `mary@tiny.com`, in lower case.
fn local_part(domain: &ServerId, name: &str) -> Result<String, DirectoryError> {
    let bad = || DirectoryError::Name { domain: domain.clone(), line: name.to_owned() };
    let user = if name.contains('@') { UserId::parse(name) } else { UserId::new(name, domain.clone()) }.map_err(|_| bad())?;
    if user.server() != domain {
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
            aliases = { "m.weaver" = "mary", team = ["m.weaver", "tom@jumbo.com", "mary"], away = "tom@jumbo.com", host = "root@open.org" }
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
        assert_eq!(d.find(&user("Team@tiny.com")), Whereabouts::Group(vec![user("mary@tiny.com"), user("tom@jumbo.com")]));
        assert_eq!(d.find(&user("away@tiny.com")), Whereabouts::Group(vec![user("tom@jumbo.com")]));
        assert_eq!(d.find(&user("host@tiny.com")), here("root@open.org", Deliver::Cip));
        assert_eq!(d.aliases_of(&user("mary@tiny.com")), [user("m.weaver@tiny.com")]);
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
