//! Two relays, each for a domain whose people have only e-mail, and a mail server behind each: whatever programs they use,
//! both ends of a meeting come to hold the same truth.

pub mod calendar;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::dns::Dns;
use crate::support::eventually;
use crate::support::relay::{Settings, free_port};
use crate::support::running::Running;
use crate::support::sink::Sink;
use calendar::{Calendar, Event, Proposal, Read};
use shape::{SHAPES, Saying, Shape, Writer};

/// One organization: its relay, and the mail server that its people's mailboxes are on.
struct Site {
    domain: &'static str,
    relay: Running,
    mail: Sink,
}

impl Site {
    /// What this site's mail server does with a message of one of its people: its transport map sends the relay's own
    /// addresses to the listener that trusts nobody, and mail for organizations with CIP to the other.
    async fn submit(&self, sender: &str, recipient: &str, message: &[u8]) {
        let own = recipient.ends_with(&format!("@cip.{}", self.domain));
        let mut client = if own { self.relay.inbound().await } else { self.relay.smtp().await };
        let reply = client.mail(sender, &[recipient], message).await;
        assert_eq!(reply.code, 250, "{recipient}: {reply:?}\n{}", String::from_utf8_lossy(message));
    }
}

/// Two sites that find each other by SRV records.
async fn sites() -> (Arc<Site>, Arc<Site>, Dns) {
    let ports = [free_port(), free_port()];
    let zone = |domain: &str, port| format!("$ORIGIN {domain}.\n@ A 127.0.0.1\n_cip._tcp SRV 0 0 {port} cal\ncal A 127.0.0.1\n");
    let dns = Dns::start(&(zone("tiny.com", ports[0]) + &zone("jumbo.com", ports[1]))).await;
    let site = async |domain: &'static str, port: u16| {
        let mail = Sink::start().await;
        let settings = Settings::new(domain).dns(dns.address()).smarthost(mail.address()).quick();
        let relay = Running::start(settings.set("cip.listen", vec![format!("127.0.0.1:{port}")])).await;
        Arc::new(Site { domain, relay, mail })
    };
    (site("tiny.com", ports[0]).await, site("jumbo.com", ports[1]).await, dns)
}

/// A person with a mail program.
struct Person {
    site: Arc<Site>,
    other: Arc<Site>,
    address: String,
    name: String,
    shape: Shape,
    tick: u32,
    /// Mails read that the own site's mail server was given, and the other site's, which brings them here.
    read: [usize; 2],
    calendar: Calendar,
}

impl Person {
    fn new([site, other]: [&Arc<Site>; 2], name: &str, shape: Shape) -> Self {
        let address = format!("{}@{}", name.to_lowercase(), site.domain);
        let (site, other, name) = (site.clone(), other.clone(), name.to_owned());
        Self { site, other, address, name, shape, tick: 0, read: [0; 2], calendar: Calendar::default() }
    }

    fn writer(&mut self) -> Writer<'_> {
        self.tick += 1;
        Writer { shape: self.shape, address: &self.address, name: &self.name, tick: self.tick }
    }

    /// Keeps a new state of a meeting of his own and sends it to everybody in it.
    async fn call(&mut self, uid: &str, event: Event) {
        let (_, mail) = self.writer().state(uid, &event);
        for attendee in event.attendees.keys() {
            self.site.submit(&self.address, attendee, &mail).await;
        }
        self.calendar.put(uid, event);
    }

    /// Changes a meeting of his own and sends that.
    async fn change(&mut self, uid: &str, change: impl FnOnce(&mut Event)) {
        let mut event = self.calendar.event(uid).clone();
        event.sequence += 1;
        change(&mut event);
        self.call(uid, event).await;
    }

    async fn say(&mut self, uid: &str, partstat: &str, proposed: Option<(&str, &str)>, comment: &str) {
        let event = self.calendar.event(uid).clone();
        let mail = self.writer().saying(&Saying { uid, event: &event, partstat, proposed, comment });
        self.site.submit(&self.address, &event.organizer, &mail).await;
    }

    async fn answer(&mut self, uid: &str, partstat: &str) {
        self.say(uid, partstat, None, "").await;
        let (me, mut event) = (self.address.clone(), self.calendar.event(uid).clone());
        event.attendees.insert(me, partstat.to_owned());
        self.calendar.put(uid, event);
    }

    async fn write(&mut self, uid: &str, words: &str) {
        let to = self.calendar.event(uid).organizer.clone();
        let mail = self.writer().words(&to, words);
        self.site.submit(&self.address, &to, &mail).await;
    }

    /// The next mail in the mailbox, read.
    async fn next(&mut self) -> Read {
        let what = format!("a mail for {} after {:?}", self.address, self.read);
        let sinks = [&self.site.mail, &self.other.mail];
        let unread =
            || sinks.iter().enumerate().find_map(|(at, sink)| Some((at, sink.mails_for(&self.address).into_iter().nth(self.read[at])?)));
        let (at, mail) = eventually(&what, || async { unread() }).await;
        self.read[at] += 1;
        self.calendar.read(&self.address, &mail.data)
    }

    fn holds(&self, uid: &str) -> Truth {
        let event = self.calendar.event(uid);
        let Event { start, end, summary, cancelled, attendees, .. } = event.clone();
        Truth { start, end, summary, cancelled, attendees }
    }
}

/// What both ends must agree on.
#[derive(Debug, PartialEq, Eq)]
struct Truth {
    start: String,
    end: String,
    summary: String,
    cancelled: bool,
    attendees: BTreeMap<String, String>,
}

/// A whole meeting: invited, accepted, another time proposed and taken up, declined, cancelled.
async fn meeting(organizer: &mut Person, attendee: &mut Person, uid: &str) {
    let event = Event {
        organizer: organizer.address.clone(),
        sequence: 0,
        dtstamp: String::new(),
        start: "20270104T150000Z".to_owned(),
        end: "20270104T160000Z".to_owned(),
        summary: format!("Budget of {}", organizer.name),
        cancelled: false,
        attendees: BTreeMap::from([(attendee.address.clone(), "NEEDS-ACTION".to_owned())]),
    };
    organizer.call(uid, event).await;
    let theirs = match attendee.next().await {
        Read::Event { uid } => uid,
        other => panic!("{other:?} is no invitation"),
    };
    assert_eq!(attendee.holds(&theirs), organizer.holds(uid), "invited");

    let answered = |by: &Person, status: &str| Read::Answer { by: by.address.clone(), status: status.to_owned() };
    attendee.answer(&theirs, "ACCEPTED").await;
    assert_eq!(organizer.next().await, answered(attendee, "ACCEPTED"));
    assert_eq!(attendee.holds(&theirs), organizer.holds(uid), "accepted");

    let better = ("20270105T090000Z", "20270105T100000Z");
    if attendee.shape.counters() {
        attendee.say(&theirs, "TENTATIVE", Some(better), "Tuesday is better").await;
        let (start, end) = (better.0.to_owned(), better.1.to_owned());
        let proposal = Proposal { by: attendee.address.clone(), start, end, comment: "Tuesday is better".to_owned() };
        assert_eq!(organizer.next().await, Read::Proposal(proposal));
    } else {
        attendee.write(&theirs, "Tuesday is better").await;
        let read = organizer.next().await;
        assert!(matches!(&read, Read::Words(words) if words.contains("Tuesday is better")), "{read:?}");
    }

    organizer
        .change(uid, |event| {
            (event.start, event.end) = (better.0.to_owned(), better.1.to_owned());
            event.attendees.values_mut().for_each(|status| "NEEDS-ACTION".clone_into(status));
        })
        .await;
    assert_eq!(attendee.next().await, Read::Event { uid: theirs.clone() });
    assert_eq!(attendee.holds(&theirs), organizer.holds(uid), "moved");

    attendee.answer(&theirs, "DECLINED").await;
    assert_eq!(organizer.next().await, answered(attendee, "DECLINED"));
    assert_eq!(attendee.holds(&theirs), organizer.holds(uid), "declined");

    organizer.change(uid, |event| event.cancelled = true).await;
    assert_eq!(attendee.next().await, Read::Event { uid: theirs.clone() });
    assert_eq!(attendee.holds(&theirs), organizer.holds(uid), "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_program_meets_every_other_across_two_relays() {
    let (tiny, jumbo, _dns) = sites().await;
    for (n, (ours, theirs)) in SHAPES.iter().flat_map(|a| SHAPES.iter().map(move |b| (*a, *b))).enumerate() {
        let mut mary = Person::new([&tiny, &jumbo], &format!("Mary{n}"), ours);
        let mut tom = Person::new([&jumbo, &tiny], &format!("Tom{n}"), theirs);
        meeting(&mut mary, &mut tom, &ours.uid(2 * n)).await;
        meeting(&mut tom, &mut mary, &theirs.uid(2 * n + 1)).await;
    }
    for site in [&tiny, &jumbo] {
        site.relay.idle().await;
    }
    // One mail each for: invitation, answer, proposal, update, answer, cancellation; nobody got more.
    let mails = tiny.mail.mails().len() + jumbo.mail.mails().len();
    assert_eq!(mails, SHAPES.len() * SHAPES.len() * 2 * 6);
}
