//! Published calendars, CalDAV, how several sources make one answer, and who may ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{FROM, UNTIL, ask, at_hour, busy, calendar, domain, settings};
use crate::support::cip::CipClient;
use crate::support::dns::Dns;
use crate::support::running::Running;
use crate::support::web::{Page, Web};

#[tokio::test(flavor = "multi_thread")]
async fn a_published_calendar_is_asked_for_again_only_when_it_may_have_changed() {
    let version = Arc::new(AtomicUsize::new(1));
    let told = version.clone();
    let web = Web::start(move |request| {
        let version = told.load(Ordering::SeqCst);
        let tag = format!("\"{version}\"");
        match request.path.as_str() {
            "/mary.ics" if request.header("if-none-match") == Some(tag.as_str()) => Page::status(304),
            "/mary.ics" => Page::ok(calendar(&[&at_hour(8 + u32::try_from(version).unwrap())])).header("ETag", &tag),
            "/bob.ics" if request.header("if-modified-since").is_some() => Page::status(304),
            "/bob.ics" => Page::ok(calendar(&[])).header("Last-Modified", "Sun, 22 Nov 2026 08:00:00 GMT"),
            _ => Page::status(404),
        }
    })
    .await;
    let relay = Running::start_held(settings(&format!("[{{ source = \"url\", url = \"{}\" }}]", web.url("/%u.ics")))).await;
    let mut client = relay.cip().await;
    let answer =
        ask(&mut client, &["Mary@tiny.com", "bob@tiny.com", "carl@tiny.com", "nobody@tiny.com", "tom@jumbo.com", "old@tiny.com"]).await;
    assert_eq!(busy(&answer, "Mary@tiny.com").unwrap(), ["BUSY 1124T0900/1124T1000"]);
    assert_eq!(busy(&answer, "bob@tiny.com").unwrap(), [""; 0]);
    let lines = [
        "* NOTFOUND carl@tiny.com",
        "* NOTFOUND nobody@tiny.com",
        "* NOTFOUND tom@jumbo.com",
        "* REDIRECT USER old@tiny.com IS NOW new@other.org",
    ];
    assert_eq!((answer.infos, answer.completion.as_str()), (lines.map(str::to_owned).to_vec(), "OK 000 Done."));
    let data = answer.data.unwrap();
    assert!(data.starts_with("BEGIN:VCALENDAR\r\n") && data.matches("METHOD:REPLY\r\n").count() == 1, "{data}");
    assert!(data.contains(&format!("DTSTART:{FROM}\r\nDTEND:{UNTIL}\r\n")) && !data.contains("secret"), "{data}");
    assert_eq!(web.requests().len(), 3);

    let both = ["mary@tiny.com", "bob@tiny.com"];
    version.store(2, Ordering::SeqCst);
    relay.advance(Duration::from_secs(59));
    assert_eq!(busy(&ask(&mut client, &both).await, "mary@tiny.com").unwrap(), ["BUSY 1124T0900/1124T1000"]);
    assert_eq!(web.requests().len(), 3, "fresh for a minute");
    relay.advance(Duration::from_secs(1));
    assert_eq!(busy(&ask(&mut client, &both).await, "mary@tiny.com").unwrap(), ["BUSY 1124T1000/1124T1100"]);
    let conditional = |name: &str| web.requests().iter().filter(|r| r.header(name).is_some()).count();
    assert_eq!((web.requests().len(), conditional("if-none-match"), conditional("if-modified-since")), (5, 1, 1));
    relay.advance(Duration::from_secs(60));
    assert_eq!(busy(&ask(&mut client, &["m.weaver@tiny.com"]).await, "m.weaver@tiny.com").unwrap(), ["BUSY 1124T1000/1124T1100"]);
    assert_eq!((web.requests().len(), conditional("if-none-match")), (6, 2), "unchanged, and known by its other name");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_within_their_place_in_the_url() {
    let web = Web::start(|_| Page::ok(calendar(&[]))).await;
    let text = format!(
        "name = \"tiny.com\"\nfree-busy-for = \"anyone\"\nfree-busy = [{{ source = \"url\", url = \"{}\" }}]",
        web.url("/%d/%u/a%20b.ics?who=%u%25")
    );
    let relay = Running::start(settings("[]").domain_text(&text)).await;
    let mut client = relay.cip().await;
    for user in ["O'Brien+x%y@tiny.com", "a/../b@tiny.com", "a?b#c&d=e@tiny.com"] {
        assert_eq!(ask(&mut client, &[user]).await.code(), "OK 000", "{user}");
    }
    let paths: Vec<String> = web.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(
        paths,
        [
            "/tiny.com/o%27brien%2Bx%25y/a%20b.ics?who=o%27brien%2Bx%25y%25",
            "/tiny.com/a%2F..%2Fb/a%20b.ics?who=a%2F..%2Fb%25",
            "/tiny.com/a%3Fb%23c%26d%3De/a%20b.ics?who=a%3Fb%23c%26d%3De%25",
        ]
    );
    assert_eq!(ask(&mut client, &["..@tiny.com"]).await.completion, "NO 000 No free/busy information.");
    assert_eq!(web.requests().len(), 3);
}

/// Busy in either is busy; what a published file does not cover is not told; a source that fails leaves nobody free.
#[tokio::test(flavor = "multi_thread")]
async fn several_sources_make_one_answer() {
    let web = Web::start(|request| match request.path.as_str() {
        "/a/mary" => Page::ok(calendar(&[&at_hour(9), "DTSTART:20261125T090000Z\nDURATION:PT1H\nSTATUS:TENTATIVE"])),
        "/b/mary" => Page::ok(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VFREEBUSY\r\nDTSTART:20261124T000000Z\r\nDTEND:20261127T000000Z\r\n\
             FREEBUSY;FBTYPE=BUSY:20261124T093000Z/20261124T110000Z\r\nFREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20261126T000000Z/P7D\r\n\
             END:VFREEBUSY\r\nEND:VCALENDAR\r\n",
        ),
        "/a/bob" | "/a/carl" => Page::ok(calendar(&[&at_hour(9)])),
        "/b/bob" => Page::status(500),
        _ => Page::status(410),
    })
    .await;
    let sources =
        format!("[{{ source = \"url\", url = \"{}\" }}, {{ source = \"url\", url = \"{}\" }}]", web.url("/a/%u"), web.url("/b/%u"));
    let relay = Running::start(settings(&sources)).await;
    let mut client = relay.cip().await;
    let answer = ask(&mut client, &["mary@tiny.com", "bob@tiny.com", "carl@tiny.com"]).await;
    let mary = ["BUSY 1124T0900/1124T1100", "BUSY-TENTATIVE 1125T0900/1125T1000", "BUSY-UNAVAILABLE 1126T0000/1127T0000"];
    assert_eq!(busy(&answer, "mary@tiny.com").unwrap(), mary);
    assert!(answer.data.as_ref().unwrap().contains("DTSTART:20261124T000000Z\r\nDTEND:20261127T000000Z\r\n"), "{answer:?}");
    assert_eq!(busy(&answer, "carl@tiny.com").unwrap(), ["BUSY 1124T0900/1124T1000"], "the other server does not know him");
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* NOTFOUND bob@tiny.com".to_owned()].as_slice(), "OK 003"));
    let answer = ask(&mut client, &["bob@tiny.com", "nobody@tiny.com"]).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* NOTFOUND nobody@tiny.com".to_owned()].as_slice(), "NO 004"));
}

const NOT_HERE: &str = "<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\">";

fn multistatus(events: &[&str]) -> String {
    let found: String = events
        .iter()
        .map(|event| {
            format!(
                "<D:response><D:href>/e.ics</D:href><D:propstat><D:prop><C:calendar-data>{}</C:calendar-data></D:prop>\
                 <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>",
                calendar(&[event])
            )
        })
        .collect();
    format!("{NOT_HERE}{found}</D:multistatus>")
}

#[tokio::test(flavor = "multi_thread")]
async fn caldav_is_asked_for_its_summary_and_else_for_its_events() {
    let web = Web::start(|request| {
        let summary = request.body.contains("free-busy-query");
        if request.header("authorization") != Some("Basic c3ZjOnPDqWNyZXQ=") {
            return Page::status(401);
        }
        let cut = "<D:response><D:href>/</D:href><D:status>HTTP/1.1 507 Insufficient Storage</D:status></D:response></D:multistatus>";
        match (request.path.as_str(), summary) {
            ("/mary/", true) => Page::ok("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VFREEBUSY\r\nFREEBUSY;FBTYPE=BUSY:20261124T090000Z/PT1H\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"),
            ("/bob/", true) => Page::status(501),
            ("/bob/", false) => Page::Answer { status: 207, headers: Vec::new(), body: multistatus(&[&at_hour(9), &at_hour(11)]).into() },
            ("/carl/", true) => Page::ok("<html>this server answers everything</html>"),
            ("/carl/", false) => Page::Answer { status: 207, headers: Vec::new(), body: multistatus(&[&at_hour(9)]).replace("</D:multistatus>", cut).into() },
            _ => Page::status(404),
        }
    })
    .await;
    let base = settings("[]");
    std::fs::write(base.path("pw"), "s\u{e9}cret\r\n").unwrap();
    let source = |url: &str| {
        format!(
            "name = \"tiny.com\"\nfree-busy-for = \"anyone\"\nfree-busy = [{{ source = \"caldav\", url = \"{url}\", user = \"svc\", password-file = \"pw\" }}]"
        )
    };
    let relay = Running::start(base.domain_text(&source(&web.url("/%u/")))).await;
    let mut client = relay.cip().await;
    let answer = ask(&mut client, &["mary@tiny.com", "bob@tiny.com", "carl@tiny.com", "dora@tiny.com"]).await;
    assert_eq!(busy(&answer, "mary@tiny.com").unwrap(), ["BUSY 1124T0900/1124T1000"]);
    // Two members with one UID would be a mistake of the server; here each has its own calendar, and both take time.
    assert_eq!(busy(&answer, "bob@tiny.com").unwrap(), ["BUSY 1124T0900/1124T1000", "BUSY 1124T1100/1124T1200"]);
    let lines = ["* NOTFOUND dora@tiny.com".to_owned(), "* NOTFOUND carl@tiny.com".to_owned()];
    assert_eq!((answer.infos.as_slice(), answer.code()), (lines.as_slice(), "OK 003"), "an answer cut short is none");
    let first = &web.requests()[0];
    assert_eq!((first.method.as_str(), first.header("depth")), ("REPORT", Some("1")));
    assert!(web.requests().iter().all(|r| r.body.contains(&format!("start=\"{FROM}\" end=\"{UNTIL}\""))));
    std::fs::write(relay.settings.path("pw"), "wrong\n").unwrap();
    assert_eq!(ask(&mut client, &["mary@tiny.com"]).await.code(), "NO 004");
}

/// What is not for somebody looks as what is not there, and no source hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_is_told_what_is_told_of_nobody() {
    let web = Web::start(|_| Page::ok(calendar(&[&at_hour(9)]))).await;
    let dns = Dns::start("$ORIGIN jumbo.com.\n@ A 127.0.0.3\n").await;
    let sources = format!("[{{ source = \"url\", url = \"{}\" }}]", web.url("/%u"));
    // For each policy: a stranger, the server of a [[peer]], and a client of the relay's own networks.
    let table = [
        ("nobody", [false, false, false]),
        ("authenticated", [false, false, true]),
        ("peers", [false, true, true]),
        ("anyone", [true, true, true]),
    ];
    for (policy, expected) in table {
        let asked = web.requests().len();
        let settings =
            domain(&sources, policy).dns(dns.address()).set("cip.relay-networks", vec!["127.0.0.1/32"]).peer("server-id = \"jumbo.com\"");
        let relay = Running::start(settings).await;
        for (source, allowed) in ["127.0.0.2", "127.0.0.3", "127.0.0.1"].into_iter().zip(expected) {
            let mut client = CipClient::connect_from(source, relay.cip_address()).await;
            let answer = ask(&mut client, &["mary@tiny.com"]).await;
            assert_eq!(busy(&answer, "mary@tiny.com").is_some(), allowed, "{policy} {source}");
            if !allowed {
                let nobody = ask(&mut client, &["nobody@tiny.com"]).await;
                assert_eq!(answer.infos, ["* NOTFOUND mary@tiny.com"]);
                assert_eq!((nobody.completion, nobody.data), (answer.completion, answer.data));
                assert_eq!(nobody.infos, ["* NOTFOUND nobody@tiny.com"]);
            }
        }
        assert_eq!(web.requests().len() - asked, usize::from(expected.contains(&true)), "{policy}");
    }
}

/// Who guesses names is stopped, as with SENDEVENT (profile 4); a request names at most a hundred.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_and_asking_for_everybody_have_an_end() {
    let relay = Running::start(settings("[{ source = \"ledger\" }]").set("cip.relay-networks", vec!["127.0.0.1/32"])).await;
    let names: Vec<String> = (0..150).map(|n| format!("guess{n}@tiny.com")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = CipClient::connect_from("127.0.0.2", relay.cip_address()).await;
    let answer = ask(&mut client, &names).await;
    assert_eq!(answer.completion, "NO 005 Too many unknown users.");
    assert_eq!(answer.infos.iter().filter(|i| i.starts_with("* NOTFOUND")).count(), 21);
    assert!(client.closed().await);
    let answer = ask(&mut relay.cip().await, &names).await;
    let count = |word: &str| answer.infos.iter().filter(|i| i.starts_with(word)).count();
    assert_eq!((count("* NOTFOUND"), count("* PERMDENIED"), answer.code()), (100, 50, "NO 000"));
}
