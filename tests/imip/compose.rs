//! Composed mail, read back by two independent readers.

use cip_relay::calendar::Object;
use cip_relay::calendar::event::{Component, Event, EventStatus, Format, Method, Moment, PartStat, Person, Trace};
use cip_relay::clock::Timestamp;
use cip_relay::ident::{EventId, ServerId, UserId};
use cip_relay::imip::compose::{self, Before, ComposeError, Envelope, Language};
use cip_relay::imip::{read, sendable};
use mail_parser::{MessageParser, MimeHeaders, PartType};
use serde_json::{Value, json};

use super::{OBJECT, assert_no_defects, by_python, field, golden, user};

/// An invitation whose every input a test can change.
struct Case {
    event: Event,
    calendar: String,
    from: UserId,
    recipient: UserId,
    recipient_name: Option<String>,
    updated: bool,
    standing: u8,
    traces: Vec<Trace>,
}

impl Case {
    fn new() -> Self {
        let trace = |server: &str| Trace {
            server: server.into(),
            time: "2026-11-22T15:44:00.000Z".into(),
            verb: "SENDEVENT".into(),
            version: "1".into(),
        };
        Self {
            event: event(),
            calendar: OBJECT.to_owned(),
            from: user("rabcdefghijklmnopqrstuvwxyz2@cip.tiny.com"),
            recipient: user("mary@tiny.com"),
            recipient_name: Some("Mary Weaver".into()),
            updated: false,
            standing: 2,
            traces: vec![trace("jumbo.com"), trace("tiny.com")],
        }
    }

    fn with<T>(&self, make: impl FnOnce(&Envelope<'_>) -> T) -> T {
        let (site, mail_domain) = (ServerId::parse("tiny.com").unwrap(), ServerId::parse("cip.tiny.com").unwrap());
        let calendar = Object::parse(self.calendar.clone().into_bytes()).unwrap();
        make(&Envelope {
            calendar: &calendar,
            event: &self.event,
            attendee: &self.recipient,
            before: if self.updated { Before::Unknown } else { Before::Nothing },
            language: Language::English,
            from: &self.from,
            reply_to: &self.from,
            recipient: &self.recipient,
            recipient_name: self.recipient_name.as_deref(),
            site: &site,
            mail_domain: &mail_domain,
            event_id: self.event.uid.as_str(),
            standing: self.standing,
            traces: &self.traces,
            now: Timestamp::parse_rfc3339("2026-11-22T15:44:00Z").unwrap(),
        })
    }

    fn mail(&self) -> Vec<u8> {
        self.with(compose::invitation).unwrap()
    }

    /// Composed, checked for what holds for every composed mail, and read by Python.
    fn seen(&self) -> Value {
        sound(&self.mail())
    }
}

fn event() -> Event {
    let at = |t: &str| Moment::Utc { at: Timestamp::parse_rfc3339(t).unwrap(), offset_minutes: Some(-300) };
    let mut owner = Person::new(user("pete@jumbo.com"));
    owner.name = Some("Pete O'Leary".into());
    let mut mary = Person::new(user("mary@tiny.com"));
    mary.name = Some("Mary Weaver".into());
    mary.status = Some(PartStat::NeedsAction);
    let mut tom = Person::new(user("tom@jumbo.com"));
    tom.status = Some(PartStat::Accepted);
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
        attendees: vec![mary, tom],
        start: Some(at("1997-01-01T01:00:00Z")),
        end: Some(at("1997-01-01T03:00:00Z")),
        summary: Some("New Year's dinner".into()),
        description: Some("Bring <nothing> & yourself.\nhttp://jumbo.com/menu".into()),
        location: Some("Room 5".into()),
        comment: None,
        status: None,
        rules: Vec::new(),
        recipients: Vec::new(),
        traces: Vec::new(),
    }
}

fn text_of(seen: &Value) -> String {
    seen["body"]["parts"][0]["parts"][0]["text"].as_str().unwrap().replace("\r\n", "\n")
}

/// Sendable, 7-bit, no line over 76, no defect that Python sees.
fn sound(mail: &[u8]) -> Value {
    sendable::check(mail, sendable::MAX_LINE).unwrap();
    assert!(mail.is_ascii());
    for line in mail.split(|&b| b == b'\n') {
        assert!(line.len() <= 77, "{}", String::from_utf8_lossy(line));
    }
    let seen = by_python(mail);
    assert_no_defects(&seen);
    seen
}

#[test]
fn the_invitation_of_the_golden_file() {
    let mail = Case::new().mail();
    sound(&mail);
    golden("invitation.eml", &String::from_utf8(mail).unwrap());
}

#[test]
fn the_skeleton_as_python_and_mail_parser_see_it() {
    let case = Case::new();
    let mail = case.mail();
    let seen = sound(&mail);
    let shape = |p: &Value| json!([p["type"], p["method"], p["component"], p["disposition"], p["filename"]]);
    let body = &seen["body"];
    assert_eq!(body["type"], "multipart/mixed");
    assert_eq!(body["parts"].as_array().unwrap().len(), 2);
    let alternatives: Vec<_> = body["parts"][0]["parts"].as_array().unwrap().iter().map(shape).collect();
    assert_eq!(body["parts"][0]["type"], "multipart/alternative");
    assert_eq!(
        json!(alternatives),
        json!([
            ["text/plain", null, null, null, null],
            ["text/html", null, null, null, null],
            ["text/calendar", "REQUEST", "VEVENT", null, null]
        ])
    );
    assert_eq!(shape(&body["parts"][1]), json!(["application/ics", null, null, "attachment", "invite.ics"]));
    assert_eq!(body["parts"][1]["encoding"], "base64");
    for part in [&body["parts"][0]["parts"][2], &body["parts"][1]] {
        assert_eq!(part["text"], OBJECT);
    }
    assert_eq!(seen["people"]["From"], json!([["Pete O'Leary via tiny.com", case.from.to_string()]]));
    assert_eq!(seen["people"]["Reply-To"], json!([["", case.from.to_string()]]));
    assert_eq!(seen["people"]["To"], json!([["Mary Weaver", "mary@tiny.com"]]));
    assert_eq!(field(&seen, "Subject"), ["Invitation: New Year's dinner"]);
    assert_eq!(field(&seen, "Auto-Submitted"), ["auto-generated"]);
    assert_eq!(field(&seen, "Date"), ["Sun, 22 Nov 2026 15:44:00 +0000"]);
    assert_eq!(
        field(&seen, "X-CIP-Trace"),
        ["jumbo.com;2026-11-22T15:44:00.000Z;SENDEVENT;1", "tiny.com;2026-11-22T15:44:00.000Z;SENDEVENT;1"]
    );

    let parsed = MessageParser::default().parse(&mail).unwrap();
    let kinds: Vec<_> = parsed.parts.iter().map(|p| p.content_type().unwrap().subtype().unwrap()).collect();
    assert_eq!(kinds, ["mixed", "alternative", "plain", "html", "calendar", "ics"]);
    assert!(parsed.parts.iter().all(|p| !p.is_encoding_problem));
    assert!(matches!(&parsed.parts[4].body, PartType::Text(text) if text == OBJECT));

    let back = read::read(&mail).unwrap();
    assert_eq!((back.from, back.automatic, back.traces), (vec![case.from], true, case.traces));
    let part = back.calendar.unwrap();
    assert_eq!((part.method, part.method_param, part.octets), (Some(Method::Request), Some(Method::Request), OBJECT.into()));
}

#[test]
fn the_words_say_what_kind_of_mail_it_is() {
    let cancel = OBJECT.replace("REQUEST", "CANCEL");
    for (change, subject, sentence) in [
        ((|_| ()) as fn(&mut Case), "Invitation: New Year's dinner", "Pete O'Leary <pete@jumbo.com> invites you to this event."),
        (|c| c.updated = true, "Updated invitation: New Year's dinner", "has changed this event"),
        (|c| c.event.status = Some(EventStatus::Cancelled), "Cancelled: New Year's dinner", "has cancelled this event"),
        (|c| c.calendar = c.calendar.replace("REQUEST", "CANCEL"), "Cancelled: New Year's dinner", "has cancelled this event"),
        (|c| c.calendar = c.calendar.replace("REQUEST", "PUBLISH"), "Event: New Year's dinner", "tells you of this event"),
        (|c| c.event.summary = None, "Invitation: an event without a title", "invites you"),
        (|c| c.event.owner = None, "Invitation: New Year's dinner", "The organizer invites you"),
    ] {
        let mut case = Case::new();
        change(&mut case);
        let seen = case.seen();
        let text = text_of(&seen);
        let flat = text.replace('\n', " ");
        assert_eq!(field(&seen, "Subject"), [subject]);
        assert!(flat.contains(sentence), "{text}");
        assert_eq!(flat.contains("To answer, use the buttons"), subject.contains("nvitation"), "{text}");
    }
    let mut case = Case::new();
    case.calendar = cancel;
    assert_eq!(case.seen()["body"]["parts"][0]["parts"][2]["method"], "CANCEL");
}

#[test]
fn an_unverified_sender_is_named_as_one_wherever_a_person_looks() {
    let mut case = Case::new();
    case.standing = 1;
    let seen = case.seen();
    assert_eq!(seen["people"]["From"], json!([["pete@jumbo.com, unverified, via tiny.com", case.from.to_string()]]));
    for part in &seen["body"]["parts"][0]["parts"].as_array().unwrap()[..2] {
        let words = part["text"].as_str().unwrap();
        assert!(words.contains("Unverified: this message says that it comes from pete@jumbo.com"), "{words}");
        assert!(!words.contains("O'Leary") && !words.contains("O&#39;Leary"), "the claimed name: {words}");
        assert!(!words.contains("http://") && !words.contains("<a "), "a live link: {words}");
    }
}

#[test]
fn no_value_can_end_a_field_or_reorder_what_surrounds_it() {
    let hostile = "x\r\nBcc: all@jumbo.com\r\n\r\n<b>\u{202e}moc\0\u{7f}\u{85}\"\\";
    let mut case = Case::new();
    case.event.owner.as_mut().unwrap().name = Some(hostile.into());
    case.event.attendees[0].name = Some(hostile.into());
    case.recipient_name = Some(hostile.into());
    case.event.summary = Some(hostile.into());
    case.event.location = Some(hostile.into());
    case.event.version = None;
    case.traces[0].server = "a\r\nBcc: b@c.d;e".into();
    let seen = case.seen();
    let names: Vec<_> = seen["fields"].as_array().unwrap().iter().map(|f| f[0].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "From",
            "Reply-To",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "X-CIP-Trace",
            "X-CIP-Trace",
            "MIME-Version",
            "Content-Type"
        ]
    );
    let clean = "x Bcc: all@jumbo.com <b>moc \"\\";
    assert_eq!(seen["people"]["From"], json!([[format!("{clean} via tiny.com"), case.from.to_string()]]));
    assert_eq!(seen["people"]["To"], json!([[clean, "mary@tiny.com"]]));
    assert_eq!(field(&seen, "Subject"), [format!("Invitation: {clean}")]);
    assert_eq!(field(&seen, "X-CIP-Trace")[0], "a_Bcc:_b@c.d_e;2026-11-22T15:44:00.000Z;SENDEVENT;1");
    let html = seen["body"]["parts"][0]["parts"][1]["text"].as_str().unwrap();
    assert!(!html.contains("<b>"), "{html}");
}

#[test]
fn long_and_foreign_names_survive() {
    let long = "Zo\u{eb} \u{1f389} \u{65e5}\u{672c}\u{8a9e} ".repeat(12);
    for name in [long.as_str(), "=?UTF-8?Q?fake?=", "J\u{fc}rgen", "a, b (c) <d@e.f>", "plain", &"word ".repeat(30)] {
        let mut case = Case::new();
        case.recipient_name = Some(name.into());
        case.event.summary = Some(name.into());
        let (mail, name) = (case.mail(), name.trim());
        let parsed = cip_relay::mime::parse(&mail).unwrap();
        let to = parsed.to[0].name.as_deref().unwrap();
        assert!(!to.is_empty() && name.starts_with(to) && to.len() >= name.len().min(245), "{to}");
        let seen = sound(&mail);
        // Python keeps the blanks between the encoded words of a phrase, which RFC 2047 6.2 takes out.
        let dense = |text: &str| text.replace(' ', "");
        assert_eq!(dense(seen["people"]["To"][0][0].as_str().unwrap()), dense(to));
        let subject = field(&seen, "Subject")[0].strip_prefix("Invitation: ").unwrap();
        assert!(name.starts_with(subject) && subject.len() >= name.len().min(230), "{subject}");
    }
}

#[test]
fn an_address_beyond_ascii_needs_smtputf8_and_nothing_else_does() {
    let mut case = Case::new();
    case.recipient = user("j\u{f6}rg@tiny.com");
    let mail = case.with(compose::invitation).unwrap();
    sendable::check(&mail, sendable::MAX_LINE).unwrap();
    let foreign: Vec<_> = mail.split(|&b| b == b'\n').filter(|l| !l.is_ascii()).collect();
    assert_eq!(foreign.len(), 1, "only To");
    assert_eq!(String::from_utf8_lossy(foreign[0]).trim_end(), "To: \"Mary Weaver\" <j\u{f6}rg@tiny.com>");
}

#[test]
fn of_more_than_two_hundred_attendees_owner_and_recipient_are_listed() {
    for (count, listed) in [(200, 201), (201, 3)] {
        let mut case = Case::new();
        case.event.attendees = (0..count - 1).map(|i| Person::new(user(&format!("u{i}@jumbo.com")))).collect();
        case.event.attendees.push(Person::new(user("mary@tiny.com")));
        let text = text_of(&case.seen());
        let who: Vec<_> = text.lines().skip_while(|l| !l.starts_with("Who:")).take_while(|l| !l.is_empty()).collect();
        assert_eq!(who.len(), listed, "{text}");
        assert!(who.iter().any(|l| l.contains("mary@tiny.com")));
        assert_eq!(text.contains("and 200 more"), count > 200);
    }
}

#[test]
fn the_message_id_tells_deliveries_apart_and_repeats_alike() {
    let id = |change: fn(&mut Case)| {
        let mut case = Case::new();
        change(&mut case);
        read::read(&case.mail()).unwrap().message_id.unwrap()
    };
    let base = id(|_| ());
    assert!(base.ends_with("@cip.tiny.com") && base.len() == 40 + 13, "{base}");
    assert_eq!(base, id(|c| c.event.summary = Some("words are no part of it".into())));
    let changes: [fn(&mut Case); 6] = [
        |c| c.event.uid = EventId::parse("962@jumbo.com").unwrap(),
        |c| c.event.recurrence_id = Some("19970101T010000Z".into()),
        |c| c.event.version = Some(2),
        |c| c.calendar = c.calendar.replace("REQUEST", "ADD"),
        |c| c.recipient = user("marv@tiny.com"),
        |c| c.calendar = c.calendar.replace("UID:961", "UID:960"),
    ];
    let mut seen: Vec<_> = changes.into_iter().map(id).chain([base]).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
}

#[test]
fn an_object_that_no_mail_program_would_take_is_not_sent() {
    for (calendar, error) in [
        (OBJECT.replace("METHOD:REQUEST\r\n", ""), ComposeError::NoMethod),
        (OBJECT.replace("METHOD:REQUEST", "METHOD:BREW"), ComposeError::NoMethod),
    ] {
        let mut case = Case::new();
        case.calendar = calendar;
        assert_eq!(case.with(compose::invitation), Err(error));
    }
    let latin1: Vec<u8> = OBJECT.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let latin1 = Object::parse(latin1).unwrap();
    let latin1 = Case::new().with(|e| compose::invitation(&Envelope { calendar: &latin1, ..*e }));
    assert_eq!(latin1, Err(ComposeError::NotUtf8));
}

#[test]
fn answers_say_in_the_subject_what_was_answered() {
    for (status, subject) in [
        (PartStat::Accepted, "Accepted: New Year's dinner"),
        (PartStat::Declined, "Declined: New Year's dinner"),
        (PartStat::Tentative, "Tentative: New Year's dinner"),
        (PartStat::Delegated, "Delegated: New Year's dinner"),
        (PartStat::NeedsAction, "Not decided: New Year's dinner"),
    ] {
        let mut case = Case::new();
        case.calendar = OBJECT.replace("REQUEST", "REPLY");
        case.recipient = user("pete@jumbo.com");
        let mut tom = Person::new(user("tom@jumbo.com"));
        tom.name = Some("Tom Jones".into());
        tom.status = Some(status);
        let mail = case.with(|e| compose::reply(e, &tom)).unwrap();
        let seen = sound(&mail);
        assert_eq!(field(&seen, "Subject"), [subject]);
        assert_eq!(seen["people"]["From"], json!([["Tom Jones via tiny.com", case.from.to_string()]]));
        assert_eq!(seen["body"]["type"], "multipart/alternative");
        let parts = seen["body"]["parts"].as_array().unwrap();
        let kinds: Vec<_> = parts.iter().map(|p| (p["type"].as_str().unwrap(), p["method"].as_str())).collect();
        assert_eq!(kinds, [("text/plain", None), ("text/html", None), ("text/calendar", Some("REPLY"))]);
        assert_eq!(read::read(&mail).unwrap().calendar.unwrap().method, Some(Method::Reply));

        case.from = user("tom@jumbo.com");
        let own = read::read(&case.with(|e| compose::reply(e, &tom)).unwrap()).unwrap();
        assert_eq!((own.from, own.from_name.as_deref()), (vec![user("tom@jumbo.com")], Some("Tom Jones")));
    }
}

#[test]
fn what_is_passed_on_keeps_its_octets() {
    let trace = Case::new().traces.remove(1);
    let original = b"DKIM-Signature: v=1;\n\tb=abc\nSubject:  two  blanks \r\n\r\nbare\nlf \xff\r\n";
    for (raw, kept) in [(original.to_vec(), &original[..]), ([b"From tom Sat Nov 22\n".as_slice(), original].concat(), original)] {
        let passed =
            compose::passed_on(&raw, "Received: from a.b (a.b [192.0.2.1])\r\n\tby cip.tiny.com with ESMTP;\r\nEvil: x\r\n", &trace);
        let head = "Received: from a.b (a.b [192.0.2.1]) by cip.tiny.com with ESMTP; Evil: x\r\n\
                    X-CIP-Trace: tiny.com;2026-11-22T15:44:00.000Z;SENDEVENT;1\r\n";
        assert_eq!(String::from_utf8_lossy(&passed[..head.len()]), head);
        assert_eq!(&passed[head.len()..], kept);
        assert_eq!(read::read(&passed).unwrap().received, 1);
    }
}
