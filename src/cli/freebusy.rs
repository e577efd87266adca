//! `freebusy`: ask when people are free.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Colour, Output, clean};
use super::peer::{Client, PeerArgs};
use crate::calendar::busy::read::answers;
use crate::calendar::busy::reply::request;
use crate::calendar::busy::{BusyTimes, BusyType, Window};
use crate::calendar::freebusy_request;
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};

/// Ask CIP servers for free/busy times with FREEBUSY
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay freebusy mary@tiny.com tom@jumbo.com --from 2026-12-01 --until 2026-12-08\n\nThe busy times of each user are shown in this machine's zone and in UTC; --json and --object are for programs.\nWho was not found is said on standard error. Exit codes: 0 OK, 77 refused, 75 try again, 69 unavailable, 65 bad input."
)]
pub struct Args {
    #[arg(required = true, value_name = "USER")]
    users: Vec<UserId>,
    /// A date, or a time with its offset such as 2026-12-01T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Timestamp,
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Timestamp,
    /// One JSON object a line: {"user", "start", "end", "busy": [{"type", "start", "end"}]}, times in UTC
    #[arg(long, conflicts_with = "object")]
    json: bool,
    /// The iCalendar object as the server sent it
    #[arg(long)]
    object: bool,
    #[command(flatten)]
    peer: PeerArgs,
}

/// RFC 3339, a date (midnight in UTC), or iCalendar's basic form in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let date = |text: &str| text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
    let basic = |text: &str| chrono::NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok();
    Timestamp::parse_rfc3339(text)
        .or_else(|| date(text).or_else(|| basic(text)).map(|at| at.and_utc().into()))
        .ok_or_else(|| "write a date such as 2026-12-01, or a time such as 2026-12-01T09:00:00Z".to_owned())
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
    Object,
}

/// The data part of an answer. What cannot be read as one is shown as it came.
pub fn show(data: &[u8], window: Window, form: Form, out: &mut Output) -> io::Result<()> {
    let told = if form == Form::Object { None } else { answers(data.to_vec(), window).ok() };
    let Some(told) = told else {
        return String::from_utf8_lossy(data).lines().try_for_each(|line| writeln!(out, "{}", clean(line)));
    };
    for (user, times) in told {
        let user = user.map_or_else(|| "(nobody named)".to_owned(), |user| user.to_string());
        match form {
            Form::Json => writeln!(out, "{}", json(&user, &times))?,
            _ => text(&user, &times, out)?,
        }
    }
    Ok(())
}

fn json(user: &str, times: &BusyTimes) -> serde_json::Value {
    let utc = |at: Timestamp| at.datetime().map(|t| t.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    let busy =
        times.periods().iter().map(|(kind, p)| serde_json::json!({ "type": kind.as_str(), "start": utc(p.start), "end": utc(p.end) }));
    let busy: Vec<_> = busy.collect();
    serde_json::json!({ "user": user, "start": utc(times.window.start), "end": utc(times.window.end), "busy": busy })
}

fn text(user: &str, times: &BusyTimes, out: &mut Output) -> io::Result<()> {
    let name = out.style.paint(Colour::Bold, &clean(user));
    writeln!(out, "{name}: {} to {}", local(times.window.start), local(times.window.end))?;
    let mut periods = times.periods().to_vec();
    periods.sort_unstable_by_key(|(kind, period)| (*period, *kind));
    if periods.is_empty() {
        writeln!(out, "  nothing is known that takes time")?;
    }
    for (kind, Window { start, end }) in periods {
        let word = match kind {
            BusyType::Busy => "busy",
            BusyType::Tentative => "tentative",
            BusyType::Unavailable => "unavailable",
        };
        let utc = |at: Timestamp| at.datetime().map_or_else(String::new, |t| t.format("%Y%m%dT%H%MZ").to_string());
        writeln!(out, "  {}  {}  {} ({}/{})", local(start), ending(start, end), word, utc(start), utc(end))?;
    }
    Ok(())
}

/// `Tue 2026-12-01 09:00 +01:00` in this machine's zone.
fn local(at: Timestamp) -> String {
    at.datetime().map_or_else(String::new, |t| t.with_timezone(&chrono::Local).format("%a %Y-%m-%d %H:%M %:z").to_string())
}

/// `to 10:30`, with the date when it is another one.
fn ending(start: Timestamp, end: Timestamp) -> String {
    let in_zone = |at: Timestamp| at.datetime().map(|t| t.with_timezone(&chrono::Local));
    let (Some(start), Some(end)) = (in_zone(start), in_zone(end)) else { return String::new() };
    let same = start.date_naive() == end.date_naive() && start.offset() == end.offset();
    if same { end.format("to %H:%M").to_string() } else { end.format("to %a %Y-%m-%d %H:%M %:z").to_string() }
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let mut out = Output::stdout();
    let form = match (args.json, args.object) {
        (true, _) => Form::Json,
        (_, true) => Form::Object,
        _ => Form::Text,
    };
    let mut client = Client::new(config, &args.peer, out.style)?;
    let mut servers: BTreeMap<ServerId, Vec<&UserId>> = BTreeMap::new();
    for user in &args.users {
        let server = client.to().unwrap_or_else(|| user.server());
        servers.entry(server.clone()).or_default().push(user);
    }
    let window = Window { start: args.from, end: args.until };
    for (server, users) in servers {
        let request = request(users.iter().copied(), window, &[]);
        freebusy_request(&request).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
        client.free_busy(&server, &request, window, form, &mut out).await?;
    }
    out.flush()?;
    client.outcome()
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
        let read = freebusy_request(&request(users.iter(), Window { start: from, end: until }, &[])).unwrap();
        assert_eq!((read.users, read.start, read.end), (users.to_vec(), from, until));
    }
}
