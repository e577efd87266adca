//! The command's side of the control socket.

use std::io;
use std::path::Path;

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::UnixStream;

use super::line;
use super::protocol::{Command, Refusal, Request, Response, VERSION};

/// Octets of one line of an answer: an exported entry with its body in base64 is the longest.
const MAX_ANSWER: usize = 1 << 30;

/// Why a call to the running relay failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection, not what was asked.
    #[error("the relay's answer was cut off: {0}")]
    Lost(io::Error),
    /// Where the items were going.
    #[error(transparent)]
    Sink(io::Error),
}

/// A connection to a running relay.
#[derive(Debug)]
pub struct Client(BufReader<UnixStream>);

impl Client {
    /// `None`: no relay is running here.
    pub async fn connect(socket: &Path) -> io::Result<Option<Self>> {
        match UnixStream::connect(socket).await {
            Ok(stream) => Ok(Some(Self(BufReader::new(stream)))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks one thing; `on_item` gets the items as they come. Gives how many entries were touched.
    pub async fn call(&mut self, command: Command, on_item: &mut (dyn FnMut(Value) -> io::Result<()> + Send)) -> Result<u64, CallError> {
        let request = Request { version: VERSION, command };
        // A relay that turns the connection away has said why before the request is read: its words come first.
        let written = line::write(&mut self.0, &request).await;
        loop {
            let line = match line::read(&mut self.0, MAX_ANSWER).await {
                Ok(Some(line)) => line,
                Ok(None) => {
                    let error = written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Err(CallError::Lost(error));
                }
                Err(error) => return Err(CallError::Lost(error)),
            };
            match serde_json::from_slice(&line).map_err(|error| CallError::Lost(error.into()))? {
                Response::Item(item) => on_item(item).map_err(CallError::Sink)?,
                Response::Done { touched } => return Ok(touched),
                Response::Error(refusal) => return Err(refusal.into()),
            }
        }
    }
}
