//! Which version is new, which is a retry, which went back (profile 6, 8): pure functions over the records.

use std::cmp::Ordering;

use sha2::{Digest, Sha256};

use super::records::{AnswerRecord, EventRecord, Part};
use crate::clock::Timestamp;
use crate::ident::{EventId, ServerId, UserId};

/// What a version means for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// To be delivered.
    New,
    /// The same version with other content: delivered, and marked.
    Changed,
    /// Accepted before: answered as then, not queued again.
    Duplicate,
    /// A late retry of an older version: answered as stored, dropped.
    Late,
    /// An older number with new content (a peer restored from a backup): held.
    WentBack,
}

/// Judges `version` for a recipient whose newest accepted version is `last`.
pub fn judge(part: Option<&Part>, last: Option<u32>, version: u32, digest: &[u8; 32], stamp: Option<Timestamp>) -> Judgement {
    let Some(last) = last else { return Judgement::New };
    let known = part.and_then(|p| p.seen.iter().find(|s| s.version == version && s.digest == *digest));
    if version > last {
        return Judgement::New;
    }
    if version == last {
        return if known.is_some() { Judgement::Duplicate } else { Judgement::Changed };
    }
    let seen_content = part.is_some_and(|p| p.knows(digest).is_some());
    let newest_stamp = part.and_then(Part::newest).and_then(|s| s.dtstamp);
    let older = matches!((stamp, newest_stamp), (Some(a), Some(b)) if a < b);
    if seen_content || older { Judgement::Late } else { Judgement::WentBack }
}

/// The version of a state of an event whose versions are the relay's to give (profile 8): the one it already has, or the
/// next. The newest state's content is the newest state, whenever it was stamped; the content of an earlier one is that
/// state only under its own DTSTAMP, since a change back to what was before is a change.
///
/// An organizer's mail program may write to each attendee by himself, with other words about the people and a DTSTAMP of
/// its own: each such copy gets a version, in the order of arrival. Whether it is too old is for [`older_than_had`].
pub fn give_version(record: Option<&EventRecord>, rid: Option<&str>, sequence: u32, stamp: Option<Timestamp>, digest: &[u8; 32]) -> u32 {
    let Some(record) = record else { return first_version(sequence) };
    let part = record.part(rid);
    let newest = part.and_then(Part::newest).filter(|s| s.digest == *digest);
    let repeated = || part.and_then(|p| p.seen.iter().find(|s| s.digest == *digest && s.dtstamp == stamp));
    match newest.or_else(repeated) {
        Some(seen) => seen.version,
        None => record.version().saturating_add(1).max(first_version(sequence)),
    }
}

/// Whether a state of an event of ours is older than what this recipient, and not another one, has of it: by SEQUENCE,
/// then DTSTAMP (RFC 5546 2.1.5). [`Judgement::Late`]: dropped. [`Judgement::WentBack`]: a lower SEQUENCE that was stamped
/// later (profile 6). `None`: not older, or nothing is known of what he has.
pub fn older_than_had(part: Option<&Part>, last: Option<u32>, sequence: u32, stamp: Option<Timestamp>) -> Option<Judgement> {
    // One version may have come with several stamps; the last of them said that it still held.
    let had = part?.seen.iter().filter(|s| Some(s.version) == last).max_by_key(|s| (s.sequence, s.dtstamp))?;
    let stamps = stamp.zip(had.dtstamp);
    match sequence.cmp(&had.sequence) {
        Ordering::Greater => None,
        Ordering::Equal => stamps.is_some_and(|(new, had)| new < had).then_some(Judgement::Late),
        Ordering::Less if stamps.is_some_and(|(new, had)| new > had) => Some(Judgement::WentBack),
        Ordering::Less => Some(Judgement::Late),
    }
}

/// SEQUENCE 0 of iCalendar is version 1 (profile 5). The last number is kept for the cancellation (profile 8).
pub fn first_version(sequence: u32) -> u32 {
    sequence.saturating_add(1).min(MAX_VERSION - 1)
}

/// The highest version (draft 1.8).
pub const MAX_VERSION: u32 = i32::MAX as u32;

/// The event-id of an event that an e-mail user owns (bridge 3): the UID itself when it already ends in a server-id that
/// is ours, else one derived from UID and organizer, so that the same pair always gives the same id.
pub fn event_id_of(uid: &EventId, organizer: &UserId, server_id: &ServerId, ours: impl Fn(&ServerId) -> bool) -> EventId {
    if uid.server().is_some_and(|s| ours(&s)) {
        return uid.clone();
    }
    let mut hash = Sha256::new();
    hash.update(uid.as_str());
    hash.update([0]);
    hash.update(organizer.key());
    let digest = hash.finalize();
    let name: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    EventId::parse(&format!("{name}@{server_id}")).expect("hex and a domain name make an event-id")
}

/// The id under which an event goes on, when the name cannot be kept: stable, so that a crash in between makes no other.
pub fn renewed_id(old: &EventId, server_id: &ServerId) -> EventId {
    let mut hash = Sha256::new();
    hash.update("goes on");
    hash.update([0]);
    hash.update(old.as_str());
    hash.update([0]);
    hash.update(server_id.key());
    let name: String = hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect();
    EventId::parse(&format!("{name}@{server_id}")).expect("hex and a domain name make an event-id")
}

/// The event's time is no longer what it was in the version that was answered (profile 6).
fn moved_since(record: &EventRecord, rid: Option<&str>, version: u32) -> bool {
    let Some(part) = record.answered_part(rid) else { return false };
    let answered = part.seen.iter().find(|s| s.version == version);
    match (answered, part.newest()) {
        (Some(then), Some(now)) => (then.start, then.end) != (now.start, now.end),
        _ => false,
    }
}

/// Whether an answer is one to the event as it is now (profile 6). Told from the records alone, so that it is the same in
/// whatever order answer and change came.
pub fn counts(record: &EventRecord, answer: &AnswerRecord) -> bool {
    !moved_since(record, answer.rid.as_deref(), answer.order.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::records::Seen;

    fn part(seen: &[(u32, u8, u64)]) -> Part {
        let mut part = Part::new(None);
        for &(version, digest, stamp) in seen {
            part.remember(Seen {
                version,
                sequence: version - 1,
                dtstamp: Some(Timestamp::from_millis(stamp)),
                digest: [digest; 32],
                start: None,
                end: None,
            });
        }
        part
    }

    #[test]
    fn each_case_of_the_profile() {
        let p = part(&[(1, 1, 100), (2, 2, 200), (3, 3, 300)]);
        let at = |ms| Some(Timestamp::from_millis(ms));
        let table = [
            (None, 1, 1, at(100), Judgement::New),
            (Some(2), 3, 3, at(300), Judgement::New),
            (Some(3), 3, 3, at(900), Judgement::Duplicate),
            (Some(3), 3, 9, at(300), Judgement::Changed),
            (Some(3), 2, 2, at(999), Judgement::Late),
            (Some(3), 2, 9, at(250), Judgement::Late),
            (Some(3), 2, 9, at(400), Judgement::WentBack),
            (Some(3), 2, 9, None, Judgement::WentBack),
        ];
        for (last, version, digest, stamp, expected) in table {
            assert_eq!(judge(Some(&p), last, version, &[digest; 32], stamp), expected, "{last:?} {version} {digest}");
        }
    }

    #[test]
    fn event_ids_are_stable_and_keep_ours() {
        let us = ServerId::parse("tiny.com").unwrap();
        let mary = UserId::parse("mary@tiny.com").unwrap();
        let ours = |s: &ServerId| *s == ServerId::parse("tiny.com").unwrap();
        let kept = EventId::parse("abc@tiny.com").unwrap();
        assert_eq!(event_id_of(&kept, &mary, &us, ours), kept);
        let outlook = EventId::parse("040000008200E00074C5B7101A82E008").unwrap();
        let id = event_id_of(&outlook, &mary, &us, ours);
        assert_eq!(id, event_id_of(&outlook, &UserId::parse("MARY@tiny.com").unwrap(), &us, ours));
        assert_ne!(id, event_id_of(&outlook, &UserId::parse("bob@tiny.com").unwrap(), &us, ours));
        assert_eq!(id.server(), Some(us));
    }

    #[test]
    fn versions_grow_and_never_repeat() {
        let mut record = EventRecord {
            event_id: EventId::parse("a@tiny.com").unwrap(),
            ical_uid: "a".into(),
            owner: UserId::parse("mary@tiny.com").unwrap(),
            owner_name: None,
            own: true,
            standing: 3,
            created: Timestamp::default(),
            updated: Timestamp::default(),
            parts: vec![part(&[(1, 1, 100), (4, 4, 400)])],
        };
        let at = |ms| Some(Timestamp::from_millis(ms));
        assert_eq!(give_version(None, None, 0, None, &[1; 32]), 1);
        assert_eq!(give_version(None, None, 7, None, &[1; 32]), 8);
        let table = [
            (0, 100, 1, 1, "a retry of an earlier state"),
            (0, 500, 1, 5, "a change back to earlier content"),
            (3, 400, 4, 4, "a retry of the newest"),
            (3, 900, 4, 4, "the newest, written again"),
            (3, 390, 4, 4, "the newest, written earlier to somebody else"),
            (3, 500, 5, 5, "same SEQUENCE, later DTSTAMP"),
            (3, 300, 5, 5, "same SEQUENCE, earlier DTSTAMP: somebody's copy"),
            (2, 900, 5, 5, "lower SEQUENCE: somebody's copy"),
            (9, 900, 5, 10, "a SEQUENCE ahead of the versions"),
        ];
        for (sequence, stamp, digest, expected, what) in table {
            assert_eq!(give_version(Some(&record), None, sequence, at(stamp), &[digest; 32]), expected, "{what}");
        }
        record.part_mut(Some("20260101T000000Z"));
        assert_eq!(give_version(Some(&record), Some("20260101T000000Z"), 0, at(1), &[6; 32]), 5, "an instance takes the next");
    }

    #[test]
    fn older_is_judged_by_what_each_recipient_has() {
        // Versions in the order of arrival: the copy for A, the copy for B stamped before it, an update for A.
        let mut p = part(&[(1, 1, 200), (2, 2, 100), (4, 4, 400)]);
        p.seen[1].sequence = 0;
        let at = |ms| Some(Timestamp::from_millis(ms));
        let table = [
            (None, 0, at(1), None, "he has nothing of it"),
            (Some(7), 0, at(1), None, "what he has was forgotten"),
            (Some(1), 0, at(199), Some(Judgement::Late), "same SEQUENCE, earlier DTSTAMP"),
            (Some(2), 0, at(199), None, "the same state for one who has an older one"),
            (Some(1), 0, at(200), None, "the same stamp"),
            (Some(1), 0, None, None, "no stamp to tell by"),
            (Some(1), 3, at(399), None, "his own copy of the update, stamped before the other"),
            (Some(4), 2, at(300), Some(Judgement::Late), "lower SEQUENCE"),
            (Some(4), 2, None, Some(Judgement::Late), "lower SEQUENCE, no stamp"),
            (Some(4), 2, at(500), Some(Judgement::WentBack), "lower SEQUENCE, later DTSTAMP"),
        ];
        for (last, sequence, stamp, expected, what) in table {
            assert_eq!(older_than_had(Some(&p), last, sequence, stamp), expected, "{what}");
        }
        assert_eq!(p.newest().map(|s| s.version), Some(4));
        p.seen.pop();
        assert_eq!(p.newest().map(|s| s.version), Some(1), "the copy that came later was written earlier");
    }
}
