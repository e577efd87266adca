//! What can be wrong with an object, in words that its sender can act on.

/// Why an object was refused: what, where, and what its sender should do. All are the sender's fault and permanent
/// (`NO 001`, profile 5). Lines count from 1, as they stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    #[error("the object is empty: send property lines, or BEGIN:VCALENDAR … END:VCALENDAR")]
    Empty,
    #[error("line {line}: NUL octet: encode binary values as BASE64")]
    Nul { line: usize },
    #[error("more than {limit} property lines: split the object")]
    TooManyLines { limit: usize },
    #[error("line {line}: components nested deeper than {limit}")]
    TooDeep { line: usize, limit: usize },
    #[error("more than {limit} events in one object: send each event by itself")]
    TooManyEvents { limit: usize },
    #[error("no VEVENT, VTODO or VFREEBUSY in the object")]
    NoEvent,
    #[error("{what}, which vCalendar 1.0 cannot say: it has events and to-dos alone")]
    NotInVCalendar { what: &'static str },
    #[error("line {line}: a second event-id {second:?} beside {first:?}: send each event by itself")]
    SeveralEvents { line: usize, first: String, second: String },
    #[error("{property} is missing: {remedy}")]
    Missing { property: &'static str, remedy: &'static str },
    #[error("line {line}: bad {property} {value:?}: {remedy}")]
    Bad { property: &'static str, line: usize, value: String, remedy: &'static str },
}

/// At most 60 characters of something refused, for an error text.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
