//! What goes out: the object for a CIP server, the message for a mail server, built from the entry, its stored body
//! and the ledger.
//!
//! Invariants: what came by CIP goes on by CIP octet for octet, apart from recipients, trace, redirected addresses and
//! (below standing 2) attachments; what came by mail goes by CIP as vCalendar 1.0, or as iCalendar to a peer whose
//! `object-format` says so (profile 5); a plainly addressed mail goes on octet for octet behind two fields; everything
//! else is composed, with times taken from the entry, so that a repeated attempt makes the same message.

use super::objects::CipObjects;
use super::{Delivery, DeliveryError, ledger_event, ledger_user};
use crate::calendar::compose::{self, ComposeError, MailJob, Organizer};
use crate::calendar::convert::{Done, Options, Target};
use crate::calendar::event::{Event, Method, Trace};
use crate::calendar::{Object, Patch, Snapshot};
use crate::config::{self, ObjectFormat};
use crate::ident::{EventId, UserId};
use crate::imip;
use crate::imip::address::Kind;
use crate::imip::compose::{Before, Language};
use crate::ledger::LedgerError;
use crate::ledger::records::{EventRecord, TokenRecord};
use crate::listen::{Envelope, MailClient};
use crate::queue::entry::{BodyKind, Entry, Verb};
use crate::smtp::received_header;

/// Above this many attendees a mail lists owner and recipient only (bridge 5).
const LISTED: usize = 200;

/// Why nothing goes out.
#[derive(Clone, Debug)]
pub(super) enum NotPrepared {
    /// Cannot be said in the other format: the originator gets a report with the reason.
    Refused(String),
    /// Something the administrator must look at.
    Hold(String),
}

/// What the recipient of a version had before it.
enum Earlier {
    Nothing,
    Unknown,
    Known(Box<Snapshot>),
}

/// One SMTP transaction.
pub(super) struct Mailing {
    pub sender: String,
    pub recipients: Vec<String>,
    /// The places of the recipients in the entry.
    pub places: Vec<usize>,
    pub message: Vec<u8>,
    /// What the translation could not keep (bridge 7), for the history.
    pub losses: Vec<String>,
}

impl Delivery {
    /// The objects for the entry's CIP server.
    pub(super) fn cip_objects(&self, entry: &Entry, body: Vec<u8>) -> Result<CipObjects, NotPrepared> {
        let object = calendar_of(entry, body)?;
        if entry.verb == Verb::Rsvp {
            return self.rsvp(entry, &object).map(CipObjects::one);
        }
        self.events(entry, &object)
    }

    /// What objects of our own are written as for the entry's server.
    pub(super) fn object_format(&self, entry: &Entry) -> ObjectFormat {
        self.0.config.peer(entry.destination.server()).map(|p| p.object_format).unwrap_or_default()
    }

    pub(super) fn trace(&self, entry: &Entry) -> Trace {
        Trace {
            server: self.0.config.server_id.to_string(),
            time: entry.received.datetime().map_or_else(String::new, |t| t.format("%Y%m%dT%H%M%SZ").to_string()),
            verb: match entry.verb {
                Verb::SendEvent => "SENDEVENT",
                Verb::Rsvp => "RSVP",
                Verb::Mail | Verb::Report => "MAIL",
            }
            .to_owned(),
            version: entry.version.map_or_else(String::new, |v| v.to_string()),
        }
    }

    /// A plainly addressed mail, or a report of our own.
    pub(super) fn pass_on(&self, entry: &Entry, body: &[u8], places: &[usize]) -> Mailing {
        let recipients = places.iter().map(|&n| entry.recipients[n].user.to_string()).collect();
        let sender = entry.origin.sender.clone().unwrap_or_default();
        let message = if entry.verb == Verb::Report {
            body.to_vec()
        } else {
            let received = self.received(entry);
            imip::compose::passed_on(body, &received, &self.trace(entry))
        };
        Mailing { sender, recipients, places: places.to_vec(), message, losses: Vec::new() }
    }

    /// The Received field for a message that is passed on.
    fn received(&self, entry: &Entry) -> String {
        let client = MailClient {
            via: entry.origin.via,
            address: entry.origin.peer.as_deref().and_then(|p| p.parse().ok()),
            helo: entry.origin.helo.clone().unwrap_or_default(),
            trusted: false,
        };
        received_header(&client, &Envelope::default(), &self.0.config.host_name(), &entry.id.to_string(), entry.received)
    }

    /// A mail of our own for one recipient: invitation, update, cancellation or answer.
    pub(super) async fn compose(&self, entry: &Entry, object: &Object, n: usize) -> Result<Result<Mailing, NotPrepared>, DeliveryError> {
        let Some(event_id) = ledger_event(entry) else {
            return Ok(Err(NotPrepared::Hold("the entry does not say which event it is about".to_owned())));
        };
        let mut record = self.0.ledger.event(event_id)?;
        if let Some(record) = record.as_mut().filter(|r| r.own && entry.verb == Verb::SendEvent)
            && self.0.ledger.chronicle(event_id)?.is_some_and(|c| c.former.is_some())
        {
            // Under the UID that they knew, its versions are used up, or cancelled (profile 8).
            record.ical_uid = event_id.to_string();
        }
        let person = match entry.verb {
            Verb::Rsvp => match &entry.answer {
                Some(answering) => answering.attendee.clone(),
                None => return Ok(Err(NotPrepared::Hold("the entry does not say whose answer it carries".to_owned()))),
            },
            _ => {
                record.as_ref().map(|r| r.owner.clone()).or_else(|| entry.owner.clone()).unwrap_or_else(|| entry.recipients[n].user.clone())
            }
        };
        let holder = ledger_user(&entry.recipients[n]).clone();
        let reply_to = self.ensure_token(event_id, &person, &holder, Kind::Reply).await?;
        let bounce = self.ensure_token(event_id, &person, &holder, Kind::Bounce).await?;
        let message = match entry.verb {
            Verb::Rsvp => self.reply_mail(entry, object, n, record.as_ref(), &reply_to),
            _ => self.invitation_mail(entry, object, n, record.as_ref(), event_id, &reply_to),
        };
        Ok(message.map(|(message, losses)| Mailing {
            sender: bounce.to_string(),
            recipients: vec![entry.recipients[n].user.to_string()],
            places: vec![n],
            message,
            losses,
        }))
    }

    /// The reply or bounce address for a holder, stored with its meaning before anybody sees it (bridge 4).
    async fn ensure_token(&self, event: &EventId, counterpart: &UserId, holder: &UserId, kind: Kind) -> Result<UserId, DeliveryError> {
        let token = self.token(event, counterpart, holder, kind);
        if self.0.ledger.token(token.as_str())?.is_none() {
            let record = TokenRecord {
                event_id: event.clone(),
                counterpart: counterpart.clone(),
                holder: holder.clone(),
                bounce: kind == Kind::Bounce,
                created: self.now(),
            };
            let mut change = self.0.queue.change();
            self.0.ledger.put_token(change.batch_mut(), token.as_str(), &record)?;
            self.0.queue.commit(change).await?;
        }
        Ok(token.at(self.0.config.mail_domain()))
    }

    fn invitation_mail(
        &self,
        entry: &Entry,
        object: &Object,
        n: usize,
        record: Option<&EventRecord>,
        event_id: &EventId,
        reply_to: &UserId,
    ) -> Result<(Vec<u8>, Vec<String>), NotPrepared> {
        let event = object.event();
        let recipient = &entry.recipients[n];
        let owner = event.owner.as_ref().map_or_else(|| entry.owner.clone(), |o| Some(o.address.clone()));
        let verbatim = self.0.config.mail.organizer == config::Organizer::Verbatim;
        let address = if verbatim { owner.clone().unwrap_or_else(|| reply_to.clone()) } else { reply_to.clone() };
        let name = event.owner.as_ref().and_then(|o| o.name.clone()).or_else(|| record.and_then(|r| r.owner_name.clone()));
        let moved = recipient.original != recipient.user && !recipient.visited.is_empty() || recipient.gateway;
        let attendee = if moved { &recipient.user } else { &recipient.original };
        let stand_in = record.and_then(|r| stand_in(r, entry.recurrence_id.as_deref(), object));
        let job = MailJob {
            method: match event.method.filter(|_| entry.body.kind == BodyKind::Message) {
                _ if entry.cancel => Method::Cancel,
                Some(method @ (Method::Publish | Method::Add | Method::DeclineCounter)) => method,
                _ => Method::Request,
            },
            uid: record.map_or_else(|| event_id.to_string(), |r| r.ical_uid.clone()),
            sequence: entry.version.unwrap_or(1).saturating_sub(1),
            organizer: Some(Organizer { address: address.clone(), name }),
            addresses: if moved { vec![(recipient.original.clone(), recipient.user.clone())] } else { Vec::new() },
            recipient: Some(attendee.clone()),
            only: (event.attendees.len() > LISTED).then(|| vec![attendee.clone()]),
            drop_attach: entry.origin.standing < 2,
            now: entry.received,
            stand_in: stand_in.as_ref(),
            cancelled: entry.cancel,
        };
        let composed = compose::icalendar(object, &job).map_err(|e| match e {
            // The zone may be made known, or the sender asked (bridge 8).
            ComposeError::UnknownZone(_) => NotPrepared::Hold(e.to_string()),
            ComposeError::NoStart | ComposeError::NotTranslated(_) => NotPrepared::Refused(e.to_string()),
        })?;
        let mut losses: Vec<String> = composed.losses.iter().map(ToString::to_string).collect();
        if composed.more_losses > 0 {
            losses.push(format!("{} further losses", composed.more_losses));
        }
        let shown = stand_in.as_ref().unwrap_or(event);
        let calendar = readable(composed.octets)?;
        let before = self.earlier(entry, object, record, ledger_user(recipient));
        let before = before.map_err(|e| NotPrepared::Hold(e.to_string()))?;
        let has = object.snapshot();
        let mail = imip::compose::Envelope {
            calendar: &calendar,
            event: shown,
            attendee: &recipient.original,
            before: match &before {
                Earlier::Nothing => Before::Nothing,
                Earlier::Unknown => Before::Unknown,
                Earlier::Known(had) => Before::Known { had, has: &has },
            },
            language: Language::English,
            from: reply_to,
            reply_to: &address,
            recipient: &recipient.user,
            recipient_name: event.attendees.iter().find(|p| p.address == recipient.original).and_then(|p| p.name.as_deref()),
            site: &self.0.config.server_id,
            mail_domain: self.0.config.mail_domain(),
            event_id: event_id.as_str(),
            standing: entry.origin.standing,
            traces: &[self.trace(entry)],
            now: entry.received,
        };
        imip::compose::invitation(&mail).map(|mail| (mail, losses)).map_err(|e| NotPrepared::Hold(e.to_string()))
    }

    /// What the recipient had of this event, or instance, before this version.
    fn earlier(&self, entry: &Entry, object: &Object, record: Option<&EventRecord>, holder: &UserId) -> Result<Earlier, LedgerError> {
        let (Some(record), Some(version)) = (record, entry.version) else { return Ok(Earlier::Nothing) };
        let Some(person) = self.0.ledger.person(&record.event_id, holder)? else { return Ok(Earlier::Nothing) };
        let rid = entry.recurrence_id.as_deref();
        let said = |rid: Option<&str>, version: u32| record.part(rid).and_then(|part| part.said(version));
        Ok(match (person.had_before(rid, version), person.had_before(None, version)) {
            (Some(had), _) => said(rid, had).map_or(Earlier::Unknown, |said| Earlier::Known(Box::new(said.clone()))),
            // Of this date he knows what the series says.
            (None, Some(series)) => match (said(None, series), object.instance()) {
                (Some(said), Some(date)) => Earlier::Known(Box::new(said.at_instance(&date))),
                _ => Earlier::Unknown,
            },
            (None, None) => Earlier::Nothing,
        })
    }
}

/// An iCalendar object as vCalendar 1.0. METHOD, which the verb says, counts as no loss.
pub(super) fn vcalendar(entry: &Entry, octets: Vec<u8>) -> Result<(Vec<u8>, Vec<String>), NotPrepared> {
    let unsaid = |e: &dyn std::fmt::Display| NotPrepared::Refused(format!("the event cannot be written as vCalendar: {e}"));
    let object = Object::parse(octets).map_err(|e| unsaid(&e))?;
    let options = Options { now: entry.received, notes: true };
    let said = object.translated(Target::VCalendar, &options).map_err(|e| unsaid(&e))?;
    let losses = said.losses.iter().filter(|l| l.property != "METHOD" || !matches!(l.done, Done::Carried(_)));
    let mut losses: Vec<String> = losses.map(ToString::to_string).collect();
    if said.more_losses > 0 {
        losses.push(format!("{} more", said.more_losses));
    }
    Ok((said.octets, losses))
}

/// The calendar object of an entry, whether it came by CIP or in a mail.
pub(super) fn calendar_of(entry: &Entry, body: Vec<u8>) -> Result<Object, NotPrepared> {
    let object = match entry.body.kind {
        BodyKind::Object => parsed(body)?,
        BodyKind::Message => {
            let mail = imip::read::read(&body).map_err(|e| NotPrepared::Hold(format!("the stored mail cannot be read again: {e}")))?;
            let part = mail.calendar.ok_or_else(|| NotPrepared::Hold("the stored mail has no calendar part".to_owned()))?;
            let object = parsed(part.octets)?;
            // The MIME parameter may be the only one to say it.
            match part.method.filter(|_| object.event().method.is_none()) {
                Some(method) => parsed(object.patched(&Patch { method: Some(method), ..Patch::default() }))?,
                None => object,
            }
        }
    };
    if entry.verb != Verb::Rsvp || object.events().len() == 1 {
        return Ok(object);
    }
    // Answers to several instances came together: this entry carries one of them.
    let his = object.one_by_one().into_iter().find(|one| one.event().recurrence_id == entry.recurrence_id);
    Ok(his.unwrap_or(object))
}

fn parsed(octets: Vec<u8>) -> Result<Object, NotPrepared> {
    Object::parse(octets).map_err(|e| NotPrepared::Hold(format!("the stored object cannot be read again: {e}")))
}

/// What was composed, with the index from which the words of the mail are taken.
pub(super) fn readable(octets: Vec<u8>) -> Result<Object, NotPrepared> {
    Object::parse(octets).map_err(|e| NotPrepared::Hold(format!("the object that was composed cannot be read: {e}")))
}

/// What the ledger knows of an event, where an object (a CANCEL, an answer) comes without it (bridge 8).
pub(super) fn stand_in(record: &EventRecord, rid: Option<&str>, object: &Object) -> Option<Event> {
    let part = record.answered_part(rid)?;
    let mut full = object.event().clone();
    if full.start.is_none() {
        (full.start, full.end) = match object.instance().filter(|_| part.rid.is_none()) {
            // The series begins at another date than the one that is spoken of.
            Some(date) => {
                let series = Snapshot { start: part.start.clone(), end: part.end.clone(), ..Snapshot::default() };
                let there = series.at_instance(&date);
                (there.start, there.end)
            }
            None => (part.start.clone(), part.end.clone()),
        };
    }
    if full.summary.is_none() {
        full.summary.clone_from(&part.summary);
    }
    Some(full)
}
