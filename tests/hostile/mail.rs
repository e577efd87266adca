//! SMTP and LMTP: the same, and messages whose MIME structure is the attack.

use std::fmt::Write as _;

use super::{House, is_served, words};
use crate::bridge::{ical, imip, property, python_reads, unfold};
use crate::support::smtp::{Reply, SmtpClient};

const HEAD: &str = "From: Mary <mary@tiny.com>\r\nTo: tom@jumbo.com\r\nMessage-ID: <1@tiny.com>\r\nMIME-Version: 1.0\r\n";

/// Opens a transaction for Mary and sends what follows DATA as it is.
async fn data(client: &mut SmtpClient, octets: &[u8]) -> Reply {
    for (command, code) in [("MAIL FROM:<tom@jumbo.com>", 250), ("RCPT TO:<mary@tiny.com>", 250), ("DATA", 354)] {
        assert_eq!(client.command(command).await.code, code, "{command}");
    }
    client.send(octets).await;
    client.reply().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_refused_in_words_and_the_next_is_taken() {
    let house = House::new().await;
    let x = |n: usize| "x".repeat(n);
    let lone = "550 5.6.11 message holds a CR or LF that is not part of CRLF (RFC 5321 2.3.8)";
    let cases: [(String, &str); 6] = [
        (format!("{HEAD}\r\n{}\r\n.\r\n", x(70_000)), "554 5.6.0 a line of the message is longer than 65536 octets"),
        (format!("{HEAD}\r\nNUL\0\r\n.\r\n"), "554 5.6.0 message holds a NUL octet (RFC 2045 2.8)"),
        (format!("{HEAD}\r\nbare\nline\r\n.\r\n"), lone),
        (format!("{HEAD}\r\nsmuggled\r\n.\nMAIL FROM:<a@b.c>\r\n.\r\n"), lone),
        (format!("{HEAD}\r\nsmuggled\n.\r\nMAIL FROM:<a@b.c>\r\n.\r\n"), lone),
        (format!("{HEAD}\r\n{}.\r\n", format!("{}\r\n", x(1022)).repeat(11 << 10)), "552 5.3.4 message is larger than 10485760 octets"),
    ];
    let good = format!("{HEAD}\r\nwell\r\n");
    let mut taken = 0;
    for (lmtp, mut client) in [(false, house.relay.smtp().await), (true, house.relay.lmtp().await), (false, house.relay.inbound().await)] {
        let reply = client.command(&format!("MAIL FROM:<{}@jumbo.com>", x(5000))).await;
        assert_eq!(reply.code, 500, "{reply:?}");
        let reply = client.command("MAIL FROM:<tom@jumbo.com> SIZE=11534336").await;
        assert_eq!(words(&reply), "552 5.3.4 message is larger than 10485760 octets");
        for (n, (octets, expected)) in cases.iter().enumerate() {
            let reply = data(&mut client, octets.as_bytes()).await;
            assert_eq!(words(&reply), *expected, "case {n}, LMTP {lmtp}");
            let reply = data(&mut client, format!("{good}.\r\n").as_bytes()).await;
            assert_eq!(reply.code, 250, "after case {n}: {reply:?}");
            taken += 1;
        }
    }
    let mails = house.sink.wait_for(taken).await;
    assert!(mails.iter().all(|m| m.text().ends_with("\r\n\r\nwell\r\n")));
    house.relay.idle().await;
    assert_eq!(house.sink.mails().len(), taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_ended() {
    let house = House::with(|s| s.set("cip.idle-timeout", "300ms")).await;
    let half = "MAIL FROM:<tom@jumbo.com>\r\nRCPT TO:<mary@tiny.com>\r\nDATA\r\nSubject: half a mess";
    for listener in ["smtp", "lmtp", "inbound"] {
        let mut client = match listener {
            "smtp" => house.relay.smtp().await,
            "lmtp" => house.relay.lmtp().await,
            _ => house.relay.inbound().await,
        };
        client.send(half).await;
        for code in [250, 250, 354] {
            assert_eq!(client.reply().await.code, code);
        }
        assert_eq!(words(&client.reply().await), "421 4.4.2 relay.tiny.com idle for too long, closing connection", "{listener}");
        assert!(client.closed().await);
    }
    let mut client = house.relay.smtp().await;
    assert_eq!(client.mail("tom@jumbo.com", &["mary@tiny.com"], format!("{HEAD}\r\nwell\r\n").as_bytes()).await.code, 250);
    house.sink.wait_for(1).await;
}

/// Multiparts so deep, the calendar part innermost.
fn deep(levels: usize, calendar: &str) -> String {
    let mut text = HEAD.to_owned();
    for n in 0..levels {
        let _ = write!(text, "Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    }
    text + calendar
}

fn wide(parts: usize, calendar: &str) -> String {
    let rest = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(parts);
    format!("{HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n{rest}--b\r\n{calendar}--b--\r\n")
}

fn nested(levels: usize, calendar: &str) -> String {
    let mut text = HEAD.to_owned();
    for _ in 0..levels {
        text.push_str("Content-Type: message/rfc822\r\n\r\n");
    }
    text + calendar
}

/// A mail whose structure cannot be looked through is passed on as it is to whom it names plainly, as the mail server
/// would have done, and refused in words where the relay would have to act on its calendar part.
#[tokio::test(flavor = "multi_thread")]
async fn mime_bombs_are_not_opened() {
    let house = House::new().await;
    // An invitation from outside, so that there is a reply address.
    is_served(&mut house.relay.cip().await, "e1@jumbo.com").await;
    let invitation = house.sink.wait_for(1).await.pop().unwrap();
    let (_, _, calendar) = python_reads(&invitation);
    let token = property(&unfold(&calendar), "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned();
    let gateway = "tom=jumbo.com@cip.tiny.com";
    let request = ical("REQUEST", "u1", 0, "mary@tiny.com", &[(gateway, "NEEDS-ACTION")]).replace('\n', "\r\n");
    let part = format!("Content-Type: text/calendar; method=REQUEST\r\n\r\n{request}");
    let deep_words = "MIME parts nested more than 32 levels deep";
    let many = "more than 1000 MIME parts";
    let long_header = "a header of more than 262144 octets, or 1048576 in all parts together";
    let opaque = "there is no calendar part in the message";
    let parameters: String = (0..5000).map(|n| format!(";\r\n a*{n}=x")).collect();
    let fields = "X-A: 1\r\n".repeat(3000);
    let header = format!("X-B: {}\r\n", "x".repeat(60_000)).repeat(5);
    let bombs: [(String, &str); 7] = [
        (deep(10_000, &part), deep_words),
        (wide(20_000, &part), many),
        (nested(50_000, &part), opaque),
        (
            format!("{HEAD}Content-Type: text/calendar; method=REQUEST{parameters}\r\n\r\n{request}"),
            "a header field Content-Type with more than 256 parameters",
        ),
        (format!("{fields}{HEAD}{part}"), "a header of more than 2000 fields"),
        (format!("{header}{HEAD}{part}"), long_header),
        (format!("From: eve@tiny.com\r\n{HEAD}{part}"), "more than one From field, so that nobody can say which holds (RFC 5322 3.6)"),
    ];
    let mut passed = 1;
    for (n, (bomb, why)) in bombs.iter().enumerate() {
        let mut client = house.relay.smtp().await;
        let bomb = bomb.replace("<1@tiny.com>", &format!("<{n}@tiny.com>"));
        let reply = client.mail("mary@tiny.com", &[gateway], bomb.as_bytes()).await;
        assert_eq!(words(&reply), format!("550 5.6.0 Not for a gateway address: {why}"), "bomb {n}");
        let reply = client.mail("mary@tiny.com", &[&token], bomb.as_bytes()).await;
        // What has no calendar part that can be seen is a human answer, and goes on to the owner as it is.
        if *why == opaque {
            assert_eq!(reply.code, 250, "bomb {n}: {reply:?}");
            passed += 1;
        } else {
            assert_eq!(words(&reply), format!("554 5.6.0 The calendar part cannot be used: {why}"), "bomb {n}");
        }
        let mut lmtp = house.relay.lmtp().await;
        let replies = lmtp.lmtp("mary@tiny.com", &["mary@tiny.com", gateway], bomb.as_bytes()).await;
        assert_eq!(replies.iter().map(|r| r.code).collect::<Vec<_>>(), [250, 550], "bomb {n}: {replies:?}");
        passed += 1;
        let mail = house.sink.wait_for(passed).await.pop().unwrap();
        assert!(mail.text().ends_with(&bomb), "bomb {n} went on octet for octet");
    }
    house.relay.idle().await;
}

/// SEQUENCE and UID as they should not be, by mail: the invitation is still the mail server's to pass on.
#[tokio::test(flavor = "multi_thread")]
async fn bad_objects_by_mail() {
    let house = House::new().await;
    let gateway = "tom=jumbo.com@cip.tiny.com";
    let good = ical("REQUEST", "u1@tiny.com", 0, "mary@tiny.com", &[(gateway, "NEEDS-ACTION")]);
    let refused = "550 5.6.0 Not for a gateway address: ";
    for (bad, why) in [
        (good.replace("UID:u1@tiny.com\n", ""), "UID is missing: …"),
        (good.replace("SEQUENCE:0\n", "SEQUENCE:-1\n"), "line 7: bad SEQUENCE \"-1\": it must be a number from 0 to 2147483646"),
        (
            good.replace("SEQUENCE:0\n", "SEQUENCE:2147483648\n"),
            "line 7: bad SEQUENCE \"2147483648\": it must be a number from 0 to 2147483646",
        ),
        (good.replace("SEQUENCE:0\n", "SEQUENCE:two\n"), "line 7: bad SEQUENCE \"two\": it must be a number from 0 to 2147483646"),
        (
            good.replace("METHOD:REQUEST\n", "METHOD:CANCEL\n"),
            "the MIME parameter says method=REQUEST and the calendar object says METHOD:CANCEL; …",
        ),
        (good.replace("ORGANIZER;CN=Mary Weaver:mailto:mary@tiny.com\n", ""), "the object names no ORGANIZER"),
        (String::new(), "there is no calendar part in the message"),
    ] {
        let mail = imip("REQUEST", "mary@tiny.com", &[gateway], &bad);
        let reply = words(&house.relay.smtp().await.mail("mary@tiny.com", &[gateway], mail.as_bytes()).await);
        let expected = format!("{refused}{}", why.trim_end_matches('…'));
        assert!(if why.ends_with('…') { reply.starts_with(&expected) } else { reply == expected }, "{reply} instead of {expected}");
    }
    assert!(house.relay.entries().is_empty());
    // Ten thousand attendees: taken for the one whom the envelope names, and sent to his server's domain by mail.
    let crowd: Vec<String> = (0..10_000).map(|n| format!("user{n}@other.org")).collect();
    let mut people: Vec<(&str, &str)> = crowd.iter().map(|u| (u.as_str(), "NEEDS-ACTION")).collect();
    people.push((gateway, "NEEDS-ACTION"));
    let request = ical("REQUEST", "u2@tiny.com", 0, "mary@tiny.com", &people);
    let mail = imip("REQUEST", "mary@tiny.com", &[gateway], &request);
    let reply = house.relay.smtp().await.mail("mary@tiny.com", &[gateway], mail.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    let sent = house.sink.wait_for(1).await.pop().unwrap();
    assert_eq!(sent.recipients, ["tom@jumbo.com"]);
    let object = unfold(&python_reads(&sent).2);
    assert_eq!(
        object.lines().filter(|l| l.starts_with("ATTENDEE")).count(),
        1,
        "above 200 attendees, the mail names owner and recipient only"
    );
    house.relay.idle().await;
}
