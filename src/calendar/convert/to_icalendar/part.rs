//! What must be known of one component before its first line is written: its times, its zone and its UID.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::times::{By, Form, Given, Named, When};
use super::zones::ZoneUse;
use super::{Done, Job, Why, alarms, lines, people, recurrence};
use crate::calendar::event::Format;
use crate::calendar::property::Content;
use crate::calendar::text;
use crate::calendar::time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    Todo,
    Journal,
    FreeBusy,
    /// A component of iCalendar that holds no people or times of its own.
    Known,
    Unknown,
}

impl Kind {
    pub fn of(name: &str) -> Self {
        match name {
            "VEVENT" => Self::Event,
            "VTODO" => Self::Todo,
            "VJOURNAL" => Self::Journal,
            "VFREEBUSY" => Self::FreeBusy,
            "VTIMEZONE" => Self::Known,
            _ => Self::Unknown,
        }
    }

    pub fn is_event(self) -> bool {
        matches!(self, Self::Event | Self::Todo | Self::Journal | Self::FreeBusy)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Todo => "VTODO",
            Self::Journal => "VJOURNAL",
            Self::FreeBusy => "VFREEBUSY",
            Self::Event | Self::Known | Self::Unknown => "VEVENT",
        }
    }
}

/// Instances of one series that came as events of their own.
const MAX_MOVED: usize = 5_000;
/// Zones of one name with rules of their own in one calendar.
const MAX_ALIKE: usize = 50;

/// UID and RECURRENCE-ID out of X-CIP-SERIES.
pub(super) fn series(content: &Content) -> Option<(String, String)> {
    let value = text::readable(content, Format::VCalendar);
    let (uid, id) = value.rsplit_once(';')?;
    let (uid, id) = (uid.trim(), id.trim());
    (!uid.is_empty() && time::parse(id).is_some()).then(|| (uid.to_owned(), id.to_owned()))
}

/// What is known of a component while its lines are written.
pub(super) struct Part<'c> {
    pub kind: Kind,
    pub contents: &'c [Content<'c>],
    pub form: Form,
    pub start: Option<When>,
    /// Index of the line that `start` came from.
    pub start_line: Option<usize>,
    pub end: Option<(usize, When)>,
    pub summary: Option<String>,
    pub summary_line: Option<usize>,
    pub owner: Option<people::Owner>,
    pub uid: String,
    pub recurring: bool,
    /// One instance of a series: rules in it say nothing.
    pub exception: bool,
    /// Instances of the series that came as events of their own: their EXDATEs are theirs.
    pub moved: Vec<When>,
    /// The same as they are written, once it is asked for: in the form of the start or in UTC.
    pub moved_dates: Option<HashSet<(bool, chrono::NaiveDateTime)>>,
    /// Lines whose carried rule comes back, by index.
    pub restored_rules: Vec<usize>,
    /// RDATEs that a carried rule says.
    pub restored_dates: Vec<chrono::NaiveDateTime>,
    /// What is to be said in DESCRIPTION.
    pub notes: Vec<String>,
    /// Where DESCRIPTION goes in the body, its parameters and text.
    pub description: Option<(usize, String, String)>,
    /// Once-only properties that were written, with their lines.
    pub seen: HashMap<&'c str, usize>,
    /// The names of its lines.
    pub names: HashSet<&'c str>,
    /// Words that came back out of carriers.
    pub restored_words: HashSet<String>,
    /// Kinds of alarms that are in carriers.
    pub carried_alarms: HashSet<&'static str>,
    /// RRULEs and EXRULEs that were looked at.
    pub rules: usize,
}

impl Part<'_> {
    /// What rules and alarms count from: the start, or the end of what has none.
    pub fn anchor(&self) -> Option<&When> {
        self.start.as_ref().or(self.end.as_ref().map(|(_, when)| when))
    }
}

impl Job<'_> {
    /// What must be known before the first line is written.
    pub(super) fn part<'c>(&mut self, contents: &'c [Content<'c>], kind: Kind) -> Part<'c> {
        let find = |names: &[&str]| {
            contents.iter().enumerate().filter(|(_, c)| names.contains(&c.name.as_str())).find_map(|(i, c)| Some((i, When::read(c)?)))
        };
        let start = find(&["DTSTART"]);
        let end = find(if kind == Kind::Todo { &["DUE", "DTEND"] } else { &["DTEND", "DUE"] });
        let rule = |c: &Content| match c.name.as_str() {
            "RRULE" => recurrence::is_rule(&text::raw(c)),
            "RDATE" => !c.value.is_empty(),
            lines::OF_ICALENDAR => text::raw(c).get(..5).is_some_and(|p| p.eq_ignore_ascii_case("RRULE")),
            _ => false,
        };
        let exception =
            contents.iter().any(|c| c.name == "RECURRENCE-ID" && !c.value.is_empty() || c.name == lines::SERIES && series(c).is_some());
        let recurring = !exception && contents.iter().any(rule);
        let zone = contents.iter().find(|c| c.name == lines::ZONE).map(|c| text::readable(c, Format::VCalendar)).filter(|z| !z.is_empty());
        // A to-do may have its DUE alone.
        let anchor = start.as_ref().or(end.as_ref()).map(|(_, w)| w);
        let given = Given {
            start: anchor,
            end: end.as_ref().map(|(_, w)| w),
            todo: kind == Kind::Todo,
            recurring,
            whole_days: contents.iter().any(says_whole_days),
            zone: zone.as_deref().map(|id| Named { id, redefined: self.redefined.contains(&id.to_lowercase()) }),
        };
        let mut lost_zone = false;
        let startless = start.is_none() && kind != Kind::Todo;
        let (mut form, contradicts) = Form::of(&given, &self.zones);
        let named = self.distinguish(&mut form);
        lost_zone |= !named;
        if let Some(at) = anchor.map(|a| form.wall(a, &self.zones))
            && (startless || !self.has_rules(&form, at))
        {
            // An end alone needs no zone.
            form = if matches!(form, Form::Zone { .. }) { Form::Utc } else { form };
            lost_zone |= recurring && !startless;
        }
        let named = |name: &str| contents.iter().enumerate().rev().find(|(_, c)| c.name == name && !c.value.is_empty()).map(|(i, _)| i);
        let summary_line = named("SUMMARY").or_else(|| contents.iter().position(|c| c.name == "SUBJECT"));
        let (uid, moved) = self.identity(contents);
        if lost_zone {
            self.losses.uid = Some(uid.clone());
            self.losses.push("TZ", zone.as_deref().unwrap_or_default(), Why::Zone, Done::Approximated("UTC".to_owned()));
        }
        if contradicts {
            self.losses.uid = Some(uid.clone());
            let utc = form == Form::Utc;
            let (why, done) = if utc { (Why::Zone, Done::Approximated("UTC".to_owned())) } else { (Why::Contradiction, Done::LeftOut) };
            self.losses.push(lines::ZONE, zone.as_deref().unwrap_or_default(), why, done);
        }
        Part {
            kind,
            contents,
            form,
            start_line: start.as_ref().map(|(i, _)| *i),
            start: start.map(|(_, w)| w),
            end,
            summary: summary_line.map(|i| text::readable(&contents[i], self.document.format)),
            summary_line,
            owner: people::owner(contents),
            uid,
            recurring,
            exception,
            moved,
            moved_dates: None,
            restored_rules: Vec::new(),
            restored_dates: Vec::new(),
            notes: Vec::new(),
            description: None,
            seen: HashMap::new(),
            names: contents.iter().map(|c| &*c.name).collect(),
            restored_words: HashSet::new(),
            carried_alarms: alarms::carried_kinds(contents),
            rules: 0,
        }
    }

    /// Whether a VTIMEZONE can say the zone. An unknown one stays what it is, for its reader to know it.
    fn has_rules(&self, form: &Form, at: chrono::NaiveDateTime) -> bool {
        let Form::Zone { id, by } = form else { return true };
        if *by == By::Nobody || self.used.contains_key(id) || self.given.contains(&id.to_lowercase()) {
            return true;
        }
        ZoneUse::new(*by, at, Rc::clone(&self.zones)).has_rules(id)
    }

    /// Two events with zones of their own may have the same offsets on different days of the year. False where there are too
    /// many of one name: the last are in UTC.
    fn distinguish(&self, form: &mut Form) -> bool {
        let Form::Zone { id, by: by @ (By::Rules | By::Name) } = form else { return true };
        let taken = |id: &String| self.used.get(id).is_some_and(|used| !used.is(*by, &self.zones));
        if *by == By::Name {
            // The world's zone has no other name.
            let known = !taken(id);
            if !known {
                *form = Form::Utc;
            }
            return known;
        }
        let name = id.clone();
        let mut count = 1;
        while taken(id) {
            count += 1;
            if count > MAX_ALIKE {
                *form = Form::Utc;
                return false;
            }
            *id = format!("{name}-{count}");
        }
        true
    }

    /// The UID, and which instances of this series are events of their own.
    fn identity(&mut self, contents: &[Content]) -> (String, Vec<When>) {
        if let Some((uid, _)) = contents.iter().find(|c| c.name == lines::SERIES).and_then(series) {
            return (uid, Vec::new());
        }
        let Some(uid) = contents.iter().filter(|c| c.name == "UID").find_map(lines::uid) else {
            let uid = self.derived_uid(contents);
            self.losses.uid = Some(uid.clone());
            self.losses.push("UID", "", Why::Required, Done::Approximated(uid.clone()));
            return (uid, Vec::new());
        };
        let own = contents.iter().filter(|c| c.name == lines::CANCELLED).map(|c| text::readable(c, Format::VCalendar));
        let own = own.filter_map(|v| v.split(';').next().map(|id| id.trim().to_owned()));
        // They stand for EXDATEs; the same UID once more is another series.
        let excludes = contents.iter().any(|c| c.name == "EXDATE");
        let ids = if excludes { self.series.remove(&uid).unwrap_or_default() } else { Vec::new() };
        let moved = own.chain(ids).take(MAX_MOVED).filter_map(|id| Some(When { stamp: time::parse(&id)?, zone: None })).collect();
        (uid, moved)
    }

    /// The same content always gets the same UID; the same content again in one object gets another.
    fn derived_uid(&mut self, contents: &[Content]) -> String {
        let mut hash = Sha256::new();
        for content in contents.iter().filter(|c| !matches!(c.name.as_str(), "DTSTAMP" | "UID") && !c.name.starts_with(lines::PARAMETER)) {
            hash.update(content.name.as_bytes());
            hash.update(b":");
            hash.update(&content.value);
            hash.update(b"\n");
        }
        let digest: [u8; 32] = hash.finalize().into();
        let count = self.nameless.entry(digest).or_default();
        *count += 1;
        let hex: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
        if *count == 1 { format!("{hex}@vcalendar.invalid") } else { format!("{hex}-{count}@vcalendar.invalid") }
    }
}

/// Marks that software sets on an event of whole days.
fn says_whole_days(content: &Content) -> bool {
    let says = |words: &[&str]| words.iter().any(|w| text::raw(content).trim().eq_ignore_ascii_case(w));
    match content.name.as_str() {
        "X-FUNAMBOL-ALLDAY" | "X-ALLDAY" => says(&["1", "TRUE"]),
        "X-MICROSOFT-CDO-ALLDAYEVENT" => says(&["TRUE"]),
        "X-EPOCAGENDAENTRYTYPE" => says(&["ANNIVERSARY", "EVENT"]),
        _ => false,
    }
}
