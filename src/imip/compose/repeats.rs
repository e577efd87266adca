//! The recurrence of a composed object in words: its rules, what is left out, what comes beside, and the dates that differ.
//!
//! Invariant: a list of dates is bounded, and says how many more there are.

use chrono::{Duration, NaiveDate, NaiveDateTime};

use crate::calendar::event::{Component, Event, EventStatus, Moment};
use crate::calendar::recur::ical::Rule;
use crate::calendar::{Shown, in_zone_of};
use crate::imip::compose::page::{Change, Item, paragraphs, words as one_line};
use crate::imip::compose::pattern::Phrase;
use crate::imip::compose::when;
use crate::imip::compose::words::{Difference, Label, Words};
use crate::mime::transfer::clip;

/// Dates listed one by one.
const MAX_DATES: usize = 6;
/// Rules put into words; real series have one.
const MAX_RULES: usize = 5;
/// Exceptions listed one by one.
const MAX_CHANGED: usize = 12;
/// Octets of an exception's own description.
const MAX_DESCRIPTION: usize = 300;

/// One line for each rule and list. `next`: the first dates, for a rule that no phrase fits.
pub(crate) fn lines(words: &dyn Words, all: &[String], start: &Moment, shown: &Shown, next: &[NaiveDate]) -> Vec<String> {
    let mut lines = rules(words, all, start, next);
    if let Some((dates, more)) = dates(words, &shown.rdates, start) {
        let also = words.also_on(&dates, more);
        lines.push(also);
    }
    if let Some((dates, more)) = dates(words, &shown.exdates, start) {
        lines.push(words.except_on(&dates, more));
    }
    lines
}

/// The rules alone. EXRULEs come behind the others.
pub(crate) fn rules(words: &dyn Words, rules: &[String], start: &Moment, next: &[NaiveDate]) -> Vec<String> {
    let (from, to_local) = wall(start);
    let phrase = |text: &str| Rule::parse(text).ok().and_then(|rule| Phrase::of(&rule, from, &to_local));
    let exrule = |rule: &&String| rule.starts_with("EXRULE:");
    let mut lines: Vec<String> = Vec::new();
    let mut odd = false;
    for rule in rules.iter().filter(|r| !exrule(r)).take(MAX_RULES) {
        match phrase(rule) {
            Some(phrase) => lines.push(words.rule(&phrase)),
            None => odd = true,
        }
    }
    for rule in rules.iter().filter(exrule).take(MAX_RULES) {
        match phrase(rule.trim_start_matches("EXRULE:")) {
            Some(phrase) => lines.push(words.except_rule(&phrase)),
            None => odd = true,
        }
    }
    if odd || rules.len() > 2 * MAX_RULES {
        let next: Vec<String> = next.iter().map(|d| words.short_day(*d)).collect();
        lines.push(words.odd_rule(&next));
    }
    lines
}

/// The wall time of the first instance, and the way from UTC to it. The offset is the first instance's, so that an end near
/// midnight may be told a day off where summer time lies in between.
fn wall(start: &Moment) -> (NaiveDateTime, impl Fn(NaiveDateTime) -> NaiveDateTime + use<>) {
    let (local, _) = when::local(start);
    let offset = match start {
        Moment::Floating(_) | Moment::Date(_) => Duration::zero(),
        _ => start.instant().and_then(|at| at.datetime()).map_or(Duration::zero(), |at| local - at.naive_utc()),
    };
    (local, move |at: NaiveDateTime| at.checked_add_signed(offset).unwrap_or(at))
}

/// Days in order, the first ones, and how many more there are. A date that is told in UTC is told where the event is.
fn dates(words: &dyn Words, list: &[Moment], start: &Moment) -> Option<(Vec<String>, usize)> {
    let (_, to_local) = wall(start);
    let mut days: Vec<NaiveDate> = list
        .iter()
        .map(|moment| match moment {
            Moment::Utc { at, .. } => at.datetime().map_or(when::day(moment), |at| to_local(at.naive_utc()).date()),
            other => when::day(other),
        })
        .collect();
    days.sort_unstable();
    days.dedup();
    let more = if days.len() > MAX_DATES + 1 { days.len() - MAX_DATES } else { 0 };
    let shown: Vec<String> = days.iter().take(days.len() - more).map(|d| words.short_day(*d)).collect();
    (!shown.is_empty()).then_some((shown, more))
}

/// Each exception: its date, and what is different at it. `fresh` says which of them the recipient has not had so.
pub(crate) fn changed_dates(
    words: &dyn Words,
    series: Option<&Event>,
    exceptions: &[(&Event, &Shown)],
    fresh: &dyn Fn(&Event) -> Option<Difference>,
) -> Vec<Item> {
    let mut sorted: Vec<&(&Event, &Shown)> = exceptions.iter().collect();
    sorted.sort_by_key(|(event, shown)| shown.instance.as_ref().or(event.start.as_ref()).and_then(Moment::instant));
    let mut items: Vec<Item> = sorted
        .iter()
        .take(MAX_CHANGED)
        .map(|(event, shown)| {
            let date = shown.instance.as_ref().or(event.start.as_ref()).map(|date| match series.and_then(|s| s.start.as_ref()) {
                Some(start) => in_zone_of(date, start),
                None => date.clone(),
            });
            let title =
                date.as_ref().map_or_else(|| one_line(event.recurrence_id.as_deref().unwrap_or_default()), |d| words.day(when::day(d)));
            Item {
                title,
                change: fresh(event).map(|difference| Change::new(words, difference, None)),
                lines: exception_lines(words, series, event, date.as_ref()),
            }
        })
        .collect();
    if sorted.len() > MAX_CHANGED {
        items.push(Item { title: words.more_dates(sorted.len() - MAX_CHANGED), change: None, lines: Vec::new() });
    }
    items
}

fn exception_lines(words: &dyn Words, series: Option<&Event>, event: &Event, date: Option<&Moment>) -> Vec<String> {
    if event.status == Some(EventStatus::Cancelled) {
        return vec![words.cancelled().to_owned()];
    }
    let labelled = |label: Label, value: &str| format!("{}: {value}", words.label(label));
    let mut lines = Vec::new();
    if let Some(start) = &event.start {
        let length = |e: &Event| Some(e.end.as_ref()?.instant()?.since(e.start.as_ref()?.instant()?));
        let moved = date.is_none_or(|d| d.instant() != start.instant());
        if moved || series.is_none_or(|s| length(s) != length(event)) {
            let label = if event.component == Component::Todo { Label::Starts } else { Label::When };
            let here = |moment: &Moment| series.and_then(|s| s.start.as_ref()).map_or_else(|| moment.clone(), |s| in_zone_of(moment, s));
            let told = when::lines(words, &here(start), event.end.as_ref().map(here).as_ref());
            lines.extend(told.first().map(|l| labelled(label, l)));
        }
    }
    let differs = |of: fn(&Event) -> Option<&String>| {
        of(event).filter(|value| series.is_none_or(|s| of(s) != Some(*value))).map(|v| one_line(v)).filter(|v| !v.is_empty())
    };
    lines.extend(differs(|e| e.summary.as_ref()).map(|v| labelled(Label::What, &v)));
    lines.extend(differs(|e| e.location.as_ref()).map(|v| labelled(Label::Where, &v)));
    if let Some(text) = event.description.as_ref().filter(|d| series.is_none_or(|s| s.description.as_ref() != Some(*d))) {
        let text = one_line(&paragraphs(text));
        let cut = clip(&text, MAX_DESCRIPTION);
        let dots = if cut.len() < text.len() { "…" } else { "" };
        lines.push(labelled(Label::Description, &format!("{cut}{dots}")));
    }
    if lines.is_empty() {
        lines.push(words.as_series().to_owned());
    }
    lines
}
