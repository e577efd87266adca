//! Names of several people and of people elsewhere: expanded once, and two relays that send them round.

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::support::dns::Dns;
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::Sink;

const TOM: &str = "tom@jumbo.com";
const TEAM: &str = "name = \"tiny.com\"\nusers = [\"mary\", \"bob\", \"carl\"]\n\
    aliases = { team = [\"m.weaver\", \"staff\", \"tom@jumbo.com\"], staff = [\"bob\", \"mary\"], \"m.weaver\" = \"mary\" }";

async fn scene() -> Scene {
    Scene::with(|s| s.domain_text(TEAM)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_a_group_reaches_each_of_its_people_once() {
    let scene = scene().await;
    // Tom's server may not relay; that the group has somebody elsewhere is the administrator's word.
    let object = bare("g1@other.org", 1, "ann@other.org", &["team@tiny.com", "m.weaver@tiny.com", "carl@tiny.com", TOM]);
    let answer = scene.relay.cip().await.object("SENDEVENT", &object).await;
    let lines = ["* TENTATIVE team@tiny.com", "* TENTATIVE m.weaver@tiny.com", "* TENTATIVE carl@tiny.com", "* TENTATIVE tom@jumbo.com"];
    assert_eq!((answer.infos.as_slice(), answer.code()), (lines.map(str::to_owned).as_slice(), "OK 000"));
    let mails = scene.sink.wait_for(3).await;
    let seat = |who: &str, seat: &str| {
        let mail = mails.iter().find(|m| m.recipients == [who]).unwrap_or_else(|| panic!("no mail for {who}"));
        let calendar = unfold(&python_reads(mail).2);
        assert!(
            calendar.lines().any(|l| l.starts_with("ATTENDEE") && l.contains("RSVP=TRUE") && l.ends_with(&format!("mailto:{seat}"))),
            "{calendar}"
        );
    };
    seat("mary@tiny.com", "m.weaver@tiny.com");
    seat("bob@tiny.com", "bob@tiny.com");
    seat("carl@tiny.com", "carl@tiny.com");
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.remove(0);
    assert_eq!(event.recipients("jumbo.com"), [TOM]);
    // The same again is a repetition.
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    scene.relay.idle().await;
    assert_eq!((scene.sink.mails().len(), scene.jumbo.of("SENDEVENT").len()), (3, 1));
    // Each answers for himself.
    let bobs = mails.iter().find(|m| m.recipients == ["bob@tiny.com"]).unwrap();
    let organizer = property(&unfold(&python_reads(bobs).2), "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned();
    let reply = ical("REPLY", "g1@other.org", 0, &organizer, &[("bob@tiny.com", "DECLINED")]);
    let done =
        scene.relay.smtp().await.mail("bob@tiny.com", &[&organizer], imip("REPLY", "bob@tiny.com", &[&organizer], &reply).as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    let mail = scene.sink.wait_for_recipient("ann@other.org", 1).await.remove(0);
    let calendar = unfold(&python_reads(&mail).2);
    assert!(property(&calendar, "ATTENDEE").ends_with("mailto:bob@tiny.com"), "{calendar}");
    scene.relay.idle().await;
}

/// A group that is left out is its people left out, but for those who are still named.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_in_an_event_by_his_group_hears_that_the_group_is_left_out() {
    let scene = scene().await;
    let send = async |version: u32, people: &[&str]| {
        let before = scene.sink.mails().len();
        let object = bare("g2@jumbo.com", version, TOM, people);
        assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
        scene.relay.idle().await;
        let mut mails: Vec<String> =
            scene.sink.mails()[before..].iter().map(|m| format!("{} {}", python_reads(m).1, m.recipients[0])).collect();
        mails.sort();
        mails
    };
    let (staff, mary, carl) = ("staff@tiny.com", "mary@tiny.com", "carl@tiny.com");
    assert_eq!(send(1, &[staff, carl]).await, ["REQUEST bob@tiny.com", "REQUEST carl@tiny.com", "REQUEST mary@tiny.com"]);
    // Mary by her own name from now on.
    assert_eq!(send(2, &[mary, carl]).await, ["CANCEL bob@tiny.com", "REQUEST carl@tiny.com", "REQUEST mary@tiny.com"]);
    assert_eq!(send(3, &[staff, carl]).await, ["REQUEST bob@tiny.com", "REQUEST carl@tiny.com", "REQUEST mary@tiny.com"]);
    assert_eq!(send(4, &[carl]).await, ["CANCEL bob@tiny.com", "CANCEL mary@tiny.com", "REQUEST carl@tiny.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_for_a_group_goes_to_each_of_its_people_once() {
    let scene = scene().await;
    let text = b"From: x@else.org\r\nSubject: Lunch\r\nMessage-ID: <1@else.org>\r\n\r\nAt one?\r\n";
    let done = scene.relay.inbound().await.mail("x@else.org", &["team@tiny.com", "mary@tiny.com"], text).await;
    assert_eq!(done.code, 250, "{done:?}");
    scene.relay.idle().await;
    let mut got: Vec<String> = scene.sink.mails().into_iter().flat_map(|m| m.recipients).collect();
    got.sort();
    assert_eq!(got, ["bob@tiny.com", "mary@tiny.com", TOM]);
    // Carl's invitation of the group: for Tom it is an event.
    let object = ical("REQUEST", "g2@tiny.com", 0, "carl@tiny.com", &[("team@tiny.com", "NEEDS-ACTION")]);
    let done = scene
        .relay
        .smtp()
        .await
        .mail("carl@tiny.com", &["team@tiny.com"], imip("REQUEST", "carl@tiny.com", &["team@tiny.com"], &object).as_bytes())
        .await;
    assert_eq!(done.code, 250, "{done:?}");
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.remove(0);
    assert_eq!(event.recipients("jumbo.com"), [TOM]);
    assert!(event.text().contains("ATTENDEE:tom@jumbo.com") || event.text().contains("<tom@jumbo.com>"), "{}", event.text());
    scene.relay.idle().await;
    assert_eq!(["mary@tiny.com", "bob@tiny.com", TOM].map(|who| scene.sink.mails_for(who).len()), [2, 2, 1]);
}

/// Each relay takes its user to live at the other.
async fn circle() -> (Running, Running, Sink) {
    let dns = Dns::start("$ORIGIN nowhere.\n").await;
    let sink = Sink::start().await;
    let settings = |name: &str, aliases: &str| {
        Settings::new(name)
            .dns(dns.address())
            .smarthost(sink.address())
            .quick()
            .set("cip.relay-networks", vec!["127.0.0.1/32"])
            .ports()
            .domain_text(&format!("name = \"{name}\"\nusers = []\naliases = {{ {aliases} }}"))
    };
    let via = |settings: Settings, name: &str, relay: &Running| {
        settings.peer(&format!("server-id = \"{name}\"\nvia = \"{}\"", relay.cip_address()))
    };
    let near = settings("near.org", "mary = \"tom@far.org\"");
    // Each must know the other's port: the first starts a second time on the port that it had.
    let first = Running::start(near.clone()).await;
    let far = Running::start(via(settings("far.org", "tom = \"mary@near.org\""), "near.org", &first)).await;
    first.relay.shutdown().await;
    let near = Running::start(via(near, "far.org", &far)).await;
    (near, far, sink)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_whose_aliases_name_each_other_end_with_a_report() {
    let (near, far, sink) = circle().await;
    let answer = near.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 1, TOM, &["mary@near.org"])).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* TENTATIVE mary@near.org".to_owned()].as_slice(), "OK 000"));
    near.idle().await;
    far.idle().await;
    let mails = sink.mails();
    let to: Vec<_> = mails.iter().map(|m| (m.sender.as_str(), m.recipients.join(" "))).collect();
    assert_eq!(to, [("", TOM.to_owned())]);
    let told: String = mails.iter().map(crate::support::sink::Mail::text).collect();
    assert!(told.contains("PERMDENIED") && told.contains("mary@near.org"), "{told}");
    // Once there and once back.
    let seen = |relay: &Running| relay.relay.ledger().people(&cip_relay::ident::EventId::parse("e1@jumbo.com").unwrap()).unwrap().len();
    assert_eq!((seen(&near), seen(&far)), (1, 1));
}

/// The mail server between them brings each what the other sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_two_relays_send_round_is_refused_at_its_second_coming() {
    let (near, far, sink) = circle().await;
    let text = b"From: x@else.org\r\nSubject: Lunch\r\nMessage-ID: <1@else.org>\r\n\r\nAt one?\r\n";
    assert_eq!(near.smtp().await.mail("x@else.org", &["mary@near.org"], text).await.code, 250);
    let there = sink.wait_for_recipient("tom@far.org", 1).await.remove(0);
    assert_eq!(far.smtp().await.mail("x@else.org", &["tom@far.org"], &there.data).await.code, 250);
    let back = sink.wait_for_recipient("mary@near.org", 1).await.remove(0);
    let refused = near.smtp().await.mail("x@else.org", &["mary@near.org"], &back.data).await;
    assert!(refused.code == 451 && refused.lines[0].contains("loop"), "{refused:?}");
    near.idle().await;
    assert_eq!(sink.mails_for("tom@far.org").len(), 1);
}
