use tempfile::TempDir;

use super::former::{AnswerRecord3, AnswerRecord4, EventRecord1, Part1, PersonRecord1, PersonRecord2, PersonRecord3, PersonRecord4};
use super::records::{AnswerOrder, Part, Route, Seen};
use super::*;
use crate::calendar::Snapshot;
use crate::calendar::event::{Moment, PartStat};
use crate::store::{StoreOptions, VALUE_MAX};

const AT: Timestamp = Timestamp(1_795_000_000_000);

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn event_id() -> EventId {
    EventId::parse("961@jumbo.com").unwrap()
}

fn seen(version: u32) -> Seen {
    Seen { version, sequence: version - 1, dtstamp: Some(AT), digest: [7; 32], start: Some(AT), end: None }
}

fn start() -> Moment {
    Moment::Zoned { local: "2026-07-01T09:00:00".parse().unwrap(), zone: "Europe/Berlin".into(), at: Some(AT) }
}

fn event1() -> EventRecord1 {
    EventRecord1 {
        event_id: event_id(),
        ical_uid: "961".into(),
        owner: user("pete@jumbo.com"),
        owner_name: Some("Pete".into()),
        own: true,
        standing: 3,
        created: AT,
        updated: AT,
        parts: vec![Part1 {
            rid: None,
            seen: vec![seen(1), seen(2)],
            cancelled: false,
            summary: Some("Dinner".into()),
            start: Some(start()),
            end: None,
        }],
    }
}

fn person() -> PersonRecord {
    PersonRecord2::from(person1()).into()
}

fn person1() -> PersonRecord1 {
    let order = AnswerOrder { version: 2, response_sequence: 1, dtstamp: AT };
    PersonRecord1 {
        event_id: event_id(),
        user: user("mary@tiny.com"),
        addresses: vec![user("mary@tiny.com")],
        name: None,
        accepted: vec![(None, 2), (Some("20260708T070000Z".into()), 3)],
        versions: 3,
        answers: vec![AnswerRecord3 { rid: None, status: PartStat::Accepted, comment: None, order, standing: 2, at: AT }],
        late_answers: Vec::new(),
        response_sequence: 1,
        route: Some(Route::Mail),
    }
}

fn person3() -> PersonRecord3 {
    let PersonRecord2 { event_id, user, addresses, name, accepted, versions, answers, response_sequence, route, reached, .. } =
        PersonRecord2::from(person1());
    PersonRecord3 { event_id, user, addresses, name, accepted, versions, answers, response_sequence, route, reached }
}

fn person4() -> PersonRecord4 {
    let PersonRecord3 { event_id, user, addresses, name, accepted, versions, answers, response_sequence, route, reached } = person3();
    let answers = answers.into_iter().map(|a| AnswerRecord4 {
        rid: a.rid,
        status: a.status,
        comment: a.comment,
        order: a.order,
        standing: a.standing,
        at: a.at,
        proposal: Some([7; 8]),
    });
    let (answers, removed) = (answers.collect(), Some(4));
    PersonRecord4 { event_id, user, addresses, name, accepted, versions, answers, response_sequence, route, reached, removed }
}

/// A record of a version is what the program wrote when that version was made: a change here needs a version of its own,
/// with the struct that stood before kept in `former`.
#[test]
fn golden() {
    let mut event = EventRecord::from(event1());
    event.remember_state(None, 2, said("Dinner"));
    let mut countered = person();
    (countered.removed, countered.answers[0].proposal) = (Some(4), Some([7; 8]));
    countered.answers[0].lost = true;
    let records = [
        codec::encode(1, &event1()),
        codec::encode(1, &person1()),
        codec::encode(2, &PersonRecord2::from(person1())),
        codec::encode(3, &person3()),
        codec::encode(4, &person4()),
        encode(&event, String::new).map_err(|_| codec::CodecError::Checksum),
        encode(&countered, String::new).map_err(|_| codec::CodecError::Checksum),
    ];
    let sums = records.map(|record| crc32fast::hash(&record.unwrap()));
    assert_eq!(
        sums,
        [154_655_965, 2_635_873_452, 3_817_527_402, 20_558_261, 3_170_815_784, 1_196_250_235, 2_178_968_524],
        "the encoding of an event or a person, old or new, has changed"
    );
}

#[tokio::test]
async fn records_of_version_1_are_read_and_written_again_as_the_newest() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), &StoreOptions { free_space_minimum: 0, ..StoreOptions::default() }).unwrap();
    let ledger = Ledger::new(store.clone());
    let mut batch = Batch::default();
    batch.put(event_key(&event_id()), codec::encode(1, &event1()).unwrap());
    batch.put(person_key(&event_id(), &user("mary@tiny.com")), codec::encode(1, &person1()).unwrap());
    store.commit(batch).await.unwrap();
    let event = ledger.event(&event_id()).unwrap().unwrap();
    assert_eq!((event.part(None).unwrap().summary.as_deref(), event.version()), (Some("Dinner"), 2));
    let person = ledger.person(&event_id(), &user("mary@tiny.com")).unwrap().unwrap();
    assert_eq!(person.had_before(None, 3), Some(2), "what was accepted for one whom mail has reached");
    assert_eq!(person.answer(None).unwrap().status, PartStat::Accepted);
    assert_eq!(ledger.people(&event_id()).unwrap(), std::slice::from_ref(&person));
    assert_eq!(ledger.events(None, 10).unwrap()[0].1, event);

    let mut batch = Batch::default();
    ledger.put_event(&mut batch, &event).unwrap();
    ledger.put_person(&mut batch, &person).unwrap();
    store.commit(batch).await.unwrap();
    assert_eq!(codec::version(&store.get(&event_key(&event_id())).unwrap().unwrap()), Some(2));
    assert_eq!(ledger.event(&event_id()).unwrap().unwrap(), event);
    assert_eq!(ledger.person(&event_id(), &user("mary@tiny.com")).unwrap().unwrap(), person);
}

#[test]
fn answers_that_lay_apart_in_version_2_take_their_place_among_the_others() {
    let answer = |rid: Option<&str>, status, version| AnswerRecord3 {
        rid: rid.map(str::to_owned),
        status,
        comment: None,
        order: AnswerOrder { version, response_sequence: 0, dtstamp: AT },
        standing: 2,
        at: AT,
    };
    let day = Some("20260708T070000Z");
    let mut old = PersonRecord2::from(person1());
    old.answers = vec![answer(None, PartStat::Accepted, 2), answer(day, PartStat::Accepted, 2)];
    old.late_answers = vec![answer(None, PartStat::Declined, 3), answer(day, PartStat::Declined, 1)];
    let person = PersonRecord::from(old);
    let status = |rid| person.answer(rid).unwrap().status;
    assert_eq!((status(None), status(day), person.answers.len()), (PartStat::Declined, PartStat::Accepted, 2));
}

fn said(summary: &str) -> Snapshot {
    Snapshot { summary: Some(summary.to_owned()), start: Some(start()), ..Snapshot::default() }
}

#[test]
fn what_a_version_said_is_found_by_its_number() {
    let mut event = EventRecord::from(event1());
    let rid = Some("20260708T070000Z");
    for (version, summary) in [(1, "a"), (2, "a"), (4, "b"), (3, "a"), (6, "c")] {
        event.remember_state(None, version, said(summary));
    }
    event.remember_state(rid, 5, said("x"));
    let part = event.part(None).unwrap();
    let found: Vec<_> = (1..=7).map(|v| part.said(v).and_then(|s| s.summary.as_deref())).collect();
    assert_eq!(found, [Some("a"), Some("a"), Some("a"), Some("b"), None, Some("c"), None]);
    assert_eq!(event.part(rid).unwrap().said(5), Some(&said("x")));
    for version in 10..30 {
        event.remember_state(None, version, said(&version.to_string()));
    }
    let part = event.part(None).unwrap();
    assert_eq!((part.states.len(), part.said(21), part.said(22).is_some()), (Part::STATES, None, true));
}

#[test]
fn which_version_somebody_had_does_not_change_by_sending_him_the_next() {
    let mut person = person();
    person.reached.clear();
    assert_eq!(person.had_before(None, 1), None);
    assert!(person.reach(None, 1) && !person.reach(None, 1));
    assert_eq!((person.had_before(None, 1), person.had_before(None, 4)), (None, Some(1)));
    assert!(person.reach(None, 4));
    assert_eq!(person.had_before(None, 4), Some(1), "the same when it is tried again");
    assert_eq!(person.had_before(None, 5), Some(4));
    assert!(person.reach(None, 3), "an older one that came late");
    assert_eq!(person.had_before(None, 4), Some(3));
    assert_eq!(person.had_before(Some("20260708"), 9), None, "an instance is by itself");
}

/// Texts as long as they may be, that no compression shortens.
#[test]
fn the_largest_event_fits_into_one_value() {
    let noise = |n: usize, len: usize| -> String {
        let mut text = String::new();
        for i in 0.. {
            let digest = Sha256::digest(format!("{n} {i}"));
            text.extend(digest.iter().map(|b| char::from(b'!' + b % 90)));
            if text.len() >= len {
                break;
            }
        }
        text.truncate(len);
        text
    };
    let mut event = EventRecord::from(event1());
    for n in 0..EventRecord::PARTS + 20 {
        let rid = (n > 0).then(|| format!("202607{n:04}T070000Z"));
        for version in 0..3u8 {
            let object = format!(
                "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:{}\r\nLOCATION:{}\r\nDTSTART;TZID={}:20260701T090000\r\n{}\
                 END:VEVENT\r\n{}END:VCALENDAR\r\n",
                noise(n, 900),
                noise(n * 31 + usize::from(version), 900),
                noise(n, 300).replace([';', ':', ',', '"'], "x"),
                (0..9).map(|i| format!("RRULE:FREQ=DAILY;X={}\r\n", noise(i + n, 400))).collect::<String>(),
                (0..60)
                    .map(|i| format!("BEGIN:VEVENT\r\nUID:1\r\nRECURRENCE-ID:{}\r\nEND:VEVENT\r\n", noise(i + usize::from(version), 300)))
                    .collect::<String>(),
            );
            let snapshot = crate::calendar::Object::parse(object.into_bytes()).unwrap().snapshot();
            let octets = codec::encode(1, &snapshot).unwrap().len();
            assert!(octets <= Snapshot::MAX, "{octets}");
            let part = event.part_mut(rid.as_deref());
            part.summary = Some(records::clipped(&noise(n, 900)));
            part.remember(Seen { digest: [version; 32], ..seen(u32::from(version) + 1) });
            event.remember_state(rid.as_deref(), u32::from(version) + 1, snapshot);
        }
    }
    let octets = encode(&event, String::new).unwrap().len();
    assert!(octets < VALUE_MAX * 9 / 10, "{octets}");
}
