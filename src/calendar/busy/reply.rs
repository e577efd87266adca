//! The answer to a free/busy question: one iCalendar object with a VFREEBUSY for each user (RFC 5546 3.3.3; profile 6),
//! and the question itself (draft 2.4).

use sha2::{Digest, Sha256};

use super::{BusyTimes, Window};
use crate::calendar::compose::PRODID;
use crate::calendar::event::Person;
use crate::calendar::time;
use crate::calendar::writer::Writer;
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};

/// What the answer takes over from the question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// UID of a VFREEBUSY request: the answer bears the same.
    pub uid: Option<String>,
    pub organizer: Option<Person>,
}

/// An iCalendar object with METHOD:REPLY. Only times and types stand in it.
pub fn reply(asked: &Asked, server: &ServerId, now: Timestamp, users: &[(UserId, BusyTimes)]) -> Vec<u8> {
    let mut out = Writer::default();
    for line in ["BEGIN:VCALENDAR", "VERSION:2.0", &format!("PRODID:{PRODID}"), "METHOD:REPLY"] {
        out.line(line);
    }
    for (user, busy) in users {
        let Window { start, end } = busy.window;
        out.line("BEGIN:VFREEBUSY");
        match &asked.uid {
            Some(uid) => out.text("UID", uid),
            None => out.line_of(format_args!("UID:{}@{server}", name_of(user, busy.window, now))),
        }
        out.line_of(format_args!("DTSTAMP:{}", time::basic_utc(now)));
        if let Some(organizer) = &asked.organizer {
            out.line_of(format_args!("ORGANIZER:mailto:{}", organizer.address));
        }
        out.line_of(format_args!("ATTENDEE:mailto:{user}"));
        out.line_of(format_args!("DTSTART:{}", time::basic_utc(start)));
        out.line_of(format_args!("DTEND:{}", time::basic_utc(end)));
        for (kind, period) in busy.periods() {
            let (from, until) = (time::basic_utc(period.start), time::basic_utc(period.end));
            out.line_of(format_args!("FREEBUSY;FBTYPE={}:{from}/{until}", kind.as_str()));
        }
        out.line("END:VFREEBUSY");
    }
    out.line("END:VCALENDAR");
    out.octets
}

/// The answer of this moment about this user and time.
fn name_of(user: &UserId, window: Window, now: Timestamp) -> String {
    let digest = Sha256::digest(format!("{}\0{}\0{}\0{}", user.key(), window.start, window.end, now));
    format!("freebusy-{}", digest.iter().take(12).map(|b| format!("{b:02x}")).collect::<String>())
}

/// The bare request of the draft (2.4), with the traces that it bears.
pub fn request<'a>(users: impl IntoIterator<Item = &'a UserId>, window: Window, traces: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for user in users {
        out.extend_from_slice(format!("ATTENDEE:{user}\r\n").as_bytes());
    }
    for (name, at) in [("DTSTART", window.start), ("DTEND", window.end)] {
        out.extend_from_slice(format!("{name}:{}\r\n", time::basic_utc(at)).as_bytes());
    }
    for trace in traces {
        out.extend_from_slice(format!("X-CIP-TRACE:{trace}\r\n").as_bytes());
    }
    out
}

/// `19970101T010000Z`.
pub fn basic_utc(at: Timestamp) -> String {
    time::basic_utc(at)
}
