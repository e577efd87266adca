//! The demo: the story of the draft, live, on loopback, by the code that runs in production.
//!
//! Tom (jumbo.com, which has a calendar server) invites Mary (tiny.com, who has only e-mail); Mary accepts in her mail
//! program; then she invites three people, of whom one is there, one has moved and one's server is dead. The relay is
//! real, and so are DNS, the queue on disk and every socket; the other organizations are played by the servers that the
//! tests use. Everything shown is checked; the first thing that is not as it should be ends the demo with exit code 1.

#[path = "../../tests/support/mod.rs"]
mod support;

mod show;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cip_relay::queue::entry::{Entry, State};
use mail_parser::{MessageParser, MimeHeaders};

use show::{check, narrate, quote, step};
use support::dns::Dns;
use support::object;
use support::peer::{Behaviour, CipPeer};
use support::relay::Settings;
use support::running::Running;
use support::sink::{Mail, Sink};

/// Well above what the story takes.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the demo cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    // A failing check panics in its task; its words are on standard error by then.
    let story = runtime.block_on(async { tokio::spawn(tokio::time::timeout(LIMIT, Box::pin(story()))).await });
    match story {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) => {
            eprintln!("\nThe demo FAILED: it was not over after {LIMIT:?}.");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("\nThe demo FAILED: what is written above did not hold.");
            ExitCode::FAILURE
        }
    }
}

/// Everybody in the story.
struct Cast {
    jumbo: CipPeer,
    newplace: CipPeer,
    gone: CipPeer,
    mailboxes: Sink,
    relay: Running,
    config: PathBuf,
    // These two hold their ports for as long as they live.
    _preferred: CipPeer,
    _dns: Dns,
}

async fn story() {
    let cast = begin().await;
    let token = tom_invites_mary(&cast).await;
    mary_accepts(&cast, &token).await;
    let lunch = mary_invites_three(&cast).await;
    the_dead_server(&cast, &lunch).await;
    tom_answers(&cast).await;
    step("The end");
    cast.relay.relay.shutdown().await;
    narrate(&format!("The queue is empty, the relay has stopped in order, and {} checks held.", show::checks()));
}

async fn begin() -> Cast {
    step("The stage");
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept().redirect_user("ann@jumbo.com", "ann@newplace.org")).await;
    let newplace = CipPeer::start("newplace.org", Behaviour::accept()).await;
    let preferred = CipPeer::down("jumbo.com", Behaviour::accept());
    let gone = CipPeer::down("gone.example", Behaviour::accept());
    let zone = format!(
        "$ORIGIN jumbo.com.\n_cip._tcp 0 IN SRV 10 0 {} cal\n_cip._tcp 0 IN SRV 20 0 {} cal\ncal 0 IN A 127.0.0.1\n\
         $ORIGIN newplace.org.\n_cip._tcp 0 IN SRV 0 0 {} cal\ncal 0 IN A 127.0.0.1\n\
         $ORIGIN gone.example.\n_cip._tcp 0 IN SRV 0 0 {} cal\ncal 0 IN A 127.0.0.1\n",
        preferred.address().port(),
        jumbo.address().port(),
        newplace.address().port(),
        gone.address().port(),
    );
    let dns = Dns::start(&zone).await;
    let mailboxes = Sink::down();
    let settings = Settings::new("tiny.com")
        .dns(dns.address())
        .smarthost(mailboxes.address())
        // Minutes and hours in production; here somebody is watching.
        .set("delivery.retry.initial", "500ms")
        .set("delivery.retry.multiplier", 2.0)
        .set("delivery.retry.max", "4s")
        .set("delivery.retry.jitter", 0.0)
        .set("delivery.connect-timeout", "1s")
        .set("delivery.cip-patience", "3s");
    let relay = Running::start(settings).await;
    let config = relay.settings.write();
    narrate("On loopback, each with sockets of its own:");
    quote("dns       ", &format!("{} (UDP and TCP), with these SRV records:", dns.address()));
    for line in zone.lines().filter(|l| l.contains("SRV")) {
        quote("          ", line);
    }
    quote("jumbo.com ", &format!("Tom's calendar server, {}; nobody listens at its preferred SRV target", jumbo.address()));
    quote("newplace  ", &format!("another organization's calendar server, {}", newplace.address()));
    quote("tiny.com  ", &format!("the relay, CIP on {}, mail on {}", relay.cip_address(), relay.smtp_address()));
    quote("mail      ", &format!("tiny.com's mail server, {}, down for now", mailboxes.address()));
    Cast { jumbo, newplace, gone, mailboxes, relay, config, _preferred: preferred, _dns: dns }
}

const PARTY: &str = "\
UID: party-1@jumbo.com
SEQUENCE: 1
DTSTART: 20301231T200000Z
DTEND: 20310101T020000Z
SUMMARY: New year's eve party
DESCRIPTION: Bring something to eat.
ATTENDEE; ROLE=OWNER: Tom Jones <tom@jumbo.com>
ATTENDEE; STATUS=NEEDS ACTION: Mary Weaver <mary@tiny.com>
";

/// CIP → queue → mail. Gives the reply address.
async fn tom_invites_mary(cast: &Cast) -> String {
    step("Tom invites Mary: CIP in, the queue, mail out");
    let mut tom = cast.relay.cip().await;
    quote("S:", &tom.greeting);
    quote("C:", "SENDEVENT +");
    for line in PARTY.lines() {
        quote("C:", line);
    }
    quote("C:", ".");
    let answer = tom.object("SENDEVENT", PARTY).await;
    for line in &answer.infos {
        quote("S:", line);
    }
    quote("S:", &answer.completion);
    check("the relay has it on disk and answers for Mary", answer.infos == ["* TENTATIVE mary@tiny.com"] && answer.code() == "OK 000");

    cast.relay.entry("the invitation to wait for the mail server", |e| e.state == State::Deferred).await;
    narrate("tiny.com's mail server is down, so the invitation waits:");
    cast.queue(&["list"]).await;
    check("one entry waits, for Mary, by mail", waiting(cast) == ["mail:tiny.com mary@tiny.com"]);

    narrate("The mail server comes back.");
    cast.mailboxes.up();
    let mail = cast.mailboxes.wait_for_recipient("mary@tiny.com", 1).await.remove(0);
    let (method, calendar) = show_mail(&mail);
    check("Mary has an invitation that her mail program understands", method == "REQUEST");
    let uid = object::value(calendar.as_bytes(), "UID").unwrap_or_default();
    check("it is Tom's event", uid == "party-1@jumbo.com" && calendar.contains("SUMMARY:New year's eve party"));
    let organizer = object::address(&object::value(calendar.as_bytes(), "ORGANIZER").unwrap_or_default());
    check("her answer will come back through the relay", organizer.ends_with("@cip.tiny.com"));
    cast.relay.idle().await;
    narrate("Nothing waits now:");
    cast.queue(&["list"]).await;
    check("the queue is empty again, and Mary got one copy", cast.mailboxes.mails().len() == 1);
    organizer
}

/// Mail → queue → RSVP, to the server found by SRV.
async fn mary_accepts(cast: &Cast, token: &str) {
    step("Mary accepts in her mail program: mail in, the queue, RSVP out");
    let reply = crlf(&format!(
        "From: Mary Weaver <mary@tiny.com>\nTo: {token}\nSubject: Accepted: New year's eve party\n\
         Date: Mon, 23 Nov 2026 09:00:00 +0000\nMessage-ID: <yes@tiny.com>\nMIME-Version: 1.0\n\
         Content-Type: text/calendar; charset=UTF-8; method=REPLY\n\n\
         BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Mary's mail program//EN\nMETHOD:REPLY\nBEGIN:VEVENT\n\
         UID:party-1@jumbo.com\nSEQUENCE:0\nDTSTAMP:20261123T090000Z\nORGANIZER:mailto:{token}\n\
         ATTENDEE;CN=Mary Weaver;PARTSTAT=ACCEPTED:mailto:mary@tiny.com\nEND:VEVENT\nEND:VCALENDAR\n"
    ));
    narrate(&format!("Her answer goes to the reply address {token}, which tiny.com's mail server hands to the relay:"));
    let mut mail = cast.relay.inbound().await;
    let taken = mail.mail("mary@tiny.com", &[token], &reply).await;
    quote("S:", &format!("{} {}", taken.code, taken.lines.join(" ")));
    check("the relay has it on disk", taken.code == 250);
    let rsvp = cast.jumbo.wait_for("RSVP", 1).await.remove(0);
    narrate("jumbo.com's preferred SRV target refuses connections; the second one gets:");
    quote("C:", &rsvp.line);
    for line in rsvp.text().lines() {
        quote("C:", line);
    }
    let person = object::lines(&rsvp.object).into_iter().find(|l| l.starts_with("ATTENDEE") && l.contains("mary@tiny.com"));
    let status = format!("{person:?} {:?}", rsvp.value("STATUS"));
    check("it answers Tom's event, for Mary", rsvp.value("UID").as_deref() == Some("party-1@jumbo.com") && person.is_some());
    check("it says yes", status.contains("CONFIRMED") || status.contains("ACCEPTED"));
    cast.relay.idle().await;
    check("it came once", cast.jumbo.of("RSVP").len() == 1);
}

/// Gives the message that Mary sent.
async fn mary_invites_three(cast: &Cast) -> Vec<u8> {
    step("Mary invites Tom, Ann and Joe from her mail program: one message, three servers");
    let message = crlf(
        "From: Mary Weaver <mary@tiny.com>\nTo: tom@jumbo.com, ann@jumbo.com, joe@gone.example\nSubject: Lunch\n\
         Date: Mon, 23 Nov 2026 09:10:00 +0000\nMessage-ID: <lunch@tiny.com>\nMIME-Version: 1.0\n\
         Content-Type: text/calendar; charset=UTF-8; method=REQUEST\n\n\
         BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Mary's mail program//EN\nMETHOD:REQUEST\nBEGIN:VEVENT\n\
         UID:040000008200E00074C5B7101A82E008\nSEQUENCE:0\nDTSTAMP:20261123T091000Z\nDTSTART:20310110T120000Z\n\
         DTEND:20310110T130000Z\nSUMMARY:Lunch\nORGANIZER;CN=Mary Weaver:mailto:mary@tiny.com\n\
         ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:tom@jumbo.com\n\
         ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:ann@jumbo.com\n\
         ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:joe@gone.example\nEND:VEVENT\nEND:VCALENDAR\n",
    );
    let mut mail = cast.relay.smtp().await;
    let taken = mail.mail("mary@tiny.com", &["tom@jumbo.com", "ann@jumbo.com", "joe@gone.example"], &message).await;
    quote("S:", &format!("{} {}", taken.code, taken.lines.join(" ")));
    check("the relay has it on disk, for all three", taken.code == 250);

    let event = cast.jumbo.wait_for("SENDEVENT", 1).await.remove(0);
    narrate("jumbo.com gets one SENDEVENT for its two users:");
    quote("C:", &event.line);
    for line in event.text().lines() {
        quote("C:", line);
    }
    let mut named = event.recipients("jumbo.com");
    named.sort();
    check("it names Tom and Ann, and nobody else", named == ["ann@jumbo.com", "tom@jumbo.com"]);
    quote("S:", "* TENTATIVE tom@jumbo.com");
    quote("S:", "* REDIRECT USER ann@jumbo.com IS NOW ann@newplace.org");
    quote("S:", "OK 003 Some were not served.");
    let moved = cast.newplace.wait_for("SENDEVENT", 1).await.remove(0);
    narrate("Ann has moved; her new server gets hers:");
    moved.text().lines().filter(|l| l.contains("ann@") || l.starts_with("UID")).for_each(|line| quote("C:", line));
    check("it names Ann at her new address only", moved.recipients("newplace.org") == ["ann@newplace.org"]);
    check("it is the same event", moved.value("UID") == event.value("UID"));
    message
}

/// A dead server: backoff, then e-mail.
async fn the_dead_server(cast: &Cast, message: &[u8]) {
    step("Joe's server is dead: backoff, then e-mail");
    let joes = cast.relay.entry("a second attempt at gone.example", |e| e.attempts >= 2).await;
    narrate("DNS promises a server at gone.example, so the relay keeps trying, with growing intervals:");
    cast.queue(&["list"]).await;
    cast.queue(&["show", &joes.id.to_string()]).await;
    check("only Joe's copy waits", waiting(cast) == ["cip:gone.example joe@gone.example"]);
    narrate("After cip-patience (30 minutes in production, 3 seconds here) it goes by e-mail:");
    let mail = cast.mailboxes.wait_for_recipient("joe@gone.example", 1).await.remove(0);
    let (method, _) = show_mail(&mail);
    check("Joe has the invitation", method == "REQUEST");
    check("it is what Mary sent, octet for octet, with fields put in front", mail.data.ends_with(message));
    check("nothing ever reached the dead server", cast.gone.connections() == 0);
    cast.relay.idle().await;
}

/// RSVP → mail, under the UID of Mary's own program.
async fn tom_answers(cast: &Cast) {
    step("Tom answers Mary: RSVP in, mail out");
    let uid = cast.jumbo.of("SENDEVENT")[0].value("UID").unwrap_or_default();
    let rsvp = format!("UID: {uid}\nSEQUENCE: 1\nATTENDEE: Tom Jones <tom@jumbo.com>\nSTATUS: DECLINED\n");
    let mut tom = cast.relay.cip().await;
    quote("C:", "RSVP +");
    for line in rsvp.lines() {
        quote("C:", line);
    }
    quote("C:", ".");
    let answer = tom.object("RSVP", &rsvp).await;
    for line in &answer.infos {
        quote("S:", line);
    }
    quote("S:", &answer.completion);
    check("the relay has it on disk", answer.code() == "OK 000");
    let mail = cast.mailboxes.wait_for_recipient("mary@tiny.com", 2).await.remove(1);
    let (method, calendar) = show_mail(&mail);
    check("Mary's mail program gets a REPLY", method == "REPLY");
    check("with the UID that it gave", object::value(calendar.as_bytes(), "UID").as_deref() == Some("040000008200E00074C5B7101A82E008"));
    check(
        "that says no",
        object::lines(calendar.as_bytes()).iter().any(|l| l.contains("PARTSTAT=DECLINED") && l.contains("tom@jumbo.com")),
    );
    cast.relay.idle().await;
    narrate("Nothing waits:");
    cast.queue(&["list"]).await;
    check("nobody got anything twice", cast.mailboxes.mails().len() == 3 && cast.jumbo.of("SENDEVENT").len() == 1);
}

impl Cast {
    /// What `cip-relay queue …` prints: the program's own code, over the control socket.
    async fn queue(&self, what: &[&str]) {
        let shown = format!("cip-relay queue {}", what.join(" "));
        show::command(&shown);
        let mut arguments: Vec<OsString> = vec!["cip-relay".into(), "--config".into(), self.config.clone().into(), "queue".into()];
        arguments.extend(what.iter().map(OsString::from));
        let done = tokio::task::spawn_blocking(move || cip_relay::cli::run(arguments)).await;
        check(&format!("`{shown}` works while the relay runs"), done.is_ok_and(|code| code == ExitCode::SUCCESS));
    }
}

/// What waits in the queue: each entry's destination and recipients.
fn waiting(cast: &Cast) -> Vec<String> {
    let people = |e: &Entry| e.recipients.iter().map(|r| r.user.to_string()).collect::<Vec<_>>().join(" ");
    cast.relay.entries().iter().map(|e| format!("{} {}", e.destination.key(), people(e))).collect()
}

/// Prints the fields that matter and the calendar part; gives its METHOD and the part.
fn show_mail(mail: &Mail) -> (String, String) {
    quote("envelope:", &format!("<{}> to <{}>", mail.sender, mail.recipients.join(">, <")));
    for field in ["From", "Reply-To", "Subject"] {
        if let Some(value) = mail.header(field) {
            quote(&format!("{field}:"), &value);
        }
    }
    let message = MessageParser::default().parse(&mail.data);
    let part = message.iter().flat_map(|m| &m.parts).find(|p| p.is_content_type("text", "calendar"));
    let calendar = part.and_then(|p| p.text_contents()).unwrap_or_default().to_owned();
    let text = message.as_ref().and_then(|m| m.body_text(0)).unwrap_or_default();
    if mail.header("Content-Type").is_some_and(|t| t.starts_with("multipart/")) {
        for line in text.trim_end().lines() {
            quote("  >", line);
        }
    }
    let unfolded = object::lines(calendar.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes());
    for line in &unfolded {
        quote("  |", line);
    }
    let method = part.and_then(MimeHeaders::content_type).and_then(|t| t.attribute("method")).unwrap_or_default().to_owned();
    (method, calendar)
}

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}
