//! The recurrence of a composed object in words: its rules, what is left out, what comes beside, and the dates that differ.
//!
//! Invariant: a list of dates is bounded, and says how many more there are.

use chrono::{Months, NaiveDate, NaiveDateTime};

use crate::calendar::event::{Component, Event, EventStatus, Moment};
use crate::calendar::recur::expand::{self, Either, Series};
use crate::calendar::recur::ical::Rule;
use crate::calendar::recur::{Frame, Said, translate, vcal};
use crate::calendar::{Shown, Wall, in_zone_of};
use crate::imip::compose::page::{Change, Item, paragraphs, words as one_line};
use crate::imip::compose::pattern::Phrase;
use crate::imip::compose::when;
use crate::imip::compose::words::{Difference, Label, Words};
use crate::mime::transfer::clip;

/// Dates listed one by one.
const MAX_DATES: usize = 6;
/// Rules put into words; real series have one.
const MAX_RULES: usize = 5;
/// Dates told of a rule that no phrase fits.
const NEXT: usize = 4;
/// What [`Event::rules`] has before a rule whose dates are left out.
const EXRULE: &str = "EXRULE:";
/// Exceptions listed one by one.
const MAX_CHANGED: usize = 12;
/// Octets of an exception's own description.
const MAX_DESCRIPTION: usize = 300;

/// One line for each rule and list.
pub(crate) fn lines(words: &dyn Words, all: &[String], start: &Moment, shown: &Shown) -> Vec<String> {
    let mut lines = rules(words, all, start, shown);
    if let Some((dates, more)) = dates(words, &shown.rdates, start) {
        let also = words.also_on(&dates, more);
        lines.push(also);
    }
    if let Some((dates, more)) = dates(words, &shown.exdates, start) {
        lines.push(words.except_on(&dates, more));
    }
    lines
}

/// The rules alone, of either grammar; EXRULEs come behind the others. A rule that no phrase fits is followed by the first
/// dates of all.
fn rules(words: &dyn Words, rules: &[String], start: &Moment, shown: &Shown) -> Vec<String> {
    let (mut lines, odd) = by_frame(start, |frame| told(words, rules, frame));
    if odd {
        let next = by_frame(start, |frame| first_dates(rules, shown, frame));
        lines.push(words.odd_rule(&next.into_iter().map(|d| words.short_day(d)).collect::<Vec<_>>()));
    }
    lines
}

/// All of the rules in one line; `None`: some of them fit no phrase.
pub(crate) fn in_full(words: &dyn Words, rules: &[String], start: &Moment) -> Option<String> {
    let (lines, odd) = by_frame(start, |frame| told(words, rules, frame));
    (!odd).then(|| lines.join(", "))
}

fn by_frame<T>(start: &Moment, with: impl FnOnce(&Frame<'_>) -> T) -> T {
    let wall = Wall::of(start);
    let (to_local, to_utc) = (|utc| wall.to_local(utc), |local| wall.to_utc(local));
    with(&Frame {
        start: when::local(start).0,
        all_day: matches!(start, Moment::Date(_)),
        floating: matches!(start, Moment::Floating(_)),
        to_local: &to_local,
        to_utc: &to_utc,
    })
}

/// The rules that a phrase fits, and whether there are others.
fn told(words: &dyn Words, rules: &[String], frame: &Frame<'_>) -> (Vec<String>, bool) {
    let (mut lines, mut odd) = (Vec::new(), rules.len() > MAX_RULES);
    for out in [false, true] {
        for rule in rules.iter().take(MAX_RULES).filter(|r| r.starts_with(EXRULE) == out) {
            match phrases(rule, frame) {
                Some(phrases) => lines.extend(phrases.iter().map(|p| if out { words.except_rule(p) } else { words.rule(p) })),
                None => odd = true,
            }
        }
    }
    (lines, odd)
}

/// A rule as it stands, or said in iCalendar's grammar; `None`: no phrase fits.
fn phrases(text: &str, frame: &Frame<'_>) -> Option<Vec<Phrase>> {
    let out = text.starts_with(EXRULE);
    let text = text.trim_start_matches(EXRULE);
    let rules = match Rule::parse(text) {
        Ok(rule) => vec![rule],
        Err(_) => {
            let rule = vcal::Rule::parse(text).ok()?;
            let said = if out { translate::exrule_to_ical(&rule, frame) } else { translate::to_ical(&rule, frame) };
            let Said::Rules(rules) = said else { return None };
            rules
        }
    };
    rules.iter().map(|rule| Phrase::of(rule, frame.start, frame.to_local)).collect()
}

/// The first days of the whole recurrence.
fn first_dates(rules: &[String], shown: &Shown, frame: &Frame<'_>) -> Vec<NaiveDate> {
    let read = |out: bool| -> Vec<Either> {
        let texts = rules.iter().filter(|r| r.starts_with(EXRULE) == out).take(MAX_RULES);
        texts.filter_map(|r| Rule::parse(r.trim_start_matches(EXRULE)).ok()).map(Either::ICal).collect()
    };
    let local = |moment: &Moment| match moment {
        Moment::Utc { at, .. } => at.datetime().map(|at| (frame.to_local)(at.naive_utc())),
        other => Some(when::local(other).0),
    };
    let all = |moments: &[Moment]| moments.iter().filter_map(local).collect();
    let series = Series { rules: read(false), exrules: read(true), rdates: all(&shown.rdates), exdates: all(&shown.exdates) };
    let found = expand::expand(&series, frame, frame.start.checked_add_months(Months::new(120)).unwrap_or(NaiveDateTime::MAX), NEXT);
    let mut days: Vec<NaiveDate> = found.starts.into_iter().map(|at| at.date()).collect();
    days.dedup();
    // The start alone says nothing of the rule.
    if days.len() > 1 { days } else { Vec::new() }
}

/// Days in order, the first ones, and how many more there are. A date that is told in UTC is told where the event is.
fn dates(words: &dyn Words, list: &[Moment], start: &Moment) -> Option<(Vec<String>, usize)> {
    let wall = Wall::of(start);
    let mut days: Vec<NaiveDate> = list
        .iter()
        .map(|moment| match moment {
            Moment::Utc { at, .. } => at.datetime().map_or(when::day(moment), |at| wall.to_local(at.naive_utc()).date()),
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
