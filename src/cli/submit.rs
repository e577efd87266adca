//! `submit`: one mail message on standard input into the queue, as sendmail takes it.

use std::io::{self, Write};
use std::path::Path;

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::clean;
use super::peer::read_file;
use super::session::connect;
use crate::admin::client::CallError;
use crate::admin::protocol::{Command, Submit, SubmitReply};
use crate::mime;

/// Hand one mail message on standard input to the running relay
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay submit -f tom@jumbo.com mary@tiny.com < invitation.eml\n\nExit codes: 0 taken for all recipients, 67 a recipient is unknown, 77 refused, 75 try again (also when the relay\nis not running), 65 bad message."
)]
pub struct Args {
    /// The envelope sender, to whom reports go; `<>` or empty for none [default: the message's From address]
    #[arg(short = 'f', value_name = "SENDER")]
    sender: Option<String>,
    /// Taken and ignored, as are -oi and other -o options: a line with a single dot never ends the message
    #[arg(short = 'i', hide = true)]
    ignore_dots: bool,
    #[arg(short = 'o', hide = true, value_name = "OPTION")]
    options: Vec<String>,
    #[arg(required = true, value_name = "RCPT")]
    recipients: Vec<String>,
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let limit = config.cip.max_event_size.0;
    let message = mail_crlf(&read_file(Path::new("-"), limit)?);
    if message.is_empty() {
        return Err(Failure::new(Exit::Data, "standard input is empty; give a whole mail message"));
    }
    let bare = |text: &str| text.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
    let sender = args.sender.as_deref().map_or_else(|| from(&message), bare);
    let mail = Submit { sender, recipients: args.recipients.iter().map(|r| bare(r)).collect(), message };
    let Some(mut client) = connect(&config).await? else {
        return Err(Failure::new(Exit::TempFail, "cip-relay is not running; the message was not taken, try again later"));
    };
    let mut worst = None;
    let mut on_item = |value| {
        let reply: SubmitReply = serde_json::from_value(value)?;
        if reply.code >= 400 {
            worst = worst.or(Some(exit_of(&reply)));
            writeln!(
                io::stderr(),
                "cip-relay: {}",
                clean(&format!("{}: {} {} {}", reply.recipient, reply.code, reply.enhanced, reply.text))
            )?;
        }
        Ok(())
    };
    client.call(Command::Submit(mail), &mut on_item).await.map_err(|error| match error {
        CallError::Refused(refusal) => Failure::from(refusal),
        CallError::Sink(error) => error.into(),
        lost @ CallError::Lost(_) => Failure::new(Exit::TempFail, lost.to_string()),
    })?;
    worst.map_or(Ok(()), |exit| Err(Failure::silent(exit)))
}

/// The address in From; the null sender when there is none that can be read.
fn from(message: &[u8]) -> String {
    let from = mime::parse(message).ok().and_then(|mail| mail.from.first().map(|m| m.address.to_string()));
    from.unwrap_or_default()
}

/// The first refusal decides: a mail system gives one code for the message.
fn exit_of(reply: &SubmitReply) -> Exit {
    match (reply.code, reply.enhanced.as_str()) {
        (400..=499, _) => Exit::TempFail,
        (_, "5.1.1" | "5.1.2" | "5.1.3" | "5.1.6") => Exit::NoUser,
        (_, class) if class.starts_with("5.6") || class.starts_with("5.3.4") => Exit::Data,
        _ => Exit::NoPerm,
    }
}

/// Lines end in LF on standard input and in CRLF in mail. A CR that ends no line stays and is judged by whoever reads
/// the message.
fn mail_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 32);
    let mut last = 0;
    for &octet in octets {
        if octet == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(octet);
        last = octet;
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_once() {
        for (given, expected) in
            [("", ""), ("a", "a\r\n"), ("a\nb\r\n", "a\r\nb\r\n"), ("\n.\n\n", "\r\n.\r\n\r\n"), ("a\rb\n", "a\rb\r\n")]
        {
            assert_eq!(mail_crlf(given.as_bytes()), expected.as_bytes(), "{given:?}");
        }
    }

    #[test]
    fn the_reply_decides_the_code() {
        let reply =
            |code, enhanced: &str| SubmitReply { recipient: String::new(), code, enhanced: enhanced.to_owned(), text: String::new() };
        for (code, enhanced, exit) in [
            (550, "5.1.1", Exit::NoUser),
            (451, "4.3.0", Exit::TempFail),
            (554, "5.6.0", Exit::Data),
            (552, "5.3.4", Exit::Data),
            (550, "5.7.1", Exit::NoPerm),
        ] {
            assert_eq!(exit_of(&reply(code, enhanced)), exit);
        }
    }
}
