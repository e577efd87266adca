//! What a translation could not keep, as values: for `convert`, `inspect`, the entry's history and the counters.

use std::fmt;

use serde::Serialize;

use crate::calendar::error::clip;

/// Why something is not kept as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The other format has no word for it.
    NoCounterpart,
    /// It cannot be read.
    Unreadable,
    /// The other format takes one where there are several.
    OnlyOne,
    /// The zone is not known, or has rules that the other format cannot say.
    Zone,
    /// The sender is not verified (bridge 5).
    Unverified,
    /// It contradicts another property.
    Contradiction,
    /// The other format requires it, and the object does not say it.
    Required,
}

/// What was done instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// Travels under this name; a cip-relay at the other end restores it, other readers pass it by.
    Carried(String),
    /// Written as that many single dates.
    Dates(usize),
    /// Written as something near it: what.
    Approximated(String),
    /// Said in words in DESCRIPTION.
    Said,
    LeftOut,
}

/// One thing that a translation could not keep as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// UID of its event, when it has one.
    pub uid: Option<String>,
    /// The property's (or component's) name in the source.
    pub property: String,
    /// Its value or the part that matters, clipped.
    pub value: String,
    pub why: Why,
    pub done: Done,
}

/// What is said in one DESCRIPTION.
const MAX_NOTES: usize = 20;

/// Adds what a person would miss, up to a number that a person reads.
pub(super) fn note(notes: &mut Vec<String>, text: String) {
    if notes.len() < MAX_NOTES {
        notes.push(text);
    }
}

/// Losses listed of one object; the rest is counted.
const MAX_LOSSES: usize = 200;

/// The losses of one translation while it goes on.
#[derive(Debug, Default)]
pub(in crate::calendar) struct Losses {
    /// UID of the event being translated.
    pub uid: Option<String>,
    listed: Vec<Loss>,
    more: usize,
}

impl Losses {
    /// Lists a loss of the event at hand; the value is clipped.
    pub fn push(&mut self, property: &str, value: &str, why: Why, done: Done) {
        if self.listed.len() < MAX_LOSSES {
            let (uid, property, value) = (self.uid.clone(), clip(property), clip(value.trim()));
            self.listed.push(Loss { uid, property, value, why, done });
        } else {
            self.more += 1;
        }
    }

    /// Those of a translation that is part of this one.
    pub fn add(&mut self, losses: Vec<Loss>, more: usize) {
        self.more += more + losses.len();
        self.listed.extend(losses.into_iter().take(MAX_LOSSES.saturating_sub(self.listed.len())).inspect(|_| self.more -= 1));
    }

    /// Those listed, and how many more there were.
    pub fn finish(self) -> (Vec<Loss>, usize) {
        (self.listed, self.more)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCounterpart => "the other format has no word for it",
            Self::Unreadable => "it cannot be read",
            Self::OnlyOne => "the other format takes only one",
            Self::Zone => "the zone cannot be said",
            Self::Unverified => "the sender is not verified",
            Self::Contradiction => "it contradicts another property",
            Self::Required => "the other format requires it",
        })
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carried(name) => write!(f, "carried as {name}"),
            Self::Dates(n) => write!(f, "written as {n} single dates"),
            Self::Approximated(what) => write!(f, "written as {what}"),
            Self::Said => f.write_str("said in DESCRIPTION"),
            Self::LeftOut => f.write_str("left out"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\": {}; {}", self.property, self.value, self.why, self.done)
    }
}
