//! Mail messages taken apart: the only caller of mail-parser, and the bounds that keep it and us safe.
//!
//! The tree of parts is walked here, with a list in place of recursion, and each header block is measured before
//! mail-parser sees it; mail-parser reads header fields only (its body parser nests `message/rfc822` without bound and
//! overflows the stack when that is dropped). A message inside the message is one opaque part: what stands in it is
//! somebody else's mail (a forward, a returned original) and is never acted upon.
//!
//! Invariants: at most [`MAX_PARTS`] parts and [`MAX_DEPTH`] levels; a header block has at most [`MAX_HEADER`] octets and
//! [`MAX_FIELDS`] fields, all blocks of a message together [`MAX_HEADERS`] octets; a field has at most [`MAX_PARAMETERS`]
//! parameters. The work is at most the size of the message times the depth. Parts come in the order of the message.

pub mod transfer;

use std::borrow::Cow;

use mail_parser::{Address, ContentType, HeaderName, HeaderValue, MessageParser};

use crate::ident::UserId;
use transfer::Encoding;

/// Octets of one header block.
pub const MAX_HEADER: usize = 256 << 10;
/// Octets of all the header blocks of a message.
pub const MAX_HEADERS: usize = 1 << 20;
/// Fields of one header block.
pub const MAX_FIELDS: usize = 2_000;
/// Parameters of one field; mail-parser's cost grows with their square.
pub const MAX_PARAMETERS: usize = 256;
/// Levels of multipart.
pub const MAX_DEPTH: usize = 32;
/// Parts, multiparts among them.
pub const MAX_PARTS: usize = 1_000;
/// Addresses read from From or To.
const MAX_ADDRESSES: usize = 2_000;

/// Why a message could not be taken apart. Always the sender's fault, and permanent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MimeError {
    #[error("the message has no header: it must begin with header fields such as From")]
    NoHeader,
    #[error("a header of more than {MAX_HEADER} octets, or {MAX_HEADERS} in all parts together")]
    HeaderTooLong,
    #[error("a header of more than {MAX_FIELDS} fields")]
    TooManyFields,
    #[error("a header field {0} with more than {MAX_PARAMETERS} parameters")]
    TooManyParameters(String),
    #[error("MIME parts nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("more than {MAX_PARTS} MIME parts")]
    TooManyParts,
    #[error("more than one {0} field, so that nobody can say which holds (RFC 5322 3.6)")]
    Twice(&'static str),
    #[error("the part {part} has the unknown Content-Transfer-Encoding {encoding:?}; send it as base64 or quoted-printable")]
    UnknownEncoding { part: String, encoding: String },
    #[error("the part {part} names the charset {charset:?}, which is unknown here; send it as UTF-8")]
    UnknownCharset { part: String, charset: String },
    #[error("the part {part} says that it is {charset:?}, and its octets are not; send it as UTF-8")]
    NotInCharset { part: String, charset: String },
}

/// A name and an address from a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub name: Option<String>,
    pub address: UserId,
}

/// A message taken apart. Text is decoded (RFC 2047); what is no address is left out of the lists.
#[derive(Debug)]
pub struct Mail<'x> {
    pub from: Vec<Mailbox>,
    pub sender: Option<Mailbox>,
    pub to: Vec<Mailbox>,
    pub subject: Option<String>,
    /// Without its angle brackets.
    pub message_id: Option<String>,
    /// The value of Auto-Submitted without parameters and comments, in lower case.
    pub auto_submitted: Option<String>,
    /// The values of the X-CIP-Trace fields, from the top down, unfolded.
    pub traces: Vec<String>,
    /// How many Received fields there are.
    pub received: usize,
    /// The leaves of the tree, and before its children each multipart with its octets undivided.
    pub parts: Vec<Part<'x>>,
}

/// A MIME part.
#[derive(Debug)]
pub struct Part<'x> {
    /// `text/calendar`: in lower case; `text/plain` when the part does not say.
    pub kind: String,
    /// Of Content-Type: names in lower case, values as they stand, RFC 2231 undone.
    pub parameters: Vec<(String, String)>,
    /// `inline` or `attachment`, in lower case, when there is one.
    pub disposition: Option<String>,
    /// From Content-Disposition, else the `name` of Content-Type.
    pub filename: Option<String>,
    /// Content-Transfer-Encoding in lower case, when there is one.
    pub encoding: Option<String>,
    /// As in the message.
    pub raw: &'x [u8],
}

impl Part<'_> {
    /// A parameter of Content-Type; `name` in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn is_multipart(&self) -> bool {
        self.kind.starts_with("multipart/")
    }

    /// The octets with the transfer encoding undone.
    pub fn octets(&self) -> Result<Cow<'_, [u8]>, MimeError> {
        let encoding = self.encoding.as_deref().unwrap_or("7bit");
        Encoding::parse(encoding)
            .map(|encoding| transfer::decode(encoding, self.raw))
            .ok_or_else(|| MimeError::UnknownEncoding { part: self.kind.clone(), encoding: transfer::clip(encoding, 80).to_owned() })
    }

    /// The text by the charset that the part names; without one, or for US-ASCII with eighth bits, UTF-8 when it is that
    /// and else ISO 8859-1 (profile 5). A byte order mark is dropped.
    pub fn text(&self) -> Result<String, MimeError> {
        let charset = self.parameter("charset");
        transfer::decode_charset(&self.octets()?, charset).map_err(|problem| {
            let (part, charset) = (self.kind.clone(), transfer::clip(charset.unwrap_or("UTF-8"), 80).to_owned());
            match problem {
                transfer::CharsetProblem::Unknown => MimeError::UnknownCharset { part, charset },
                transfer::CharsetProblem::Malformed => MimeError::NotInCharset { part, charset },
            }
        })
    }
}

/// Takes a message apart. Lines may end in CRLF or LF; blank lines and an mbox `From ` line before the header are passed
/// over.
pub fn parse(raw: &[u8]) -> Result<Mail<'_>, MimeError> {
    let raw = without_preamble(raw);
    let mut budget = MAX_HEADERS;
    let (block, body) = split_header(raw, &mut budget)?;
    let fields = Fields::read(&block);
    if fields.0.is_empty() {
        return Err(MimeError::NoHeader);
    }
    let mut mail = read_top(&fields)?;
    walk(&mut mail.parts, fields, body, &mut budget)?;
    Ok(mail)
}

/// The Message-ID of a message inside a message (a returned original), without angle brackets; its parts are not looked at.
pub fn header_message_id(raw: &[u8]) -> Option<String> {
    let mut budget = MAX_HEADER;
    let (block, _) = split_header(without_preamble(raw), &mut budget).ok()?;
    Fields::read(&block).text("Message-ID")
}

/// The unfolded values of the header fields of this name, from the top down and at most `most`, whatever else is wrong
/// with the message. Nothing is decoded.
pub fn header_values(raw: &[u8], name: &str, most: usize) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    let (mut rest, mut within) = (without_preamble(raw), false);
    while !rest.is_empty() && values.len() <= most {
        let (line, after) = next_line(rest);
        if line.is_empty() {
            break;
        }
        rest = after;
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some(value) = values.last_mut().filter(|_| within) {
                value.push_str(&String::from_utf8_lossy(line));
            }
            continue;
        }
        let (field, value) = line.split_at(line.iter().position(|&b| b == b':').unwrap_or(line.len()));
        within = field.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes()) && !value.is_empty();
        if within {
            values.push(String::from_utf8_lossy(&value[1..]).into_owned());
        }
    }
    values.truncate(most);
    values.iter().map(|v| unfold(v)).collect()
}

/// The message without what some pipes and files put before it: blank lines, and an mbox separator line
/// (`From tom Sat Nov 22 …`). Fields put in front of those would be cut off from the header.
pub fn without_preamble(raw: &[u8]) -> &[u8] {
    let mut rest = raw;
    loop {
        let (line, after) = next_line(rest);
        let blank = line.trim_ascii().is_empty() && !rest.is_empty();
        if !(blank || line.starts_with(b"From ") || line.starts_with(b">From ")) {
            return rest;
        }
        rest = after;
    }
}

/// The part that was taken in hand, and where: the list that stands in for recursion.
struct Open<'x> {
    fields: Fields,
    body: &'x [u8],
    depth: usize,
    in_digest: bool,
}

fn walk<'x>(parts: &mut Vec<Part<'x>>, fields: Fields, body: &'x [u8], budget: &mut usize) -> Result<(), MimeError> {
    let mut open = vec![Open { fields, body, depth: 0, in_digest: false }];
    while let Some(Open { fields, body, depth, in_digest }) = open.pop() {
        let part = fields.part(body, in_digest);
        let boundary = part.parameter("boundary").filter(|b| part.is_multipart() && !b.is_empty() && b.len() <= 200);
        if let Some(boundary) = boundary {
            if depth >= MAX_DEPTH {
                return Err(MimeError::TooDeep);
            }
            let in_digest = part.kind == "multipart/digest";
            let room = MAX_PARTS.saturating_sub(parts.len() + open.len() + 1);
            let sections = split_multipart(body, boundary.as_bytes(), room)?;
            // Last first, so that the first child is taken next.
            for section in sections.into_iter().rev() {
                let (block, body) = split_header(section, budget)?;
                open.push(Open { fields: Fields::read(&block), body, depth: depth + 1, in_digest });
            }
        }
        if parts.len() >= MAX_PARTS {
            return Err(MimeError::TooManyParts);
        }
        parts.push(part);
    }
    Ok(())
}

/// The sections between the boundary lines (RFC 2046 5.1.1). A missing last boundary ends at the end.
fn split_multipart<'x>(body: &'x [u8], boundary: &[u8], room: usize) -> Result<Vec<&'x [u8]>, MimeError> {
    let mut sections = Vec::new();
    let (mut at, mut begin) = (0, None);
    while at < body.len() {
        let (line, rest) = next_line(&body[at..]);
        let next = body.len() - rest.len();
        if let Some(tail) = line.strip_prefix(b"--").and_then(|l| l.strip_prefix(boundary)) {
            let tail = tail.trim_ascii_end();
            if tail.is_empty() || tail == b"--" {
                if let Some(begin) = begin {
                    if sections.len() >= room {
                        return Err(MimeError::TooManyParts);
                    }
                    sections.push(without_last_line_end(&body[begin..at.max(begin)]));
                }
                begin = tail.is_empty().then_some(next);
                if begin.is_none() {
                    return Ok(sections);
                }
            }
        }
        at = next;
    }
    if let Some(begin) = begin {
        if sections.len() >= room {
            return Err(MimeError::TooManyParts);
        }
        sections.push(&body[begin..]);
    }
    Ok(sections)
}

/// The line end before a boundary belongs to the boundary.
fn without_last_line_end(section: &[u8]) -> &[u8] {
    let section = section.strip_suffix(b"\n").unwrap_or(section);
    section.strip_suffix(b"\r").unwrap_or(section)
}

/// One line without its end, and what follows it.
fn next_line(octets: &[u8]) -> (&[u8], &[u8]) {
    match octets.iter().position(|&b| b == b'\n') {
        Some(end) => {
            let line = &octets[..end];
            (line.strip_suffix(b"\r").unwrap_or(line), &octets[end + 1..])
        }
        None => (octets, &[]),
    }
}

/// Splits a part into its header block and body, and measures the block. The first line that can be no field ends the
/// header even without an empty line. Lines of blanks alone are left out: to mail-parser they would end the header, and
/// what follows them would be seen by others and not by us.
fn split_header<'x>(section: &'x [u8], budget: &mut usize) -> Result<(Vec<u8>, &'x [u8]), MimeError> {
    let mut block = Vec::new();
    let (mut rest, mut fields, mut parameters, mut name): (_, _, _, &[u8]) = (section, 0, 0, b"");
    while !rest.is_empty() {
        let (line, after) = next_line(rest);
        if line.is_empty() {
            rest = after;
            break;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if fields == 0 {
                break;
            }
        } else {
            let Some(colon) = line.iter().position(|&b| b == b':') else { break };
            let given = line[..colon].trim_ascii_end();
            if given.is_empty() || !given.iter().all(u8::is_ascii_graphic) {
                break;
            }
            (name, parameters) = (given, 0);
            fields += 1;
            if fields > MAX_FIELDS {
                return Err(MimeError::TooManyFields);
            }
        }
        if block.len() + line.len() + 2 > MAX_HEADER.min(*budget) {
            return Err(MimeError::HeaderTooLong);
        }
        if name.len() >= 7 && name[..7].eq_ignore_ascii_case(b"content") {
            parameters += line.split(|&b| b == b';').count() - 1;
            if parameters > MAX_PARAMETERS {
                return Err(MimeError::TooManyParameters(String::from_utf8_lossy(transfer::clip_octets(name, 80)).into_owned()));
            }
        }
        if !line.trim_ascii().is_empty() {
            block.extend_from_slice(line);
            block.extend_from_slice(b"\r\n");
        }
        rest = after;
    }
    *budget -= block.len().min(*budget);
    Ok((block, rest))
}

/// The fields of one header block, in its order, independent of mail-parser's lifetimes.
struct Fields(Vec<(HeaderName<'static>, HeaderValue<'static>)>);

impl Fields {
    fn read(block: &[u8]) -> Self {
        if block.is_empty() {
            return Self(Vec::new());
        }
        let mut block = block.to_vec();
        block.extend_from_slice(b"\r\n");
        let fields = MessageParser::new()
            .parse_headers(&block)
            .and_then(|mut message| (!message.parts.is_empty()).then(|| message.parts.swap_remove(0).headers))
            .unwrap_or_default();
        Self(fields.into_iter().map(|h| (h.name.into_owned(), h.value.into_owned())).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &HeaderValue<'static>> {
        self.0.iter().filter(move |(n, _)| n.as_str().eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.all(name).find_map(text_of)
    }

    fn content_type(&self, name: &str) -> Option<&ContentType<'static>> {
        self.all(name).find_map(HeaderValue::as_content_type)
    }

    fn part<'x>(&self, raw: &'x [u8], in_digest: bool) -> Part<'x> {
        let content_type = self.content_type("Content-Type");
        let disposition = self.content_type("Content-Disposition");
        let attribute = |field: Option<&ContentType<'_>>, name: &str| {
            field?.attributes()?.iter().find(|a| a.name.eq_ignore_ascii_case(name)).map(|a| a.value.to_string())
        };
        let kind = match content_type {
            Some(c) => format!("{}/{}", c.ctype(), c.subtype().unwrap_or_default()).to_ascii_lowercase(),
            None if in_digest => "message/rfc822".to_owned(),
            None => "text/plain".to_owned(),
        };
        Part {
            kind,
            parameters: content_type
                .and_then(ContentType::attributes)
                .unwrap_or_default()
                .iter()
                .map(|a| (a.name.to_ascii_lowercase(), a.value.to_string()))
                .collect(),
            disposition: disposition.map(|d| d.ctype().to_ascii_lowercase()),
            filename: attribute(disposition, "filename").or_else(|| attribute(content_type, "name")),
            encoding: self.text("Content-Transfer-Encoding").map(|e| first_word(&e)),
            raw,
        }
    }
}

fn text_of(value: &HeaderValue<'_>) -> Option<String> {
    match value {
        HeaderValue::Text(text) => Some(unfold(text)),
        HeaderValue::TextList(list) => Some(unfold(&list.join(", "))),
        _ => None,
    }
}

/// One line: line ends of folding and other controls become one blank.
fn unfold(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// In lower case, without comment or parameters.
fn first_word(text: &str) -> String {
    text.trim_start().split([' ', '\t', ';', '(']).next().unwrap_or_default().to_ascii_lowercase()
}

fn mailboxes(value: &HeaderValue<'_>) -> Vec<Mailbox> {
    let mailbox = |a: &mail_parser::Addr<'_>| {
        let address = UserId::parse(a.address.as_deref()?.trim()).ok()?;
        Some(Mailbox { name: a.name.as_deref().map(unfold).filter(|n| !n.is_empty()), address })
    };
    match value.as_address() {
        Some(Address::List(list)) => list.iter().take(MAX_ADDRESSES).filter_map(mailbox).collect(),
        Some(Address::Group(groups)) => groups.iter().flat_map(|g| &g.addresses).take(MAX_ADDRESSES).filter_map(mailbox).collect(),
        None => Vec::new(),
    }
}

fn read_top<'x>(fields: &Fields) -> Result<Mail<'x>, MimeError> {
    let single = |name: &'static str| {
        let mut found = fields.all(name);
        let first = found.next();
        if found.next().is_some() { Err(MimeError::Twice(name)) } else { Ok(first.map(mailboxes).unwrap_or_default()) }
    };
    Ok(Mail {
        from: single("From")?,
        sender: single("Sender")?.into_iter().next(),
        to: fields.all("To").flat_map(mailboxes).collect(),
        subject: fields.text("Subject"),
        message_id: fields.text("Message-ID"),
        auto_submitted: fields.text("Auto-Submitted").map(|v| first_word(&v)).filter(|v| !v.is_empty()),
        traces: fields.all("X-CIP-Trace").filter_map(text_of).collect(),
        received: fields.all("Received").count(),
        parts: Vec::new(),
    })
}
