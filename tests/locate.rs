//! Finding a CIP server, against a DNS server that answers, denies and fails.

use std::time::Duration;

use cip_relay::config::{Config, Peer, RouteRule, Span};
use cip_relay::ident::ServerId;
use cip_relay::locate::{LocateError, Located, Locator, NotLocated, Source};
use cip_relay::resolver::{Lookup, Resolver};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::dns::Dns;

const ZONE: &str = "
    $ORIGIN jumbo.com.
    _cip._tcp 0 IN SRV 20 0 7048 late.jumbo.com.
    _cip._tcp 0 IN SRV 10 5 7047 cal.jumbo.com.
    @         0 IN A   192.0.2.9
    cal       0 IN A   192.0.2.1
    cal       0 IN A   192.0.2.2
    cal       0 IN AAAA 2001:db8::1
    late      0 IN A   192.0.2.3
    $ORIGIN old.example.
    cip.tcp   0 IN SRV 0 0 99 srv.old.example.
    srv       0 IN A   192.0.2.4
    $ORIGIN plain.example.
    @         0 IN A   192.0.2.5
    $ORIGIN none.example.
    _cip._tcp 0 IN SRV 0 0 0 .
    @         0 IN A   192.0.2.6
    $ORIGIN mail.example.
    @         0 IN MX  10 mx.mail.example.
    $ORIGIN gone.example.
    _cip._tcp 0 IN SRV 0 0 7047 nowhere.gone.example.
    $ORIGIN inside.example.
    _cip._tcp 0 IN SRV 0 0 7047 db.inside.example.
    db        0 IN A   10.0.0.1
    db        0 IN AAAA ::1
    $ORIGIN half.example.
    _cip._tcp 0 IN SRV 1 0 7047 db.half.example.
    _cip._tcp 0 IN SRV 2 0 7047 ok.half.example.
    db        0 IN A   169.254.169.254
    ok        0 IN A   192.0.2.7
    $ORIGIN backup.example.
    _cip._tcp 0 IN SRV 1 0 7047 first.backup.example.
    _cip._tcp 0 IN SRV 2 0 6047 Relay.tiny.com.
    _cip._tcp 0 IN SRV 3 0 7047 third.backup.example.
    first     0 IN A   192.0.2.10
    third     0 IN A   192.0.2.11
    $ORIGIN me.example.
    _cip._tcp 0 IN SRV 1 0 6047 me.example.
    @         0 IN A   127.0.0.1
    $ORIGIN literal.example.
    _cip._tcp 0 IN SRV 1 0 0 cal.jumbo.com.
    _cip._tcp 0 IN SRV 2 0 7047 localhost.
    $ORIGIN twice.example.
    _cip._tcp 0 IN SRV 1 0 7047 cal.jumbo.com.
    _cip._tcp 0 IN SRV 2 0 7047 CAL.jumbo.com.
    $ORIGIN www.example.
    alias     0 IN CNAME nowhere.www.example.
";

fn config(dns: &Dns) -> Config {
    let mut config = Config { hostname: Some("relay.tiny.com".into()), server_id: "tiny.com".parse().unwrap(), ..Config::default() };
    config.dns.servers = vec![dns.address()];
    config.dns.timeout = Span(Duration::from_millis(300));
    config
}

fn peer(server_id: &str, via: Option<&str>, route: RouteRule) -> Peer {
    let mut peer: Peer = toml::from_str(&format!("server-id = {server_id:?}")).unwrap();
    peer.via = via.map(str::to_owned);
    peer.route = route;
    peer
}

async fn locate_with(config: &Config, server: &str) -> Result<Located, LocateError> {
    let locator = Locator::new(Resolver::new(&config.dns).unwrap(), config);
    locator.locate(&ServerId::parse(server).unwrap(), &mut StdRng::seed_from_u64(1)).await
}

/// `host:port=addr,addr host:port=…`
fn shown(located: &Located) -> String {
    let candidate = |c: &cip_relay::locate::Candidate| {
        let addresses: Vec<String> = c.addresses.iter().map(ToString::to_string).collect();
        format!("{}:{}={}", c.host, c.port, addresses.join(","))
    };
    located.candidates.iter().map(candidate).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn servers_are_found_as_dns_says() {
    let dns = Dns::start(ZONE).await;
    let config = config(&dns);
    let table = [
        ("jumbo.com", Source::Srv, true, "cal.jumbo.com:7047=2001:db8::1,192.0.2.1,192.0.2.2 late.jumbo.com:7048=192.0.2.3"),
        ("old.example", Source::BareSrv, true, "srv.old.example:99=192.0.2.4"),
        ("plain.example", Source::Address, false, "plain.example:6047=192.0.2.5"),
        ("half.example", Source::Srv, true, "ok.half.example:7047=192.0.2.7"),
        // This relay ends the list, so that the third is never tried.
        ("backup.example", Source::Srv, true, "first.backup.example:7047=192.0.2.10"),
        ("twice.example", Source::Srv, true, "cal.jumbo.com:7047=2001:db8::1,192.0.2.1,192.0.2.2"),
    ];
    for (server, source, promised, want) in table {
        let mut located = locate_with(&config, server).await.unwrap_or_else(|e| panic!("{server}: {e:?}"));
        // The addresses of one family come in the order that the DNS server likes.
        for candidate in &mut located.candidates {
            candidate.addresses.sort_by_key(|a| (a.is_ipv4(), *a));
        }
        assert_eq!((located.source, located.promised), (source, promised), "{server}");
        assert_eq!(shown(&located), want, "{server}");
        assert!(
            located.steps.last().unwrap().contains(if server == "backup.example" { "itself" } else { "Candidate" }),
            "{:?}",
            located.steps
        );
    }
}

#[tokio::test]
async fn servers_that_are_not_found_are_told_apart() {
    let dns = Dns::start(ZONE).await;
    let config = config(&dns);
    let table = [
        ("none.example", NotLocated::NoCip, "no CIP service"),
        ("mail.example", NotLocated::NoAddress, "neither an SRV record"),
        ("nowhere.org", NotLocated::NoAddress, "neither"),
        ("alias.www.example", NotLocated::NoAddress, "neither"),
        ("gone.example", NotLocated::Down, "leads to no address"),
        ("inside.example", NotLocated::Refused, "loopback"),
        ("me.example", NotLocated::Refused, "itself"),
        ("tiny.com", NotLocated::Refused, "itself"),
        ("literal.example", NotLocated::Refused, "no host name with a port"),
        ("127.0.0.1", NotLocated::NoAddress, "neither"),
        ("localhost", NotLocated::NoAddress, "neither"),
    ];
    for (server, why, words) in table {
        let error = locate_with(&config, server).await.expect_err(server);
        assert_eq!(error.why, why, "{server}: {error:?}");
        assert!(error.detail.contains(words) && error.steps.last().unwrap().contains(&error.detail), "{server}: {error:?}");
    }
}

#[tokio::test]
async fn a_failing_dns_server_is_never_there_is_none() {
    let dns = Dns::start(ZONE).await;
    let config = config(&dns);
    for (server, broken) in [
        ("jumbo.com", "_cip._tcp.jumbo.com"),
        ("jumbo.com", "jumbo.com"),
        ("old.example", "cip.tcp.old.example"),
        ("old.example", "srv.old.example"),
        ("inside.example", "db.inside.example"),
    ] {
        dns.servfail(broken, true);
        let error = locate_with(&config, server).await.expect_err(broken);
        assert_eq!(error.why, NotLocated::Dns, "{broken}: {error:?}");
        dns.servfail(broken, false);
    }
    // One of two targets cannot be looked up: the other one is still there.
    dns.servfail("cal.jumbo.com", true);
    assert_eq!(shown(&locate_with(&config, "jumbo.com").await.unwrap()), "late.jumbo.com:7048=192.0.2.3");
    dns.silent("plain.example", true);
    let error = locate_with(&config, "plain.example").await.unwrap_err();
    assert_eq!(error.why, NotLocated::Dns, "{error:?}");
    assert!(error.detail.contains("in time"), "{error:?}");
}

#[tokio::test]
async fn the_configuration_goes_before_dns() {
    let dns = Dns::start(ZONE).await;
    let mut config = config(&dns);
    config.peer = vec![
        peer("jumbo.com", Some("127.0.0.1:7047"), RouteRule::Auto),
        peer("six.example", Some("[::1]"), RouteRule::Auto),
        peer("named.example", Some("localhost:99"), RouteRule::Auto),
        peer("byname.example", Some("late.jumbo.com:99"), RouteRule::Auto),
        peer("*.example", None, RouteRule::Mail),
        peer("plain.example", None, RouteRule::Cip),
        peer("loop.example", Some("127.0.0.1:6047"), RouteRule::Auto),
        peer("lost.example", Some("nowhere.example:1"), RouteRule::Auto),
    ];
    for (server, source, want) in [
        ("jumbo.com", Source::Via, "127.0.0.1:7047=127.0.0.1"),
        ("six.example", Source::Via, "::1:6047=::1"),
        ("named.example", Source::Via, "localhost:99=127.0.0.1,::1"),
        ("byname.example", Source::Via, "late.jumbo.com:99=192.0.2.3"),
        ("plain.example", Source::Address, "plain.example:6047=192.0.2.5"),
    ] {
        let located = locate_with(&config, server).await.unwrap_or_else(|e| panic!("{server}: {e:?}"));
        assert!(located.promised && located.source == source, "{server}: {located:?}");
        assert_eq!(shown(&located), want, "{server}");
    }
    for (server, why) in [("old.example", NotLocated::NoCip), ("loop.example", NotLocated::Refused), ("lost.example", NotLocated::Down)] {
        assert_eq!(locate_with(&config, server).await.unwrap_err().why, why, "{server}");
    }
    assert_eq!(dns.queries("_cip._tcp.jumbo.com", ""), 0);
    assert_eq!(dns.queries("_cip._tcp.old.example", ""), 0);
}

#[tokio::test]
async fn allowed_ranges_are_allowed() {
    let dns = Dns::start(ZONE).await;
    let mut config = config(&dns);
    config.dns.allow_targets = vec!["10.0.0.0/8".parse().unwrap()];
    assert_eq!(shown(&locate_with(&config, "inside.example").await.unwrap()), "db.inside.example:7047=10.0.0.1");
    config.dns.allow_targets = vec!["127.0.0.0/8".parse().unwrap()];
    // Allowed, but it is where this relay listens.
    assert_eq!(locate_with(&config, "me.example").await.unwrap_err().why, NotLocated::Refused);
    config.cip.listen = vec!["127.0.0.1:6048".parse().unwrap()];
    config.server_id = "other.com".parse().unwrap();
    assert_eq!(shown(&locate_with(&config, "me.example").await.unwrap()), "me.example:6047=127.0.0.1");
}

#[tokio::test]
async fn a_question_with_half_an_answer() {
    let dns = Dns::start(ZONE).await;
    let resolver = Resolver::new(&config(&dns).dns).unwrap();
    assert_eq!(resolver.addresses("late.jumbo.com").await, Lookup::Answer(vec!["192.0.2.3".parse().unwrap()]));
    assert_eq!(resolver.addresses("nowhere.jumbo.com").await, Lookup::None);
    assert!(
        matches!(resolver.mx("mail.example").await, Lookup::Answer(mx) if mx[0].exchange == "mx.mail.example" && mx[0].preference == 10)
    );
    assert_eq!(resolver.mx("jumbo.com").await, Lookup::None);
    dns.servfail("jumbo.com", true);
    assert!(matches!(resolver.addresses("late.jumbo.com").await, Lookup::Temporary(why) if why.contains("late.jumbo.com")));
}
