//! A web server that answers as it is told and keeps every request (RFC 9112, one request a connection).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peer::line;
use super::port::Port;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What to do about a request.
#[derive(Clone, Debug)]
pub enum Page {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// These octets as they are, then the connection is closed.
    Raw(Vec<u8>),
    /// A body without end, as fast as it is read.
    Endless,
    /// A body without end, an octet every 100 ms.
    Slow,
    /// No answer, ever.
    Silence,
}

impl Page {
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status: 200, headers: Vec::new(), body: body.into() }
    }

    pub fn status(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn to(location: &str) -> Self {
        Self::status(302).header("Location", location)
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Site = Arc<dyn Fn(&Request) -> Page + Send + Sync>;

pub struct Web {
    port: Port,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Web {
    // Not because it waits: the port belongs to the runtime that it is started on.
    #[allow(clippy::unused_async)]
    pub async fn start(site: impl Fn(&Request) -> Page + Send + Sync + 'static) -> Self {
        let (site, requests): (Site, Arc<Mutex<Vec<Request>>>) = (Arc::new(site), Arc::default());
        let kept = requests.clone();
        let port = Port::new(move |stream| {
            let (site, kept) = (site.clone(), kept.clone());
            // A client that goes away ends its own request and nothing else.
            async move { drop(serve(stream, &site, &kept).await) }
        });
        port.open();
        Self { port, requests }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `http://ADDRESS` and this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Refuses connections from now on.
    pub async fn stop(&self) {
        self.port.close().await;
    }
}

async fn serve(mut stream: TcpStream, site: &Site, kept: &Mutex<Vec<Request>>) -> std::io::Result<()> {
    let mut early = Vec::new();
    let Some(first) = line(&mut stream, &mut early).await? else { return Ok(()) };
    let first = String::from_utf8_lossy(&first).into_owned();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut headers = HashMap::new();
    while let Some(header) = line(&mut stream, &mut early).await?.filter(|l| !l.is_empty()) {
        let header = String::from_utf8_lossy(&header).into_owned();
        if let Some((name, value)) = header.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length: usize = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = early;
    while body.len() < length && stream.read_buf(&mut body).await? > 0 {}
    let request = Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() };
    let page = site(&request);
    kept.lock().unwrap().push(request);
    match page {
        Page::Answer { status, headers, body } => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} As Told\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Page::Raw(octets) => stream.write_all(&octets).await?,
        Page::Endless => {
            stream.write_all(b"HTTP/1.1 200 As Told\r\nConnection: close\r\n\r\nBEGIN:VCALENDAR\r\n").await?;
            loop {
                stream.write_all(&b"X-MORE:and more and more and more\r\n".repeat(1000)).await?;
            }
        }
        Page::Slow => {
            stream.write_all(b"HTTP/1.1 200 As Told\r\nConnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(b"B").await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Page::Silence => std::future::pending().await,
    }
    stream.shutdown().await
}
