//! Which way a mail goes: in by SMTP, LMTP and `submit`, on to the server that DNS or the configuration names, and for
//! each recipient the answer that is right for his kind.

mod gateway;
mod kinds;
mod plain;

use crate::bridge::{ical, imip, zone};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer, Command};
use crate::support::relay::{Process, Settings};
use crate::support::running::Running;
use crate::support::sink::Sink;

/// What surrounds a relay for tiny.com: jumbo.com's CIP server, found by SRV on a port of its own, and the mail server.
struct Ground {
    jumbo: CipPeer,
    sink: Sink,
    dns: Dns,
}

impl Ground {
    async fn new() -> Self {
        let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
        let dns = Dns::start(&zone(&jumbo)).await;
        Self { jumbo, sink: Sink::start().await, dns }
    }

    fn settings(&self) -> Settings {
        Settings::new("tiny.com").dns(self.dns.address()).smarthost(self.sink.address()).quick()
    }
}

const UID: &str = "040000008200E00074C5B7101A82E008000000001";
const MARY: &str = "Mary Weaver <mary@tiny.com>";

/// Mary's invitation of these people.
fn request(to: &[&str]) -> String {
    let attendees: Vec<_> = to.iter().map(|&a| (a, "NEEDS-ACTION")).collect();
    imip("REQUEST", MARY, to, &ical("REQUEST", UID, 0, "mary@tiny.com", &attendees))
}

/// The object as it came, without the time in its trace line.
fn timeless(event: &Command) -> String {
    let text = event.text();
    let lines = text.split("\r\n").map(|line| match line.strip_prefix("X-CIP-TRACE:") {
        Some(trace) => {
            let fields: Vec<&str> = trace.split(';').collect();
            format!("X-CIP-TRACE:{};{}", fields[0], fields[2..].join(";"))
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_by_smtp_lmtp_and_submit_is_one_sendevent() {
    let to = ["tom@jumbo.com", "ann@jumbo.com"];
    let message = request(&to);
    let mut events = Vec::new();
    for way in ["smtp", "lmtp"] {
        let ground = Ground::new().await;
        let relay = Running::start(ground.settings()).await;
        if way == "smtp" {
            let reply = relay.smtp().await.mail("mary@tiny.com", &to, message.as_bytes()).await;
            assert_eq!(reply.code, 250, "{reply:?}");
        } else {
            let replies = relay.lmtp().await.lmtp("mary@tiny.com", &to, message.as_bytes()).await;
            assert_eq!(replies.iter().map(|r| r.code).collect::<Vec<_>>(), [250, 250], "one reply per recipient: {replies:?}");
        }
        events.push(ground.jumbo.wait_for("SENDEVENT", 1).await.remove(0));
        relay.idle().await;
        assert_eq!(ground.jumbo.of("SENDEVENT").len(), 1, "one delivery for all who are at one server");
    }
    let ground = Ground::new().await;
    let process = Process::start(ground.settings()).await;
    // As a pipe gives it: LF alone, and a dot on a line of its own that ends nothing.
    let output = process.settings.run(&["submit", "-i", "-f", "mary@tiny.com", to[0], to[1]], message.replace("\r\n", "\n").as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    events.push(ground.jumbo.wait_for("SENDEVENT", 1).await.remove(0));
    process.queue_empty().await;

    let first = timeless(&events[0]);
    assert_eq!(events[0].recipients("jumbo.com"), to);
    assert!(first.contains("X-CIP-TRACE:tiny.com;SENDEVENT;1\r\n"), "{first}");
    for event in &events[1..] {
        assert_eq!(timeless(event), first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_says_by_its_exit_code_what_became_of_a_message() {
    let ground = Ground::new().await;
    let mut process = Process::start(ground.settings().domain("tiny.com", vec!["mary"])).await;
    let request = request(&["tom@jumbo.com"]);
    let plain = "From: mary@tiny.com\nTo: bob@tiny.com\nSubject: Lunch\n\nToday?\n";
    let table: &[(&[&str], &str, i32, &str)] = &[
        (&["nobody@tiny.com"], &request, 67, "nobody@tiny.com: 550 5.1.1"),
        (&["tom=jumbo.com@cip.tiny.com"], plain, 65, "there is no calendar part"),
        (&["no address"], &request, 67, "5.1.3"),
        (&["tom@jumbo.com"], "", 65, "standard input is empty"),
        (&[], &request, 64, "RCPT"),
        // The first refusal decides the code; who can be served is served.
        (&["tom@jumbo.com", "nobody@tiny.com"], &request, 67, "nobody@tiny.com: 550 5.1.1"),
        (&["<mary@tiny.com>"], plain, 0, ""),
    ];
    for (recipients, message, code, says) in table {
        let output = process.settings.run(&[&["submit", "-f", "mary@tiny.com"], *recipients].concat(), message.as_bytes());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{recipients:?}: {said}");
        assert!(said.contains(says), "{recipients:?}: {said}");
    }
    ground.jumbo.wait_for("SENDEVENT", 1).await;
    assert_eq!(ground.sink.wait_for(1).await[0].recipients, ["mary@tiny.com"]);
    process.queue_empty().await;
    assert_eq!((ground.jumbo.of("SENDEVENT").len(), ground.sink.mails().len()), (1, 1));
    assert!(process.terminate().await.success());
    let output = process.settings.run(&["submit", "-f", "mary@tiny.com", "tom@jumbo.com"], request.as_bytes());
    assert_eq!(output.status.code(), Some(75), "not running: {output:?}");
}

type Change = Box<dyn Fn(Settings) -> Settings>;

/// Every way in which a CIP server is found (profile 7), with the peer on a port that nobody would guess.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_found_by_srv_bare_srv_address_and_configuration() {
    let dead = CipPeer::down("jumbo.com", Behaviour::accept());
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let (port, refusing) = (jumbo.address().port(), dead.address().port());
    let two = format!("_cip._tcp SRV 10 65535 {refusing} cal.jumbo.com.\n_cip._tcp SRV 20 0 {port} cal.jumbo.com.\n");
    let same = || -> Change { Box::new(|s| s) };
    let table: Vec<(&str, String, Change)> = vec![
        ("SRV", format!("_cip._tcp SRV 0 0 {port} cal.jumbo.com.\n"), same()),
        ("the preferred of two targets refuses", two, same()),
        ("bare SRV", format!("cip.tcp SRV 0 0 {port} cal.jumbo.com.\n"), same()),
        ("address", "@ A 127.0.0.1\n".to_owned(), Box::new(move |s| s.set("cip.default-port", i64::from(port)))),
        ("via", String::new(), Box::new(move |s| s.peer(&format!("server-id = \"jumbo.com\"\nvia = \"127.0.0.1:{port}\"")))),
        ("via of a wildcard", String::new(), Box::new(move |s| s.peer(&format!("server-id = \"*.com\"\nvia = \"cal.jumbo.com:{port}\"")))),
    ];
    for (n, (what, records, change)) in table.into_iter().enumerate() {
        let dns = Dns::start(&format!("$ORIGIN jumbo.com.\ncal A 127.0.0.1\n{records}")).await;
        let sink = Sink::start().await;
        let relay = Running::start(change(Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).quick())).await;
        let reply = relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], request(&["tom@jumbo.com"]).as_bytes()).await;
        assert_eq!(reply.code, 250, "{what}: {reply:?}");
        relay.idle().await;
        assert_eq!(jumbo.of("SENDEVENT").len(), n + 1, "{what}");
        assert!(sink.mails().is_empty(), "{what}: went by mail");
    }
    assert_eq!(dead.connections(), 0);
}
