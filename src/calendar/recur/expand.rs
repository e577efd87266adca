//! From rules to instances.
//!
//! Each rule is walked pass by pass (a day, week, month or year of its interval) in ascending order; the walks of all
//! rules are merged. The iCalendar walk is our own: the crate `rrule` looks at 100,000 periods before each instance (over
//! a second for the 30th of February), then says that it is complete, and refuses rules that software writes (a DATE as
//! UNTIL). It is what our walk is compared with in the tests.
//!
//! DTSTART is an instance of every series and counts as the first of COUNT and `#n`, whether or not the rule produces
//! it (RFC 5545 3.8.5.3; Outlook never writes another, Google and Apple count so, libical's iterator alone does not).
//! An EXRULE takes out, and counts, only what it produces itself.
//!
//! Invariants: instances ascend, none twice; the work of one expansion is bounded for all its rules together, and where
//! the bound is met the instances before that point are all there.

mod ical;
mod vcal;

use std::cell::Cell;
use std::collections::VecDeque;

use chrono::{Duration, NaiveDateTime, NaiveTime};

use super::{Frame, Until};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Either {
    ICal(super::ical::Rule),
    VCal(super::vcal::Rule),
}

/// An event's whole recurrence, in the wall time of DTSTART's zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub rules: Vec<Either>,
    pub exrules: Vec<Either>,
    pub rdates: Vec<NaiveDateTime>,
    pub exdates: Vec<NaiveDateTime>,
}

/// The instances, ascending, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instances {
    pub starts: Vec<NaiveDateTime>,
    /// All there are before `until`; false where a limit of instances or of work was met.
    pub complete: bool,
}

/// Days and candidates looked at in one expansion: a daily or yearly rule of five centuries.
const WORK: usize = 200_000;

/// The same for one rule that is to be said as dates: 150 years of a yearly rule.
const LITTLE_WORK: usize = 60_000;

/// The work that is left.
struct Budget(Cell<usize>);

impl Budget {
    fn new(work: usize) -> Self {
        Self(Cell::new(work))
    }

    /// `None` when it does not suffice.
    fn spend(&self, work: usize) -> Option<()> {
        self.0.set(self.0.get().checked_sub(work.max(1))?);
        Some(())
    }
}

/// The candidates of one rule, period by period.
trait Passes {
    /// No later than anything that is still to come; `None`: nothing is.
    fn begins(&mut self) -> Option<NaiveDateTime>;
    /// The next period's candidates, ascending; they may lie before DTSTART. `None`: the budget is spent.
    fn pass(&mut self, budget: &Budget) -> Option<Vec<NaiveDateTime>>;
}

/// Whether a rule adds instances or takes them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// DTSTART is its first instance.
    Adds,
    TakesOut,
}

/// One rule's instances, one after the other.
struct Walk<'a> {
    passes: Box<dyn Passes + 'a>,
    frame: &'a Frame<'a>,
    budget: &'a Budget,
    role: Role,
    count: Option<u32>,
    until: Option<Until>,
    /// Nothing later can be within `until`.
    last: Option<NaiveDateTime>,
    horizon: NaiveDateTime,
    pending: VecDeque<NaiveDateTime>,
    given: u32,
    done: bool,
    spent: bool,
}

impl<'a> Walk<'a> {
    fn new(rule: &'a Either, frame: &'a Frame<'a>, role: Role, horizon: NaiveDateTime, budget: &'a Budget) -> Self {
        let (passes, count, until): (Box<dyn Passes>, _, _) = match rule {
            Either::ICal(rule) => (Box::new(ical::Periods::new(rule, frame)), rule.count, rule.until),
            Either::VCal(rule) => {
                let passes = vcal::passes(rule, frame.start);
                // Where passes are counted, they count themselves.
                (passes, rule.count.filter(|_| rule.mark.is_none() && rule.inner.is_none()), rule.until)
            }
        };
        let last = until.map(|until| match until {
            Until::Date(date) => date.and_time(NaiveTime::MIN).checked_add_signed(Duration::seconds(86_399)).unwrap_or(NaiveDateTime::MAX),
            Until::Local(at) => at,
            // What lies close is compared in UTC.
            Until::Utc(at) => (frame.to_local)(at).checked_add_signed(Duration::days(1)).unwrap_or(NaiveDateTime::MAX),
        });
        Self { passes, frame, budget, role, count, until, last, horizon, pending: VecDeque::new(), given: 0, done: false, spent: false }
    }

    fn next(&mut self) -> Option<NaiveDateTime> {
        let next = self.find();
        self.done = next.is_none();
        self.given += u32::from(next.is_some());
        next
    }

    fn find(&mut self) -> Option<NaiveDateTime> {
        if self.done || self.count.is_some_and(|n| self.given >= n) {
            return None;
        }
        let start = self.frame.start;
        if self.role == Role::Adds && self.given == 0 {
            return Some(start).filter(|s| *s < self.horizon);
        }
        loop {
            while let Some(at) = self.pending.pop_front() {
                if at < start || at == start && self.role == Role::Adds {
                    continue;
                }
                if at >= self.horizon || self.last.is_some_and(|last| at > last) {
                    return None;
                }
                if self.within(at) {
                    return Some(at);
                }
            }
            let begins = self.passes.begins()?;
            if begins >= self.horizon || self.last.is_some_and(|last| begins > last) {
                return None;
            }
            match self.passes.pass(self.budget) {
                Some(pass) => self.pending = pass.into(),
                None => {
                    self.spent = true;
                    return None;
                }
            }
        }
    }

    /// Within an end in UTC; the other ends are met by `last`.
    fn within(&self, at: NaiveDateTime) -> bool {
        let Some(Until::Utc(until)) = self.until else { return true };
        let near = self.last.is_some_and(|last| last - at < Duration::days(2));
        !near || (self.frame.to_utc)(at) <= until
    }
}

/// A walk with its next instance.
struct Head<'a> {
    head: Option<NaiveDateTime>,
    walk: Walk<'a>,
}

impl<'a> Head<'a> {
    fn all(rules: &'a [Either], walk: impl Fn(&'a Either) -> Walk<'a>) -> Vec<Self> {
        let first = |mut walk: Walk<'a>| Self { head: walk.next(), walk };
        rules.iter().map(walk).map(first).collect()
    }

    fn advance(&mut self) {
        self.head = self.walk.next();
    }
}

/// The instances of a single rule in that role, at most `limit`; with less work than [`expand`].
pub(super) fn alone(rule: &Either, frame: &Frame<'_>, role: Role, limit: usize) -> Instances {
    let budget = Budget::new(LITTLE_WORK);
    let mut walk = Walk::new(rule, frame, role, NaiveDateTime::MAX, &budget);
    let mut starts = Vec::new();
    while let Some(at) = walk.next() {
        if starts.len() >= limit {
            return Instances { starts, complete: false };
        }
        starts.push(at);
    }
    Instances { starts, complete: !walk.spent }
}

/// Instances that start before `until`, at most `limit`.
pub(crate) fn expand(series: &Series, frame: &Frame<'_>, until: NaiveDateTime, limit: usize) -> Instances {
    let budget = Budget::new(WORK);
    let walks = |rules, role| Head::all(rules, |rule| Walk::new(rule, frame, role, until, &budget));
    let (mut adding, mut taking) = (walks(&series.rules, Role::Adds), walks(&series.exrules, Role::TakesOut));
    let mut dates: Vec<NaiveDateTime> = series.rdates.iter().copied().chain([frame.start]).filter(|d| *d < until).collect();
    dates.sort_unstable_by(|a, b| b.cmp(a));
    let mut exdates = series.exdates.clone();
    exdates.sort_unstable();
    let mut found = Instances { starts: Vec::new(), complete: true };
    loop {
        let heads = adding.iter().filter_map(|w| w.head).chain(dates.last().copied());
        let Some(at) = heads.min() else { break };
        while dates.last() == Some(&at) {
            dates.pop();
        }
        for walk in adding.iter_mut().filter(|w| w.head == Some(at)) {
            walk.advance();
        }
        let mut out = exdates.binary_search(&at).is_ok();
        for walk in &mut taking {
            while walk.head.is_some_and(|h| h < at) {
                walk.advance();
            }
            out |= walk.head == Some(at);
        }
        if !out {
            if found.starts.len() >= limit {
                found.complete = false;
                break;
            }
            found.starts.push(at);
        }
        if adding.iter().chain(&taking).any(|w| w.walk.spent) {
            found.complete = false;
            break;
        }
    }
    found.complete &= !adding.iter().chain(&taking).any(|w| w.walk.spent);
    found
}
