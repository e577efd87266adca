//! What became of each line of an object: a counterpart that says the same, a line that carries it, a listed loss, or
//! nothing. Decided by comparing the two objects, never by asking the translator.

use cip_relay::calendar::convert::{Done, Loss};

use super::alarms::{self, alarms};
use super::canon::{self, Value, readings};
use super::moments::{Point, Side};
use super::people;
use super::reader::{self, Line, Node};

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Kept,
    Carried,
    Approximated,
    Said,
    LeftOut,
    Unexplained(String),
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub property: String,
    pub line: usize,
    pub outcome: Outcome,
}

/// Judges every line of `source` by what stands in `target`.
pub fn compare(source: &Side, target: &Side, losses: &[Loss]) -> Vec<Finding> {
    let pairs = pair(source.root, target.root);
    let floating = Side::floating(target.root, target.octets);
    let mut check =
        Check { floating: &floating, source, target, losses, pairs: &pairs, carried: carried(target.root), uid: None, found: Vec::new() };
    check.calendar();
    for (event, there) in &pairs {
        check.uid = event.first("UID").map(Line::text);
        check.event(event, *there);
    }
    check.found
}

type Pairs<'a> = Vec<(&'a Node, Option<&'a Node>)>;

/// Each event with the one that stands for it: the same UID, instance, start, text, or failing all the same place.
fn pair<'a>(source: &'a Node, target: &'a Node) -> Pairs<'a> {
    let text = |n: &Node, name: &str| n.first(name).map(|l| l.raw().trim().to_owned());
    let mut free: Vec<Option<&Node>> = target.events().map(Some).collect();
    let mut pairs = Vec::new();
    for (i, event) in source.events().enumerate() {
        let series = |t: &Node| text(t, "X-CIP-SERIES").zip(text(event, "UID")).is_some_and(|(s, u)| s.starts_with(&u));
        let back = |t: &Node| text(event, "X-CIP-SERIES").zip(text(t, "UID")).is_some_and(|(s, u)| s.starts_with(&u));
        let score = |at: usize, t: &Node| {
            let equal = |name: &str| text(event, name).is_some() && text(event, name) == text(t, name);
            let part = text(event, "RECURRENCE-ID").is_some() == (text(t, "RECURRENCE-ID").is_some() || text(t, "X-CIP-SERIES").is_some());
            u32::from(equal("UID")) * 16
                + u32::from(series(t) || back(t)) * 16
                + u32::from(part) * 8
                + u32::from(equal("RECURRENCE-ID")) * 8
                + u32::from(equal("DTSTART")) * 4
                + u32::from(equal("SUMMARY")) * 2
                + u32::from(at == i)
        };
        let fits = free.iter().enumerate().filter_map(|(at, t)| t.filter(|t| t.name == event.name).map(|t| (at, score(at, t))));
        // An instance is no counterpart of the series, nor the other way round.
        let best = fits.filter(|(_, score)| *score >= 8).max_by_key(|(_, score)| *score).map(|(at, _)| at);
        pairs.push((event, best.and_then(|at| free[at].take())));
    }
    pairs
}

struct Check<'a> {
    source: &'a Side<'a>,
    target: &'a Side<'a>,
    floating: &'a Side<'a>,
    losses: &'a [Loss],
    pairs: &'a Pairs<'a>,
    /// The lines that carriers of the target hold.
    carried: Vec<Line>,
    uid: Option<String>,
    found: Vec<Finding>,
}

impl<'a> Check<'a> {
    fn note(&mut self, line: &Line, outcome: Outcome) {
        self.found.push(Finding { property: line.name.clone(), line: line.number, outcome });
    }

    /// A listed loss under one of these names, for this event or for none in particular.
    fn loss(&self, names: &[&str]) -> Option<Outcome> {
        let about = |l: &&Loss| l.uid.is_none() || self.uid.is_none() || l.uid == self.uid;
        let named = |l: &&Loss| names.iter().any(|n| l.property.split(';').next().is_some_and(|p| p.eq_ignore_ascii_case(n)));
        self.losses.iter().filter(about).find(named).map(|loss| match loss.done {
            Done::Carried(_) => Outcome::Carried,
            Done::Dates(_) | Done::Approximated(_) => Outcome::Approximated,
            Done::Said => Outcome::Said,
            Done::LeftOut => Outcome::LeftOut,
        })
    }

    /// The outcome of a line that has no counterpart.
    fn lost(&self, names: &[&str], reason: impl FnOnce() -> String) -> Outcome {
        self.loss(names).unwrap_or_else(|| Outcome::Unexplained(reason()))
    }

    /// The calendar's own lines and what stands beside its events.
    fn calendar(&mut self) {
        for line in &self.source.root.lines {
            let outcome = match line.name.as_str() {
                // The translator signs its own work; times show whether the zone arrived.
                "PRODID" | "VERSION" | "TZ" | "DAYLIGHT" => Outcome::Kept,
                "CALSCALE" if line.raw().trim().eq_ignore_ascii_case("GREGORIAN") => Outcome::Kept,
                _ => self.text_line(line, self.target.root),
            };
            self.note(line, outcome);
        }
        let events = ["VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VTIMEZONE"];
        for child in self.source.root.children.iter().filter(|c| !events.contains(&c.name.as_str())) {
            let found = self.component(child);
            self.found.extend(found);
        }
    }

    fn event(&mut self, event: &Node, there: Option<&Node>) {
        let own = there.is_some();
        let Some(there) = there.or_else(|| self.cancelled(event)) else {
            let found = self.component(event);
            self.found.extend(found);
            return;
        };
        for line in &event.lines {
            if alarms::LINES.contains(&line.name.as_str()) {
                continue;
            }
            let outcome = self.line(line, event, there);
            self.note(line, outcome);
        }
        self.alarms(event, there);
        // A series that stands for an instance of it has people of its own.
        if own {
            self.invented(event, there);
        }
        for child in event.children.iter().filter(|c| c.name != "VALARM") {
            let found = self.component(child);
            self.found.extend(found);
        }
    }

    /// Whether `there` is the series that says that this instance of it does not take place.
    fn cancels(&self, event: &Node, there: &Node) -> bool {
        let Some(instance) = event.first("RECURRENCE-ID") else { return false };
        let point = self.source.point(instance.raw().trim(), &instance.params);
        let status = event.first("STATUS").is_some_and(|l| l.raw().trim().to_ascii_uppercase().starts_with("CANCEL"));
        let named = |l: &Line| l.raw().split([';', '\\']).next().is_some_and(|at| self.target.point(at, &[]) == point);
        status && there.all("X-CIP-CANCELLED").any(named)
    }

    /// The series in vCalendar that stands for a cancelled instance: it has an EXDATE, and X-CIP-CANCELLED.
    fn cancelled(&self, event: &Node) -> Option<&'a Node> {
        let target: &'a Side<'a> = self.target;
        target.root.events().find(|there| self.cancels(event, there))
    }

    /// A component without counterpart: it is lost as a whole.
    fn component(&self, node: &Node) -> Vec<Finding> {
        let stands = |line: &Line| {
            let same = |l: &Line| l.name == line.name && readings(&l.raw()) == readings(&line.raw());
            self.target.root.children.iter().filter(|c| c.name == node.name).any(|c| c.lines.iter().any(same))
        };
        let outcome = |line: &Line| {
            let held = stands(line).then_some(Outcome::Kept).or_else(|| self.carries(line).then_some(Outcome::Carried));
            held.unwrap_or_else(|| self.lost(&[&node.name, &line.name], || format!("the {} has no counterpart", node.name)))
        };
        let own = node.lines.iter().map(|l| Finding { property: format!("{}/{}", node.name, l.name), line: l.number, outcome: outcome(l) });
        own.chain(node.children.iter().flat_map(|c| self.component(c))).collect()
    }

    fn line(&self, line: &Line, event: &Node, there: &Node) -> Outcome {
        match line.name.as_str() {
            "DTSTART" | "DTEND" | "DUE" | "DURATION" => self.bound(line, event, there),
            "RRULE" | "EXRULE" | "RDATE" | "EXDATE" | "RNUM" => self.rule(line, event),
            "ATTENDEE" | "ORGANIZER" => match people::missing(line, there) {
                missing if missing.is_empty() => Outcome::Kept,
                missing => {
                    if self.carries(line) {
                        return Outcome::Carried;
                    }
                    let names: Vec<&str> = ["ATTENDEE", "ORGANIZER"].into_iter().chain(missing.iter().map(String::as_str)).collect();
                    self.lost(&names, || format!("{} of {}", missing.join(", "), line.raw().trim()))
                }
            },
            // Phones write TZ inside the event; times show whether the zone arrived.
            "PRODID" | "TZ" | "DAYLIGHT" => Outcome::Kept,
            // All of them stand in the X-CIP-CANCELLED that made `there` the counterpart.
            "RECURRENCE-ID" | "SEQUENCE" | "STATUS" | "DTSTAMP" if self.cancels(event, there) => Outcome::Kept,
            "UID" | "RECURRENCE-ID" if self.series(line, event, there) => Outcome::Kept,
            _ => self.text_line(line, there),
        }
    }

    /// vCalendar names an instance by X-CIP-SERIES, `uid;recurrence-id`.
    fn series(&self, line: &Line, event: &Node, there: &Node) -> bool {
        let uid = event.first("UID").map(Line::text).unwrap_or_default();
        let at = |l: &Line| l.raw().rsplit_once(';').map(|(_, at)| at.trim().to_owned());
        there.all("X-CIP-SERIES").any(|l| {
            let text = at(l).unwrap_or_default();
            let point = self.source.point(line.raw().trim(), &line.params);
            let same = || self.side_of(Some(&point)).point(&text, &[]) == point || day(&text) == day(line.raw().trim());
            l.raw().starts_with(&uid) && (line.name == "UID" || same())
        })
    }

    /// How the target is to be read for an event with this start.
    fn side_of(&self, start: Option<&Point>) -> &'a Side<'a> {
        let local = !self.target.modern() && start.is_some_and(Point::is_local);
        if local { self.floating } else { self.target }
    }

    fn bound(&self, line: &Line, event: &Node, there: &Node) -> Outcome {
        let here = self.source.bounds(event);
        let other = self.side_of(here.0.as_ref().or(here.1.as_ref())).bounds(there);
        let (mine, theirs) = if line.name == "DTSTART" { (here.0.clone(), other.0) } else { (here.1, other.1) };
        // An end that says what its absence says.
        let implied = line.name != "DTSTART"
            && theirs.is_none()
            && mine.is_some()
            && (mine == here.0 || mine == here.0.as_ref().map(|s| s.later(86_400)));
        // What is no time can still stand as it is.
        let verbatim = || mine.is_none() && there.all(&line.name).any(|l| readings(&l.raw()) == readings(&line.raw()));
        if mine.is_some() && mine == theirs || implied || verbatim() {
            return Outcome::Kept;
        }
        if self.carries(line) {
            return Outcome::Carried;
        }
        self.lost(&[&line.name, "DTSTART", "DTEND", "DURATION", "TZID", "VTIMEZONE", "TZ"], || format!("{mine:?} became {theirs:?}"))
    }

    fn rule(&self, line: &Line, event: &Node) -> Outcome {
        if line.raw().trim().is_empty() {
            return Outcome::Kept;
        }
        let uid = event.first("UID").map(Line::text);
        let of_uid = |e: &&Node| uid.is_none() && std::ptr::eq(*e, event) || uid.is_some() && e.first("UID").map(Line::text) == uid;
        let here: Vec<&Node> = self.pairs.iter().map(|(e, _)| *e).filter(of_uid).collect();
        let there: Vec<&Node> = self.pairs.iter().filter(|(e, _)| of_uid(e)).filter_map(|(_, t)| *t).collect();
        let (mine, side) = (self.source.instances(&here), self.side_of(self.source.bounds(event).0.as_ref()));
        let theirs = side.instances(&there);
        // Without a start there are no instances; the line itself must be there then.
        let named = || self.pairs.iter().filter(|(e, _)| of_uid(e)).filter_map(|(_, t)| *t).any(|t| t.first(&line.name).is_some());
        if mine == theirs && (!mine.is_empty() || named()) {
            return Outcome::Kept;
        }
        if self.carries(line) {
            return Outcome::Carried;
        }
        let names = [line.name.as_str(), "RRULE", "EXRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "VTIMEZONE", "TZID", "DTSTART"];
        self.lost(&names, || {
            let first = |a: &std::collections::BTreeSet<Point>, b: &std::collections::BTreeSet<Point>| a.difference(b).next().cloned();
            format!(
                "{} instances became {}; first gone {:?}, first new {:?}",
                mine.len(),
                theirs.len(),
                first(&mine, &theirs),
                first(&theirs, &mine)
            )
        })
    }

    /// A line whose counterpart is one line, or several that list parts of it.
    fn text_line(&self, line: &Line, there: &Node) -> Outcome {
        let (name, value) = (canon::name(line), canon::value(line, self.source));
        let counterparts: Vec<&Line> = there.lines.iter().filter(|l| canon::name(l) == name).collect();
        let same = |l: &&&Line| {
            let other = canon::value(l, self.target);
            // An instance of an all-day series is a day, however its writer named it.
            let days = || name == "RECURRENCE-ID" && day(l.raw().trim()) == day(line.raw().trim());
            value.same(&other) || days() || name == "DESCRIPTION" && value.starts(&other)
        };
        let listed = || match &value {
            Value::List(items) => items
                .iter()
                .all(|i| counterparts.iter().any(|l| matches!(canon::value(l, self.target), Value::List(others) if others.contains(i)))),
            _ => false,
        };
        let found = counterparts.iter().find(same);
        if value.is_empty() {
            return Outcome::Kept;
        }
        if self.carries(line) {
            return Outcome::Carried;
        }
        match found {
            None if listed() => Outcome::Kept,
            None => self.lost(&[&line.name, name], || {
                let others: Vec<String> = counterparts.iter().map(|l| clip(&l.raw())).collect();
                format!(
                    "{:?} has no counterpart{}",
                    clip(&line.raw()),
                    if others.is_empty() { String::new() } else { format!(" among {others:?}") }
                )
            }),
            Some(other) => self.parameters(line, other),
        }
    }

    /// Parameters that say more than how the value is written.
    fn parameters(&self, line: &Line, other: &Line) -> Outcome {
        let plain = ["", "CHARSET", "ENCODING", "VALUE", "TZID", "TYPE", "FMTTYPE"];
        for (name, value) in line.params.iter().filter(|(n, v)| !plain.contains(&n.as_str()) && !v.is_empty()) {
            let carried = format!("X-CIP-{name}");
            if !other.params.iter().any(|(n, v)| (n == name || *n == carried) && v.eq_ignore_ascii_case(value)) {
                return self.lost(&[&line.name, name], || format!("its parameter {name}={} is gone", clip(value)));
            }
        }
        Outcome::Kept
    }

    /// Whether some line of the target carries this one whole.
    fn carries(&self, line: &Line) -> bool {
        let mine = readings(&line.raw());
        let same = |inner: &Line| inner.name == line.name && readings(&inner.raw()).iter().any(|t| mine.contains(t));
        self.carried.iter().any(same)
    }

    fn alarms(&mut self, event: &Node, there: &Node) {
        let (here, others) = (alarms(event, self.source), alarms(there, self.target));
        for alarm in here {
            let outcome = match others.iter().filter(|o| alarm.same(o)).min_by_key(|o| alarm.missing(o).len()) {
                Some(other) => match alarm.missing(other) {
                    missing if missing.is_empty() => Outcome::Kept,
                    missing => {
                        let names: Vec<&str> = [alarm.name, "VALARM"].into_iter().chain(missing.iter().map(String::as_str)).collect();
                        self.lost(&names, || format!("{} of the {} alarm", missing.join(", "), alarm.action))
                    }
                },
                None => self.lost(&[alarm.name, "VALARM"], || format!("no {} alarm at {:?}", alarm.action, alarm.at)),
            };
            let outcome = match outcome {
                Outcome::Unexplained(_) if alarm.lines.iter().all(|l| self.carries(l)) => Outcome::Carried,
                other => other,
            };
            self.found.push(Finding { property: alarm.name.to_owned(), line: 0, outcome });
        }
    }

    /// People whom the source does not name.
    fn invented(&mut self, event: &Node, there: &Node) {
        let known = people::people(event);
        // Who has no address in the one format is known by his name in the other.
        let names = known.iter().filter_map(|p| p.name.as_ref()).map(|n| n.to_lowercase());
        let mut here: Vec<String> = known.iter().map(|p| p.address.clone()).chain(names).collect();
        // A delegate is a further attendee (bridge 2).
        here.extend(people::delegates(event));
        for person in people::people(there).into_iter().filter(|p| !p.address.is_empty() && !here.contains(&p.address)) {
            let outcome = Outcome::Unexplained(format!("{} is not in the source", person.address));
            self.found.push(Finding { property: "ATTENDEE".to_owned(), line: 0, outcome });
        }
    }
}

pub fn clip(text: &str) -> String {
    text.trim().chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The content lines inside X-CIP-ICAL and X-CIP-VCAL, wherever they stand.
fn carried(node: &Node) -> Vec<Line> {
    let carriers = node.lines.iter().filter(|l| matches!(l.name.as_str(), "X-CIP-ICAL" | "X-CIP-VCAL"));
    let texts = carriers.flat_map(|l| [l.raw(), l.text()]);
    let mut all: Vec<Line> = texts.flat_map(|t| t.lines().filter_map(|line| reader::parse(line.as_bytes())).collect::<Vec<_>>()).collect();
    all.extend(node.children.iter().flat_map(carried));
    all
}

/// A date, or a midnight as the date that it begins.
fn day(text: &str) -> &str {
    text.strip_suffix("T000000").unwrap_or(text)
}
