//! The lines that hold a time: DTSTART, DTEND, DUE, DURATION, RECURRENCE-ID, and those that iCalendar wants in UTC.

use std::rc::Rc;

use super::part::{Kind, Part, series};
use super::times::{self, By, Form, When};
use super::zones::ZoneUse;
use super::{Done, Job, Why, alarms, lines};
use crate::calendar::error::clip;
use crate::calendar::event::Format;
use crate::calendar::property::Content;
use crate::calendar::text;
use crate::calendar::time;

impl Job<'_> {
    /// Instances of the series that were exceptions of their own, cancelled.
    pub(super) fn cancelled(&mut self, part: &Part<'_>) {
        let mut done = 0;
        for content in part.contents.iter().filter(|c| c.name == lines::CANCELLED) {
            let value = text::readable(content, Format::VCalendar);
            let mut fields = value.split(';').map(str::trim);
            let id = fields.next().and_then(|id| Some(When { stamp: time::parse(id)?, zone: None }));
            // As many as their series knows.
            let Some(id) = id.filter(|_| done < part.moved.len()) else {
                self.losses.push(lines::CANCELLED, &value, Why::Contradiction, Done::LeftOut);
                continue;
            };
            let sequence = fields.next().and_then(|n| n.parse::<u32>().ok());
            let stamp = fields.next().and_then(time::parse).filter(|t| t.zulu).map(|t| format!("{}Z", time::basic_local(t.local())));
            done += 1;
            let (form, wall) = part.form.said(&id, &self.zones);
            self.body.line_of(format_args!("BEGIN:{}", part.kind.name()));
            self.body.text("UID", &part.uid);
            self.body.line_of(format_args!("DTSTAMP:{}", stamp.unwrap_or_else(|| time::basic_utc(self.options.now))));
            self.body.line(&form.line("RECURRENCE-ID", wall));
            self.body.line(&form.line("DTSTART", wall));
            if let Some(sequence) = sequence {
                self.body.line_of(format_args!("SEQUENCE:{sequence}"));
            }
            self.organizer(part);
            self.body.line("STATUS:CANCELLED");
            self.body.line_of(format_args!("END:{}", part.kind.name()));
        }
    }

    /// A property that iCalendar wants in UTC; a local time without zone is read as UTC.
    pub(super) fn utc(&mut self, name: &str, content: &Content) {
        let Some(when) = When::read(content) else { return self.carry_here(content, Why::Unreadable) };
        let at = times::instant(&when, &self.zones);
        let value = time::basic_local(at.unwrap_or_else(|| when.stamp.local()));
        if at.is_none() {
            self.losses.push(&content.name, &text::raw(content), Why::Zone, Done::Approximated(format!("{value}Z")));
        }
        self.body.line_of(format_args!("{name}:{value}Z"));
    }

    pub(super) fn uses(&mut self, form: &Form, at: chrono::NaiveDateTime) {
        let Form::Zone { id, by } = form else { return };
        if let Some(used) = self.used.get_mut(id) {
            return used.widen(at);
        }
        self.used.insert(id.clone(), ZoneUse::new(*by, at, Rc::clone(&self.zones)));
    }

    pub(super) fn moment<'c>(&mut self, part: &mut Part<'c>, index: usize, content: &'c Content) {
        if content.name == "DTSTART" && part.start_line == Some(index) {
            let Some(start) = &part.start else { return };
            let (wall, form) = (part.form.wall(start, &self.zones), part.form.clone());
            if let Form::Zone { id, by: By::Nobody } = &form {
                self.losses.push("DTSTART", id, Why::Zone, Done::Approximated("a zone without rules".to_owned()));
            }
            self.uses(&form, wall);
            self.body.line(&form.line("DTSTART", wall));
            return;
        }
        if let Some((_, end)) = part.end.clone().filter(|(i, _)| *i == index) {
            self.end(part, content, &end);
            return;
        }
        let first = if content.name == "DTSTART" { part.start.as_ref() } else { part.end.as_ref().map(|(_, w)| w) };
        if content.value.is_empty() || first.is_some() && When::read(content).as_ref() == first {
            return;
        }
        let raw = text::raw(content);
        match first {
            Some(_) => self.losses.push(&content.name, &raw, Why::OnlyOne, Done::LeftOut),
            None => self.unreadable(part, content, &format!("the time \"{}\", which cannot be read", clip(raw.trim()))),
        }
    }

    /// Lists what cannot be read, and says it to people.
    pub(super) fn unreadable(&mut self, part: &mut Part<'_>, content: &Content, note: &str) {
        let done = if self.options.notes { Done::Said } else { Done::LeftOut };
        self.losses.push(&content.name, &text::raw(content), Why::Unreadable, done);
        super::note(&mut part.notes, note.to_owned());
    }

    fn end(&mut self, part: &Part<'_>, content: &Content, end: &When) {
        let name = if part.kind == Kind::Todo { "DUE" } else { "DTEND" };
        let Some(start) = &part.start else {
            // A to-do with its DUE alone; an event cannot end without having started.
            let wall = part.form.wall(end, &self.zones);
            self.uses(&part.form, wall);
            return self.body.line(&part.form.line(name, wall));
        };
        let starts = part.form.wall(start, &self.zones);
        if part.form == Form::Date {
            let after = if part.kind == Kind::Todo && start.stamp.has_time { None } else { times::day_after(end) };
            let whole =
                !end.stamp.has_time || end.stamp.time == chrono::NaiveTime::MIN || end.stamp.local().format("%H%M").to_string() == "2359";
            match after.filter(|a| whole && *a >= starts) {
                // A day that ends on itself is what the date alone says.
                Some(after) if after == starts && part.kind != Kind::Todo => {}
                Some(after) => self.body.line(&part.form.line(name, after)),
                None => self.losses.push(&content.name, &text::raw(content), Why::Contradiction, Done::LeftOut),
            }
            return;
        }
        let (form, wall) = part.form.said(end, &self.zones);
        if !end.stamp.has_time || self.before(part, end, start) {
            return self.losses.push(&content.name, &text::raw(content), Why::Contradiction, Done::LeftOut);
        }
        let floats = part.form.floats(end, &self.zones);
        match &form {
            Form::Utc if part.form != form => self.body.line(&form.line(name, wall)),
            Form::Utc if floats => self.body.line(&Form::Floating.line(name, wall)),
            Form::Floating if !floats => self.body.line(&Form::Utc.line(name, end_utc(end, self))),
            form => {
                self.uses(form, wall);
                self.body.line(&form.line(name, wall));
            }
        }
    }

    fn before(&self, part: &Part<'_>, end: &When, start: &When) -> bool {
        match (times::instant(end, &self.zones), times::instant(start, &self.zones)) {
            (Some(end), Some(start)) => end < start,
            _ => part.form.wall(end, &self.zones) < part.form.wall(start, &self.zones),
        }
    }

    pub(super) fn duration(&mut self, part: &Part<'_>, content: &Content) {
        let raw = text::raw(content);
        match time::span(&raw) {
            Some(_) if part.end.is_some() => self.losses.push("DURATION", &raw, Why::OnlyOne, Done::LeftOut),
            Some(length) if length.total() >= 0 => self.body.line_of(format_args!("DURATION:{}", alarms::duration(length))),
            _ => self.carry_here(content, Why::Unreadable),
        }
    }

    pub(super) fn recurrence_id(&mut self, part: &Part<'_>, content: &Content) {
        let when = if content.name == lines::SERIES {
            series(content).and_then(|(_, id)| Some(When { stamp: time::parse(&id)?, zone: None }))
        } else {
            When::read(content)
        };
        let Some(when) = when else { return self.carry_here(content, Why::Unreadable) };
        let (own, wall) = part.form.said(&when, &self.zones);
        let form = match &own {
            // An instance that was a day and now has a time, or the other way round, keeps its own name.
            Form::Date if when.stamp.has_time && when.stamp.zulu => Form::Utc,
            Form::Date if when.stamp.has_time => Form::Floating,
            _ if !when.stamp.has_time => Form::Date,
            Form::Floating if when.stamp.zulu => Form::Utc,
            form => form.clone(),
        };
        let wall = if matches!(part.form, Form::Date) { when.stamp.local() } else { wall };
        self.uses(&form, wall);
        let range = content
            .param("RANGE")
            .or_else(|| content.param("X-CIP-RANGE"))
            .filter(|r| r.eq_ignore_ascii_case("THISANDFUTURE"))
            .map_or("", |_| ";RANGE=THISANDFUTURE");
        self.body.line_of(format_args!("{}{range}:{}", form.head("RECURRENCE-ID"), form.value(wall)));
    }
}

fn end_utc(end: &When, job: &Job<'_>) -> chrono::NaiveDateTime {
    times::instant(end, &job.zones).unwrap_or_else(|| end.stamp.local())
}
