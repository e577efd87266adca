//! A DNS server in the process, on UDP and TCP, from zone text.
//!
//! A name below no `$ORIGIN` of the zone text does not exist (the server also plays the root), so that a scenario needs
//! to write down only what there is. Answers are not to be cached (TTL and negative TTL 0 unless the text says
//! otherwise), so that a change is seen by the next look-up.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::LowerName;
use hickory_server::proto::serialize::txt::Parser;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, MessageResponseBuilder, ZoneType};
use tokio::net::{TcpListener, UdpSocket};

pub struct Dns {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Dropping it ends the server's tasks.
    _server: Server<Handler>,
}

struct Shared {
    catalog: Mutex<Arc<Catalog>>,
    /// Names in lower case without the final dot.
    servfail: Mutex<HashSet<String>>,
    silent: Mutex<HashSet<String>>,
    queries: Mutex<HashMap<(String, String), usize>>,
}

struct Handler(Arc<Shared>);

impl Dns {
    /// Serves `zone`: zone file text with one or more `$ORIGIN name.` lines, each followed by the records of that zone.
    /// SOA and `$TTL` are put in where they are missing.
    pub async fn start(zone: &str) -> Self {
        let shared = Arc::new(Shared {
            catalog: Mutex::new(Arc::new(catalog(zone))),
            servfail: Mutex::default(),
            silent: Mutex::default(),
            queries: Mutex::default(),
        });
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let mut server = Server::new(Handler(shared.clone()));
        server.register_socket(udp);
        server.register_listener(tcp, Duration::from_secs(5), 32);
        Self { address, shared, _server: server }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves other records from now on.
    pub fn replace(&self, zone: &str) {
        *self.shared.catalog.lock().unwrap() = Arc::new(catalog(zone));
    }

    /// Whether every question about `name` or a name below it gets SERVFAIL.
    pub fn servfail(&self, name: &str, on: bool) {
        switch(&self.shared.servfail, name, on);
    }

    /// Whether questions about `name` or a name below it get no answer at all.
    pub fn silent(&self, name: &str, on: bool) {
        switch(&self.shared.silent, name, on);
    }

    /// How often `name` was asked for, with this record type (`"SRV"`) or, with `""`, with any.
    pub fn queries(&self, name: &str, kind: &str) -> usize {
        let name = plain(name);
        let queries = self.shared.queries.lock().unwrap();
        queries.iter().filter(|((n, k), _)| *n == name && (kind.is_empty() || k == kind)).map(|(_, count)| count).sum()
    }
}

fn switch(set: &Mutex<HashSet<String>>, name: &str, on: bool) {
    let mut set = set.lock().unwrap();
    if on {
        set.insert(plain(name));
    } else {
        set.remove(&plain(name));
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn covers(set: &Mutex<HashSet<String>>, name: &str) -> bool {
    let set = set.lock().unwrap();
    set.iter().any(|covered| name == covered || name.strip_suffix(covered.as_str()).is_some_and(|rest| rest.ends_with('.')))
}

/// The same port for both transports; TCP may find it taken, then another one is tried.
async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

fn catalog(text: &str) -> Catalog {
    let mut zones: Vec<(String, String)> = vec![(".".to_owned(), String::new())];
    for line in text.lines() {
        // Scenarios indent their zone text; in a zone file a leading blank would mean "the same name again".
        let line = line.trim();
        if let Some(origin) = line.strip_prefix("$ORIGIN ") {
            zones.push((origin.split_whitespace().next().unwrap_or(".").to_owned(), String::new()));
        } else if !line.is_empty() {
            let zone = zones.last_mut().unwrap();
            zone.1.push_str(line);
            zone.1.push('\n');
        }
    }
    let mut catalog = Catalog::new();
    for (origin, records) in zones {
        let soa = if records.contains(" SOA ") { "" } else { "@ 0 IN SOA ns.invalid. admin.invalid. 1 3600 600 86400 0\n" };
        let text = format!("$ORIGIN {origin}\n$TTL 0\n{soa}{records}");
        let (name, records) = Parser::new(text.as_str(), None, None).parse().unwrap_or_else(|e| panic!("zone {origin}: {e}\n{text}"));
        let zone = InMemoryZoneHandler::<TokioRuntimeProvider>::new(name.clone(), records, ZoneType::Primary, AxfrPolicy::Deny)
            .unwrap_or_else(|e| panic!("zone {origin}: {e}\n{text}"));
        catalog.upsert(LowerName::new(&name), vec![Arc::new(zone)]);
    }
    catalog
}

/// Nothing was sent; the server only logs what it is told here.
fn unsent(request: &Request) -> ResponseInfo {
    ResponseInfo::from(Header { metadata: Metadata::response_from_request(&request.metadata), counts: HeaderCounts::default() })
}

impl RequestHandler for Handler {
    // What `#[async_trait]` makes of the trait's `async fn`, written out to spare the dependency.
    fn handle_request<'s, 'r, 'f, R, T>(
        &'s self,
        request: &'r Request,
        mut response: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'f>>
    where
        R: ResponseHandler + 'f,
        T: Time + 'f,
        's: 'f,
        'r: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            if let Ok(info) = request.request_info() {
                let name = plain(&info.query.name().to_string());
                *self.0.queries.lock().unwrap().entry((name.clone(), info.query.query_type().to_string())).or_default() += 1;
                if covers(&self.0.silent, &name) {
                    return unsent(request);
                }
                if covers(&self.0.servfail, &name) {
                    let message =
                        MessageResponseBuilder::from_message_request(request).error_msg(&request.metadata, ResponseCode::ServFail);
                    return response.send_response(message).await.unwrap_or_else(|_| unsent(request));
                }
            }
            let catalog = self.0.catalog.lock().unwrap().clone();
            catalog.handle_request::<R, T>(request, response).await
        })
    }
}
