//! Who answers for a place: the holder under any of his addresses, one to whom he gave it, and nobody else.

use cip_relay::ident::{EventId, UserId};
use cip_relay::queue::entry::State;

use crate::bridge::{Scene, imip, property, python_reads, unfold};
use crate::outcomes::{mary_invites, organizer, tom_invites_mary};
use crate::support::cip::CipClient;
use crate::support::peer::{Behaviour, Command};

const EVENT: &str = "d1@jumbo.com";

/// A REPLY with these ATTENDEE lines (without the word), as it comes from outside.
async fn reply(scene: &Scene, from: &str, token: &str, seats: &[&str]) -> u16 {
    let seats: String = seats.iter().map(|seat| format!("ATTENDEE{seat}\n")).collect();
    // Without ORGANIZER, as Outlook writes it.
    let object = format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:REPLY\nBEGIN:VEVENT\nUID:{EVENT}\nSEQUENCE:0\n\
         DTSTAMP:20261122T120000Z\n{seats}END:VEVENT\nEND:VCALENDAR\n"
    );
    scene.relay.inbound().await.mail(from, &[token], imip("REPLY", from, &[token], &object).as_bytes()).await.code
}

/// The ATTENDEE line of an RSVP that carries a status: parameters and value.
fn seat(rsvp: &Command) -> (String, String) {
    let text = unfold(&rsvp.text());
    let line = text.lines().find(|l| l.starts_with("ATTENDEE") && l.contains("STATUS=")).unwrap_or_else(|| panic!("{text}"));
    let (params, value) = line.split_once(':').unwrap();
    (params.to_owned(), crate::support::object::address(value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_answers_by_the_holders_reply_address() {
    let scene = Scene::with(|s| s.domain_text("name = \"tiny.com\"\naliases = { \"m.weaver\" = \"mary\" }")).await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    // Mary's program names her as it knows her; Bob's writes both lines.
    let given = ";PARTSTAT=DELEGATED;DELEGATED-TO=\"mailto:bob@other.org\":mailto:m.weaver@tiny.com";
    let taken = ";PARTSTAT=ACCEPTED;DELEGATED-FROM=\"mailto:m.weaver@tiny.com\":mailto:bob@other.org";
    assert_eq!(reply(&scene, "bob@other.org", &token, &[given, taken]).await, 250);
    let rsvp = scene.jumbo.wait_for("RSVP", 1).await.remove(0);
    let (params, who) = seat(&rsvp);
    assert_eq!(who, "bob@other.org");
    assert!(params.contains("STATUS=CONFIRMED") && params.contains("X-CIP-DELEGATED-FROM=mary@tiny.com"), "{params}");
    // He is on the event from now on, and changes his mind without saying whose place he has.
    let event = EventId::parse(EVENT).unwrap();
    let bob = UserId::parse("bob@other.org").unwrap();
    assert!(scene.relay.relay.ledger().person_at(&event, &bob).unwrap().is_some());
    assert_eq!(
        scene
            .relay
            .cip()
            .await
            .object("RSVP", &format!("UID: {EVENT}\nSEQUENCE: 1\nATTENDEE;STATUS=DECLINED: <bob@other.org>\n"))
            .await
            .code(),
        "NO 000",
        "whoever may not relay answers for nobody elsewhere"
    );
    // Mary says so too, in one line.
    assert_eq!(reply(&scene, "mary@tiny.com", &token, &[given]).await, 250);
    let (params, who) = seat(&scene.jumbo.wait_for("RSVP", 2).await.remove(1));
    assert_eq!(who, "mary@tiny.com");
    assert!(params.contains("STATUS=DELEGATED") && params.contains("X-CIP-DELEGATED-TO=bob@other.org"), "{params}");
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_a_place_that_was_not_given_to_him() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    let eve = ";PARTSTAT=ACCEPTED:mailto:eve@other.org";
    let table = [
        (
            "eve@other.org",
            vec![";PARTSTAT=ACCEPTED;DELEGATED-FROM=\"mailto:ann@tiny.com\":mailto:eve@other.org"],
            "eve@other.org answers by",
        ),
        (
            "eve@other.org",
            vec![";PARTSTAT=ACCEPTED;DELEGATED-FROM=\"mailto:mary@tiny.com\":mailto:bob@other.org"],
            "neither in From nor in Sender",
        ),
        ("eve@other.org", vec![eve], "eve@other.org answers by"),
    ];
    for (n, (from, seats, reason)) in table.iter().enumerate() {
        assert_eq!(reply(&scene, from, &token, seats).await, 250);
        let held = scene.relay.entries();
        assert!(held.len() == n + 1 && held.iter().all(|e| e.state == State::Held), "{held:?}");
        assert!(held.iter().any(|e| e.reason.contains(reason)), "{reason}");
    }
    // Two lines that have nothing to do with each other are no reply.
    assert_eq!(reply(&scene, "eve@other.org", &token, &[eve, ";PARTSTAT=ACCEPTED:mailto:mary@tiny.com"]).await, 550);
    assert!(scene.jumbo.of("RSVP").is_empty());
}

/// Towards an organizer of ours: the place was given away at the other server, which says so itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_at_another_server_reaches_the_organizer() {
    let scene = Scene::new().await;
    mary_invites(&scene.relay, "040000008200E00074C5B7101A82E0080000D1", &["tom@jumbo.com"]).await;
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.remove(0).value("UID").unwrap();
    let rsvp = |who: &str, params: &str| format!("UID: {event}\nSEQUENCE: 1\nATTENDEE;{params}: <{who}>\n");
    let taken = rsvp("eve@else.org", "STATUS=CONFIRMED;X-CIP-DELEGATED-FROM=tom@jumbo.com");
    // From anywhere else, a claim is only a claim.
    let mut stranger = CipClient::connect_from("127.0.0.2", scene.relay.cip_address()).await;
    let answer = stranger.object("RSVP", &taken).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* PERMDENIED eve@else.org".to_owned()].as_slice(), "NO 000"));
    assert_eq!(scene.relay.cip().await.object("RSVP", &taken).await.code(), "OK 000");
    let reply = scene.sink.wait_for_recipient("mary@tiny.com", 1).await.remove(0);
    let calendar = unfold(&python_reads(&reply).2);
    let seat = property(&calendar, "ATTENDEE");
    assert!(seat.ends_with("mailto:eve@else.org") && seat.contains("DELEGATED-FROM=\"mailto:tom@jumbo.com\""), "{seat}");
    // The other order: Tom says to whom, and she answers by herself.
    let given = rsvp("tom@jumbo.com", "STATUS=DELEGATED;X-CIP-DELEGATED-TO=ann@else.org");
    assert_eq!(scene.relay.cip().await.object("RSVP", &given).await.code(), "OK 000");
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp("ann@else.org", "STATUS=DECLINED")).await.code(), "OK 000");
    let replies = scene.sink.wait_for_recipient("mary@tiny.com", 3).await;
    let told: Vec<String> = replies.iter().map(|m| property(&unfold(&python_reads(m).2), "ATTENDEE").to_owned()).collect();
    assert!(told.iter().any(|t| t.contains("PARTSTAT=DELEGATED") && t.contains("DELEGATED-TO=\"mailto:ann@else.org\"")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("PARTSTAT=DECLINED") && t.ends_with("mailto:ann@else.org")), "{told:?}");
    scene.relay.idle().await;
}

/// Tom has moved to where there is no CIP. He answers as who he is now, and Mary hears the name that she wrote.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_the_address_that_a_redirect_led_to() {
    let scene = Scene::new().await;
    scene.jumbo.behave(Behaviour::accept().redirect_user("tom@jumbo.com", "thomas@new.org"));
    mary_invites(&scene.relay, EVENT, &["tom=jumbo.com@cip.tiny.com"]).await;
    let mail = scene.sink.wait_for_recipient("thomas@new.org", 1).await.remove(0);
    assert_eq!(reply(&scene, "thomas@new.org", &organizer(&mail), &[";PARTSTAT=TENTATIVE:mailto:thomas@new.org"]).await, 250);
    let told = scene.sink.wait_for_recipient("mary@tiny.com", 1).await.remove(0);
    let calendar = unfold(&python_reads(&told).2);
    let seat = property(&calendar, "ATTENDEE");
    assert!(seat.ends_with("mailto:tom=jumbo.com@cip.tiny.com") && seat.contains("PARTSTAT=TENTATIVE"), "{seat}");
    scene.relay.idle().await;
}
