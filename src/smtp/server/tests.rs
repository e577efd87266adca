use proptest::prelude::*;

use super::*;
use crate::wire::has_lone_cr_or_lf;

const GREETING: &str = "220 r.example ESMTP cip-relay";
const EHLO: &str = "EHLO c.example\r\n";
const BEGIN: &str = "EHLO c.example\r\nMAIL FROM:<tom@jumbo.com>\r\nRCPT TO:<mary@tiny.com>\r\n";
/// The replies to `BEGIN`, codes only.
const BEGUN: &str = "250 250 250";

fn rules(protocol: Protocol) -> Rules {
    Rules { hostname: "r.example".into(), protocol, max_message: 2000 }
}

/// A door by the address: `no…` is refused, `later…` is put off; the message: `fail…` 550, `busy…` 451 each.
#[derive(Default)]
struct Trace {
    replies: String,
    messages: Vec<(Envelope, Vec<u8>)>,
    asked: Vec<(String, String)>,
    closed: bool,
}

fn answer_for(recipient: &str) -> MailReply {
    match recipient {
        r if r.starts_with("fail") => MailReply::new(550, "5.7.1", format!("failed {r}")),
        r if r.starts_with("busy") => MailReply::new(451, "4.3.0", format!("busy {r}")),
        r => MailReply::new(250, "2.0.0", format!("stored {r}")),
    }
}

fn settle(session: &mut ServerSession, trace: &mut Trace) {
    loop {
        match session.step() {
            Step::Read => return,
            Step::Close => {
                trace.closed = true;
                return;
            }
            Step::Send(octets) => trace.replies.push_str(&String::from_utf8(octets).unwrap()),
            Step::Ready => session.ready(Ok(())),
            Step::Recipient { sender, recipient } => {
                let reply = match &recipient {
                    r if r.starts_with("no") => MailReply::new(550, "5.1.1", "nobody"),
                    r if r.starts_with("later") => MailReply::new(450, "4.2.1", "later"),
                    _ => MailReply::new(250, "2.1.5", "recipient ok"),
                };
                trace.asked.push((sender, recipient));
                session.recipient(&reply);
            }
            Step::Message { envelope, octets } => {
                let replies = envelope.recipients.iter().map(|r| answer_for(r)).collect();
                trace.messages.push((envelope, octets));
                session.message(replies);
            }
        }
    }
}

fn run_in_pieces<'a>(protocol: Protocol, pieces: impl IntoIterator<Item = &'a [u8]>) -> Trace {
    let mut session = ServerSession::new(rules(protocol));
    let mut trace = Trace::default();
    settle(&mut session, &mut trace);
    for piece in pieces {
        session.receive(piece);
        settle(&mut session, &mut trace);
    }
    assert!(session.held() <= 4096 + MAX_DATA_LINE + 2 * 2000);
    trace
}

fn run(protocol: Protocol, input: &[u8]) -> Trace {
    let whole = run_in_pieces(protocol, [input]);
    let bytewise = run_in_pieces(protocol, input.chunks(1));
    assert_eq!(whole.messages, bytewise.messages);
    assert_eq!(whole.replies, bytewise.replies);
    assert_eq!(whole.closed, bytewise.closed);
    whole
}

fn smtp(input: &str) -> Trace {
    run(Protocol::Smtp, input.as_bytes())
}

/// The codes of all replies after the greeting, the last line of each.
fn codes(trace: &Trace) -> String {
    let finals = trace.replies.lines().skip(1).filter(|l| l.as_bytes().get(3) == Some(&b' '));
    finals.map(|l| &l[..3]).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_plain_dialog() {
    let trace = smtp(&format!("{BEGIN}DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n"));
    assert_eq!(
        trace.replies,
        "220 r.example ESMTP cip-relay\r\n\
         250-r.example\r\n250-PIPELINING\r\n250-SIZE 2000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n\
         250-CHUNKING\r\n250 HELP\r\n\
         250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 send the message, end with CRLF . CRLF\r\n\
         250 2.0.0 stored mary@tiny.com\r\n221 2.0.0 r.example closing connection\r\n"
    );
    assert!(trace.closed);
    let envelope = Envelope { sender: "tom@jumbo.com".into(), recipients: vec!["mary@tiny.com".into()], ..Envelope::default() };
    assert_eq!(trace.messages, [(envelope, b"Subject: x\r\n\r\nhello\r\n".to_vec())]);
}

#[test]
fn the_order_of_commands() {
    // What is said after EHLO, and the codes that answer it.
    let table = [
        ("RCPT TO:<a@b.c>\r\nDATA\r\nBDAT 3\r\nabcNOOP\r\n", "503 503 503 250"),
        ("MAIL FROM:<>\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n", "250 503 250 250"),
        ("MAIL FROM:<>\r\nDATA\r\n", "250 554"),
        ("MAIL FROM:<>\r\nRCPT TO:<nobody@b.c>\r\nDATA\r\nBDAT 3 LAST\r\nabcNOOP\r\n", "250 550 554 554 250"),
        ("MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nEHLO again\r\nDATA\r\n", "250 250 250 503"),
        ("MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nRSET\r\nRCPT TO:<a@b.c>\r\n", "250 250 250 503"),
        ("MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nBDAT 1\r\nxDATA\r\nRCPT TO:<d@b.c>\r\nBDAT 0 LAST\r\n", "250 250 250 503 503 250"),
        ("MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nBDAT 1 LAST\r\nxBDAT 1 LAST\r\nx", "250 250 250 503"),
        ("VRFY x\r\nHELP\r\nNOOP x\r\nEXPN x\r\nSTARTTLS\r\nAUTH PLAIN x\r\nLHLO x\r\n", "252 214 250 502 502 502 500"),
        ("MAIL FROM:<> SIZE=2000\r\nRSET\r\nMAIL FROM:<> SIZE=2001\r\nMAIL FROM:<> SIZE=99999999999999999999\r\n", "250 250 552 552"),
        ("GET / HTTP/1.1\r\nMAIL FROM:<>\r\n", "500"),
        ("MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nBDAT x\r\nMAIL FROM:<>\r\n", "250 250 501"),
        ("QUIT\r\nNOOP\r\n", "221"),
    ];
    for (input, want) in table {
        assert_eq!(codes(&smtp(&format!("{EHLO}{input}"))), format!("250 {want}"), "{input:?}");
    }
    assert_eq!(codes(&smtp("MAIL FROM:<>\r\nNOOP\r\nRSET\r\nVRFY a\r\nHELO x\r\nMAIL FROM:<>\r\n")), "503 250 250 252 250 250");
}

#[test]
fn lines_end_at_crlf_only() {
    let table = [
        ("NOOP\nNOOP\r\nNOOP\r\n", "500 250"),
        ("NOOP\rNOOP\r\nNOOP\r\n", "500 250"),
        ("RSET\r\r\nNOOP\r\n", "500 250"),
        ("MAIL FROM:<a@b.c>\nRCPT TO:<d@b.c>\r\nRCPT TO:<d@b.c>\r\n", "500 503"),
        ("NOOP \0\r\nNOOP\r\n", "500 250"),
        ("\r\nNOOP\r\n", "500 250"),
    ];
    for (input, want) in table {
        assert_eq!(codes(&smtp(&format!("{EHLO}{input}"))), format!("250 {want}"), "{input:?}");
    }
    let line = |n: usize| format!("{EHLO}NOOP {}\r\nNOOP\r\n", "x".repeat(n));
    assert_eq!(codes(&smtp(&line(4096 - 7))), "250 250 250");
    assert_eq!(codes(&smtp(&line(4096 - 6))), "250 500 250");
    assert_eq!(codes(&smtp(&line(100_000))), "250 500 250");
}

#[test]
fn nothing_is_smuggled() {
    let evil = "MAIL FROM:<evil@b.c>\r\nRCPT TO:<victim@b.c>\r\nDATA\r\nevil\r\n.\r\n";
    // Every sequence that some program somewhere takes, or took, for the end of data.
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r.\r", "\r\n.\r\r\n", "\n.\r", "\r.\n", "\r\n\r.\r\n", "\r\n\n.\r\n"]
    {
        let trace = smtp(&format!("{BEGIN}DATA\r\ninnocent{end}{evil}NOOP\r\n"));
        assert_eq!(codes(&trace), format!("{BEGUN} 354 550 250"), "{end:?}");
        assert!(trace.replies.contains("\r\n550 5.6.11 "), "{end:?}");
        assert!(trace.messages.is_empty(), "{end:?}");
    }
    // The same in a chunk: the message is refused, since it would do its harm at the next hop.
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r"] {
        let body = format!("innocent{end}{evil}");
        let trace = smtp(&format!("{BEGIN}BDAT {} LAST\r\n{body}NOOP\r\n", body.len()));
        assert_eq!(codes(&trace), format!("{BEGUN} 550 250"), "{end:?}");
        assert!(trace.messages.is_empty(), "{end:?}");
    }
    // In a chunk a proper terminator is text like any other, and so are commands.
    let body = format!("innocent\r\n.\r\n{evil}");
    let trace = smtp(&format!("{BEGIN}BDAT {} LAST\r\n{body}NOOP\r\n", body.len()));
    assert_eq!(codes(&trace), format!("{BEGUN} 250 250"));
    assert_eq!(trace.messages[0].1, body.as_bytes());
}

#[test]
fn dots() {
    let table = [
        (".\r\n", ""),
        ("..\r\n.\r\n", ".\r\n"),
        ("...\r\n.\r\n", "..\r\n"),
        (".a\r\n..b\r\nc.\r\n.\r\n", "a\r\n.b\r\nc.\r\n"),
        ("\r\n.\r\n", "\r\n"),
        (" .\r\n. \r\n.\r\n", " .\r\n \r\n"),
    ];
    for (data, want) in table {
        let trace = smtp(&format!("{BEGIN}DATA\r\n{data}NOOP\r\n"));
        assert_eq!(codes(&trace), format!("{BEGUN} 354 250 250"), "{data:?}");
        assert_eq!(trace.messages[0].1, want.as_bytes(), "{data:?}");
    }
}

#[test]
fn chunks() {
    let trace = smtp(&format!("{BEGIN}BDAT 5\r\na\r\n.\rBDAT 0\r\nBDAT 3\r\n\nb.BDAT 0 LAST\r\nNOOP\r\n"));
    assert_eq!(codes(&trace), format!("{BEGUN} 250 250 250 250 250"));
    assert_eq!(trace.messages[0].1, b"a\r\n.\r\nb.\r\n", "a chunk may end anywhere; the last line gets its CRLF");
    let trace = smtp(&format!("{BEGIN}BDAT 0 LAST\r\n"));
    assert_eq!(trace.messages[0].1, b"");

    // 2000 octets are allowed.
    let chunk = |n: usize, last: &str| format!("BDAT {n}{last}\r\n{}", "x".repeat(n));
    let table = [
        (format!("{}{}", chunk(1500, ""), chunk(500, " LAST")), "250 250", 1),
        (format!("{}{}NOOP\r\n", chunk(1500, ""), chunk(501, " LAST")), "250 552 250", 0),
        (format!("{}{}{}RSET\r\n", chunk(2001, ""), chunk(1, ""), chunk(1, " LAST")), "552 503 503 250", 0),
        // More than four times the limit is not even read.
        (chunk(8001, ""), "552", 0),
        (format!("{}{}NOOP\r\n", chunk(5000, ""), chunk(5000, "")), "552 552", 0),
        ("BDAT 999999999999999\r\nxxx".into(), "552", 0),
    ];
    for (input, want, messages) in table {
        let trace = smtp(&format!("{BEGIN}{input}"));
        assert_eq!(codes(&trace), format!("{BEGUN} {want}"), "{:?}", &input[..20]);
        assert_eq!(trace.messages.len(), messages);
        assert!(!trace.closed || want.ends_with("552"));
    }
}

#[test]
fn what_a_message_may_be() {
    let received = |n: usize| "Received: by x; date\r\n".repeat(n);
    let long = |n: usize| format!("{}\r\n", "x".repeat(n));
    let table: [(String, &str); 8] = [
        (long(1998), "250"),
        (long(1999), "552 5.3.4"),
        (long(7000), "552 5.3.4"),
        ("a\0b\r\n".into(), "554 5.6.0"),
        // 2000 octets do not hold a hundred whole fields: short ones do.
        ("Received:\r\n".repeat(100), "250"),
        ("received :\r\n".repeat(101), "554 5.4.6"),
        (format!("\r\n{}", "Received:\r\n".repeat(101)), "250"),
        (received(3), "250"),
    ];
    for (message, want) in table {
        let trace = smtp(&format!("{BEGIN}DATA\r\n{message}.\r\n"));
        assert!(trace.replies.lines().last().unwrap().starts_with(want), "{:?}: {}", &message[..10], trace.replies);
        assert_eq!(trace.messages.len(), usize::from(want == "250"));
        assert!(!trace.closed);
    }
    // Beyond four times the limit there is a reply and an end.
    let trace = smtp(&format!("{BEGIN}DATA\r\n{}", long(9000)));
    assert_eq!((codes(&trace), trace.closed), (format!("{BEGUN} 354 552"), true));
}

#[test]
fn eight_bits() {
    let trace = run(Protocol::Smtp, format!("{BEGIN}DATA\r\nj\u{f6}rg\r\n.\r\n").as_bytes());
    assert!(trace.messages[0].0.eight_bit, "said by the octets");
    let latin = [BEGIN.as_bytes(), b"DATA\r\n\xff\xfe\r\n.\r\n"].concat();
    assert_eq!(run(Protocol::Smtp, &latin).messages[0].1, b"\xff\xfe\r\n");

    let text = "EHLO c\r\nMAIL FROM:<j\u{f6}@t.com>\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<j\u{f6}@t.com>\r\n";
    assert_eq!(codes(&smtp(text)), "250 553 250 553");
    let text = "EHLO c\r\nMAIL FROM:<j\u{f6}@t.com> SMTPUTF8\r\nRCPT TO:<m\u{e4}@t.com>\r\nDATA\r\nx\r\n.\r\n";
    let trace = smtp(text);
    assert_eq!(codes(&trace), "250 250 250 354 250");
    assert!(trace.messages[0].0.smtputf8 && trace.replies.ends_with("stored m\u{e4}@t.com\r\n"));
}

#[test]
fn recipients_that_differ() {
    let dialog = |protocol, recipients: &str| {
        let hello = if protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
        let rcpts = recipients.split(' ').map(|r| format!("RCPT TO:<{r}@t.com>\r\n")).collect::<Vec<_>>().concat();
        let trace = run(protocol, format!("{hello} c\r\nMAIL FROM:<>\r\n{rcpts}DATA\r\nx\r\n.\r\n").as_bytes());
        let after = trace.replies.split_once("354 ").map_or("", |(_, rest)| rest);
        after.lines().skip(1).map(|l| l.split_once("@t.com").map_or(l, |(l, _)| l).to_owned()).collect::<Vec<_>>()
    };
    let table: [(&str, &str, &[&str]); 7] = [
        ("a b", "250 2.0.0 stored a", &["250 2.0.0 stored a", "250 2.0.0 stored b"]),
        ("fail a", "250 2.0.0 stored a", &["550 5.7.1 failed fail", "250 2.0.0 stored a"]),
        ("busy a fail", "250 2.0.0 stored a", &["451 4.3.0 busy busy", "250 2.0.0 stored a", "550 5.7.1 failed fail"]),
        ("fail busy", "451 4.3.0 busy busy", &["550 5.7.1 failed fail", "451 4.3.0 busy busy"]),
        ("fail1 fail2", "550 5.7.1 failed fail1", &["550 5.7.1 failed fail1", "550 5.7.1 failed fail2"]),
        ("nobody a later", "250 2.0.0 stored a", &["250 2.0.0 stored a"]),
        ("a a", "250 2.0.0 stored a", &["250 2.0.0 stored a", "250 2.0.0 stored a"]),
    ];
    for (recipients, smtp, lmtp) in table {
        assert_eq!(dialog(Protocol::Smtp, recipients), [smtp], "{recipients}");
        assert_eq!(dialog(Protocol::Lmtp, recipients), lmtp, "{recipients}");
    }
}

#[test]
fn lmtp_differs_where_rfc_2033_says() {
    let lmtp = |input: &str| run(Protocol::Lmtp, input.as_bytes());
    assert!(lmtp("").replies.starts_with("220 r.example LMTP"));
    assert_eq!(codes(&lmtp("EHLO x\r\nHELO x\r\nMAIL FROM:<>\r\nLHLO x\r\nMAIL FROM:<>\r\nDATA\r\n")), "500 500 503 250 250 503");
    // A message that is refused as a whole is refused for each recipient; a chunk that is not the last is one thing.
    let two = "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<d@b.c>\r\n";
    assert_eq!(codes(&lmtp(&format!("{two}DATA\r\na\nb\r\n.\r\nNOOP\r\n"))), "250 250 250 250 354 550 550 250");
    assert_eq!(codes(&lmtp(&format!("{two}BDAT 1\r\nxBDAT 1 LAST\r\nx"))), "250 250 250 250 250 250 250");
    assert_eq!(codes(&lmtp(&format!("{two}BDAT 3 LAST\r\na\nbNOOP\r\n"))), "250 250 250 250 550 550 250");
}

#[test]
fn too_many_recipients() {
    let rcpts = (0..=MAX_RECIPIENTS + 1).map(|i| format!("RCPT TO:<r{i}@b.c>\r\n")).collect::<Vec<_>>().concat();
    let mut session = ServerSession::new(rules(Protocol::Smtp));
    session.receive(format!("{EHLO}MAIL FROM:<a@b.c>\r\n{rcpts}").as_bytes());
    settle(&mut session, &mut Trace::default());
    assert!(session.held() >= MAX_RECIPIENTS * "r100@b.c".len(), "a listener counts the addresses too");
    session.receive(b"RSET\r\n");
    settle(&mut session, &mut Trace::default());
    assert_eq!(session.held(), 0);

    let trace = run_in_pieces(Protocol::Smtp, [format!("{EHLO}MAIL FROM:<>\r\n{rcpts}DATA\r\nx\r\n.\r\n").as_bytes()]);
    assert_eq!(trace.asked.len(), MAX_RECIPIENTS);
    assert_eq!(trace.replies.matches("\r\n452 4.5.3 ").count(), 2);
    assert_eq!(trace.messages[0].0.recipients.len(), MAX_RECIPIENTS);
}

#[test]
fn too_many_errors() {
    let trace = smtp(&"FOO\r\n".repeat(30));
    assert_eq!(codes(&trace), format!("{}421", "500 ".repeat(20)));
    assert!(trace.closed);
    // A door's refusals are no errors of the client, and a stored message shows good will.
    let refused = "RCPT TO:<nobody@b.c>\r\n".repeat(50);
    assert!(!smtp(&format!("{EHLO}MAIL FROM:<>\r\n{refused}")).closed);
    let round = format!("{}MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nDATA\r\n.\r\n", "FOO\r\n".repeat(15));
    assert!(!smtp(&format!("{EHLO}{round}{round}")).closed);
}

#[test]
fn the_door_says_no() {
    let mut session = ServerSession::new(rules(Protocol::Smtp));
    session.receive(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\n");
    assert!(matches!(session.step(), Step::Ready));
    assert!(session.in_transaction());
    session.ready(Err("no disk space".into()));
    let Step::Send(replies) = session.step() else { panic!() };
    let replies = String::from_utf8(replies).unwrap();
    assert!(replies.ends_with("\r\n452 4.3.1 no disk space\r\n503 5.5.1 say MAIL first\r\n"), "{replies}");
    assert!(!session.in_transaction());

    // A door that answers wrongly: too few replies, codes that are none.
    session.receive(b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<d@b.c>\r\nDATA\r\n.\r\n");
    assert_eq!(session.step(), Step::Ready);
    session.ready(Ok(()));
    assert!(matches!(session.step(), Step::Recipient { .. }));
    session.recipient(&MailReply::new(77, "", "?"));
    assert!(matches!(session.step(), Step::Recipient { .. }));
    session.recipient(&MailReply::new(250, "2.1.5", "ok"));
    let Step::Send(replies) = session.step() else { panic!() };
    assert!(replies.ends_with(b"CRLF . CRLF\r\n"), "before the door is busy with the message");
    assert!(matches!(session.step(), Step::Message { envelope, .. } if envelope.recipients == ["d@b.c"]));
    session.message(Vec::new());
    let Step::Send(replies) = session.step() else { panic!() };
    assert!(String::from_utf8(replies).unwrap().ends_with("451 4.3.0 internal error, try again later\r\n"));
}

#[test]
fn turned_away_and_sent_away() {
    let mut session = ServerSession::turned_away(rules(Protocol::Smtp), "too many sessions");
    session.receive(b"EHLO c\r\n");
    assert_eq!(session.step(), Step::Send(b"421 4.3.2 r.example too many sessions, closing connection\r\n".to_vec()));
    assert_eq!(session.step(), Step::Close);

    let mut session = ServerSession::new(rules(Protocol::Smtp));
    session.receive(b"EHLO c\r\nMAIL FROM:<>\r\n");
    assert_eq!(session.step(), Step::Ready);
    session.leave("4.4.2", "idle");
    session.ready(Ok(()));
    let Step::Send(replies) = session.step() else { panic!() };
    assert!(String::from_utf8(replies).unwrap().ends_with("421 4.4.2 r.example idle, closing connection\r\n"));
    assert_eq!(session.step(), Step::Close);
}

#[test]
fn replies_are_handed_out_before_they_pile_up() {
    let mut session = ServerSession::new(rules(Protocol::Smtp));
    session.receive("HELP\r\n".repeat(10_000).as_bytes());
    let mut replies = 0;
    loop {
        match session.step() {
            Step::Send(octets) => {
                assert!(octets.len() < FLUSH + 1024);
                replies += octets.windows(4).filter(|w| w == b"214 ").count();
            }
            step => {
                assert_eq!(step, Step::Read);
                break;
            }
        }
    }
    assert_eq!(replies, 10_000);
}

#[test]
fn the_greeting_comes_first() {
    assert_eq!(smtp("").replies.trim_end(), GREETING);
}

proptest! {
    /// Whatever is said, cutting it differently changes neither the messages nor the codes of the replies. (Of a line
    /// with several flaws the one that is named may differ, never that it is bad.)
    #[test]
    fn pieces_change_nothing(
        parts in prop::collection::vec(prop::sample::select(vec![
            "EHLO c\r\n", "MAIL FROM:<a@b.c>\r\n", "RCPT TO:<d@b.c>\r\n", "RCPT TO:<fail@b.c>\r\n", "DATA\r\n", "\r\n.\r\n",
            "BDAT 3\r\n", "BDAT 4 LAST\r\n", "abc", "a\r\n", "\r", "\n", ".", "\0", "RSET\r\n", "Received: x\r\n", "\u{e9}",
        ]), 0..30),
        mut cuts in prop::collection::vec(0usize..400, 0..8),
        lmtp: bool,
        begun: bool,
    ) {
        let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let begin = if lmtp { BEGIN.replace("EHLO", "LHLO") } else { BEGIN.to_owned() };
        let input = format!("{}{}", if begun { &begin } else { "" }, parts.concat());
        let input = input.as_bytes();
        let whole = run_in_pieces(protocol, [input]);
        cuts.extend([0, input.len()]);
        for cut in &mut cuts {
            *cut = input.len().min(*cut);
        }
        cuts.sort_unstable();
        let cut = run_in_pieces(protocol, cuts.windows(2).map(|w| &input[w[0]..w[1]]));
        let coarse = |t: &Trace| codes(t).replace("554", "550");
        prop_assert_eq!(coarse(&whole), coarse(&cut));
        prop_assert_eq!(&whole.messages, &cut.messages);
        prop_assert_eq!(whole.closed, cut.closed);
        for (_, octets) in &whole.messages {
            prop_assert!(!has_lone_cr_or_lf(octets) && !octets.contains(&0));
        }
    }
}
