//! English.

mod recurrence;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::{Clock, Compared, Difference, Kind, Label, Progress, Seat, Sort, Span, Topic, Words};
use crate::calendar::busy::BusyType;
use crate::calendar::event::{Component, PartStat, Role};
use crate::imip::compose::pattern::Phrase;

pub(super) struct English;

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

fn thing(component: Component) -> &'static str {
    if component == Component::Todo { "to-do" } else { "event" }
}

/// `1 July 2026`.
fn short_day(date: NaiveDate) -> String {
    let month = MONTHS[usize::try_from(date.month0()).unwrap_or(0) % 12];
    format!("{} {month} {}", date.day(), date.year())
}

fn day(date: NaiveDate) -> String {
    format!("{}, {}", recurrence::weekday(date.weekday()), short_day(date))
}

fn time(time: NaiveTime) -> String {
    if time.second() == 0 { time.format("%H:%M") } else { time.format("%H:%M:%S") }.to_string()
}

fn full(at: NaiveDateTime) -> String {
    format!("{}, {}", day(at.date()), time(at.time()))
}

/// `1st`, `22nd`, `113th`.
fn number(n: u32) -> String {
    let end = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// `a, b and c`.
fn list(parts: &[String]) -> String {
    recurrence::and(parts)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn clock_name(clock: &Clock) -> String {
    match clock {
        Clock::Utc => "UTC".to_owned(),
        Clock::Offset(minutes) => {
            let (sign, minutes) = (if *minutes < 0 { '-' } else { '+' }, minutes.unsigned_abs());
            format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
        Clock::Named(name) => name.clone(),
        Clock::Floating => "local time where it takes place".to_owned(),
    }
}

fn answer(status: PartStat) -> &'static str {
    match status {
        PartStat::NeedsAction => "no answer yet",
        PartStat::Accepted => "accepted",
        PartStat::Declined => "declined",
        PartStat::Tentative => "tentative",
        PartStat::Delegated => "delegated",
        PartStat::Completed => "completed",
    }
}

impl English {
    fn answered(topic: &Topic<'_>, status: Option<PartStat>, delegate: Option<&str>) -> String {
        let about = Self::about(topic);
        match status {
            Some(PartStat::Accepted) => format!("has accepted {about}"),
            Some(PartStat::Declined) => format!("has declined {about}"),
            Some(PartStat::Tentative) => format!("has tentatively accepted {about}"),
            Some(PartStat::Delegated) => match delegate {
                Some(delegate) => format!("has delegated {about} to {delegate}"),
                None => format!("has delegated {about}"),
            },
            Some(PartStat::Completed) => format!("has completed {about}"),
            None | Some(PartStat::NeedsAction) => format!("has not decided yet about {about}"),
        }
    }

    /// What a row is about, inside a sentence.
    fn subject_of(label: Label) -> &'static str {
        match label {
            Label::What => "title",
            Label::When => "time",
            Label::Starts => "start",
            Label::Due => "due date",
            Label::Done => "progress",
            Label::Status => "status",
            Label::Repeats => "recurrence",
            Label::Where => "place",
            Label::Who => "people",
            Label::Description => "description",
            Label::Comment => "comment",
            Label::ChangedDates => "single dates",
        }
    }

    /// `“Weekly meeting” on Tuesday, 14 July 2026`.
    fn about(topic: &Topic<'_>) -> String {
        let on = topic.instance.map(|date| format!(" on {}", day(date))).unwrap_or_default();
        format!("“{}”{on}", topic.summary)
    }

    fn except(dates: &[String], more: usize) -> String {
        let mut parts = dates.to_vec();
        if more > 0 {
            parts.push(if more == 1 { "1 more date".to_owned() } else { format!("{more} more dates") });
        }
        list(&parts)
    }
}

impl Words for English {
    fn tag(&self) -> &'static str {
        "en"
    }

    fn subject(&self, topic: &Topic<'_>) -> String {
        let todo = topic.component == Component::Todo;
        let kind = match topic.kind {
            Kind::Invitation if todo => "To-do",
            Kind::Invitation => "Invitation",
            Kind::Update if todo => "Updated to-do",
            Kind::Update => "Updated invitation",
            Kind::Cancellation if todo => "Cancelled to-do",
            Kind::Cancellation => "Cancelled",
            Kind::Published if todo => "To-do for your information",
            Kind::Published => "Event",
            Kind::Added => "Further date",
            Kind::ProposalDeclined => "Proposal declined",
            Kind::Answer(Some(PartStat::Accepted)) => "Accepted",
            Kind::Answer(Some(PartStat::Declined)) => "Declined",
            Kind::Answer(Some(PartStat::Tentative)) => "Tentative",
            Kind::Answer(Some(PartStat::Delegated)) => "Delegated",
            Kind::Answer(Some(PartStat::Completed)) => "Completed",
            Kind::Answer(None | Some(PartStat::NeedsAction)) => "Not decided",
            Kind::Proposal => "New time or details proposed",
            Kind::RefreshRequest => "Request for the current version",
        };
        let on = topic.instance.map(|date| format!(" ({})", short_day(date))).unwrap_or_default();
        format!("{kind}: {}{on}", topic.summary)
    }

    fn untitled(&self, component: Component) -> &'static str {
        if component == Component::Todo { "a to-do without a title" } else { "an event without a title" }
    }

    fn name_via(&self, name: &str, site: &str) -> String {
        format!("{name} via {site}")
    }

    fn unverified_via(&self, address: &str, site: &str) -> String {
        format!("{address}, unverified, via {site}")
    }

    fn warning(&self, claimed: &str, site: &str) -> String {
        format!(
            "Unverified: this message says that it comes from {claimed}, and {site} could not verify that. If you do not expect it, \
             ask that person before you answer or follow anything written in it."
        )
    }

    fn opening(&self, topic: &Topic<'_>, who: Option<&str>, delegate: Option<&str>) -> String {
        let who = who.unwrap_or(match topic.kind {
            Kind::Answer(_) | Kind::Proposal | Kind::RefreshRequest => "An attendee",
            _ => "The organizer",
        });
        let thing = thing(topic.component);
        let date = topic.instance.map(day);
        let says = match (topic.kind, &date) {
            (Kind::Invitation, None) if topic.component == Component::Todo => "asks you to take on this to-do.".to_owned(),
            (Kind::Invitation, None) => format!("invites you to this {thing}."),
            (Kind::Invitation, Some(date)) => format!("invites you to one date of this {thing}: {date}."),
            (Kind::Update, None) => format!("has changed this {thing}. What is written here replaces what you had before."),
            (Kind::Update, Some(date)) => {
                format!("has changed one date of this {thing}: {date}. The other dates stay as they are.")
            }
            (Kind::Cancellation, None) if topic.component == Component::Todo => {
                "has cancelled this to-do. It need not be done, or not by you.".to_owned()
            }
            (Kind::Cancellation, None) => {
                format!("has cancelled this {thing}. It does not take place, or you are no longer invited.")
            }
            (Kind::Cancellation, Some(date)) => {
                format!("has cancelled one date of this {thing}: {date}. The other dates stay as they are.")
            }
            (Kind::Published, _) => format!("tells you of this {thing}. No answer is expected."),
            (Kind::Added, _) => format!("has added a date to this {thing}. The dates that you have already stay as they are."),
            (Kind::ProposalDeclined, _) => {
                format!("has declined the change that you proposed; the {thing} stays as it is here.")
            }
            (Kind::Answer(status), _) => format!("{}.", Self::answered(topic, status, delegate)),
            (Kind::Proposal, _) => format!("proposes a change to {}.", Self::about(topic)),
            (Kind::RefreshRequest, _) => format!("asks for the current version of {}.", Self::about(topic)),
        };
        format!("{who} {says}")
    }

    fn compared(&self, with: Compared<'_>) -> Option<String> {
        match with {
            Compared::Unknown => None,
            Compared::Rows([]) => {
                Some("Title, time, place and description are as before; something else has changed, such as the people.".to_owned())
            }
            Compared::Rows(labels) => {
                let names: Vec<String> = labels.iter().map(|l| Self::subject_of(*l).to_owned()).collect();
                Some(format!("Changed: {}.", list(&names)))
            }
        }
    }

    fn how_to_answer(&self, file: &str, component: Component) -> String {
        let what = if component == Component::Todo { "to-dos" } else { "invitations" };
        format!(
            "To answer, use the buttons with which your mail or calendar program accepts or declines {what}. If it shows none, \
             open the attached file {file} with your calendar program, or answer this message in your own words."
        )
    }

    fn what_happens(&self, topic: &Topic<'_>) -> Option<&'static str> {
        match topic.kind {
            Kind::Cancellation => Some(
                "Most calendar programs take it out by themselves or ask you first. If yours does neither, please delete it there; you \
                 need not answer.",
            ),
            Kind::Answer(_) => Some("Your calendar program takes this answer from the calendar part of this message."),
            Kind::Proposal => Some(
                "To agree, change the event in your calendar program and send the update; to decline, use its button or simply answer \
                 this message.",
            ),
            Kind::RefreshRequest => Some("Please send the invitation again from your calendar program."),
            _ => None,
        }
    }

    fn busy_title(&self, who: &str) -> String {
        format!("Free/busy times of {who}")
    }

    fn busy_opening(&self, who: &str, window: &str, free: bool) -> String {
        if free { format!("{who} is free at all times of {window}.") } else { format!("Of {window}, {who} is not free at these times.") }
    }

    fn busy_type(&self, kind: BusyType) -> &'static str {
        match kind {
            BusyType::Busy => "busy",
            BusyType::Tentative => "tentative",
            BusyType::Unavailable => "out of office",
        }
    }

    fn label(&self, label: Label) -> &'static str {
        match label {
            Label::What => "What",
            Label::When => "When",
            Label::Starts => "Starts",
            Label::Due => "Due",
            Label::Done => "Done",
            Label::Status => "Status",
            Label::Repeats => "Repeats",
            Label::Where => "Where",
            Label::Who => "Who",
            Label::Description => "Description",
            Label::Comment => "Comment",
            Label::ChangedDates => "Changed dates",
        }
    }

    fn difference(&self, difference: Difference) -> &'static str {
        match difference {
            Difference::Changed => "changed",
            Difference::New => "new",
            Difference::Removed => "removed",
            Difference::Proposed => "proposed",
        }
    }

    fn old(&self, difference: Difference) -> &'static str {
        if difference == Difference::Proposed { "now:" } else { "was:" }
    }

    fn seat(&self, seat: &Seat<'_>) -> String {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(seat.you.then(|| "you".to_owned()));
        parts.extend(seat.organizer.then(|| "organizer".to_owned()));
        parts.extend(match seat.sort {
            Some(Sort::Room) => Some("room".to_owned()),
            Some(Sort::Resource) => Some("resource".to_owned()),
            Some(Sort::Group) => Some("group".to_owned()),
            Some(Sort::Person) | None => None,
        });
        parts.extend(match seat.role {
            Some(Role::Chair) if !seat.organizer => Some("chair".to_owned()),
            Some(Role::Optional) => Some("optional".to_owned()),
            Some(Role::NonParticipant) => Some("for information".to_owned()),
            _ => None,
        });
        match (seat.answer, seat.delegated_to) {
            (Some(PartStat::Delegated), Some(delegate)) => parts.push(format!("delegated to {delegate}")),
            (Some(status), _) => parts.push(answer(status).to_owned()),
            (None, _) => {}
        }
        parts.extend(seat.delegated_from.map(|from| format!("in place of {from}")));
        parts.extend(seat.sent_by.map(|by| format!("sent by {by}")));
        parts.join(", ")
    }

    fn more_people(&self, count: usize) -> String {
        format!("and {count} more")
    }

    fn progress(&self, progress: Progress) -> String {
        match (progress.completed, progress.on, progress.percent) {
            (true, Some(on), _) => format!("completed on {}", day(on)),
            (true, None, _) => "completed".to_owned(),
            (false, _, Some(percent)) => format!("{percent} %"),
            (false, _, None) if progress.started => "begun".to_owned(),
            (false, _, None) => "not begun".to_owned(),
        }
    }

    fn cancelled(&self) -> &'static str {
        "cancelled"
    }

    fn tentative(&self) -> &'static str {
        "not yet certain (tentative)"
    }

    fn day(&self, date: NaiveDate) -> String {
        day(date)
    }

    fn short_day(&self, date: NaiveDate) -> String {
        short_day(date)
    }

    fn span(&self, span: &Span) -> String {
        match *span {
            Span::Day(date) => format!("{} (all day)", day(date)),
            Span::Days(first, last) => format!("{} to {} (all day)", day(first), day(last)),
            Span::At(at) => full(at),
            Span::SameDay(from, to) => format!("{} to {}", full(from), time(to)),
            Span::Overnight(from, to) => format!("{} to {} (next day)", full(from), time(to)),
            Span::Over(from, to) => format!("{} to {}", full(from), full(to)),
        }
    }

    fn by_clock(&self, span: &str, clock: &Clock) -> String {
        format!("{span} ({})", clock_name(clock))
    }

    fn between_clocks(&self, from: (NaiveDateTime, &Clock), to: (NaiveDateTime, &Clock)) -> String {
        format!("{} ({}) to {} ({})", full(from.0), clock_name(from.1), full(to.0), clock_name(to.1))
    }

    fn rule(&self, phrase: &Phrase) -> String {
        capital(&recurrence::rule(phrase))
    }

    fn except_rule(&self, phrase: &Phrase) -> String {
        format!("except {}", recurrence::rule(phrase))
    }

    fn except_on(&self, dates: &[String], more: usize) -> String {
        format!("except on {}", Self::except(dates, more))
    }

    fn also_on(&self, dates: &[String], more: usize) -> String {
        format!("also on {}", Self::except(dates, more))
    }

    fn odd_rule(&self, next: &[String]) -> String {
        let rule = "By a rule that your calendar program will show";
        if next.is_empty() { rule.to_owned() } else { format!("{rule}; it begins with {}", list(next)) }
    }

    fn as_series(&self) -> &'static str {
        "at the same time and place, with other details"
    }

    fn more_dates(&self, count: usize) -> String {
        if count == 1 { "and 1 more date".to_owned() } else { format!("and {count} more dates") }
    }
}
