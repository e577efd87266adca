//! Users elsewhere, for clients that may relay: asked of their own servers in real time.

use super::{FROM, UNTIL, ask, at_hour, busy, calendar, settings};
use crate::support::cip::CipClient;
use crate::support::peer::{Behaviour, CipPeer, Command, Reply};
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::web::{Page, Web};

/// Lines that tell of these users as busy at that hour of the 24th.
pub fn told(users: &[(&str, u32)]) -> Vec<String> {
    let mut lines = vec!["+".to_owned(), "BEGIN:VCALENDAR".into(), "VERSION:2.0".into(), "METHOD:REPLY".into()];
    for (user, hour) in users {
        let period = format!("FREEBUSY;FBTYPE=BUSY-TENTATIVE:20261124T{hour:02}0000Z/PT30M");
        for line in ["BEGIN:VFREEBUSY", &format!("ATTENDEE:mailto:{user}"), "X-SECRET:secret", "COMMENT:secret", &period, "END:VFREEBUSY"] {
            lines.push(line.to_owned());
        }
    }
    lines.extend(["END:VCALENDAR".to_owned(), ".".into()]);
    lines
}

pub fn answering(lines: Vec<String>) -> Behaviour {
    Behaviour::accept().rule(move |command: &Command, _: &str| (command.verb == "FREEBUSY").then(|| Reply::Lines(lines.clone())))
}

pub fn via(settings: Settings, peer: &CipPeer) -> Settings {
    settings.peer(&format!("server-id = \"{}\"\nvia = \"{}\"", peer.server_id(), peer.address()))
}

fn relaying() -> Settings {
    settings("[]").set("cip.relay-networks", vec!["127.0.0.1/32"]).quick()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_several_servers_are_asked_for_in_one_answer() {
    let jumbo = CipPeer::start(
        "jumbo.com",
        answering(
            [told(&[("tom@jumbo.com", 9), ("ann@jumbo.com", 10)]), vec!["* PERMDENIED joe@jumbo.com".into(), "OK 000 Done.".into()]]
                .concat(),
        ),
    )
    .await;
    let other = CipPeer::start("other.org", answering(vec!["* NOTFOUND eve@other.org".into(), "NO 000 Nobody.".into()])).await;
    let down = CipPeer::down("down.org", Behaviour::accept());
    let relay = Running::start(via(via(via(relaying(), &jumbo), &other), &down)).await;
    let everybody = ["tom@jumbo.com", "eve@other.org", "ann@jumbo.com", "joe@jumbo.com", "lost@jumbo.com", "dave@down.org"];
    let mut client = relay.cip().await;
    let answer = ask(&mut client, &everybody).await;
    assert_eq!(busy(&answer, "tom@jumbo.com").unwrap(), ["BUSY-TENTATIVE 1124T0900/1124T0930"]);
    assert_eq!(busy(&answer, "ann@jumbo.com").unwrap(), ["BUSY-TENTATIVE 1124T1000/1124T1030"]);
    let lines = ["* NOTFOUND eve@other.org", "* PERMDENIED joe@jumbo.com", "* NOTFOUND lost@jumbo.com", "* NOTFOUND dave@down.org"];
    assert_eq!((answer.infos.as_slice(), answer.code()), (lines.map(str::to_owned).as_slice(), "OK 003"));
    assert!(!answer.data.unwrap().contains("secret"));
    let asked = jumbo.of("FREEBUSY");
    assert_eq!(asked.len(), 1);
    let request = asked[0].text();
    let people = "ATTENDEE:tom@jumbo.com\r\nATTENDEE:ann@jumbo.com\r\nATTENDEE:joe@jumbo.com\r\nATTENDEE:lost@jumbo.com\r\n";
    assert!(request.starts_with(&format!("{people}DTSTART:{FROM}\r\nDTEND:{UNTIL}\r\nX-CIP-TRACE:tiny.com;")), "{request}");
    let answer = ask(&mut client, &["dave@down.org"]).await;
    assert_eq!((answer.infos.len(), answer.code()), (0, "NO 004"), "ask again later");
    // A stranger is not answered for others.
    let mut stranger = CipClient::connect_from("127.0.0.2", relay.cip_address()).await;
    let answer = ask(&mut stranger, &["tom@jumbo.com"]).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* NOTFOUND tom@jumbo.com".to_owned()].as_slice(), "NO 000"));
    assert_eq!(jumbo.of("FREEBUSY").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_and_remembered() {
    let redirect = |old: &str, new: &str| answering(vec![format!("* REDIRECT USER {old} IS NOW {new}"), "NO 000 Moved.".into()]);
    let jumbo = CipPeer::start("jumbo.com", redirect("tom@jumbo.com", "tom@other.org")).await;
    let other = CipPeer::start("other.org", answering([told(&[("tom@other.org", 9)]), vec!["OK 000 Done.".into()]].concat())).await;
    let round = CipPeer::start("round.org", redirect("eve@round.org", "eve@square.org")).await;
    let square = CipPeer::start("square.org", redirect("eve@square.org", "eve@round.org")).await;
    // It speaks of somebody who is not its own.
    let liar = CipPeer::start("liar.org", redirect("tom@other.org", "evil@liar.org")).await;
    let web = Web::start(|_| Page::ok(calendar(&[&at_hour(9)]))).await;
    let home = CipPeer::start("home.org", redirect("mary@home.org", "mary@tiny.com")).await;
    let text = format!("name = \"tiny.com\"\nfree-busy = [{{ source = \"url\", url = \"{}\" }}]", web.url("/%u"));
    let settings = [&jumbo, &other, &round, &square, &liar, &home].into_iter().fold(relaying().domain_text(&text), via);
    let relay = Running::start(settings).await;
    let mut client = relay.cip().await;
    for _ in 0..2 {
        let answer = ask(&mut client, &["tom@jumbo.com"]).await;
        assert_eq!(busy(&answer, "tom@jumbo.com").unwrap(), ["BUSY-TENTATIVE 1124T0900/1124T0930"]);
        assert_eq!((answer.infos.len(), answer.code()), (0, "OK 000"));
    }
    assert_eq!((jumbo.of("FREEBUSY").len(), other.of("FREEBUSY").len()), (1, 2), "the redirect is remembered");
    let answer = ask(&mut client, &["eve@round.org", "joe@liar.org", "mary@home.org"]).await;
    assert_eq!(busy(&answer, "mary@home.org").unwrap(), ["BUSY 1124T0900/1124T1000"], "back to a user of ours");
    assert_eq!(answer.infos, ["* NOTFOUND eve@round.org", "* NOTFOUND joe@liar.org"].map(str::to_owned));
    assert_eq!((round.of("FREEBUSY").len(), square.of("FREEBUSY").len()), (1, 1));
}

/// A domain whose own CIP server stands behind the relay, and requests that come round.
#[tokio::test(flavor = "multi_thread")]
async fn the_domains_own_server_is_asked_and_a_loop_is_ended() {
    let inside = CipPeer::start("tiny.com", answering([told(&[("mary@tiny.com", 9)]), vec!["OK 000 Done.".into()]].concat())).await;
    let settings = settings("[]").domain_text("name = \"tiny.com\"\ndeliver = \"cip\"\nfree-busy-for = \"anyone\"");
    let relay = Running::start(via(settings, &inside)).await;
    let mut client = relay.cip().await;
    assert_eq!(busy(&ask(&mut client, &["mary@tiny.com"]).await, "mary@tiny.com").unwrap(), ["BUSY-TENTATIVE 1124T0900/1124T0930"]);
    let passed = inside.of("FREEBUSY").remove(0).text();
    let answer = client.object("FREEBUSY", &passed).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* PERMDENIED mary@tiny.com".to_owned()].as_slice(), "NO 000"));
    assert_eq!(inside.of("FREEBUSY").len(), 1);
}

/// Servers that answer in other ways than they should: nobody is free for that.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_bad_server_says_is_not_taken_for_free_time() {
    let table = [
        (vec!["OK 000 Done."], "NO 000"),
        (vec!["NO 002 Not you."], "NO 000"),
        (vec!["NO 004 Busy."], "NO 004"),
        (vec!["+", "this is", "no calendar", ".", "OK 000 Done."], "NO 000"),
        (vec!["+", "BEGIN:VCALENDAR", "BEGIN:VFREEBUSY", "ATTENDEE:mailto:tom@jumbo.com", ".", "OK 000 Done."], "NO 004"),
        (
            vec![
                "+",
                "BEGIN:VCALENDAR",
                "BEGIN:VFREEBUSY",
                "ATTENDEE:mailto:tom@jumbo.com",
                "FREEBUSY:soon",
                "END:VFREEBUSY",
                "END:VCALENDAR",
                ".",
                "OK 000",
            ],
            "NO 004",
        ),
        (vec!["HTTP/1.1 400 Bad Request"], "NO 004"),
    ];
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let relay = Running::start(via(relaying(), &jumbo).set("free-busy.timeout", "2s")).await;
    for (lines, code) in table {
        jumbo.behave(answering(lines.iter().map(|&l| l.to_owned()).collect()));
        let answer = ask(&mut relay.cip().await, &["tom@jumbo.com"]).await;
        assert_eq!((answer.code(), answer.data.as_deref()), (code, None), "{lines:?}");
    }
    jumbo.behave(Behaviour::accept().rule(|_: &Command, _: &str| Some(Reply::Silence)));
    assert_eq!(ask(&mut relay.cip().await, &["tom@jumbo.com"]).await.code(), "NO 004", "after two seconds");
}
