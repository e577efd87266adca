//! From rules to instances.

use chrono::NaiveDateTime;

use super::{Frame, ical, vcal};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Either {
    ICal(ical::Rule),
    VCal(vcal::Rule),
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

/// Instances that start before `until`, at most `limit`.
pub(crate) fn expand(_series: &Series, frame: &Frame<'_>, _until: NaiveDateTime, _limit: usize) -> Instances {
    Instances { starts: vec![frame.start], complete: true }
}
