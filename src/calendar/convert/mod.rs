//! Translation between vCalendar 1.0 (and the draft's bare dialect) and iCalendar 2.0, both ways (bridge 2, 7, 8).
//!
//! A translation goes component by component and property by property over the octets' index ([`Document`]), never
//! through an intermediate model, so that what has no place in the table below is seen and listed instead of forgotten.
//!
//! | vCalendar 1.0 | iCalendar 2.0 | note |
//! |---|---|---|
//! | UID, SUMMARY (bare: SUBJECT), DESCRIPTION, LOCATION, URL, RELATED-TO, CLASS, X-… | the same | text; charset and transfer encoding decoded; vCalendar: quoted-printable UTF-8 where not one line of ASCII |
//! | SEQUENCE n | SEQUENCE n−1 | profile 5: the versions are the same; 0 stays 0 |
//! | DTSTART, DTEND, DUE | the same | `Z`: UTC; local with TZ: TZID of a VTIMEZONE made of TZ and DAYLIGHT; local without TZ: floating; midnight to midnight (or 23:59) without zone: VALUE=DATE |
//! | DTSTART, DTEND in `Z` for single events, local with TZ/DAYLIGHT for recurring ones, X-CIP-TZID:name | TZID, VTIMEZONE | bridge 8; X-CIP-TZID names the zone so that it comes back |
//! | X-CIP-TZID:name, beside TZ and DAYLIGHT that say something else than the world's zone of that name in the event's years | TZID, VTIMEZONE made of TZ and DAYLIGHT | the object's own rules come first |
//! | TZ, DAYLIGHT inside an event | TZID, VTIMEZONE of that event alone | as phones write them |
//! | X-CIP-TZID:floating, beside TZ | floating times | |
//! | `…T2000-0500` (bare) | UTC when single, a TZID of that offset when recurring | |
//! | TZ, DAYLIGHT where no time is local | – | they say nothing |
//! | DTSTART, DTEND at midnight with X-FUNAMBOL-ALLDAY, X-MICROSOFT-CDO-ALLDAYEVENT, X-EPOCAGENDAENTRYTYPE:ANNIVERSARY | VALUE=DATE | also where both are the same |
//! | no UID | UID made of the content's digest | listed |
//! | PRODID, also inside an event | PRODID | |
//! | DTEND, DUE | DURATION | computed |
//! | DCREATED, LAST-MODIFIED, COMPLETED | CREATED, LAST-MODIFIED, COMPLETED | UTC |
//! | DTSTAMP, RECURRENCE-ID, RESPONSE-SEQUENCE, COMMENT | the same | profile's own use in CIP objects |
//! | STATUS | STATUS | the words of bridge 2; CANCELLED in both |
//! | PRIORITY, CATEGORIES, RESOURCES | the same | lists by `;` against `,` |
//! | TRANSP 0, 1, n | OPAQUE, TRANSPARENT, TRANSPARENT with the number carried | |
//! | GEO lon,lat | GEO lat;lon | |
//! | ATTENDEE;ROLE=OWNER | ORGANIZER | both lines when he also attends |
//! | ATTENDEE ROLE, STATUS, RSVP=YES/NO, EXPECT, TYPE, name in the value | ATTENDEE ROLE, PARTSTAT, RSVP=TRUE/FALSE, ROLE, CUTYPE, CN | bridge 2; SENT-BY, DELEGATED-TO/FROM, MEMBER, DIR, LANGUAGE kept as parameters of the same name with X-CIP- in front |
//! | ATTACH (VALUE=URL, CONTENT-ID, INLINE base64) | ATTACH (URI, `cid:`, VALUE=BINARY) | |
//! | ATTENDEE;ROLE=DELEGATE, EXPECT=IMMEDIATE, STATUS=SENT | the nearest word, and X-CIP-ROLE, X-CIP-EXPECT, X-CIP-STATUS | a second ROLE=OWNER becomes an attendee |
//! | ATTENDEE:a name alone, or a telephone number | ATTENDEE;CN=…:invalid:nomail, ATTENDEE:tel:… | listed |
//! | a sound or program by a name that is no URI | X-CIP-CONTENT in VALARM; a file URI for a path | listed |
//! | EXDATE, RDATE by `;` | EXDATE, RDATE by `,` | |
//! | RRULE | RRULE | `recur::translate`; else RDATEs, else words |
//! | EXRULE | EXDATEs when finite and short, else EXRULE (RFC 2445) | |
//! | AALARM, DALARM, MALARM, PALARM | VALARM with AUDIO, DISPLAY, EMAIL, PROCEDURE | one of each kind in vCalendar; absolute against relative |
//! | RNUM | – | says again what RRULE says |
//! | `X-CIP-ICAL:<content line>` | a line that vCalendar has no place for, METHOD too | carried as TEXT, restored on the way back, listed as carried |
//! | a line that iCalendar has no place for | `X-CIP-VCAL:<content line>` | the same the other way |
//! | `X-CIP-ICAL:RRULE:…` beside RDATEs | RRULE | its dates are all among the RDATEs, or it stands beside another rule, or it has too many dates and none are listed; else it is dropped as a contradiction |
//! | `X-CIP-ICAL:BEGIN:VALARM` … `END:VALARM`, line breaks between | VALARM | the alarms that have no place in one of each kind |
//! | X-CIP-CANCELLED:recurrence-id;sequence;dtstamp, EXDATE in the series | VEVENT with RECURRENCE-ID, ORGANIZER, STATUS:CANCELLED | what else it says beyond its series is listed |
//! | VEVENT with X-CIP-SERIES:uid;recurrence-id, own UID, EXDATE in the series | VEVENT with RECURRENCE-ID | bridge 2; its start is the instance's where it has none |
//! | – | RRULE, EXRULE, RDATE, EXDATE beside RECURRENCE-ID | they say nothing (RFC 5545 3.8.4.4): rules are carried |
//!
//! Invariants: what is written reads back to the same UID, version, people, times and instances; translating there and
//! back twice gives the same octets as doing it once; a carried line is restored only when its name has no place in the
//! table (it cannot smuggle people or times); whatever is not kept is in `losses`; cost is in proportion to the octets.

mod lines;
mod loss;
mod nesting;
#[cfg(test)]
mod tests;
mod to_icalendar;
mod to_vcalendar;
pub(in crate::calendar) mod vwriter;

pub(super) use loss::Losses;
pub use loss::{Done, Loss, Why};

use std::borrow::Cow;

use super::error::ObjectError;
use super::event::Format;
use super::object::Object;
use super::property::Document;
use super::stream;
use super::zone::Zones;
use crate::clock::Timestamp;

/// What an object is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    VCalendar,
    ICalendar,
}

/// RRULEs and EXRULEs of one event that are translated, each; of more, words are said and the loss is listed.
const MAX_RULES: usize = 20;
const TOO_MANY_RULES: &str = "an event has 20 rules at most";

#[derive(Clone, Debug)]
pub struct Options {
    /// DTSTAMP for iCalendar where the object gives neither DTSTAMP nor LAST-MODIFIED nor DCREATED.
    pub now: Timestamp,
    /// Says in DESCRIPTION what a person would miss (bridge 7).
    pub notes: bool,
}

/// The object in the other format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    pub octets: Vec<u8>,
    /// At most 200.
    pub losses: Vec<Loss>,
    /// Losses beyond those listed.
    pub more_losses: usize,
}

/// Reads objects of any format and says them in the target format: calendars with any number of events and to-dos of
/// any UID or none, a lone VEVENT or VTODO, or the bare dialect. One that is in that format already stays octet for
/// octet, apart from line ends. A bare object becomes vCalendar by way of iCalendar.
pub fn translate(octets: Vec<u8>, target: Target, options: &Options) -> Result<Translation, ObjectError> {
    let mut document = Document::parse(octets)?;
    if document.format == Format::Bare && document.components.len() > 1 {
        // Components of iCalendar that lost their VCALENDAR.
        if let Cow::Owned(octets) = stream::framed(&document.octets)? {
            document = Document::parse(octets)?;
        }
    }
    let calendars = document.components.iter().skip(1).filter(|c| c.parent == 0 && c.name == "VCALENDAR").count();
    if calendars < 2 {
        return translate_document(&document, None, target, options);
    }
    // Each has its own zone; what one cannot be read for does not stop the others.
    let (mut out, mut losses, mut failed) = (Vec::new(), Losses::default(), None);
    for piece in stream::objects(&document.octets) {
        match Document::parse(document.octets[piece].to_vec()).and_then(|d| translate_document(&d, None, target, options)) {
            Ok(translation) => {
                out.extend_from_slice(&translation.octets);
                losses.add(translation.losses, translation.more_losses);
            }
            Err(why) => {
                losses.push("", &why.to_string(), Why::Unreadable, Done::LeftOut);
                failed.get_or_insert(why);
            }
        }
    }
    if let Some(why) = failed.filter(|_| out.is_empty()) {
        return Err(why);
    }
    let (losses, more_losses) = losses.finish();
    Ok(Translation { octets: out, losses, more_losses })
}

/// What is translated: an object with its components in order, and the zones that it names.
struct Source<'a> {
    document: Cow<'a, Document>,
    zones: Zones,
}

impl<'a> Source<'a> {
    /// `zones`: those of the document, where they have been read.
    fn of(document: &'a Document, zones: Option<&Zones>) -> Self {
        let document = nesting::in_order(document);
        // Elsewhere in another order.
        let zones = zones.filter(|_| matches!(document, Cow::Borrowed(_))).cloned();
        Self { zones: zones.unwrap_or_else(|| Zones::read(&document).0), document }
    }
}

fn translate_document(document: &Document, zones: Option<&Zones>, target: Target, options: &Options) -> Result<Translation, ObjectError> {
    match (target, document.format) {
        (Target::ICalendar, Format::ICalendar) | (Target::VCalendar, Format::VCalendar) => {
            Ok(Translation { octets: super::crlf(document.octets.clone()), losses: Vec::new(), more_losses: 0 })
        }
        (Target::ICalendar, Format::VCalendar | Format::Bare) => to_icalendar::translate(&Source::of(document, zones), options),
        (Target::VCalendar, Format::ICalendar) => to_vcalendar::translate(&Source::of(document, zones), options),
        (Target::VCalendar, Format::Bare) => {
            let first = to_icalendar::translate(&Source::of(document, zones), options)?;
            let mut second = to_vcalendar::translate(&Source::of(&Document::parse(first.octets)?, None), options)?;
            // What was carried the first time came back the second time.
            second.losses.extend(first.losses.into_iter().filter(|l| !matches!(l.done, Done::Carried(_))));
            second.more_losses += first.more_losses;
            Ok(second)
        }
    }
}

/// A bare or vCalendar object for a person's mail program: without carriers, which it would only echo (profile 9).
pub(super) fn for_mail(object: &Object, options: &Options) -> Result<Translation, ObjectError> {
    to_icalendar::translate_for(&Source::of(&object.document, Some(&object.zones)), options, to_icalendar::Reader::MailProgram)
}

impl Object {
    /// The object in the target format; losses of an object that is in it already: none.
    pub fn translated(&self, target: Target, options: &Options) -> Result<Translation, ObjectError> {
        translate_document(&self.document, Some(&self.zones), target, options)
    }
}
