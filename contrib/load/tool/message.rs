//! The messages: composed by the source, recognized by the sink.
//!
//! A message is an event with an own event-id and a text of pseudo-random words derived from that id. Its digest is that
//! of the letters and digits of the text alone: a relay may fold, escape and translate, and may add lines, but it may not
//! change what the organizer wrote.
//!
//! Invariant: what [`Plan::compose`] gives, [`read`] recognizes, with the same id and digest, also after the relay has
//! turned it into the other format.

use sha2::{Digest, Sha256};

use super::ledger::Line;
use super::{LoadError, Protocol};

/// Letters of one word, and words of one line: lines stay under 75 octets (RFC 5545 3.1).
const WORD: usize = 7;
const WORDS: usize = 8;
/// Characters that no format escapes; 32, so that five random bits make one.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Words at least, however small the message is to be.
const LEAST: usize = 4;

/// What all messages of a run have in common.
#[derive(Debug)]
pub struct Plan {
    pub protocol: Protocol,
    /// Makes the event-ids of one run differ from those of any other.
    pub run: String,
    /// The owner; the event-ids end in his domain.
    pub from: String,
    /// The recipients, with `%d` for the destination and `%r` for the recipient.
    pub to: String,
    pub destinations: u64,
    pub recipients: u64,
    /// Octets of the object, or of the whole mail.
    pub size: usize,
    /// When the event begins, and now: `YYYYMMDD`.
    pub day: String,
    pub today: String,
}

impl Plan {
    /// Whether the pattern of recipients fits the numbers.
    pub fn check(&self) -> Result<(), LoadError> {
        let fault = |text: String| Err(LoadError::Options(text));
        if !self.from.contains('@') || !self.to.contains('@') {
            return fault("--from and --to are addresses: local@domain".to_owned());
        }
        if self.recipients > 1 && !self.to.contains("%r") {
            return fault(format!("--to {} names one recipient, --recipients asks for {}: put %r into it", self.to, self.recipients));
        }
        if self.destinations > 1 && !self.to.contains("%d") {
            return fault(format!("--to {} names one destination, --destinations asks for {}: put %d into it", self.to, self.destinations));
        }
        Ok(())
    }

    /// The ledger's line and the octets of message `n`: of the object for CIP, of the whole mail for SMTP.
    pub fn compose(&self, n: u64) -> (Line, Vec<u8>) {
        let domain = self.from.rsplit('@').next().unwrap_or(&self.from);
        let id = format!("{}-{n}@{domain}", self.run);
        let destination = (n % self.destinations.max(1)).to_string();
        let to = self.to.replace("%d", &destination);
        let recipients: Vec<String> = (0..self.recipients).map(|r| to.replace("%r", &r.to_string()).to_ascii_lowercase()).collect();
        let (mut head, tail) = match self.protocol {
            Protocol::Cip => self.vcalendar(&id, &recipients),
            Protocol::Smtp => self.mail(&id, &recipients),
        };
        let letters = self.size.saturating_sub(head.len() + tail.len());
        // A word takes a blank with it, a line CRLF.
        let words = (letters * WORDS / ((WORD + 1) * WORDS + 2)).max(LEAST);
        let digest = text(&id, words, &mut head);
        head.push_str(&tail);
        (Line { id, digest, recipients }, head.into_bytes())
    }

    /// vCalendar 1.0 up to the text, and what follows it.
    fn vcalendar(&self, id: &str, recipients: &[String]) -> (String, String) {
        let Self { from, day, .. } = self;
        let attendees: String = recipients.iter().map(|r| format!("ATTENDEE:<{r}>\r\n")).collect();
        let head = format!(
            "BEGIN:VCALENDAR\r\nVERSION:1.0\r\nPRODID:-//cip-relay//load//EN\r\nBEGIN:VEVENT\r\nUID:{id}\r\nSEQUENCE:1\r\n\
             DTSTART:{day}T150000Z\r\nDTEND:{day}T160000Z\r\nSUMMARY:Load\r\nATTENDEE;ROLE=OWNER:<{from}>\r\n{attendees}DESCRIPTION:"
        );
        (head, "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n".to_owned())
    }

    /// An iMIP REQUEST (RFC 6047) up to the text, and what follows it.
    fn mail(&self, id: &str, recipients: &[String]) -> (String, String) {
        let Self { from, day, today, .. } = self;
        let attendees: String = recipients.iter().map(|r| format!("ATTENDEE;RSVP=TRUE:mailto:{r}\r\n")).collect();
        let head = format!(
            "From: {from}\r\nTo: {}\r\nSubject: Load\r\nMessage-ID: <{id}>\r\nDate: {}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/calendar; charset=UTF-8; method=REQUEST\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//cip-relay//load//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{id}\r\n\
             SEQUENCE:0\r\nDTSTAMP:{today}T000000Z\r\nDTSTART:{day}T150000Z\r\nDTEND:{day}T160000Z\r\nSUMMARY:Load\r\n\
             ORGANIZER:mailto:{from}\r\n{attendees}DESCRIPTION:",
            recipients.join(",\r\n "),
            chrono::Utc::now().to_rfc2822(),
        );
        (head, "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n".to_owned())
    }
}

/// Appends `words` words, folded; gives their digest.
fn text(id: &str, words: usize, out: &mut String) -> String {
    let seed = Sha256::digest(id.as_bytes());
    let mut state = u64::from_be_bytes(seed[..8].try_into().expect("eight octets"));
    let mut digest = Sha256::new();
    for word in 0..words {
        if word > 0 {
            out.push_str(if word % WORDS == 0 { "\r\n  " } else { " " });
        }
        // splitmix64: any generator that spreads the seed will do.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let mut letters = [0; WORD];
        for letter in &mut letters {
            *letter = LETTERS[(bits & 31) as usize];
            bits >>= 5;
        }
        digest.update(letters);
        out.push_str(std::str::from_utf8(&letters).expect("ASCII"));
    }
    short(digest)
}

/// Half of it is enough to tell texts apart.
fn short(digest: Sha256) -> String {
    digest.finalize()[..16].iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What a property of a received object is to the sink.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Property {
    Uid,
    Description,
    /// `X-CIP-RCPT` (profile 5): whom the object is for.
    Recipient,
    Attendee,
    Other,
}

/// The ledger's line of a received object; `None` when it has no UID or no text. The recipients are those that the object
/// names (profile 5): for a mail the envelope counts instead.
pub fn read(object: &[u8]) -> Option<Line> {
    let (mut id, mut named, mut attendees) = (None, Vec::new(), Vec::new());
    let mut digest = None;
    for (property, params, value) in properties(object) {
        match property {
            Property::Uid => id = id.or_else(|| Some(String::from_utf8_lossy(value.trim_ascii()).into_owned())),
            Property::Description => {
                let letters: Vec<u8> = value.into_iter().filter(u8::is_ascii_alphanumeric).collect();
                digest = digest.or_else(|| Some(short(Sha256::new().chain_update(letters))));
            }
            Property::Recipient => named.push(address(&value)),
            Property::Attendee if !params.to_ascii_uppercase().ends_with(b"OWNER") => attendees.push(address(&value)),
            Property::Attendee | Property::Other => {}
        }
    }
    let recipients = if named.is_empty() { attendees } else { named };
    Some(Line { id: id?, digest: digest?, recipients })
}

/// The properties that matter, unfolded: kind, parameters, value.
fn properties(object: &[u8]) -> Vec<(Property, Vec<u8>, Vec<u8>)> {
    let mut all: Vec<(Property, Vec<u8>, Vec<u8>)> = Vec::new();
    let mut current = Property::Other;
    let mut soft = false;
    for line in object.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A soft line break of quoted-printable (vCalendar 1.0) goes on in the next line, whatever that begins with.
        let goes_on = soft || line.first().is_some_and(|octet| matches!(octet, b' ' | b'\t'));
        if goes_on {
            if let (Some((.., value)), true) = (all.last_mut(), current != Property::Other) {
                value.extend_from_slice(line);
            }
        } else {
            let colon = line.iter().position(|&octet| octet == b':').unwrap_or(line.len());
            let (head, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
            let name = head.split(|&octet| octet == b';').next().unwrap_or(head).trim_ascii();
            current = kind(name);
            if current != Property::Other {
                all.push((current, head.get(name.len()..).unwrap_or_default().to_vec(), value.to_vec()));
            }
        }
        soft = current == Property::Description
            && line.ends_with(b"=")
            && all.last().is_some_and(|(_, params, _)| params.to_ascii_uppercase().windows(16).any(|w| w == b"QUOTED-PRINTABLE"));
    }
    all
}

fn kind(name: &[u8]) -> Property {
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
    match () {
        () if is("UID") => Property::Uid,
        () if is("DESCRIPTION") => Property::Description,
        () if is("X-CIP-RCPT") => Property::Recipient,
        () if is("ATTENDEE") => Property::Attendee,
        () => Property::Other,
    }
}

/// `Name <a@b>`, `mailto:a@b`, `a@b` → `a@b`, in lower case.
fn address(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value).trim().to_ascii_lowercase();
    let value = value.rsplit('<').next().unwrap_or_default();
    let value = value.strip_prefix("mailto:").unwrap_or(value);
    value.trim_end_matches('>').trim().to_owned()
}
