//! RRULE, EXRULE, RDATE and EXDATE.

use std::collections::HashSet;

use chrono::NaiveDateTime;

use super::part::Part;
use super::times::{Form, When};
use super::{Done, Job, Why, note};
use crate::calendar::convert::lines::{self, Restored};
use crate::calendar::convert::{MAX_RULES, TOO_MANY_RULES};
use crate::calendar::error::clip;
use crate::calendar::event::Format;
use crate::calendar::property::Content;
use crate::calendar::recur::expand::{self, Either, Series};
use crate::calendar::recur::{Frame, MAX_DATES, Said, ical, translate, vcal};
use crate::calendar::text;
use crate::calendar::zone::Zones;

/// Dates in one RDATE or EXDATE line that are taken over.
const MAX_LISTED: usize = 5_000;

/// The iCalendar rule in a carrier.
pub(super) fn carried_rule(content: &Content) -> Option<String> {
    match lines::restored(&text::readable(content, Format::VCalendar), lines::Place::Event)? {
        Restored::Refining { name, line } if name == "RRULE" => line.split_once(':').map(|(_, rule)| rule.trim().to_owned()),
        _ => None,
    }
}

/// A rule in iCalendar's grammar, which some software writes in vCalendar.
fn is_icalendar(value: &str) -> bool {
    value.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("FREQ=")) || value.to_ascii_uppercase().contains(";FREQ=")
}

/// Whether a rule can be read, in either grammar.
pub(super) fn is_rule(value: &str) -> bool {
    let value = value.trim();
    if is_icalendar(value) { ical::Rule::parse(value).is_ok() } else { vcal::Rule::parse(value).is_ok() }
}

/// Runs `f` with the frame that the event's rules start from; `None` without a start.
fn framed<T>(form: &Form, start: NaiveDateTime, zones: &Zones, f: impl FnOnce(&Frame<'_>) -> T) -> T {
    let to_local = |utc: NaiveDateTime| form.to_local(utc, zones);
    let to_utc = |local: NaiveDateTime| form.to_utc(local, zones);
    f(&Frame {
        start,
        all_day: *form == Form::Date,
        floating: matches!(form, Form::Floating | Form::Date),
        to_local: &to_local,
        to_utc: &to_utc,
    })
}

impl Job<'_> {
    /// Where the rules start: DTSTART, or the DUE of a to-do without one.
    fn anchor(&self, part: &Part<'_>) -> Option<NaiveDateTime> {
        part.anchor().map(|when| part.form.wall(when, &self.zones))
    }

    /// Rules that came across in a carrier: they go back in the place of the dates that were written for them, beside the
    /// one rule that was written, or where they have more dates than can be written and the event lists none.
    pub(super) fn restored_rules(&mut self, part: &mut Part<'_>) {
        let carriers = part.contents.iter().enumerate().filter(|(_, c)| c.name == lines::OF_ICALENDAR);
        let mut carried: Vec<(usize, String)> = carriers.filter_map(|(i, c)| Some((i, carried_rule(c)?))).collect();
        if carried.is_empty() {
            return;
        }
        for (_, text) in carried.drain(MAX_RULES.min(carried.len())..) {
            self.losses.push(lines::OF_ICALENDAR, &format!("RRULE:{text}"), Why::OnlyOne, Done::LeftOut);
        }
        if part.exception {
            part.restored_rules = carried.into_iter().map(|(index, _)| index).collect();
            return;
        }
        let listed = self.listed_dates(part);
        let has_rule = part.contents.iter().any(|c| c.name == "RRULE" && !c.value.is_empty());
        for (index, text) in carried {
            let mut read = self.anchor(part).zip(ical::Rule::parse(&text).ok());
            if part.start.is_none() && !has_rule && listed.is_empty() && read.take().is_some() {
                // Without DTSTART vCalendar has no dates to stand for it.
                part.restored_rules.push(index);
                continue;
            }
            let dates = read.and_then(|(start, rule)| {
                let found = framed(&part.form, start, &self.zones, |frame| {
                    let series = Series { rules: vec![Either::ICal(rule)], ..Series::default() };
                    expand::expand(&series, frame, NaiveDateTime::MAX, MAX_DATES + 2)
                });
                if !found.complete || found.starts.len() > MAX_DATES + 1 {
                    return (has_rule || listed.is_empty()).then(Vec::new);
                }
                let dates: Vec<NaiveDateTime> = found.starts.into_iter().filter(|d| *d != start).collect();
                let among = dates.iter().filter(|d| listed.binary_search(d).is_ok()).count();
                // Of several rules vCalendar takes the first.
                let spoken = has_rule && among == 0;
                (!dates.is_empty() && (spoken || among == dates.len())).then_some(dates)
            });
            match dates {
                Some(dates) => {
                    part.restored_rules.push(index);
                    part.restored_dates.extend(dates);
                }
                None => self.losses.push(lines::OF_ICALENDAR, &format!("RRULE:{text}"), Why::Contradiction, Done::LeftOut),
            }
        }
        part.restored_dates.sort_unstable();
        if part.restored_rules.is_empty() {
            part.recurring = !listed.is_empty() || part.contents.iter().any(|c| c.name == "RRULE" && is_rule(&text::raw(c)));
        }
    }

    /// All RDATEs of the event, in the wall time of its start, sorted.
    fn listed_dates(&self, part: &Part<'_>) -> Vec<NaiveDateTime> {
        let mut dates = Vec::new();
        for content in part.contents.iter().filter(|c| c.name == "RDATE") {
            let raw = text::raw(content);
            dates.extend(raw.split([';', ',']).take(MAX_LISTED).filter_map(|v| self.date(part, v, content)));
        }
        dates.sort_unstable();
        dates
    }

    /// One date of a list in the wall time of DTSTART; a date alone gets its time of day.
    fn date(&self, part: &Part<'_>, value: &str, content: &Content) -> Option<NaiveDateTime> {
        let when = When::parse(value, content)?;
        let wall = part.form.wall(&when, &self.zones);
        match (&part.form, part.anchor()) {
            (Form::Date, _) => Some(wall.date().and_time(chrono::NaiveTime::MIN)),
            (form, Some(start)) if !when.stamp.has_time => Some(when.stamp.date.and_time(form.wall(start, &self.zones).time())),
            _ => Some(wall),
        }
    }

    /// EXDATE or RDATE, in the form of DTSTART.
    pub(super) fn dates(&mut self, part: &mut Part<'_>, content: &Content) {
        let raw = text::raw(content);
        let (mut dates, mut instants) = (Vec::new(), Vec::new());
        for value in raw.split([';', ',']).map(str::trim).filter(|v| !v.is_empty()) {
            match self.date(part, value, content).filter(|_| dates.len() + instants.len() < MAX_LISTED) {
                Some(date) => match When::parse(value, content).map(|when| part.form.said(&when, &self.zones)) {
                    Some((Form::Utc, utc)) if part.form != Form::Utc => instants.push(utc),
                    _ => dates.push(date),
                },
                None => {
                    let done = if self.options.notes { Done::Said } else { Done::LeftOut };
                    self.losses.push(&content.name, value, Why::Unreadable, done);
                    note(&mut part.notes, format!("{} \"{}\"", content.name, clip(value)));
                }
            }
        }
        if content.name == "RDATE" {
            dates.retain(|d| part.restored_dates.binary_search(d).is_err());
        } else if !part.moved.is_empty() {
            let moved = part.moved_dates.get_or_insert_with(|| {
                let said = part.moved.iter().map(|when| part.form.said(when, &self.zones));
                said.map(|(form, at)| (form == part.form, at)).collect()
            });
            dates.retain(|d| !moved.contains(&(true, *d)));
            instants.retain(|d| !moved.contains(&(false, *d)));
        }
        self.write_dates(&part.form, &content.name, &dates);
        self.write_dates(&Form::Utc, &content.name, &instants);
    }

    fn write_dates(&mut self, form: &Form, name: &str, dates: &[NaiveDateTime]) {
        let (Some(first), Some(last)) = (dates.iter().min(), dates.iter().max()) else { return };
        self.uses(form, *first);
        self.uses(form, *last);
        // Once each, as they come back.
        let mut seen = HashSet::new();
        let values: Vec<String> = dates.iter().filter(|d| seen.insert(**d)).map(|d| form.value(*d)).collect();
        self.body.line_of(format_args!("{}:{}", form.head(name), values.join(",")));
    }

    /// RRULE or EXRULE.
    pub(super) fn rule(&mut self, part: &mut Part<'_>, content: &Content) {
        let raw = text::raw(content);
        let value = raw.trim();
        part.rules += 1;
        if part.rules > MAX_RULES {
            return self.no_rule(part, content, Why::OnlyOne, TOO_MANY_RULES);
        }
        let Some(start) = self.anchor(part) else { return self.no_rule(part, content, Why::Contradiction, "it has no start") };
        if content.name == "EXRULE" && !part.recurring {
            // It leaves out dates of an event that has none to leave out.
            return self.carry_here(content, Why::Contradiction);
        }
        if is_icalendar(value) {
            return match ical::Rule::parse(value) {
                Ok(rule) => match self.excluded(part, content, &Either::ICal(rule.clone()), start) {
                    Some(dates) => self.write_dates(&part.form, "EXDATE", &dates),
                    None => {
                        let until = rule.until.map(|until| framed(&part.form, start, &self.zones, |f| translate::until_in_ical(until, f)));
                        if until == rule.until {
                            self.body.line_of(format_args!("{}:{value}", content.name));
                        } else {
                            self.body.line_of(format_args!("{}:{}", content.name, ical::Rule { until, ..rule }));
                        }
                    }
                },
                Err(why) => self.no_rule(part, content, Why::Unreadable, &why.to_string()),
            };
        }
        let rule = match vcal::Rule::parse(value) {
            Ok(rule) => rule,
            Err(why) => return self.no_rule(part, content, Why::Unreadable, &why.to_string()),
        };
        if let Some(dates) = self.excluded(part, content, &Either::VCal(rule.clone()), start) {
            return self.write_dates(&part.form, "EXDATE", &dates);
        }
        let say = if content.name == "EXRULE" { translate::exrule_to_ical } else { translate::to_ical };
        match framed(&part.form, start, &self.zones, |frame| say(&rule, frame)) {
            Said::Rules(rules) => {
                for rule in rules {
                    self.body.line_of(format_args!("{}:{rule}", content.name));
                }
            }
            Said::Dates(mut dates) => {
                if part.form == Form::Date {
                    // Minutes of a day are that day.
                    for date in &mut dates {
                        *date = date.date().and_time(chrono::NaiveTime::MIN);
                    }
                    dates.sort_unstable();
                    dates.dedup();
                    dates.retain(|d| content.name == "EXRULE" || *d != start);
                }
                self.write_dates(&part.form, if content.name == "EXRULE" { "EXDATE" } else { "RDATE" }, &dates);
                let mut out = std::mem::take(&mut self.body);
                self.carried(content, &mut out);
                self.body = out;
                self.losses.push(&content.name, value, Why::NoCounterpart, Done::Dates(dates.len()));
            }
            Said::Neither(what) => self.no_rule(part, content, Why::NoCounterpart, &what),
        }
    }

    /// A rule that iCalendar cannot have: carried, and said in words.
    fn no_rule(&mut self, part: &mut Part<'_>, content: &Content, why: Why, what: &str) {
        let raw = text::raw(content);
        let mut done = Done::LeftOut;
        if vcal::Rule::parse(raw.trim()).is_ok() {
            let mut out = std::mem::take(&mut self.body);
            done = self.carried(content, &mut out);
            self.body = out;
        }
        if self.options.notes {
            if done == Done::LeftOut {
                done = Done::Said;
            }
            let verb = if content.name == "EXRULE" { "it leaves out dates" } else { "it repeats" };
            note(&mut part.notes, format!("{verb} by the rule \"{}\"", clip(raw.trim())));
        }
        let value = if what.is_empty() { raw.trim().to_owned() } else { format!("{} ({what})", clip(raw.trim())) };
        self.losses.push(&content.name, &value, why, done);
    }

    /// The dates that an EXRULE takes out, when they are few.
    fn excluded(&self, part: &Part<'_>, content: &Content, rule: &Either, start: NaiveDateTime) -> Option<Vec<NaiveDateTime>> {
        if content.name != "EXRULE" {
            return None;
        }
        framed(&part.form, start, &self.zones, |frame| translate::exrule_dates(rule, frame))
    }
}
