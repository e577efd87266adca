//! The mail courier in clear text.

use std::net::SocketAddr;
use std::time::Duration;

use cip_relay::config::{Config, Smarthost};
use cip_relay::courier::MailResult;
use cip_relay::courier::mail::{MailCourier, Timeouts};
use cip_relay::ident::ServerId;
use cip_relay::resolver::Resolver;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::config;
use crate::support::dns::Dns;
use crate::support::in_time;
use crate::support::port::Port;
use crate::support::sink::{Sink, Stage};

pub const MESSAGE: &[u8] = b"From: <pete@tiny.com>\r\nSubject: x\r\n\r\nHello.\r\n";

pub fn timeouts() -> Timeouts {
    let short = Duration::from_secs(3);
    Timeouts { greeting: short, command: short, data: short, ..Timeouts::new(short) }
}

pub fn courier_with(config: &Config) -> MailCourier {
    MailCourier::new(config, Resolver::new(&config.dns).unwrap()).timeouts(timeouts())
}

/// A courier whose MX for jumbo.com is this address.
async fn to(address: SocketAddr) -> (Dns, MailCourier) {
    let dns = Dns::start(&format!("$ORIGIN jumbo.com.\n@ 0 IN MX 10 mx.jumbo.com.\nmx 0 IN A {}", address.ip())).await;
    let courier = courier_with(&config(&dns)).port(address.port());
    (dns, courier)
}

pub async fn send(courier: &MailCourier, recipients: &[&str], message: &[u8]) -> Vec<MailResult> {
    let recipients: Vec<String> = recipients.iter().map(|&r| r.to_owned()).collect();
    let domain: ServerId = "jumbo.com".parse().unwrap();
    let results = in_time("the mail courier", courier.deliver(&domain, "pete@tiny.com", &recipients, message)).await;
    assert_eq!(results.len(), recipients.len());
    results
}

/// `sent`, `later`, `down` or the enhanced code of a failure.
pub fn short(result: &MailResult) -> &str {
    match result {
        MailResult::Sent { .. } => "sent",
        MailResult::Later { hop_down: false, .. } => "later",
        MailResult::Later { hop_down: true, .. } => "down",
        MailResult::Failed { code, .. } => code,
    }
}

#[track_caller]
pub fn is(results: &[MailResult], want: &[&str], words: &str) {
    assert_eq!(results.iter().map(short).collect::<Vec<_>>(), want, "{results:?}");
    let all = format!("{results:?}");
    assert!(all.contains(words), "{all} does not say {words:?}");
}

/// A server of one's own: `handler` for each connection.
pub fn server<F, Fut>(handler: F) -> Port
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let port = Port::new(handler);
    port.open();
    port
}

#[tokio::test]
async fn each_recipient_has_an_answer_of_its_own() {
    let sink = Sink::start().await;
    sink.refuse(Stage::Rcpt, Some("later@jumbo.com"), "451 4.2.1 Try later.", 1);
    sink.refuse(Stage::Rcpt, Some("gone@jumbo.com"), "550 5.1.1 No such user.", 1);
    sink.refuse(Stage::Rcpt, Some("old@jumbo.com"), "550-See\r\n550 elsewhere", 1);
    let (_dns, courier) = to(sink.address()).await;
    let all = ["ann@jumbo.com", "later@jumbo.com", "x>y@jumbo.com", "gone@jumbo.com", "old@jumbo.com", "\"b c\"@jumbo.com"];
    let results = send(&courier, &all, MESSAGE).await;
    is(&results, &["sent", "later", "5.1.3", "5.1.1", "5.0.0", "sent"], "550 See elsewhere");
    assert_eq!(results[0], MailResult::Sent { host: "mx.jumbo.com".into(), reply: "250 2.0.0 Kept".into() });
    assert_eq!(results[3], MailResult::Failed { code: "5.1.1".into(), detail: "mx.jumbo.com said: 550 5.1.1 No such user.".into() });
    let mails = sink.mails();
    assert_eq!((mails.len(), mails[0].sender.as_str()), (1, "pete@tiny.com"));
    assert_eq!(mails[0].recipients, ["ann@jumbo.com", "\"b c\"@jumbo.com"]);
    // The next message goes over the same connection, and one from nobody too.
    is(&send(&courier, &["ann@jumbo.com"], MESSAGE).await, &["sent"], "");
    let null = courier.deliver(&"jumbo.com".parse().unwrap(), "", &["ann@jumbo.com".to_owned()], MESSAGE).await;
    is(&null, &["sent"], "");
    assert_eq!(sink.mails()[2].sender, "");
    assert_eq!(sink.connections(), 1);
}

#[tokio::test]
async fn refusals_of_the_whole_message_are_everybodys() {
    for (stage, reply, want, connections) in [
        (Stage::Mail, "550 5.7.1 Not from you.", "5.7.1", 2),
        (Stage::Mail, "451 4.3.0 Not now.", "later", 2),
        (Stage::Data, "554 5.6.0 Not that.", "5.6.0", 2),
        (Stage::Data, "452 4.3.1 Full.", "later", 2),
        (Stage::Rcpt, "550 5.1.1 No.", "5.1.1", 2),
        (Stage::Rcpt, "421 4.3.2 Closing.", "later", 2),
    ] {
        let sink = Sink::start().await;
        sink.refuse(stage, None, reply, 2);
        let (_dns, courier) = to(sink.address()).await;
        is(&send(&courier, &["a@jumbo.com", "b@jumbo.com"], MESSAGE).await, &[want; 2], reply.rsplit(' ').next().unwrap());
        sink.relent();
        // After an error the connection is not used again.
        is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
        assert_eq!(sink.connections(), connections, "{stage:?} {reply}");
    }
}

#[tokio::test]
async fn messages_arrive_octet_for_octet() {
    let sink = Sink::start().await;
    let (_dns, courier) = to(sink.address()).await;
    let long = format!("A: b\r\n\r\n{}\r\n", ".x\r\n".repeat(40_000));
    let table: &[(&[u8], &str)] = &[
        (b"A: b\r\n\r\nc\r\n", ""),
        (b"A: b\r\n\r\nc\r\n\r\n\r\n", ""),
        (b"A: b\r\n\r\n.\r\n", ""),
        (b".\r\n..\r\n...\r\n.a\r\n\r\n.\r\n.\r\n", ""),
        (b"\r\n", ""),
        (b"A: b\r\n\r\n\r\n.\r\nMAIL FROM:<x@y.z>\r\n", ""),
        (b"A: b\r\n\r\nc\0d\r\n", ""),
        ("A: b\r\n\r\nü\r\n".as_bytes(), "BODY=8BITMIME"),
        (b"A: b\r\n\r\n\xff\xfe\r\n", "BODY=8BITMIME"),
        ("A: ü\r\n\r\nc\r\n".as_bytes(), "SMTPUTF8 BODY=8BITMIME"),
        (long.as_bytes(), ""),
    ];
    for (message, parameters) in table {
        is(&send(&courier, &["a@jumbo.com"], message).await, &["sent"], "");
        let mail = sink.mails().pop().unwrap();
        assert!(mail.data == *message, "{:?} became {:?}", String::from_utf8_lossy(message), mail.text());
        assert_eq!(mail.parameters, *parameters);
    }
    is(&send(&courier, &["a@jumbo.com"], b"A: b\r\n\r\nno end").await, &["sent"], "");
    assert_eq!(sink.mails().pop().unwrap().data, b"A: b\r\n\r\nno end\r\n");
    assert_eq!(sink.connections(), 1);
    let before = sink.mails().len();
    for bad in [&b"A: b\n\nc\r\n"[..], b"a\r\n.\n\r\n", b"a\r\n.\r", b"a\rb\r\n"] {
        is(&send(&courier, &["a@jumbo.com"], bad).await, &["5.6.0"], "not part of CRLF");
    }
    assert_eq!(sink.mails().len(), before);
}

#[tokio::test]
async fn missing_extensions_are_told_and_old_servers_are_served() {
    let sink = Sink::start().await;
    sink.offer(&["PIPELINING"]);
    let (_dns, courier) = to(sink.address()).await;
    is(&send(&courier, &["a@jumbo.com"], "A: b\r\n\r\nü\r\n".as_bytes()).await, &["5.6.3"], "8BITMIME");
    is(&send(&courier, &["ü@jumbo.com"], MESSAGE).await, &["5.6.7"], "SMTPUTF8");
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");

    // A server of 1990.
    let old = server(|mut stream| async move {
        let _ = stream.write_all(b"220 old\r\n").await;
        let mut seen = Vec::new();
        while stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&seen).into_owned();
            if line.ends_with("\r\n") {
                let reply = match &line[..4] {
                    "HELO" if line == "HELO relay.tiny.com\r\n" => "250 old\r\n",
                    "MAIL" | "RCPT" | "QUIT" => "250 ok\r\n",
                    "DATA" => "354 go\r\n",
                    _ if line.ends_with("\r\n.\r\n") => "250 kept\r\n",
                    _ => "500 what?\r\n",
                };
                let _ = stream.write_all(reply.as_bytes()).await;
                seen.clear();
            }
        }
    });
    let (_dns, courier) = to(old.address()).await;
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "250 kept");
}

#[tokio::test]
async fn the_next_server_takes_over() {
    let sink = Sink::start().await;
    let port = sink.address().port();
    let dns = Dns::start(
        "$ORIGIN jumbo.com.\n@ 0 IN MX 10 first.jumbo.com.\n@ 0 IN MX 20 second.jumbo.com.
         first 0 IN A 127.0.0.2\nfirst 0 IN A 127.0.0.3\nsecond 0 IN A 127.0.0.1",
    )
    .await;
    let courier = courier_with(&config(&dns)).port(port);
    let mut count = 0;
    // Nothing listens at the first host; then something does that is of no use.
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "second.jumbo.com");
    for greeting in ["554 No service.\r\n", "421 Busy.\r\n", "OK CIP 1.0 x\r\n", "220 a\n", "", "220 a\r\n550 b\r\n"] {
        let listener = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let bad = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(greeting.as_bytes()).await;
                let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0; 100])).await;
            }
        });
        let courier = courier_with(&config(&dns)).port(port);
        is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "second.jumbo.com");
        bad.abort();
        let _ = bad.await;
        count += 1;
    }
    assert_eq!(sink.mails().len(), count + 1);
    sink.stop().await;
    // The connection kept by the first courier is gone too.
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["down"], "second.jumbo.com (127.0.0.1): no connection");
    sink.up();
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
}

#[tokio::test]
async fn a_domain_that_says_not_now_is_not_asked_at_every_server() {
    let sink = Sink::start().await;
    let port = sink.address().port();
    let dns = Dns::start(
        "$ORIGIN jumbo.com.\n@ 0 IN MX 1 h1.jumbo.com.\n@ 0 IN MX 2 h2.jumbo.com.\n@ 0 IN MX 3 h3.jumbo.com.\n@ 0 IN MX 4 h4.jumbo.com.
         @ 0 IN MX 5 h5.jumbo.com.\nh1 0 IN A 127.0.0.9\nh2 0 IN A 127.0.0.9\nh3 0 IN A 127.0.0.1\nh4 0 IN A 127.0.0.1\nh5 0 IN A 127.0.0.1",
    )
    .await;
    sink.refuse(Stage::Mail, None, "451 4.7.1 Not now.", 10);
    // Two that refuse connections do not count, two that talk do.
    is(&send(&courier_with(&config(&dns)).port(port), &["a@jumbo.com"], MESSAGE).await, &["later"], "h4.jumbo.com (127.0.0.1): 451 4.7.1");
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn a_message_perhaps_taken_is_offered_to_nobody_else_now() {
    let (sink, other) = (Sink::start().await, Sink::start().await);
    sink.refuse(Stage::CutAfterData, None, "", 1);
    let (dns, courier) = to(sink.address()).await;
    dns.replace("$ORIGIN jumbo.com.\n@ 0 IN MX 10 mx.jumbo.com.\n@ 0 IN MX 20 same.jumbo.com.\nmx 0 IN A 127.0.0.1\nsame 0 IN A 127.0.0.1");
    is(&send(&courier, &["a@jumbo.com", "b@jumbo.com"], MESSAGE).await, &["later"; 2], "after the message");
    assert_eq!((sink.connections(), sink.mails().len(), other.connections()), (1, 0, 0));
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
}

#[tokio::test]
async fn dns_decides_where_mail_goes() {
    let sink = Sink::start().await;
    let port = sink.address().port();
    let dns = Dns::start("").await;
    let plain = config(&dns);
    let mut strict = config(&dns);
    strict.dns.allow_targets = Vec::new();
    let table = [
        ("@ 0 IN A 127.0.0.1", &plain, "sent", "jumbo.com"),
        ("@ 0 IN MX 0 .\n@ 0 IN A 127.0.0.1", &plain, "5.1.10", "null MX"),
        ("x 0 IN A 127.0.0.1", &plain, "5.1.2", "neither a mail server nor an address"),
        ("@ 0 IN MX 10 x.jumbo.com.\n@ 0 IN A 127.0.0.1", &plain, "5.4.4", "none of the mail servers"),
        (
            "@ 0 IN MX 10 mx.jumbo.com.\nmx 0 IN A 127.0.0.1",
            &strict,
            "down",
            "mx.jumbo.com leads to 127.0.0.1, which is a loopback address",
        ),
        ("@ 0 IN MX 10 relay.tiny.com.\n@ 0 IN MX 20 mx.jumbo.com.\nmx 0 IN A 127.0.0.1", &plain, "5.4.6", "itself"),
        (
            "@ 0 IN MX 10 mx.jumbo.com.\n@ 0 IN MX 20 Relay.tiny.com.\n@ 0 IN MX 30 x.jumbo.com.\nmx 0 IN A 127.0.0.1",
            &plain,
            "sent",
            "mx.jumbo.com",
        ),
    ];
    for (records, config, want, words) in table {
        dns.replace(&format!("$ORIGIN jumbo.com.\n{records}"));
        is(&send(&courier_with(config).port(port), &["a@jumbo.com"], MESSAGE).await, &[want], words);
    }
    assert_eq!(sink.connections(), 2);
    // By its address it is this relay.
    let mut own = config(&dns);
    own.mail.inbound_listen = vec![cip_relay::config::Listen::Tcp(sink.address())];
    is(&send(&courier_with(&own).port(port), &["a@jumbo.com"], MESSAGE).await, &["5.4.6"], "its address 127.0.0.1");
    dns.replace("$ORIGIN jumbo.com.\n@ 0 IN MX 10 mx.jumbo.com.\nmx 0 IN A 127.0.0.1");
    for broken in ["mx.jumbo.com", "jumbo.com"] {
        dns.servfail(broken, true);
        is(&send(&courier_with(&plain).port(port), &["a@jumbo.com"], MESSAGE).await, &["down"], "Server Failure");
        dns.servfail(broken, false);
    }
    assert_eq!(sink.connections(), 2);
}

#[tokio::test]
async fn equal_servers_share_the_work() {
    let sink = Sink::start().await;
    let dns =
        Dns::start("$ORIGIN jumbo.com.\n@ 0 IN MX 10 a.jumbo.com.\n@ 0 IN MX 10 b.jumbo.com.\na 0 IN A 127.0.0.1\nb 0 IN A 127.0.0.1")
            .await;
    let mut hosts = std::collections::BTreeSet::new();
    // 2 × 0.5^40: never in a lifetime.
    for _ in 0..40 {
        match &send(&courier_with(&config(&dns)).port(sink.address().port()), &["x@jumbo.com"], MESSAGE).await[0] {
            MailResult::Sent { host, .. } => hosts.insert(host.clone()),
            other => panic!("{other:?}"),
        };
        if hosts.len() == 2 {
            return;
        }
    }
    panic!("always {hosts:?}");
}

#[tokio::test]
async fn the_smarthost_takes_all() {
    let sink = Sink::start().await;
    let dns = Dns::start("$ORIGIN hub.example.\n@ 0 IN A 127.0.0.1").await;
    let mut config = config(&dns);
    config.dns.allow_targets = Vec::new();
    for (host, want) in [("127.0.0.1", "sent"), ("localhost", "sent"), ("hub.example", "sent"), ("nowhere.example", "down")] {
        config.mail.smarthost = Some(Smarthost::try_from(format!("smtp://{host}:{}", sink.address().port())).unwrap());
        is(&send(&courier_with(&config), &["a@jumbo.com"], MESSAGE).await, &[want], host);
    }
    assert_eq!(dns.queries("jumbo.com", ""), 0);
}

#[tokio::test]
async fn servers_that_misbehave_cost_neither_memory_nor_time() {
    type Says = fn(usize) -> Vec<u8>;
    let flood: Says = |_| vec![b'2'; 4 << 20];
    let many: Says = |_| b"250-more\r\n".repeat(1 << 18);
    let bare: Says = |_| b"250 ok\n".to_vec();
    let twice: Says = |_| b"250 ok\r\n250 ok\r\n".to_vec();
    let nothing: Says = |_| Vec::new();
    for (after, says, words) in [
        (0, flood, "too long"),
        (1, flood, "too long"),
        (2, flood, "too long"),
        (1, many, "too long"),
        (2, bare, "CRLF"),
        (2, twice, "unasked"),
        (0, nothing, "within"),
        (2, nothing, "within"),
        (5, nothing, "within"),
    ] {
        let port = server(move |mut stream| async move {
            let good = [&b"220 mx\r\n"[..], b"250-mx\r\n250 8BITMIME\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 kept\r\n"];
            for (n, reply) in good.iter().enumerate() {
                if n == after {
                    let _ = stream.write_all(&says(n)).await;
                    // Only the client ends it.
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                    return;
                }
                let _ = stream.write_all(reply).await;
                let mut line = [0; 1000];
                if stream.read(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        });
        let (_dns, courier) = to(port.address()).await;
        let courier = courier.timeouts(Timeouts {
            greeting: Duration::from_millis(300),
            command: Duration::from_millis(300),
            data: Duration::from_millis(300),
            ..timeouts()
        });
        let started = std::time::Instant::now();
        let results = send(&courier, &["a@jumbo.com"], MESSAGE).await;
        is(&results, &[if after < 2 { "down" } else { "later" }], words);
        assert!(started.elapsed() < Duration::from_secs(3), "{after} {words}");
    }
}

#[tokio::test]
async fn a_dropped_delivery_leaves_nothing_to_the_next_one() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    // Answers the end of the first two messages late, and says which message it means.
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let port = server(move |mut stream| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let _ = stream.write_all(b"220 mx\r\n").await;
            let (mut seen, mut mails) = (Vec::new(), 0);
            while stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
                if !seen.ends_with(b"\r\n") {
                    continue;
                }
                let reply = if seen.starts_with(b"DATA") {
                    "354 go\r\n".to_owned()
                } else if seen.ends_with(b"\r\n.\r\n") {
                    mails += 1;
                    if mails == 2 {
                        tokio::time::sleep(Duration::from_millis(150)).await;
                    }
                    format!("250 connection {n} mail {mails}\r\n")
                } else {
                    "250 ok\r\n".to_owned()
                };
                seen.clear();
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        }
    });
    let (_dns, courier) = to(port.address()).await;
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "connection 0 mail 1");
    let recipients = ["a@jumbo.com".to_owned()];
    let domain = "jumbo.com".parse().unwrap();
    let dropped = tokio::time::timeout(Duration::from_millis(70), courier.deliver(&domain, "", &recipients, MESSAGE)).await;
    assert!(dropped.is_err());
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "connection 1 mail 1");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn connections_are_kept_for_a_while_and_a_hundred_messages() {
    let sink = Sink::start().await;
    let (_dns, courier) = to(sink.address()).await;
    for _ in 0..101 {
        is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
    }
    assert_eq!(sink.connections(), 2);
    let courier = courier.timeouts(Timeouts { idle: Duration::from_millis(30), ..timeouts() });
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
    tokio::time::sleep(Duration::from_millis(60)).await;
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
    assert_eq!(sink.connections(), 4);
}
