//! What an update changes for its recipient: the version that he had against the one that goes out.
//!
//! Invariants: what means the same is no change (one instant in two zones, blanks around a title); nothing is marked for
//! one who had no earlier version, or whose earlier version is not known any more.

use crate::calendar::event::{Component, Event, Moment};
use crate::calendar::{Mark, Snapshot};
use crate::imip::compose::page::{Change, words as one_line};
use crate::imip::compose::words::{Compared, Difference, Label, Words};
use crate::imip::compose::{repeats, when};

/// What the recipient had of the event before.
#[derive(Clone, Copy, Debug, Default)]
pub enum Before<'a> {
    /// Nothing.
    #[default]
    Nothing,
    /// An earlier version, of which nothing is known any more.
    Unknown,
    /// Both as they came; of a proposal, what is in force and what is proposed.
    Known { had: &'a Snapshot, has: &'a Snapshot },
}

/// The rows that differ.
pub(crate) struct Changes<'a> {
    words: &'static dyn Words,
    before: Before<'a>,
    proposal: bool,
    labels: Vec<Label>,
}

impl<'a> Changes<'a> {
    pub fn new(words: &'static dyn Words, before: Before<'a>, component: Component, proposal: bool) -> Self {
        let labels = match before {
            Before::Known { had, has } => differing(had, has, component),
            Before::Nothing | Before::Unknown => Vec::new(),
        };
        Self { words, before, proposal, labels }
    }

    pub fn none(words: &'static dyn Words) -> Self {
        Self { words, before: Before::Nothing, proposal: false, labels: Vec::new() }
    }

    /// For a sentence; `None`: there is nothing to compare with.
    pub fn compared(&self) -> Option<Compared<'_>> {
        match self.before {
            Before::Nothing => None,
            Before::Unknown => Some(Compared::Unknown),
            Before::Known { .. } => Some(Compared::Rows(&self.labels)),
        }
    }

    /// How a row differs, with its old value.
    pub fn of(&self, label: Label) -> Option<Change> {
        let Before::Known { had, has } = self.before else { return None };
        if !self.labels.contains(&label) {
            return None;
        }
        let old = match label {
            Label::What => had.summary.as_deref().map(one_line),
            Label::Where => had.location.as_deref().map(one_line),
            Label::When | Label::Starts => had
                .start
                .as_ref()
                .and_then(|start| when::former(self.words, start, had.end.as_ref().filter(|_| label == Label::When), has.start.as_ref())),
            Label::Due => had.end.as_ref().and_then(|due| when::former(self.words, due, None, has.end.as_ref())),
            Label::Repeats => self.old_rules(had, has),
            _ => None,
        };
        let (stood, stands) = presence(had, has, label);
        let difference = match (stood, stands) {
            _ if self.proposal => Difference::Proposed,
            (false, _) => Difference::New,
            (true, false) => Difference::Removed,
            (true, true) => Difference::Changed,
        };
        Some(Change::new(self.words, difference, old.filter(|o| !o.is_empty())))
    }

    /// Only when they say something else than the new ones; a date that is left out shows by itself.
    fn old_rules(&self, had: &Snapshot, has: &Snapshot) -> Option<String> {
        let said = |s: &Snapshot| s.start.as_ref().and_then(|start| repeats::in_full(self.words, &s.rules, start));
        let (old, new) = (said(had)?, said(has));
        (Some(&old) != new.as_ref()).then_some(old)
    }

    /// How an exception that came with the series differs.
    pub fn of_exception(&self, event: &Event) -> Option<Difference> {
        let Before::Known { had, has } = self.before else { return None };
        if !self.labels.contains(&Label::ChangedDates) {
            return None;
        }
        let find = |s: &Snapshot| -> Option<Mark> {
            s.exceptions.iter().find(|(rid, _)| event.recurrence_id.as_deref() == Some(rid)).map(|(_, mark)| *mark)
        };
        match (find(had), find(has)) {
            (None, Some(_)) => Some(Difference::New),
            (Some(old), Some(new)) if old != new => Some(Difference::Changed),
            _ => None,
        }
    }
}

fn presence(had: &Snapshot, has: &Snapshot, label: Label) -> (bool, bool) {
    let there = |s: &Snapshot| match label {
        Label::What => s.summary.is_some(),
        Label::Where => s.location.is_some(),
        Label::When | Label::Starts => s.start.is_some(),
        Label::Due => s.end.is_some(),
        Label::Repeats => s.recurrence != Mark::default(),
        Label::Description => s.description != Mark::default(),
        _ => true,
    };
    (there(had), there(has))
}

fn differing(had: &Snapshot, has: &Snapshot, component: Component) -> Vec<Label> {
    let text = |t: &Option<String>| t.as_deref().map(one_line).unwrap_or_default();
    let starts = !same(had.start.as_ref(), has.start.as_ref());
    let ends = !same(had.end.as_ref(), has.end.as_ref());
    let todo = component == Component::Todo;
    [
        (text(&had.summary) != text(&has.summary), Label::What),
        (!todo && (starts || ends), Label::When),
        (todo && starts, Label::Starts),
        (todo && ends, Label::Due),
        (had.recurrence != has.recurrence, Label::Repeats),
        (text(&had.location) != text(&has.location), Label::Where),
        (had.description != has.description, Label::Description),
        (had.exceptions != has.exceptions, Label::ChangedDates),
    ]
    .into_iter()
    .filter_map(|(differs, label)| differs.then_some(label))
    .collect()
}

fn same(had: Option<&Moment>, has: Option<&Moment>) -> bool {
    let floats = |m: &Moment| matches!(m, Moment::Floating(_));
    let whole = |m: &Moment| matches!(m, Moment::Date(_));
    match (had, has) {
        (Some(a), Some(b)) => {
            a == b || a.instant().is_some() && a.instant() == b.instant() && floats(a) == floats(b) && whole(a) == whole(b)
        }
        (a, b) => a == b,
    }
}
