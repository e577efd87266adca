//! The one key space: what a record is stands in the first octet of its key.
//!
//! Invariants: no two kinds share a first octet; numbers in keys are big-endian, so that key order is their order; the
//! kinds in [`OWNED`] are written by the store and the queue alone, the rest belong to the ledger.

use crate::ident::EntryId;

/// Facts about the store itself: its id, the high-water mark of entry ids, and single records of the ledger's.
pub const META: &[u8] = b"M";
/// `b` id: header of a body; `b` id piece (u32): a piece of it.
pub const BODY: &[u8] = b"b";
/// `d` id: the short record from which the due order is rebuilt.
pub const DUE: &[u8] = b"d";
/// `e` id: an entry.
pub const ENTRY: &[u8] = b"e";
/// `q` id: an entry that did not decode, as it was found.
pub const QUARANTINE: &[u8] = b"q";
/// `s` digest (16 octets) id: which entries wait for an event, instance, verb and recipient; which of an event are held.
pub const SUPERSEDE: &[u8] = b"s";
/// The event ledger (bridge 3).
pub const LEDGER: &[u8] = b"l";
/// Reply addresses and envelope senders (bridge 4).
pub const TOKEN: &[u8] = b"t";
/// Known redirects.
pub const REDIRECT: &[u8] = b"r";

/// Kinds that only the store and the queue write.
pub const OWNED: [&[u8]; 5] = [BODY, DUE, ENTRY, QUARANTINE, SUPERSEDE];

/// The id of the store, the same as in the file beside it.
pub const STORE_ID: &[u8] = b"Mstore-id";
/// No entry id up to this one is handed out again.
pub const HIGH_WATER: &[u8] = b"Mhigh-water";

/// A key of a kind: its prefix and what tells it from others.
pub fn key(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    [prefix, rest].concat()
}

/// The key of a kind that goes by entry id.
pub fn by_id(prefix: &[u8], id: EntryId) -> Vec<u8> {
    key(prefix, &id.raw().to_be_bytes())
}

/// The id in a key made by [`by_id`].
pub fn id_of(key: &[u8]) -> Option<EntryId> {
    let raw = u64::from_be_bytes(key.get(1..)?.try_into().ok()?);
    // `from_raw` drops high bits: a key that holds some was not made from an id.
    Some(EntryId::from_raw(raw)).filter(|id| id.raw() == raw)
}

/// Piece `n` of a body.
pub fn piece(id: EntryId, n: u32) -> Vec<u8> {
    [BODY, &id.raw().to_be_bytes(), &n.to_be_bytes()].concat()
}

/// The least key that sorts behind `key`.
pub fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_ids_and_come_back() {
        let ids = [0, 1, 255, 256, (1 << 55) - 1].map(EntryId::from_raw);
        assert!(ids.windows(2).all(|w| by_id(ENTRY, w[0]) < by_id(ENTRY, w[1])));
        for id in ids {
            assert_eq!(id_of(&by_id(DUE, id)), Some(id));
        }
        assert_eq!(id_of(b"e\xff\0\0\0\0\0\0\0"), None);
        assert_eq!(id_of(b"e123"), None);
    }

    #[test]
    fn kinds_are_distinct() {
        let mut all = [META, BODY, DUE, ENTRY, QUARANTINE, SUPERSEDE, LEDGER, TOKEN, REDIRECT].to_vec();
        all.dedup();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9);
        assert!(all.iter().all(|p| p.len() == 1));
    }
}
