//! Mail that is not the relay's to translate goes on octet for octet, behind two fields.

use super::{Ground, MARY, UID, request};
use crate::bridge::{ical, imip};
use crate::support::running::Running;

const TO: &str = "tom@jumbo.com";

/// What is sent, and why it is none of the relay's business.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let invitation = |organizer: &str| ical("REQUEST", UID, 0, organizer, &[(TO, "NEEDS-ACTION")]);
    let head = "From: Mary Weaver <mary@tiny.com>\r\nTo: tom@jumbo.com\r\nMessage-ID: <plain@tiny.com>\r\n";
    let mut all: Vec<(&str, Vec<u8>)> = [
        ("no calendar part", format!("{head}Subject: Lunch\r\n\r\nToday?\r\n\r\n.\r\n..\r\n")),
        ("METHOD mismatch", imip("CANCEL", MARY, &[TO], &invitation("mary@tiny.com"))),
        ("organizer not in From", imip("REQUEST", "Bob <bob@tiny.com>", &[TO], &invitation("mary@tiny.com"))),
        ("organizer elsewhere", imip("REQUEST", "Eve <eve@other.org>", &[TO], &invitation("eve@other.org"))),
        ("no organizer", imip("REQUEST", MARY, &[TO], &invitation("mary@tiny.com").replace("ORGANIZER", "X-ORGANIZER"))),
        ("no METHOD at all", imip("", MARY, &[TO], &invitation("mary@tiny.com").replace("METHOD:REQUEST\n", "")).replace("; method=", "")),
        ("an unknown METHOD", imip("INVITE", MARY, &[TO], &invitation("mary@tiny.com").replace("METHOD:REQUEST", "METHOD:INVITE"))),
        ("no UID", imip("REQUEST", MARY, &[TO], &invitation("mary@tiny.com").replace("UID:", "X-UID:"))),
        ("not an object", imip("REQUEST", MARY, &[TO], "BEGIN:VCALENDAR\nnonsense\n")),
        ("two From fields", request(&[TO]).replacen("From: ", "From: eve@other.org\r\nFrom: ", 1)),
        (
            "odd header",
            format!("{head}X-Odd:\tkept as it is \r\n \t folded  \r\nSubject: =?UTF-8?Q?a?=\r\n\r\nbody without a last line end"),
        ),
    ]
    .map(|(what, text)| (what, text.into_bytes()))
    .into();
    all.push(("eighth bits", [head.as_bytes(), b"Subject: x\r\n\r\nGr\xfc\xdfe \xff\xfe\r\n"].concat()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_the_relay_passes_octet_for_octet() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings()).await;
    for (n, (what, mut message)) in messages().into_iter().enumerate() {
        let reply = relay.smtp().await.mail("mary@tiny.com", &[TO], &message).await;
        assert_eq!(reply.code, 250, "{what}: {reply:?}");
        if !message.ends_with(b"\r\n") {
            // SMTP knows no message without it.
            message.extend_from_slice(b"\r\n");
        }
        let mail = ground.sink.wait_for(n + 1).await.remove(n);
        assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("mary@tiny.com", &[TO.to_owned()][..]), "{what}");
        let ours = mail.data.strip_suffix(message.as_slice()).unwrap_or_else(|| panic!("{what}: not as it was:\n{}", mail.text()));
        let ours = String::from_utf8(ours.to_vec()).unwrap();
        let fields: Vec<&str> = ours.split_inclusive("\r\n").filter(|l| !l.starts_with([' ', '\t'])).collect();
        assert!(
            fields.len() == 2 && fields[0].starts_with("Received: ") && fields[1].starts_with("X-CIP-Trace: tiny.com;"),
            "{what}: {ours}"
        );
    }
    // What comes after them all is the first that goes by CIP.
    let reply = relay.smtp().await.mail("mary@tiny.com", &[TO], request(&[TO]).as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    ground.jumbo.wait_for("SENDEVENT", 1).await;
    relay.idle().await;
    assert_eq!(ground.jumbo.commands().len(), 1);
    assert_eq!(ground.sink.mails().len(), messages().len());
}
