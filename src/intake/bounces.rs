//! Delivery reports that come back to an envelope sender of ours (bridge 4): the recipient could not be reached by mail
//! after all, and whoever sent the event is told.

use super::{Intake, IntakeError};
use crate::calendar::event::Component;
use crate::ident::{EventId, UserId};
use crate::imip::report::{self, Action, Attached, DeliveryReport, Report, Subject, Unreached};
use crate::ledger::records::TokenRecord;
use crate::logbook;
use crate::reporting;

impl Intake {
    pub(super) async fn bounced(&self, token: &TokenRecord, bounce: &DeliveryReport) -> Result<(), IntakeError> {
        let Some(failed) = bounce.failed().next() else { return Ok(()) };
        let now = self.now();
        let lock = self.0.ledger.lock(&token.event_id).await;
        let Some(record) = self.0.ledger.event(&token.event_id)? else {
            tracing::info!(event = %token.event_id, holder = %token.holder, "a delivery report on an event that is over and forgotten");
            return Ok(());
        };
        let why = failed.diagnostic.clone().unwrap_or_else(|| "its mail server sent a delivery report".to_owned());
        tracing::warn!(
            target: "cip_relay::life",
            event = %token.event_id,
            to = %token.holder,
            status = %failed.status,
            why,
            "bounced"
        );
        let answer = token.counterpart != record.owner;
        let mut change = self.0.queue.change();
        let told = format!("a delivery report says that mail to {} failed ({}): {why}", token.holder, failed.status);
        self.0.ledger.tell(change.batch_mut(), &token.event_id, now, vec![told])?;
        let whose = if answer { &token.counterpart } else { &token.holder };
        if let Some(person) = self.0.ledger.person_at(&token.event_id, whose)? {
            self.0.ledger.bounced(change.batch_mut(), person, answer)?;
        }
        // To whoever came by CIP with unproven standing nothing is sent (bridge 9). An answer's sender is the attendee; our own
        // users always are told.
        let standing = match answer {
            true if self.ours(token.counterpart.server()) => 3,
            true => self.answered_with(&token.event_id, &token.counterpart)?,
            false if record.own => 3,
            false => record.standing,
        };
        if standing < 2 {
            tracing::info!(event = %token.event_id, to = %token.counterpart, standing, "no report: the sender is not known well enough");
            return Ok(self.0.queue.commit(change).await?);
        }
        let part = record.answered_part(None);
        let summary = part.and_then(|p| p.summary.as_deref()).unwrap_or("(no title)");
        let person = self.0.ledger.person(&token.event_id, &token.holder)?;
        let subject = if answer { Subject::Answer { summary } } else { Subject::Invitation { summary, component: Component::Event } };
        let message = report::compose(&Report {
            action: Action::Failed,
            reporting_mta: &self.0.config.host_name(),
            mail_domain: self.0.config.mail_domain(),
            to: &token.counterpart,
            subject,
            recipients: &[Unreached {
                name: person.as_ref().and_then(|p| p.name.as_deref()),
                address: &token.holder,
                original: person.as_ref().map_or(&token.holder, |p| p.written()),
                status: &failed.status,
                reason: &why,
                remote: None,
                last_attempt: None,
            }],
            arrival: record.updated,
            will_retry_until: None,
            history: &[],
            attached: Attached::Nothing,
            entry: token.event_id.as_str(),
            now,
        });
        let entry = reporting::file(&self.0.queue, &self.0.config, &mut change, &token.counterpart, &message, None, now);
        self.0.queue.commit(change).await?;
        drop(lock);
        logbook::accepted(&entry);
        Ok(())
    }

    /// The standing of a person's last answer.
    fn answered_with(&self, event: &EventId, attendee: &UserId) -> Result<u8, IntakeError> {
        let person = self.0.ledger.person_at(event, attendee)?;
        let last = person.as_ref().and_then(|p| p.answers.iter().max_by_key(|a| a.at));
        Ok(last.map_or(0, |a| a.standing))
    }
}
