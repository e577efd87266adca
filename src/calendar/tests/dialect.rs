//! The draft's dialect, as its own examples show it (draft 2.2, 2.3, 3.0).

use super::*;
use crate::calendar::event::*;

/// Draft 2.2.
pub(crate) const PARTY: &str = "
DTSTART: 19961231T2000-0500
DTEND: 19970101T0600-0500
DESCRIPTION: New year's eve party in New York. The Big
2000!
ATTENDEE; ROLE=OWNER: Pete O'Leary
<poleary@clearblue.com>
ATTENDEE: Bill Clinton <president@whitehouse.gov>
ATTENDEE: Jen Yip <jen@yip.com>
SEQUENCE: 1
UID: 23454321abcdabcd@clearblue.com
";

/// Draft 2.3; the draft leaves out the UID that it requires.
const PARTY_ANSWER: &str = "
DTSTART: 19961231T2000-0500
DTEND: 19970101T0600-0500
DESCRIPTION: New year's eve party in New York. The Big
2000!>
ATTENDEE; STATUS=ACCEPTED: Jen Yip
<jen@yip.com>
";

/// Draft 3.0.
const REVIEW: &str = "
UID: unique identifier for event
SEQUENCE: 1
DTSTART: start date and time
DTEND: end date and time
DESCRIPTION: Project X review meeting
ATTENDEE; ROLE=OWNER: Pete O'Leary
<poleary@a.com>
ATTENDEE: Alex SystemA <alex@a.com>
ATTENDEE: Bob SystemB <bob@b.com>
";

const REVIEW_ANSWER: &str = "
UID unique identifier of event
SEQUENCE: 1
RESPONSE-SEQUENCE: 1
ATTENDEE: Bob SystemB <bob@b.com>
STATUS:  CONFIRMED
";

const MEETING: &str = "
CATEGORIES: Meeting
DTSTART: 19961126T1530-0500
DTEND:  19961126T1630-0500
SUBJECT: Important Meeting
DESCRIPTION: We need to talk about important stuff.
CLASS: Private
UID: 0289AF8G7DD@abc.com
SEQUENCE: 1
C:
ATTENDEE;ROLE=OWNER;STATUS=CONFIRMED:bill@ab
c.com
C:
ATTENDEE;ROLE=ATTENDEE;STATUS=TENTATIVE:mary
@xyz.com
";

const MEETING_ANSWER: &str = "
UID: 0289AF8G7DD@abc.com
SEQUENCE: 1
C:
ATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED:mar
y@xyz.com
";

fn people(event: &Event) -> Vec<String> {
    event.attendees.iter().map(|p| format!("{} {}", p.address, p.name.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn the_party_of_the_draft() {
    let party = object(PARTY);
    let event = party.event();
    assert_eq!(party.format(), Format::Bare);
    assert_eq!(event.uid.as_str(), "23454321abcdabcd@clearblue.com");
    assert_eq!(event.version, Some(1));
    assert_eq!(event.description.as_deref(), Some("New year's eve party in New York. The Big 2000!"));
    let owner = event.owner.as_ref().unwrap();
    assert_eq!((owner.address.to_string().as_str(), owner.name.as_deref()), ("poleary@clearblue.com", Some("Pete O'Leary")));
    assert_eq!(people(event), ["president@whitehouse.gov Bill Clinton", "jen@yip.com Jen Yip"]);
    let at = crate::clock::Timestamp::parse_rfc3339("1997-01-01T01:00:00Z").unwrap();
    assert_eq!(event.start, Some(Moment::Utc { at, offset_minutes: Some(-300) }));
    assert_eq!(party.problems(), Vec::<String>::new());
    party.require_sendevent().unwrap();
}

#[test]
fn the_answers_of_the_draft() {
    let error = Object::parse(crlf(PARTY_ANSWER)).unwrap_err();
    assert!(error.to_string().starts_with("UID is missing"), "{error}");
    let answer = object(&format!("UID: 2@clearblue.com{PARTY_ANSWER}"));
    answer.require_rsvp().unwrap();
    assert_eq!(answer.answers()[0].address, user("jen@yip.com"));

    let answer = object(REVIEW_ANSWER);
    answer.require_rsvp().unwrap();
    assert_eq!(answer.event().uid.as_str(), "unique identifier of event");
    assert_eq!(answer.event().response_sequence, Some(1));
    let bob = &answer.answers()[0];
    assert_eq!((bob.address.to_string().as_str(), bob.status), ("bob@b.com", Some(PartStat::Accepted)));

    let answer = object(MEETING_ANSWER);
    answer.require_rsvp().unwrap();
    assert_eq!(answer.answers()[0].address, user("mary@xyz.com"));
    assert_eq!(answer.answers()[0].status, Some(PartStat::Accepted));
}

#[test]
fn the_sessions_of_the_draft() {
    let review = object(REVIEW);
    review.require_sendevent().unwrap();
    assert_eq!(people(review.event()), ["alex@a.com Alex SystemA", "bob@b.com Bob SystemB"]);
    assert_eq!(review.event().start, None);
    assert_eq!(review.problems().len(), 2, "{:?}", review.problems());

    let meeting = object(MEETING);
    meeting.require_sendevent().unwrap();
    let event = meeting.event();
    assert_eq!(event.summary.as_deref(), Some("Important Meeting"));
    assert_eq!(event.owner.as_ref().unwrap().address, user("bill@abc.com"));
    assert_eq!(people(event), ["mary@xyz.com -"]);
    assert_eq!(event.attendees[0].status, Some(PartStat::Tentative));
}
