//! Why what others made of an object differs from what this project makes of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::pairs::{Alone, Difference};

/// Which differences a reason is for: pairs whose name starts so, the property, the side where it stands alone.
struct Entry {
    pair: &'static str,
    property: &'static str,
    alone: Alone,
    reason: &'static str,
    used: AtomicUsize,
}

const fn entry(pair: &'static str, property: &'static str, alone: Alone, reason: &'static str) -> Entry {
    Entry { pair, property, alone, reason, used: AtomicUsize::new(0) }
}

static ENTRIES: [Entry; 0] = [];

/// Files of the list that have no other side to be compared with.
const WITHOUT_CASE: [(&str, &str); 7] = [
    ("Icalendar__multiple-categoryv1.ics", "the iCalendar twin is not in the corpus"),
    ("Icalendar__single-categoryv1.ics", "the iCalendar twin is not in the corpus"),
    ("gammu__date-time.backup", "gammu's own dump of its phone entry, no calendar object"),
    ("syncevolution__eds_event.ics", "the scenarios of vcal10.ics in other words, not the same objects"),
    ("syncevolution__vcal10.ics", "the scenarios of eds_event.ics in other words, not the same objects"),
    ("syncevolution__eds_event.ics.Ovi.tem.patch", "what a phone made of it as a patch, no calendar object"),
    ("syncevolution__eds_event.ics.nokia_7210c.tem.patch", "what a phone made of it as a patch, no calendar object"),
];

pub fn without_case(file: &str) -> Option<&'static str> {
    WITHOUT_CASE.iter().find(|(name, _)| *name == file).map(|(_, reason)| *reason)
}

/// The reason for a difference.
pub fn reason(difference: &Difference) -> Option<&'static str> {
    let fits = |e: &&Entry| difference.pair.starts_with(e.pair) && e.property == difference.property && e.alone == difference.alone;
    let entry = ENTRIES.iter().find(fits)?;
    entry.used.fetch_add(1, Ordering::Relaxed);
    Some(entry.reason)
}

/// Reasons that explained nothing in this run.
pub fn unused() -> Vec<String> {
    let idle = |e: &&Entry| e.used.load(Ordering::Relaxed) == 0;
    ENTRIES.iter().filter(idle).map(|e| format!("{} {} {:?}", e.pair, e.property, e.alone)).collect()
}
