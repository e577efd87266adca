//! `send`, `rsvp`, `freebusy` and `locate` against peers that speak the protocol by themselves.

use std::process::Output;

use super::{code, stderr, stdout};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::Settings;

const EVENT: &[u8] = b"UID: 10-28@jumbo.com\nSEQUENCE: 1\nATTENDEE;ROLE=OWNER: tom@jumbo.com\nATTENDEE: mary@tiny.com\nATTENDEE: joe@big.com\nDTSTART: 19961231T2000-0500\nSUMMARY: New Year's Eve\n";

/// The program while peers of this process answer it.
fn run(settings: &Settings, words: &[&str], input: &[u8]) -> Output {
    tokio::task::block_in_place(|| settings.run(words, input))
}

#[tokio::test(flavor = "multi_thread")]
async fn send_shows_the_dialog_and_ends_as_the_server_answered() {
    let settings = Settings::new("jumbo.com");
    let peer = CipPeer::start("tiny.com", Behaviour::accept()).await;
    let to = peer.address().to_string();
    let output = run(&settings, &["send", "-v", "--to", &to, "-"], EVENT);
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stdout(&output);
    for line in ["S: OK CIP 1.0", "C: SENDEVENT +", "C: SUMMARY: New Year's Eve", "C: .", "S: OK 0"] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line} in {text}");
    }
    let got = peer.wait_for("SENDEVENT", 1).await;
    assert_eq!(got[0].text().replace("\r\n", "\n").trim_end(), String::from_utf8_lossy(EVENT).trim_end(), "as it is in the file");

    for (answer, expected) in [("NO 001 Bad.", 65), ("NO 002 No.", 77), ("NO 000 Nobody.", 77), ("NO 004 Later.", 75), ("OK 003 Some.", 0)]
    {
        peer.behave(Behaviour::accept().answer("SENDEVENT", &[answer]));
        let output = run(&settings, &["send", "--to", &to, "-"], EVENT);
        assert_eq!((code(&output), stdout(&output).contains(answer)), (expected, true), "{output:?}");
    }
    peer.stop().await;
    assert_eq!(code(&run(&settings, &["send", "--to", &to, "-"], EVENT)), 69);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_each_attendees_own_is_found_and_names_only_its_own() {
    let tiny = CipPeer::start("tiny.com", Behaviour::accept()).await;
    let big = CipPeer::start("big.com", Behaviour::accept()).await;
    let via = |peer: &CipPeer| format!("server-id = \"{}\"\nvia = \"{}\"", peer.server_id(), peer.address());
    let settings = Settings::new("jumbo.com").peer(&via(&tiny)).peer(&via(&big));
    let output = run(&settings, &["send", "-"], EVENT);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(tiny.wait_for("SENDEVENT", 1).await[0].value("X-CIP-RCPT").as_deref(), Some("mary@tiny.com"));
    assert_eq!(big.wait_for("SENDEVENT", 1).await[0].value("X-CIP-RCPT").as_deref(), Some("joe@big.com"));

    let words = ["rsvp", "--event", "10-28@tiny.com", "--attendee", "tom@jumbo.com", "--status", "accepted", "--version", "3"];
    let output = run(&settings, &words, b"");
    assert_eq!(code(&output), 0, "{output:?}");
    let answer = tiny.wait_for("RSVP", 1).await.remove(0);
    assert_eq!((answer.value("UID").as_deref(), answer.value("SEQUENCE").as_deref()), (Some("10-28@tiny.com"), Some("3")));
    assert!(answer.text().contains("STATUS=CONFIRMED"), "{}", answer.text());

    let words = ["freebusy", "mary@tiny.com", "--from", "2026-12-01", "--until", "2026-12-08"];
    run(&settings, &words, b"");
    let request = tiny.wait_for("FREEBUSY", 1).await.remove(0);
    assert_eq!(request.text().replace("\r\n", "\n").trim_end(), "ATTENDEE:mary@tiny.com\nDTSTART:20261201T000000Z\nDTEND:20261208T000000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_to_the_server_and_not_to_the_screen() {
    let settings = Settings::new("jumbo.com");
    std::fs::write(settings.path("pw"), "secret\n").unwrap();
    let peer = CipPeer::start("tiny.com", Behaviour::accept().answer("AUTHENTICATE", &["OK 000 Welcome."])).await;
    let (to, file) = (peer.address().to_string(), settings.path("pw").display().to_string());
    let words = ["send", "-v", "--to", &to, "--identity", "jumbo.com", "--password-file", &file, "-"];
    let output = run(&settings, &words, EVENT);
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(peer.of("AUTHENTICATE").len(), 1);
    assert!(stdout(&output).contains("C: AUTHENTICATE LOGIN jumbo.com ***"), "{}", stdout(&output));
    assert!(!stdout(&output).contains("secret") && !stderr(&output).contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn locate_tells_each_step_and_what_follows() {
    let peer = CipPeer::start("tiny.com", Behaviour::accept()).await;
    let port = peer.address().port();
    let zone = format!(
        "$ORIGIN tiny.com.\n_cip._tcp IN SRV 0 0 {port} cal\ncal IN A 127.0.0.1\n\
         $ORIGIN none.com.\n_cip._tcp IN SRV 0 0 0 .\n$ORIGIN mail.com.\n@ IN A 127.0.0.9\n"
    );
    let dns = Dns::start(&zone).await;
    dns.servfail("_cip._tcp.fail.com", true);
    let settings =
        Settings::new("jumbo.com").dns(dns.address()).set("cip.default-port", i64::from(free())).set("delivery.connect-timeout", "1s");
    for (server, expected, said) in [
        ("tiny.com", 0, "The relay would deliver by CIP to cal.tiny.com"),
        ("none.com", 69, "The relay would deliver by e-mail at once, without any CIP connection."),
        ("mail.com", 69, "The relay would deliver by e-mail at once, and remember"),
        ("fail.com", 75, "The relay would try again later"),
        ("nothing.com", 69, "The relay would deliver by e-mail at once."),
    ] {
        let output = run(&settings, &["locate", server], b"");
        assert_eq!((code(&output), stdout(&output).contains(said)), (expected, true), "{server}: {output:?}");
    }
    peer.behave(Behaviour::smtp());
    let output = run(&settings, &["locate", "tiny.com"], b"");
    assert_eq!(code(&output), 69);
    assert!(stdout(&output).contains("is something else: 220 mail.example"), "{output:?}");
    assert!(stdout(&output).contains("The relay would keep trying for 30m (delivery.cip-patience), then deliver by e-mail."), "{output:?}");
}

fn free() -> u16 {
    crate::support::relay::free_port()
}
