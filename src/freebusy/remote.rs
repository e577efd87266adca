//! Users elsewhere: asked of their own server while the client waits (bridge 2), redirects followed (profile 7).
//!
//! Invariants: one request a server for all its users; a `REDIRECT` counts only from the server of the user's own
//! server-id, for a user who was asked for; a request that is passed on bears our trace, and one that bore it already is
//! never passed on (profile 9).

use super::{Found, FreeBusy, REDIRECTS, Search};
use crate::calendar::FreeBusyRequest;
use crate::calendar::busy::read::answers;
use crate::calendar::busy::{BusyTimes, Window, reply};
use crate::cip::response::{FreeBusyAnswer, Info, code};
use crate::courier::{FreeBusyResult, Unreachable};
use crate::ident::{ServerId, UserId};
use crate::ledger::records::RedirectRecord;
use crate::ledger::{REDIRECT_LIFE, RedirectKind};

impl FreeBusy {
    /// The trace lines of the request that is passed on: those that it came with, and ours.
    pub(super) fn traces(&self, request: &FreeBusyRequest) -> Vec<String> {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
        let known = request.traces.iter().map(|t| clean(&format!("{};{};{};{}", t.server, t.time, t.verb, t.version)));
        let now = reply::basic_utc(self.0.clock.now());
        known.chain([format!("{};{now};FREEBUSY;", self.0.config.server_id)]).collect()
    }

    /// Goes on to where the user is known to have moved.
    pub(super) fn known_redirects(&self, search: &mut Search) {
        while search.visited.len() < REDIRECTS && !self.0.directory.is_local(search.user.server()) {
            match self.0.ledger.redirect_of_user(&search.user, self.0.clock.now()) {
                Ok(Some(new)) if !search.visited.contains(&new) && new != search.user => {
                    search.visited.push(std::mem::replace(&mut search.user, new));
                }
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(%error, "a redirect cannot be looked up");
                    return;
                }
            }
        }
    }

    /// Asks one server for its users.
    pub(super) async fn ask_server(
        &self,
        server: &ServerId,
        searches: Vec<Search>,
        window: Window,
        traces: &[String],
    ) -> Vec<(Search, Found)> {
        let Ok(_turn) = self.0.lookups.acquire().await else { return all(searches, &Found::Later) };
        let request = reply::request(searches.iter().map(|s| &s.user), window, traces);
        let within = self.0.config.free_busy.timeout.0;
        let answer = match tokio::time::timeout(within, self.0.courier.free_busy(server, &request)).await {
            Ok(FreeBusyResult::Answered(answer)) => answer,
            Ok(FreeBusyResult::Unreachable { why, detail }) => {
                tracing::info!(%server, %detail, "free/busy times cannot be asked for there");
                let later = matches!(why, Unreachable::Down | Unreachable::Dns);
                return all(searches, if later { &Found::Later } else { &Found::Nothing });
            }
            Err(_) => {
                tracing::info!(%server, "no free/busy answer within {within:?}");
                return all(searches, &Found::Later);
            }
        };
        let results = self.read_answer(server, &searches, &answer, window).await;
        let moved = searches.iter().zip(&results).filter_map(|(search, found)| match found {
            Found::Moved(new) => Some((&search.user, new)),
            _ => None,
        });
        self.learn(server, moved).await;
        searches.into_iter().zip(results).collect()
    }

    /// What the answer says of each.
    async fn read_answer(&self, server: &ServerId, searches: &[Search], answer: &FreeBusyAnswer, window: Window) -> Vec<Found> {
        let told = match answer.data.clone() {
            None => Vec::new(),
            Some(data) => match self.apart(move || answers(data, window).map_err(|e| e.to_string())).await {
                Ok(told) => told,
                Err(why) => {
                    tracing::info!(%server, "its free/busy answer {why}");
                    return vec![Found::Later; searches.len()];
                }
            },
        };
        let only = searches.len() == 1;
        searches.iter().map(|search| of_user(&search.user, only, &told, answer)).collect()
    }

    async fn learn(&self, server: &ServerId, moved: impl Iterator<Item = (&UserId, &UserId)>) {
        let now = self.0.clock.now();
        let mut change = self.0.queue.change();
        for (old, new) in moved {
            let record = RedirectRecord {
                old: old.key(),
                new: new.to_string(),
                source: server.to_string(),
                learned: now,
                expires: Some(now.after(REDIRECT_LIFE)),
            };
            if let Err(error) = self.0.ledger.put_redirect(change.batch_mut(), RedirectKind::User, &record) {
                tracing::error!(%error, "a redirect cannot be kept");
            }
        }
        if change.is_empty() {
            return;
        }
        // The answer does not depend on it: next time the server says it again.
        if let Err(error) = self.0.queue.commit(change).await {
            tracing::error!(%error, "redirects cannot be kept");
        }
    }
}

fn all(searches: Vec<Search>, found: &Found) -> Vec<(Search, Found)> {
    searches.into_iter().map(|search| (search, found.clone())).collect()
}

/// Times before lines, lines before the completion.
fn of_user(user: &UserId, only: bool, told: &[(Option<UserId>, BusyTimes)], answer: &FreeBusyAnswer) -> Found {
    let his = told.iter().find(|(of, _)| of.as_ref() == Some(user) || only && of.is_none());
    if let Some((_, times)) = his {
        return if times.window.is_empty() { Found::Nothing } else { Found::Times(times.clone()) };
    }
    for info in &answer.answer.infos {
        match info {
            Info::NotFound(of) if UserId::parse(of).is_ok_and(|of| of == *user) => return Found::Nothing,
            Info::PermDenied(of) if UserId::parse(of).is_ok_and(|of| of == *user) => return Found::Denied,
            Info::RedirectUser { old, new } if old == user => return Found::Moved(new.clone()),
            _ => {}
        }
    }
    let completion = &answer.answer.completion;
    match (completion.ok, completion.code) {
        // It said nothing of him.
        (true, _) | (false, code::BAD | code::ACCESS) => Found::Nothing,
        (false, _) => Found::Later,
    }
}
