#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::collections::BTreeMap;

use super::*;
use crate::ident::ServerId;

fn hop(name: &str) -> Destination {
    Destination::Cip(ServerId::parse(name).unwrap())
}

fn id(n: u64) -> EntryId {
    EntryId::from_raw(n)
}

fn at(ms: u64) -> Timestamp {
    Timestamp(ms)
}

fn facts(name: &str, next: u64) -> Facts {
    Facts {
        destination: hop(name),
        state: State::Due,
        next_attempt: at(next),
        deadline: Timestamp::NEVER,
        received: at(0),
        waits_for_hop: false,
    }
}

/// Everything that is handed out at `now`, as numbers.
fn drain(due: &mut Due, now: u64) -> Vec<(u64, Why)> {
    std::iter::from_fn(|| due.next(at(now))).map(|(id, why)| (id.raw(), why)).collect()
}

/// Makes these destinations ones that have answered.
fn prove(due: &mut Due, names: &[&str]) {
    for name in names {
        due.hop_up(&hop(name));
    }
}

fn drain_ids(due: &mut Due, now: u64) -> Vec<u64> {
    drain(due, now).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn entries_come_by_time_then_id_and_not_before() {
    let mut due = Due::new(10);
    for (n, next) in [(5, 200), (1, 300), (2, 100), (3, 100), (4, 101)] {
        due.put(id(n), facts("a.com", next));
    }
    prove(&mut due, &["a.com"]);
    assert_eq!(due.next_wake(), Some(at(100)));
    assert!(drain_ids(&mut due, 99).is_empty());
    assert_eq!(drain_ids(&mut due, 100), [2, 3]);
    assert_eq!(due.next_wake(), Some(at(101)));
    assert_eq!(drain_ids(&mut due, 500), [4, 5, 1]);
    assert_eq!(due.next_wake(), None);
}

#[test]
fn destinations_are_served_in_turn_whatever_their_backlog() {
    let mut due = Due::new(1000);
    for n in 0..6 {
        due.put(id(n), facts("big.com", 0));
    }
    due.put(id(10), facts("small.com", 50));
    due.put(id(11), facts("tiny.com", 60));
    due.put(id(12), facts("tiny.com", 60));
    prove(&mut due, &["big.com", "small.com", "tiny.com"]);
    let order = drain_ids(&mut due, 100);
    // One of each in each round, though all of big.com's were due long before.
    assert_eq!(order[..3].iter().filter(|n| **n < 10).count(), 1, "{order:?}");
    assert_eq!(order[3..5].iter().filter(|n| **n < 10).count(), 1, "{order:?}");
    assert_eq!(order[5..], [2, 3, 4, 5]);
}

#[test]
fn one_destination_has_only_so_many_in_flight() {
    let mut due = Due::new(2);
    for n in 0..5 {
        due.put(id(n), facts("a.com", 0));
    }
    due.put(id(9), facts("b.com", 0));
    prove(&mut due, &["a.com"]);
    let mut first = drain_ids(&mut due, 1);
    first.sort_unstable();
    assert_eq!(first, [0, 1, 9]);
    assert_eq!(due.next_wake(), None, "nothing happens by itself");
    // Taken by name or for a deadline: not counted, and not a place freed when it lands.
    assert_eq!(due.take(id(4)), Some(()));
    due.land(id(4));
    assert!(drain_ids(&mut due, 1).is_empty());
    due.remove(id(0));
    assert_eq!(drain_ids(&mut due, 1), [2]);
    due.land(id(1));
    assert_eq!(drain_ids(&mut due, 1), [1], "it is back as it was");
    due.set_limit(3);
    assert_eq!(drain_ids(&mut due, 1), [3]);
    // Its outcome is known: there is room at its destination, and it is still in flight.
    due.put(id(5), facts("a.com", 0));
    due.put(id(6), facts("a.com", 0));
    due.attempted(id(3));
    assert_eq!(drain_ids(&mut due, 1), [4]);
    assert_eq!((due.state(id(3)), due.take(id(3))), (Some(State::InFlight), None));
    due.land(id(3));
    assert!(drain_ids(&mut due, 1).is_empty(), "its place was free before");
}

#[test]
fn silent_destinations_never_occupy_more_than_the_trials() {
    let mut due = Due::new(4);
    due.set_trials(3);
    for n in 0..400 {
        due.put(id(n), facts(&format!("hole{}.com", n % 100), 0));
    }
    for n in 400..410 {
        due.put(id(n), facts("live.com", 0));
    }
    prove(&mut due, &["live.com"]);
    let holes = |ids: Vec<u64>| ids.into_iter().partition::<Vec<u64>, _>(|n| *n < 400);
    let (first, live) = holes(drain_ids(&mut due, 1));
    assert_eq!((first.len(), live.len()), (3, 4));
    assert_eq!(due.next_wake(), None, "nobody is woken for what cannot be handed out");
    // The live one goes on as if nothing else were there.
    for n in live {
        due.attempted(id(n));
    }
    assert_eq!(holes(drain_ids(&mut due, 1)), (vec![], vec![404, 405, 406, 407]));
    // One stands aside: there is room for another destination, and its own gets no second entry.
    due.aside(id(first[0]));
    let (second, _) = holes(drain_ids(&mut due, 1));
    assert_eq!(second.len(), 1);
    assert!(!first.iter().any(|n| n % 100 == second[0] % 100));
    // One answers and is on trial no more; one fails and stays so.
    due.hop_up(&hop(&format!("hole{}.com", first[1] % 100)));
    due.attempted(id(first[1]));
    let (next, _) = holes(drain_ids(&mut due, 1));
    assert_eq!(next.iter().filter(|n| **n % 100 == first[1] % 100).count(), 3, "all that it has left: {next:?}");
    assert_eq!(next.len(), 4, "and one trial: {next:?}");
    due.hop_down(&hop(&format!("hole{}.com", first[2] % 100)), at(1), at(1000), true);
    due.remove(id(first[2]));
    let (next, _) = holes(drain_ids(&mut due, 1));
    assert_eq!(next.len(), 1, "{next:?}");
    assert_ne!(next[0] % 100, first[2] % 100);
    check(&due);
}

#[test]
fn a_down_hop_gets_one_probe_at_a_time_and_its_deadlines_still_pass() {
    let mut due = Due::new(10);
    for n in 0..4 {
        due.put(id(n), facts("a.com", 0));
    }
    due.put(id(7), Facts { deadline: at(250), ..facts("a.com", 0) });
    due.hop_down(&hop("a.com"), at(10), at(100), true);
    assert_eq!(due.health(&hop("A.com")), Health::Down { since: at(10), until: at(100), probe: true });
    assert_eq!(drain(&mut due, 99), []);
    assert_eq!(due.next_wake(), Some(at(100)));
    assert_eq!(drain(&mut due, 100), [(0, Why::Due)]);
    // The probe failed and was settled: later itself, and the hop is down for longer, since the first failure.
    due.hop_down(&hop("a.com"), at(120), at(200), true);
    due.put(id(0), facts("a.com", 300));
    due.land(id(0));
    assert_eq!(due.health(&hop("a.com")), Health::Down { since: at(10), until: at(200), probe: true });
    assert_eq!(drain(&mut due, 199), []);
    // Without a probe only the deadline moves.
    due.hop_down(&hop("a.com"), at(130), at(200), false);
    assert_eq!(drain(&mut due, 249), []);
    assert_eq!(due.next_wake(), Some(at(250)));
    assert_eq!(drain(&mut due, 250), [(7, Why::Deadline)]);
    due.hop_up(&hop("a.com"));
    assert_eq!(drain_ids(&mut due, 250), [1, 2, 3]);
    assert_eq!(due.health(&hop("a.com")), Health::Up);
}

#[test]
fn what_waited_for_the_hop_is_released_at_once_and_nothing_else() {
    let mut due = Due::new(10);
    let parked = |next| Facts { state: State::Deferred, waits_for_hop: true, ..facts("a.com", next) };
    due.put(id(1), parked(9000));
    due.put(id(2), parked(8000));
    due.put(id(3), Facts { state: State::Deferred, ..facts("a.com", 7000) });
    due.put(id(4), Facts { destination: hop("b.com"), ..parked(9000) });
    due.hop_down(&hop("a.com"), at(0), at(5000), true);
    assert_eq!(drain(&mut due, 100), []);
    due.hop_up(&hop("a.com"));
    assert_eq!(due.next_wake().map(|t| t <= at(100)), Some(true));
    assert_eq!(drain_ids(&mut due, 100), [2, 1]);
    // Released, handed out and given back: it waits for its own time again.
    due.land(id(1));
    assert_eq!(drain(&mut due, 100), []);
    // A second release while some of the first are still there.
    due.put(id(5), parked(9500));
    due.hop_up(&hop("a.com"));
    due.put(id(6), parked(9600));
    due.hop_up(&hop("a.com"));
    due.remove(id(5));
    assert_eq!(drain_ids(&mut due, 100), [1, 6]);
    assert_eq!(drain_ids(&mut due, 7000), [3]);
    assert_eq!(drain_ids(&mut due, 9000), [4]);
}

#[test]
fn deadlines_and_due_work_take_turns() {
    let mut due = Due::new(100);
    for n in 0..3 {
        due.put(id(n), facts("a.com", 0));
        due.put(id(10 + n), Facts { deadline: at(5), state: State::Deferred, ..facts("b.com", 1000) });
    }
    prove(&mut due, &["a.com"]);
    let whys: Vec<_> = drain(&mut due, 10).into_iter().map(|(_, why)| why).collect();
    assert_eq!(whys, [Why::Deadline, Why::Due, Why::Deadline, Why::Due, Why::Deadline, Why::Due]);
    // Due and late at once: for its deadline, and once.
    due.put(id(20), Facts { deadline: at(5), ..facts("c.com", 0) });
    assert_eq!(drain(&mut due, 10), [(20, Why::Deadline)]);
}

#[test]
fn held_and_quarantined_entries_are_counted_and_never_handed_out() {
    let mut due = Due::new(10);
    for (n, state) in [(1, State::Held), (2, State::Quarantined), (3, State::Deferred), (4, State::Due)] {
        due.put(id(n), Facts { state, deadline: at(1), ..facts("a.com", 50) });
    }
    prove(&mut due, &["a.com"]);
    assert_eq!(due.counts(), Counts { due: 1, in_flight: 0, deferred: 1, held: 1, quarantined: 1 });
    let mut out = drain_ids(&mut due, 100);
    out.sort_unstable();
    assert_eq!(out, [3, 4]);
    assert_eq!(due.take(id(1)), Some(()));
    assert_eq!(due.take(id(1)), None, "in flight already");
    assert_eq!(due.state(id(1)), Some(State::InFlight));
    assert_eq!(due.counts().in_flight, 3);
    due.land(id(1));
    assert_eq!(due.state(id(1)), Some(State::Held));
    due.put(id(1), facts("a.com", 0));
    assert_eq!(drain_ids(&mut due, 100), [1]);
}

#[test]
fn an_entry_may_change_its_destination_while_it_is_in_flight() {
    let mut due = Due::new(1);
    due.put(id(1), facts("a.com", 0));
    due.put(id(2), facts("a.com", 0));
    assert_eq!(drain_ids(&mut due, 0), [1]);
    due.put(id(1), facts("b.com", 0));
    assert_eq!(drain_ids(&mut due, 0), [2], "its place at a.com is free, itself it is still in flight");
    due.land(id(1));
    assert_eq!(drain_ids(&mut due, 0), [1]);
    due.remove(id(1));
    due.remove(id(2));
    assert!(due.names.is_empty() && due.hops.iter().all(Option::is_none) && due.later.is_empty());
    assert!(due.ring.is_empty() && due.trial_ring.is_empty() && due.trials == 0);
    assert_eq!(due.counts(), Counts::default());
}

#[test]
fn a_postponed_entry_comes_neither_for_its_time_nor_for_its_deadline() {
    let mut due = Due::new(1);
    due.put(id(1), Facts { deadline: at(5), ..facts("a.com", 0) });
    due.next(at(10)).unwrap();
    due.land(id(1));
    due.postpone(id(1), at(100));
    assert_eq!(drain(&mut due, 99), []);
    assert_eq!(due.next_wake(), Some(at(100)));
    assert_eq!(drain(&mut due, 100), [(1, Why::Deadline)]);
}

#[test]
fn the_summary_counts_by_age() {
    let mut due = Due::new(1);
    let minute = 60_000;
    for (n, age) in [(1, 0), (2, 4), (3, 5), (4, 39), (5, 1279), (6, 1280), (7, 100_000)] {
        due.put(id(n), Facts { received: at((200_000 - age) * minute), ..facts("a.com", 0) });
    }
    due.put(id(8), Facts { state: State::Held, received: at(200_000 * minute), ..facts("b.com", 0) });
    let lines = due.summary(at(200_000 * minute));
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0].destination.clone(), lines[0].ages), (hop("a.com"), [2, 1, 0, 1, 0, 0, 0, 0, 1, 2]));
    assert_eq!((lines[0].oldest, lines[0].next, lines[0].health), (at(100_000 * minute), Some(at(0)), Health::Up));
    assert_eq!((lines[1].counts.held, lines[1].next), (1, None));
}

#[test]
fn a_hundred_thousand_entries_at_a_thousand_destinations() {
    let mut due = Due::new(2);
    for n in 0..100_000 {
        due.put(id(n), Facts { deadline: at(1_000_000 + n), ..facts(&format!("d{}.com", n % 1000), n) });
    }
    let mut now = 0;
    let mut seen = 0u64;
    while let Some(wake) = due.next_wake() {
        now = now.max(wake.millis());
        while let Some((id, why)) = due.next(at(now)) {
            assert_eq!(why, Why::Due);
            assert!(id.raw() <= now);
            seen += 1;
            due.remove(id);
        }
    }
    assert_eq!((seen, due.counts().total()), (100_000, 0));
    assert!(due.hops.iter().all(Option::is_none));
}

/// Compares everything that is kept for speed with what the slots say.
fn check(due: &Due) {
    let mut counts = Counts::default();
    let mut trials = 0;
    let mut deadlines = Line::new();
    let mut lines: BTreeMap<Index, (Line, Line, usize, usize)> = BTreeMap::new();
    for (&id, slot) in &due.slots {
        *counts.of(slot.shown()) += 1;
        let (timed, parked, entries, in_flight) = lines.entry(slot.destination).or_default();
        *entries += 1;
        *in_flight += usize::from(slot.flight.counts());
        trials += usize::from(slot.flight == Flight::Trial);
        if slot.in_order() {
            let line = if slot.waits_for_hop { parked } else { timed };
            line.insert((slot.next_attempt, id));
            if slot.deadline != Timestamp::NEVER {
                deadlines.insert((slot.deadline, id));
            }
        }
    }
    assert_eq!(counts, due.counts);
    assert_eq!(deadlines, due.deadlines);
    assert_eq!(trials, due.trials);
    assert_eq!(lines.keys().copied().collect::<BTreeSet<_>>(), due.names.values().copied().collect());
    let mut places = 0;
    for (index, hop) in due.hops.iter().enumerate() {
        let index = index as Index;
        let Some(hop) = hop else {
            assert!(due.free.contains(&index));
            continue;
        };
        let (timed, parked, entries, in_flight) = &lines[&index];
        assert_eq!((timed, *entries, *in_flight), (&hop.timed, hop.entries, hop.in_flight));
        assert!(hop.parked.is_disjoint(&hop.released));
        assert_eq!(*parked, hop.parked.union(&hop.released).copied().collect());
        assert!(hop.probe.is_none_or(|id| due.slots[&id].flight != Flight::No));
        match (hop.place, hop.ready_at(due.limit)) {
            (Place::Nowhere, None) => {}
            (Place::Ring(turn), Some(_)) => {
                let ring = if hop.proven { &due.ring } else { &due.trial_ring };
                assert_eq!(ring.get(&turn), Some(&index));
            }
            (Place::At(at), Some(ready)) => assert!(at == ready && due.later.contains(&(at, index))),
            _ => panic!("a destination stands where it does not belong"),
        }
        places += usize::from(hop.place != Place::Nowhere);
    }
    assert_eq!(places, due.ring.len() + due.trial_ring.len() + due.later.len());
}

#[test]
fn any_sequence_of_operations_keeps_the_invariants() {
    let mut seed = 42u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let names = ["a.com", "b.com", "c.com"];
    let mut due = Due::new(2);
    due.set_trials(2);
    let mut flying = BTreeSet::new();
    let mut now = 0;
    let mut handed = 0;
    for _ in 0..20_000 {
        let name = names[random(3) as usize];
        let any = id(random(12));
        match random(14) {
            0..3 => {
                let state = [State::Due, State::Deferred, State::Deferred, State::Held][random(4) as usize];
                let deadline = if random(3) == 0 { Timestamp::NEVER } else { at(now + random(60)) };
                let next_attempt = at(now + random(30));
                due.put(any, Facts { state, deadline, next_attempt, waits_for_hop: random(2) == 0, ..facts(name, 0) });
            }
            3 => {
                due.remove(any);
                flying.remove(&any);
            }
            4..7 => {
                if let Some((id, why)) = due.next(at(now)) {
                    handed += 1;
                    assert!(flying.insert(id), "handed out twice");
                    assert!(due.trials <= 2);
                    let slot = &due.slots[&id];
                    assert!(why == Why::Due || slot.deadline <= at(now));
                }
            }
            7 => {
                if due.take(any).is_some() {
                    assert!(flying.insert(any), "handed out twice");
                }
            }
            8 => {
                if let Some(&any) = flying.iter().nth(random(4) as usize) {
                    due.land(any);
                    flying.remove(&any);
                }
            }
            9 => due.hop_down(&hop(name), at(now), at(now + random(40)), random(3) > 0),
            10 => due.hop_up(&hop(name)),
            11 => due.aside(any),
            12 => due.attempted(any),
            _ => now += random(20),
        }
        check(&due);
        let flights: BTreeSet<_> = due.slots.iter().filter(|(_, s)| s.flight != Flight::No).map(|(id, _)| *id).collect();
        assert_eq!(flights, flying);
        if let Some((_, id)) = due.deadlines.first().filter(|(t, _)| *t <= at(now)) {
            assert!(due.next_wake().is_some_and(|t| t <= at(now)), "{id} is late and nobody is woken");
        }
    }
    assert!(handed > 1000, "{handed}");
}
