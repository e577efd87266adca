//! Which servers have spoken CIP before (profile 7): kept in the store, so that after a restart a server that is down is
//! waited for and not taken for a domain without CIP. `retention` removes what counts no more.

use std::time::Duration;

use super::{Delivery, DeliveryError};
use crate::clock::Timestamp;
use crate::ident::ServerId;
use crate::queue::Change;

/// The ledger's name of such a record, before that of the server.
pub(crate) const PREFIX: &str = "cip-";
/// Written anew at most this often for one server.
const AGAIN: Duration = Duration::from_secs(86_400);

impl Delivery {
    /// Tells the courier what the store knows, when it does not know itself.
    pub(super) fn recall_cip(&self, server: &ServerId) -> Result<(), DeliveryError> {
        if self.0.cip.known_cip(server).is_none()
            && let Some(at) = self.stored(server)?
        {
            self.0.cip.remember_cip(server, at);
        }
        Ok(())
    }

    /// Notes in a change that this server has just spoken CIP.
    pub(super) fn store_cip(&self, server: &ServerId, change: &mut Change, now: Timestamp) -> Result<(), DeliveryError> {
        let fresh = self.stored(server)?.is_some_and(|at| now.since(at) < AGAIN);
        if !fresh {
            self.0.ledger.put_meta(change.batch_mut(), &key(server), now.millis().to_be_bytes().to_vec());
        }
        Ok(())
    }

    fn stored(&self, server: &ServerId) -> Result<Option<Timestamp>, DeliveryError> {
        Ok(self.0.ledger.meta(&key(server))?.as_deref().and_then(time))
    }
}

/// When, as it is stored.
pub(crate) fn time(value: &[u8]) -> Option<Timestamp> {
    value.try_into().ok().map(|octets| Timestamp::from_millis(u64::from_be_bytes(octets)))
}

fn key(server: &ServerId) -> String {
    format!("{PREFIX}{}", server.key())
}
