//! The tools themselves, used against each other.

#![cfg(test)]

use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::cip::CipClient;
use super::dns::Dns;
use super::peer::{Behaviour, CipPeer, Reply};
use super::sink::{Sink, Stage};
use super::smtp::SmtpClient;

const ZONE: &str = "
    $ORIGIN jumbo.com.
    _cip._tcp 0 IN SRV 10 60 7047 cal.jumbo.com.
    _cip._tcp 0 IN SRV 20 0  7048 cal.jumbo.com.
    cal       0 IN A   127.0.0.1
    $ORIGIN none.example.
    _cip._tcp 0 IN SRV 0 0 0 .
";

fn resolver(dns: &Dns) -> Resolver<TokioRuntimeProvider> {
    let mut udp = ConnectionConfig::udp();
    udp.port = dns.address().port();
    let mut tcp = ConnectionConfig::tcp();
    tcp.port = dns.address().port();
    let server = NameServerConfig::new(dns.address().ip(), true, vec![udp, tcp]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = Duration::from_millis(200);
    options.attempts = 0;
    builder.build().unwrap()
}

async fn ask(dns: &Dns, name: &str, kind: RecordType) -> Result<Vec<RData>, NetError> {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    Ok(resolver(dns).lookup(name, kind).await?.answers().iter().map(|r| r.data.clone()).collect())
}

#[tokio::test]
async fn the_dns_server_answers_from_its_zones_and_fails_where_told() {
    let dns = Dns::start(ZONE).await;
    assert_eq!(ask(&dns, "_cip._tcp.jumbo.com", RecordType::SRV).await.unwrap().len(), 2);
    let null = ask(&dns, "_cip._tcp.none.example", RecordType::SRV).await.unwrap();
    assert!(matches!(&null[..], [RData::SRV(srv)] if srv.target.is_root()), "{null:?}");
    for absent in ["jumbo.com", "x.jumbo.com", "nowhere.org"] {
        let error = ask(&dns, absent, RecordType::A).await.unwrap_err();
        assert!(matches!(&error, NetError::Dns(DnsError::NoRecordsFound(_))), "{absent}: {error:?}");
    }
    dns.servfail("jumbo.com", true);
    let error = ask(&dns, "cal.jumbo.com", RecordType::A).await.unwrap_err();
    assert!(matches!(&error, NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail))), "{error:?}");
    dns.servfail("jumbo.com", false);
    assert_eq!(ask(&dns, "CAL.jumbo.com", RecordType::A).await.unwrap().len(), 1);
    assert!(dns.queries("cal.jumbo.com", "A") >= 2, "{}", dns.queries("cal.jumbo.com", "A"));
    assert_eq!(dns.queries("cal.jumbo.com", "AAAA"), 0);

    dns.silent("jumbo.com", true);
    assert!(ask(&dns, "cal.jumbo.com", RecordType::A).await.unwrap_err().to_string().contains("time"));
    dns.silent("jumbo.com", false);
    dns.replace("$ORIGIN jumbo.com.\ncal 0 IN A 127.0.0.2\ncal 0 IN A 127.0.0.3");
    assert_eq!(ask(&dns, "cal.jumbo.com", RecordType::A).await.unwrap().len(), 2);
}

const EVENT: &str = "UID: 1@tiny.com\nSEQUENCE: 1\nATTENDEE; ROLE=OWNER: Pete\n <pete@tiny.com>\n\
    ATTENDEE: Tom Jones <Tom@Jumbo.com>\nATTENDEE: ann@jumbo.com\nATTENDEE: joe@other.org\nDESCRIPTION: x\n..\n.\n.x\n";

#[tokio::test]
async fn the_cip_peer_plays_its_part() {
    let peer =
        CipPeer::start("jumbo.com", Behaviour::accept().not_found("ann@jumbo.com").redirect_event("9@jumbo.com", "10@new.org")).await;
    let mut client = CipClient::connect(peer.address()).await;
    assert_eq!(client.greeting, "OK CIP 1.0 jumbo.com");
    let answer = client.object("SENDEVENT", EVENT).await;
    assert_eq!(answer.infos, ["* TENTATIVE tom@jumbo.com", "* NOTFOUND ann@jumbo.com"]);
    assert_eq!(answer.code(), "OK 003");
    assert_eq!(peer.of("SENDEVENT")[0].text(), EVENT.replace('\n', "\r\n"));
    let only_ann = format!("{EVENT}X-CIP-RCPT:ann@jumbo.com\n");
    assert_eq!(client.object("SENDEVENT", &only_ann).await.completion, "NO 000 Nobody here.");
    assert_eq!(client.object("RSVP", "UID: 8@jumbo.com\n").await.code(), "OK 000");
    assert_eq!(client.object("RSVP", "UID: 9@jumbo.com\n").await.infos, ["* REDIRECT EVENT 9@jumbo.com IS NOW 10@new.org"]);
    assert_eq!(client.object("FREEBUSY", "ATTENDEE: tom@jumbo.com\n").await.infos, ["* NOTFOUND tom@jumbo.com"]);
    assert_eq!(client.command("AUTHENTICATE LOGIN a b").await.code(), "OK 000");

    peer.behave(Behaviour::accept().cut_after_data(1));
    client.send("SENDEVENT+\r\n.\r\n").await;
    assert!(client.closed().await);
    assert_eq!(peer.wait_for("SENDEVENT", 3).await.len(), 3);

    peer.stop().await;
    assert!(tokio::net::TcpStream::connect(peer.address()).await.is_err());
    peer.behave(Behaviour::smtp());
    peer.up();
    assert_eq!(CipClient::connect(peer.address()).await.greeting, "220 mail.example ESMTP");
    assert_eq!(peer.connections(), 2);

    let parts = Behaviour::accept().rule(|c, _| (c.verb == "FREEBUSY").then(|| Reply::lines(["+", "BEGIN:X", ".", "OK 000"])));
    peer.behave(parts);
    let answer = CipClient::connect(peer.address()).await.object("FREEBUSY", "").await;
    assert_eq!(answer.data.as_deref(), Some("BEGIN:X\r\n"));
}

#[tokio::test]
async fn the_mail_sink_keeps_and_refuses() {
    let sink = Sink::start().await;
    let mut client = SmtpClient::connect(sink.address()).await;
    assert!(client.command("EHLO test").await.lines.contains(&"PIPELINING".to_owned()));
    let message = b"Subject: a\r\n b\r\n\r\n.dot\r\n..\r\n";
    assert_eq!(client.mail("a@x.org", &["b@y.org", "c@y.org"], message).await.code, 250);
    let kept = &sink.wait_for(1).await[0];
    assert_eq!((kept.data.as_slice(), kept.sender.as_str()), (&message[..], "a@x.org"));
    assert_eq!(kept.recipients, ["b@y.org", "c@y.org"]);
    assert_eq!(kept.header("subject").as_deref(), Some("a b"));

    sink.refuse(Stage::Rcpt, Some("b@y.org"), "550 5.1.1 Nobody", 1);
    sink.refuse(Stage::Data, None, "451 4.3.0 Later", 1);
    assert_eq!(client.mail("", &["b@y.org"], message).await.code, 550);
    assert_eq!(client.mail("", &["b@y.org"], message).await.code, 451);
    assert_eq!(client.mail("", &["b@y.org"], message).await.code, 250);
    sink.wait_for_refusals(2).await;
    assert_eq!(sink.mails_for("B@Y.org").len(), 2);

    sink.stop().await;
    assert!(client.closed().await);
    sink.refuse(Stage::Connect, None, "421 4.3.2 Full", 1);
    sink.up();
    assert_eq!(SmtpClient::connect(sink.address()).await.greeting.code, 421);
    assert_eq!(SmtpClient::connect(sink.address()).await.greeting.code, 220);
}
