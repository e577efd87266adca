//! Time zones: from local time to an instant and back, by the object's own rules first (bridge 8).
//!
//! VTIMEZONE components are evaluated ([`component`]); a zone whose rules say more than one day a year, or that has none,
//! is looked up by name: IANA, then Microsoft's names ([`names`]). vCalendar's TZ and DAYLIGHT are the same thing with
//! other words ([`daylight`]). Written are both: a VTIMEZONE of a named zone ([`world`]) or of any rules ([`write`]), and
//! TZ with DAYLIGHT of any zone.
//!
//! Invariants: a local time in a gap is read with the offset before it, one that occurs twice as the first of the two
//! (RFC 5545 3.3.5); outside of those `instant` and `local` undo each other; one evaluation costs at most a dozen years of
//! each rule, and rules per object are bounded.

mod component;
mod daylight;
mod names;
mod rules;
mod world;
mod write;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use calcard::common::timezone::Tz;
use chrono::{Duration, LocalResult, NaiveDateTime, Offset, TimeZone};

use super::property::Document;
use super::{error, text};
pub(crate) use rules::Rules;

/// Zones and years whose rules are kept once found.
const MAX_FOUND: usize = 64;

#[cfg(test)]
thread_local! {
    /// How often this thread said a zone as TZ and DAYLIGHT.
    pub(crate) static SAID: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The zones of one object. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zones {
    own: Arc<HashMap<String, Rules>>,
    /// TZ and DAYLIGHT of a vCalendar object; of its event, after [`Zones::of`].
    pub local: Option<Rules>,
    /// TZ and DAYLIGHT that stand inside an event, by its component.
    inside: Arc<HashMap<usize, Rules>>,
}

impl Zones {
    /// Reads the VTIMEZONEs, or TZ and DAYLIGHT, of an object; with what was not understood.
    pub fn read(document: &Document) -> (Self, Vec<String>) {
        let (mut own, mut problems, mut read) = (HashMap::new(), Vec::new(), component::Read::default());
        for index in 0..document.components.len() {
            if document.components[index].name != "VTIMEZONE" {
                continue;
            }
            let id = document.lines_of(index).find(|(_, l)| &*l.name == "TZID").map(|(_, l)| document.raw(l));
            let Some(id) = id else { continue };
            match read.zone(document, index) {
                Some(rules) => drop(own.insert(key(&id), rules.called(id.trim()))),
                None => problems.push(format!("VTIMEZONE {}: rules not understood, looked up by name", error::clip(&id))),
            }
        }
        let found = daylight::read(document);
        problems.extend(found.problems);
        (Self { own: Arc::new(own), local: found.local, inside: Arc::new(found.inside) }, problems)
    }

    /// The zones as the event in a component has them: its own TZ and DAYLIGHT come before the calendar's.
    pub fn of(&self, component: usize) -> Self {
        let local = self.inside.get(&component).or(self.local.as_ref()).cloned();
        Self { own: Arc::clone(&self.own), local, inside: Arc::clone(&self.inside) }
    }

    /// The instant of a local time in a named zone, in seconds since 1970; `None`: no such zone.
    pub fn instant(&self, local: NaiveDateTime, id: &str) -> Option<i64> {
        let offset = match self.own.get(&key(id)) {
            Some(rules) => rules.offset(local),
            None => named_offset(local, names::named(id)?)?,
        };
        Some(local.and_utc().timestamp() - i64::from(offset))
    }

    /// The wall time of an instant (seconds since 1970) in a named zone; `None`: no such zone, or outside the calendar.
    pub fn local(&self, seconds: i64, id: &str) -> Option<NaiveDateTime> {
        rules::wall(seconds, self.offset(seconds, id)?)
    }

    /// Seconds east of UTC at an instant (seconds since 1970) in a named zone; `None`: no such zone.
    pub fn offset(&self, seconds: i64, id: &str) -> Option<i32> {
        match self.own.get(&key(id)) {
            Some(rules) => Some(rules.offset_at(seconds)),
            None => names::offset_at(names::named(id)?, seconds),
        }
    }

    /// The rules of an IANA or Microsoft name, right for the years given, which go on after them. `None`: no such zone.
    pub fn world(id: &str, years: RangeInclusive<i32>) -> Option<Rules> {
        found(names::named(id)?, &years)
    }

    /// The values of TZ and DAYLIGHT (vCalendar 1.0) for a zone of this object or a named one: a DAYLIGHT for each summer
    /// of the first dozen years, whose pattern goes on after the last; no DAYLIGHT for a zone without summers.
    /// `None`: no such zone, or one whose rules TZ and DAYLIGHT cannot say in these years (of which 60 count).
    pub fn tz_daylight(&self, id: &str, years: RangeInclusive<i32>) -> Option<(String, Vec<String>)> {
        #[cfg(test)]
        SAID.with(|said| said.set(said.get() + 1));
        daylight::kept(&self.source(id)?, names::named(id), &years)
    }

    fn source(&self, id: &str) -> Option<daylight::Source<'_>> {
        Some(match self.own.get(&key(id)) {
            Some(rules) => daylight::Source::Own(rules),
            None => daylight::Source::Named(names::named(id)?),
        })
    }

    /// Whether TZ and DAYLIGHT give the offsets of a named zone in all these years (of which 60 count).
    pub fn local_is(&self, id: &str, years: &RangeInclusive<i32>) -> bool {
        let (Some(local), Some(named)) = (&self.local, self.source(id)) else { return false };
        daylight::same(&daylight::Source::Own(local), &named, years)
    }

    /// Whether the object's own rules for a zone say something else at an instant than the world's zone of that name.
    pub fn is_redefined(&self, id: &str, seconds: i64) -> bool {
        let world = names::named(id).and_then(|zone| names::offset_at(zone, seconds));
        self.own.get(&key(id)).zip(world).is_some_and(|(own, world)| own.offset_at(seconds) != world)
    }
}

impl Rules {
    /// The name of these rules: TZID, the zone that TZ names, or one made of what TZ and DAYLIGHT say, such as `UTC-0500` or
    /// `UTC-0500/-0400 19960407-19971026` (the first day of their first summer, the last day of their last), which is no
    /// name of the world's zones unless it means the same.
    #[allow(dead_code)]
    pub fn name(&self) -> &str {
        self.id.as_deref().unwrap_or("UTC")
    }
}

/// TZID as a parameter (quoted) and as a value (commas with a backslash) name the same zone.
fn key(id: &str) -> String {
    let id = id.trim();
    let mut key = id.strip_prefix('"').and_then(|i| i.strip_suffix('"')).unwrap_or(id).to_ascii_lowercase();
    if key.contains('\\') {
        key = text::unescape(&key, false);
    }
    key
}

/// Seconds east of UTC at a local time in a named zone.
fn named_offset(local: NaiveDateTime, zone: Tz) -> Option<i32> {
    let local = names::within_data(local);
    Some(match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.offset().fix().local_minus_utc(),
        // In a gap: the offset that held before it. No gap is longer than a day (Samoa skipped one).
        LocalResult::None => [3, 25]
            .iter()
            .find_map(|h| zone.from_local_datetime(&local.checked_sub_signed(Duration::hours(*h))?).earliest())
            .map(|at| at.offset().fix().local_minus_utc())?,
    })
}

/// The rules of a named zone, from memory where they were asked for before.
fn found(zone: Tz, years: &RangeInclusive<i32>) -> Option<Rules> {
    type Found = HashMap<(Tz, i32, i32), Rules>;
    static FOUND: Mutex<Option<Found>> = Mutex::new(None);
    let key = (zone, *years.start(), *years.end());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.get_or_insert_default();
    if let Some(rules) = found.get(&key) {
        return Some(rules.clone());
    }
    let rules = world::rules(zone, years)?;
    // Names and years come from outside: what is kept stays small.
    if found.len() >= MAX_FOUND {
        found.clear();
    }
    found.insert(key, rules.clone());
    Some(rules)
}
