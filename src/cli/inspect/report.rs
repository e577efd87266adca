//! What `inspect` says, as values: their JSON form is the interface.

use serde::Serialize;

use crate::calendar::convert::Loss;
use crate::calendar::event::{Component, Event, EventStatus, Moment, PartStat, Person, Role};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Mail,
    ICalendar,
    VCalendar,
    Bare,
}

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<MailReport>,
    pub method: Option<&'static str>,
    pub objects: Vec<ObjectReport>,
    /// With `--until`: when its events start, in UTC where the instant is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<String>>,
    /// These are all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances_complete: Option<bool>,
    /// What the relay would lose on the way to the other side.
    pub losses: Vec<LossReport>,
    pub problems: Vec<String>,
    /// What the relay would do with it, in a sentence.
    pub action: String,
}

#[derive(Debug, Serialize)]
pub struct LossReport {
    /// The format that cannot say it.
    pub to: &'static str,
    #[serde(flatten)]
    pub loss: Loss,
}

#[derive(Debug, Serialize)]
pub struct MailReport {
    pub from: Vec<String>,
    pub subject: Option<String>,
    pub message_id: Option<String>,
    /// Auto-Submitted, or a delivery report.
    pub automatic: bool,
}

#[derive(Debug, Serialize)]
pub struct ObjectReport {
    pub component: &'static str,
    /// `None`: it has none, and the relay takes no object without.
    pub uid: Option<String>,
    pub sequence: Option<u32>,
    /// The CIP version.
    pub version: Option<u32>,
    pub recurrence_id: Option<String>,
    pub organizer: Option<OrganizerReport>,
    pub attendees: Vec<AttendeeReport>,
    pub start: Option<String>,
    pub end: Option<String>,
    /// The TZID that `start` was given in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_zone: Option<String>,
    pub summary: Option<String>,
    pub location: Option<String>,
    pub status: Option<&'static str>,
    pub rules: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct OrganizerReport {
    pub address: String,
    pub name: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct AttendeeReport {
    pub address: String,
    pub name: Option<String>,
    pub status: Option<&'static str>,
    pub role: Option<&'static str>,
}

pub fn object_report(event: &Event, named: bool) -> ObjectReport {
    ObjectReport {
        component: match event.component {
            Component::Event => "VEVENT",
            Component::Todo => "VTODO",
            Component::FreeBusy => "VFREEBUSY",
        },
        uid: named.then(|| event.uid.to_string()),
        sequence: event.sequence,
        version: event.version,
        recurrence_id: event.recurrence_id.clone(),
        organizer: event.owner.as_ref().map(|p| OrganizerReport { address: p.address.to_string(), name: p.name.clone() }),
        attendees: event.attendees.iter().map(attendee_report).collect(),
        start: event.start.as_ref().map(moment),
        end: event.end.as_ref().map(moment),
        start_zone: match &event.start {
            Some(Moment::Zoned { zone, .. }) => Some(zone.clone()),
            _ => None,
        },
        summary: event.summary.clone(),
        location: event.location.clone(),
        status: event.status.map(status),
        rules: event.rules.clone(),
    }
}

fn attendee_report(person: &Person) -> AttendeeReport {
    AttendeeReport {
        address: person.address.to_string(),
        name: person.name.clone(),
        status: person.status.map(PartStat::icalendar),
        role: person.role.map(Role::icalendar),
    }
}

/// RFC 3339 in UTC where the instant is known; else the local time, or the date, as it stands.
pub fn moment(moment: &Moment) -> String {
    if let Some(utc) = moment.utc() {
        return utc.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    match moment {
        Moment::Utc { .. } => String::new(),
        Moment::Zoned { local, .. } | Moment::Floating(local) => local.format("%Y-%m-%dT%H:%M:%S").to_string(),
        Moment::Date(date) => date.to_string(),
    }
}

const fn status(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Tentative => "TENTATIVE",
        EventStatus::Confirmed => "CONFIRMED",
        EventStatus::Cancelled => "CANCELLED",
        EventStatus::NeedsAction => "NEEDS-ACTION",
        EventStatus::Completed => "COMPLETED",
        EventStatus::InProcess => "IN-PROCESS",
    }
}
