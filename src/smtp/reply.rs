//! Writing replies (RFC 5321 4.2, RFC 2034).
//!
//! Invariant: one reply is one or more whole lines of at most 512 octets each, whatever its text holds: controls become
//! blanks, and characters beyond ASCII become `?` unless the client said SMTPUTF8 (RFC 6531 3.7.4.1).

use super::MailReply;

/// Octets of text in one reply line: 512 less code, enhanced code, blanks and CRLF, with some to spare.
const MAX_TEXT: usize = 480;
/// Lines that a door's text is given; the rest of it is cut off.
const MAX_LINES: usize = 4;

/// Appends a reply, on several lines when its text is long.
pub(super) fn write(reply: &MailReply, utf8: bool, out: &mut Vec<u8>) {
    let text: String = reply
        .text
        .chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c if !c.is_ascii() && !utf8 => '?',
            c => c,
        })
        .collect();
    let lines = pieces(text.trim());
    for (i, piece) in lines.iter().enumerate() {
        let mark = if i + 1 == lines.len() { ' ' } else { '-' };
        let blank = if reply.enhanced.is_empty() { "" } else { " " };
        out.extend_from_slice(format!("{}{mark}{}{blank}{piece}\r\n", reply.code, reply.enhanced).as_bytes());
    }
}

/// What comes from a door is not trusted to be a reply that fits here: success is 250 and nothing else, 421 would
/// promise to close the connection, any other code but 4xx and 5xx puts client and server out of step and becomes a
/// temporary failure. An enhanced code of another class is left out.
pub(super) fn checked(reply: &MailReply) -> MailReply {
    let code = match reply.code {
        200..=299 => 250,
        421 => 451,
        400..=599 => reply.code,
        _ => return MailReply::new(451, "4.3.0", "internal error, try again later"),
    };
    let class = char::from_digit(u32::from(code / 100), 10);
    let mut chars = reply.enhanced.chars();
    let fits = chars.next() == class && chars.all(|c| c == '.' || c.is_ascii_digit());
    MailReply { code, enhanced: if fits { reply.enhanced } else { "" }, text: reply.text.clone() }
}

fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > MAX_TEXT && pieces.len() + 1 < MAX_LINES {
        let limit = (0..=MAX_TEXT).rev().find(|&i| rest.is_char_boundary(i)).unwrap_or(0);
        let end = rest[..limit].rfind(' ').filter(|&at| at > 0).unwrap_or(limit);
        pieces.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    let limit = (0..=rest.len().min(MAX_TEXT)).rev().find(|&i| rest.is_char_boundary(i)).unwrap_or(0);
    pieces.push(&rest[..limit]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(code: u16, enhanced: &'static str, text: &str, utf8: bool) -> String {
        let mut out = Vec::new();
        write(&MailReply::new(code, enhanced, text), utf8, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies() {
        let table = [
            (250, "2.1.0", "sender ok", false, "250 2.1.0 sender ok\r\n"),
            (354, "", "go ahead", false, "354 go ahead\r\n"),
            (550, "5.1.1", "no\r\n250 2.0.0 yes", false, "550 5.1.1 no  250 2.0.0 yes\r\n"),
            (550, "5.1.1", "", false, "550 5.1.1 \r\n"),
            (550, "5.1.1", "nobody j\u{f6}rg", false, "550 5.1.1 nobody j?rg\r\n"),
            (550, "5.1.1", "nobody j\u{f6}rg", true, "550 5.1.1 nobody j\u{f6}rg\r\n"),
        ];
        for (code, enhanced, text, utf8, want) in table {
            assert_eq!(written(code, enhanced, text, utf8), want);
        }
    }

    #[test]
    fn what_a_door_says_is_made_to_fit() {
        let internal = (451, "4.3.0");
        let table = [
            (250, "2.0.0", (250, "2.0.0")),
            (251, "2.1.5", (250, "2.1.5")),
            (221, "2.0.0", (250, "2.0.0")),
            (421, "4.3.2", (451, "4.3.2")),
            (450, "4.2.1", (450, "4.2.1")),
            (599, "", (599, "")),
            (550, "2.1.1", (550, "")),
            (550, "5.1.1 x\r\n250 ok", (550, "")),
            (550, "\u{e9}", (550, "")),
            (0, "", internal),
            (100, "1.0.0", internal),
            (354, "3.0.0", internal),
            (600, "6.0.0", internal),
            (u16::MAX, "", internal),
        ];
        for (code, enhanced, want) in table {
            let reply = checked(&MailReply::new(code, enhanced, "text"));
            assert_eq!((reply.code, reply.enhanced), want, "{code} {enhanced:?}");
        }
    }

    #[test]
    fn long_texts_become_lines_within_the_limit() {
        let text = "a long reason ".repeat(50);
        let long = written(550, "5.7.1", &text, false);
        assert!(long.lines().all(|l| l.len() <= 510 && l.starts_with("550")), "{long}");
        assert_eq!(long.lines().count(), 2);
        assert!(long.starts_with("550-5.7.1 a long") && long.contains("\r\n550 5.7.1 "));
        let words: Vec<&str> = long.lines().flat_map(|l| l[10..].split(' ')).collect();
        assert_eq!(words.join(" "), text.trim(), "no word is lost");

        let endless = written(550, "5.7.1", &"\u{20ac}".repeat(10_000), true);
        assert_eq!(endless.lines().count(), MAX_LINES);
        assert!(endless.lines().all(|l| l.len() <= 510));
    }
}
