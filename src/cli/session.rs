//! Where the inspecting commands are done: in the running relay, or on its data directory when it does not run.
//!
//! Invariant: which of the two it is makes no difference to what is printed on standard output.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::Value;

use super::exit::{Exit, Failure};
use crate::admin::client::{CallError, Client};
use crate::admin::execute::{Backend, ExecuteError, Sink, execute};
use crate::admin::protocol::{Command, Refusal};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::queue::Queue;
use crate::store::{OpenError, Store, StoreOptions};

/// What gets the items of an answer.
pub type OnItem<'a> = &'a mut (dyn FnMut(Value) -> io::Result<()> + Send);

/// A way to have commands done.
pub enum Session {
    Online(Client),
    Offline(Box<Backend>),
    /// There is no data directory yet: nothing has ever been queued.
    Nothing,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(Exit::from_code(refusal.exit), refusal.message)
    }
}

/// Octets of a request to a relay of this configuration: a message of the largest size, in base64, and its envelope.
pub fn max_request(config: &Config) -> usize {
    usize::try_from(config.cip.max_event_size.0.saturating_mul(2).saturating_add(4 << 20)).unwrap_or(usize::MAX)
}

impl Session {
    /// Connects to the running relay, else opens the data directory, and says so on standard error. `create`: make the
    /// data directory when there is none.
    pub async fn open(config: &Config, create: bool) -> Result<Self, Failure> {
        if let Some(client) = connect(config).await? {
            return Ok(Self::Online(client));
        }
        let dir = &config.data_dir;
        let mut err = io::stderr().lock();
        if !dir.exists() && !create {
            writeln!(err, "cip-relay is not running, and {} does not exist yet", dir.display())?;
            return Ok(Self::Nothing);
        }
        let options = StoreOptions { free_space_minimum: 0, ..StoreOptions::from(&config.storage) };
        let store = Store::open(dir, &options).map_err(|error| match error {
            OpenError::Locked(_) => {
                let words = format!(
                    "{error}; nobody answers at {}: start the relay again if the socket is lost",
                    config.control_socket().display()
                );
                Failure::new(Exit::TempFail, words)
            }
            error => Failure::new(Exit::Io, error.to_string()),
        })?;
        // Not said before the lock is had: until then a relay may well run, with its socket gone.
        writeln!(err, "cip-relay is not running; reading {} directly", dir.display())?;
        let queue = Queue::open(store, Arc::new(SystemClock), config.delivery.per_destination)
            .map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
        let backend = Backend {
            ledger: Ledger::new(queue.store().clone()),
            queue,
            config: Arc::new(config.clone()),
            server_id: config.server_id.clone(),
            expire_after: config.delivery.expire_after.0,
            max_request: max_request(config),
            door: None,
        };
        Ok(Self::Offline(Box::new(backend)))
    }

    /// Has one command done; gives how many entries were touched.
    pub async fn call(&mut self, command: Command, on_item: OnItem<'_>) -> Result<u64, Failure> {
        match self {
            Self::Online(client) => client.call(command, on_item).await.map_err(|error| match error {
                CallError::Refused(refusal) => refusal.into(),
                CallError::Sink(error) => error.into(),
                lost @ CallError::Lost(_) => Failure::new(Exit::TempFail, lost.to_string()),
            }),
            Self::Offline(backend) => execute(backend, command, &mut Printer(on_item)).await.map_err(|error| match error {
                ExecuteError::Refused(refusal) => refusal.into(),
                ExecuteError::Sink(error) => error.into(),
            }),
            Self::Nothing => match command {
                Command::Show { id, .. } => Err(Failure::new(Exit::Data, format!("{id}: no such entry in the queue"))),
                _ => Ok(0),
            },
        }
    }
}

/// The running relay, if there is one.
pub async fn connect(config: &Config) -> Result<Option<Client>, Failure> {
    let socket = config.control_socket();
    Client::connect(&socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::new(Exit::NoPerm, format!("{}: {error}; run this as the user that the relay runs as", socket.display()))
        }
        _ => Failure::new(Exit::Io, format!("{}: {error}", socket.display())),
    })
}

struct Printer<'a>(OnItem<'a>);

impl Sink for Printer<'_> {
    async fn item(&mut self, item: Value) -> io::Result<()> {
        (self.0)(item)
    }
}
