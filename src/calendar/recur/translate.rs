//! A rule of one grammar said in the other.
//!
//! Each direction drafts rules without their end, adds the end, and where either has no counterpart lists the dates of a
//! rule that has few. COUNT and `#n` mean the same on both sides (see [`super::expand`]), so that a DTSTART which the
//! rule does not produce needs no care.

mod to_ical;
mod to_vcal;

use super::expand::{Either, Role, alone};
use super::{Frame, MAX_DATES, Said, Until, ical, vcal};

/// An RRULE of vCalendar in iCalendar's words.
pub(crate) fn to_ical(rule: &vcal::Rule, frame: &Frame<'_>) -> Said<ical::Rule> {
    to_ical::say(rule, frame, Role::Adds)
}

/// The same for an EXRULE, which does not count DTSTART unless it matches; its dates are all that it takes out.
pub(crate) fn exrule_to_ical(rule: &vcal::Rule, frame: &Frame<'_>) -> Said<ical::Rule> {
    to_ical::say(rule, frame, Role::TakesOut)
}

/// An RRULE of iCalendar in vCalendar's words.
pub(crate) fn to_vcal(rule: &ical::Rule, frame: &Frame<'_>) -> Said<vcal::Rule> {
    to_vcal::say(rule, frame, Role::Adds)
}

/// The same for an EXRULE.
pub(crate) fn exrule_to_vcal(rule: &ical::Rule, frame: &Frame<'_>) -> Said<vcal::Rule> {
    to_vcal::say(rule, frame, Role::TakesOut)
}

/// The end of a rule in the form that iCalendar wants beside this start (RFC 5545 3.3.10).
pub(crate) fn until_in_ical(until: Until, frame: &Frame<'_>) -> Until {
    to_ical::said_until(until, frame)
}

/// The dates that an EXRULE of either grammar takes out, when they are few; `None` otherwise.
pub(crate) fn exrule_dates(rule: &Either, frame: &Frame<'_>) -> Option<Vec<chrono::NaiveDateTime>> {
    match dates::<()>(rule, frame, Role::TakesOut, "") {
        Said::Dates(dates) => Some(dates),
        _ => None,
    }
}

/// What no rule says, as dates.
fn dates<R>(rule: &Either, frame: &Frame<'_>, role: Role, why: &str) -> Said<R> {
    let ends = match rule {
        Either::ICal(rule) => rule.count.is_some() || rule.until.is_some(),
        Either::VCal(rule) => rule.count.is_some() || rule.until.is_some(),
    };
    if !ends {
        return Said::Neither(why.to_owned());
    }
    let mut all = alone(rule, frame, role, MAX_DATES + 1);
    if role == Role::Adds {
        all.starts.retain(|at| *at != frame.start);
    }
    if !all.complete || all.starts.len() > MAX_DATES {
        return Said::Neither(format!("{why}, with more than {MAX_DATES} dates"));
    }
    Said::Dates(all.starts)
}
