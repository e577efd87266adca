//! iMIP mail: read from hand-written messages, hostile ones among them, composed, and read back by mail-parser and by
//! Python's `email`.

use cip_relay::calendar::event::{Component, Event, Format, Method, Moment, PartStat, Person, Trace};
use cip_relay::clock::Timestamp;
use cip_relay::ident::{EventId, ServerId, UserId};
use cip_relay::imip::compose::{self, Envelope};
use cip_relay::imip::read::{self, ReadError};
use cip_relay::imip::sendable;

const OBJECT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//t//t//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:961\r\n\
                      SUMMARY:Caf\u{e9}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn event() -> Event {
    let at = |t: &str| Moment::Utc { at: Timestamp::parse_rfc3339(t).unwrap(), offset_minutes: Some(-300) };
    let mut owner = Person::new(user("pete@jumbo.com"));
    owner.name = Some("Pete O'Leary".into());
    let mut mary = Person::new(user("mary@tiny.com"));
    mary.name = Some("Mary Weaver".into());
    mary.status = Some(PartStat::NeedsAction);
    Event {
        format: Format::Bare,
        component: Component::Event,
        method: None,
        uid: EventId::parse("961@jumbo.com").unwrap(),
        sequence: Some(1),
        version: Some(1),
        response_sequence: None,
        recurrence_id: None,
        dtstamp: None,
        last_modified: None,
        owner: Some(owner),
        attendees: vec![mary],
        start: Some(at("1997-01-01T01:00:00Z")),
        end: Some(at("1997-01-01T03:00:00Z")),
        summary: Some("Caf\u{e9}".into()),
        description: None,
        location: Some("Room 5".into()),
        comment: None,
        status: None,
        rules: Vec::new(),
        recipients: Vec::new(),
        traces: Vec::new(),
    }
}

#[test]
fn a_composed_invitation_reads_back_as_what_it_is() {
    let (event, token, mary) = (event(), user("rabc@cip.tiny.com"), user("mary@tiny.com"));
    let (site, domain) = (ServerId::parse("tiny.com").unwrap(), ServerId::parse("cip.tiny.com").unwrap());
    let trace = Trace { server: "tiny.com".into(), time: "t".into(), verb: "SENDEVENT".into(), version: "1".into() };
    let mail = compose::invitation(&Envelope {
        calendar: OBJECT.as_bytes(),
        event: &event,
        from: &token,
        recipient: &mary,
        recipient_name: None,
        site: &site,
        mail_domain: &domain,
        event_id: event.uid.as_str(),
        standing: 2,
        traces: std::slice::from_ref(&trace),
        now: Timestamp::parse_rfc3339("2026-11-22T15:44:00Z").unwrap(),
    })
    .unwrap();
    sendable::check(&mail).unwrap();
    let back = read::read(&mail).unwrap();
    assert_eq!(back.from, [token]);
    assert_eq!(back.from_name.as_deref(), Some("Pete O'Leary via tiny.com"));
    assert_eq!(back.subject.as_deref(), Some("Invitation: Caf\u{e9}"));
    assert!(back.automatic);
    assert_eq!(back.traces, [trace]);
    let part = back.calendar.unwrap();
    assert_eq!((part.method, part.method_param), (Some(Method::Request), Some(Method::Request)));
    assert_eq!(part.octets, OBJECT.as_bytes());
}

#[test]
fn methods_that_differ_are_refused_by_name() {
    let mail = format!("From: a@b.c\r\nContent-Type: text/calendar; method=CANCEL\r\n\r\n{OBJECT}");
    let error = read::read(mail.as_bytes()).unwrap_err();
    assert_eq!(error, ReadError::MethodsDiffer { parameter: "CANCEL", object: "REQUEST" });
}
