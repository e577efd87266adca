//! The people of one message, each once: whoever is named by several addresses of one envelope, through the gateway, by
//! an alias or plainly, is carried by one entry (bridge 3: deduplicated after unwrapping). Every address keeps its place
//! in the envelope, since each of them is answered.

use std::collections::HashMap;

use super::Judged;
use crate::ident::UserId;
use crate::listen::MailReply;

/// One person under every address that the envelope has for him, each with its place there; at least one, and the first
/// speaks for all.
pub(super) struct Group(pub(super) Vec<(usize, Judged)>);

impl Group {
    pub(super) fn first(&self) -> &Judged {
        &self.0[0].1
    }

    /// Puts the first address that `fits` in front.
    pub(super) fn lead(&mut self, fits: impl Fn(&UserId) -> bool) {
        if let Some(at) = self.0.iter().position(|(_, judged)| fits(&judged.address)) {
            self.0.swap(0, at);
        }
    }

    /// Of an address that is several people the worst is said: nobody's refusal is hidden behind another's success.
    pub(super) fn answer(&self, reply: &MailReply, replies: &mut [MailReply]) {
        for (n, _) in &self.0 {
            if replies[*n].positive() {
                replies[*n].clone_from(reply);
            }
        }
    }
}

/// The people of one way to be carried, each once (bridge 3: deduplicated after unwrapping).
#[derive(Default)]
pub(super) struct Groups(pub(super) Vec<Group>, HashMap<String, usize>);

impl Groups {
    pub(super) fn add(&mut self, n: usize, judged: Judged) {
        let at = *self.1.entry(judged.user().key()).or_insert(self.0.len());
        match self.0.get_mut(at) {
            Some(group) => group.0.push((n, judged)),
            None => self.0.push(Group(vec![(n, judged)])),
        }
    }
}

/// The ways a message goes, and who goes which.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) token: Groups,
    pub(super) answer: Groups,
    pub(super) event: Groups,
    /// A question for free/busy times.
    pub(super) times: Groups,
    pub(super) plain: Groups,
}
