//! Failure reports and delay warnings (bridge 9; RFC 3464).

use super::Delivery;
use super::prepare::calendar_of;
use crate::calendar::Object;
use crate::calendar::event::Component;
use crate::clock::Timestamp;
use crate::imip;
use crate::imip::report::{Action, Attached, Report, Subject, Unreached};
use crate::logbook;
use crate::queue::Change;
use crate::queue::entry::{BodyKind, Entry, Recipient, Status, Verb};
use crate::reporting;

impl Delivery {
    /// Files the report on recipients that have just failed, when one is due.
    pub(super) fn report_failure(&self, entry: &Entry, failed: &[Recipient], change: &mut Change) {
        self.report(entry, failed, Action::Failed, change);
    }

    /// The delay warning, once; the mark rides in the same commit.
    pub(super) fn report_delay(&self, entry: &mut Entry, change: &mut Change) {
        let waiting: Vec<Recipient> = entry.pending().cloned().collect();
        entry.warned = true;
        let told = self.report(entry, &waiting, Action::Delayed, change);
        entry.note(self.now(), if told { "delay warning sent" } else { "takes long, and there is nobody to tell" });
    }

    /// Whether there was somebody to tell.
    fn report(&self, entry: &Entry, people: &[Recipient], action: Action, change: &mut Change) -> bool {
        // A body that is damaged must not keep its sender from being told.
        let body = self.0.queue.body(&entry.body).unwrap_or_default();
        let object = calendar_of(entry, body.clone()).ok();
        let to = match reporting::originator(entry, object.is_some()) {
            Ok(to) => to,
            Err(why) => {
                if action == Action::Failed {
                    logbook::unreported(entry.id, why);
                }
                return false;
            }
        };
        let message = compose(self, entry, people, action, &to, &body, object.as_ref());
        let report = reporting::file(&self.0.queue, &self.0.config, change, &to, &message, Some(entry.id), self.now());
        logbook::reported(entry.id, report.id, &to.to_string());
        logbook::accepted(&report);
        true
    }
}

fn compose(
    delivery: &Delivery,
    entry: &Entry,
    people: &[Recipient],
    action: Action,
    to: &crate::ident::UserId,
    body: &[u8],
    object: Option<&Object>,
) -> Vec<u8> {
    let event = object.map(Object::event);
    let summary = event.and_then(|e| e.summary.as_deref()).unwrap_or("(no title)");
    let mail = (entry.body.kind == BodyKind::Message).then(|| imip::read::read(body).ok()).flatten();
    let subject_line = mail.as_ref().and_then(|m| m.subject.as_deref()).unwrap_or("(no subject)");
    let subject = match entry.verb {
        Verb::Rsvp => Subject::Answer { summary },
        Verb::SendEvent if entry.cancel => Subject::Cancellation { summary },
        Verb::SendEvent => Subject::Invitation { summary, component: event.map_or(Component::Event, |e| e.component) },
        Verb::Mail | Verb::Report => Subject::Message { subject: subject_line },
    };
    let names: Vec<Option<&str>> = people.iter().map(|r| name_of(event, r)).collect();
    let unreached: Vec<Unreached<'_>> = people
        .iter()
        .zip(&names)
        .map(|(r, name)| Unreached {
            name: *name,
            address: &r.user,
            original: &r.original,
            status: enhanced(r, action),
            reason: if r.last.is_empty() { &entry.reason } else { &r.last },
            remote: None,
            last_attempt: entry.history.last().map(|h| h.at),
        })
        .collect();
    let history: Vec<(Timestamp, &str)> = entry.history.iter().map(|h| (h.at, h.what.as_str())).collect();
    let calendar = mail.as_ref().and_then(|m| m.calendar.as_ref()).map(|c| c.octets.as_slice());
    let attached = match (entry.origin.sender.is_some(), calendar) {
        // To a CIP owner the object does not go back: a forged owner would make the relay a cannon.
        (false, _) => Attached::Nothing,
        (true, Some(calendar)) => Attached::Calendar(calendar),
        (true, None) => Attached::HeaderOf(body),
    };
    let id = entry.id.to_string();
    imip::report::compose(&Report {
        action,
        reporting_mta: &delivery.0.config.host_name(),
        mail_domain: delivery.0.config.mail_domain(),
        to,
        subject,
        recipients: &unreached,
        arrival: entry.received,
        will_retry_until: (action == Action::Delayed).then_some(entry.expires),
        history: &history,
        attached,
        entry: &id,
        now: delivery.now(),
    })
}

fn name_of<'a>(event: Option<&'a crate::calendar::event::Event>, recipient: &Recipient) -> Option<&'a str> {
    let people = event?.attendees.iter().chain(&event?.owner);
    let mut people = people.filter(|p| p.address == recipient.original || p.address == recipient.user);
    people.find_map(|p| p.name.as_deref())
}

/// The enhanced status: the mail server's own when it gave one, else by what became of the recipient (RFC 3463).
fn enhanced(recipient: &Recipient, action: Action) -> &str {
    if action == Action::Delayed {
        return "4.0.0";
    }
    let first = recipient.last.split([' ', ':']).next().unwrap_or("");
    let code = first.starts_with("5.") && first.split('.').count() == 3 && first.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match recipient.status {
        _ if code => first,
        Status::NotFound => "5.1.1",
        Status::Refused => "5.7.1",
        _ => "5.4.0",
    }
}
