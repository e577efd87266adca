//! The rows of a mail about an event: what, when, where, how often, who (bridge 5).
//!
//! Invariant: of a sender who is not known nobody's name is shown, and nothing that would be a link.

use crate::calendar::event::{Component, Event, EventStatus, Moment, PartStat, Person};
use crate::calendar::{Shown, in_zone_of};
use crate::ident::UserId;
use crate::imip::compose::changes::Changes;
use crate::imip::compose::page::{Page, Section, paragraphs, person, words as one_line};
use crate::imip::compose::words::{Label, Progress, Seat, Sort, Words};
use crate::imip::compose::{Envelope, repeats, when};

/// With more attendees than this only owner and recipient are listed (bridge 5).
pub const MAX_LISTED: usize = 200;

/// What the mail tells of the event: from the object that goes out, where that says it better than the one that came.
pub(crate) struct Told<'a> {
    pub words: &'static dyn Words,
    pub envelope: &'a Envelope<'a>,
    /// Beside each event of the object that goes out.
    pub shown: Vec<Shown>,
    start: Option<&'a Moment>,
    end: Option<&'a Moment>,
}

impl<'a> Told<'a> {
    pub fn new(envelope: &'a Envelope<'a>) -> Self {
        let (came, goes) = (envelope.event, envelope.calendar.event());
        // The object may say in UTC what came with the sender's own time.
        let only_utc = matches!(&goes.start, Some(Moment::Utc { offset_minutes: None | Some(0), .. }))
            && goes.start.as_ref().and_then(Moment::instant) == came.start.as_ref().and_then(Moment::instant);
        let (start, end) = match &goes.start {
            Some(start) if !only_utc => (Some(start), goes.end.as_ref()),
            _ => (came.start.as_ref(), came.end.as_ref()),
        };
        Self { words: envelope.language.words(), envelope, shown: envelope.calendar.shown(), start, end }
    }

    pub fn component(&self) -> Component {
        self.envelope.event.component
    }

    pub fn summary(&self) -> String {
        let event = self.envelope.event;
        let summary = event.summary.as_deref().map(one_line).filter(|s| !s.is_empty());
        summary.unwrap_or_else(|| self.words.untitled(event.component).to_owned())
    }

    /// The day of the one instance that this is about; `None`: the whole, or several.
    pub fn instance(&self) -> Option<chrono::NaiveDate> {
        let calendar = self.envelope.calendar;
        if calendar.event().recurrence_id.is_none() || calendar.events().len() > 1 {
            return None;
        }
        let date = self.shown.first()?.instance.as_ref()?;
        Some(when::day(&self.start.map_or_else(|| date.clone(), |start| in_zone_of(date, start))))
    }

    /// Several instances and no series.
    fn scattered(&self) -> bool {
        let events = self.envelope.calendar.events();
        events.len() > 1 && events[0].recurrence_id.is_some()
    }

    /// What, when, how often, where.
    pub fn rows(&self, page: &mut Page, changes: &Changes<'_>) {
        let words = self.words;
        let event = self.envelope.event;
        let mut row = |label: Label, lines: Vec<String>| page.row(words.label(label), lines, changes.of(label));
        row(Label::What, vec![self.summary()]);
        if self.component() == Component::Todo {
            let moment = |m: Option<&Moment>| m.map(|m| when::lines(words, m, None)).unwrap_or_default();
            row(Label::Starts, moment(self.start));
            row(Label::Due, moment(self.end));
            row(Label::Done, self.progress().map(|p| words.progress(p)).into_iter().collect());
        } else if !self.scattered() {
            row(Label::When, self.start.map(|start| when::lines(words, start, self.end)).unwrap_or_default());
        }
        let goes = self.envelope.calendar.event();
        let repeats = match (self.start, self.shown.first()) {
            (Some(start), Some(shown)) => repeats::lines(words, &goes.rules, start, shown),
            _ => Vec::new(),
        };
        row(Label::Repeats, repeats);
        row(Label::Where, event.location.iter().map(|l| one_line(l)).filter(|l| !l.is_empty()).collect());
        if event.status == Some(EventStatus::Tentative) {
            row(Label::Status, vec![words.tentative().to_owned()]);
        }
    }

    fn progress(&self) -> Option<Progress> {
        let shown = self.shown.first()?;
        let status = self.envelope.event.status;
        let progress = Progress {
            percent: shown.percent,
            completed: status == Some(EventStatus::Completed) || shown.completed.is_some() || shown.percent == Some(100),
            started: status == Some(EventStatus::InProcess),
            on: shown.completed.as_ref().map(when::day),
        };
        (progress.completed || progress.started || progress.percent.is_some()).then_some(progress)
    }

    /// The exceptions that come with the series, or the instances that come without it.
    pub fn changed_dates(&self, changes: &Changes<'_>) -> Option<Section> {
        let events = self.envelope.calendar.events();
        let series = events.first().filter(|e| e.recurrence_id.is_none());
        let first = usize::from(series.is_some());
        if events.len() <= 1 {
            return None;
        }
        let exceptions: Vec<(&Event, &Shown)> = events.iter().zip(&self.shown).skip(first).collect();
        let items = repeats::changed_dates(self.words, series, &exceptions, &|event| changes.of_exception(event));
        let heading = Some(self.words.label(Label::ChangedDates));
        Some(Section { heading, change: None, text: String::new(), items })
    }

    /// Organizer and attendees, with what each has answered. `asks`: an answer is waited for, so that it is said who has given
    /// none.
    pub fn people(&self, asks: bool) -> Vec<String> {
        let event = self.envelope.event;
        let owner = event.owner.as_ref();
        let mut lines: Vec<String> = Vec::new();
        if let Some(owner) = owner {
            let own = event.attendees.iter().find(|a| a.address == owner.address);
            let seat = Seat {
                organizer: true,
                role: own.and_then(|o| o.role),
                // An organizer who also attends has an answer of his own; that he has given none says nothing.
                answer: own.and_then(|o| o.status).filter(|s| *s != PartStat::NeedsAction),
                sent_by: None,
                ..Seat::default()
            };
            lines.push(self.placed(owner, &seat));
        }
        let others = event.attendees.iter().filter(|a| owner.is_none_or(|o| o.address != a.address));
        if event.attendees.len() > MAX_LISTED {
            lines.extend(others.filter(|a| self.is_you(a)).map(|a| self.attendee(a, asks)));
            lines.push(self.words.more_people(event.attendees.len() - 1));
        } else {
            lines.extend(others.map(|a| self.attendee(a, asks)));
        }
        lines
    }

    fn is_you(&self, person: &Person) -> bool {
        person.address == *self.envelope.attendee || person.address == *self.envelope.recipient
    }

    fn attendee(&self, attendee: &Person, asks: bool) -> String {
        let known: Vec<Option<String>> = [&attendee.delegated_to, &attendee.delegated_from, &attendee.sent_by]
            .into_iter()
            .map(|a| a.as_ref().map(|a| self.named(a)))
            .collect();
        let sort = self.shown.first().and_then(|s| s.sorts.get(&attendee.address)).map(|sort| match sort.as_str() {
            "ROOM" => Sort::Room,
            "RESOURCE" => Sort::Resource,
            "GROUP" => Sort::Group,
            _ => Sort::Person,
        });
        let open = attendee.status.is_none_or(|s| s == PartStat::NeedsAction);
        let silent = open && (!asks || attendee.rsvp == Some(false));
        let seat = Seat {
            you: self.is_you(attendee),
            role: attendee.role,
            sort,
            answer: (!silent).then_some(attendee.status.unwrap_or(PartStat::NeedsAction)),
            delegated_to: known[0].as_deref(),
            delegated_from: known[1].as_deref(),
            sent_by: known[2].as_deref(),
            organizer: false,
        };
        self.placed(attendee, &seat)
    }

    fn placed(&self, who: &Person, seat: &Seat<'_>) -> String {
        let said = self.words.seat(seat);
        let who = self.who(who);
        if said.is_empty() { who } else { format!("{who} ({said})") }
    }

    /// The name and address of a person; the claimed name of an unverified sender's people is not repeated (bridge 5).
    pub fn who(&self, who: &Person) -> String {
        if self.envelope.standing < 2 { who.address.to_string() } else { person(who) }
    }

    /// One of the attendees by his name, when he has one here.
    fn named(&self, address: &UserId) -> String {
        let event = self.envelope.event;
        if event.attendees.len() > MAX_LISTED {
            return address.to_string();
        }
        let known = event.attendees.iter().find(|a| a.address == *address && self.envelope.standing >= 2);
        let name = known.and_then(|a| a.name.as_deref()).map(one_line).filter(|n| !n.is_empty());
        name.unwrap_or_else(|| address.to_string())
    }

    /// Description and comment.
    pub fn texts(&self, page: &mut Page, changes: &Changes<'_>) {
        let event = self.envelope.event;
        for (label, text) in [(Label::Description, &event.description), (Label::Comment, &event.comment)] {
            let text = text.as_deref().map(paragraphs).unwrap_or_default();
            let change = changes.of(label);
            if !text.is_empty() || change.is_some() {
                page.sections.push(Section { heading: Some(self.words.label(label)), change, text, items: Vec::new() });
            }
        }
    }
}
