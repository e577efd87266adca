//! Objects whose components do not nest as they should: a BEGIN without its END, an END without its BEGIN, an event in a
//! zone, lines around the calendar.
//!
//! Both directions go through calendars that hold events and zones side by side, and each of these whole. An object that
//! is something else is put in that order first, as its [`Object`](crate::calendar::Object) is read: an event is one of
//! its own wherever it stands, and what a component that cannot be named holds belongs to what is around it. Invariants:
//! each line but END is in the result once; an object in good order stays as it is; the time is in proportion to the lines.

use std::borrow::Cow;
use std::ops::Range;

use crate::calendar::property::{Component, Document, Line};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Root,
    Calendar,
    Event,
    Zone,
    /// A part of a zone, an alarm.
    Inner,
    Other,
}

impl Kind {
    fn of(component: usize, name: &str) -> Self {
        match name {
            _ if component == 0 => Self::Root,
            "VCALENDAR" => Self::Calendar,
            "VEVENT" | "VTODO" | "VJOURNAL" | "VFREEBUSY" => Self::Event,
            "VTIMEZONE" => Self::Zone,
            "STANDARD" | "DAYLIGHT" | "VALARM" => Self::Inner,
            _ => Self::Other,
        }
    }

    /// Whether a component may stand in one of another kind.
    fn fits(self, parent: Self) -> bool {
        match self {
            Self::Calendar => parent == Self::Root,
            Self::Event | Self::Zone => matches!(parent, Self::Root | Self::Calendar),
            // What they say where they do not belong is a loss.
            Self::Inner => !matches!(parent, Self::Inner),
            Self::Root | Self::Other => true,
        }
    }
}

/// The document with its components in order.
pub(super) fn in_order(document: &Document) -> Cow<'_, Document> {
    let kinds: Vec<Kind> = document.components.iter().enumerate().map(|(i, c)| Kind::of(i, &c.name)).collect();
    if is_in_order(document, &kinds) {
        return Cow::Borrowed(document);
    }
    let homes = homes(document, &kinds);
    let (children, own) = members(document, &kinds, &homes);
    let mut order = Order { document, children: &children, own: &own, lines: Vec::new(), components: Vec::new() };
    order.add(0, 0);
    let (lines, components) = (order.lines, order.components);
    let (octets, problems) = (document.octets.clone(), document.problems.clone());
    Cow::Owned(Document { octets, format: document.format, lines, components, problems })
}

fn is_in_order(document: &Document, kinds: &[Kind]) -> bool {
    let calendars = kinds.contains(&Kind::Calendar);
    let ended = |c: &Component| c.closed && document.lines.get(c.lines.end.wrapping_sub(1)).is_some_and(|l| &*l.name == "END");
    let whole = document.components.iter().skip(1).all(ended);
    // An END that ends nothing has lost its name; a line beside the calendar belongs to none.
    let stray = |l: &Line| l.name.is_empty() && is_end(document, l) || calendars && l.component == 0;
    let outside = |i: usize| calendars && i > 0 && document.components[i].parent == 0 && kinds[i] != Kind::Calendar;
    let placed = document.components.iter().enumerate().all(|(i, c)| kinds[i].fits(kinds[c.parent]) && !outside(i));
    whole && placed && !document.lines.iter().any(stray)
}

fn is_end(document: &Document, line: &Line) -> bool {
    document.octets[line.span.clone()].trim_ascii_start().get(..3).is_some_and(|n| n.eq_ignore_ascii_case(b"END"))
}

/// Where the lines and components of each component go: itself, or the one that takes its place.
struct Home {
    /// The component that takes its lines.
    to: usize,
    /// The calendar around it, or the root.
    calendar: usize,
    /// The event or zone around it.
    holder: Option<usize>,
}

fn homes(document: &Document, kinds: &[Kind]) -> Vec<Home> {
    let first = kinds.iter().position(|k| *k == Kind::Calendar).unwrap_or(0);
    let mut homes: Vec<Home> = vec![Home { to: first, calendar: first, holder: None }];
    for (i, component) in document.components.iter().enumerate().skip(1) {
        let parent = &homes[component.parent];
        homes.push(match kinds[i] {
            // One inside another is the same one.
            Kind::Calendar if inside_calendar(document, kinds, i) => Home { to: parent.calendar, calendar: parent.calendar, holder: None },
            Kind::Calendar => Home { to: i, calendar: i, holder: None },
            Kind::Event | Kind::Zone => Home { to: i, calendar: parent.calendar, holder: Some(i) },
            Kind::Root | Kind::Inner | Kind::Other => Home { to: i, calendar: parent.calendar, holder: parent.holder },
        });
    }
    homes
}

fn inside_calendar(document: &Document, kinds: &[Kind], mut place: usize) -> bool {
    while place != 0 {
        place = document.components[place].parent;
        if kinds[place] == Kind::Calendar {
            return true;
        }
    }
    false
}

/// The components and lines that each component has in the result.
fn members(document: &Document, kinds: &[Kind], homes: &[Home]) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let (mut children, mut own) = (vec![Vec::new(); homes.len()], vec![Vec::new(); homes.len()]);
    for (i, component) in document.components.iter().enumerate().skip(1) {
        if homes[i].to != i {
            continue;
        }
        let around = &homes[component.parent];
        let into = match kinds[i] {
            Kind::Calendar => 0,
            Kind::Event | Kind::Zone => around.calendar,
            Kind::Inner => around.holder.unwrap_or(around.to),
            _ => around.to,
        };
        children[into].push(i);
    }
    for (at, line) in document.lines.iter().enumerate() {
        let edge = matches!(&*line.name, "BEGIN" | "END") || line.name.is_empty() && is_end(document, line);
        if !edge {
            own[homes[line.component].to].push(at);
        }
    }
    (children, own)
}

/// Writes the index anew.
struct Order<'a> {
    document: &'a Document,
    children: &'a [Vec<usize>],
    own: &'a [Vec<usize>],
    lines: Vec<Line>,
    components: Vec<Component>,
}

impl Order<'_> {
    /// Depth is that of the document, which is bounded.
    fn add(&mut self, place: usize, parent: usize) {
        let (component, index, start) = (&self.document.components[place], self.components.len(), self.lines.len());
        self.components.push(Component { parent, lines: 0..0, closed: true, name: component.name.clone() });
        let edge = |name: &str, range: Range<usize>| {
            let within = |l: &&Line| l.component == place && &*l.name == name;
            self.document.lines[range].iter().find(within).map(|l| Line { component: index, ..l.clone() })
        };
        let bounds = component.lines.clone();
        let (begin, end) = if place == 0 {
            (None, None)
        } else {
            (
                edge("BEGIN", bounds.start..(bounds.start + 1).min(bounds.end)),
                edge("END", bounds.end.saturating_sub(1).max(bounds.start)..bounds.end),
            )
        };
        self.lines.extend(begin);
        for at in &self.own[place] {
            self.lines.push(Line { component: index, ..self.document.lines[*at].clone() });
        }
        for child in &self.children[place] {
            self.add(*child, index);
        }
        self.lines.extend(end);
        self.components[index].lines = start..self.lines.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::tests::crlf;

    /// The components as they are nested, and the names of their lines.
    fn shape(text: &str) -> (bool, String) {
        let document = Document::parse(crlf(text)).unwrap();
        let kinds: Vec<Kind> = document.components.iter().enumerate().map(|(i, c)| Kind::of(i, &c.name)).collect();
        let whole = is_in_order(&document, &kinds);
        let document = in_order(&document);
        (whole, said(&document, 0))
    }

    fn said(document: &Document, place: usize) -> String {
        let lines = document.lines_of(place).map(|(_, l)| String::from_utf8_lossy(&document.joined(l)).into_owned());
        let inner = (1..document.components.len()).filter(|i| document.components[*i].parent == place);
        let inner = inner.map(|i| format!("{}({})", document.components[i].name, said(document, i)));
        lines.chain(inner).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_in_order_stays() {
        for text in [
            "BEGIN:VCALENDAR\nA:1\nBEGIN:VTIMEZONE\nBEGIN:DAYLIGHT\nB:1\nEND:DAYLIGHT\nEND:VTIMEZONE\nBEGIN:VEVENT\nC:1\nBEGIN:VALARM\nD:1\nEND:VALARM\n\
             E:1\nEND:VEVENT\nEND:VCALENDAR\n",
            "UID:1\nA:1\n",
            "BEGIN:VEVENT\nA:1\nBEGIN:X-B\nBEGIN:X-C\nEND:X-C\nEND:X-B\nEND:VEVENT\nBEGIN:VEVENT\nEND:VEVENT\n",
        ] {
            assert!(shape(text).0, "{text}");
        }
    }

    #[test]
    fn events_and_zones_stand_side_by_side() {
        for (text, expected) in [
            // END missing, in the middle and at the end.
            ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nA:1\nBEGIN:VTODO\nB:1\nEND:VTODO\nC:1\n", "VCALENDAR(VEVENT(A:1 C:1) VTODO(B:1))"),
            (
                "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nBEGIN:DAYLIGHT\nA:1\nBEGIN:STANDARD\nB:1\nEND:STANDARD\nBEGIN:VEVENT\nC:1\nBEGIN:VALARM\nBEGIN:VALARM\nD:1\n\
                 END:VALARM\nEND:VEVENT\nEND:VCALENDAR\n",
                "VCALENDAR(VTIMEZONE(DAYLIGHT(A:1) STANDARD(B:1)) VEVENT(C:1 VALARM() VALARM(D:1)))",
            ),
            // END of nothing, and too early.
            ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VTODO\nA:1\nEND:VEVENT\nEND:VCALENDAR\n", "VCALENDAR(VEVENT(A:1))"),
            ("BEGIN:VCALENDAR\nEND:VCALENDAR\nBEGIN:VEVENT\nA:1\nEND:VEVENT\nB:1\n", "VCALENDAR(B:1 VEVENT(A:1))"),
            // A calendar in a calendar, in an event, and after a mail's text.
            ("BEGIN:VCALENDAR\nBEGIN:VCALENDAR\nA:1\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR\nEND:VCALENDAR\n", "VCALENDAR(A:1 VEVENT())"),
            (
                "Hello\nBEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR\nBye\n",
                "VCALENDAR(Hello VERSION:2.0 Bye VEVENT())",
            ),
            // What nobody knows stays what it is, but for the events in it.
            ("BEGIN:VCALENDAR\nBEGIN:V ALENDAR\nA:1\nBEGIN:VEVENT\nB:1\n", "VCALENDAR(V ALENDAR(A:1) VEVENT(B:1))"),
        ] {
            assert_eq!(shape(text), (false, expected.to_owned()), "{text}");
        }
    }
}
