//! RRULE, EXRULE, RDATE and EXDATE. vCalendar takes one rule for an event; what it cannot say becomes single dates when
//! there are few, else it is carried and said in words.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDateTime};

use super::super::loss::note;
use super::super::{MAX_RULES, TOO_MANY_RULES, lines};
use super::times::{Clock, like_start, years_on};
use super::{Done, Job, Part, Refining, Why, as_text};
use crate::calendar::error::clip;
use crate::calendar::event::Moment;
use crate::calendar::property::Content;
use crate::calendar::recur::expand::{Either, Series, expand};
use crate::calendar::recur::translate::{exrule_dates, exrule_to_vcal, to_ical, to_vcal};
use crate::calendar::recur::{Frame, MAX_DATES, Said, Until, ical, vcal};
use crate::calendar::{text, time};

/// What the rules of one event start from, and how their dates are written.
struct Start<'p> {
    part: &'p Part<'p>,
    clock: &'p Clock,
    /// DTSTART, or the DUE of a to-do without one, in the wall time of its zone.
    wall: NaiveDateTime,
    zone: Option<String>,
    /// A zoned event whose zone TZ and DAYLIGHT do not name: its dates are written in UTC.
    drifts: bool,
}

/// Whether a line says when an event takes place again, in words that can be read.
pub(super) fn says(content: &Content) -> bool {
    let value = || text::raw(content);
    match content.name.as_str() {
        "RRULE" => ical::Rule::parse(&value()).is_ok(),
        "RDATE" => value().split([',', ';']).any(|d| time::parse(d.split('/').next().unwrap_or(d)).is_some()),
        _ => false,
    }
}

impl Job<'_> {
    pub(super) fn write_recurrence(&mut self, part: &Part, clock: &Clock) {
        if part.exception.is_some() {
            return self.instance_rules(part);
        }
        let mut dates = self.line_dates(part, clock, "RDATE");
        let mut excluded = self.line_dates(part, clock, "EXDATE");
        for moment in &part.excluded {
            let moment = like_start(moment.clone(), part.anchor.as_ref());
            excluded.extend(self.written(&moment, clock));
        }
        match self.rule_start(part, clock) {
            Some(start) => {
                self.rules(&start, &mut dates);
                self.exclusions(&start, &mut excluded);
            }
            None => {
                for content in part.all("RRULE").chain(part.all("EXRULE")) {
                    self.unsaid(content, "it has no start that can be read", false);
                }
                self.unsaid_rules(part);
            }
        }
        for (name, some) in [("RDATE", dates), ("EXDATE", excluded)] {
            let mut seen = BTreeSet::new();
            let once: Vec<String> = some.into_iter().filter(|d| seen.insert(d.clone())).collect();
            self.out.moments(name, &once);
        }
        for cancelled in &part.cancelled {
            self.out.raw(lines::CANCELLED, "", cancelled);
        }
    }

    /// Rules and dates inside an exception say nothing (RFC 5545 3.8.4.4), and in vCalendar would make a series of it.
    fn instance_rules(&mut self, part: &Part) {
        for content in part.lines.iter().filter(|c| matches!(c.name.as_str(), "RRULE" | "EXRULE" | "RDATE" | "EXDATE")) {
            // An instance that nobody can name is an event of its own when it comes back.
            let named = part.uid.is_some() && (self.answers() || part.exception.as_ref().is_some_and(|(_, moment)| moment.is_some()));
            let done = if named { self.carry_text(as_text(content)) } else { Done::LeftOut };
            self.losses.push(&content.name, &text::raw(content), Why::Contradiction, done);
        }
        self.unsaid_rules(part);
    }

    /// Carried rules of vCalendar that iCalendar could not have: beside nothing else that says when it takes place.
    fn unsaid_rules(&mut self, part: &Part) {
        if part.find("RRULE").is_none() && part.find("RDATE").is_none() {
            let readable = |line: &String| line.split_once(':').is_some_and(|(_, rule)| vcal::Rule::parse(rule.trim()).is_ok());
            for refining in self.refining.iter_mut().filter(|r| r.name == "RRULE" && readable(&r.line)) {
                refining.restored = true;
                self.out.line(&refining.line);
            }
        }
    }

    fn line_dates(&mut self, part: &Part, clock: &Clock, name: &str) -> Vec<String> {
        let mut out = Vec::new();
        for content in part.all(name) {
            for moment in self.listed_moments(content, part.anchor.as_ref()) {
                match self.written(&moment, clock) {
                    Some(written) => out.push(written),
                    None => self.losses.push(name, &text::raw(content), Why::Zone, Done::LeftOut),
                }
            }
        }
        out
    }

    fn rule_start<'p>(&self, part: &'p Part<'p>, clock: &'p Clock) -> Option<Start<'p>> {
        let start = part.anchor.as_ref()?;
        let zone = match start {
            Moment::Zoned { zone, .. } if self.seconds(start).is_some() && zone != "UTC" => Some(zone.clone()),
            _ => None,
        };
        let wall =
            if zone.is_some() || !matches!(start, Moment::Utc { .. }) { self.wall(start, zone.as_deref())? } else { self.utc(start)? };
        Some(Start { part, clock, wall, drifts: zone.is_some() && *clock == Clock::Utc, zone })
    }

    /// Calls `work` with the frame of an event.
    fn in_frame<T>(&self, start: &Start<'_>, work: impl FnOnce(&Frame<'_>) -> T) -> T {
        let zone = start.zone.as_deref();
        let to_local = |utc: NaiveDateTime| zone.and_then(|z| self.zones.local(utc.and_utc().timestamp(), z)).unwrap_or(utc);
        let to_utc = |local: NaiveDateTime| {
            let seconds = zone.and_then(|z| self.zones.instant(local, z));
            seconds.and_then(|s| DateTime::from_timestamp(s, 0)).map_or(local, |t| t.naive_utc())
        };
        let floating = matches!(start.part.anchor, Some(Moment::Floating(_) | Moment::Date(_)));
        let all_day = matches!(start.part.anchor, Some(Moment::Date(_)));
        work(&Frame { start: start.wall, all_day, floating, to_local: &to_local, to_utc: &to_utc })
    }

    /// Wall times of an event as its clock writes them.
    fn wall_dates(&self, start: &Start<'_>, dates: &[NaiveDateTime]) -> Vec<String> {
        let moment = |local: NaiveDateTime| match (&start.part.anchor, &start.zone) {
            (_, Some(zone)) => Moment::Zoned { local, zone: zone.clone(), at: None },
            (Some(Moment::Utc { .. }), None) => Moment::Zoned { local, zone: "UTC".to_owned(), at: None },
            _ => Moment::Floating(local),
        };
        dates.iter().filter_map(|d| self.written(&moment(*d), start.clock)).collect()
    }

    fn rules(&mut self, start: &Start<'_>, dates: &mut Vec<String>) {
        let contents: Vec<&Content> = start.part.all("RRULE").collect();
        let mut rules = Vec::new();
        for (n, content) in contents.iter().enumerate() {
            if n >= MAX_RULES {
                self.unsaid(content, TOO_MANY_RULES, false);
                continue;
            }
            match ical::Rule::parse(&text::raw(content)) {
                Ok(rule) if rules.iter().any(|(_, known)| *known == rule) => {}
                Ok(rule) => rules.push((*content, rule)),
                Err(error) => self.unsaid(content, &error.to_string(), false),
            }
        }
        if rules.is_empty() {
            self.restore_rule(start, dates);
            return;
        }
        let (first, rule) = &rules[0];
        let said = if start.drifts { Said::Neither("its zone".to_owned()) } else { self.in_frame(start, |f| to_vcal(rule, f)) };
        match said {
            Said::Rules(one) if rules.len() == 1 && one.len() == 1 => return self.write_rule(start, rule, &one[0]),
            Said::Dates(some) if rules.len() == 1 => {
                dates.extend(self.wall_dates(start, &some));
                self.said_by_dates(first, Why::NoCounterpart, some.len(), dates.len() == some.len());
                return;
            }
            _ => {}
        }
        let all: Vec<ical::Rule> = rules.iter().map(|(_, r)| r.clone()).collect();
        let why = if start.drifts { Why::Zone } else { Why::OnlyOne };
        if let Some(some) = self.few(start, &all) {
            dates.extend(self.wall_dates(start, &some));
            for (content, _) in &rules {
                self.said_by_dates(content, why, some.len(), rules.len() == 1 && dates.len() == some.len());
            }
            return;
        }
        self.nearest(start, &rules, dates.is_empty());
    }

    fn write_rule(&mut self, start: &Start<'_>, rule: &ical::Rule, said: &vcal::Rule) {
        self.out.raw("RRULE", "", &said.to_string());
        if matches!(start.clock, Clock::Local(_)) {
            self.reach(match rule.until {
                Some(Until::Date(date)) => date.year(),
                Some(Until::Local(end) | Until::Utc(end)) => end.year(),
                None => years_on(start.part, start.wall.year(), self.zones),
            });
        }
    }

    /// Rules that can neither be said exactly nor be written as dates: the first that is near, the others in words. A
    /// rule in a carrier comes back only where the event says nothing else of repeating.
    fn nearest(&mut self, start: &Start<'_>, rules: &[(&Content, ical::Rule)], alone: bool) {
        let mut near = None;
        let mut others = Vec::new();
        for (content, rule) in rules {
            let said = if start.drifts { self.drifting(start, rule) } else { self.in_frame(start, |f| to_vcal(rule, f)) };
            match said {
                Said::Rules(some) if near.is_none() && !some.is_empty() => near = Some((*content, rule, some)),
                Said::Neither(what) if rules.len() == 1 => others.push((*content, what)),
                _ => others.push((*content, "vCalendar takes one rule".to_owned())),
            }
        }
        let alone = alone && near.is_none();
        if let Some((content, rule, some)) = near {
            self.write_rule(start, rule, &some[0]);
            if start.drifts {
                let what = "a rule in UTC, which is off by the change of the clocks";
                self.losses.push("RRULE", &text::raw(content), Why::Zone, Done::Approximated(what.to_owned()));
                let zone = start.zone.as_deref().unwrap_or_default();
                note(&mut self.notes, format!("it keeps the local time of {zone} when the clocks change"));
            } else if some.len() > 1 {
                self.unsaid(content, "one rule of several is shown", false);
            }
        }
        for (content, what) in others {
            self.unsaid(content, &what, alone);
        }
    }

    /// The rule in UTC, where its days are the same days there.
    fn drifting(&self, start: &Start<'_>, rule: &ical::Rule) -> Said<vcal::Rule> {
        let utc = start.part.anchor.as_ref().and_then(|s| self.utc(s));
        let Some(utc) = utc.filter(|u| u.date() == start.wall.date()) else {
            return Said::Neither("its days are other days in UTC".to_owned());
        };
        let same = |t: NaiveDateTime| t;
        let until = match rule.until {
            Some(Until::Local(local)) => {
                self.wall_dates(start, &[local]).first().and_then(|t| crate::calendar::time::parse(t)).map(|t| Until::Utc(t.local()))
            }
            other => other,
        };
        let rule = ical::Rule { until, ..rule.clone() };
        to_vcal(&rule, &Frame { start: utc, all_day: false, floating: false, to_local: &same, to_utc: &same })
    }

    /// All instances of some rules beside DTSTART, when they end and are few.
    fn few(&self, start: &Start<'_>, rules: &[ical::Rule]) -> Option<Vec<NaiveDateTime>> {
        if rules.iter().any(|r| r.count.is_none() && r.until.is_none()) {
            return None;
        }
        let series = Series { rules: rules.iter().cloned().map(Either::ICal).collect(), ..Series::default() };
        let found = self.in_frame(start, |f| expand(&series, f, NaiveDateTime::MAX, MAX_DATES + 2));
        let dates: Vec<NaiveDateTime> = found.starts.into_iter().filter(|d| *d != start.wall).collect();
        (found.complete && dates.len() <= MAX_DATES).then_some(dates)
    }

    /// A rule as dates; where the dates are its own alone, it is carried, so that it comes back.
    fn said_by_dates(&mut self, content: &Content, why: Why, count: usize, alone: bool) {
        if alone && count > 0 {
            self.carry_text(as_text(content));
        }
        self.losses.push(&content.name, &text::raw(content), why, Done::Dates(count));
    }

    /// A rule that is said in words, and carried where it may come back.
    fn unsaid(&mut self, content: &Content, what: &str, carry: bool) {
        let rule = text::raw(content);
        let done = match (carry, self.options.notes) {
            (true, _) => self.carry_text(as_text(content)),
            (false, true) => Done::Said,
            (false, false) => Done::LeftOut,
        };
        self.losses.push(&content.name, &format!("{} ({what})", clip(&rule)), Why::NoCounterpart, done);
        let verb = if content.name == "EXRULE" { "leaves out" } else { "repeats by" };
        note(&mut self.notes, format!("it {verb} the rule \"{}\"", clip(&rule)));
    }

    /// EXRULE, as one rule or as dates.
    fn exclusions(&mut self, start: &Start<'_>, excluded: &mut Vec<String>) {
        let mut written = false;
        for (n, content) in start.part.all("EXRULE").enumerate() {
            if n >= MAX_RULES {
                self.unsaid(content, TOO_MANY_RULES, false);
                continue;
            }
            let rule = match ical::Rule::parse(&text::raw(content)) {
                Ok(rule) => rule,
                Err(error) => {
                    self.unsaid(content, &error.to_string(), false);
                    continue;
                }
            };
            let said = if start.drifts { Said::Neither("its zone".to_owned()) } else { self.in_frame(start, |f| exrule_to_vcal(&rule, f)) };
            match said {
                Said::Rules(one) if !written && one.len() == 1 => {
                    self.out.raw("EXRULE", "", &one[0].to_string());
                    written = true;
                }
                _ => match self.in_frame(start, |f| exrule_dates(&Either::ICal(rule), f)) {
                    Some(some) => {
                        excluded.extend(self.wall_dates(start, &some));
                        self.losses.push("EXRULE", &text::raw(content), Why::NoCounterpart, Done::Dates(some.len()));
                    }
                    None => self.unsaid(content, "vCalendar cannot say it", false),
                },
            }
        }
    }

    /// A rule of vCalendar that came as dates, with the rule itself in a carrier.
    fn restore_rule(&mut self, start: &Start<'_>, dates: &mut Vec<String>) {
        for at in 0..self.refining.len() {
            let line = match &self.refining[at] {
                Refining { name, line, .. } if name == "RRULE" => line.clone(),
                _ => continue,
            };
            let Some(rule) = line.split_once(':').and_then(|(_, r)| vcal::Rule::parse(r.trim()).ok()) else { continue };
            let alone = start.part.find("RRULE").is_none() && start.part.find("RDATE").is_none();
            if alone && matches!(self.in_frame(start, |f| to_ical(&rule, f)), Said::Neither(_)) {
                self.refining[at].restored = true;
                self.out.line(&line);
                return;
            }
            let series = Series { rules: vec![Either::VCal(rule)], ..Series::default() };
            let found = self.in_frame(start, |f| expand(&series, f, NaiveDateTime::MAX, MAX_DATES + 2));
            let theirs: Vec<NaiveDateTime> = found.starts.into_iter().filter(|d| *d != start.wall).collect();
            let theirs: BTreeSet<String> = self.wall_dates(start, &theirs).into_iter().collect();
            if found.complete && theirs.len() <= MAX_DATES && theirs == dates.iter().cloned().collect() {
                dates.clear();
                self.refining[at].restored = true;
                self.out.line(&line);
                return;
            }
        }
    }
}
