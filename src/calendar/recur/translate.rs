//! A rule of one grammar said in the other.

use super::{Frame, Said, ical, vcal};

pub(crate) fn to_ical(_rule: &vcal::Rule, _frame: &Frame<'_>) -> Said<ical::Rule> {
    Said::Neither(String::new())
}

pub(crate) fn to_vcal(_rule: &ical::Rule, _frame: &Frame<'_>) -> Said<vcal::Rule> {
    Said::Neither(String::new())
}
