//! A relay inside this process: the same `Relay` that the program runs, on sockets and a data directory of its own, with a
//! clock that the scenario may hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cip_relay::clock::{Clock, ManualClock, SystemClock, Timestamp};
use cip_relay::config::{self, Listen};
use cip_relay::queue::Filter;
use cip_relay::queue::entry::Entry;
use cip_relay::relay::Relay;

use super::cip::CipClient;
use super::relay::Settings;
use super::smtp::SmtpClient;
use super::{DEADLINE, eventually};

pub struct Running {
    pub settings: Settings,
    pub relay: Relay,
    /// When the clock is held.
    pub clock: Option<ManualClock>,
}

impl Running {
    /// On the machine's clock.
    pub async fn start(settings: Settings) -> Self {
        Self::start_on(settings, Arc::new(SystemClock), None).await
    }

    /// On a clock that stands still until the scenario moves it.
    pub async fn start_held(settings: Settings) -> Self {
        let clock = ManualClock::new(Timestamp::parse_rfc3339("2026-11-22T12:00:00Z").unwrap());
        Self::start_on(settings, Arc::new(clock.clone()), Some(clock)).await
    }

    async fn start_on(settings: Settings, time: Arc<dyn Clock>, clock: Option<ManualClock>) -> Self {
        let config = config::load(Some(&settings.write())).unwrap_or_else(|e| panic!("{e}"));
        let relay = Relay::start(config, time).await.unwrap_or_else(|e| panic!("{e}"));
        Self { settings, relay, clock }
    }

    pub fn cip_address(&self) -> SocketAddr {
        self.relay.cip_address().unwrap()
    }

    pub fn smtp_address(&self) -> SocketAddr {
        tcp(&self.relay.addresses().smtp)
    }

    pub fn lmtp_address(&self) -> SocketAddr {
        tcp(&self.relay.addresses().lmtp)
    }

    pub fn inbound_address(&self) -> SocketAddr {
        tcp(&self.relay.addresses().inbound)
    }

    pub async fn cip(&self) -> CipClient {
        CipClient::connect(self.cip_address()).await
    }

    pub async fn smtp(&self) -> SmtpClient {
        Self::greeted(self.smtp_address(), "EHLO").await
    }

    pub async fn inbound(&self) -> SmtpClient {
        Self::greeted(self.inbound_address(), "EHLO").await
    }

    pub async fn lmtp(&self) -> SmtpClient {
        Self::greeted(self.lmtp_address(), "LHLO").await
    }

    async fn greeted(address: SocketAddr, verb: &str) -> SmtpClient {
        let mut client = SmtpClient::connect(address).await;
        assert_eq!(client.command(&format!("{verb} client.example")).await.code, 250);
        client
    }

    /// Moves the held clock.
    pub fn advance(&self, by: Duration) {
        self.clock.as_ref().expect("the clock is not held").advance(by);
    }

    /// What is in the queue now.
    pub fn entries(&self) -> Vec<Entry> {
        self.relay.queue().list(Filter::default()).collect::<Result<_, _>>().unwrap()
    }

    /// Waits until nothing is left in the queue.
    pub async fn idle(&self) {
        let end = std::time::Instant::now() + DEADLINE;
        loop {
            let entries = self.entries();
            if entries.is_empty() {
                return;
            }
            let told = |e: &Entry| format!("{} to {}, {:?}: {:?}", e.id, e.destination.key(), e.state, e.history);
            assert!(
                std::time::Instant::now() < end,
                "waited in vain for an empty queue: {:#?}",
                entries.iter().map(told).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the only entry fits.
    pub async fn entry(&self, what: &str, fits: impl Fn(&Entry) -> bool) -> Entry {
        eventually(what, || async { self.entries().into_iter().find(|e| fits(e)) }).await
    }
}

fn tcp(addresses: &[Listen]) -> SocketAddr {
    match addresses.first() {
        Some(Listen::Tcp(address)) => *address,
        other => panic!("not a TCP listener: {other:?}"),
    }
}
