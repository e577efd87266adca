//! What a turn of delivery was for an event, in the words of its history: one line for each thing that happened,
//! however many people it happened to.

use super::Fate;
use crate::ident::UserId;
use crate::ledger::chronicle::names;
use crate::queue::entry::{Entry, Recipient, Status, Verb};

/// What happened, and to whom; an empty list: to the entry as a whole.
#[derive(Default)]
pub(super) struct Told(Vec<(String, Vec<UserId>)>);

impl Told {
    /// The fate of one recipient, unless it is only to be tried again.
    pub(super) fn of(&mut self, recipient: &Recipient, fate: &Fate, uncertain: bool) {
        let what = match fate {
            Fate::Delivered { status: Status::SentByMail, .. } => "delivered by mail".to_owned(),
            Fate::Delivered { .. } => "delivered by CIP".to_owned(),
            Fate::Later { said } if uncertain => format!("perhaps delivered: {said}"),
            Fate::Later { .. } => return,
            Fate::ByMail { why } => format!("goes on by e-mail: {why}"),
            Fate::ToServer { server, why } => format!("goes on to the event's server {server}: {why}"),
            Fate::Moved { new, .. } => format!("redirected to {new}"),
            Fate::EventMoved { new, .. } => format!("the event has moved to {new}"),
            Fate::Failed { status, why } => format!("failed ({}): {why}", status.code()),
            Fate::Pointless { why } => format!("not sent: {why}"),
        };
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, people)) => people.push(recipient.user.clone()),
            None => self.0.push((what, vec![recipient.user.clone()])),
        }
    }

    /// Something that happened to the whole entry.
    pub(super) fn of_all(&mut self, what: String) {
        self.0.push((what, Vec::new()));
    }

    pub(super) fn lines(self, entry: &Entry) -> Vec<String> {
        let subject = subject(entry);
        let line = |(what, people): (String, Vec<UserId>)| {
            let whom = if people.is_empty() { String::new() } else { format!(" for {}", names(&people)) };
            format!("{subject}{whom}: {what} (entry {}, {})", entry.id, entry.destination.key())
        };
        self.0.into_iter().map(line).collect()
    }
}

/// `version 2 of instance …`, `answer of mary@tiny.com to version 2`: what an entry carries.
fn subject(entry: &Entry) -> String {
    let version = entry.version.map_or_else(|| "the event".to_owned(), |v| format!("version {v}"));
    let instance = entry.recurrence_id.as_ref().map_or_else(String::new, |rid| format!(" of instance {rid}"));
    match (&entry.answer, entry.verb) {
        (Some(answer), _) => format!("answer of {} to {version}{instance}", answer.attendee),
        (None, Verb::Report) => "a report".to_owned(),
        (None, _) => format!("{version}{instance}{}", if entry.cancel { ", a cancellation" } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ident::EntryId;

    #[test]
    fn a_turn_is_one_line_for_each_thing_that_happened() {
        let entry = Entry::sample(EntryId::from_raw(31), "tiny.com", Timestamp(0));
        let people = ["a@tiny.com", "b@tiny.com", "c@tiny.com"].map(|u| UserId::parse(u).unwrap());
        let mut told = Told::default();
        for user in &people {
            let recipient = Recipient::new(user.clone(), user.clone(), false);
            told.of(&recipient, &Fate::Delivered { status: Status::DeliveredByCip, said: user.to_string() }, false);
            told.of(&recipient, &Fate::Later { said: "busy".into() }, false);
        }
        told.of_all("held: why".into());
        let expected = [
            "version 3 for a@tiny.com, b@tiny.com, c@tiny.com: delivered by CIP (entry 0000000000z, cip:tiny.com)",
            "version 3: held: why (entry 0000000000z, cip:tiny.com)",
        ];
        assert_eq!(told.lines(&entry), expected);
    }
}
