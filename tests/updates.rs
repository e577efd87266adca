//! What changed since the version that each recipient had, from one SENDEVENT to the next.

use crate::bridge::{Scene, bare};
use crate::support::sink::Mail;

/// The words of a composed mail, in one line.
fn words(mail: &Mail) -> String {
    let parsed = mail_parser::MessageParser::default().parse(&mail.data).unwrap();
    let text = parsed.body_text(0).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn to<'a>(mails: &'a [Mail], who: &str) -> &'a Mail {
    mails.iter().rev().find(|m| m.recipients == [who]).unwrap_or_else(|| panic!("no mail to {who}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_marked_for_those_who_had_the_event_and_nobody_else() {
    let scene = Scene::with(|s| s.domain("tiny.com", vec!["mary", "bob"])).await;
    let mut client = scene.relay.cip().await;
    let first = bare("e9@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"]);
    assert_eq!(client.object("SENDEVENT", &first).await.infos, ["* TENTATIVE mary@tiny.com"]);
    let mails = scene.sink.wait_for(1).await;
    let invited = words(to(&mails, "mary@tiny.com"));
    assert!(invited.contains("invites you") && !invited.contains("changed"), "{invited}");

    let second = bare("e9@jumbo.com", 2, "tom@jumbo.com", &["mary@tiny.com", "bob@tiny.com"]);
    let second = second.replace("0101T2000", "0101T2030").replace("Project X review", "Project Y review");
    client.object("SENDEVENT", &second).await;
    let mails = scene.sink.wait_for(3).await;
    let updated = words(to(&mails, "mary@tiny.com"));
    for expected in [
        "Updated invitation: Project Y review",
        "Changed: title and time.",
        "Project Y review (changed; was: Project X review)",
        "(changed; was: Friday, 1 January 2027, 20:00 to 22:00)",
    ] {
        assert!(updated.contains(expected), "{expected}\n{updated}");
    }
    let invited = words(to(&mails, "bob@tiny.com"));
    assert!(invited.contains("invites you") && !invited.contains("changed"), "{invited}");

    // The next one is compared with the second, for both.
    let third = second.replace("SEQUENCE: 2", "SEQUENCE: 3").replace("Bring the plan.", "Bring it.");
    client.object("SENDEVENT", &third).await;
    let mails = scene.sink.wait_for(5).await;
    for who in ["mary@tiny.com", "bob@tiny.com"] {
        let updated = words(to(&mails, who));
        assert!(updated.contains("Changed: description.") && !updated.contains("was:"), "{updated}");
    }
    scene.relay.idle().await;
}
