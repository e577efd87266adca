//! `organizer = "verbatim"`: the mail server routes answers to owners elsewhere through the relay by itself.

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_the_owners_own_address_becomes_an_rsvp() {
    let scene = Scene::with(|s| {
        s.set("mail.organizer", "verbatim").domain_text("name = \"tiny.com\"\nusers = [\"mary\"]\naliases = { \"m.weaver\" = \"mary\" }")
    })
    .await;
    let object = bare("v1@jumbo.com", 3, "tom@jumbo.com", &["m.weaver@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    let mail = scene.sink.wait_for(1).await.remove(0);
    assert_eq!(mail.recipients, ["mary@tiny.com"]);
    let calendar = unfold(&python_reads(&mail).2);
    assert!(property(&calendar, "ORGANIZER").ends_with("mailto:tom@jumbo.com"), "{calendar}");
    assert_eq!(mail.header("Reply-To").as_deref(), Some("tom@jumbo.com"));
    // A foreign From fails DMARC: that stays the relay's own, and so does the envelope sender.
    assert!(mail.header("From").unwrap().contains("@cip.tiny.com") && mail.sender.ends_with("@cip.tiny.com"), "{}", mail.text());
    let reply = ical("REPLY", "v1@jumbo.com", 2, "tom@jumbo.com", &[("mary@tiny.com", "ACCEPTED")]);
    let reply = imip("REPLY", "Mary <mary@tiny.com>", &["tom@jumbo.com"], &reply);
    assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], reply.as_bytes()).await.code, 250);
    let rsvp = scene.jumbo.wait_for("RSVP", 1).await.remove(0);
    assert_eq!((rsvp.value("UID").as_deref(), rsvp.value("SEQUENCE").as_deref()), (Some("v1@jumbo.com"), Some("3")));
    let text = unfold(&rsvp.text());
    assert!(text.lines().any(|l| l.contains("STATUS=CONFIRMED") && l.contains("m.weaver@tiny.com")), "{text}");
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 1, "nothing went on by mail");
}
