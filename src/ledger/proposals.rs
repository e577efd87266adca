//! What an answer proposes, beside what the ledger knows to be in force.

use super::records::{EventRecord, Part};
use super::{Ledger, LedgerError};
use crate::calendar::convert::{Options, Target};
use crate::calendar::event::{Method, Moment};
use crate::calendar::{Object, Proposal, Snapshot};
use crate::clock::Timestamp;

/// An answer that is a COUNTER, whatever it is called.
#[derive(Clone, Debug)]
pub struct Proposed {
    pub proposal: Proposal,
    /// `None`: not known any more.
    pub in_force: Option<Snapshot>,
    /// The newest object of what is answered.
    pub object: Option<Object>,
}

impl EventRecord {
    /// What a version says of the whole event, or of an instance at this date.
    pub fn in_force(&self, rid: Option<&str>, version: u32, date: Option<&Moment>) -> Option<Snapshot> {
        let said = |part: &Part| {
            let newest = || part.states.last().filter(|_| part.newest().is_none_or(|n| n.version <= version));
            part.said(version).or_else(|| newest().map(|state| &state.said)).cloned()
        };
        match (self.part(rid).and_then(said), rid) {
            (None, Some(_)) => Some(self.part(None).and_then(said)?.at_instance(date?)),
            (found, _) => found,
        }
    }
}

impl Ledger {
    /// What an answer to this version proposes: a COUNTER whatever differs, an RSVP what differs from what is known to be in
    /// force, a REPLY nothing.
    pub fn proposed(
        &self,
        record: Option<&EventRecord>,
        rid: Option<&str>,
        version: u32,
        answer: &Object,
        now: Timestamp,
    ) -> Result<Option<Proposed>, LedgerError> {
        let event = answer.event();
        let silent = event.start.is_none()
            && event.end.is_none()
            && event.summary.is_none()
            && event.location.is_none()
            && event.description.is_none();
        if silent || matches!(event.method, Some(Method::Reply | Method::Refresh)) {
            return Ok(None);
        }
        let in_force = record.and_then(|r| r.in_force(rid, version, answer.instance().as_ref()));
        if in_force.is_none() && event.method != Some(Method::Counter) {
            return Ok(None);
        }
        let kept = record.map(|r| self.object(&r.event_id, rid)).transpose()?.flatten();
        let object = kept.and_then(|kept| kept.object());
        let texts = object.as_ref().filter(|_| event.description.is_some()).map(|o| written(o, now)).unwrap_or_default();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let proposal = Proposal::of(answer, in_force.as_ref(), &texts, now);
        Ok(proposal.map(|proposal| Proposed { proposal, in_force, object }))
    }
}

/// How the description stands in the object, and in what a vCalendar server got of it.
fn written(object: &Object, now: Timestamp) -> Vec<String> {
    let translated = object.translated(Target::VCalendar, &Options { now, notes: true }).ok();
    let translated = translated.and_then(|t| Object::parse(t.octets).ok()).and_then(|o| o.event().description.clone());
    object.event().description.iter().cloned().chain(translated).collect()
}
