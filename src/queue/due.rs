//! The due order: which entry is to be worked on next. In memory only, rebuilt at every start.
//!
//! Each destination keeps its waiting entries sorted by (next attempt, id). Destinations that have work now stand in a
//! ring and are served in turn, so that one with a million entries does not starve one with a single entry; the others
//! stand in an order of when they will have work. A second order holds the deadlines of all entries.
//!
//! Invariants
//! - An entry that is due or deferred and not in flight stands in exactly one line of its destination and, when it has
//!   a deadline, in the order of deadlines; one that is in flight, held or quarantined stands in neither.
//! - A destination has at most `limit` entries being attempted that were handed out because they were due; entries handed
//!   out for their deadline, or taken by name, are not counted, since they need not connect, nor are those whose outcome is
//!   known and on its way to the disk ([`Due::attempted`]).
//! - A destination that has not answered yet, or not since it failed, is on trial: it has one entry being attempted, and all
//!   of these together, but for those that wait for a silent peer ([`Due::aside`]), are at most `trials`. So silent
//!   destinations, however many, leave workers to those that answer.
//! - A destination that is down hands out nothing but one probe at a time, from `until` on; its deadlines are not
//!   affected.
//! - Every operation costs the logarithm of what waits, but for [`Due::hop_up`], which may cost the number of entries
//!   that waited for that hop when some of an earlier release are still there.
//! - A destination without entries is forgotten, with its health: names come from outside and are not collected.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::ident::EntryId;

use super::entry::{Destination, State};

/// What the order knows of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub destination: Destination,
    /// As it is on disk: never in flight.
    pub state: State,
    pub next_attempt: Timestamp,
    pub deadline: Timestamp,
    pub received: Timestamp,
    pub waits_for_hop: bool,
}

/// Why an entry was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its next attempt is due, and its destination can be tried.
    Due,
    /// Its deadline has passed: whether its destination is up does not matter.
    Deadline,
    /// Somebody asked for this one.
    Taken,
}

/// Whether a destination is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    /// Failing since; tried again from `until`, if at all.
    Down {
        since: Timestamp,
        until: Timestamp,
        probe: bool,
    },
}

/// How many entries are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    pub due: usize,
    pub in_flight: usize,
    pub deferred: usize,
    pub held: usize,
    pub quarantined: usize,
}

impl Counts {
    pub fn total(&self) -> usize {
        self.due + self.in_flight + self.deferred + self.held + self.quarantined
    }

    fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Due => &mut self.due,
            State::InFlight => &mut self.in_flight,
            State::Deferred => &mut self.deferred,
            State::Held => &mut self.held,
            State::Quarantined => &mut self.quarantined,
        }
    }
}

/// One line of the summary: a destination against the age of what waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub destination: Destination,
    pub health: Health,
    pub counts: Counts,
    /// Entries whose age in minutes is below each of [`AGES`], and those that are older; held ones count too.
    pub ages: [usize; AGES.len() + 1],
    pub oldest: Timestamp,
    /// When this destination will next be tried, if by itself.
    pub next: Option<Timestamp>,
}

/// Upper ends of the age columns, in minutes.
pub const AGES: [u64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1280];

type Index = u32;
type Line = BTreeSet<(Timestamp, EntryId)>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flight {
    No,
    /// Counts against the limit of its destination.
    Due,
    /// The same, and against the number of trials.
    Trial,
    /// Its peer is silent: counts against the limit of its destination, and is no trial any more.
    Aside,
    /// Does not count.
    Other,
}

impl Flight {
    fn counts(self) -> bool {
        matches!(self, Self::Due | Self::Trial | Self::Aside)
    }
}

struct Slot {
    destination: Index,
    state: State,
    waits_for_hop: bool,
    flight: Flight,
    next_attempt: Timestamp,
    deadline: Timestamp,
    received: Timestamp,
}

impl Slot {
    fn in_order(&self) -> bool {
        self.flight == Flight::No && matches!(self.state, State::Due | State::Deferred)
    }

    fn shown(&self) -> State {
        if self.flight == Flight::No { self.state } else { State::InFlight }
    }
}

/// Where a destination stands among destinations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// With this number in the ring.
    Ring(u64),
    At(Timestamp),
}

struct Hop {
    destination: Destination,
    /// Waiting for their time.
    timed: Line,
    /// Waiting for their time, or for the hop to come up.
    parked: Line,
    /// Was parked when the hop came up: due at once.
    released: Line,
    entries: usize,
    in_flight: usize,
    /// It has answered, and has not failed since.
    proven: bool,
    health: Health,
    probe: Option<EntryId>,
    place: Place,
}

impl Hop {
    /// When this hop can hand something out: `None` for not before something else happens.
    fn ready_at(&self, limit: usize) -> Option<Timestamp> {
        let first = |line: &Line| line.first().map(|(at, _)| *at);
        let earliest =
            if self.released.is_empty() { [&self.timed, &self.parked].into_iter().filter_map(first).min()? } else { Timestamp::default() };
        match self.health {
            Health::Up if self.in_flight < if self.proven { limit } else { 1 } => Some(earliest),
            Health::Down { until, probe: true, .. } if self.probe.is_none() => Some(earliest.max(until)),
            _ => None,
        }
    }

    /// The entry to hand out; the caller knows that there is one.
    fn first(&self) -> Option<EntryId> {
        let line = if self.released.is_empty() {
            [&self.timed, &self.parked].into_iter().filter_map(|l| l.first()).min()
        } else {
            self.released.first()
        };
        line.map(|(_, id)| *id)
    }
}

/// See the module.
pub struct Due {
    limit: usize,
    slots: HashMap<EntryId, Slot>,
    hops: Vec<Option<Hop>>,
    free: Vec<Index>,
    names: HashMap<String, Index>,
    /// Destinations with work now, in the order of their turns: proven ones, and those on trial.
    ring: BTreeMap<u64, Index>,
    trial_ring: BTreeMap<u64, Index>,
    /// Entries in flight that are trials, and how many may be.
    trials: usize,
    max_trials: usize,
    /// Turns given out so far.
    turns: u64,
    /// Destinations with work later.
    later: BTreeSet<(Timestamp, Index)>,
    deadlines: Line,
    counts: Counts,
    /// Whether the last entry was handed out for its deadline: the two orders take turns.
    last_was_deadline: bool,
}

impl Due {
    /// `limit`: entries in flight for one destination, at least 1.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            slots: HashMap::new(),
            hops: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            ring: BTreeMap::new(),
            trial_ring: BTreeMap::new(),
            trials: 0,
            max_trials: usize::MAX,
            turns: 0,
            later: BTreeSet::new(),
            deadlines: Line::new(),
            counts: Counts::default(),
            last_was_deadline: false,
        }
    }

    /// A new limit, from a reloaded configuration.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
        let hops: Vec<Index> = self.names.values().copied().collect();
        for hop in hops {
            self.place(hop);
        }
    }

    /// How many entries may be attempted at a time for destinations on trial, at least 1.
    pub fn set_trials(&mut self, trials: usize) {
        self.max_trials = trials.max(1);
    }

    /// Puts an entry in, or changes what is known of it. One that is in flight stays so.
    pub fn put(&mut self, id: EntryId, facts: Facts) {
        let flight = self.slots.get(&id).map_or(Flight::No, |slot| slot.flight);
        let hop = self.intern(facts.destination);
        // Counted before the old slot lets go, so that a hop with this one entry keeps its health.
        self.hop(hop).entries += 1;
        let old = self.forget(id);
        let flight = match (flight, &old) {
            // A flight is counted at the hop it left from.
            (flight, Some(slot)) if flight.counts() && slot.destination != hop => Flight::Other,
            (flight, _) => flight,
        };
        self.begin_flight(hop, flight);
        let slot = Slot {
            destination: hop,
            state: facts.state,
            waits_for_hop: facts.waits_for_hop,
            flight,
            next_attempt: facts.next_attempt,
            deadline: facts.deadline,
            received: facts.received,
        };
        *self.counts.of(slot.shown()) += 1;
        self.enter(id, &slot);
        self.slots.insert(id, slot);
        self.place(hop);
    }

    /// Takes an entry out. Whether it was there.
    pub fn remove(&mut self, id: EntryId) -> bool {
        self.forget(id).is_some()
    }

    /// The next entry to work on, now in flight.
    pub fn next(&mut self, now: Timestamp) -> Option<(EntryId, Why)> {
        let late = self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id);
        let due = |this: &mut Self| this.next_due(now).map(|id| (id, Why::Due));
        let found = match late {
            Some(id) if !self.last_was_deadline => Some((id, Why::Deadline)),
            Some(id) => due(self).or(Some((id, Why::Deadline))),
            None => due(self),
        };
        let (id, why) = found?;
        self.last_was_deadline = why == Why::Deadline;
        let proven = self.slots.get(&id).is_some_and(|slot| self.hops[slot.destination as usize].as_ref().is_some_and(|hop| hop.proven));
        self.launch(
            id,
            if why != Why::Due {
                Flight::Other
            } else if proven {
                Flight::Due
            } else {
                Flight::Trial
            },
        );
        // An entry that is both is looked at for its deadline: that may end it.
        let late = self.slots.get(&id).is_some_and(|slot| slot.deadline <= now);
        Some((id, if late { Why::Deadline } else { why }))
    }

    /// Takes this entry, whatever its state or time; `None` when it is in flight or not there.
    pub fn take(&mut self, id: EntryId) -> Option<()> {
        self.slots.get(&id).filter(|slot| slot.flight == Flight::No)?;
        self.launch(id, Flight::Other);
        Some(())
    }

    /// The attempt at this entry waits for a silent peer and occupies no worker.
    pub fn aside(&mut self, id: EntryId) {
        self.refly(id, Flight::Aside);
    }

    /// The attempt at this entry is over. It stays in flight until its outcome is on disk, but its destination has room
    /// again.
    pub fn attempted(&mut self, id: EntryId) {
        self.refly(id, Flight::Other);
    }

    /// Ends the flight of an entry; what is known of it is as before, or as a [`Due::put`] has changed it meanwhile.
    pub fn land(&mut self, id: EntryId) {
        let Some(mut slot) = self.slots.remove(&id) else { return };
        let hop = slot.destination;
        if slot.flight != Flight::No {
            *self.counts.of(slot.shown()) -= 1;
            self.end_flight(id, &slot);
            slot.flight = Flight::No;
            *self.counts.of(slot.shown()) += 1;
            self.enter(id, &slot);
        }
        self.slots.insert(id, slot);
        self.place(hop);
    }

    /// Not before `at`: for an entry whose outcome could not be recorded.
    pub fn postpone(&mut self, id: EntryId, at: Timestamp) {
        let Some(mut slot) = self.slots.remove(&id) else { return };
        self.leave(id, &slot);
        slot.next_attempt = slot.next_attempt.max(at);
        // A deadline that has passed would bring it back at once.
        slot.deadline = slot.deadline.max(at);
        if slot.in_order() {
            self.enter(id, &slot);
        }
        let hop = slot.destination;
        self.slots.insert(id, slot);
        self.place(hop);
    }

    /// Hands an entry that is in flight out no more, until something is put for it.
    pub fn hold(&mut self, id: EntryId) {
        if let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.flight != Flight::No) {
            slot.state = State::Held;
        }
    }

    pub fn hop_down(&mut self, destination: &Destination, now: Timestamp, until: Timestamp, probe: bool) {
        let Some(&index) = self.names.get(&destination.key()) else { return };
        let hop = self.hop(index);
        let since = match hop.health {
            Health::Down { since, .. } => since,
            Health::Up => now,
        };
        hop.health = Health::Down { since, until, probe };
        self.prove(index, false);
        self.place(index);
    }

    /// Releases what waited for this hop.
    pub fn hop_up(&mut self, destination: &Destination) {
        let Some(&index) = self.names.get(&destination.key()) else { return };
        let hop = self.hop(index);
        hop.health = Health::Up;
        hop.probe = None;
        if hop.released.is_empty() {
            hop.released = std::mem::take(&mut hop.parked);
        } else {
            hop.released.append(&mut hop.parked);
        }
        self.prove(index, true);
        self.place(index);
    }

    pub fn health(&self, destination: &Destination) -> Health {
        let hop = self.names.get(&destination.key()).and_then(|&index| self.hops[index as usize].as_ref());
        hop.map_or(Health::Up, |hop| hop.health)
    }

    /// When [`Due::next`] will have something; a time that has passed means now.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if !self.ring.is_empty() || !self.trial_ring.is_empty() && self.trials < self.max_trials {
            return Some(Timestamp::default());
        }
        let later = self.later.first().map(|(at, _)| *at);
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        later.into_iter().chain(deadline).min()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The state to show of an entry: in flight when it is.
    pub fn state(&self, id: EntryId) -> Option<State> {
        self.slots.get(&id).map(Slot::shown)
    }

    /// The state that the entry has on disk.
    pub fn durable_state(&self, id: EntryId) -> Option<State> {
        self.slots.get(&id).map(|slot| slot.state)
    }

    /// One line a destination, those with the most entries first.
    pub fn summary(&self, now: Timestamp) -> Vec<Summary> {
        let mut lines: BTreeMap<Index, Summary> = BTreeMap::new();
        for slot in self.slots.values() {
            let Some(hop) = self.hops[slot.destination as usize].as_ref() else { continue };
            let line = lines.entry(slot.destination).or_insert_with(|| Summary {
                destination: hop.destination.clone(),
                health: hop.health,
                counts: Counts::default(),
                ages: [0; AGES.len() + 1],
                oldest: Timestamp::NEVER,
                next: hop.ready_at(self.limit),
            });
            *line.counts.of(slot.shown()) += 1;
            let minutes = now.since(slot.received).as_secs() / 60;
            line.ages[AGES.iter().position(|end| minutes < *end).unwrap_or(AGES.len())] += 1;
            line.oldest = line.oldest.min(slot.received);
        }
        let mut lines: Vec<_> = lines.into_values().collect();
        lines.sort_by_key(|line| (std::cmp::Reverse(line.counts.total()), line.destination.key()));
        lines
    }

    fn next_due(&mut self, now: Timestamp) -> Option<EntryId> {
        while let Some(&(at, index)) = self.later.first() {
            if at > now {
                break;
            }
            self.later.pop_first();
            self.turns += 1;
            let turn = self.turns;
            let hop = self.hop(index);
            hop.place = Place::Ring(turn);
            let proven = hop.proven;
            self.ring_of(proven).insert(turn, index);
        }
        while let Some(index) = self.take_turn() {
            let limit = self.limit;
            let hop = self.hop(index);
            hop.place = Place::Nowhere;
            if hop.ready_at(limit).is_some_and(|at| at <= now) {
                let id = hop.first()?;
                if hop.health != Health::Up {
                    hop.probe = Some(id);
                }
                return Some(id);
            }
            self.place(index);
        }
        None
    }

    /// The destination whose turn it is, out of its ring.
    fn take_turn(&mut self) -> Option<Index> {
        let first = |ring: &BTreeMap<u64, Index>| ring.first_key_value().map(|(turn, _)| *turn);
        let trial = first(&self.trial_ring).filter(|_| self.trials < self.max_trials);
        let proven = match (first(&self.ring), trial) {
            (Some(proven), Some(trial)) => proven < trial,
            (proven, _) => proven.is_some(),
        };
        if !proven && trial.is_none() {
            return None;
        }
        self.ring_of(proven).pop_first().map(|(_, index)| index)
    }

    fn ring_of(&mut self, proven: bool) -> &mut BTreeMap<u64, Index> {
        if proven { &mut self.ring } else { &mut self.trial_ring }
    }

    /// Whether a destination is on trial decides in which ring it stands.
    fn prove(&mut self, index: Index, proven: bool) {
        let hop = self.hop(index);
        let before = std::mem::replace(&mut hop.proven, proven);
        if let (Place::Ring(turn), true) = (hop.place, before != proven) {
            self.ring_of(before).remove(&turn);
            self.ring_of(proven).insert(turn, index);
        }
    }

    fn refly(&mut self, id: EntryId, flight: Flight) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.flight.counts()) else { return };
        let before = std::mem::replace(&mut slot.flight, flight);
        let hop = slot.destination;
        self.uncount(hop, before);
        self.begin_flight(hop, flight);
        self.place(hop);
    }

    fn begin_flight(&mut self, index: Index, flight: Flight) {
        if flight == Flight::Trial {
            self.trials += 1;
        }
        self.hop(index).in_flight += usize::from(flight.counts());
    }

    fn uncount(&mut self, index: Index, flight: Flight) {
        if flight == Flight::Trial {
            self.trials -= 1;
        }
        self.hop(index).in_flight -= usize::from(flight.counts());
    }

    fn launch(&mut self, id: EntryId, flight: Flight) {
        let Some(mut slot) = self.slots.remove(&id) else { return };
        let hop = slot.destination;
        *self.counts.of(slot.shown()) -= 1;
        self.leave(id, &slot);
        slot.flight = flight;
        self.counts.in_flight += 1;
        self.begin_flight(hop, flight);
        self.slots.insert(id, slot);
        self.place(hop);
    }

    fn end_flight(&mut self, id: EntryId, slot: &Slot) {
        self.uncount(slot.destination, slot.flight);
        let hop = self.hop(slot.destination);
        if hop.probe == Some(id) {
            hop.probe = None;
        }
    }

    /// Removes the slot from everything, and its destination when this was its last entry.
    fn forget(&mut self, id: EntryId) -> Option<Slot> {
        let slot = self.slots.remove(&id)?;
        *self.counts.of(slot.shown()) -= 1;
        self.leave(id, &slot);
        self.end_flight(id, &slot);
        let index = slot.destination;
        let hop = self.hop(index);
        hop.entries -= 1;
        if hop.entries > 0 {
            self.place(index);
            return Some(slot);
        }
        let (key, place) = (hop.destination.key(), hop.place);
        self.unplace(index, place);
        self.names.remove(&key);
        self.hops[index as usize] = None;
        self.free.push(index);
        Some(slot)
    }

    /// Into the lines, when it belongs there.
    fn enter(&mut self, id: EntryId, slot: &Slot) {
        if !slot.in_order() {
            return;
        }
        let at = (slot.next_attempt, id);
        let hop = self.hop(slot.destination);
        if slot.waits_for_hop {
            hop.parked.insert(at)
        } else {
            hop.timed.insert(at)
        };
        if slot.deadline != Timestamp::NEVER {
            self.deadlines.insert((slot.deadline, id));
        }
    }

    fn leave(&mut self, id: EntryId, slot: &Slot) {
        if !slot.in_order() {
            return;
        }
        let at = (slot.next_attempt, id);
        let hop = self.hop(slot.destination);
        if slot.waits_for_hop {
            let _ = hop.parked.remove(&at) || hop.released.remove(&at);
        } else {
            hop.timed.remove(&at);
        }
        self.deadlines.remove(&(slot.deadline, id));
    }

    /// Puts a destination where it belongs among destinations.
    fn place(&mut self, index: Index) {
        let limit = self.limit;
        let Some(hop) = self.hops[index as usize].as_mut() else { return };
        let old = hop.place;
        let new = hop.ready_at(limit);
        if matches!(old, Place::Ring(_)) && new.is_some() {
            // It keeps its turn; whether its time has come is seen when the turn comes.
            return;
        }
        if new.map(Place::At) == Some(old) || (new.is_none() && old == Place::Nowhere) {
            return;
        }
        hop.place = new.map_or(Place::Nowhere, Place::At);
        self.unplace(index, old);
        if let Some(at) = new {
            self.later.insert((at, index));
        }
    }

    fn unplace(&mut self, index: Index, place: Place) {
        match place {
            Place::At(at) => {
                self.later.remove(&(at, index));
            }
            Place::Ring(turn) => {
                self.ring.remove(&turn);
                self.trial_ring.remove(&turn);
            }
            Place::Nowhere => {}
        }
    }

    fn intern(&mut self, destination: Destination) -> Index {
        let key = destination.key();
        if let Some(&index) = self.names.get(&key) {
            return index;
        }
        let hop = Hop {
            destination,
            timed: Line::new(),
            parked: Line::new(),
            released: Line::new(),
            entries: 0,
            in_flight: 0,
            proven: false,
            health: Health::Up,
            probe: None,
            place: Place::Nowhere,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.hops.push(None);
            Index::try_from(self.hops.len() - 1).expect("memory ends before four thousand million destinations")
        });
        self.hops[index as usize] = Some(hop);
        self.names.insert(key, index);
        index
    }

    fn hop(&mut self, index: Index) -> &mut Hop {
        self.hops[index as usize].as_mut().expect("an index in a slot or a name is that of a destination with entries")
    }
}

#[cfg(test)]
#[path = "due_tests.rs"]
mod tests;
