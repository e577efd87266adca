//! `send`: SENDEVENT from the command line.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::peer::{Client, PeerArgs, read_file};
use crate::calendar::{Object, Patch, crlf};
use crate::courier::CipVerb;
use crate::ident::{ServerId, UserId};

/// Send an event to CIP servers with SENDEVENT
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay send -v --to 127.0.0.1:6047 event.vcs\n  cip-relay send invitation.ics\n\nWith --to the object goes there as it is; without, to the server of each attendee, with X-CIP-RCPT lines that\nname those who live there. Exit codes: 0 OK, 77 refused, 75 try again, 69 unavailable, 65 bad input."
)]
pub struct Args {
    /// The calendar object: bare, vCalendar or iCalendar; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    peer: PeerArgs,
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let octets = crlf(read_file(&args.file, config.cip.max_event_size.0)?);
    let mut out = Output::stdout();
    let mut client = Client::new(config, &args.peer, out.style)?;
    if let Some(server) = client.to().cloned() {
        client.deliver(&server, CipVerb::SendEvent, &octets, &mut out).await?;
    } else {
        let bad = |error: crate::calendar::ObjectError| Failure::new(Exit::Data, format!("{}: {error}", args.file.display()));
        let object = Object::parse(octets).map_err(bad)?;
        object.require_sendevent().map_err(bad)?;
        for (server, users) in by_server(&object) {
            let patch = Patch { drop_recipients: true, add_recipients: users, ..Patch::default() };
            client.deliver(&server, CipVerb::SendEvent, &object.patched(&patch), &mut out).await?;
        }
    }
    out.flush()?;
    client.outcome()
}

/// Who is to be served, by server.
fn by_server(object: &Object) -> BTreeMap<ServerId, Vec<UserId>> {
    let event = object.event();
    let mut servers: BTreeMap<ServerId, Vec<UserId>> = BTreeMap::new();
    let named = event.recipients.iter();
    let all: Vec<&UserId> =
        if event.recipients.is_empty() { event.attendees.iter().map(|p| &p.address).collect() } else { named.collect() };
    for user in all {
        servers.entry(user.server().clone()).or_default().push(user.clone());
    }
    servers
}
