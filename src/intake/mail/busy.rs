//! A question for free/busy times by mail (VFREEBUSY, METHOD:REQUEST; RFC 5546 3.3.2; bridge 2), answered by mail while
//! the client waits.
//!
//! Invariants: an answer goes to the ORGANIZER alone, who is the writer of the question; an automatic message, one with
//! the null sender and one that bears a trace of ours gets none; whoever may not be told of, is not known or cannot be
//! asked for now is no different to the asker: his copy goes on to him as the mail that it is, and a gateway address, behind which
//! there is no mailbox, is refused. Nothing waits in the queue but the answer, and that for [`LIFE`] at most.

use std::time::Duration;

use super::groups::Group;
use super::post::Post;
use super::{Judged, Kind};
use crate::calendar::busy::{BusyTimes, reply};
use crate::calendar::event::{Component, Method, Person};
use crate::calendar::{FreeBusyRequest, Object, freebusy_request};
use crate::freebusy::Found;
use crate::ident::UserId;
use crate::imip::address::Gateway;
use crate::imip::compose::Language;
use crate::imip::compose::busy::{BusyMail, free_busy};
use crate::intake::IntakeError;
use crate::listen::MailReply;
use crate::{logbook, reporting};

/// How long an answer is tried: an older one would tell of another time than now.
const LIFE: Duration = Duration::from_mins(5);

/// A question that may be answered.
pub(super) struct Question {
    request: FreeBusyRequest,
    organizer: Person,
    /// Our own side vouches for who asks.
    ours: bool,
}

impl Post<'_> {
    /// Whether the message is a question for free/busy times.
    pub(super) fn asks_for_times(object: &Object, method: Method) -> bool {
        object.event().component == Component::FreeBusy && method == Method::Request
    }

    /// The question, or why nobody answers it.
    pub(super) fn question(&self, object: &Object) -> Result<Question, String> {
        if self.envelope.sender.is_empty() || self.read.as_ref().is_ok_and(|m| m.automatic) || self.traces.ours() {
            return Err("an automatic question gets no automatic answer".to_owned());
        }
        let request = freebusy_request(object.octets()).map_err(|error| error.to_string())?;
        let Some(organizer) = request.asked.organizer.clone() else { return Err("the question names no ORGANIZER".to_owned()) };
        if !self.wrote(&organizer) {
            return Err(format!("the organizer {} is neither in From nor in Sender", organizer.address));
        }
        // The mail server may hand us mail from outside too: who asks is what counts.
        let ours = self.client.trusted && self.intake.ours(organizer.address.server());
        Ok(Question { request, organizer, ours })
    }

    /// Answers for these people. Gives back those whose copy goes on as it is.
    pub(super) async fn tell_times(
        &self,
        object: &Object,
        people: Vec<Group>,
        replies: &mut [MailReply],
    ) -> Result<Vec<Group>, IntakeError> {
        let Ok(question) = self.question(object) else { return Ok(people) };
        // Who is asked for under the address that he has in the question; nobody else is answered for.
        let written = |group: &Group| {
            let same = |user: &&UserId| {
                group.0.iter().any(|(_, j)| j.address == **user) || self.intake.0.directory.same_person(user, group.first().user())
            };
            question.request.users.iter().find(same).cloned()
        };
        let asked: Vec<(Option<UserId>, Group)> = people.into_iter().map(|group| (written(&group), group)).collect();
        let users: Vec<UserId> = asked.iter().filter(|(w, _)| w.is_some()).map(|(_, g)| g.first().user().clone()).collect();
        let mut found = self.intake.0.free_busy.ask(question.ours, users, &question.request).await;
        let mut plain = Vec::new();
        for (written, group) in asked {
            let told = written.as_ref().and_then(|_| found.remove(group.first().user()));
            match (written, told) {
                (Some(written), Some(Found::Times(times))) => self.answer_times(&question, group.first(), &written, &times).await?,
                _ if matches!(group.first().kind, Kind::Gateway(_)) => {
                    let why = format!("No free/busy times of <{}> can be told", group.first().address);
                    group.answer(&MailReply::new(550, "5.1.1", why), replies);
                }
                _ => plain.push(group),
            }
        }
        Ok(plain)
    }

    async fn answer_times(&self, question: &Question, person: &Judged, written: &UserId, times: &BusyTimes) -> Result<(), IntakeError> {
        let intake = &self.intake.0;
        let (now, domain) = (self.intake.now(), intake.config.mail_domain());
        let calendar = reply::reply(&question.request.asked, &intake.config.server_id, now, &[(written.clone(), times.clone())]);
        let from = match &person.kind {
            Kind::Local(user) => user.clone(),
            _ => Gateway::wrap(person.user(), domain).unwrap_or_else(|_| written.clone()),
        };
        let to = &question.organizer.address;
        let message = free_busy(&BusyMail {
            calendar: &calendar,
            user: written,
            times,
            from: &from,
            to,
            question: self.read.as_ref().ok().and_then(|m| m.message_id.as_deref()),
            language: Language::English,
            site: &intake.config.server_id,
            mail_domain: domain,
            now,
        });
        let mut change = intake.queue.change();
        let entry = reporting::message_of_ours(&intake.queue, &mut change, to, &message, (now, now.after(LIFE)), "free/busy answer filed");
        change.put(entry.clone());
        intake.queue.commit(change).await?;
        logbook::accepted(&entry);
        Ok(())
    }
}
