//! The language of the mails: every sentence, label, subject, date and rule that a person reads in them.
//!
//! What is to be said is decided outside, in values without a language ([`Kind`], [`Label`], [`Span`], [`Phrase`], …); a
//! language puts each of them into words. To add one: write a file beside `english.rs` with a type that implements
//! [`Words`], add a variant to [`Language`] and its line to [`Language::words`]. Nothing else in `imip::compose` holds a
//! word of any language.
//!
//! Invariants: words are made of what they are given alone, so that the same mail reads the same every time; values of a
//! peer come in as plain text, cleaned and bounded, and go out unchanged inside the words.

mod english;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use super::pattern::Phrase;
use crate::calendar::busy::BusyType;
use crate::calendar::event::{Component, PartStat, Role};

/// The languages that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Language {
    #[default]
    English,
}

impl Language {
    pub(crate) fn words(self) -> &'static dyn Words {
        match self {
            Self::English => &english::English,
        }
    }
}

/// What kind of mail it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Invitation,
    /// The recipient had an earlier version.
    Update,
    Cancellation,
    Published,
    /// ADD: further dates.
    Added,
    ProposalDeclined,
    /// An attendee's answer; `None`: not decided.
    Answer(Option<PartStat>),
    /// COUNTER.
    Proposal,
    /// REFRESH.
    RefreshRequest,
}

/// What the mail is about, as a sentence needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic<'a> {
    pub kind: Kind,
    pub component: Component,
    /// In one line; never empty.
    pub summary: &'a str,
    /// The day of the one date of a series that it is about.
    pub instance: Option<NaiveDate>,
}

/// What a row or a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Label {
    What,
    When,
    Starts,
    Due,
    Done,
    Status,
    Repeats,
    Where,
    Who,
    Description,
    Comment,
    ChangedDates,
}

/// How two points in time stand to each other, for a phrase that leaves out what need not be said twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Day(NaiveDate),
    /// Both are part of it.
    Days(NaiveDate, NaiveDate),
    At(NaiveDateTime),
    SameDay(NaiveDateTime, NaiveTime),
    /// Past midnight into the small hours.
    Overnight(NaiveDateTime, NaiveTime),
    Over(NaiveDateTime, NaiveDateTime),
}

/// In whose clock a time is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Utc,
    /// Minutes east of UTC, when that is all that is known.
    Offset(i32),
    /// A zone by a name that a person knows.
    Named(String),
    Floating,
}

/// What an attendee is beside a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Person,
    Group,
    Room,
    Resource,
}

/// What is said of a person behind the name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat<'a> {
    pub organizer: bool,
    pub you: bool,
    pub role: Option<Role>,
    pub sort: Option<Sort>,
    /// `None`: nothing is to be said of an answer.
    pub answer: Option<PartStat>,
    pub delegated_to: Option<&'a str>,
    pub delegated_from: Option<&'a str>,
    pub sent_by: Option<&'a str>,
}

/// How far a to-do is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// 0 to 100.
    pub percent: Option<u8>,
    pub completed: bool,
    pub started: bool,
    pub on: Option<NaiveDate>,
}

/// How a row differs from what the recipient had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// What stood there before is shown.
    Changed,
    /// Nothing stood there.
    New,
    /// Nothing stands there any more.
    Removed,
    /// An attendee would like it so; what is in force is shown.
    Proposed,
}

/// Where to begin for one who has the event already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared<'a> {
    /// What he had is not known.
    Unknown,
    /// These rows differ; none: whatever differs is shown in no row.
    Rows(&'a [Label]),
}

/// A language. Whole sentences end in a full stop; phrases for rows do not.
pub(crate) trait Words: Sync {
    /// The tag of the language (BCP 47), for HTML.
    fn tag(&self) -> &'static str;

    // ---- the head of the mail

    fn subject(&self, topic: &Topic<'_>) -> String;
    /// The summary of an event that has none.
    fn untitled(&self, component: Component) -> &'static str;
    /// The display name of a sender whose mail comes through `site`.
    fn name_via(&self, name: &str, site: &str) -> String;
    /// The display name of a sender who is not known.
    fn unverified_via(&self, address: &str, site: &str) -> String;
    /// The first thing that a person reads of a sender who is not known.
    fn warning(&self, claimed: &str, site: &str) -> String;

    // ---- sentences

    /// Who says what; `who` is `None` when nobody is named.
    fn opening(&self, topic: &Topic<'_>, who: Option<&str>, delegate: Option<&str>) -> String;
    /// What an update changes.
    fn compared(&self, with: Compared<'_>) -> Option<String>;
    /// How to answer an invitation with the attached file.
    fn how_to_answer(&self, file: &str, component: Component) -> String;
    /// What happens without an answer.
    fn what_happens(&self, topic: &Topic<'_>) -> Option<&'static str>;

    // ---- free/busy times

    fn busy_title(&self, who: &str) -> String;
    /// What is known of which time; `free`: that it is free.
    fn busy_opening(&self, who: &str, window: &str, free: bool) -> String;
    fn busy_type(&self, kind: BusyType) -> &'static str;

    // ---- rows

    fn label(&self, label: Label) -> &'static str;
    /// What stands behind a row that differs.
    fn difference(&self, difference: Difference) -> &'static str;
    /// What stands before the value that the recipient had; in a proposal, before the one in force.
    fn old(&self, difference: Difference) -> &'static str;
    fn seat(&self, seat: &Seat<'_>) -> String;
    fn more_people(&self, count: usize) -> String;
    fn progress(&self, progress: Progress) -> String;
    fn cancelled(&self) -> &'static str;
    fn tentative(&self) -> &'static str;

    // ---- times

    fn day(&self, date: NaiveDate) -> String;
    /// The same without the day of the week, for lists.
    fn short_day(&self, date: NaiveDate) -> String;
    fn span(&self, span: &Span) -> String;
    fn by_clock(&self, span: &str, clock: &Clock) -> String;
    /// From one clock to another one.
    fn between_clocks(&self, from: (NaiveDateTime, &Clock), to: (NaiveDateTime, &Clock)) -> String;

    // ---- recurrence

    /// A rule, as a phrase of its own: `Every Tuesday until 30 June 2026`.
    fn rule(&self, phrase: &Phrase) -> String;
    /// A rule whose dates are left out.
    fn except_rule(&self, phrase: &Phrase) -> String;
    /// Single dates that are left out, or come beside; `more` are not listed.
    fn except_on(&self, dates: &[String], more: usize) -> String;
    fn also_on(&self, dates: &[String], more: usize) -> String;
    /// A rule that no phrase fits, with its next dates where they are known.
    fn odd_rule(&self, next: &[String]) -> String;
    /// A date of the series that differs in nothing that is listed.
    fn as_series(&self) -> &'static str;
    fn more_dates(&self, count: usize) -> String;
}
