//! What strangers and broken programs send, against the whole relay: a clear answer, bounded memory and time, and the
//! next command or session served.

mod cip;
mod mail;
mod memory;

use crate::bridge::bare;
use crate::support::cip::CipClient;
use crate::support::dns::Dns;
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::Sink;
use crate::support::smtp::Reply;

/// A relay for tiny.com with Mary, and a mail sink behind it; jumbo.com resolves to this host, stranger.example to nothing.
pub struct House {
    pub relay: Running,
    pub sink: Sink,
    _dns: Dns,
}

pub const ZONE: &str = "$ORIGIN jumbo.com.\n@ A 127.0.0.1\n";

pub async fn parts() -> (Settings, Sink, Dns) {
    let dns = Dns::start(ZONE).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com")
        .dns(dns.address())
        .smarthost(sink.address())
        .quick()
        .domain_text("name = \"tiny.com\"\nusers = [\"mary\"]\n[redirects]\nold = \"new@other.org\"");
    (settings, sink, dns)
}

impl House {
    pub async fn with(change: impl FnOnce(Settings) -> Settings) -> Self {
        let (settings, sink, dns) = parts().await;
        Self { relay: Running::start(change(settings)).await, sink, _dns: dns }
    }

    pub async fn new() -> Self {
        Self::with(|s| s).await
    }
}

/// An event of jumbo.com for Mary is taken: the relay is well.
pub async fn is_served(client: &mut CipClient, uid: &str) {
    let answer = client.object("SENDEVENT", &bare(uid, 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* TENTATIVE mary@tiny.com".to_owned()].as_slice(), "OK 000"), "{answer:?}");
}

/// `554 5.6.0 words`, for comparison.
pub fn words(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.lines.join(" / "))
}

/// A bare object for so many attendees of tiny.com, user0 first.
pub fn crowd(uid: &str, owner: &str, count: usize) -> String {
    let attendees: String = (0..count).map(|n| format!("ATTENDEE: <user{n}@tiny.com>\n")).collect();
    bare(uid, 1, owner, &[]) + &attendees
}
