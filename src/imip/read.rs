//! An incoming mail as a calendar message (bridge 6): who sent it, what it carries, which METHOD applies.
//!
//! Invariants: the calendar part is taken from the message itself, never from a message inside it; text/calendar comes
//! before application/ics before a `.ics` attachment, in the order of the message, once; a METHOD parameter that differs
//! from the object's METHOD is refused; what is handed on is UTF-8 with CRLF line ends.

use std::borrow::Cow;

use crate::calendar::event::{Method, Trace};
use crate::ident::UserId;
use crate::imip::report::{self, DeliveryReport};
use crate::mime::{self, Mail, MimeError, Part, transfer};

/// Octets kept of a human answer.
pub const MAX_TEXT: usize = 64 << 10;
/// Trace fields kept; a loop is seen at 25 (profile 9).
const MAX_TRACES: usize = 100;

/// Why a mail was refused. Permanent: the sender must send something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Mime(#[from] MimeError),
    #[error(
        "the MIME parameter says method={parameter} and the calendar object says METHOD:{object}; they must be the same (RFC 6047 2.4)"
    )]
    MethodsDiffer { parameter: &'static str, object: &'static str },
    #[error("the calendar part names the method {0:?}, which RFC 5546 does not know")]
    UnknownMethod(String),
}

/// A mail as the relay sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub from: Vec<UserId>,
    /// The display name of the first From address.
    pub from_name: Option<String>,
    pub sender: Option<UserId>,
    pub subject: Option<String>,
    /// Without its angle brackets.
    pub message_id: Option<String>,
    /// Auto-Submitted other than `no`, or a delivery report.
    pub automatic: bool,
    /// How many Received fields it bears.
    pub received: usize,
    pub traces: Vec<Trace>,
    pub calendar: Option<CalendarPart>,
    /// It carries Microsoft's TNEF (`winmail.dat`), whose meeting the relay cannot read.
    pub winmail: bool,
    /// The first text/plain that is no attachment, at most [`MAX_TEXT`] octets.
    pub text: Option<String>,
    /// The mail is a delivery report (RFC 3464).
    pub report: Option<DeliveryReport>,
}

/// The calendar object of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarPart {
    /// UTF-8, CRLF line ends.
    pub octets: Vec<u8>,
    /// From Content-Type.
    pub method_param: Option<Method>,
    /// Which applies: the parameter's, else the object's. `None`: a file, not a scheduling message (RFC 5546 1.4).
    pub method: Option<Method>,
}

/// Reads a mail.
pub fn read(raw: &[u8]) -> Result<Incoming, ReadError> {
    let mail = mime::parse(raw)?;
    let report = report::recognize(&mail);
    Ok(Incoming {
        calendar: find_calendar(&mail)?,
        winmail: mail.parts.iter().any(is_winmail),
        text: find_text(&mail),
        automatic: report.is_some() || mail.auto_submitted.as_deref().is_some_and(|v| v != "no"),
        report,
        received: mail.received,
        traces: mail.traces.iter().take(MAX_TRACES).filter_map(|t| parse_trace(t)).collect(),
        from_name: mail.from.first().and_then(|m| m.name.clone()),
        from: mail.from.into_iter().map(|m| m.address).collect(),
        sender: mail.sender.map(|m| m.address),
        subject: mail.subject,
        message_id: mail.message_id,
    })
}

/// The trace fields of a mail, the newest first, also of one that [`read`] refuses.
pub fn traces(raw: &[u8]) -> Vec<Trace> {
    mime::header_values(raw, "X-CIP-Trace", MAX_TRACES).iter().filter_map(|t| parse_trace(t)).collect()
}

/// `server-id;time;verb;version` (profile 9). A field of another shape is no trace.
pub fn parse_trace(text: &str) -> Option<Trace> {
    let mut fields = text.splitn(4, ';').map(|f| f.trim().to_owned());
    let trace = Trace { server: fields.next()?, time: fields.next()?, verb: fields.next()?, version: fields.next()? };
    (!trace.server.is_empty()).then_some(trace)
}

fn find_calendar(mail: &Mail<'_>) -> Result<Option<CalendarPart>, ReadError> {
    let is_ics = |p: &Part<'_>| p.filename.as_deref().is_some_and(ends_with_ics) && !p.kind.starts_with("message/");
    let kinds: [&dyn Fn(&Part<'_>) -> bool; 3] =
        [&|p| p.kind == "text/calendar", &|p| p.kind == "application/ics", &|p| !p.is_multipart() && is_ics(p)];
    let found = kinds.iter().find_map(|kind| mail.parts.iter().find(|p| kind(p) && !p.raw.trim_ascii().is_empty()));
    let Some(part) = found else { return Ok(None) };
    let octets = with_crlf(&part.text()?);
    let parameter = part.parameter("method").map(str::trim).filter(|m| !m.is_empty()).map(method).transpose()?;
    let object = find_method(&octets).map(|m| method(&m)).transpose()?;
    if let (Some(parameter), Some(object)) = (parameter, object)
        && parameter != object
    {
        return Err(ReadError::MethodsDiffer { parameter: parameter.as_str(), object: object.as_str() });
    }
    Ok(Some(CalendarPart { octets, method_param: parameter, method: parameter.or(object) }))
}

fn ends_with_ics(name: &str) -> bool {
    let name = name.trim_end();
    name.len() > 4 && name.get(name.len() - 4..).is_some_and(|end| end.eq_ignore_ascii_case(".ics"))
}

fn is_winmail(part: &Part<'_>) -> bool {
    matches!(part.kind.as_str(), "application/ms-tnef" | "application/vnd.ms-tnef")
        || part.filename.as_deref().is_some_and(|f| f.trim().eq_ignore_ascii_case("winmail.dat"))
}

fn find_text(mail: &Mail<'_>) -> Option<String> {
    let part = mail.parts.iter().find(|p| p.kind == "text/plain" && p.disposition.as_deref() != Some("attachment"))?;
    let octets = part.octets().ok()?;
    // A person's words are worth showing even when a character of them is lost; a calendar object is not.
    let text = part.text().unwrap_or_else(|_| String::from_utf8_lossy(&octets).into_owned());
    let text = transfer::clip(text.trim_end(), MAX_TEXT);
    (!text.is_empty()).then(|| text.to_owned())
}

/// LF, CR and CR CR LF (made by some gateways) all become CRLF, and the last line gets one.
fn with_crlf(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    let mut octets = text.bytes().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                while octets.next_if_eq(&b'\r').is_some() {}
                let _ = octets.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(other),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The METHOD of an iCalendar object with CRLF line ends: the property of the VCALENDAR itself, not one inside a
/// component. Folding (RFC 5545 3.1) is undone only for lines that could be it.
pub fn find_method(octets: &[u8]) -> Option<String> {
    let mut depth = 0_usize;
    let mut lines = octets.split(|&b| b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).peekable();
    while let Some(line) = lines.next() {
        let mut line = Cow::Borrowed(line);
        while let Some(more) = lines.next_if(|l| l.starts_with(b" ") || l.starts_with(b"\t")) {
            // METHOD and its value are short; what is longer is another property.
            if line.len() < 200 {
                line.to_mut().extend_from_slice(&more[1..]);
            }
        }
        let Some(end) = line.iter().position(|&b| b == b':' || b == b';') else { continue };
        let name = line[..end].trim_ascii();
        if name.eq_ignore_ascii_case(b"BEGIN") {
            depth += 1;
        } else if name.eq_ignore_ascii_case(b"END") {
            depth = depth.saturating_sub(1);
        } else if depth == 1 && name.eq_ignore_ascii_case(b"METHOD") {
            let colon = line.iter().position(|&b| b == b':')?;
            return Some(String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned());
        }
    }
    None
}

fn method(name: &str) -> Result<Method, ReadError> {
    parse_method(name).ok_or_else(|| ReadError::UnknownMethod(transfer::clip(name, 80).to_owned()))
}

/// iTIP's methods, in any case.
pub fn parse_method(name: &str) -> Option<Method> {
    ALL.into_iter().find(|m| m.as_str().eq_ignore_ascii_case(name.trim()))
}

const ALL: [Method; 8] = [
    Method::Publish,
    Method::Request,
    Method::Reply,
    Method::Add,
    Method::Cancel,
    Method::Refresh,
    Method::Counter,
    Method::DeclineCounter,
];
