// The tables hold results, and read better when their rows do too.
#![allow(clippy::unnecessary_wraps)]

use super::*;

fn mail_of(sender: &str, size: u64, eight_bit: bool, smtputf8: bool) -> Result<Command, CommandError> {
    Ok(Command::Mail(Mail { sender: sender.to_owned(), size, eight_bit, smtputf8 }))
}

fn rcpt_of(recipient: &str) -> Result<Command, CommandError> {
    Ok(Command::Rcpt(recipient.to_owned()))
}

fn check(table: &[(&str, Result<Command, CommandError>)]) {
    for (line, want) in table {
        assert_eq!(&parse(line.as_bytes()), want, "{line:?}");
    }
}

#[test]
fn verbs() {
    use CommandError::{Http, NotImplemented, Syntax, Unknown};
    const NONE: CommandError = Syntax("this command has no argument");
    check(&[
        ("EHLO mx.tiny.com", Ok(Command::Ehlo("mx.tiny.com".into()))),
        ("ehlo [192.0.2.1]", Ok(Command::Ehlo("[192.0.2.1]".into()))),
        ("EHLO   two_blanks  ", Ok(Command::Ehlo("two_blanks".into()))),
        ("HELO localhost", Ok(Command::Helo("localhost".into()))),
        ("LHLO localhost", Ok(Command::Lhlo("localhost".into()))),
        ("EHLO", Err(Syntax("EHLO domain"))),
        ("EHLO ", Err(Syntax("EHLO domain"))),
        ("HELO (x)", Err(Syntax("EHLO domain"))),
        ("EHLO a;b", Err(Syntax("EHLO domain"))),
        ("EHLO m\u{fc}ller.example", Err(Syntax("EHLO domain"))),
        ("EHLO xn--mller-kva.example", Ok(Command::Ehlo("xn--mller-kva.example".into()))),
        ("DATA", Ok(Command::Data)),
        ("data  ", Ok(Command::Data)),
        ("DATA now", Err(NONE)),
        ("RSET", Ok(Command::Rset)),
        ("RSET x", Err(NONE)),
        ("QUIT", Ok(Command::Quit)),
        ("QUIT x", Err(NONE)),
        ("NOOP", Ok(Command::Noop)),
        ("NOOP \"never closed", Ok(Command::Noop)),
        ("HELP", Ok(Command::Help)),
        ("HELP MAIL", Ok(Command::Help)),
        ("VRFY mary", Ok(Command::Vrfy)),
        ("VRFY", Err(Syntax("VRFY string"))),
        ("STARTTLS", Err(NotImplemented)),
        ("AUTH PLAIN AGEAYg==", Err(NotImplemented)),
        ("EXPN staff", Err(NotImplemented)),
        ("ETRN tiny.com", Err(NotImplemented)),
        ("BURL imap://x LAST", Err(NotImplemented)),
        ("", Err(Unknown)),
        (" ", Err(Unknown)),
        (" EHLO x", Err(Unknown)),
        ("EHLOX x", Err(Unknown)),
        ("MAILFROM:<a@b>", Err(Unknown)),
        ("Subject: hello", Err(Unknown)),
        ("XCLIENT NAME=x", Err(Unknown)),
        ("GET / HTTP/1.1", Err(Http)),
        ("post /x HTTP/1.1", Err(Http)),
    ]);
    for raw in [&b"NOOP \xff"[..], b"NOOP \0", b"NOOP a\x1bb", b"MAIL\tFROM:<a@b.c>", "NOOP \u{85}".as_bytes()] {
        assert_eq!(parse(raw), Err(CommandError::NotText), "{raw:?}");
    }
}

#[test]
fn mail_and_its_parameters() {
    use CommandError::{BadParameter, NeedsUtf8, Parameter, Sender, Syntax};
    const SYNTAX: CommandError = Syntax("MAIL FROM:<address> [parameters]");
    let parameter = |p: &str| Err(Parameter(p.to_owned()));
    check(&[
        ("MAIL FROM:<>", mail_of("", 0, false, false)),
        ("MAIL FROM:<mary@tiny.com>", mail_of("mary@tiny.com", 0, false, false)),
        ("mail from: <mary@tiny.com>", mail_of("mary@tiny.com", 0, false, false)),
        ("MAIL FROM:<mary@tiny.com> SIZE=1234", mail_of("mary@tiny.com", 1234, false, false)),
        ("MAIL FROM:<mary@tiny.com>  size=0  body=8bitmime", mail_of("mary@tiny.com", 0, true, false)),
        ("MAIL FROM:<mary@tiny.com> BODY=7BIT", mail_of("mary@tiny.com", 0, false, false)),
        ("MAIL FROM:<j\u{f6}@t.com> SMTPUTF8 BODY=8BITMIME SIZE=9", mail_of("j\u{f6}@t.com", 9, true, true)),
        ("MAIL FROM:<\"a b\"@t.com> SMTPUTF8", mail_of("\"a b\"@t.com", 0, false, true)),
        ("MAIL FROM:<\"> SIZE=1\"@t.com>", mail_of("\"> SIZE=1\"@t.com", 0, false, false)),
        ("MAIL FROM:<j\u{f6}@t.com>", Err(NeedsUtf8)),
        // What cannot be counted is too large, not unreadable, and never wraps around to something small.
        ("MAIL FROM:<> SIZE=99999999999999999999", mail_of("", u64::MAX, false, false)),
        ("MAIL FROM:<> SIZE=18446744073709551616", mail_of("", u64::MAX, false, false)),
        ("MAIL FROM:<> SIZE=100000000000000000000", Err(BadParameter("SIZE"))),
        ("MAIL FROM:<> SIZE=", Err(BadParameter("SIZE"))),
        ("MAIL FROM:<> SIZE", Err(BadParameter("SIZE"))),
        ("MAIL FROM:<> SIZE=-1", Err(BadParameter("SIZE"))),
        ("MAIL FROM:<> SIZE=1K", Err(BadParameter("SIZE"))),
        ("MAIL FROM:<> SIZE=1 SIZE=2", Err(BadParameter("SIZE"))),
        ("MAIL FROM:<> BODY=8BITMIME body=7BIT", Err(BadParameter("BODY"))),
        ("MAIL FROM:<> BODY=9BIT", Err(BadParameter("BODY"))),
        ("MAIL FROM:<> BODY", Err(BadParameter("BODY"))),
        ("MAIL FROM:<> BODY=BINARYMIME", parameter("BODY=BINARYMIME")),
        ("MAIL FROM:<> SMTPUTF8=1", Err(BadParameter("SMTPUTF8"))),
        // Known to the grammar crate and not offered by us: a client that counts on them must hear so.
        ("MAIL FROM:<> RET=HDRS", parameter("RET")),
        ("MAIL FROM:<> ENVID=x", parameter("ENVID")),
        ("MAIL FROM:<> AUTH=<>", parameter("AUTH")),
        ("MAIL FROM:<> REQUIRETLS", parameter("REQUIRETLS")),
        ("MAIL FROM:<> HOLDFOR=100", parameter("HOLDFOR")),
        ("MAIL FROM:<> X=y", parameter("X")),
        ("MAIL FROM:<> =", parameter("")),
        ("MAIL FROM:<>SIZE=1", Err(SYNTAX)),
        ("MAIL", Err(SYNTAX)),
        ("MAIL FROM", Err(SYNTAX)),
        ("MAIL TO:<mary@tiny.com>", Err(SYNTAX)),
        ("MAIL FROM:", Err(Sender(PathError::Brackets))),
        ("MAIL FROM:mary@tiny.com", Err(Sender(PathError::Brackets))),
        ("MAIL FROM:<mary>", Err(Sender(PathError::NoDomain))),
        ("MAIL FROM:<postmaster>", Err(Sender(PathError::NoDomain))),
    ]);
}

#[test]
fn rcpt_and_bdat() {
    use CommandError::{Chunk, NoRecipient, Parameter, Recipient, Syntax};
    const SYNTAX: CommandError = Syntax("RCPT TO:<address>");
    let chunk = |size, last| Ok(Command::Bdat { size, last });
    check(&[
        ("RCPT TO:<mary@tiny.com>", rcpt_of("mary@tiny.com")),
        ("rcpt to: <Mary@tiny.com> ", rcpt_of("Mary@tiny.com")),
        ("RCPT TO:<\"mary weaver\"@tiny.com>", rcpt_of("\"mary weaver\"@tiny.com")),
        ("RCPT TO:<mary@[IPv6:::1]>", rcpt_of("mary@[IPv6:::1]")),
        ("RCPT TO:<@relay.example:mary@tiny.com>", rcpt_of("mary@tiny.com")),
        ("RCPT TO:<Postmaster>", rcpt_of("Postmaster")),
        ("RCPT TO:<j\u{f6}rg@tiny.com>", rcpt_of("j\u{f6}rg@tiny.com")),
        ("RCPT TO:<>", Err(NoRecipient)),
        ("RCPT TO:<mary@tiny.com> NOTIFY=NEVER", Err(Parameter("NOTIFY".into()))),
        ("RCPT TO:<mary@tiny.com> X", Err(Parameter("X".into()))),
        ("RCPT TO:<mary@tiny.com>,<bob@tiny.com>", Err(SYNTAX)),
        ("RCPT TO:<mary@tiny.com", Err(Recipient(PathError::Brackets))),
        ("RCPT TO:<mary weaver@tiny.com>", Err(Recipient(PathError::Local))),
        ("RCPT FROM:<mary@tiny.com>", Err(SYNTAX)),
        ("RCPT", Err(SYNTAX)),
        ("BDAT 0", chunk(0, false)),
        ("BDAT 86", chunk(86, false)),
        ("bdat 86 last", chunk(86, true)),
        ("BDAT 86  LAST ", chunk(86, true)),
        ("BDAT 999999999999999", chunk(999_999_999_999_999, false)),
        ("BDAT 9999999999999999", Err(Chunk)),
        // On this one the grammar crate wraps around, and what follows would be read as commands.
        ("BDAT 184467440737095516150000000000007", Err(Chunk)),
        ("BDAT", Err(Chunk)),
        ("BDAT LAST", Err(Chunk)),
        ("BDAT -1", Err(Chunk)),
        ("BDAT +1", Err(Chunk)),
        ("BDAT 1x", Err(Chunk)),
        ("BDAT 1 LASTLY", Err(Chunk)),
        ("BDAT 1 FIRST", Err(Chunk)),
        ("BDAT 1 LAST x", Err(Chunk)),
        ("BDAT 1 2", Err(Chunk)),
    ]);
}

#[test]
fn refusals_carry_the_code_of_their_kind() {
    let table = [
        ("\u{7}", 500, "5.5.2", false),
        ("FOO", 500, "5.5.1", false),
        ("GET / HTTP/1.1", 500, "5.5.1", true),
        ("EXPN x", 502, "5.5.1", false),
        ("EHLO", 501, "5.5.4", false),
        ("BDAT x", 501, "5.5.4", true),
        ("MAIL FROM:<mary>", 501, "5.1.7", false),
        ("RCPT TO:<mary>", 501, "5.1.3", false),
        ("RCPT TO:<>", 501, "5.1.3", false),
        ("MAIL FROM:<\u{e9}@a.b>", 553, "5.6.7", false),
        ("MAIL FROM:<> SIZE=x", 501, "5.5.4", false),
        ("MAIL FROM:<> RET=FULL", 555, "5.5.4", false),
    ];
    for (line, code, enhanced, fatal) in table {
        let error = parse(line.as_bytes()).unwrap_err();
        let reply = error.reply();
        assert_eq!((reply.code, reply.enhanced, error.fatal()), (code, enhanced, fatal), "{line:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_line_is_read_without_panic(
        line in "(?i)(MAIL FROM:|RCPT TO:|BDAT |EHLO |NOOP |VRFY |)[<>@\"\\\\ .:,=a-zA-Z0-9\\[\\]\u{e9}\u{2003}+-]{0,40}",
    ) {
        if let Ok(Command::Rcpt(path) | Command::Mail(Mail { sender: path, .. })) = parse(line.as_bytes()) {
            proptest::prop_assert!(!path.chars().any(char::is_control));
        }
    }
}
