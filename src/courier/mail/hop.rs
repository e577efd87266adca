//! Which mail servers are next for a domain: the smarthost, or the domain's MX (RFC 5321 5.1; RFC 7505).
//!
//! Invariants: a temporary DNS failure is never "no such domain"; this relay and every host behind it in preference are
//! left out, so that mail does not go in circles; addresses from DNS obey the same rule as for CIP (`locate::Targets`).

use std::net::IpAddr;

use rand::Rng;
use rand::seq::SliceRandom;

use crate::config::Smarthost;
use crate::ident::ServerId;
use crate::locate::Targets;
use crate::resolver::{Lookup, Mx, Resolver};

/// MX hosts that are looked at.
const MAX_HOSTS: usize = 10;
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// One mail server, at its addresses in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// In the order of attempt; never empty.
    Hosts(Vec<Host>),
    /// Not known for now.
    Later(String),
    /// Never: the enhanced status code (RFC 3463) and the reason.
    Failed { code: &'static str, detail: String },
}

/// What was found for the hosts of one domain.
#[derive(Default)]
struct Found {
    hosts: Vec<Host>,
    /// The first reason why a host is left out for now.
    later: Option<String>,
    own: Option<String>,
}

/// The smarthost's addresses. It is the administrator's own word: any address will do, and a literal needs no DNS.
pub async fn smarthost(resolver: &Resolver, smarthost: &Smarthost) -> Hop {
    let name = smarthost.host.clone();
    let addresses = if let Ok(literal) = name.parse::<IpAddr>() {
        vec![literal]
    } else if name.eq_ignore_ascii_case("localhost") {
        vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]
    } else {
        match resolver.addresses(&name).await {
            Lookup::Answer(addresses) => addresses,
            // The administrator will correct the name; nobody's mail is lost for it.
            Lookup::None => return Hop::Later(format!("the smarthost {name} has no address")),
            Lookup::Temporary(why) => return Hop::Later(why),
        }
    };
    Hop::Hosts(vec![Host { name, addresses }])
}

/// The domain's mail servers.
pub async fn of_domain(resolver: &Resolver, targets: &Targets, domain: &ServerId, port: u16, rng: &mut (impl Rng + Send)) -> Hop {
    let mut records = match resolver.mx(domain.as_str()).await {
        Lookup::Temporary(why) => return Hop::Later(why),
        // The implicit MX: the domain itself.
        Lookup::None => vec![Mx { preference: 0, exchange: domain.to_string() }],
        Lookup::Answer(records) => {
            let hosts: Vec<Mx> = records.into_iter().filter(|r| r.exchange != ".").collect();
            if hosts.is_empty() {
                let detail = format!("{domain} says with a null MX that it takes no mail");
                return Hop::Failed { code: "5.1.10", detail };
            }
            hosts
        }
    };
    let implicit = records.len() == 1 && records[0].exchange == domain.as_str();
    // Equals in random order: the sort is stable.
    records.shuffle(rng);
    records.sort_by_key(|r| r.preference);
    if let Some(own) = records.iter().find(|r| targets.is_own_name(&r.exchange)).map(|r| r.preference) {
        records.retain(|r| r.preference < own);
        if records.is_empty() {
            return loops(domain, "its name");
        }
    }
    records.truncate(MAX_HOSTS);
    let mut found = Found::default();
    let mut limit = u16::MAX;
    for record in records {
        if record.preference >= limit && found.own.is_some() {
            break;
        }
        host(resolver, targets, record.exchange, port, &mut found).await;
        if found.own.is_some() {
            limit = limit.min(record.preference);
        }
    }
    match found {
        Found { hosts, .. } if !hosts.is_empty() => Hop::Hosts(hosts),
        Found { own: Some(own), .. } => loops(domain, &own),
        Found { later: Some(why), .. } => Hop::Later(why),
        _ if implicit => Hop::Failed { code: "5.1.2", detail: format!("{domain} has neither a mail server nor an address") },
        _ => Hop::Failed { code: "5.4.4", detail: format!("none of the mail servers of {domain} has an address") },
    }
}

async fn host(resolver: &Resolver, targets: &Targets, name: String, port: u16, found: &mut Found) {
    let all = match resolver.addresses(&name).await {
        Lookup::Answer(all) => all,
        Lookup::None => return,
        Lookup::Temporary(why) => {
            found.later.get_or_insert(why);
            return;
        }
    };
    if let Some(own) = all.iter().find(|&&ip| targets.is_own_address((ip, port).into())) {
        found.own = Some(format!("its address {own}"));
        return;
    }
    let mut addresses = Vec::new();
    for ip in all {
        match targets.refusal(ip) {
            // Kept and tried again rather than bounced: with DNS of one's own it is a missing line in the configuration.
            Some(why) => {
                let why = format!("{name} leads to {ip}, which {why} and not in dns.allow-targets");
                found.later.get_or_insert(why);
            }
            None if addresses.len() < MAX_ADDRESSES => addresses.push(ip),
            None => {}
        }
    }
    if !addresses.is_empty() {
        found.hosts.push(Host { name, addresses });
    }
}

fn loops(domain: &ServerId, by: &str) -> Hop {
    Hop::Failed { code: "5.4.6", detail: format!("the best mail server of {domain} is this relay itself, by {by}") }
}
