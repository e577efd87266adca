//! When the events of a user are: what the ledger keeps so that FREEBUSY can be answered from it.
//!
//! Beside an event stands the [`Skeleton`] of its newest state, whole and by instance; beside a user of a domain that has
//! the ledger among its sources stand the events that he owns or was invited to. Invariants: nothing but times is kept;
//! what could not be kept is kept as unreadable, so that nobody takes it for free time.

use serde::{Deserialize, Serialize};

use super::{Batch, Ledger, LedgerError, Record, decode, encode, keys, short};
use crate::calendar::busy::skeleton::Skeleton;
use crate::calendar::event::PartStat;
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// Octets of a packed skeleton.
const MAX_PACKED: usize = 128 << 10;
/// Octets of a skeleton, so that no record unpacks to more.
const MAX_SKELETON: usize = 2 << 20;
/// States read of one event: the whole, and as many instances as an event's record has parts.
const STATES: usize = super::records::EventRecord::PARTS + 1;

/// The newest state of an event, or of one instance of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimesRecord {
    pub rid: Option<String>,
    pub version: u32,
    pub cancelled: bool,
    /// What the owner says of his own attendance.
    pub owner: Option<PartStat>,
    pub first: Timestamp,
    /// `None`: it repeats.
    pub last: Option<Timestamp>,
    /// Empty: what its times are could not be kept.
    packed: Vec<u8>,
}

impl TimesRecord {
    /// `skeleton`: `None` where the times cannot be read.
    pub fn new(rid: Option<String>, version: u32, owner: Option<PartStat>, skeleton: Option<&Skeleton>) -> Self {
        let packed = skeleton.filter(|s| s.octets.len() <= MAX_SKELETON).map(|s| lz4_flex::compress_prepend_size(&s.octets));
        let packed = packed.filter(|p| p.len() <= MAX_PACKED).unwrap_or_default();
        let (first, last) = skeleton.filter(|_| !packed.is_empty()).map_or((Timestamp::default(), None), |s| (s.first, s.last));
        Self { rid, version, cancelled: false, owner, first, last, packed }
    }

    /// A calendar with the times. `None`: they could not be kept.
    pub fn skeleton(&self) -> Option<Vec<u8>> {
        let size = self.packed.get(..4)?.try_into().map(u32::from_le_bytes).ok()?;
        if size as usize > MAX_SKELETON {
            return None;
        }
        lz4_flex::decompress_size_prepended(&self.packed).ok()
    }
}

/// One event that a user is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngagementRecord {
    pub event_id: EventId,
    /// Under which address the ledger has him in the event; `None`: he owns it.
    pub person: Option<UserId>,
}

impl Record for TimesRecord {}
impl Record for EngagementRecord {}

impl Ledger {
    pub fn put_times(&self, batch: &mut Batch, event: &EventId, record: &TimesRecord) -> Result<(), LedgerError> {
        batch.put(times_key(event, record.rid.as_deref()), encode(record, || format!("of the times of {event}"))?);
        Ok(())
    }

    pub fn times(&self, event: &EventId, rid: Option<&str>) -> Result<Option<TimesRecord>, LedgerError> {
        self.read(&times_key(event, rid), || format!("of the times of {event}"))
    }

    /// The whole event's times and those of its instances.
    pub fn times_of(&self, event: &EventId) -> Result<Vec<TimesRecord>, LedgerError> {
        let prefix = times_prefix(event);
        let rows = self.store.scan(&prefix, &prefix, STATES)?;
        rows.into_iter().map(|(_, value)| decode(&value, || format!("of the times of {event}"))).collect()
    }

    /// Notes that a user is in an event. `user` is his address as the directory has it.
    pub fn put_engagement(&self, batch: &mut Batch, user: &UserId, record: &EngagementRecord) -> Result<(), LedgerError> {
        batch.put(engagement_key(user, &record.event_id), encode(record, || format!("of {user} in {}", record.event_id))?);
        Ok(())
    }

    pub fn engagement(&self, user: &UserId, event: &EventId) -> Result<Option<EngagementRecord>, LedgerError> {
        self.read(&engagement_key(user, event), || format!("of {user} in {event}"))
    }

    /// The events that a user is in, at most `limit`.
    pub fn engagements(&self, user: &UserId, limit: usize) -> Result<Vec<EngagementRecord>, LedgerError> {
        let prefix = engagements_prefix(user);
        let rows = self.store.scan(&prefix, &prefix, limit)?;
        rows.into_iter().map(|(_, value)| decode(&value, || format!("of an event of {user}"))).collect()
    }
}

fn times_key(event: &EventId, rid: Option<&str>) -> Vec<u8> {
    let rid = rid.map_or([0; 16], |rid| short(&["rid", rid]));
    [keys::LEDGER, b"o", &short(&[event.as_str()]), &rid].concat()
}

pub(super) fn times_prefix(event: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"o", &short(&[event.as_str()])].concat()
}

pub(super) fn engagement_key(user: &UserId, event: &EventId) -> Vec<u8> {
    [engagements_prefix(user), short(&[event.as_str()]).to_vec()].concat()
}

fn engagements_prefix(user: &UserId) -> Vec<u8> {
    [keys::LEDGER, b"f", &short(&[&user.key()])].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_to_keep_is_kept_as_unreadable() {
        let skeleton = |octets: Vec<u8>| Skeleton { octets, first: Timestamp(5), last: Some(Timestamp(9)) };
        let small = TimesRecord::new(None, 1, None, Some(&skeleton(b"BEGIN:VCALENDAR".to_vec())));
        assert_eq!(
            (small.skeleton().as_deref(), small.first, small.last),
            (Some(&b"BEGIN:VCALENDAR"[..]), Timestamp(5), Some(Timestamp(9)))
        );
        let large = TimesRecord::new(None, 1, None, Some(&skeleton(vec![b'x'; MAX_SKELETON + 1])));
        assert_eq!((large.skeleton(), large.first, large.last), (None, Timestamp(0), None));
        let mut swollen = small;
        swollen.packed[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(swollen.skeleton(), None);
    }
}
