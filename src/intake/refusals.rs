//! Recipients that one SMTP reply could not refuse (RFC 5321 4.2.5): somebody else has the message, so that the client was
//! told `250`, and the sender gets a report on the rest.

use super::{Intake, IntakeError};
use crate::calendar::Object;
use crate::calendar::event::Method;
use crate::ident::UserId;
use crate::imip::read::Incoming;
use crate::imip::report::{self, Action, Attached, Report, Subject, Unreached};
use crate::listen::{Envelope, MailReply};
use crate::logbook;
use crate::mime;
use crate::reporting;

impl Intake {
    /// Files the report on every recipient whose reply is negative, when one is due (bridge 9).
    pub(super) async fn report_refused(
        &self,
        envelope: &Envelope,
        replies: &[MailReply],
        message: &[u8],
        read: Option<&Incoming>,
        object: Option<&(Object, Method)>,
    ) -> Result<(), IntakeError> {
        let automatic = read.is_some_and(|m| m.automatic);
        let Some(to) = UserId::parse(&envelope.sender).ok().filter(|_| object.is_some() || !automatic) else { return Ok(()) };
        let refused: Vec<(UserId, &MailReply)> = envelope
            .recipients
            .iter()
            .zip(replies)
            .filter(|(_, reply)| !reply.positive())
            .filter_map(|(recipient, reply)| Some((UserId::parse(recipient).ok()?, reply)))
            .collect();
        if refused.is_empty() {
            return Ok(());
        }
        let unreached: Vec<Unreached<'_>> = refused
            .iter()
            .map(|(user, reply)| Unreached {
                name: None,
                address: user,
                original: user,
                status: reply.enhanced,
                reason: &reply.text,
                remote: None,
                last_attempt: None,
            })
            .collect();
        let title = mime::header_values(message, "Subject", 1).pop();
        let now = self.now();
        let mut change = self.0.queue.change();
        let id = self.0.queue.next_id();
        let composed = report::compose(&Report {
            action: Action::Failed,
            reporting_mta: &self.0.config.host_name(),
            mail_domain: self.0.config.mail_domain(),
            to: &to,
            subject: subject(object, title.as_deref()),
            recipients: &unreached,
            arrival: now,
            will_retry_until: None,
            history: &[],
            attached: match read.and_then(|m| m.calendar.as_ref()) {
                Some(part) => Attached::Calendar(&part.octets),
                None => Attached::HeaderOf(message),
            },
            entry: &id.to_string(),
            now,
        });
        let entry = reporting::file(&self.0.queue, &self.0.config, &mut change, &to, &composed, None, now);
        self.0.queue.commit(change).await?;
        logbook::accepted(&entry);
        Ok(())
    }
}

fn subject<'a>(object: Option<&'a (Object, Method)>, title: Option<&'a str>) -> Subject<'a> {
    let Some((object, method)) = object else { return Subject::Message { subject: title.unwrap_or("(no subject)") } };
    let event = object.event();
    let summary = event.summary.as_deref().unwrap_or("(no title)");
    match method {
        Method::Reply | Method::Counter | Method::Refresh => Subject::Answer { summary },
        Method::Cancel => Subject::Cancellation { summary },
        _ => Subject::Invitation { summary, component: event.component },
    }
}
