//! What a person reads, before it is text or HTML (bridge 5): a title, sentences, labelled rows, sections.
//!
//! Invariants: both forms are made from one [`Page`]; every value in it is bounded and cleaned of controls and of
//! characters that hide or reorder text; a value of a row has no line end of its own.

use crate::calendar::event::Person;
use crate::imip::compose::header::{is_invisible, visible};
use crate::imip::compose::words::{Difference, Words};
use crate::mime::transfer::clip;

/// Octets kept of a description or comment.
const MAX_DESCRIPTION: usize = 8 << 10;
/// Octets kept of a summary, a place or a name.
const MAX_WORDS: usize = 500;

/// How a value differs from what the recipient had, in the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `changed`, `new`, `removed`.
    pub how: &'static str,
    /// `was:` and the old value, where it is known.
    pub old: Option<(&'static str, String)>,
}

impl Change {
    pub(crate) fn new(words: &dyn Words, difference: Difference, old: Option<String>) -> Self {
        Self { how: words.difference(difference), old: old.map(|old| (words.old(difference), old)) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub label: &'static str,
    pub lines: Vec<String>,
    /// The lines are things beside each other, not one thing in several lines.
    pub list: bool,
    pub change: Option<Change>,
}

/// One of several things under a heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub title: String,
    pub change: Option<Change>,
    /// A single line stands beside the title.
    pub lines: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub heading: Option<&'static str>,
    pub change: Option<Change>,
    pub text: String,
    pub items: Vec<Item>,
}

impl Section {
    pub fn text(heading: Option<&'static str>, text: String) -> Self {
        Self { heading, change: None, text, items: Vec::new() }
    }
}

/// A page of labelled rows between sentences.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The tag of its language (BCP 47).
    pub language: &'static str,
    pub title: String,
    /// Stands out before all else.
    pub warning: Option<String>,
    /// Before the rows.
    pub intro: Vec<String>,
    pub rows: Vec<Row>,
    /// After the rows.
    pub sections: Vec<Section>,
}

impl Page {
    /// A row, unless nothing stands in it.
    pub fn row(&mut self, label: &'static str, lines: Vec<String>, change: Option<Change>) {
        if !lines.is_empty() || change.is_some() {
            self.rows.push(Row { label, lines, list: false, change });
        }
    }

    pub fn list(&mut self, label: &'static str, lines: Vec<String>) {
        if !lines.is_empty() {
            self.rows.push(Row { label, lines, list: true, change: None });
        }
    }

    /// Mail programs make links of addresses that they find in plain text; so written they find none (bridge 5). To be
    /// called before the relay's own words are added.
    pub fn unlink(&mut self) {
        let rows = self.rows.iter_mut().flat_map(|r| r.lines.iter_mut().chain(old_value(&mut r.change)));
        let sections = self.sections.iter_mut().flat_map(|s| {
            let items = s.items.iter_mut().flat_map(|i| std::iter::once(&mut i.title).chain(&mut i.lines).chain(old_value(&mut i.change)));
            std::iter::once(&mut s.text).chain(items)
        });
        for value in rows.chain(sections).chain(&mut self.intro).chain(std::iter::once(&mut self.title)) {
            for (live, dead) in [("://", "[:]//"), ("www.", "www[.]"), ("WWW.", "WWW[.]")] {
                if value.contains(live) {
                    *value = value.replace(live, dead);
                }
            }
        }
    }
}

fn old_value(change: &mut Option<Change>) -> Option<&mut String> {
    change.as_mut().and_then(|c| c.old.as_mut()).map(|(_, old)| old)
}

/// `Mary Weaver <mary@tiny.com>`, or the address.
pub fn person(person: &Person) -> String {
    match person.name.as_deref().map(words).filter(|n| !n.is_empty()) {
        Some(name) if !name.eq_ignore_ascii_case(&person.address.to_string()) => format!("{name} <{}>", person.address),
        _ => person.address.to_string(),
    }
}

/// One line of at most [`MAX_WORDS`] octets.
pub fn words(text: &str) -> String {
    clip(&visible(text), MAX_WORDS).trim_end().to_owned()
}

/// Several lines, without controls, bounded; `…` says that there was more.
pub fn paragraphs(text: &str) -> String {
    let text: String = text
        .replace("\r\n", "\n")
        .chars()
        .map(|c| if c == '\r' { '\n' } else { c })
        .filter(|c| *c == '\n' || *c == '\t' || !(c.is_control() || is_invisible(*c)))
        .collect();
    let text = text.trim();
    if text.len() <= MAX_DESCRIPTION { text.to_owned() } else { format!("{}…", clip(text, MAX_DESCRIPTION).trim_end()) }
}
