//! FREEBUSY against the whole relay: its sources, who may ask, other organizations' users, and what goes wrong.

mod hostile;
mod ledger;
mod mail;
mod radicale;
mod remote;
mod sources;

use crate::support::cip::{Answer, CipClient};
use crate::support::object;
use crate::support::relay::Settings;

/// Held relays stand on the 22nd of November 2026; what is asked for is the week after.
pub const FROM: &str = "20261123T000000Z";
pub const UNTIL: &str = "20261130T000000Z";

/// A relay for tiny.com with Mary, Bob and Carl, whose sources are this TOML array; anyone may ask.
pub fn settings(sources: &str) -> Settings {
    domain(sources, "anyone")
}

pub fn domain(sources: &str, asker: &str) -> Settings {
    Settings::new("tiny.com").domain_text(&format!(
        "name = \"tiny.com\"\nusers = [\"mary\", \"bob\", \"carl\"]\naliases = {{ \"m.weaver\" = \"mary\" }}\n\
         redirects = {{ \"old\" = \"new@other.org\" }}\nfree-busy = {sources}\nfree-busy-for = \"{asker}\""
    ))
}

/// Asks for the week.
pub async fn ask(client: &mut CipClient, users: &[&str]) -> Answer {
    let people: String = users.iter().map(|user| format!("ATTENDEE:{user}\n")).collect();
    client.object("FREEBUSY", &format!("{people}DTSTART:{FROM}\nDTEND:{UNTIL}\n")).await
}

/// The periods of a user in an answer: `BUSY 1124T0900/1124T1000`.
pub fn busy(answer: &Answer, user: &str) -> Option<Vec<String>> {
    let data = answer.data.as_ref()?;
    let part = data.split("BEGIN:VFREEBUSY\r\n").skip(1).find(|part| part.contains(&format!("ATTENDEE:mailto:{user}\r\n")))?;
    let short = |time: &str| format!("{}T{}", &time[4..8], &time[9..13]);
    let period = |line: &String| {
        let (_, params, value) = object::split(line).filter(|(name, ..)| name == "FREEBUSY")?;
        let (start, end) = value.split_once('/').unwrap();
        Some(format!("{} {}/{}", params.strip_prefix("FBTYPE=").unwrap(), short(start), short(end)))
    };
    Some(object::lines(part.as_bytes()).iter().filter_map(period).collect())
}

pub fn calendar(events: &[&str]) -> String {
    let events: String = events.iter().enumerate().map(|(n, lines)| format!("BEGIN:VEVENT\nUID:{n}@x\n{lines}\nEND:VEVENT\n")).collect();
    format!("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\n{events}END:VCALENDAR\n").replace('\n', "\r\n")
}

/// An event on the 24th at this hour in UTC, an hour long.
pub fn at_hour(hour: u32) -> String {
    format!("DTSTART:20261124T{hour:02}0000Z\nDURATION:PT1H\nSUMMARY:secret")
}
