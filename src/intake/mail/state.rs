//! What an organizer's message makes of his event: the state that CIP carries, whatever the method (bridge 2).
//!
//! REQUEST and PUBLISH are that state. ADD is merged into the series that is known; DECLINECOUNTER is the known state once
//! more; a CANCEL that lists some of the people leaves an event without them. Invariant: the digest is of the message, so
//! that the same message is the same version however often it comes.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::post::Post;
use crate::calendar::Object;
use crate::calendar::event::Method;
use crate::intake::events::{content_digest, is_cancel};
use crate::intake::members::{Rest, rest_after};
use crate::ledger::LedgerError;
use crate::ledger::records::EventRecord;

/// The state of an event after a message.
pub(super) struct State<'o> {
    pub(super) object: Cow<'o, Object>,
    pub(super) digest: [u8; 32],
    pub(super) cancel: bool,
    /// Of a CANCEL for some.
    pub(super) rest: Option<Rest>,
}

impl Post<'_> {
    /// `Err`: why the message cannot be carried to CIP.
    pub(super) fn state<'o>(
        &self,
        object: &'o Object,
        method: Method,
        record: Option<&EventRecord>,
    ) -> Result<Result<State<'o>, &'static str>, LedgerError> {
        let rid = object.event().recurrence_id.as_deref();
        let kept = |rid: Option<&str>| -> Result<Option<Object>, LedgerError> {
            let Some(record) = record else { return Ok(None) };
            Ok(self.intake.0.ledger.object(&record.event_id, rid)?.and_then(|kept| kept.object()))
        };
        let of_message = |state: Object| State {
            object: Cow::Owned(state),
            digest: Sha256::new().chain_update(method.as_str()).chain_update(object.digest()).finalize().into(),
            cancel: false,
            rest: None,
        };
        Ok(match method {
            Method::Add => match kept(None)?.and_then(|series| series.with_added(object)) {
                Some(series) => Ok(of_message(series)),
                None => Err("the series that it adds to is not known here"),
            },
            Method::DeclineCounter => match kept(rid)?.map_or_else(|| kept(None), |found| Ok(Some(found)))? {
                Some(known) => Ok(of_message(known)),
                None => Err("the event whose change it declines is not known here"),
            },
            _ => {
                let cancel = is_cancel(object.event(), Some(method));
                let rest = if cancel { rest_after(&self.intake.0.ledger, object, record)? } else { None };
                Ok(State { object: Cow::Borrowed(object), digest: content_digest(object, cancel), cancel, rest })
            }
        })
    }
}
