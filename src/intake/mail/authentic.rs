//! What the findings of SPF, DKIM and DMARC mean for an answer to a reply address (bridge 4, 6): whether it may be taken
//! for its attendee's.
//!
//! Invariants: with `dmarc = "record"` nothing is held for them; DMARC speaks of From alone, so that an attendee whom
//! only Sender names, or a From of several domains, is proved by nothing.

use super::post::Post;
use crate::calendar::event::Person;
use crate::config::DmarcUse;
use crate::ident::UserId;
use crate::policy::authenticity::Outcome;

impl Post<'_> {
    /// With what was found of the mail's origin, for a history.
    pub(super) fn with_findings(&self, why: &str) -> String {
        self.findings.as_ref().map_or_else(|| why.to_owned(), |findings| format!("{why}; {findings}"))
    }

    /// Nobody can say now whether it is from whom it says.
    pub(super) fn undecided(&self) -> bool {
        self.enforced() && self.findings.as_ref().is_some_and(|f| f.by.is_none() && f.dmarc == Some(Outcome::TempError))
    }

    /// Why it is not taken for this person's.
    pub(super) fn forged(&self, person: &Person) -> Option<String> {
        let findings = self.findings.as_ref().filter(|_| self.enforced())?;
        if findings.dmarc == Some(Outcome::Fail) && findings.enforced {
            return Some(format!("From fails DMARC, and its domain asks not to take such mail: {findings}"));
        }
        // Another server's word stays what it is, however often the message comes.
        if findings.by.is_some() && findings.dmarc == Some(Outcome::TempError) {
            return Some(format!("whether From passes DMARC could not be found out: {findings}"));
        }
        if self.client.trusted {
            return None;
        }
        let checked = self.authors(person).any(|author| findings.is_of(author.server().as_str()));
        (!checked).then(|| format!("what is known of its origin does not tell whether {} wrote it: {findings}", person.address))
    }

    /// Whether From is this person by proof.
    pub(super) fn proved(&self, person: &Person) -> bool {
        let Some(findings) = &self.findings else { return false };
        self.authors(person).any(|author| *author == person.address && findings.prove(author.server().as_str()))
    }

    /// The addresses of From that are this person's, or those of whoever he sent.
    fn authors<'p>(&'p self, person: &'p Person) -> impl Iterator<Item = &'p UserId> {
        let same = |a: &UserId, b: &UserId| self.intake.0.directory.same_person(a, b);
        let from = self.read.as_ref().map_or(&[][..], |incoming| &incoming.from);
        from.iter().filter(move |from| same(from, &person.address) || person.sent_by.as_ref().is_some_and(|sent| same(from, sent)))
    }

    fn enforced(&self) -> bool {
        self.intake.0.config.mail.dmarc == DmarcUse::Enforce
    }
}
