//! Content lines and components of a calendar object, read a second time and independently of the library, so that what
//! the library loses in reading is seen. Strict where it decides what is valid, lenient in how lines fold.

use std::ops::Range;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// One property line.
#[derive(Clone, Debug)]
pub struct Line {
    /// In upper case.
    pub name: String,
    /// Names in upper case, empty where only a value stands; values without quotes.
    pub params: Vec<(String, String)>,
    /// Joined, not decoded.
    pub value: Vec<u8>,
    /// Of the octets of the file.
    pub span: Range<usize>,
    /// Of its first physical line in the file, from 1.
    pub number: usize,
    /// Over how many physical lines it goes, beyond the first.
    pub folds: usize,
}

/// One component with what stands in it.
#[derive(Clone, Debug)]
pub struct Node {
    /// In upper case.
    pub name: String,
    pub lines: Vec<Line>,
    pub children: Vec<Node>,
    pub span: Range<usize>,
}

impl Line {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn says(&self, word: &str) -> bool {
        self.params.iter().any(|(n, v)| (n.is_empty() || n == "ENCODING") && v.eq_ignore_ascii_case(word))
    }

    pub fn quoted_printable(&self) -> bool {
        self.says("QUOTED-PRINTABLE") || self.says("Q")
    }

    pub fn base64(&self) -> bool {
        self.says("BASE64") || self.says("B")
    }

    /// The octets that the value stands for.
    pub fn octets(&self) -> Vec<u8> {
        if self.quoted_printable() {
            unquoted(&self.value)
        } else if self.base64() {
            let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            let packed: Vec<u8> = self.value.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            GeneralPurpose::new(&STANDARD, config.with_decode_allow_trailing_bits(true))
                .decode(packed)
                .unwrap_or_else(|_| self.value.clone())
        } else {
            self.value.clone()
        }
    }

    /// The value as text, escapes left as they are.
    pub fn raw(&self) -> String {
        let octets = self.octets();
        let label = self.param("CHARSET").and_then(|l| encoding_rs::Encoding::for_label_no_replacement(l.trim().as_bytes()));
        match (label, std::str::from_utf8(&octets)) {
            (Some(charset), _) if charset != encoding_rs::UTF_8 => charset.decode_without_bom_handling(&octets).0.into_owned(),
            (_, Ok(text)) => text.to_owned(),
            _ => encoding_rs::WINDOWS_1252.decode_without_bom_handling(&octets).0.into_owned(),
        }
    }

    /// The value as text for people.
    pub fn text(&self) -> String {
        unescaped(&self.raw())
    }
}

impl Node {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |l| l.name == name)
    }

    pub fn first(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|l| l.name == name)
    }

    /// The components that are events or to-dos, or stand where those stand.
    pub fn events(&self) -> impl Iterator<Item = &Node> {
        self.children.iter().filter(|c| matches!(c.name.as_str(), "VEVENT" | "VTODO" | "VJOURNAL" | "VFREEBUSY"))
    }

    pub fn is_icalendar(&self) -> bool {
        self.first("VERSION").is_some_and(|v| v.raw().trim() == "2.0")
    }
}

/// Undoes `\n`, `\;`, `\,`, `\:` and `\\`.
pub fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('n' | 'N')) => {
                chars.next();
                out.push('\n');
            }
            ('\\', Some(';' | ',' | ':' | '\\' | '"')) => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let (mut out, mut i) = (Vec::with_capacity(text.len()), 0);
    while i < text.len() {
        if let (b'=', Some(high), Some(low)) = (text[i], hex(text.get(i + 1)), hex(text.get(i + 2))) {
            out.push(high << 4 | low);
            i += 3;
        } else {
            out.push(text[i]);
            i += 1;
        }
    }
    out
}

/// A physical line without its end.
struct Physical<'a> {
    text: &'a [u8],
    span: Range<usize>,
    number: usize,
}

fn physicals(octets: &[u8]) -> Vec<Physical<'_>> {
    let mut at = 0;
    octets
        .split_inclusive(|&b| b == b'\n')
        .enumerate()
        .map(|(i, line)| {
            let span = at..at + line.len();
            at = span.end;
            let mut text = line;
            while let [rest @ .., b'\r' | b'\n'] = text {
                text = rest;
            }
            Physical { text: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text), span, number: i + 1 }
        })
        .collect()
}

/// Where the VCALENDARs of a file stand. What is outside them is in none.
pub fn calendars(octets: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut start) = (Vec::new(), None);
    for line in physicals(octets) {
        let word = String::from_utf8_lossy(line.text).trim().to_ascii_uppercase();
        let word: String = word.chars().filter(|c| !c.is_whitespace()).collect();
        if word == "BEGIN:VCALENDAR" && start.is_none() {
            start = Some(line.span.start);
        } else if word == "END:VCALENDAR"
            && let Some(from) = start.take()
        {
            found.push(from..line.span.end);
        }
    }
    found.extend(start.map(|from| from..octets.len()));
    found
}

/// The lines of one object, or what in it is no property line.
pub fn lines(octets: &[u8]) -> Result<Vec<Line>, String> {
    let physical = physicals(octets);
    let (mut found, mut i) = (Vec::new(), 0);
    while i < physical.len() {
        let first = &physical[i];
        i += 1;
        if first.text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut joined = first.text.to_vec();
        let begun = i;
        let mut line = parse(&joined);
        while let Some(next) = physical.get(i) {
            let blank = next.text.first().is_some_and(|b| matches!(b, b' ' | b'\t'));
            let soft = line.as_ref().is_some_and(Line::quoted_printable) && joined.last() == Some(&b'=');
            if soft {
                joined.pop();
                joined.extend_from_slice(next.text);
            } else if line.as_ref().is_some_and(Line::base64) {
                let packed = next.text.iter().all(|b| b.is_ascii_alphanumeric() || b"+/= \t".contains(b));
                if next.text.is_empty() || !(blank || packed) {
                    break;
                }
                joined.extend_from_slice(next.text.trim_ascii());
            } else if blank && !next.text.trim_ascii().is_empty() {
                joined.extend_from_slice(&next.text[1..]);
            } else {
                break;
            }
            i += 1;
            line = parse(&joined);
        }
        let clip = || String::from_utf8_lossy(first.text).chars().take(40).collect::<String>();
        let mut line = line.ok_or_else(|| format!("line {} is no property: {:?}", first.number, clip()))?;
        line.span = first.span.start..physical[i - 1].span.end;
        line.number = first.number;
        line.folds = i - begun;
        found.push(line);
    }
    Ok(found)
}

/// One joined line taken apart.
pub fn parse(joined: &[u8]) -> Option<Line> {
    let text = joined.trim_ascii_start();
    let len = text.iter().take_while(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)).count();
    let name = String::from_utf8_lossy(&text[..len]).to_ascii_uppercase();
    let rest = text[len..].trim_ascii_start();
    if len == 0 || !matches!(rest.first(), Some(b':' | b';')) {
        return None;
    }
    let (mut quoted, mut colon) = (false, None);
    for (i, b) in rest.iter().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b':' if !quoted => {
                colon = Some(i);
                break;
            }
            _ => {}
        }
    }
    let colon = colon.or_else(|| rest.iter().position(|b| *b == b':'))?;
    let value = rest[colon + 1..].trim_ascii_start().to_vec();
    Some(Line { name, params: params(&rest[..colon]), value, span: 0..0, number: 0, folds: 0 })
}

fn params(text: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(text);
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        match c {
            ';' if !quoted => parts.push(String::new()),
            _ => {
                quoted ^= c == '"';
                parts.last_mut().expect("never empty").push(c);
            }
        }
    }
    let parts = parts.iter().map(|p| p.trim()).filter(|p| !p.is_empty());
    let split = |p: &str| match p.split_once('=') {
        Some((name, value)) if !name.contains('"') => (name.trim().to_ascii_uppercase(), unquote(value)),
        _ => (String::new(), unquote(p)),
    };
    parts.map(split).collect()
}

fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    inner.filter(|v| !v.contains('"')).unwrap_or(value).to_owned()
}

/// The components of one object, or what is wrong with their nesting.
pub fn tree(octets: &[u8]) -> Result<Node, String> {
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    for line in lines(octets)? {
        let word = line.raw().trim().to_ascii_uppercase();
        match line.name.as_str() {
            "BEGIN" => open.push(Node { name: word, lines: Vec::new(), children: Vec::new(), span: line.span }),
            "END" => {
                let mut node =
                    open.pop().filter(|n| n.name == word).ok_or_else(|| format!("line {}: END:{word} ends nothing", line.number))?;
                node.span.end = line.span.end;
                match open.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None if root.is_none() => root = Some(node),
                    None => return Err(format!("line {}: a second object", line.number)),
                }
            }
            _ => match open.last_mut() {
                Some(node) => node.lines.push(line),
                None => return Err(format!("line {}: {} stands outside the object", line.number, line.name)),
            },
        }
    }
    match open.last() {
        Some(node) => Err(format!("{} is not ended", node.name)),
        None => root.ok_or_else(|| "it holds no object".to_owned()),
    }
}
