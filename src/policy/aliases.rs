//! Further names: an alias of one person, a list of several, or somebody elsewhere, resolved to the people behind it.
//!
//! Invariants: nobody stands twice in an expansion; it has at most [`PEOPLE`] people and goes [`DEPTH`] aliases deep, and
//! says when there would be more; it ends whatever the configuration says. A member with the alias's own name is the user
//! of that name (`mary = ["mary", "bob"]` copies Mary's to Bob), any longer way back is a circle.

use std::collections::{HashMap, HashSet};

use crate::config::{Alias, Config};
use crate::ident::{ServerId, UserId};

/// People behind one alias.
pub const PEOPLE: usize = 200;
/// Aliases in aliases.
pub const DEPTH: usize = 10;

/// All aliases of all domains.
#[derive(Default)]
pub struct Aliases(HashMap<String, Vec<UserId>>);

/// Who is behind an alias.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    pub people: Vec<UserId>,
    /// The first circle on the way, from an address back to itself.
    pub circle: Option<Vec<UserId>>,
    /// More than [`PEOPLE`], or deeper than [`DEPTH`]: the rest is left out.
    pub cut: bool,
}

/// A local part of the domain, or a whole address.
pub fn member(domain: &ServerId, name: &str) -> Option<UserId> {
    if name.contains('@') { UserId::parse(name).ok() } else { UserId::new(name, domain.clone()).ok() }
}

impl Aliases {
    /// What does not read as an address is left out; `check-config` names it.
    pub fn read(config: &Config) -> Self {
        let of_domain = |domain: &crate::config::Domain| {
            let name = domain.name.clone();
            let one = move |(alias, Alias(members)): (&String, &Alias)| {
                let alias = UserId::new(alias, name.clone()).ok()?;
                Some((alias.key(), members.iter().filter_map(|m| member(&name, m)).collect()))
            };
            domain.aliases.iter().filter_map(one).collect::<Vec<_>>()
        };
        Self(config.domain.iter().flat_map(of_domain).collect())
    }

    pub fn names(&self) -> impl Iterator<Item = UserId> {
        self.0.keys().filter_map(|key| UserId::parse(key).ok())
    }

    /// `None`: the address is no alias.
    pub fn expand(&self, alias: &UserId) -> Option<Expansion> {
        let members = self.0.get(&alias.key())?;
        let mut expansion = Expansion::default();
        let mut seen = HashSet::new();
        self.gather(members, &mut vec![alias.clone()], &mut seen, &mut expansion);
        Some(expansion)
    }

    fn gather(&self, members: &[UserId], way: &mut Vec<UserId>, seen: &mut HashSet<String>, into: &mut Expansion) {
        for member in members {
            let own = way.last() == Some(member);
            if !own && way.contains(member) {
                if into.circle.is_none() {
                    let from = way.iter().position(|step| step == member).unwrap_or(0);
                    into.circle = Some(way[from..].iter().chain([member]).cloned().collect());
                }
                continue;
            }
            match self.0.get(&member.key()).filter(|_| !own) {
                Some(_) if way.len() >= DEPTH => into.cut = true,
                Some(inner) if seen.insert(format!("alias {}", member.key())) => {
                    way.push(member.clone());
                    self.gather(inner, way, seen, into);
                    way.pop();
                }
                None if into.people.len() >= PEOPLE => into.cut = true,
                None if seen.insert(member.key()) => into.people.push(member.clone()),
                Some(_) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(aliases: &str, alias: &str) -> Option<(Vec<String>, Option<Vec<String>>, bool)> {
        let config: Config = toml::from_str(&format!("[[domain]]\nname = \"tiny.com\"\naliases = {{ {aliases} }}")).unwrap();
        let expansion = Aliases::read(&config).expand(&UserId::parse(alias).unwrap())?;
        let words = |users: Vec<UserId>| users.iter().map(ToString::to_string).collect();
        Some((words(expansion.people), expansion.circle.map(words), expansion.cut))
    }

    #[test]
    fn everybody_behind_an_alias_once() {
        let team = "team = [\"mary\", \"staff\", \"Tom@jumbo.com\", \"bob\"], staff = [\"bob\", \"MARY@tiny.com\", \"carl\"]";
        let (people, circle, cut) = expand(team, "TEAM@tiny.com").unwrap();
        assert_eq!((circle, cut), (None, false));
        assert_eq!(people, ["mary@tiny.com", "bob@tiny.com", "carl@tiny.com", "Tom@jumbo.com"]);
        assert_eq!(expand(team, "mary@tiny.com"), None);
        assert_eq!(expand("mary = [\"mary\", \"bob\"]", "mary@tiny.com").unwrap().0, ["mary@tiny.com", "bob@tiny.com"]);
    }

    #[test]
    fn circles_and_masses_end() {
        let circle = "a = [\"b\", \"mary\"], b = \"c\", c = [\"a\", \"bob\"]";
        let (people, found, _) = expand(circle, "a@tiny.com").unwrap();
        assert_eq!(people, ["bob@tiny.com", "mary@tiny.com"]);
        assert_eq!(found.unwrap(), ["a@tiny.com", "b@tiny.com", "c@tiny.com", "a@tiny.com"]);
        let deep: Vec<String> = (0..20).map(|n| format!("a{n} = \"a{}\"", n + 1)).collect();
        assert_eq!(expand(&deep.join(", "), "a0@tiny.com").unwrap(), (vec![], None, true));
        assert_eq!(expand(&deep.join(", "), "a15@tiny.com").unwrap(), (vec!["a20@tiny.com".into()], None, false));
        let many: Vec<String> = (0..300).map(|n| format!("\"u{n}\"")).collect();
        let (people, _, cut) = expand(&format!("all = [{}]", many.join(", ")), "all@tiny.com").unwrap();
        assert_eq!((people.len(), cut), (PEOPLE, true));
    }
}
