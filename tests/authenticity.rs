//! Mail to reply addresses from outside, checked by SPF, DKIM and DMARC, or by the word of the mail server in front: what
//! is proved counts, what its domain disowns is held, and either is written down.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cip_relay::queue::entry::State;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{DkimSigner, Done};

use crate::bridge::{Scene, ical, imip, zone};
use crate::outcomes::tom_invites_mary;
use crate::support::eventually;
use crate::support::smtp::Reply;

/// A DKIM key of one domain.
struct Key {
    pkcs8: Vec<u8>,
    domain: &'static str,
}

impl Key {
    fn new(domain: &'static str) -> Self {
        Self { pkcs8: Ed25519Key::generate_pkcs8().unwrap(), domain }
    }

    fn record(&self) -> String {
        let public = Ed25519Key::from_pkcs8_der(&self.pkcs8).unwrap().public_key();
        format!("s1._domainkey TXT \"v=DKIM1; k=ed25519; p={}\"\n", STANDARD.encode(public))
    }

    fn sign(&self, mail: &str) -> String {
        let key = Ed25519Key::from_pkcs8_der(&self.pkcs8).unwrap();
        let signer: DkimSigner<Ed25519Key, Done> =
            DkimSigner::from_key(key).domain(self.domain).selector("s1").headers(["From", "To", "Subject"]);
        let signature = signer.sign(mail.as_bytes()).unwrap();
        format!("{}{mail}", signature.to_header())
    }
}

/// The reply of Mary, or of whoever writes in her name.
fn reply(event: &str, token: &str, from: &str, attendee: &str) -> String {
    imip("REPLY", from, &[token], &ical("REPLY", event, 0, token, &[(attendee, "ACCEPTED")]))
}

fn spf(networks: &str) -> String {
    format!("@ TXT \"v=spf1 {networks} -all\"\n")
}

/// What makes a mail of a reply.
type Made<'a> = &'a (dyn Fn(&str) -> String + Sync);
/// SPF, DMARC, the mail, its envelope sender, what is found, why it is held.
type Case<'a> = (&'a str, &'a str, Made<'a>, &'a str, &'a str, Option<&'a str>);

const NO_SPF: &str = "";
const REJECT: &str = "_dmarc TXT \"v=DMARC1; p=reject\"\n";

/// `trusted-networks` elsewhere, so that a client on loopback is one from outside.
async fn outside(dmarc: &str) -> Scene {
    Scene::with(|s| s.set("mail.trusted-networks", vec!["192.0.2.0/24"]).set("mail.dmarc", dmarc)).await
}

fn publish(scene: &Scene, records: &str) {
    scene.dns.replace(&format!("{}$ORIGIN tiny.com.\n{records}", zone(&scene.jumbo)));
}

async fn post(scene: &Scene, sender: &str, token: &str, mail: &str) -> Reply {
    scene.relay.inbound().await.mail(sender, &[token], mail.as_bytes()).await
}

/// The lines of an event's history that tell of answers.
async fn answers(scene: &Scene, event: &str, count: usize) -> Vec<String> {
    let event = cip_relay::ident::EventId::parse(event).unwrap();
    eventually("the answer in the event's history", || async {
        let chronicle = scene.relay.relay.ledger().chronicle(&event).unwrap()?;
        let told: Vec<String> = chronicle.lines.into_iter().map(|l| l.what).filter(|l| l.starts_with("answer ")).collect();
        (told.len() >= count).then_some(told)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_its_domain_disowns_is_held_and_a_proved_one_counts() {
    let scene = outside("enforce").await;
    let key = Key::new("tiny.com");
    let here = spf("ip4:127.0.0.1");
    let elsewhere = spf("ip4:192.0.2.1");
    let signed = |mail: &str| key.sign(mail);
    let altered = |mail: &str| key.sign(mail).replace("PARTSTAT=ACCEPTED", "PARTSTAT=DECLINED");
    let plain = |mail: &str| mail.to_owned();
    let by_sender = |mail: &str| format!("Sender: mary@tiny.com\r\n{}", mail.replace("From: mary@tiny.com", "From: eve@other.org"));
    let of_two = |mail: &str| mail.replace("From: mary@tiny.com", "From: eve@other.org, mary@tiny.com");
    let none = REJECT.replace("p=reject", "p=none");
    let quarantine = REJECT.replace("p=reject", "p=quarantine");
    let disowned = Some("From fails DMARC");
    let unproved = Some("does not tell whether mary@tiny.com wrote it");
    let table: [Case<'_>; 11] = [
        (&here, REJECT, &plain, "mary@tiny.com", "spf=pass dkim=none dmarc=pass checked here", None),
        (&elsewhere, REJECT, &signed, "mary@tiny.com", "spf=fail dkim=pass dmarc=pass checked here", None),
        (NO_SPF, REJECT, &signed, "bounce@lists.org", "spf=none dkim=pass dmarc=pass checked here", None),
        (&elsewhere, REJECT, &plain, "mary@tiny.com", "spf=fail dkim=none dmarc=fail checked here", disowned),
        (&elsewhere, &quarantine, &plain, "mary@tiny.com", "spf=fail dkim=none dmarc=fail checked here", disowned),
        (&elsewhere, REJECT, &altered, "mary@tiny.com", "dmarc=fail checked here", disowned),
        // Another domain's SPF proves nothing of From.
        (&here, REJECT, &plain, "eve@other.org", "spf=none dkim=none dmarc=fail checked here", disowned),
        // Its domain asks for nothing; and one that publishes nothing.
        (&elsewhere, &none, &plain, "mary@tiny.com", "spf=fail dkim=none dmarc=fail checked here", None),
        (NO_SPF, "", &plain, "mary@tiny.com", "spf=none dkim=none dmarc=none checked here", None),
        // What is checked is From, and there Mary is not, or not alone.
        (&here, REJECT, &by_sender, "mary@tiny.com", "dmarc=none checked here", unproved),
        (&here, REJECT, &of_two, "mary@tiny.com", "dmarc=none checked here", unproved),
    ];
    let (mut rsvps, mut held) = (0, 0);
    for (n, (spf, dmarc, made, sender, found, why)) in table.into_iter().enumerate() {
        let event = format!("e{n}@jumbo.com");
        let token = tom_invites_mary(&scene, &event, 1).await;
        publish(&scene, &format!("{spf}{dmarc}{}", key.record()));
        let done = post(&scene, sender, &token, &made(&reply(&event, &token, "mary@tiny.com", "mary@tiny.com"))).await;
        assert_eq!(done.code, 250, "step {n}: {done:?}");
        let told = answers(&scene, &event, 1).await;
        assert!(told[0].contains(found), "step {n}: {told:?}");
        match why {
            None => {
                rsvps += 1;
                let rsvp = scene.jumbo.wait_for("RSVP", rsvps).await.pop().unwrap();
                assert_eq!(rsvp.value("UID").as_deref(), Some(event.as_str()), "step {n}");
            }
            Some(why) => {
                held += 1;
                let entries: Vec<_> = scene.relay.entries().into_iter().filter(|e| e.state == State::Held).collect();
                assert_eq!(entries.len(), held, "step {n}: {told:?}");
                let entry = entries.iter().max_by_key(|e| e.id).unwrap();
                assert!(entry.reason.contains(why) && entry.reason.contains(found), "step {n}: {}", entry.reason);
            }
        }
        assert_eq!(scene.jumbo.of("RSVP").len(), rsvps, "step {n}");
    }
}

/// While the DNS cannot say, the client keeps the answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_checked_now_is_for_later() {
    let scene = outside("enforce").await;
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    publish(&scene, &format!("{}{REJECT}", spf("ip4:127.0.0.1")));
    let mail = reply("e1@jumbo.com", &token, "mary@tiny.com", "mary@tiny.com");
    scene.dns.servfail("_dmarc.tiny.com", true);
    assert_eq!(post(&scene, "mary@tiny.com", &token, &mail).await.code, 451);
    scene.dns.servfail("_dmarc.tiny.com", false);
    assert_eq!(post(&scene, "mary@tiny.com", &token, &mail).await.code, 250);
    scene.jumbo.wait_for("RSVP", 1).await;
    let told = answers(&scene, "e1@jumbo.com", 1).await;
    assert!(told[0].contains("dmarc=pass checked here"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_record_the_result_is_written_down_and_nothing_is_held() {
    let scene = outside("record").await;
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    publish(&scene, &format!("{}{REJECT}", spf("ip4:192.0.2.1")));
    let mail = reply("e1@jumbo.com", &token, "mary@tiny.com", "mary@tiny.com");
    assert_eq!(post(&scene, "mary@tiny.com", &token, &mail).await.code, 250);
    scene.jumbo.wait_for("RSVP", 1).await;
    let told = answers(&scene, "e1@jumbo.com", 1).await;
    assert!(told[0].contains("spf=fail dkim=none dmarc=fail checked here"), "{told:?}");
}

/// A forwarded invitation, answered from outside by a person whose From is proved (bridge 4): the owner reads it as mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_proved_strangers_answer_reaches_the_owner_as_plain_mail() {
    let scene = outside("enforce").await;
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    let key = Key::new("other.org");
    scene.dns.replace(&format!("{}$ORIGIN other.org.\n{}_dmarc TXT \"v=DMARC1; p=none\"\n", zone(&scene.jumbo), key.record()));
    let mail = reply("e1@jumbo.com", &token, "ann@other.org", "ann@other.org");
    assert_eq!(post(&scene, "ann@other.org", &token, &mail).await.code, 250);
    let held = scene.relay.entries();
    assert_eq!(held.len(), 1);
    assert!(held[0].reason.contains("ann@other.org answers by a reply address that was given to mary@tiny.com"), "{}", held[0].reason);
    let signed = key.sign(&mail);
    assert_eq!(post(&scene, "ann@other.org", &token, &signed).await.code, 250);
    let passed = scene.sink.wait_for_recipient("tom@jumbo.com", 1).await.pop().unwrap();
    assert!(passed.text().ends_with(&signed), "{}", passed.text());
    assert!(scene.jumbo.of("RSVP").is_empty());
}

/// The mail server in front has checked, and hands over what came from outside on our own side too.
#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_the_trusted_mail_server_is_taken_at_every_listener() {
    let scene = Scene::with(|s| s.set("mail.authserv-id", "mx.tiny.com")).await;
    let field = |words: &str| format!("Authentication-Results: {words}\r\n");
    let failed = field("mx.tiny.com;\r\n\tdmarc=fail (p=reject dis=none) header.from=tiny.com");
    let passed = field("mx.tiny.com; spf=pass smtp.mailfrom=tiny.com; dmarc=pass (p=reject) header.from=tiny.com");
    let foreign = field("mx.evil.org; dmarc=pass header.from=tiny.com");
    // (on our own side, fields, what is found, whether it counts)
    let table = [
        (true, failed.clone(), "dmarc=fail by mx.tiny.com", false),
        (false, failed.clone(), "dmarc=fail by mx.tiny.com", false),
        // Below it, what came with the message.
        (true, format!("{failed}{passed}"), "dmarc=fail by mx.tiny.com", false),
        (true, format!("{foreign}{failed}"), "dmarc=fail by mx.tiny.com", false),
        (true, passed.clone(), "spf=pass dmarc=pass by mx.tiny.com", true),
        (false, passed.clone(), "spf=pass dmarc=pass by mx.tiny.com", true),
        (true, foreign, "by smtp from 127.0.0.1, standing 3", true),
    ];
    let mut rsvps = 0;
    for (n, (own, fields, found, counts)) in table.into_iter().enumerate() {
        let event = format!("e{n}@jumbo.com");
        let token = tom_invites_mary(&scene, &event, 1).await;
        let mail = fields + &reply(&event, &token, "mary@tiny.com", "mary@tiny.com");
        let mut client = if own { scene.relay.smtp().await } else { scene.relay.inbound().await };
        assert_eq!(client.mail("mary@tiny.com", &[&token], mail.as_bytes()).await.code, 250, "step {n}");
        let told = answers(&scene, &event, 1).await;
        assert!(told[0].contains(found), "step {n}: {told:?}");
        assert_eq!(told[0].contains("held:"), !counts, "step {n}: {told:?}");
        rsvps += usize::from(counts);
        scene.jumbo.wait_for("RSVP", rsvps).await;
        assert_eq!(scene.jumbo.of("RSVP").len(), rsvps, "step {n}");
    }
}
