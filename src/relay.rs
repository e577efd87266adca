//! The relay as a whole: store, queue, ledger, the door, delivery, and the listeners that run on top of them.
//!
//! [`Relay::start`] is what `serve`, the demo and the tests all run. Invariants: nothing listens before the store is open
//! and in order; a shutdown first stops accepting, then lets what is in hand finish within [`SHUTDOWN`], and leaves the
//! rest on disk.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::execute::Backend;
use crate::admin::server::{ControlError, ControlSocket};
use crate::clock::Clock;
use crate::config::{Config, Listen};
use crate::courier::cip::CipCourier;
use crate::courier::mail::{MailCourier, Probe};
use crate::delivery::Delivery;
use crate::freebusy::{FreeBusy, WebError};
use crate::intake::Intake;
use crate::ledger::{Ledger, LedgerError};
use crate::listen;
use crate::listen::activation::Activation;
use crate::listen::smtp::{Kind, SmtpSettings, Socket};
use crate::locate::Locator;
use crate::policy::authenticity::Authenticator;
use crate::policy::credentials::{Credentials, CredentialsError};
use crate::policy::directory::{Directory, DirectoryError};
use crate::policy::standing::Standings;
use crate::policy::verify::Verifier;
use crate::queue::{Queue, QueueError};
use crate::resolver::{Resolver, ResolverError};
use crate::retention::Sweeper;
use crate::store::{CommitError, OpenError, Store, StoreOptions, compact};

/// How long a shutdown may take.
pub const SHUTDOWN: Duration = Duration::from_secs(20);

/// EAFNOSUPPORT.
const NO_IPV6: i32 = 97;

/// The name under which the secret for tokens is kept.
const SECRET: &str = "token-secret";

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    #[error(transparent)]
    Web(#[from] WebError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("cannot listen on {what}: {error}; is another program there, or is the address not this host's?")]
    Listen { what: String, error: io::Error },
}

/// A running relay.
pub struct Relay {
    config: Arc<Config>,
    directory: Directory,
    intake: Intake,
    delivery: Delivery,
    queue: Queue,
    ledger: Ledger,
    addresses: Addresses,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Where the relay really listens: a port 0 in the configuration is a port of the system's choice here.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pub cip: Vec<SocketAddr>,
    pub smtp: Vec<Listen>,
    pub lmtp: Vec<Listen>,
    pub inbound: Vec<Listen>,
}

/// The parts that read and write what is on disk, without listeners and couriers: what the administrator's commands
/// need when the relay is not running.
pub struct Stores {
    pub queue: Queue,
    pub ledger: Ledger,
}

impl Stores {
    /// Opens them, and compacts the store when it is worth it.
    pub fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, RelayError> {
        let options = StoreOptions { compact_from: Some(compact::FROM), ..StoreOptions::from(&config.storage) };
        let store = Store::open(&config.data_dir, &options)?;
        let queue = Queue::open(store.clone(), clock, config.delivery.per_destination)?;
        Ok(Self { queue, ledger: Ledger::new(store) })
    }
}

impl Relay {
    /// Opens the store, binds every listener, and starts to accept and to deliver.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, RelayError> {
        Self::start_on(config, clock, Activation::default()).await
    }

    /// As [`Relay::start`], on sockets that were passed in where there are any.
    pub async fn start_on(config: Config, clock: Arc<dyn Clock>, passed: Activation) -> Result<Self, RelayError> {
        let config = Arc::new(config);
        let credentials = match &config.cip.credentials {
            Some(path) => Credentials::load(path)?,
            None => Credentials::default(),
        };
        let resolver = Resolver::new(&config.dns)?;
        let directory = Directory::asking(&config, Verifier::new(Probe::new(&config, resolver.clone()), clock.clone()))?;
        let Stores { queue, ledger } = Stores::open(&config, clock.clone())?;
        let secret = secret(&queue, &ledger).await?;
        let control = ControlSocket::bind(&config.control_socket())?;
        let bound = Bound::bind(&config, passed).await?;
        let locator = Locator::new(resolver.clone(), &config).own_addresses(bound.addresses.cip.clone());
        let cip = CipCourier::new(locator, clock.clone());
        let mail = MailCourier::new(&config, resolver.clone());
        let authenticator = Authenticator::new(&config, &resolver);
        let standings = Standings::new(config.clone(), resolver);
        let free_busy =
            FreeBusy::new(config.clone(), directory.clone(), ledger.clone(), queue.clone(), standings.clone(), cip.clone(), clock.clone())?;
        let intake = Intake::new(
            config.clone(),
            queue.clone(),
            ledger.clone(),
            directory.clone(),
            credentials,
            standings,
            authenticator,
            free_busy,
            clock.clone(),
        );
        let sweeper = Sweeper::new(queue.clone(), ledger.clone(), clock.clone(), config.ledger.retention());
        let delivery = Delivery::new(config.clone(), queue.clone(), ledger.clone(), directory.clone(), cip, mail, clock, secret);
        let (stop, _) = watch::channel(false);
        let addresses = bound.addresses.clone();
        let mut relay = Self { config, directory, intake, delivery, queue, ledger, addresses, stop, tasks: JoinSet::new() };
        relay.listen(bound);
        relay.tasks.spawn(relay.delivery.clone().run(relay.stop.subscribe()));
        relay.tasks.spawn(sweeper.run(relay.stop.subscribe()));
        relay.follow_users();
        let backend = Backend {
            queue: relay.queue.clone(),
            ledger: relay.ledger.clone(),
            config: relay.config.clone(),
            server_id: relay.config.server_id.clone(),
            expire_after: relay.config.delivery.expire_after.0,
            max_request: usize::try_from(relay.config.cip.max_event_size.0).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(4 << 20),
            door: Some(Arc::new(relay.intake.clone())),
        };
        let mut stop = relay.stop.subscribe();
        relay.tasks.spawn(control.serve(Arc::new(backend), async move {
            // A sender that is gone has stopped as well.
            let _ = stop.wait_for(|stop| *stop).await;
        }));
        Ok(relay)
    }

    fn listen(&mut self, bound: Bound) {
        let config = self.config.clone();
        let door = Arc::new(self.intake.clone());
        for listener in bound.cip {
            let settings = listen::cip::CipSettings {
                hostname: config.host_name(),
                max_sessions: config.cip.max_sessions,
                idle_timeout: config.cip.idle_timeout.0,
                max_event_size: usize::try_from(config.cip.max_event_size.0).unwrap_or(usize::MAX),
                allow_plaintext_login: config.cip.allow_plaintext_login,
            };
            self.tasks.spawn(listen::cip::serve(listener, door.clone(), settings, self.stop.subscribe()));
        }
        for (kind, socket) in bound.mail {
            let settings = SmtpSettings {
                hostname: config.host_name(),
                kind,
                trusted_networks: config.mail.trusted_networks.clone(),
                max_sessions: config.cip.max_sessions,
                idle_timeout: config.cip.idle_timeout.0,
                max_message: usize::try_from(config.cip.max_event_size.0).unwrap_or(usize::MAX),
            };
            self.tasks.spawn(listen::smtp::serve(socket, door.clone(), settings, self.stop.subscribe()));
        }
    }

    /// The users' files, for as long as the relay runs.
    fn follow_users(&mut self) {
        let (directory, mut stopped) = (self.directory.clone(), self.stop.subscribe());
        self.tasks.spawn(async move {
            tokio::select! {
                () = directory.follow_files() => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
    }

    /// Reads the users' files and credentials anew (SIGHUP); on an error the old ones stay in force.
    pub fn reload(&self, config: &Config) -> Result<(), RelayError> {
        let credentials = match &config.cip.credentials {
            Some(path) => Credentials::load(path)?,
            None => Credentials::default(),
        };
        self.directory.reload(config)?;
        self.intake.set_credentials(credentials);
        Ok(())
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The first CIP listener.
    pub fn cip_address(&self) -> Option<SocketAddr> {
        self.addresses.cip.first().copied()
    }

    pub fn control_socket(&self) -> PathBuf {
        self.config.control_socket()
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Why the relay takes nothing new just now, if so.
    pub fn ready(&self) -> Result<(), String> {
        self.queue.store().ready()
    }

    /// Stops accepting, lets what is in hand finish within [`SHUTDOWN`], and closes the store.
    pub async fn shutdown(mut self) {
        self.intake.close();
        let _ = self.stop.send(true);
        let finish = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN, finish).await.is_err() {
            tracing::warn!("not everything in hand ended in time; it stays in the queue");
        }
        self.tasks.shutdown().await;
    }
}

/// The secret that tokens are derived with: made once, kept in the store.
async fn secret(queue: &Queue, ledger: &Ledger) -> Result<[u8; 32], RelayError> {
    if let Some(secret) = ledger.meta(SECRET)?.and_then(|s| <[u8; 32]>::try_from(s).ok()) {
        return Ok(secret);
    }
    let secret: [u8; 32] = rand::random();
    let mut change = queue.change();
    ledger.put_meta(change.batch_mut(), SECRET, secret.to_vec());
    queue.commit(change).await?;
    Ok(secret)
}

/// Sockets that listen and are not served yet.
struct Bound {
    cip: Vec<TcpListener>,
    mail: Vec<(Kind, Socket)>,
    addresses: Addresses,
}

impl Bound {
    async fn bind(config: &Config, passed: Activation) -> Result<Self, RelayError> {
        let mut bound = Self { cip: Vec::new(), mail: Vec::new(), addresses: Addresses::default() };
        let ours: &[SocketAddr] = if passed.cip.is_empty() { &config.cip.listen } else { &[] };
        for address in ours {
            let failed = |error| RelayError::Listen { what: address.to_string(), error };
            let listener = match TcpListener::bind(address).await {
                // A host without IPv6: the address that means "all" has another form there.
                Err(error) if error.raw_os_error() == Some(NO_IPV6) && address.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED) => {
                    TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
                }
                other => other,
            }
            .map_err(failed)?;
            bound.addresses.cip.push(listener.local_addr().map_err(failed)?);
            bound.cip.push(listener);
        }
        let kinds =
            [(Kind::Smtp, &config.mail.smtp_listen), (Kind::Lmtp, &config.mail.lmtp_listen), (Kind::Inbound, &config.mail.inbound_listen)];
        for (kind, addresses) in kinds {
            if passed.has(kind) {
                continue;
            }
            for address in addresses {
                let failed = |error| RelayError::Listen { what: format!("{address:?}"), error };
                let socket = listen::smtp::bind(address).map_err(failed)?;
                bound.add(kind, socket).map_err(failed)?;
            }
        }
        let failed = |error| RelayError::Listen { what: "a socket of the socket unit".to_owned(), error };
        for listener in passed.cip {
            bound.addresses.cip.push(listener.local_addr().map_err(failed)?);
            bound.cip.push(listener);
        }
        for (kind, socket) in passed.mail {
            bound.add(kind, socket).map_err(failed)?;
        }
        Ok(bound)
    }

    fn add(&mut self, kind: Kind, socket: Socket) -> io::Result<()> {
        let address = match &socket {
            Socket::Tcp(listener) => Listen::Tcp(listener.local_addr()?),
            Socket::Unix(listener) => Listen::Unix(listener.local_addr()?.as_pathname().map(PathBuf::from).unwrap_or_default()),
        };
        match kind {
            Kind::Smtp => self.addresses.smtp.push(address),
            Kind::Lmtp => self.addresses.lmtp.push(address),
            Kind::Inbound => self.addresses.inbound.push(address),
        }
        self.mail.push((kind, socket));
        Ok(())
    }
}
