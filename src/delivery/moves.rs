//! Redirects that are known before anybody is asked (profile 7: remembered and used next time), and those that have
//! become untrue.
//!
//! Invariants: a known redirect is followed only while the bounds on redirects leave room, and never to an id that this
//! delivery has been at: then the server is asked, who may know better; following it does not prolong its life. A server that points back to where a remembered
//! redirect came from wins over the memory, once.

use super::settle::REDIRECTS;
use super::{Delivery, DeliveryError, Fate, Outcome, pending};
use crate::ident::UserId;
use crate::ledger::RedirectKind;
use crate::policy::directory::Whereabouts;
use crate::queue::entry::{Destination, Entry, Recipient, Verb};

impl Delivery {
    /// The recipients who are known to have moved, and for an RSVP the event; nobody is asked.
    pub(super) fn known_moves(&self, entry: &Entry) -> Result<Outcome, DeliveryError> {
        let mut outcome = Outcome::new();
        let Destination::Cip(server) = &entry.destination else { return Ok(outcome) };
        let now = self.now();
        if let (Verb::Rsvp, Some(event)) = (entry.verb, &entry.event_id)
            && let Some(new) = self.0.ledger.redirect_of_event(event, now)?
            && new != *event
            && !entry.moved_from.contains(&new)
            && entry.moved_from.len() < REDIRECTS
        {
            outcome.fates = pending(entry).map(|n| (n, Fate::EventMoved { new: new.clone(), known: true })).collect();
            return Ok(outcome);
        }
        for n in pending(entry) {
            let recipient = &entry.recipients[n];
            if recipient.user.server() != server || recipient.visited.len() >= REDIRECTS {
                continue;
            }
            let new = match self.0.directory.find(&recipient.user) {
                Whereabouts::Moved(new) => Some(new),
                _ => self.0.ledger.redirect_of_user(&recipient.user, now)?,
            };
            let Some(new) = new.filter(|new| *new != recipient.user && !recipient.visited.contains(new)) else { continue };
            outcome.fates.push((n, Fate::Moved { new, known: true }));
        }
        Ok(outcome)
    }

    /// Whether the way back to `new` is no circle: this delivery left `new` by a redirect that was remembered from an
    /// earlier one and is untrue by now.
    pub(super) fn moved_back(&self, entry: &Entry, recipient: &Recipient, new: &UserId) -> Result<bool, DeliveryError> {
        if *new == recipient.user || !recipient.visited.contains(new) {
            return Ok(false);
        }
        let remembered = self.0.ledger.redirect(RedirectKind::User, &new.key(), self.now())?;
        Ok(remembered.is_some_and(|r| r.learned < entry.received))
    }
}
