//! The real program, killed and stopped at the worst moments: what was acknowledged is delivered, and what is wrong with
//! the data directory is said.

mod compaction;
pub mod load;
mod moments;
mod start;
mod stop;

use crate::support::dns::Dns;
use crate::support::object;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::{Process, Settings};
use crate::support::sink::{Mail, Sink};

/// The relay of tiny.com as a process, a CIP peer for jumbo.com that is down at first, and a mail sink that is down too.
pub struct World {
    pub relay: Process,
    pub jumbo: CipPeer,
    pub sink: Sink,
    _dns: Dns,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|settings| settings).await
    }

    pub async fn with(change: impl FnOnce(Settings) -> Settings) -> Self {
        let jumbo = CipPeer::down("jumbo.com", Behaviour::accept());
        let sink = Sink::down();
        let dns = Dns::start(&crate::bridge::zone(&jumbo)).await;
        let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).quick().set("log.level", "info");
        Self { relay: Process::start(change(settings)).await, jumbo, sink, _dns: dns }
    }
}

/// How often the relay is killed at a moment drawn at random: `CRASH_ROUNDS`, else 5.
pub fn moments() -> usize {
    std::env::var("CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(5)
}

/// How often each of the scenarios with a fixed moment is played: as often, but at most 20 times.
pub fn rounds() -> usize {
    moments().min(20)
}

/// The event that a composed mail is about.
pub fn uid(mail: &Mail) -> String {
    let read = cip_relay::imip::read::read(&mail.data).unwrap();
    object::value(&read.calendar.unwrap().octets, "UID").unwrap()
}
