//! One source of one user: asked, and what it gave read, away from the threads that serve others.

use std::path::Path;

use reqwest::header::HeaderValue;

use super::caldav::{self, Collection};
use super::web::basic;
use super::{FreeBusy, ledger};
use crate::calendar::busy::read::{How, busy_times};
use crate::calendar::busy::{BusyTimes, Window};
use crate::config::{FreeBusySource, Report, SourceKind};
use crate::ident::UserId;

/// Octets of a password file.
const MAX_PASSWORD_FILE: u64 = 4096;

/// A source in the words of the log: its kind and its URL as the configuration has it.
pub fn name(source: &FreeBusySource) -> String {
    match (&source.source, &source.url) {
        (SourceKind::Ledger, _) => "the ledger".to_owned(),
        (_, Some(url)) => url.as_str().to_owned(),
        (_, None) => "a source without a URL".to_owned(),
    }
}

impl FreeBusy {
    /// What a source tells of a user. `None`: it does not know him. An error: it might know him, and cannot say.
    pub(super) async fn ask_source(
        &self,
        source: &FreeBusySource,
        user: &UserId,
        window: Window,
        zone: &str,
    ) -> Result<Option<BusyTimes>, String> {
        let login = login(source)?;
        let url = match (&source.url, source.source) {
            (_, SourceKind::Ledger) => {
                let (ledger, directory, user) = (self.0.ledger.clone(), self.0.directory.clone(), user.clone());
                let how = Reading { zone: zone.to_owned(), addresses: Vec::new(), window, covers: None };
                return self.apart(move || ledger::busy(&ledger, &directory, &user, &how.how()).map_err(|error| error.to_string())).await;
            }
            // A user whose name would be a step in the path has no calendar.
            (Some(url), _) => match url.of(user) {
                Some(url) => url,
                None => return Ok(None),
            },
            (None, _) => return Err("the configuration names no URL".to_owned()),
        };
        let addresses = self.addresses(user);
        let how = |covers| Reading { zone: zone.to_owned(), addresses: addresses.clone(), window, covers };
        match source.source {
            SourceKind::Caldav => match caldav::ask(&self.0.web, source.report.unwrap_or(Report::FreeBusyQuery), url, login, window)
                .await
                .map_err(|e| e.to_string())?
            {
                Collection::Absent => Ok(None),
                // An empty answer to calendar-query is an answer: nothing happens.
                Collection::Events(octets) if octets.is_empty() => Ok(Some(BusyTimes::free(window))),
                Collection::Events(octets) => self.read(octets.into(), how(None)).await,
                Collection::FreeBusy(octets) => self.read(octets.into(), how(Some(window))).await,
            },
            SourceKind::Url | SourceKind::Ledger => {
                let published = self.0.web.published(url, login, self.0.clock.now()).await.map_err(|e| e.to_string())?;
                match published {
                    None => Ok(None),
                    Some(octets) => self.read(octets, how(None)).await,
                }
            }
        }
    }

    async fn read(&self, octets: std::sync::Arc<Vec<u8>>, how: Reading) -> Result<Option<BusyTimes>, String> {
        self.apart(move || busy_times(octets.to_vec(), &how.how()).map(Some).map_err(|error| format!("what it gave {error}"))).await
    }

    /// Reading takes processor time and memory: a few at a time.
    pub(super) async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
        let _turn = self.0.readers.acquire().await.map_err(|error| error.to_string())?;
        tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
    }

    /// The user under all the addresses that he has here.
    fn addresses(&self, user: &UserId) -> Vec<UserId> {
        std::iter::once(user.clone()).chain(self.0.directory.aliases_of(user)).collect()
    }
}

/// [`How`] that can go to another thread.
struct Reading {
    zone: String,
    addresses: Vec<UserId>,
    window: Window,
    covers: Option<Window>,
}

impl Reading {
    fn how(&self) -> How<'_> {
        How { window: self.window, zone: &self.zone, addresses: &self.addresses, covers: self.covers }
    }
}

/// The header that logs in, where the source has a user. The file is read each time, so that it may be changed.
fn login(source: &FreeBusySource) -> Result<Option<HeaderValue>, String> {
    let (Some(user), Some(file)) = (&source.user, &source.password_file) else { return Ok(None) };
    let password = first_line(file).map_err(|error| format!("the password file {} cannot be read: {error}", file.display()))?;
    basic(user, &password).map(Some).map_err(|error| error.to_string())
}

fn first_line(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    std::fs::File::open(file)?.take(MAX_PASSWORD_FILE).read_to_end(&mut content)?;
    let line = content.split(|&b| b == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}
