//! `freebusy`: ask when people are free.

use std::collections::BTreeMap;
use std::io::Write;

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::peer::{Client, PeerArgs};
use crate::calendar::freebusy_request;
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};

/// Ask CIP servers for free/busy times with FREEBUSY
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay freebusy mary@tiny.com tom@jumbo.com --from 2026-12-01 --until 2026-12-08\n\nThe answer is an iCalendar object on standard output; who was not found is said on standard error. Exit codes:\n0 OK, 77 refused, 75 try again, 69 unavailable, 65 bad input."
)]
pub struct Args {
    #[arg(required = true, value_name = "USER")]
    users: Vec<UserId>,
    /// A date, or a time with its offset such as 2026-12-01T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Timestamp,
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Timestamp,
    #[command(flatten)]
    peer: PeerArgs,
}

/// RFC 3339, a date (midnight in UTC), or iCalendar's basic form in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let date = |text: &str| text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
    let basic = |text: &str| chrono::NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok();
    Timestamp::parse_rfc3339(text)
        .or_else(|| date(text).or_else(|| basic(text)).map(|at| at.and_utc().into()))
        .ok_or_else(|| "write a date such as 2026-12-01, or a time such as 2026-12-01T09:00:00Z".to_owned())
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let mut out = Output::stdout();
    let mut client = Client::new(config, &args.peer, out.style)?;
    let mut servers: BTreeMap<ServerId, Vec<&UserId>> = BTreeMap::new();
    for user in &args.users {
        let server = client.to().unwrap_or_else(|| user.server());
        servers.entry(server.clone()).or_default().push(user);
    }
    for (server, users) in servers {
        let request = request(&users, args.from, args.until);
        freebusy_request(&request).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
        client.free_busy(&server, &request, &mut out).await?;
    }
    out.flush()?;
    client.outcome()
}

/// The bare request of the draft (2.4).
fn request(users: &[&UserId], from: Timestamp, until: Timestamp) -> Vec<u8> {
    let basic = |at: Timestamp| at.datetime().map_or_else(String::new, |t| t.format("%Y%m%dT%H%M%SZ").to_string());
    let people = users.iter().map(|user| format!("ATTENDEE:{user}\r\n")).collect::<Vec<_>>().concat();
    format!("{people}DTSTART:{}\r\nDTEND:{}\r\n", basic(from), basic(until)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_forms() {
        let at = Timestamp::parse_rfc3339("2026-12-01T00:00:00Z");
        for text in ["2026-12-01", "2026-12-01T00:00:00Z", "2026-12-01T01:00:00+01:00", "20261201T000000Z"] {
            assert_eq!(time(text).ok(), at, "{text}");
        }
        for text in ["", "tomorrow", "2026-13-01", "2026-12-01T09:00:00"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_reads_as_the_relay_reads_it() {
        let users = ["mary@tiny.com", "tom@jumbo.com"].map(|u| UserId::parse(u).unwrap());
        let (from, until) = (time("2026-12-01").unwrap(), time("2026-12-08").unwrap());
        let read = freebusy_request(&request(&users.iter().collect::<Vec<_>>(), from, until)).unwrap();
        assert_eq!((read.users, read.start, read.end), (users.to_vec(), from, until));
    }
}
