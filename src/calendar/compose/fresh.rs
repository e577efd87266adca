//! Lines of objects of our own, from values.

use crate::calendar::event::{Moment, Person};
use crate::calendar::zone::Zones;
use crate::calendar::{in_zone_of, text, time};
use crate::clock::Timestamp;

use super::ComposeError;

/// `DTSTART:19970101T010000Z`, `;VALUE=DATE:19970101`, or floating; zoned times in UTC, which needs no VTIMEZONE.
pub(super) fn moment_line(name: &str, moment: &Moment) -> Result<String, ComposeError> {
    Ok(match moment {
        Moment::Utc { .. } | Moment::Zoned { .. } if let Some(utc) = moment.utc() => format!("{name}:{}Z", time::basic_local(utc)),
        Moment::Utc { at, .. } => format!("{name}:{}", time::basic_utc(*at)),
        Moment::Zoned { zone, .. } => return Err(ComposeError::UnknownZone(zone.clone())),
        Moment::Floating(local) => format!("{name}:{}", time::basic_local(*local)),
        Moment::Date(date) => format!("{name};VALUE=DATE:{}", date.format("%Y%m%d")),
    })
}

/// The same on the clock of another time of the object, where that zone has the moment: a rule beside it stays true.
pub(in crate::calendar) fn moment_line_like(
    name: &str,
    moment: &Moment,
    like: Option<&Moment>,
    zones: &Zones,
) -> Result<String, ComposeError> {
    let on_clock = like.map(|like| in_zone_of(moment, like));
    match on_clock {
        Some(Moment::Zoned { local, zone, at }) if zone != "UTC" && instant_of(zones, local, &zone) == at && at.is_some() => {
            Ok(format!("{name};TZID={}:{}", text::ical_param_value(&zone), time::basic_local(local)))
        }
        // VALUE=DATE and floating times are what they are on any clock.
        _ => moment_line(name, moment),
    }
}

fn instant_of(zones: &Zones, local: chrono::NaiveDateTime, zone: &str) -> Option<Timestamp> {
    let seconds = u64::try_from(zones.instant(local, zone)?).ok()?;
    Some(Timestamp::from_millis(seconds.checked_mul(1000)?))
}

/// `ORGANIZER;CN=…:mailto:…`.
pub(super) fn organizer_line(person: &Person) -> String {
    format!("ORGANIZER{}:mailto:{}", common_name(person.name.as_deref()), person.address)
}

pub(super) fn common_name(name: Option<&str>) -> String {
    name.map(str::trim).filter(|n| !n.is_empty()).map(|n| format!(";CN={}", text::ical_param_value(n))).unwrap_or_default()
}

/// `ATTENDEE;CN=…;ROLE=…;PARTSTAT=…;RSVP=…:mailto:…`.
pub(super) fn attendee_line(person: &Person) -> String {
    let mut line = format!("ATTENDEE{}", common_name(person.name.as_deref()));
    if let Some(role) = person.role {
        line.push_str(";ROLE=");
        line.push_str(role.icalendar());
    }
    if let Some(status) = person.status {
        line.push_str(";PARTSTAT=");
        line.push_str(status.icalendar());
    }
    if let Some(rsvp) = person.rsvp {
        line.push_str(if rsvp { ";RSVP=TRUE" } else { ";RSVP=FALSE" });
    }
    let mut address = |name: &str, user: &Option<crate::ident::UserId>| {
        if let Some(user) = user {
            for part in [";", name, "=\"mailto:", &user.to_string(), "\""] {
                line.push_str(part);
            }
        }
    };
    address("DELEGATED-FROM", &person.delegated_from);
    address("DELEGATED-TO", &person.delegated_to);
    address("SENT-BY", &person.sent_by);
    format!("{line}:mailto:{}", person.address)
}
