//! FREEBUSY answered: for local users from the sources of their domain, for others by their own server (draft 2.4;
//! profile 6, 7; bridge 2).
//!
//! Invariants
//! - "Free" is never invented. A user whose sources do not know him is `NOTFOUND`; one of whose sources fails is left out
//!   of the answer: `NOTFOUND` with `OK 003` beside others who were found, and where nobody was found `NO 004` without a line
//!   about him, so that the client asks again (profile 3). What a published file does not cover is outside of the DTSTART
//!   and DTEND of his VFREEBUSY.
//! - Who may not ask is told what is told of a user who does not exist, and no source is asked.
//! - Nothing but times and types leaves.
//! - Work is bounded: [`USERS`] a request, [`REQUESTS`] requests and [`LOOKUPS`] users at a time, a time-out for each
//!   source and one for all; whoever comes above that is told `NO 004`.

mod caldav;
mod ledger;
mod remote;
mod source;
mod web;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::calendar::FreeBusyRequest;
use crate::calendar::busy::{BusyTimes, Window, reply};
use crate::cip::response::{Answer, FreeBusyAnswer, Info, code};
use crate::clock::Clock;
use crate::config::{Config, Deliver, Domain, FreeBusyFor};
use crate::courier::cip::CipCourier;
use crate::ident::{ServerId, UserId};
use crate::ledger::Ledger;
use crate::listen::CipClient;
use crate::policy::directory::{Directory, Whereabouts};
use crate::policy::standing::Standings;
use crate::queue::Queue;

pub use web::WebError;

use web::Web;

/// Users of one request; those behind them are `PERMDENIED`.
pub const USERS: usize = 100;
/// Requests that need look-ups, at a time.
const REQUESTS: usize = 32;
/// Users looked up at a time, over all requests.
const LOOKUPS: usize = 16;
/// Calendars read at a time: each may take as much memory as several times its octets.
const READERS: usize = 2;
/// Relays that a request passes at most (profile 9).
const HOPS: usize = 25;
/// Redirects that are followed for one user (profile 7).
const REDIRECTS: usize = 5;
/// `[[peer]]` tables whose names are looked up to tell who asks.
const PEERS: usize = 50;

/// See the module's words. Clones share one state.
#[derive(Clone)]
pub struct FreeBusy(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    directory: Directory,
    ledger: Ledger,
    queue: Queue,
    standings: Standings,
    courier: CipCourier,
    web: Web,
    clock: Arc<dyn Clock>,
    requests: Semaphore,
    lookups: Semaphore,
    readers: Semaphore,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub client: &'a CipClient,
    /// May be answered about other organizations' users.
    pub relay: bool,
    /// How many more unknown local users he may be told of.
    pub guesses: u32,
}

/// The answer, and how many local users it says are not there.
#[derive(Clone, Debug)]
pub struct Told {
    pub answer: FreeBusyAnswer,
    pub missed: u32,
}

/// What is found about one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Times(BusyTimes),
    /// Nothing is known of him, or nothing is to be told.
    Nothing,
    Moved(UserId),
    Denied,
    /// Something that knows him could not be asked.
    Later,
}

/// Where a user is to be asked for.
enum Place {
    /// Decided without asking anybody.
    Known(Found),
    Here(UserId),
    There(ServerId),
}

/// A user who was asked for, and where the search for him is.
#[derive(Clone, Debug)]
struct Search {
    asked: UserId,
    user: UserId,
    visited: Vec<UserId>,
}

impl FreeBusy {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        config: Arc<Config>,
        directory: Directory,
        ledger: Ledger,
        queue: Queue,
        standings: Standings,
        courier: CipCourier,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WebError> {
        let max_size = usize::try_from(config.free_busy.max_size.0).unwrap_or(usize::MAX);
        let web = Web::new(config.free_busy.timeout.0, max_size)?;
        Ok(Self(Arc::new(Inner {
            config,
            directory,
            ledger,
            queue,
            standings,
            courier,
            web,
            clock,
            requests: Semaphore::new(REQUESTS),
            lookups: Semaphore::new(LOOKUPS),
            readers: Semaphore::new(READERS),
        })))
    }

    /// Answers one request.
    pub async fn answer(&self, asker: &Asker<'_>, request: FreeBusyRequest) -> Told {
        let ours = |server: &str| server.eq_ignore_ascii_case(self.0.config.server_id.as_str());
        if request.traces.len() >= HOPS || request.traces.iter().any(|t| ours(&t.server) && t.verb.eq_ignore_ascii_case("FREEBUSY")) {
            let mut answer = Answer::no(code::NONE, "The request is looping.");
            answer.infos = request.users.iter().take(USERS).map(|u| Info::PermDenied(u.to_string())).collect();
            return Told { answer: FreeBusyAnswer { data: None, answer }, missed: 0 };
        }
        let (users, beyond) = request.users.split_at(request.users.len().min(USERS));
        let rank = self.rank(asker, users).await;
        let Some(found) = self.gather(users, (asker.relay, rank), &request).await else {
            let answer = Answer::no(code::BUSY, "Too many questions at a time, try again later.");
            return Told { answer: FreeBusyAnswer { data: None, answer }, missed: 0 };
        };
        self.told(asker, users, beyond, found, &request)
    }

    /// Answers a question that came by mail. `ours`: from the organization's own side, which vouches for who asks. Of whoever
    /// does not stand in the answer nothing can be said.
    pub async fn ask(&self, ours: bool, users: Vec<UserId>, request: &FreeBusyRequest) -> HashMap<UserId, Found> {
        let rank = if ours { FreeBusyFor::Authenticated } else { FreeBusyFor::Anyone };
        let users = &users[..users.len().min(USERS)];
        self.gather(users, (ours, rank), request).await.unwrap_or_default()
    }

    /// What is found about each. `None`: there are too many questions just now.
    async fn gather(
        &self,
        users: &[UserId],
        (relay, rank): (bool, FreeBusyFor),
        request: &FreeBusyRequest,
    ) -> Option<HashMap<UserId, Found>> {
        let window = Window { start: request.start, end: request.end };
        let mut found = self.settled(users, relay, rank);
        let missing: Vec<UserId> = users.iter().filter(|u| !found.contains_key(*u)).cloned().collect();
        if !missing.is_empty() {
            let _turn = self.0.requests.try_acquire().ok()?;
            found.extend(self.look_up(missing, window, (relay, rank), request).await);
        }
        Some(found)
    }

    /// Whose questions these are, among those that a policy may name.
    async fn rank(&self, asker: &Asker<'_>, users: &[UserId]) -> FreeBusyFor {
        if asker.relay || asker.client.login.is_some() {
            return FreeBusyFor::Authenticated;
        }
        let matters = |user: &UserId| self.0.config.local_domain(user.server()).is_some_and(|d| d.free_busy_for == FreeBusyFor::Peers);
        if !users.iter().any(matters) {
            return FreeBusyFor::Anyone;
        }
        let names = self.0.config.peer.iter().filter_map(|p| ServerId::parse(&p.server_id).ok()).take(PEERS);
        let mut judging: JoinSet<bool> = JoinSet::new();
        for name in names {
            let (standings, client) = (self.0.standings.clone(), asker.client.clone());
            judging.spawn(async move { standings.of(&client, &name).await.level >= 2 });
        }
        while let Some(judged) = judging.join_next().await {
            if judged.unwrap_or(false) {
                return FreeBusyFor::Peers;
            }
        }
        FreeBusyFor::Anyone
    }

    fn domain(&self, user: &UserId) -> Option<&Domain> {
        self.0.config.local_domain(user.server())
    }

    /// Where a user is to be asked for. Nobody is asked for this.
    fn place(&self, user: &UserId, relay: bool, rank: FreeBusyFor) -> Place {
        match self.0.directory.find(user) {
            Whereabouts::Moved(new) => Place::Known(Found::Moved(new)),
            Whereabouts::Elsewhere if relay => Place::There(user.server().clone()),
            // A group has no time of its own.
            Whereabouts::Unknown | Whereabouts::Group(_) | Whereabouts::Elsewhere => Place::Known(Found::Nothing),
            Whereabouts::Here { user, deliver } => match self.domain(&user) {
                Some(domain) if domain.free_busy_for < rank => Place::Known(Found::Nothing),
                Some(domain) if deliver == Deliver::Mail && domain.free_busy.is_empty() => Place::Known(Found::Nothing),
                Some(domain) if deliver == Deliver::Cip => Place::There(domain.name.clone()),
                Some(_) => Place::Here(user),
                None => Place::Known(Found::Nothing),
            },
        }
    }

    /// Those about whom nobody needs to be asked.
    fn settled(&self, users: &[UserId], relay: bool, rank: FreeBusyFor) -> HashMap<UserId, Found> {
        let known = |user: &UserId| match self.place(user, relay, rank) {
            Place::Known(found) => Some((user.clone(), found)),
            Place::Here(_) | Place::There(_) => None,
        };
        users.iter().filter_map(known).collect()
    }

    /// Asks sources and servers, and follows redirects. Whoever is not found within the time for all is to be asked for
    /// again.
    async fn look_up(
        &self,
        users: Vec<UserId>,
        window: Window,
        (relay, rank): (bool, FreeBusyFor),
        request: &FreeBusyRequest,
    ) -> HashMap<UserId, Found> {
        let end = tokio::time::Instant::now() + self.0.config.free_busy.timeout.0 * 3 + Duration::from_secs(5);
        let traces = self.traces(request);
        let mut found = HashMap::new();
        let mut searches: Vec<Search> = users.into_iter().map(|user| Search { asked: user.clone(), user, visited: Vec::new() }).collect();
        while !searches.is_empty() {
            let mut tasks = self.spawn(std::mem::take(&mut searches), window, rank, &traces, &mut found);
            loop {
                let Ok(joined) = tokio::time::timeout_at(end, tasks.join_next()).await else { return found };
                let Some(joined) = joined else { break };
                // A task that panicked leaves its users to be asked for again.
                for (search, result) in joined.unwrap_or_default() {
                    match result {
                        Found::Moved(new) if relay => searches.extend(Self::follow(search, new, &mut found)),
                        result => drop(found.insert(search.asked, result)),
                    }
                }
            }
        }
        found
    }

    /// The next step of a search, unless it leads in a circle or too far.
    fn follow(search: Search, new: UserId, found: &mut HashMap<UserId, Found>) -> Option<Search> {
        let Search { asked, user, mut visited } = search;
        visited.push(user);
        if visited.len() > REDIRECTS || visited.contains(&new) {
            tracing::info!(user = %asked, "redirects of FREEBUSY lead in a circle or are more than {REDIRECTS}");
            found.insert(asked, Found::Nothing);
            return None;
        }
        Some(Search { asked, user: new, visited })
    }

    fn spawn(
        &self,
        searches: Vec<Search>,
        window: Window,
        rank: FreeBusyFor,
        traces: &[String],
        found: &mut HashMap<UserId, Found>,
    ) -> JoinSet<Vec<(Search, Found)>> {
        let mut tasks = JoinSet::new();
        let mut servers: HashMap<String, (ServerId, Vec<Search>)> = HashMap::new();
        for mut search in searches {
            self.known_redirects(&mut search);
            // Only for a client that may relay anybody is searched for elsewhere, so that he may be followed there.
            match self.place(&search.user, true, rank) {
                Place::Known(result) => drop(found.insert(search.asked, result)),
                Place::Here(user) => {
                    let this = self.clone();
                    tasks.spawn(async move {
                        let result = this.local(&user, window).await;
                        vec![(search, result)]
                    });
                }
                Place::There(server) => servers.entry(server.key()).or_insert_with(|| (server, Vec::new())).1.push(search),
            }
        }
        for (server, searches) in servers.into_values() {
            let (this, traces) = (self.clone(), traces.to_vec());
            tasks.spawn(async move { this.ask_server(&server, searches, window, &traces).await });
        }
        tasks
    }

    /// From the sources of the user's domain, together.
    async fn local(&self, user: &UserId, window: Window) -> Found {
        let Ok(_turn) = self.0.lookups.acquire().await else { return Found::Later };
        let Some(domain) = self.domain(user) else { return Found::Nothing };
        match self.0.directory.look_up(user).await {
            Ok(Whereabouts::Here { .. }) => {}
            Ok(_) => return Found::Nothing,
            Err(why) => {
                tracing::info!(%user, %why, "a user cannot be looked up; nothing is told of him now");
                return Found::Later;
            }
        }
        let mut asking: JoinSet<Result<Option<BusyTimes>, String>> = JoinSet::new();
        for source in &domain.free_busy {
            let (this, source, user, zone) = (self.clone(), source.clone(), user.clone(), domain.zone().to_owned());
            asking.spawn(async move {
                let told = this.ask_source(&source, &user, window, &zone).await;
                told.map_err(|why| format!("{}: {why}", source::name(&source)))
            });
        }
        let (mut times, mut failed): (Option<BusyTimes>, bool) = (None, false);
        while let Some(told) = asking.join_next().await {
            match told.unwrap_or_else(|panic| Err(panic.to_string())) {
                Ok(None) => {}
                Ok(Some(more)) => times = Some(times.map_or(more.clone(), |known| known.and(more))),
                Err(why) => {
                    tracing::warn!(%user, %why, "a source of free/busy times failed; nothing is told of this user now");
                    failed = true;
                }
            }
        }
        match times {
            _ if failed => Found::Later,
            Some(times) if !times.window.is_empty() || window.is_empty() => Found::Times(times),
            // What is published does not reach into the time that was asked for.
            Some(_) | None => Found::Nothing,
        }
    }

    /// The whole answer, in the order of the request.
    fn told(
        &self,
        asker: &Asker<'_>,
        users: &[UserId],
        beyond: &[UserId],
        mut found: HashMap<UserId, Found>,
        request: &FreeBusyRequest,
    ) -> Told {
        let (mut times, mut infos, mut later, mut missed) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for user in users {
            match found.remove(user).unwrap_or(Found::Later) {
                Found::Times(busy) => times.push((user.clone(), busy)),
                Found::Moved(new) => infos.push(Info::RedirectUser { old: user.clone(), new }),
                Found::Denied => infos.push(Info::PermDenied(user.to_string())),
                Found::Later => later.push(user),
                Found::Nothing => {
                    let local = self.0.directory.is_local(user.server());
                    if local && missed >= asker.guesses {
                        infos.push(Info::PermDenied(user.to_string()));
                        continue;
                    }
                    missed += u32::from(local);
                    infos.push(Info::NotFound(user.to_string()));
                }
            }
        }
        infos.extend(beyond.iter().take(USERS).map(|u| Info::PermDenied(u.to_string())));
        let mut answer = match (times.is_empty(), later.is_empty()) {
            (false, true) => Answer::ok(code::NONE, "Done."),
            (false, false) => {
                infos.extend(later.iter().map(|u| Info::NotFound(u.to_string())));
                Answer::ok(code::PARTIAL, "Some could not be looked up just now, ask for them again later.")
            }
            (true, true) => Answer::no(code::NONE, "No free/busy information."),
            (true, false) => Answer::no(code::BUSY, "The free/busy information cannot be had just now, try again later."),
        };
        answer.infos = infos;
        let now = self.0.clock.now();
        let data = (!times.is_empty()).then(|| reply::reply(&request.asked, &self.0.config.server_id, now, &times));
        Told { answer: FreeBusyAnswer { data, answer }, missed }
    }
}
