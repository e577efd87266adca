//! HTTP for the sources: one request with its redirects, within bounds, and the cache of published calendars.
//!
//! The URL is the administrator's own and may lead anywhere, into private networks too. Where a server sends us is not:
//! redirects are followed to the same scheme and host alone, at most [`REDIRECTS`] of them, so that a published calendar
//! is no way into the organization's network and a password goes to nobody else.
//!
//! Invariants: a body is at most as large as configured, however long the server goes on; a request ends within its
//! time-out, redirects and body included; the cache holds at most [`CACHED_OCTETS`] in [`CACHED`] entries; what it gives
//! out was asked for or confirmed by the server within [`FRESH`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use reqwest::{Client, Method, StatusCode, Url};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::clock::Timestamp;

const REDIRECTS: usize = 5;
/// For how long a published calendar is not asked for again: who asks for a whole team five times does not make the
/// server answer five times.
const FRESH: Duration = Duration::from_secs(60);
const CACHED: usize = 1000;
const CACHED_OCTETS: usize = 32 << 20;
const CONNECT: Duration = Duration::from_secs(5);

/// A request that may be sent more than once, as redirects ask.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What came back in the end.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WebError(pub String);

/// A published file, or that there is none (404, 410).
pub type Published = Option<Arc<Vec<u8>>>;

struct Cached {
    published: Published,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
    checked: Timestamp,
    used: u64,
}

impl Cached {
    fn octets(&self) -> usize {
        self.published.as_ref().map_or(0, |body| body.len())
    }
}

#[derive(Default)]
struct Cache {
    entries: HashMap<String, Cached>,
    octets: usize,
    uses: u64,
}

/// The client of all sources. Clones share connections and cache.
#[derive(Clone)]
pub struct Web {
    client: Client,
    timeout: Duration,
    max_size: usize,
    cache: Arc<Mutex<Cache>>,
}

impl Web {
    /// `max_size`: octets of one body.
    pub fn new(timeout: Duration, max_size: usize) -> Result<Self, WebError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("cip-relay/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT.min(timeout))
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| WebError(format!("no HTTP client: {}", words(&error))))?;
        Ok(Self { client, timeout, max_size, cache: Arc::default() })
    }

    /// One request and its redirects.
    pub async fn exchange(&self, request: Request) -> Result<Response, WebError> {
        let within = self.timeout;
        let done = tokio::time::timeout(within, self.follow(request)).await;
        done.unwrap_or_else(|_| Err(WebError(format!("there was no whole answer within {within:?}"))))
    }

    async fn follow(&self, mut request: Request) -> Result<Response, WebError> {
        for _ in 0..=REDIRECTS {
            let response = self.send(&request).await?;
            if !response.status.is_redirection() || response.status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let to = response.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to =
                to.and_then(|to| request.url.join(to).ok()).ok_or_else(|| WebError("redirected without saying where to".to_owned()))?;
            let origin = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned));
            if origin(&to) != origin(&request.url) || !to.username().is_empty() || to.password().is_some() {
                let host = to.host_str().unwrap_or("nowhere");
                return Err(WebError(format!(
                    "redirected to {}://{host}, and only redirects to the same scheme and host are followed; configure that URL if it is the right one",
                    to.scheme()
                )));
            }
            request.url = to;
        }
        Err(WebError(format!("more than {REDIRECTS} redirects")))
    }

    async fn send(&self, request: &Request) -> Result<Response, WebError> {
        let failed = |error: &reqwest::Error| WebError(words(error));
        let mut sent = self.client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if !request.body.is_empty() {
            sent = sent.body(request.body.clone());
        }
        let mut response = sent.send().await.map_err(|error| failed(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let too_large = || WebError(format!("the answer has more than {} octets (free-busy.max-size)", self.max_size));
        if response.content_length().is_some_and(|length| length > self.max_size as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if body.len() + chunk.len() > self.max_size {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }

    /// A published file: from the cache while it is fresh, else asked for, with what the server gave to know it by.
    pub async fn published(&self, url: Url, login: Option<HeaderValue>, now: Timestamp) -> Result<Published, WebError> {
        let key = format!("{url} {}", login.as_ref().map_or("", |l| l.to_str().unwrap_or_default()));
        let mut headers = HeaderMap::new();
        if let Some((published, etag, modified)) = self.look_up(&key, now) {
            if let Some(fresh) = published {
                return Ok(fresh);
            }
            headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag)));
            headers.extend(modified.map(|modified| (IF_MODIFIED_SINCE, modified)));
        }
        headers.extend(login.map(|login| (AUTHORIZATION, login)));
        let conditional = headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE);
        let response = self.exchange(Request { method: Method::GET, url, headers, body: Vec::new() }).await?;
        let published = match response.status {
            StatusCode::OK => Some(Arc::new(response.body)),
            StatusCode::NOT_FOUND | StatusCode::GONE => None,
            StatusCode::NOT_MODIFIED if conditional => return self.confirmed(&key, now),
            status => return Err(WebError(format!("the server answered {status}"))),
        };
        let header = |name| response.headers.get(name).filter(|v| v.len() <= 1024).cloned();
        let (etag, modified) = (header(ETAG), header(LAST_MODIFIED));
        self.keep(key, Cached { published: published.clone(), etag, modified, checked: now, used: 0 });
        Ok(published)
    }

    /// What is known: the file while it is fresh, and by what to ask for it anew.
    fn look_up(&self, key: &str, now: Timestamp) -> Option<(Option<Published>, Option<HeaderValue>, Option<HeaderValue>)> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let uses = cache.uses;
        let cached = cache.entries.get_mut(key)?;
        cached.used = uses;
        let fresh = (cached.checked <= now && now.since(cached.checked) < FRESH).then(|| cached.published.clone());
        let known = cached.published.is_some();
        Some((fresh, cached.etag.clone().filter(|_| known), cached.modified.clone().filter(|_| known)))
    }

    /// The server says that what we have still holds.
    fn confirmed(&self, key: &str, now: Timestamp) -> Result<Published, WebError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cache.entries.get_mut(key).ok_or_else(|| WebError("the cache lost the file meanwhile; ask again".to_owned()))?;
        cached.checked = now;
        Ok(cached.published.clone())
    }

    fn keep(&self, key: String, cached: Cached) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let used = cache.uses;
        cache.octets += cached.octets();
        if let Some(old) = cache.entries.insert(key, Cached { used, ..cached }) {
            cache.octets -= old.octets();
        }
        while cache.entries.len() > CACHED || cache.octets > CACHED_OCTETS {
            let Some(oldest) = cache.entries.iter().min_by_key(|(_, c)| c.used).map(|(key, _)| key.clone()) else { break };
            if let Some(old) = cache.entries.remove(&oldest) {
                cache.octets -= old.octets();
            }
        }
    }
}

/// `Authorization: Basic` (RFC 7617).
pub fn basic(user: &str, password: &[u8]) -> Result<HeaderValue, WebError> {
    use base64::Engine;
    let pair = [user.as_bytes(), b":", password].concat();
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).map_err(|error| WebError(error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Servers prove their names to the system's roots. Without any root https fails, and http still works.
fn tls() -> Result<ClientConfig, WebError> {
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if good == 0 {
        tracing::warn!("this machine has no root certificates: no https source of free/busy times can be asked; install ca-certificates");
    }
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| WebError(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// An error and what caused it, without the URL, which may hold a secret.
fn words(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    if text.is_empty() { "the request failed".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(octets: usize) -> Cached {
        Cached { published: Some(Arc::new(vec![0; octets])), etag: None, modified: None, checked: Timestamp(0), used: 0 }
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_what_was_not_used() {
        let web = Web::new(Duration::from_secs(1), 1000).unwrap();
        for n in 0..=CACHED {
            web.keep(n.to_string(), cached(1));
            assert!(web.look_up("0", Timestamp(0)).is_some());
        }
        assert!(web.look_up("1", Timestamp(0)).is_none(), "the least used went");
        web.keep("large".into(), cached(CACHED_OCTETS - 10));
        let cache = web.cache.lock().unwrap();
        assert!(cache.entries.contains_key("large") && cache.octets <= CACHED_OCTETS);
        assert_eq!(cache.octets, cache.entries.values().map(Cached::octets).sum::<usize>());
    }

    #[test]
    fn what_is_fresh_is_not_asked_for_again() {
        let web = Web::new(Duration::from_secs(1), 1000).unwrap();
        web.keep("a".into(), Cached { etag: Some(HeaderValue::from_static("\"1\"")), checked: Timestamp(1000), ..cached(5) });
        let fresh = |at: u64| web.look_up("a", Timestamp(at)).unwrap().0.is_some();
        assert!(fresh(1000) && fresh(60_999) && !fresh(61_000));
        assert!(!fresh(999), "a clock that went back proves nothing");
    }
}
