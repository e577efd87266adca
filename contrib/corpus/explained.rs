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

static ENTRIES: [Entry; 55] = [
    entry(
        "KOrganizer_vCalTestCase",
        "SEQUENCE",
        Alone::Theirs,
        "KDE copies the number; versions count from 1 in vCalendar and from 0 in iCalendar (profile 5)",
    ),
    entry(
        "KOrganizer_vCalTestCase",
        "SEQUENCE",
        Alone::Ours,
        "KDE copies the number; versions count from 1 in vCalendar and from 0 in iCalendar (profile 5)",
    ),
    entry(
        "KOrganizer_vCalTestCase",
        "DTSTAMP",
        Alone::Theirs,
        "KDE writes the time of its own run, we LAST-MODIFIED where nothing else is given, and keep DTSTAMP in vCalendar",
    ),
    entry(
        "KOrganizer_vCalTestCase",
        "DTSTAMP",
        Alone::Ours,
        "KDE writes the time of its own run, we LAST-MODIFIED where nothing else is given, and keep DTSTAMP in vCalendar",
    ),
    entry("KOrganizer_vCalTestCase", "CLASS", Alone::Ours, "KDE leaves out PUBLIC, which is the default"),
    entry(
        "KOrganizer_vCalTestCase",
        "ORGANIZER",
        Alone::Theirs,
        "KDE reads its own X-ORGANIZER as ORGANIZER; an X- line of somebody else names nobody here",
    ),
    entry("KOrganizer_vCalTestCase", "X-ORGANIZER", Alone::Ours, "the X- line is kept as it is"),
    entry(
        "KOrganizer_vCalTestCase",
        "X-ORGANIZER",
        Alone::Theirs,
        "KDE writes ORGANIZER as X-ORGANIZER, we as ATTENDEE;ROLE=OWNER (bridge 2)",
    ),
    entry(
        "KOrganizer_vCalTestCase",
        "ATTENDEE",
        Alone::Theirs,
        "the organizer, whom KDE has in X-ORGANIZER on the vCalendar side and we as the owner",
    ),
    entry(
        "KOrganizer_vCalTestCase",
        "ATTENDEE",
        Alone::Ours,
        "the organizer, whom KDE has in X-ORGANIZER on the vCalendar side and we as the owner",
    ),
    entry("KOrganizer_vCalTestCase", "X-KDE-ICAL-IMPLEMENTATION-VERSION", Alone::Theirs, "KDE signs its work"),
    entry("KOrganizer_vCalTestCase", "X-LIBKCAL-TESTSUITE-OUTTZ", Alone::Ours, "KDE's order to its own test, kept like any X- line"),
    entry("funambol-ical-", "X-FUNAMBOL-ALLDAY", Alone::Theirs, "an extension of Funambol's own"),
    entry("funambol-", "CLASS", Alone::Theirs, "Funambol writes the default where nothing was said"),
    entry("funambol-", "UID", Alone::Ours, "iCalendar requires a UID: one is made where there is none, and stays on the way back"),
    entry("funambol-", "DTSTAMP", Alone::Ours, "iCalendar requires it: Funambol leaves it out, or writes it in local time"),
    entry("funambol-", "CREATED", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "ATTENDEE", Alone::Theirs, "Funambol's model does not hold attendees"),
    entry("funambol-ical-16", "ATTENDEE", Alone::Ours, "Funambol's model does not hold attendees"),
    entry("funambol-ical-2", "DTEND", Alone::Theirs, "an end before the start contradicts it and is left out, which is listed"),
    entry(
        "funambol-ical-17",
        "LAST-MODIFIED",
        Alone::Theirs,
        "without Z: Funambol reads it in the event's zone, we in UTC, which both formats ask for",
    ),
    entry(
        "funambol-ical-17",
        "LAST-MODIFIED",
        Alone::Ours,
        "without Z: Funambol reads it in the event's zone, we in UTC, which both formats ask for",
    ),
    entry("funambol-ical-16", "VALARM", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-LIC-ERROR", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-ALLDAYEVENT", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-APPT-SEQUENCE", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-ATTENDEE-CRITICAL-CHANGE", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-IMPORTANCE", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-INSTTYPE", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-INTENDEDSTATUS", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-OWNER-CRITICAL-CHANGE", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MICROSOFT-CDO-OWNERAPPTID", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ical-16", "X-MOZ-GENERATION", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-vcal-", "X-FUNAMBOL-ALLDAY", Alone::Theirs, "an extension of Funambol's own"),
    entry("funambol-vcal-7", "DTEND", Alone::Theirs, "a time that cannot be read is left out, which is listed"),
    entry("funambol-ics2vcs-", "X-FUNAMBOL-ALLDAY", Alone::Theirs, "an extension of Funambol's own"),
    entry("funambol-ics2vcs-", "DCREATED", Alone::Ours, "Funambol's model does not hold it"),
    entry("funambol-ics2vcs-", "SEQUENCE", Alone::Ours, "the version of an object without one is 1 in vCalendar"),
    entry("funambol-ics2vcs-", "X-CIP-ICAL", Alone::Ours, "METHOD, which vCalendar has no place for, is carried"),
    entry("si", "DTSTAMP", Alone::Ours, "iCalendar requires it"),
    entry("si", "UID", Alone::Ours, "iCalendar requires it: one is made where there is none"),
    entry("si", "X-CIP-VCAL", Alone::Ours, "STATUS of a to-do or PARTSTAT of an event that iCalendar has no place for is carried"),
    entry("si", "X-CIP-ICAL", Alone::Ours, "PERCENT-COMPLETE, PARTSTAT or a STATUS that vCalendar has no place for is carried"),
    entry(
        "sift-",
        "VALARM",
        Alone::Theirs,
        "Funambol says an alarm of an all-day task as the date alone in iCalendar and at eight o'clock in vCalendar",
    ),
    entry(
        "sift-",
        "VALARM",
        Alone::Ours,
        "Funambol says an alarm of an all-day task as the date alone in iCalendar and at eight o'clock in vCalendar",
    ),
    entry(
        "sift-",
        "AALARM",
        Alone::Theirs,
        "Funambol says an alarm of an all-day task as the date alone in iCalendar and at eight o'clock in vCalendar",
    ),
    entry(
        "sift-",
        "AALARM",
        Alone::Ours,
        "Funambol says an alarm of an all-day task as the date alone in iCalendar and at eight o'clock in vCalendar",
    ),
    entry("KOrganizer_vCalTestCase08", "RRULE", Alone::Ours, "KDE drops a yearly rule by position, which MP36 says"),
    entry("funambol-vcal-3", "X-CIP-TZID", Alone::Ours, "the name that the zone had in between"),
    entry(
        "funambol-vcal-3",
        "RRULE",
        Alone::Theirs,
        "Funambol re-saves the start in UTC, where its TZ and DAYLIGHT no longer say the series' hour in summer; ours stays in local time (bridge 8)",
    ),
    entry(
        "funambol-vcal-3",
        "RRULE",
        Alone::Ours,
        "Funambol re-saves the start in UTC, where its TZ and DAYLIGHT no longer say the series' hour in summer; ours stays in local time (bridge 8)",
    ),
    entry("sife-", "VALARM", Alone::Theirs, "a Windows path is no URI: we write it as a file: URL"),
    entry("sife-", "VALARM", Alone::Ours, "a Windows path is no URI: we write it as a file: URL"),
    entry(
        "sife-",
        "PRIORITY",
        Alone::Theirs,
        "Funambol maps normal importance to 5 in iCalendar and to 2 in vCalendar; the number is the same in both formats",
    ),
    entry(
        "sife-",
        "PRIORITY",
        Alone::Ours,
        "Funambol maps normal importance to 5 in iCalendar and to 2 in vCalendar; the number is the same in both formats",
    ),
];

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
