//! An object that holds what the relay takes only one by one: events of several UIDs, or of none. Each becomes an object
//! of its own, for showing.
//!
//! Invariants: a single holds every line of its events and every line that belongs to no event; [`Single::number`] gives
//! back where a line stood; all singles together have at most [`MAX_OCTETS`].

use std::collections::HashMap;

use super::error::ObjectError;
use super::object::{event_components, is_read};
use super::property::Document;
use super::text;
use crate::ident::EventId;

/// Octets of all singles of one object.
const MAX_OCTETS: usize = 64 << 20;
/// The UID that stands in for a missing one.
const STAND_IN: &[u8] = b"UID:unread\r\n";

/// The events of one UID, or one event without UID.
#[derive(Clone, Debug)]
pub struct Single {
    pub octets: Vec<u8>,
    /// Its UID is its own.
    pub named: bool,
    /// Of each physical line, its number in the whole; 0 for one that was put in.
    numbers: Vec<usize>,
}

/// The singles of an object, in its order.
#[derive(Clone, Debug)]
pub struct Singles {
    pub list: Vec<Single>,
    /// How many more there are, for which there was no room.
    pub more: usize,
}

impl Single {
    /// The number in the whole of the line that has this one here.
    pub fn number(&self, line: usize) -> Option<usize> {
        self.numbers.get(line.checked_sub(1)?).copied().filter(|n| *n > 0)
    }
}

/// Takes an object apart. Errors are those of an object that cannot be indexed, or that holds no event.
pub fn singles(octets: Vec<u8>) -> Result<Singles, ObjectError> {
    let document = Document::parse(octets)?;
    let places = event_components(&document)?;
    if places == [0] && !document.lines.iter().any(|l| is_read(&l.name)) {
        // Octets without a property of an event are no bare object.
        return Err(ObjectError::NoEvent);
    }
    let (mut groups, mut of_uid): (Vec<Group>, HashMap<String, usize>) = (Vec::new(), HashMap::new());
    // The event that each line belongs to, the inner one where they nest; 0: none.
    let mut owners = vec![0; document.lines.len()];
    for place in places {
        let lines = document.components[place].lines.clone();
        owners[lines].fill(place);
        let uid = uid(&document, place);
        let known = uid.as_ref().and_then(|uid| of_uid.get(uid)).copied();
        if let Some(group) = known {
            groups[group].places.push(place);
        } else {
            groups.push(Group { named: uid.is_some(), places: vec![place] });
            of_uid.extend(uid.map(|uid| (uid, groups.len() - 1)));
        }
    }
    let shared: Vec<usize> = (0..owners.len()).filter(|&i| owners[i] == 0).collect();
    let (mut list, mut used) = (Vec::new(), 0);
    for group in &groups {
        let single = Writer::new(&document, &owners).write(group, &shared);
        used += single.octets.len();
        if used > MAX_OCTETS {
            break;
        }
        list.push(single);
    }
    Ok(Singles { more: groups.len() - list.len(), list })
}

struct Group {
    named: bool,
    places: Vec<usize>,
}

fn uid(document: &Document, place: usize) -> Option<String> {
    let (_, line) = document.lines_of(place).find(|(_, l)| &*l.name == "UID")?;
    EventId::parse(&text::unescape(&text::raw(&document.content(line)), false)).ok().map(|uid| uid.to_string())
}

struct Writer<'a> {
    document: &'a Document,
    owners: &'a [usize],
    octets: Vec<u8>,
    numbers: Vec<usize>,
}

impl<'a> Writer<'a> {
    const fn new(document: &'a Document, owners: &'a [usize]) -> Self {
        Self { document, owners, octets: Vec::new(), numbers: Vec::new() }
    }

    fn write(mut self, group: &Group, shared: &[usize]) -> Single {
        let first = group.places.first().map_or(0, |p| self.document.components[*p].lines.start);
        let (before, after) = shared.split_at(shared.partition_point(|i| *i < first));
        if group.places == [0] && !group.named {
            self.put(STAND_IN);
        }
        self.lines(before);
        for &place in group.places.iter().filter(|p| **p != 0) {
            let lines = self.document.components[place].lines.clone();
            self.line(lines.start);
            if !group.named {
                self.put(STAND_IN);
            }
            for index in lines.skip(1).filter(|i| self.owners[*i] == place) {
                let line = &self.document.lines[index];
                if group.named || line.component != place || &*line.name != "UID" {
                    self.line(index);
                }
            }
        }
        self.lines(after);
        Single { octets: self.octets, named: group.named, numbers: self.numbers }
    }

    fn put(&mut self, line: &[u8]) {
        self.octets.extend_from_slice(line);
        self.numbers.push(0);
    }

    fn lines(&mut self, indexes: &[usize]) {
        for &index in indexes {
            self.line(index);
        }
    }

    /// A line, and the blank ones after it, which may end it.
    fn line(&mut self, index: usize) {
        let line = &self.document.lines[index];
        let end = self.document.lines.get(index + 1).map_or(self.document.octets.len(), |next| next.span.start);
        let octets = &self.document.octets[line.span.start..end];
        if !self.octets.is_empty() && !self.octets.ends_with(b"\n") {
            self.octets.extend_from_slice(b"\r\n");
        }
        self.octets.extend_from_slice(octets);
        let count = octets.split_inclusive(|&b| b == b'\n').count();
        self.numbers.extend(line.number..line.number + count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calendar::Object;

    const MIXED: &str = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nSUMMARY:one\nEND:VEVENT\nBEGIN:VEVENT\nUID:\n\
        SUMMARY:no UID\nDTSTART:soon\nEND:VEVENT\n\nBEGIN:VTIMEZONE\nTZID:z\nEND:VTIMEZONE\nBEGIN:VEVENT\nSUMMARY:none\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:1\nRECURRENCE-ID:20260101T000000Z\nBEGIN:VALARM\nUID:9\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n";

    #[test]
    fn each_uid_and_each_event_without_one_is_an_object() {
        let found = singles(MIXED.as_bytes().to_vec()).unwrap();
        let read: Vec<(bool, usize, Option<String>)> = found
            .list
            .iter()
            .map(|single| {
                let object = Object::parse(single.octets.clone()).unwrap();
                (single.named, object.events().len(), object.event().summary.clone())
            })
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!((read, found.more), (vec![(true, 2, text("one")), (false, 1, text("no UID")), (false, 1, text("none"))], 0));
        assert!(found.list.iter().all(|s| String::from_utf8_lossy(&s.octets).contains("TZID:z\n")));
        let second = Object::parse(found.list[1].octets.clone()).unwrap();
        assert!(second.problems().contains(&"line 6: DTSTART is not a time that can be read".to_owned()), "{:?}", second.problems());
        assert_eq!((found.list[1].number(6), found.list[1].number(4), found.list[1].number(99)), (Some(10), None, None));
    }

    #[test]
    fn a_bare_object_without_uid_is_one_too() {
        let found = singles(b"SUMMARY: a\nDTSTART: soon\n".to_vec()).unwrap();
        assert_eq!((found.list.len(), found.list[0].named), (1, false));
        assert_eq!(Object::parse(found.list[0].octets.clone()).unwrap().event().summary.as_deref(), Some("a"));
        assert_eq!(found.list[0].number(2), Some(1));
        assert_eq!(singles(b"This is no calendar: not at all.\n".to_vec()).unwrap_err(), ObjectError::NoEvent);
    }

    /// Broken off and begun anew in the middle of an event: the second one stands in the first.
    #[test]
    fn an_event_within_an_event_is_taken_once() {
        for (inner, singles_of) in [("1", vec![2]), ("2", vec![1, 1])] {
            let text = format!("BEGIN:VEVENT\nUID:1\nBEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:{inner}\nBEGIN:VCALENDAR\n");
            let found = singles(text.into_bytes()).unwrap();
            let events = found.list.iter().map(|s| Object::parse(s.octets.clone()).unwrap().events().len());
            assert_eq!(events.collect::<Vec<_>>(), singles_of, "{found:?}");
        }
    }

    #[test]
    fn what_all_share_is_not_multiplied_without_bound() {
        let events: String = (0..1_000).map(|n| format!("BEGIN:VEVENT\nUID:{n}\nEND:VEVENT\n")).collect();
        let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\nX-LONG:{}\n{events}END:VCALENDAR\n", "x".repeat(1 << 20));
        let found = singles(text.into_bytes()).unwrap();
        assert_eq!(found.list.len() + found.more, 1_000);
        assert!(found.list.len() >= 60 && found.list.iter().map(|s| s.octets.len()).sum::<usize>() <= MAX_OCTETS);
    }

    proptest! {
        #![proptest_config(crate::calendar::tests::cases(300))]

        #[test]
        fn every_event_of_an_object_is_in_one_single(octets in crate::calendar::tests::pieces()) {
            let (whole, taken) = (Object::parse(octets.clone()), singles(octets));
            if let (Ok(whole), Ok(taken)) = (whole, taken) {
                prop_assert_eq!(taken.list.len(), 1);
                let single = Object::parse(taken.list[0].octets.clone());
                prop_assert_eq!(single.map(|s| s.events().len()).ok(), Some(whole.events().len()));
            }
        }
    }
}
