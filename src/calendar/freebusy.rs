//! FREEBUSY requests (draft 2.4, profile 6).

use std::collections::HashSet;
use std::time::Duration;

use super::busy::reply::Asked;
use super::error::{ObjectError, clip};
use super::event::Trace;
use super::object::{MAX_PEOPLE, TRACE};
use super::property::Document;
use super::zone::Zones;
use super::{people, text, time};
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// The longest span that may be asked for.
const MAX_SPAN: Duration = Duration::from_hours(400 * 24);

/// Whose free/busy time is asked for, and when. `start` is not after `end`, and they are at most 400 days apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeBusyRequest {
    /// In the request's order, nobody twice.
    pub users: Vec<UserId>,
    pub start: Timestamp,
    pub end: Timestamp,
    /// UID and ORGANIZER of a VFREEBUSY request, which its answer bears too.
    pub asked: Asked,
    /// Who has passed it on so far (profile 9); the last may be one more than any path is long.
    pub traces: Vec<Trace>,
}

/// Trace lines read.
const MAX_TRACES: usize = 100;

/// Reads the data of a FREEBUSY command: ATTENDEE lines, DTSTART, DTEND, bare or inside VFREEBUSY.
pub fn freebusy_request(octets: &[u8]) -> Result<FreeBusyRequest, ObjectError> {
    let document = Document::parse(octets.to_vec())?;
    let (zones, _) = Zones::read(&document);
    let place = document.components.iter().position(|c| c.name == "VFREEBUSY").unwrap_or(0);
    let (mut users, mut seen, mut start, mut end) = (Vec::new(), HashSet::new(), None, None);
    let (mut asked, mut traces) = (Asked::default(), Vec::new());
    for (_, line) in document.lines_of(place) {
        let content = document.content(line);
        match &*line.name {
            "ATTENDEE" => {
                let mut found = people::read_users(&text::raw(&content));
                found.extend(people::seat(&content).filter(|_| found.is_empty()).map(|s| (s.person.address, None)));
                users.extend(found.into_iter().map(|(user, _)| user).filter(|u| seen.insert(u.clone())));
                users.truncate(MAX_PEOPLE);
            }
            "DTSTART" | "DTEND" => {
                let property = if &*line.name == "DTSTART" { "DTSTART" } else { "DTEND" };
                let at = time::moment(&content, &zones).and_then(|m| m.instant());
                let value = clip(&text::raw(&content));
                let remedy = "give a time such as 19961231T200000Z or 19961231T2000-0500";
                let at = at.ok_or(ObjectError::Bad { property, line: line.number, value, remedy })?;
                *(if property == "DTSTART" { &mut start } else { &mut end }) = Some((at, line.number));
            }
            "UID" => {
                asked.uid = asked
                    .uid
                    .or_else(|| EventId::parse(&text::unescape(&text::raw(&content), false)).ok().map(|uid| uid.as_str().to_owned()));
            }
            "ORGANIZER" => asked.organizer = asked.organizer.or_else(|| people::seat(&content).map(|s| s.person)),
            TRACE if traces.len() < MAX_TRACES => traces.push(Trace::read(&text::raw(&content))),
            _ => {}
        }
    }
    let missing = |property, remedy| ObjectError::Missing { property, remedy };
    if users.is_empty() {
        return Err(missing("ATTENDEE", "name at least one user whose free/busy time is asked for"));
    }
    let (start, _) = start.ok_or(missing("DTSTART", "say from when on"))?;
    let (end, line) = end.ok_or(missing("DTEND", "say until when"))?;
    let bad = |remedy| Err(ObjectError::Bad { property: "DTEND", line, value: time::basic_utc(end), remedy });
    if end < start {
        return bad("it must not be before DTSTART");
    }
    if end.since(start) > MAX_SPAN {
        return bad("at most 400 days can be asked for at a time");
    }
    Ok(FreeBusyRequest { users, start, end, asked, traces })
}
