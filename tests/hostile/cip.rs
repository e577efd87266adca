//! CIP: objects and commands that are not what they should be, sizes, silence, and those who guess names.

use std::time::Duration;

use super::{House, crowd, is_served};
use crate::bridge::bare;
use crate::support::running::Running;

/// What is sent, and the whole answer.
#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_in_words_and_the_next_command_is_served() {
    let house = House::new().await;
    let mut client = house.relay.cip().await;
    let event = |lines: &str| {
        format!("SENDEVENT+\r\nDTSTART:20270101T200000Z\r\nATTENDEE;ROLE=OWNER:tom@jumbo.com\r\nATTENDEE:mary@tiny.com\r\n{lines}.\r\n")
    };
    let sequence = |value: &str| event(&format!("UID:1@jumbo.com\r\nSEQUENCE:{value}\r\n"));
    let bad_sequence = |value: &str| format!("NO 001 line 5: bad SEQUENCE {value:?}: it must be a number from 1 to 2147483647");
    let ical = |sequence: &str| {
        format!(
            "SENDEVENT+\r\nBEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@jumbo.com\r\nSEQUENCE:{sequence}\r\n\
             ORGANIZER:mailto:tom@jumbo.com\r\nATTENDEE:mailto:mary@tiny.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n.\r\n"
        )
    };
    let long = |n: usize| "x".repeat(n);
    let cases: [(String, String); 22] = [
        (format!("SENDEVENT {} +\r\n.\r\n", long(5000)), "NO 001 A command line has at most 4096 octets.".into()),
        ("SEND\0EVENT\r\n".into(), "NO 001 A line holds no NUL.".into()),
        ("SENDEVENT\nQUIT\r\n".into(), "NO 001 A line ends in CRLF; this one holds a CR or LF alone.".into()),
        (event(&format!("UID:1\r\nX:{}\r\n", long(70_000))), "NO 001 A line of an object has at most 65536 octets.".into()),
        (event("UID:1\0\r\n"), "NO 001 An object holds no NUL.".into()),
        (event("UID:1\n.\r\nQUIT\r\n"), "NO 001 Lines end in CRLF; the object holds a CR or LF alone.".into()),
        (event("UID:1\r.\r\n"), "NO 001 Lines end in CRLF; the object holds a CR or LF alone.".into()),
        (event("SEQUENCE:1\r\n"), "NO 001 UID is missing: …".into()),
        (event("UID:\r\nSEQUENCE:1\r\n"), "NO 001 …UID…".into()),
        (event("UID:1@jumbo.com\r\n"), "NO 001 SEQUENCE is missing: it gives the version of the event and starts at 1".into()),
        (sequence("0"), bad_sequence("0")),
        (sequence("-1"), bad_sequence("-1")),
        (sequence("2147483648"), bad_sequence("2147483648")),
        (sequence("99999999999999999999"), bad_sequence("99999999999999999999")),
        (sequence("one"), bad_sequence("one")),
        (ical("-1"), "NO 001 line 6: bad SEQUENCE \"-1\": it must be a number from 0 to 2147483646".into()),
        (ical("2147483647"), "NO 001 line 6: bad SEQUENCE \"2147483647\": it must be a number from 0 to 2147483646".into()),
        (format!("SENDEVENT+\r\n{}.\r\n", "BEGIN:VCALENDAR\r\n".repeat(2000)), "NO 001 …nested deeper than 16".into()),
        (format!("SENDEVENT+\r\n{}.\r\n", "A:\r\n".repeat(400_001)), "NO 001 more than 400000 property lines: split the object".into()),
        (
            format!("SENDEVENT+\r\n{}.\r\n", format!("X:{}\r\n", long(1020)).repeat(11 << 10)),
            "NO 001 An object has at most 10485760 octets.".into(),
        ),
        ("SENDEVENT+\r\n.\r\n".into(), "NO 001 the object is empty: send property lines, or BEGIN:VCALENDAR … END:VCALENDAR".into()),
        ("RSVP+\r\nUID:1@jumbo.com\r\nATTENDEE:mary@tiny.com\r\n.\r\n".into(), "NO 001 STATUS is missing: …".into()),
    ];
    for (n, (sent, expected)) in cases.iter().enumerate() {
        client.send(sent).await;
        let answer = client.answer().await;
        assert!(answer.infos.is_empty() && fits(&answer.completion, expected), "case {n}: {answer:?} instead of {expected}");
        is_served(&mut client, &format!("well{n}@jumbo.com")).await;
    }
    house.sink.wait_for(cases.len()).await;
    house.relay.idle().await;
}

/// `…` stands for anything.
fn fits(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or("");
    let Some(r) = rest.strip_prefix(first) else { return false };
    rest = r;
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
        last = Some(piece);
    }
    rest.is_empty() || last == Some("")
}

/// At most 100 are served for a stranger and 1000 for whom the DNS vouches; nobody waits long.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_attendees() {
    let (settings, sink, _dns) = super::parts().await;
    sink.stop().await;
    // The clock is held, so that each entry is tried once and no more.
    let relay = Running::start_held(settings.domain("tiny.com", "any")).await;
    for (owner, limit, count) in [("tom@stranger.example", 100, 100_000), ("tom@jumbo.com", 1000, 20_000)] {
        let mut client = relay.cip().await;
        let answer = client.object("SENDEVENT", &crowd(&format!("crowd{limit}@x.example"), owner, count)).await;
        assert_eq!(answer.code(), "OK 003", "{}", answer.completion);
        assert_eq!(answer.infos.len(), count);
        for (n, info) in answer.infos.iter().enumerate() {
            let word = if n < limit { "TENTATIVE" } else { "PERMDENIED" };
            assert_eq!(*info, format!("* {word} user{n}@tiny.com"));
        }
        // The same in a crowd of which the last are meant.
        let meant: String = (9_000..10_000).map(|n| format!("X-CIP-RCPT:user{n}@tiny.com\n")).collect();
        let object = crowd(&format!("meant{limit}@x.example"), owner, 10_000) + &meant;
        let answer = client.object("SENDEVENT", &object).await;
        assert_eq!(answer.infos.iter().filter(|i| i.starts_with("* TENTATIVE")).count(), limit);
        assert_eq!(answer.infos.len(), 1000);
        is_served(&mut client, &format!("well{limit}@jumbo.com")).await;
    }
    let served: usize = relay.entries().iter().map(|e| e.recipients.len()).sum();
    assert_eq!(served, 2 * (100 + 1000) + 2);
}

/// Half a command, half an object, or nothing: closed with a word, and the next session is served.
#[tokio::test(flavor = "multi_thread")]
async fn silence_is_ended() {
    let house = House::with(|s| s.set("cip.idle-timeout", "300ms")).await;
    for half in ["", "SENDEV", "\r\n\r\n", "SENDEVENT+\r\nUID:1@jumbo.com\r\nSEQ", "NONSENSE+\r\n.\r"] {
        let mut client = house.relay.cip().await;
        client.send(half).await;
        assert_eq!(client.line().await.as_deref(), Some("NO 005 Idle for too long."), "{half:?}");
        assert!(client.closed().await);
    }
    is_served(&mut house.relay.cip().await, "well@jumbo.com").await;
}

/// Without an end, an object is read up to four times the limit; then the connection is closed.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_end_is_cut_off() {
    let house = House::with(|s| s.set("cip.max-event-size", "64 KiB")).await;
    let mut client = house.relay.cip().await;
    client.send(format!("SENDEVENT+\r\n{}", format!("X:{}\r\n", "x".repeat(1020)).repeat(300))).await;
    assert_eq!(client.line().await.as_deref(), Some("NO 001 An object has at most 65536 octets."));
    assert!(client.closed().await);
    is_served(&mut house.relay.cip().await, "well@jumbo.com").await;
}

/// More than 20 unknown local users within the hour: a stranger is closed, whomever else he names; an hour later he may
/// try again. Remote users, whom the draft's own attendee lists are full of, do not count.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_guesses_names_is_closed() {
    let (settings, sink, _dns) = super::parts().await;
    let relay = Running::start_held(settings).await;
    let stranger = "eve@stranger.example";
    let remote: Vec<String> = (0..50).map(|n| format!("friend{n}@other.org")).collect();
    let guesses = |n: usize| -> Vec<String> { (0..n).map(|n| format!("guess{n}@tiny.com")).collect() };
    let event = |uid: &str, to: &[String]| bare(uid, 1, stranger, &to.iter().map(String::as_str).collect::<Vec<_>>());
    let mary = vec!["mary@tiny.com".to_owned()];

    let mut client = relay.cip().await;
    let answer = client.object("SENDEVENT", &event("a@stranger.example", &[mary.clone(), remote.clone()].concat())).await;
    assert_eq!((answer.code(), answer.infos.len()), ("OK 003", 51));
    let answer = client.object("SENDEVENT", &event("b@stranger.example", &[guesses(20), mary.clone()].concat())).await;
    assert_eq!((answer.code(), answer.infos[20].as_str()), ("OK 003", "* TENTATIVE mary@tiny.com"));
    let answer = client.object("SENDEVENT", &event("c@stranger.example", &guesses(1))).await;
    assert_eq!(answer.completion, "NO 005 Too many unknown users.");
    assert!(client.closed().await);
    // Nobody who is there is told from nobody any more.
    let mut client = relay.cip().await;
    let answer = client.object("SENDEVENT", &event("d@stranger.example", &mary)).await;
    assert_eq!((answer.completion.as_str(), answer.infos.len()), ("NO 005 Too many unknown users.", 0));
    assert!(client.closed().await);
    // Whom the DNS vouches for is served, from the same address.
    is_served(&mut relay.cip().await, "e@jumbo.com").await;
    relay.advance(Duration::from_secs(3601));
    let mut client = relay.cip().await;
    let answer = client.object("SENDEVENT", &event("f@stranger.example", &mary)).await;
    assert_eq!(answer.code(), "OK 000");
    sink.wait_for(4).await;
}

/// One object with a thousand names tells no more of them than twenty-one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_guess_all_at_once() {
    let house = House::new().await;
    let names: Vec<String> = (0..1000).map(|n| format!("guess{n}@tiny.com")).chain(["mary@tiny.com".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = house.relay.cip().await;
    let answer = client.object("SENDEVENT", &bare("a@stranger.example", 1, "eve@stranger.example", &names)).await;
    assert_eq!(answer.completion, "NO 005 Too many unknown users.");
    assert_eq!(answer.infos.iter().filter(|i| i.starts_with("* NOTFOUND")).count(), 21);
    assert_eq!(answer.infos.iter().filter(|i| i.starts_with("* PERMDENIED")).count(), 980);
    assert!(client.closed().await);
    assert!(house.relay.entries().is_empty());
}

/// Nothing is known of anybody's time, and "free" is not invented.
#[tokio::test(flavor = "multi_thread")]
async fn free_busy_is_not_found() {
    let house = House::new().await;
    let mut client = house.relay.cip().await;
    let request = |users: &str, start: &str, end: &str| format!("{users}DTSTART:{start}\nDTEND:{end}\n");
    let everybody = "ATTENDEE:mary@tiny.com\nATTENDEE:nobody@tiny.com\nATTENDEE:tom@jumbo.com\nATTENDEE:old@tiny.com\n";
    let answer = client.object("FREEBUSY", &request(everybody, "20270101T000000Z", "20270102T000000Z")).await;
    let infos = [
        "* NOTFOUND mary@tiny.com",
        "* NOTFOUND nobody@tiny.com",
        "* NOTFOUND tom@jumbo.com",
        "* REDIRECT USER old@tiny.com IS NOW new@other.org",
    ];
    assert_eq!(
        (answer.infos, answer.completion.as_str(), answer.data),
        (infos.map(str::to_owned).to_vec(), "NO 000 No free/busy information.", None)
    );
    let mary = "ATTENDEE:mary@tiny.com\n";
    for (start, end, expected) in [
        (
            "20270101T000000Z",
            "20280205T000001Z",
            "NO 001 line 3: bad DTEND \"20280205T000001Z\": at most 400 days can be asked for at a time",
        ),
        ("20270101T000000Z", "20261231T235959Z", "NO 001 line 3: bad DTEND \"20261231T235959Z\": it must not be before DTSTART"),
        ("20270101T000000Z", "20280205T000000Z", "NO 000 No free/busy information."),
        ("soon", "20280205T000000Z", "NO 001 line 2: bad DTSTART \"soon\": give a time such as 19961231T200000Z or 19961231T2000-0500"),
    ] {
        let answer = client.object("FREEBUSY", &request(mary, start, end)).await;
        assert_eq!(answer.completion, expected);
    }
    assert_eq!(client.object("FREEBUSY", mary).await.completion, "NO 001 DTSTART is missing: say from when on");
    assert_eq!(client.object("FREEBUSY", "DTSTART:20270101T000000Z\n").await.code(), "NO 001");
}
