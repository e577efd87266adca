//! Changing single lines of an object in place.
//!
//! Invariants: a line that a patch does not name keeps every octet, its line end included; an added line stands where
//! its reader will not join it to its neighbours; long added lines are folded in iCalendar only.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::convert::vwriter;
use super::event::{Format, Method, Trace};
use super::object::{Object, RECIPIENT, TRACE};
use super::people;
use super::property::{Content, Document, Line, Param};
use super::text;
use crate::ident::{EventId, UserId};

/// What is to be changed. The default changes nothing.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent changes, not states")]
pub struct Patch {
    /// Takes out all X-CIP-RCPT lines.
    pub drop_recipients: bool,
    /// Adds one X-CIP-RCPT line each, after `drop_recipients`.
    pub add_recipients: Vec<UserId>,
    /// Takes out all X-CIP-TRACE lines (for an answer, which starts a trace of its own).
    pub drop_traces: bool,
    pub add_trace: Option<Trace>,
    /// (old, new) in ATTENDEE, ORGANIZER and X-CIP-RCPT lines.
    pub rewrite: Vec<(UserId, UserId)>,
    /// Adds an ATTENDEE line each to the event, for those who have none.
    pub add_attendees: Vec<UserId>,
    /// Of all events of the object.
    pub uid: Option<EventId>,
    /// SEQUENCE as it is to stand, of all events of the object.
    pub sequence: Option<u32>,
    /// Takes out what a stranger should not put into a calendar: attachments, alarms, and links that are not of the web.
    pub drop_attach: bool,
    /// METHOD of a VCALENDAR; a bare object has none.
    pub method: Option<Method>,
    /// STATUS:CANCELLED on all events.
    pub cancelled: bool,
    /// COMMENT of the first event.
    pub comment: Option<String>,
    /// EXDATE of the first event for each of these instances, as [`Event::recurrence_id`](super::event::Event) has them.
    pub exclude: Vec<String>,
    /// Takes out the ATTENDEE lines of these people.
    pub drop_attendees: Vec<UserId>,
}

impl Document {
    /// Whether a line is, or belongs to, what a stranger should not put into a calendar (profile 4).
    pub(crate) fn is_untrusted(&self, line: &Line) -> bool {
        match &*line.name {
            "ATTACH" | "AALARM" | "DALARM" | "MALARM" | "PALARM" => true,
            "URL" | "CONFERENCE" => {
                let text = text::raw(&self.content(line)).trim_start().to_ascii_lowercase();
                !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
            }
            _ => self.within(line.component, "VALARM"),
        }
    }

    /// Whether a component is of this name, or stands in one that is.
    fn within(&self, mut component: usize, name: &str) -> bool {
        while component != 0 {
            let here = &self.components[component];
            if here.name == name {
                return true;
            }
            component = here.parent;
        }
        false
    }
}

impl Object {
    /// Whether [`Patch::drop_recipients`] takes anything out.
    pub fn has_recipients(&self) -> bool {
        self.document.lines.iter().any(|line| &*line.name == RECIPIENT)
    }

    /// The octets with the patch applied; the object itself stays as it is.
    pub fn patched(&self, patch: &Patch) -> Vec<u8> {
        let mut edits = Edits::new(&self.document);
        for (index, line) in self.document.lines.iter().enumerate() {
            let drop = match &*line.name {
                RECIPIENT => patch.drop_recipients,
                TRACE => patch.drop_traces,
                _ if patch.drop_attach => self.document.is_untrusted(line),
                _ => false,
            };
            if drop {
                edits.drop_line(index);
            }
        }
        edits.rewrite(&patch.rewrite);
        for &place in &self.places {
            if let Some(uid) = &patch.uid {
                edits.set(place, "UID", uid.as_str());
            }
            if let Some(sequence) = patch.sequence {
                edits.set(place, "SEQUENCE", &sequence.to_string());
            }
            if patch.cancelled {
                edits.set(place, "STATUS", "CANCELLED");
            }
        }
        if let Some(method) = patch.method {
            edits.set_method(method);
        }
        edits.unseat(&patch.drop_attendees);
        let first = self.places[0];
        for date in &patch.exclude {
            let whole = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
            edits.insert(first, &format!("EXDATE{}:{date}", if whole { ";VALUE=DATE" } else { "" }));
        }
        if let Some(comment) = &patch.comment {
            edits.set(first, "COMMENT", &text::escape(comment));
        }
        let known: HashSet<&UserId> = self.event().attendees.iter().map(|p| &p.address).collect();
        let scheme = if self.format() == Format::ICalendar { "mailto:" } else { "" };
        for user in patch.add_attendees.iter().filter(|u| !known.contains(u)) {
            edits.insert(first, &format!("ATTENDEE:{scheme}{user}"));
        }
        for user in &patch.add_recipients {
            edits.insert(first, &format!("{RECIPIENT}:{user}"));
        }
        if let Some(trace) = &patch.add_trace {
            let Trace { server, time, verb, version } = trace;
            edits.insert(first, &format!("{TRACE}:{server};{time};{verb};{version}"));
        }
        edits.apply()
    }
}

/// The object with every line ended by CRLF: for what came by mail with LF alone and is to go over CIP. A CR that ends
/// no line becomes a blank, since the wire takes none (profile 1).
pub fn crlf(octets: Vec<u8>) -> Vec<u8> {
    let clean = octets.iter().enumerate().all(|(i, &b)| match b {
        b'\n' => i > 0 && octets[i - 1] == b'\r',
        b'\r' => octets.get(i + 1) == Some(&b'\n'),
        _ => true,
    });
    if clean {
        return octets;
    }
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 32);
    for line in octets.split_inclusive(|&b| b == b'\n') {
        let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |i| i + 1);
        out.extend(line[..end].iter().map(|&b| if b == b'\r' { b' ' } else { b }));
        if line.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

enum Change {
    Drop,
    /// Octets with their line end.
    Replace(Vec<u8>),
}

/// Changes to a document, collected and then applied at once.
pub(super) struct Edits<'a> {
    document: &'a Document,
    changes: BTreeMap<usize, Change>,
    /// Before the line of that index.
    inserts: BTreeMap<usize, Vec<u8>>,
    line_end: &'static [u8],
    /// Where a component's new lines go, once it has been found out.
    ends: HashMap<usize, usize>,
}

impl<'a> Edits<'a> {
    pub fn new(document: &'a Document) -> Self {
        let first = document.octets.iter().position(|&b| b == b'\n');
        let bare_lf = first.is_some_and(|i| i == 0 || document.octets[i - 1] != b'\r');
        Self {
            document,
            changes: BTreeMap::new(),
            inserts: BTreeMap::new(),
            line_end: if bare_lf { b"\n" } else { b"\r\n" },
            ends: HashMap::new(),
        }
    }

    pub fn drop_line(&mut self, index: usize) {
        self.changes.insert(index, Change::Drop);
    }

    /// Puts a line of our own in the place of one, unless that one is already dropped.
    pub fn replace(&mut self, index: usize, line: &str) {
        let octets = self.octets_of(line.as_bytes());
        self.replace_raw(index, octets);
    }

    fn replace_raw(&mut self, index: usize, octets: Vec<u8>) {
        if !matches!(self.changes.get(&index), Some(Change::Drop)) {
            self.changes.insert(index, Change::Replace(octets));
        }
    }

    /// Adds a line to a component: before its inner components, else at its end.
    pub fn insert(&mut self, component: usize, line: &str) {
        let at = self.ends.get(&component).copied().unwrap_or_else(|| self.end_of(component));
        self.ends.insert(component, at);
        let octets = self.octets_of(line.as_bytes());
        self.inserts.entry(at).or_default().extend_from_slice(&octets);
    }

    /// Adds whole lines before the line of that index.
    pub fn insert_octets(&mut self, before: usize, octets: Vec<u8>) {
        self.inserts.entry(before).or_default().extend(octets);
    }

    /// Adds a line right after another.
    pub fn insert_after(&mut self, index: usize, line: &str) {
        let octets = self.octets_of(line.as_bytes());
        self.inserts.entry(index + 1).or_default().extend_from_slice(&octets);
    }

    /// Gives the first property of that name a value, adds it when there is none, and drops further ones.
    pub fn set(&mut self, component: usize, name: &str, value: &str) {
        let mut found = false;
        let document = self.document;
        for (index, line) in document.lines_of(component).filter(|(_, l)| &*l.name == name) {
            if found {
                self.drop_line(index);
            } else {
                found = true;
                self.set_value(index, line, name, value);
            }
        }
        if !found {
            self.insert(component, &format!("{name}:{value}"));
        }
    }

    /// Replaces the value alone where the line has no parameters, so that blanks and case of the name stay.
    fn set_value(&mut self, index: usize, line: &Line, name: &str, value: &str) {
        let (text, places) = self.document.placed(line);
        let range = Document::value_range(&text);
        let head = &text[..range.start];
        if range.is_empty() || head.contains(&b';') || !head.contains(&b':') {
            self.replace(index, &format!("{name}:{value}"));
            return;
        }
        self.splice(index, &text, &places, range, value.as_bytes());
    }

    /// Replaces part of a joined line in its octets.
    fn splice(&mut self, index: usize, text: &[u8], places: &[usize], range: std::ops::Range<usize>, new: &[u8]) {
        let span = self.document.lines[index].span.clone();
        let octets = &self.document.octets;
        let mut out = octets[span.start..places[range.start]].to_vec();
        out.extend_from_slice(new);
        out.extend_from_slice(&octets[places[range.end - 1] + 1..span.end]);
        let long = out.split(|&b| b == b'\n').any(|l| l.strip_suffix(b"\r").unwrap_or(l).len() > text::FOLD_AT);
        if long && self.document.format == Format::ICalendar {
            let line = [&text[..range.start], new, &text[range.end..]].concat();
            out = self.octets_of(&line);
        }
        self.replace_raw(index, out);
    }

    pub fn set_method(&mut self, method: Method) {
        let Some(calendar) = self.document.components.iter().position(|c| c.name == "VCALENDAR") else { return };
        let document = self.document;
        let place = |name: &str| document.lines_of(calendar).find(|(_, l)| &*l.name == name).map(|(i, _)| i);
        let line = format!("METHOD:{}", method.as_str());
        match (place("METHOD"), place("VERSION")) {
            (Some(index), _) => self.replace(index, &line),
            (None, Some(index)) => self.insert_after(index, &line),
            (None, None) => self.insert_after(document.components[calendar].lines.start, &line),
        }
    }

    /// Puts new addresses in the place of old ones in ATTENDEE, ORGANIZER and X-CIP-RCPT lines.
    pub fn rewrite(&mut self, pairs: &[(UserId, UserId)]) {
        let pairs: HashMap<&UserId, &UserId> = pairs.iter().map(|(old, new)| (old, new)).collect();
        let document = self.document;
        let named = document.lines.iter().enumerate().filter(|(_, l)| matches!(&*l.name, "ATTENDEE" | "ORGANIZER" | RECIPIENT));
        for (index, line) in named.filter(|_| !pairs.is_empty()) {
            let content = document.content(line);
            let Some(seat) = people::seat(&content) else { continue };
            if let Some(new) = pairs.get(&seat.person.address) {
                self.readdress(index, &content, &seat.person.address, new);
            }
        }
    }

    /// Takes out the ATTENDEE lines of these people, unless one of them owns the event.
    fn unseat(&mut self, people: &[UserId]) {
        let document = self.document;
        let named = document.lines.iter().enumerate().filter(|(_, l)| !people.is_empty() && &*l.name == "ATTENDEE");
        for (index, line) in named {
            if people::seat(&document.content(line)).is_some_and(|s| !s.owner && people.contains(&s.person.address)) {
                self.drop_line(index);
            }
        }
    }

    fn readdress(&mut self, index: usize, content: &Content, old: &UserId, new: &UserId) {
        let (text, places) = self.document.placed(&self.document.lines[index]);
        let (old, new_text) = (old.to_string(), new.to_string());
        let found = text.windows(old.len()).rposition(|w| w == old.as_bytes());
        let value = Document::value_range(&text);
        if let Some(at) = found.filter(|at| *at >= value.start) {
            let line = [&text[..at], new_text.as_bytes(), &text[at + old.len()..]].concat();
            let kept = Content { value: line[Document::value_range(&line)].into(), ..content.clone() };
            if people::seat(&kept).is_some_and(|s| s.person.address == *new) {
                self.splice(index, &text, &places, at..at + old.len(), new_text.as_bytes());
                return;
            }
        }
        // Encoded, or in the EMAIL parameter: the line is written anew.
        let line = person_line(self.document.format, content, new);
        self.replace(index, &line);
    }

    /// The line index before which a new line of a component goes.
    fn end_of(&self, component: usize) -> usize {
        let Some(place) = self.document.components.get(component) else { return self.document.lines.len() };
        let lines = place.lines.clone();
        if component == 0 {
            return self.not_swallowed(lines.end, 0);
        }
        let inner = lines.clone().find(|&i| self.document.lines[i].component != component);
        let end = if place.closed { lines.end - 1 } else { lines.end };
        self.not_swallowed(inner.unwrap_or(end), lines.start + 1)
    }

    /// Not after a line that ends in `=`: its reader might take what follows for its continuation.
    fn not_swallowed(&self, mut at: usize, least: usize) -> usize {
        let ends_open = |i: usize| {
            let octets = &self.document.octets[self.document.lines[i].span.clone()];
            octets.iter().rev().find(|b| !b.is_ascii_whitespace()) == Some(&b'=')
        };
        while at > least && ends_open(at - 1) {
            at -= 1;
        }
        at
    }

    fn octets_of(&self, line: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(line.len() + 8);
        if self.document.format == Format::ICalendar {
            text::fold_into(&mut out, line);
            if self.line_end == b"\n" {
                out.retain(|&b| b != b'\r');
            }
        } else {
            vwriter::wrap_into(&mut out, line);
            if self.line_end == b"\n" {
                out.retain(|&b| b != b'\r');
            }
        }
        out
    }

    pub fn apply(&self) -> Vec<u8> {
        let octets = &self.document.octets;
        let extra: usize = self.inserts.values().map(Vec::len).sum();
        let (mut out, mut at) = (Vec::with_capacity(octets.len() + extra + 256), 0);
        for (index, line) in self.document.lines.iter().enumerate() {
            if let Some(new) = self.inserts.get(&index) {
                // Before the blank lines that stand before the line.
                self.add(&mut out, new);
            }
            out.extend_from_slice(&octets[at..line.span.start]);
            match self.changes.get(&index) {
                Some(Change::Drop) => {}
                Some(Change::Replace(new)) => out.extend_from_slice(new),
                None => out.extend_from_slice(&octets[line.span.clone()]),
            }
            at = line.span.end;
        }
        if let Some(new) = self.inserts.get(&self.document.lines.len()) {
            self.add(&mut out, new);
        }
        out.extend_from_slice(&octets[at..]);
        out
    }

    fn add(&self, out: &mut Vec<u8>, new: &[u8]) {
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.extend_from_slice(self.line_end);
        }
        out.extend_from_slice(new);
    }
}

/// `;NAME=value` for each parameter, as that format writes them.
pub(super) fn params_text<'p>(params: impl Iterator<Item = &'p Param>, format: Format) -> String {
    let mut out = String::new();
    for Param { name, value } in params {
        out.push(';');
        if !name.is_empty() {
            out.push_str(name);
            out.push('=');
        }
        // A list of quoted values keeps its quotes.
        if value.starts_with('"') {
            out.push_str(value);
        } else if format == Format::ICalendar {
            out.push_str(&text::ical_param_value(value));
        } else {
            out.push_str(&text::param_value(value));
        }
    }
    out
}

/// An ATTENDEE or ORGANIZER line with the parameters it had and another address.
fn person_line(format: Format, content: &Content, address: &UserId) -> String {
    let plain = |p: &&Param| match p.name.as_str() {
        "ENCODING" | "CHARSET" | "EMAIL" => false,
        "" => !p.value.eq_ignore_ascii_case("QUOTED-PRINTABLE") && !p.value.eq_ignore_ascii_case("BASE64"),
        _ => true,
    };
    let params = params_text(content.params.iter().filter(plain), format);
    let name = people::read_user(&text::raw(content)).and_then(|(_, name)| name);
    if format == Format::ICalendar {
        return format!("{}{params}:mailto:{address}", content.name);
    }
    vwriter::person_line(&content.name, &params, name.as_deref(), address)
}
