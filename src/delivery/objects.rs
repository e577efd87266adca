//! The objects that a CIP server gets of an event: one, or for a vCalendar server several, since vCalendar knows no
//! RECURRENCE-ID (bridge 2). There an exception is an event of its own, under an id that the ledger leads back to the
//! instance, and a new version of the whole that leaves that date out; a cancelled instance is a date left out.
//!
//! Invariants: what came by CIP goes on octet for octet, apart from recipients, trace, redirected addresses and (below
//! standing 2) attachments; an id is in the ledger before a server hears it; the whole goes before what was taken out of
//! it, and never as a version that another delivery of it has.

use super::prepare::{NotPrepared, vcalendar};
use super::{Delivery, ledger_user, pending};
use crate::calendar::event::{Format, Method};
use crate::calendar::{Object, Patch, singles};
use crate::config::ObjectFormat;
use crate::ident::{EventId, UserId};
use crate::ledger::LedgerError;
use crate::ledger::objects::InstanceRecord;
use crate::ledger::records::{EventRecord, PersonRecord};
use crate::queue::entry::{BodyKind, Entry};

/// What DECLINECOUNTER says where its writer says nothing.
const DECLINED: &str = "The proposed change was declined.";

/// One or more objects for a CIP server, in their order.
pub(super) struct CipObjects {
    pub octets: Vec<Vec<u8>>,
    /// What the translation could not keep (bridge 7), for the history.
    pub losses: Vec<String>,
    /// Ids of instances that are events of their own there.
    pub instances: Vec<(EventId, InstanceRecord)>,
}

impl CipObjects {
    pub fn one(octets: Vec<u8>) -> Self {
        Self { octets: vec![octets], losses: Vec::new(), instances: Vec::new() }
    }
}

fn hold(error: &LedgerError) -> NotPrepared {
    NotPrepared::Hold(error.to_string())
}

impl Delivery {
    /// What goes to the entry's CIP server by SENDEVENT.
    pub(super) fn events(&self, entry: &Entry, object: &Object) -> Result<CipObjects, NotPrepared> {
        let record = entry.event_id.as_ref().map(|id| self.0.ledger.event(id)).transpose().map_err(|e| hold(&e))?.flatten();
        // The relay numbers the events of its e-mail users: version = SEQUENCE + 1 (profile 5, 8).
        let own = entry.body.kind == BodyKind::Message || record.as_ref().is_some_and(|r| r.own);
        let mut patch = Patch { drop_recipients: true, drop_attach: entry.origin.standing < 2, ..Patch::default() };
        if !own {
            patch.cancelled = entry.cancel && !object.event().is_cancelled();
            // An earlier object, which cancels the event for those whom a later version leaves out.
            let sequence = |version: u32| if object.format() == Format::ICalendar { version.saturating_sub(1) } else { version };
            patch.sequence = entry.version.filter(|_| patch.cancelled).map(sequence);
            // As nearly always: nothing is to be taken out, and the object need not be made and read anew.
            let nothing = !patch.cancelled && !patch.drop_attach && !object.has_recipients();
            if nothing {
                return Ok(CipObjects::one(self.addressed(entry, object)));
            }
            return Ok(CipObjects::one(self.addressed(entry, &again(object, &patch)?)));
        }
        let (state, version) = self.state(entry, object)?;
        patch.uid.clone_from(&entry.event_id);
        patch.sequence = version.map(|v| v.saturating_sub(1));
        patch.method = Some(if entry.cancel { Method::Cancel } else { Method::Request });
        patch.cancelled = entry.cancel;
        let state = again(&state, &patch)?;
        match record.filter(|_| self.object_format(entry) == ObjectFormat::Vcalendar) {
            Some(record) => self.vcalendar_objects(entry, &record, state, &patch),
            None if self.object_format(entry) == ObjectFormat::Vcalendar => self.split(entry, &[state]),
            None => Ok(CipObjects::one(self.addressed(entry, &state))),
        }
    }

    /// The state of the event that a message of its organizer stands for, and its version: ADD and DECLINECOUNTER speak of
    /// what the ledger keeps.
    fn state(&self, entry: &Entry, object: &Object) -> Result<(Object, Option<u32>), NotPrepared> {
        let method = object.event().method.filter(|_| entry.body.kind == BodyKind::Message);
        let (Some(event), Some(Method::Add | Method::DeclineCounter)) = (&entry.event_id, method) else {
            return Ok((object.clone(), entry.version));
        };
        let kept = self.0.ledger.object(event, entry.recurrence_id.as_deref()).map_err(|e| hold(&e))?;
        let known = kept.and_then(|kept| Some((kept.object()?, kept.version)));
        let Some((state, version)) = known else {
            return Err(NotPrepared::Hold("the event that the message speaks of is not kept any more".to_owned()));
        };
        let comment = object.event().comment.clone().filter(|c| !c.trim().is_empty());
        let comment = (method == Some(Method::DeclineCounter)).then(|| comment.unwrap_or_else(|| DECLINED.to_owned()));
        let state = again(&state, &Patch { comment, ..Patch::default() })?;
        Ok((state, entry.version.max(Some(version))))
    }

    /// The whole and its exceptions, each as a vCalendar event.
    fn vcalendar_objects(&self, entry: &Entry, record: &EventRecord, state: Object, patch: &Patch) -> Result<CipObjects, NotPrepared> {
        let mut people = Vec::new();
        for n in pending(entry) {
            people.extend(self.0.ledger.person(&record.event_id, ledger_user(&entry.recipients[n])).map_err(|e| hold(&e))?);
        }
        let Some(rid) = entry.recurrence_id.as_deref() else {
            let mut all = vec![without_dates(state, &taken_out(record, &people, None))?];
            if entry.cancel {
                // What was taken out of the series ends with it.
                all.extend(self.own_events(record, patch)?);
            }
            return self.split(entry, &all);
        };
        let mut all = Vec::new();
        let kept = self.0.ledger.object(&record.event_id, None).map_err(|e| hold(&e))?;
        let newer = kept.as_ref().is_some_and(|kept| Some(kept.version) >= entry.version);
        let has_series = people.iter().any(|p| p.accepted_version(None).is_some());
        if let Some(series) = kept.filter(|_| !newer && has_series).and_then(|kept| kept.object()) {
            let whole = Patch { method: Some(Method::Request), cancelled: false, ..patch.clone() };
            all.push(without_dates(again(&series, &whole)?, &taken_out(record, &people, Some(rid)))?);
        }
        let derived = record.event_id.instance(rid);
        let has_own = derived.map(|id| self.0.ledger.instance(&id)).transpose().map_err(|e| hold(&e))?.flatten().is_some();
        if !entry.cancel || has_own || all.is_empty() {
            all.push(state);
        }
        self.split(entry, &all)
    }

    /// The instances that are events of their own somewhere, as the patch makes them.
    fn own_events(&self, record: &EventRecord, patch: &Patch) -> Result<Vec<Object>, NotPrepared> {
        let mut all = Vec::new();
        for kept in self.0.ledger.objects_of(&record.event_id).map_err(|e| hold(&e))? {
            let Some(derived) = kept.rid.as_deref().and_then(|rid| record.event_id.instance(rid)) else { continue };
            let known = self.0.ledger.instance(&derived).map_err(|e| hold(&e))?.is_some();
            if let Some(object) = kept.object().filter(|_| known) {
                all.push(again(&object, patch)?);
            }
        }
        Ok(all)
    }

    /// Each event of these objects as a vCalendar object of its own, for the entry's recipients.
    fn split(&self, entry: &Entry, objects: &[Object]) -> Result<CipObjects, NotPrepared> {
        let mut said = CipObjects { octets: Vec::new(), losses: Vec::new(), instances: Vec::new() };
        for object in objects {
            let (octets, losses) = vcalendar(entry, object.octets().to_vec())?;
            said.losses.extend(losses);
            let unsaid = |e: &dyn std::fmt::Display| NotPrepared::Hold(format!("the vCalendar object that was made cannot be read: {e}"));
            for single in singles(octets).map_err(|e| unsaid(&e))?.list {
                let single = Object::parse(single.octets).map_err(|e| unsaid(&e))?;
                let uid = single.event().uid.clone();
                if let Some(series) = entry.event_id.as_ref().filter(|series| **series != uid) {
                    let of = object.events().iter().filter_map(|e| e.recurrence_id.clone());
                    let rid = of.chain(entry.recurrence_id.clone()).find(|rid| series.instance(rid).as_ref() == Some(&uid));
                    said.instances.extend(rid.map(|rid| (uid, InstanceRecord { series: series.clone(), rid })));
                }
                said.octets.push(self.addressed(entry, &single));
            }
        }
        Ok(said)
    }

    /// The object for the entry's recipients, under the addresses that they have now, with the trace.
    fn addressed(&self, entry: &Entry, object: &Object) -> Vec<u8> {
        let mut patch = Patch { add_trace: Some(self.trace(entry)), ..Patch::default() };
        let listed = |user: &UserId| object.events().iter().any(|e| e.attendees.iter().any(|p| p.address == *user));
        for n in pending(entry) {
            let recipient = &entry.recipients[n];
            patch.add_recipients.push(recipient.user.clone());
            if recipient.original != recipient.user && listed(&recipient.original) {
                patch.rewrite.push((recipient.original.clone(), recipient.user.clone()));
            } else if !listed(&recipient.user) {
                patch.add_attendees.push(recipient.user.clone());
            }
        }
        object.patched(&patch)
    }

    /// The ids of instances, stored with their meaning before any server hears them.
    pub(super) async fn ensure_instances(&self, instances: &[(EventId, InstanceRecord)]) -> Result<(), super::DeliveryError> {
        let mut change = self.0.queue.change();
        for (derived, record) in instances {
            if self.0.ledger.instance(derived)?.is_none() {
                self.0.ledger.put_instance(change.batch_mut(), derived, record)?;
            }
        }
        if !change.is_empty() {
            self.0.queue.commit(change).await?;
        }
        Ok(())
    }
}

fn again(object: &Object, patch: &Patch) -> Result<Object, NotPrepared> {
    Object::parse(object.patched(patch)).map_err(|e| NotPrepared::Hold(format!("the object that was made cannot be read: {e}")))
}

/// The dates that these people have apart from the series, and the one that is spoken of.
fn taken_out(record: &EventRecord, people: &[PersonRecord], spoken_of: Option<&str>) -> Vec<String> {
    let instances = record.parts.iter().filter_map(|p| p.rid.as_deref());
    let theirs = instances.filter(|rid| Some(*rid) == spoken_of || people.iter().any(|p| p.accepted_version(Some(rid)).is_some()));
    theirs.map(str::to_owned).collect()
}

/// A series without the dates that are spoken of apart, unless it speaks of them itself.
fn without_dates(series: Object, dates: &[String]) -> Result<Object, NotPrepared> {
    let own = |rid: &&String| !series.events().iter().any(|e| e.recurrence_id.as_ref() == Some(*rid));
    let exclude: Vec<String> = dates.iter().filter(own).cloned().collect();
    if exclude.is_empty() || series.event().recurrence_id.is_some() {
        return Ok(series);
    }
    again(&series, &Patch { exclude, ..Patch::default() })
}
