//! Whatever the order in which messages come: late, doubled, overtaken, with crashes in between, an event ends in the state
//! that the right order would have given it.
//!
//! A history is what happened to one event: its states by its owner, and the answers of its one attendee, each to a state.
//! Each history is played twice against one relay, as it happened and shuffled, and the two ends are compared at both
//! people and in the ledger. A shuffle keeps what the world keeps: nobody answers a state that he has not got, so a state
//! that is answered comes before newer ones, and its answer after it.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::bridge::zone;
use crate::programs::calendar::{Lines, calendar_part};
use crate::support::dns::Dns;
use crate::support::eventually;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::{Process, Settings};
use crate::support::sink::Sink;

/// Which side the owner is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The owner has CIP, the attendee mail.
    ToMail,
    /// The other way round.
    ToCip,
}

/// What one message says; states are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    State {
        n: u32,
        hour: u8,
        title: u8,
        cancel: bool,
    },
    /// With `proposed`, a COUNTER.
    Answer {
        to: u32,
        status: usize,
        proposed: Option<u8>,
    },
}

/// In the order in which it was written; a message's place is its time stamp and, for answers, its number.
#[derive(Clone, Debug)]
struct History {
    way: Way,
    said: Vec<Said>,
}

/// Where an event ended.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// At the attendee: start, end and title; `None`: there is no such event (any more).
    attendee: Option<(String, String, String)>,
    /// At the owner: the newest answer, and what it proposes.
    owner: Option<(String, Option<String>)>,
    /// In the ledger: whether it is cancelled, its start and title, and the answer that counts.
    ledger: String,
}

const STATUSES: [(&str, &str); 3] = [("ACCEPTED", "CONFIRMED"), ("DECLINED", "DECLINED"), ("TENTATIVE", "TENTATIVE")];

fn histories() -> impl Strategy<Value = History> {
    let answer = (0usize..3, prop_oneof![2 => Just(None), 1 => (0u8..3).prop_map(Some)]);
    let state = (0u8..3, 0u8..3, proptest::collection::vec(answer, 0..3));
    let way = prop_oneof![Just(Way::ToMail), Just(Way::ToCip)];
    (way, proptest::collection::vec(state, 1..5), any::<bool>()).prop_map(|(way, states, cancelled)| {
        let last = states.len() - 1;
        let mut said = Vec::new();
        for (n, (hour, title, answers)) in states.into_iter().enumerate() {
            let cancel = cancelled && n == last && n > 0;
            let to = u32::try_from(n).unwrap();
            said.push(Said::State { n: to, hour, title, cancel });
            if !cancel {
                said.extend(answers.into_iter().map(|(status, proposed)| Said::Answer { to, status, proposed }));
            }
        }
        History { way, said }
    })
}

/// The places of a history's messages in an order that may happen, some of them twice.
fn shuffled(said: &[Said], dice: &mut impl FnMut(usize) -> usize) -> Vec<usize> {
    let answered = |n: u32| said.iter().any(|s| matches!(s, Said::Answer { to, .. } if *to == n));
    let place = |n: u32| said.iter().position(|s| matches!(s, Said::State { n: m, .. } if *m == n)).unwrap();
    let before: Vec<Vec<usize>> = said
        .iter()
        .map(|s| match s {
            Said::Answer { to, .. } => vec![place(*to)],
            Said::State { n, .. } => (0..*n).filter(|&m| answered(m)).map(place).collect(),
        })
        .collect();
    let mut order: Vec<usize> = Vec::new();
    while order.len() < said.len() {
        let ready = (0..said.len()).filter(|i| !order.contains(i) && before[*i].iter().all(|b| order.contains(b)));
        let ready: Vec<usize> = ready.collect();
        order.push(ready[dice(ready.len())]);
    }
    for _ in 0..dice(said.len() + 1) {
        let again = order[dice(order.len())];
        let after = order.iter().position(|&i| i == again).unwrap() + 1;
        let at = after + dice(order.len() + 1 - after);
        order.insert(at, again);
    }
    order
}

struct Stage {
    relay: Process,
    jumbo: CipPeer,
    sink: Sink,
    _dns: Dns,
}

/// One way that a history was played: its event's UID as the owner gave it.
struct Play<'a> {
    history: &'a History,
    uid: String,
    order: Vec<usize>,
    next: usize,
}

impl Stage {
    async fn new() -> Self {
        let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
        let dns = Dns::start(&zone(&jumbo)).await;
        let sink = Sink::start().await;
        let relay = Process::start(Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).quick()).await;
        Self { relay, jumbo, sink, _dns: dns }
    }

    /// The objects about an event in the mails for Mary.
    fn mails(&self, uid: &str) -> Vec<(String, Lines)> {
        let objects = self.sink.mails_for("mary@tiny.com").into_iter().filter_map(|m| {
            let (method, text) = calendar_part(&m.data)?;
            let lines = Lines::of(&text);
            (lines.value("UID") == Some(uid)).then(|| (method.unwrap_or_default(), lines))
        });
        objects.collect()
    }

    /// The objects about an event that jumbo.com's calendar server was given, by the title that is its own.
    fn commands(&self, verb: &str, holds: &str) -> Vec<Lines> {
        let of = self.jumbo.of(verb).into_iter().map(|c| c.text());
        of.filter(|text| text.contains(holds)).map(|text| Lines::of(&text)).collect()
    }

    async fn send(&self, play: &Play<'_>, place: usize) {
        let (uid, stamp) = (&play.uid, format!("20261122T1200{place:02}Z"));
        match (play.history.way, play.history.said[place]) {
            (way, Said::State { n, hour, title, cancel }) => {
                let (start, end) = (format!("20270104T{:02}0000Z", 9 + hour), format!("20270104T{:02}0000Z", 10 + hour));
                let summary = format!("Title {title} of {uid}.");
                match way {
                    Way::ToMail => {
                        let status = if cancel { "STATUS: CANCELLED\n" } else { "" };
                        let object = format!(
                            "DTSTART: {start}\nDTEND: {end}\nSUMMARY: {summary}\n{status}ATTENDEE; ROLE=OWNER: <tom@jumbo.com>\n\
                             ATTENDEE: <mary@tiny.com>\nLAST-MODIFIED: {stamp}\nSEQUENCE: {}\nUID: {uid}\n",
                            n + 1
                        );
                        let answer = self.relay.cip().await.object("SENDEVENT", &object).await;
                        assert_eq!(answer.code(), "OK 000", "{answer:?}\n{object}");
                    }
                    Way::ToCip => {
                        let method = if cancel { "CANCEL" } else { "REQUEST" };
                        let lines = format!(
                            "DTSTART:{start}\nDTEND:{end}\nSUMMARY:{summary}\nORGANIZER:mailto:mary@tiny.com\n\
                             ATTENDEE;RSVP=TRUE:mailto:tom@jumbo.com\nSEQUENCE:{n}"
                        );
                        self.mail("mary@tiny.com", "tom@jumbo.com", method, &calendar(method, uid, &stamp, &lines)).await;
                    }
                }
            }
            (Way::ToMail, Said::Answer { to, status, proposed }) => {
                let told = || async { self.mails(uid).into_iter().next() };
                let token = eventually(&format!("the reply address of {uid}"), told).await.1.address("ORGANIZER");
                let partstat = STATUSES[status].0;
                let mut lines = format!("ORGANIZER:mailto:{token}\nATTENDEE;PARTSTAT={partstat}:mailto:mary@tiny.com\nSEQUENCE:{to}");
                let method = if proposed.is_some() { "COUNTER" } else { "REPLY" };
                lines.extend(proposed.map(times));
                self.mail("mary@tiny.com", &token, method, &calendar(method, uid, &stamp, &lines)).await;
            }
            (Way::ToCip, Said::Answer { to, status, proposed }) => {
                let holds = format!("of {uid}.");
                let told = || async { self.commands("SENDEVENT", &holds).into_iter().next() };
                let event = eventually(&format!("the event-id of {uid}"), told).await;
                let object = format!(
                    "UID: {}\nSEQUENCE: {}\nRESPONSE-SEQUENCE: {place}\nATTENDEE;STATUS={}: <tom@jumbo.com>{}\n",
                    event.value("UID").unwrap(),
                    to + 1,
                    STATUSES[status].1,
                    proposed.map(times).unwrap_or_default()
                );
                let answer = self.relay.cip().await.object("RSVP", &object).await;
                assert_eq!(answer.code(), "OK 000", "{answer:?}\n{object}");
            }
        }
    }

    async fn mail(&self, from: &str, to: &str, method: &str, object: &str) {
        let mail = format!(
            "From: {from}\nTo: {to}\nSubject: Meeting\nMIME-Version: 1.0\nContent-Type: text/calendar; method={method}\n\n{object}"
        );
        let reply = self.relay.smtp().await.mail(from, &[to], mail.replace('\n', "\r\n").as_bytes()).await;
        assert_eq!(reply.code, 250, "{reply:?}\n{mail}");
    }

    fn end(&self, play: &Play<'_>) -> End {
        let uid = play.uid.as_str();
        let holds = format!("of {uid}.");
        let plain = |text: Option<&str>| text.unwrap_or_default().replace(uid, "it");
        let shown = |l: &Lines| (l.time("DTSTART"), l.time("DTEND"), plain(l.value("SUMMARY")));
        let (attendee, owner, event_id) = match play.history.way {
            Way::ToMail => {
                let newest = self.mails(uid).into_iter().max_by_key(|(_, l)| (l.sequence(), l.value("DTSTAMP").map(str::to_owned)));
                let attendee = newest.filter(|(method, _)| method != "CANCEL").map(|(_, l)| shown(&l));
                let answers = self.commands("RSVP", uid).into_iter();
                let newest = answers.max_by_key(|l| (l.sequence(), l.value("RESPONSE-SEQUENCE").map(|n| n.parse::<u32>().unwrap())));
                let proposed = |l: &Lines| l.value("DTSTART").map(str::to_owned);
                (attendee, newest.and_then(|l| Some((status_of(&l, "mary@tiny.com")?, proposed(&l)))), uid.to_owned())
            }
            Way::ToCip => {
                let events = self.commands("SENDEVENT", &holds);
                let event_id = events.first().and_then(|l| l.value("UID")).unwrap_or_default().to_owned();
                let newest = events.into_iter().max_by_key(Lines::sequence);
                let attendee = newest.filter(|l| l.value("STATUS") != Some("CANCELLED")).map(|l| shown(&l));
                let replies = self.mails(uid).into_iter();
                let newest = replies.max_by_key(|(_, l)| (l.sequence(), l.value("DTSTAMP").map(str::to_owned)));
                let proposed = |method: &str, l: &Lines| (method == "COUNTER").then(|| l.time("DTSTART"));
                (attendee, newest.and_then(|(method, l)| Some((status_of(&l, "tom@jumbo.com")?, proposed(&method, &l)))), event_id)
            }
        };
        End { attendee, owner, ledger: self.ledger(&event_id, uid) }
    }

    fn ledger(&self, event_id: &str, uid: &str) -> String {
        if event_id.is_empty() {
            return "nothing of it was ever delivered".to_owned();
        }
        let output = self.relay.settings.run(&["ledger", "show", event_id, "--json"], b"");
        assert!(output.status.success(), "{output:?}");
        let event: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let answers = event["people"].as_array().unwrap().iter().flat_map(|p| p["answers"].as_array().unwrap()).map(|a| &a["status"]);
        let answers: Vec<_> = answers.collect();
        format!("{} {} {} {answers:?}", event["cancelled"], event["start"], event["summary"]).replace(uid, "it")
    }
}

/// Lines for a time of another day, the `n`th that may be proposed.
fn times(n: u8) -> String {
    format!("\nDTSTART:20270105T{:02}0000Z\nDTEND:20270105T{:02}0000Z", 9 + n, 10 + n)
}

fn status_of(lines: &Lines, address: &str) -> Option<String> {
    lines.attendees().into_iter().find(|(a, _)| a == address).map(|(_, status)| status)
}

fn calendar(method: &str, uid: &str, stamp: &str, lines: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:{method}\nBEGIN:VEVENT\nUID:{uid}\nDTSTAMP:{stamp}\n{lines}\n\
         END:VEVENT\nEND:VCALENDAR\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_ends_as_the_right_one() {
    let mut runner = TestRunner::default();
    let number: usize = std::env::var("HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    let mut draw = |below: usize| (0..below).new_tree(&mut runner).unwrap().current();
    let mut other = TestRunner::default();
    let all: Vec<History> = (0..number).map(|_| histories().new_tree(&mut other).unwrap().current()).collect();
    let mut plays: Vec<Play<'_>> = Vec::new();
    for (n, history) in all.iter().enumerate() {
        let order = shuffled(&history.said, &mut draw);
        plays.push(Play { history, uid: format!("right-{n}-@jumbo.com"), order: (0..history.said.len()).collect(), next: 0 });
        plays.push(Play { history, uid: format!("mixed-{n}-@jumbo.com"), order, next: 0 });
    }

    let mut stage = Stage::new().await;
    let mut kills = 3;
    let mut sent = 0;
    let all_sent: usize = plays.iter().map(|p| p.order.len()).sum();
    loop {
        let open: Vec<usize> = (0..plays.len()).filter(|&n| plays[n].next < plays[n].order.len()).collect();
        let Some(&n) = open.get(draw(open.len().max(1))) else { break };
        stage.send(&plays[n], plays[n].order[plays[n].next]).await;
        sent += 1;
        if kills > 0 && sent * 4 > all_sent * (4 - kills) {
            kills -= 1;
            stage.relay.kill();
            stage.relay.start_again().await;
            // The client that was not sure sends it again.
            stage.send(&plays[n], plays[n].order[plays[n].next]).await;
        }
        plays[n].next += 1;
    }
    assert_eq!(kills, 0);
    stage.relay.queue_empty().await;
    for pair in plays.chunks(2) {
        let (right, mixed) = (stage.end(&pair[0]), stage.end(&pair[1]));
        assert_eq!(right, mixed, "{:?}\nin the order {:?}", pair[0].history, pair[1].order);
    }
}
