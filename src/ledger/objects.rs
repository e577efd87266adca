//! The newest object of an event, whole and by instance, and the ids that instances have at vCalendar servers (bridge 3).
//!
//! What others need an event's own words for is made from here: the answer to a REFRESH, the version that a DECLINECOUNTER
//! or an ADD leads to, a COUNTER for an organizer's mail program, the series of an exception. Invariants: an object is kept
//! in the commit that makes it the newest; it is a calendar object, never a mail, and has no attachment when it is large;
//! what is too large is not kept and says so; [`Ledger::forget_objects`] takes out everything that is here of one event.

use serde::{Deserialize, Serialize};

use super::records::EventRecord;
use super::{Batch, Ledger, LedgerError, Record, decode, encode, keys, short};
use crate::calendar::{Object, Patch};
use crate::ident::EventId;

/// Octets of a packed object.
const MAX_PACKED: usize = 128 << 10;
/// Octets of an object, so that no record unpacks to more.
const MAX_OBJECT: usize = 1 << 20;
/// Objects read of one event: the whole, and as many instances as an event's record has parts.
const OBJECTS: usize = EventRecord::PARTS + 1;

/// The newest object of an event, or of one instance of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRecord {
    pub rid: Option<String>,
    pub version: u32,
    /// With which it came (profile 4).
    pub standing: u8,
    /// Empty: it is too large to be kept.
    packed: Vec<u8>,
}

impl ObjectRecord {
    pub fn new(rid: Option<String>, version: u32, standing: u8, object: &Object) -> Self {
        let pack = |octets: &[u8]| (octets.len() <= MAX_OBJECT).then(|| lz4_flex::compress_prepend_size(octets));
        let packed = pack(object.octets()).filter(|p| p.len() <= MAX_PACKED).or_else(|| {
            let light = object.patched(&Patch { drop_attach: true, ..Patch::default() });
            pack(&light).filter(|p| p.len() <= MAX_PACKED)
        });
        Self { rid, version, standing, packed: packed.unwrap_or_default() }
    }

    /// `None`: it could not be kept.
    pub fn object(&self) -> Option<Object> {
        let size = self.packed.get(..4)?.try_into().map(u32::from_le_bytes).ok()?;
        if size as usize > MAX_OBJECT {
            return None;
        }
        Object::parse(lz4_flex::decompress_size_prepended(&self.packed).ok()?).ok()
    }
}

/// What a derived event-id stands for: an instance that a vCalendar server has as an event of its own (bridge 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    pub series: EventId,
    pub rid: String,
}

impl Record for ObjectRecord {}
impl Record for InstanceRecord {}

impl Ledger {
    pub fn put_object(&self, batch: &mut Batch, event: &EventId, record: &ObjectRecord) -> Result<(), LedgerError> {
        batch.put(object_key(event, record.rid.as_deref()), encode(record, || format!("of the newest object of {event}"))?);
        Ok(())
    }

    /// The newest object of the whole event (`None`) or of one instance.
    pub fn object(&self, event: &EventId, rid: Option<&str>) -> Result<Option<ObjectRecord>, LedgerError> {
        self.read(&object_key(event, rid), || format!("of the newest object of {event}"))
    }

    /// The whole event's object, and those of its instances.
    pub fn objects_of(&self, event: &EventId) -> Result<Vec<ObjectRecord>, LedgerError> {
        let prefix = objects_prefix(event);
        let rows = self.store.scan(&prefix, &prefix, OBJECTS)?;
        rows.into_iter().map(|(_, value)| decode(&value, || format!("of the newest object of {event}"))).collect()
    }

    pub fn put_instance(&self, batch: &mut Batch, derived: &EventId, record: &InstanceRecord) -> Result<(), LedgerError> {
        batch.put(instance_key(derived), encode(record, || format!("of the instance {derived}"))?);
        Ok(())
    }

    /// The instance that a derived event-id stands for.
    pub fn instance(&self, derived: &EventId) -> Result<Option<InstanceRecord>, LedgerError> {
        self.read(&instance_key(derived), || format!("of the instance {derived}"))
    }

    /// Takes out the objects of an event, and the ids of its instances.
    pub fn forget_objects(&self, batch: &mut Batch, event: &EventId) -> Result<(), LedgerError> {
        for record in self.objects_of(event)? {
            batch.delete(object_key(event, record.rid.as_deref()));
            if let Some(derived) = record.rid.as_deref().and_then(|rid| event.instance(rid)) {
                batch.delete(instance_key(&derived));
            }
        }
        Ok(())
    }
}

fn objects_prefix(event: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"n", &short(&[event.as_str()])].concat()
}

fn object_key(event: &EventId, rid: Option<&str>) -> Vec<u8> {
    let rid = rid.map_or([0; 16], |rid| short(&["rid", rid]));
    [objects_prefix(event), rid.to_vec()].concat()
}

fn instance_key(derived: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"i", &short(&[derived.as_str()])].concat()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::{Store, StoreOptions};

    fn object(extra: &str) -> Object {
        let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\n{extra}END:VEVENT\r\nEND:VCALENDAR\r\n");
        Object::parse(text.into_bytes()).unwrap()
    }

    fn noise(len: usize) -> String {
        let mut at = 1u32;
        let mut next = || {
            at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'A' + u8::try_from(at >> 16 & 31).unwrap() % 26)
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn a_large_object_is_kept_without_its_attachments_or_not_at_all() {
        let small = object("SUMMARY:x\r\nATTACH:http://a.example/b\r\n");
        assert_eq!(ObjectRecord::new(None, 1, 3, &small).object().unwrap().octets(), small.octets());
        let heavy = ObjectRecord::new(None, 1, 3, &object(&format!("SUMMARY:x\r\nATTACH:{}\r\n", noise(400_000))));
        let kept = heavy.object().unwrap();
        assert!(kept.event().summary.as_deref() == Some("x") && kept.octets().len() < 200, "{}", kept.octets().len());
        assert!(ObjectRecord::new(None, 1, 3, &object(&format!("DESCRIPTION:{}\r\n", noise(400_000)))).object().is_none());
        let mut swollen = ObjectRecord::new(None, 1, 3, &small);
        swollen.packed[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(swollen.object().is_none());
    }

    #[tokio::test]
    async fn everything_of_an_event_is_forgotten_and_nothing_else() {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path(), &StoreOptions { free_space_minimum: 0, ..StoreOptions::default() }).unwrap();
        let ledger = Ledger::new(store.clone());
        let ids = ["a@tiny.com", "b@tiny.com"].map(|id| EventId::parse(id).unwrap());
        let rid = "20260708T070000Z";
        let mut batch = Batch::default();
        for id in &ids {
            for part in [None, Some(rid.to_owned())] {
                ledger.put_object(&mut batch, id, &ObjectRecord::new(part, 1, 3, &object(""))).unwrap();
            }
            let record = InstanceRecord { series: id.clone(), rid: rid.to_owned() };
            ledger.put_instance(&mut batch, &id.instance(rid).unwrap(), &record).unwrap();
        }
        store.commit(batch).await.unwrap();
        let mut batch = Batch::default();
        ledger.forget_objects(&mut batch, &ids[0]).unwrap();
        store.commit(batch).await.unwrap();
        let left = ids.clone().map(|id| (ledger.objects_of(&id).unwrap().len(), ledger.instance(&id.instance(rid).unwrap()).unwrap()));
        assert_eq!(left[0], (0, None));
        assert_eq!(left[1], (2, Some(InstanceRecord { series: ids[1].clone(), rid: rid.to_owned() })));
    }
}
