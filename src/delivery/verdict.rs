//! What a CIP server's answer means for each recipient (profile 3, 7): a pure function.

use crate::cip::response::{Answer, Info, code};
use crate::ident::{EventId, ServerId, UserId};

/// What is to be done about one recipient after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server has it.
    Stored,
    /// The server does not know this user (or, for an RSVP, this event).
    NotFound,
    /// The server refuses for this user, for good.
    Denied(String),
    /// The user has moved.
    Moved(UserId),
    /// The event has moved (RSVP).
    EventMoved(EventId),
    /// Not now.
    Later(String),
    /// The object was not understood: e-mail may still do.
    BadObject(String),
}

/// What an RSVP is about.
#[derive(Clone, Copy, Debug)]
pub struct Rsvp<'a> {
    pub event: &'a EventId,
    /// Whose answer it is.
    pub attendee: Option<&'a UserId>,
}

/// Whether a line names this user, bare or in angle brackets.
fn is(who: &str, user: &UserId) -> bool {
    UserId::parse(who.trim_matches(['<', '>', ' '])).is_ok_and(|u| u == *user)
}

/// The verdict on each user, and what of the answer is only worth a line in the history.
///
/// `server` is the server-id that was located or configured and asked: a redirect by it counts for its own users alone.
/// For an RSVP `users` is the owner, and lines about the event or (PERMDENIED) about the one who answers decide it.
pub fn judge(answer: &Answer, server: &ServerId, users: &[UserId], rsvp: Option<Rsvp<'_>>) -> (Vec<Verdict>, Vec<String>) {
    let event = rsvp.map(|r| r.event);
    let completion = &answer.completion;
    let mut verdicts: Vec<Option<Verdict>> = vec![None; users.len()];
    let mut notes = Vec::new();
    let position = |who: &str| {
        let who = who.trim_matches(['<', '>', ' ']);
        let named = UserId::parse(who).ok().and_then(|u| users.iter().position(|x| *x == u));
        named.or_else(|| event.is_some_and(|e| e.as_str() == who).then_some(0))
    };
    for info in &answer.infos {
        match info {
            Info::NotFound(who) => match position(who) {
                Some(at) => verdicts[at] = Some(Verdict::NotFound),
                None => notes.push(format!("the server says NOTFOUND of {who}, who is not in this delivery")),
            },
            // Profile 6: the server does not have him on the event.
            Info::PermDenied(who) if rsvp.and_then(|r| r.attendee).is_some_and(|a| is(who, a)) => {
                if let Some(first) = verdicts.first_mut() {
                    *first = Some(Verdict::Denied(format!("{who} may not answer there (PERMDENIED)")));
                }
            }
            Info::PermDenied(who) => match position(who) {
                Some(at) => verdicts[at] = Some(Verdict::Denied("refused by the server (PERMDENIED)".to_owned())),
                None => notes.push(format!("the server says PERMDENIED of {who}, who is not in this delivery")),
            },
            Info::RedirectUser { old, new } => match users.iter().position(|u| u == old) {
                Some(at) if old.server() == server => verdicts[at] = Some(Verdict::Moved(new.clone())),
                Some(_) => notes.push(format!("ignored a redirect of {old} to {new}: {server} has no say over that user")),
                None => notes.push(format!("ignored a redirect of {old}, who is not in this delivery")),
            },
            Info::RedirectEvent { old, new } => match event {
                Some(event) if event == old => {
                    // Whoever the owner's own server sends on is sent on for this answer; others may not.
                    let answers_for = old.server().as_ref() == Some(server) || users.iter().any(|owner| owner.server() == server);
                    match verdicts.first_mut() {
                        Some(first) if answers_for => *first = Some(Verdict::EventMoved(new.clone())),
                        _ => notes.push(format!("ignored a redirect of the event {old} to {new}: {server} has no say over it")),
                    }
                }
                _ => notes.push(format!("ignored a redirect of the event {old}, which is not in this delivery")),
            },
            Info::Tentative(_) | Info::Confirmed(_) => {}
            Info::Challenge(text) | Info::Other(text) => notes.push(format!("the server says: {text}")),
        }
    }
    let said = || format!("{} {:03} {}", if completion.ok { "OK" } else { "NO" }, completion.code, completion.text).trim_end().to_owned();
    let otherwise = || match (completion.ok, completion.code) {
        (true, _) => Verdict::Stored,
        (false, code::BAD) => Verdict::BadObject(said()),
        (false, code::ACCESS) => Verdict::Denied(said()),
        (false, _) => Verdict::Later(said()),
    };
    (verdicts.into_iter().map(|v| v.unwrap_or_else(otherwise)).collect(), notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn answer(ok: bool, code: u16, infos: Vec<Info>) -> Answer {
        let mut answer = if ok { Answer::ok(code, "text") } else { Answer::no(code, "text") };
        answer.infos = infos;
        answer
    }

    #[test]
    fn completion_decides_for_those_whom_no_line_names() {
        let server = ServerId::parse("b.com").unwrap();
        let users = [user("x@b.com"), user("y@b.com")];
        let table = [
            (answer(true, 0, vec![]), [Verdict::Stored, Verdict::Stored]),
            (answer(true, 3, vec![Info::NotFound("y@b.com".into())]), [Verdict::Stored, Verdict::NotFound]),
            (answer(true, 0, vec![Info::Tentative(user("x@b.com"))]), [Verdict::Stored, Verdict::Stored]),
            (
                answer(true, 3, vec![Info::PermDenied("<X@b.com>".into())]),
                [Verdict::Denied("refused by the server (PERMDENIED)".into()), Verdict::Stored],
            ),
            (answer(false, 0, vec![Info::NotFound("x@b.com".into())]), [Verdict::NotFound, Verdict::Later("NO 000 text".into())]),
            (answer(false, 4, vec![]), [Verdict::Later("NO 004 text".into()), Verdict::Later("NO 004 text".into())]),
            (answer(false, 1, vec![]), [Verdict::BadObject("NO 001 text".into()), Verdict::BadObject("NO 001 text".into())]),
            (answer(false, 2, vec![]), [Verdict::Denied("NO 002 text".into()), Verdict::Denied("NO 002 text".into())]),
            (answer(false, 77, vec![]), [Verdict::Later("NO 077 text".into()), Verdict::Later("NO 077 text".into())]),
        ];
        for (answer, expected) in table {
            assert_eq!(judge(&answer, &server, &users, None).0, expected, "{answer:?}");
        }
    }

    #[test]
    fn only_the_users_own_server_redirects_him() {
        let moved = Info::RedirectUser { old: user("x@b.com"), new: user("x@c.com") };
        let redirect = answer(true, 3, vec![moved]);
        let users = [user("x@b.com")];
        let (verdicts, notes) = judge(&redirect, &ServerId::parse("b.com").unwrap(), &users, None);
        assert_eq!(verdicts, [Verdict::Moved(user("x@c.com"))]);
        assert!(notes.is_empty());
        let (verdicts, notes) = judge(&redirect, &ServerId::parse("evil.org").unwrap(), &users, None);
        assert_eq!(verdicts, [Verdict::Stored]);
        assert!(notes[0].contains("no say"), "{notes:?}");
        let (verdicts, notes) = judge(&redirect, &ServerId::parse("b.com").unwrap(), &[user("z@b.com")], None);
        assert_eq!(verdicts, [Verdict::Stored]);
        assert!(notes[0].contains("not in this delivery"), "{notes:?}");
    }

    #[test]
    fn an_rsvp_is_decided_by_lines_about_its_event() {
        let server = ServerId::parse("b.com").unwrap();
        let owner = [user("pete@b.com")];
        let event = EventId::parse("e1@b.com").unwrap();
        let gone = answer(false, 0, vec![Info::NotFound("e1@b.com".into())]);
        let rsvp = Some(Rsvp { event: &event, attendee: None });
        assert_eq!(judge(&gone, &server, &owner, rsvp).0, [Verdict::NotFound]);
        let new = EventId::parse("e2@b.com").unwrap();
        let moved = answer(false, 0, vec![Info::RedirectEvent { old: event.clone(), new: new.clone() }]);
        assert_eq!(judge(&moved, &server, &owner, rsvp).0, [Verdict::EventMoved(new)]);
        let stranger = ServerId::parse("evil.org").unwrap();
        let (verdicts, notes) = judge(&moved, &stranger, &owner, rsvp);
        assert_eq!(verdicts, [Verdict::Later("NO 000 text".into())]);
        assert!(notes[0].contains("no say"), "{notes:?}");
        let mary = user("mary@tiny.com");
        let denied = answer(false, 0, vec![Info::PermDenied("<Mary@tiny.com>".into())]);
        let of_mary = Some(Rsvp { event: &event, attendee: Some(&mary) });
        let refused = Verdict::Denied("<Mary@tiny.com> may not answer there (PERMDENIED)".into());
        assert_eq!(judge(&denied, &server, &owner, of_mary).0, [refused]);
        // Somebody else's refusal decides nothing for this answer.
        assert_eq!(judge(&denied, &server, &owner, rsvp).0, [Verdict::Later("NO 000 text".into())]);
    }
}
