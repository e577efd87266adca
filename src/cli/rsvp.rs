//! `rsvp`: an answer from the command line.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::peer::{Client, PeerArgs, read_file};
use crate::calendar::compose::{RsvpJob, rsvp};
use crate::calendar::event::{PartStat, Person};
use crate::calendar::{Object, crlf};
use crate::clock::{Clock, SystemClock};
use crate::courier::CipVerb;
use crate::ident::{EventId, ServerId, UserId};

/// Answer an invitation with RSVP
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay rsvp --event meeting-7@jumbo.com --attendee mary@tiny.com --status accepted\n  cip-relay rsvp -v --to 127.0.0.1:6047 answer.vcs\n\nWithout --to the answer goes to the server of the owner, else to that of the event-id. Exit codes: 0 OK,\n77 refused, 75 try again, 69 unavailable, 65 bad input."
)]
pub struct Args {
    /// An object with the answer; `-` for standard input
    #[arg(required_unless_present = "event", conflicts_with_all = ["event", "attendee", "status", "owner", "version", "comment"])]
    file: Option<PathBuf>,
    /// The event-id that is answered
    #[arg(long, value_name = "EVENT-ID", requires_all = ["attendee", "status"])]
    event: Option<EventIdArg>,
    /// Who answers
    #[arg(long, value_name = "USER")]
    attendee: Option<UserId>,
    #[arg(long, value_enum)]
    status: Option<StatusArg>,
    /// The owner of the event, to whose server the answer goes
    #[arg(long, value_name = "USER")]
    owner: Option<UserId>,
    /// The version (SEQUENCE) that is answered
    #[arg(long)]
    version: Option<u32>,
    #[arg(long)]
    comment: Option<String>,
    #[command(flatten)]
    peer: PeerArgs,
}

#[derive(Clone, Debug)]
struct EventIdArg(EventId);

impl std::str::FromStr for EventIdArg {
    type Err = crate::ident::IdentError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EventId::parse(text).map(Self)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusArg {
    Accepted,
    Declined,
    Tentative,
    Delegated,
    Completed,
    NeedsAction,
}

impl From<StatusArg> for PartStat {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Accepted => Self::Accepted,
            StatusArg::Declined => Self::Declined,
            StatusArg::Tentative => Self::Tentative,
            StatusArg::Delegated => Self::Delegated,
            StatusArg::Completed => Self::Completed,
            StatusArg::NeedsAction => Self::NeedsAction,
        }
    }
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let octets = match &args.file {
        Some(file) => crlf(read_file(file, config.cip.max_event_size.0)?),
        None => compose(&args)?,
    };
    let mut out = Output::stdout();
    let mut client = Client::new(config, &args.peer, out.style)?;
    let server = match client.to() {
        Some(server) => server.clone(),
        None => destination(&octets)?,
    };
    client.deliver(&server, CipVerb::Rsvp, &octets, &mut out).await?;
    out.flush()?;
    client.outcome()
}

fn compose(args: &Args) -> Result<Vec<u8>, Failure> {
    let (Some(event), Some(attendee), Some(status)) = (&args.event, &args.attendee, args.status) else {
        return Err(Failure::new(Exit::Usage, "give a file, or --event, --attendee and --status"));
    };
    let attendee = Person { status: Some(status.into()), ..Person::new(attendee.clone()) };
    let owner = args.owner.clone().map(Person::new);
    Ok(rsvp(&RsvpJob {
        event_id: &event.0,
        version: args.version,
        response_sequence: 0,
        attendee: &attendee,
        owner: owner.as_ref(),
        comment: args.comment.as_deref(),
        now: SystemClock.now(),
        recurrence_id: None,
        proposal: None,
    }))
}

/// The owner's server, else the event-id's (profile 7).
fn destination(octets: &[u8]) -> Result<ServerId, Failure> {
    let object = Object::parse(octets.to_vec()).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    object.require_rsvp().map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    let event = object.event();
    let owner = event.owner.as_ref().map(|owner| owner.address.server().clone());
    owner.or_else(|| event.uid.server()).ok_or_else(|| {
        Failure::new(
            Exit::Data,
            format!("neither an owner nor the event-id {} says which server it belongs to; name one with --to", event.uid),
        )
    })
}
