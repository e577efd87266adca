use super::*;
use crate::cip::response::Info;
use proptest::prelude::*;

fn session() -> ServerSession {
    let settings = SessionSettings { hostname: "b.com".into(), max_event_size: 100, allow_plaintext_login: true };
    let mut session = ServerSession::new(settings);
    assert_eq!(session.next(), Some(Step::Send(b"OK CIP 1.0 b.com\r\n".to_vec())));
    session
}

/// Feeds the pieces and answers every question with `OK 000`; gives what was asked and what was sent, in order.
fn talk(session: &mut ServerSession, pieces: &[&[u8]]) -> Vec<String> {
    let mut log = Vec::new();
    for piece in pieces {
        session.feed(piece);
        while let Some(step) = session.next() {
            let reply = match step {
                Step::Login { identity, password } => {
                    log.push(format!("login {identity} {}", crate::wire::decode(&password.0)));
                    session.logged_in(password.0 == b"right")
                }
                Step::SendEvent(object) => {
                    log.push(format!("sendevent {}", crate::wire::decode(&object)));
                    session.answered(&Answer::ok(0, "Stored."))
                }
                Step::Rsvp(object) => {
                    log.push(format!("rsvp {}", crate::wire::decode(&object)));
                    session.answered(&Answer::ok(0, ""))
                }
                Step::FreeBusy(object) => {
                    log.push(format!("freebusy {}", crate::wire::decode(&object)));
                    let answer = Answer { infos: vec![Info::NotFound("x".into())], completion: Completion::no(0, "") };
                    session.free_busy_answered(&FreeBusyAnswer { data: None, answer })
                }
                send => send,
            };
            match reply {
                Step::Send(out) => log.push(crate::wire::decode(&out)),
                Step::Close(out) => log.push(format!("close {}", crate::wire::decode(&out))),
                other => panic!("{other:?}"),
            }
        }
    }
    log
}

#[test]
fn dialogs() {
    const LF: &str = "NO 001 A line ends in CRLF; this one holds a CR or LF alone.\r\n";
    const UNKNOWN: &str = "NO 001 Unknown command.\r\n";
    let long_line = format!("{}\r\nRSVP+\r\n.\r\n", "x".repeat(5000));
    let long_plus = format!("{}+\r\nSENDEVENT+\r\n.\r\nQUIT\r\n", "x".repeat(5000));
    let big = format!("SENDEVENT+\r\n{}.\r\nRSVP+\r\n.\r\n", "1234567890\r\n".repeat(10));
    let endless = format!("SENDEVENT+\r\n{}.\r\nRSVP+\r\n.\r\n", "1234567890\r\n".repeat(100));
    let table: &[(&str, &[&str])] = &[
        ("\r\n  \r\n", &[]),
        ("SENDEVENT +\r\nUID: 1\r\n", &[]),
        ("SENDEVENT +\r\nUID: 1\r\n.\r\n", &["sendevent UID: 1\r\n", "OK 000 Stored.\r\n"]),
        ("SENDEVENT+\r\n.\r\nrsvp +\r\n..\r\n.\r\n", &["sendevent ", "OK 000 Stored.\r\n", "rsvp .\r\n", "OK 000\r\n"]),
        ("FREEBUSY+\r\n.x\r\n.\r\n", &["freebusy .x\r\n", "* NOTFOUND x\r\nNO 000\r\n"]),
        ("AUTHENTICATE LOGIN a right\r\n", &["login a right", "OK 000 Login complete.\r\n"]),
        ("AUTHENTICATE LOGIN a wrong\r\n", &["login a wrong", "NO 000 Access denied.\r\n"]),
        ("AUTHENTICATE TLS\r\n", &["NO 001 This kind of authentication is not known here.\r\n"]),
        ("QUIT\r\n", &[UNKNOWN]),
        // The data of an unknown command is not commands.
        ("RESPOND +\r\nSENDEVENT +\r\nx\r\n.\r\nQUIT\r\n", &[UNKNOWN, UNKNOWN]),
        ("RSVP\nSENDEVENT +\r\nQUIT\r\n.\r\nRSVP+\r\n.\r\n", &[LF, "rsvp ", "OK 000\r\n"]),
        ("QUIT\nQUIT\r\nRSVP+\r\n.\r\n", &[LF, "rsvp ", "OK 000\r\n"]),
        ("QU\0IT\r\n", &["NO 001 A line holds no NUL.\r\n"]),
        (&long_line, &["NO 001 A command line has at most 4096 octets.\r\n", "rsvp ", "OK 000\r\n"]),
        (&long_plus, &["NO 001 A command line has at most 4096 octets.\r\n", UNKNOWN]),
        ("RSVP+\r\na\n.\r\nb\r\n.\r\nQUIT\r\n", &["NO 001 Lines end in CRLF; the object holds a CR or LF alone.\r\n", UNKNOWN]),
        ("RSVP+\r\na\0b\r\n.\r\nQUIT\r\n", &["NO 001 An object holds no NUL.\r\n", UNKNOWN]),
        (&big, &["NO 001 An object has at most 100 octets.\r\n", "rsvp ", "OK 000\r\n"]),
        (&endless, &["close NO 001 An object has at most 100 octets.\r\n"]),
    ];
    for (input, want) in table {
        assert_eq!(&talk(&mut session(), &[input.as_bytes()]), want, "{input:?}");
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(&talk(&mut session(), &bytes), want, "octet by octet: {input:?}");
    }
}

#[test]
fn a_password_in_clear_text_is_refused_where_the_site_says_so() {
    let settings = SessionSettings { hostname: "b.com".into(), max_event_size: 100, allow_plaintext_login: false };
    let mut session = ServerSession::new(settings);
    let log = talk(&mut session, &[b"AUTHENTICATE LOGIN a right\r\n"]);
    assert_eq!(log, ["OK CIP 1.0 b.com\r\n", "NO 002 A password is not taken on a connection without encryption.\r\n"]);
}

#[test]
fn the_twentieth_error_in_a_row_is_the_last() {
    let mut session = session();
    assert_eq!(talk(&mut session, &[&b"QUIT\r\n".repeat(19)]).len(), 19);
    // A command that goes well clears the count.
    talk(&mut session, &[b"RSVP+\r\n.\r\n"]);
    let log = talk(&mut session, &[&b"QUIT\r\n".repeat(25)]);
    assert_eq!(log.len(), 20);
    assert_eq!(log[19], "close NO 005 Too many errors.\r\n");
}

#[test]
fn nothing_is_handled_before_the_last_command_is_answered() {
    let mut session = session();
    session.feed(b"SENDEVENT+\r\n.\r\nQUIT\r\n");
    let step = session.next().unwrap();
    assert!(step.asks() && step == Step::SendEvent(vec![]));
    assert_eq!(session.next(), None);
    assert!(!session.is_between_commands());
    // The relay may close the session by its answer.
    assert_eq!(session.answered(&Answer::no(5, "Too many.")), Step::Close(b"NO 005 Too many.\r\n".to_vec()));
    assert_eq!(session.next(), None);
}

#[test]
fn blank_lines_are_no_progress() {
    let mut session = session();
    session.feed(b"\r\n\r\n");
    assert_eq!((session.next(), session.progress()), (None, 0));
    session.feed(b"RSVP+\r\n\r\nx");
    assert_eq!((session.next(), session.progress(), session.is_in_data()), (None, 2, true));
}

proptest! {
    /// However the stream is cut, the same is asked and said.
    #[test]
    fn cuts_change_nothing(
        words in prop::collection::vec(prop::sample::select(vec![
            "SENDEVENT +", "RSVP+", "FREEBUSY+", "QUIT", "X+", "AUTHENTICATE LOGIN a right", ".", "..", "\r\n", "\r\n", "\r\n", "\r", "\n", "\0", " ", "+",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ]), 0..40),
        cuts in prop::collection::vec(0usize..400, 0..8),
    ) {
        let input = words.concat();
        let input = input.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(input.len())).chain([0, input.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect();
        prop_assert_eq!(talk(&mut session(), &pieces), talk(&mut session(), &[input]));
    }
}
