//! The relay's side of the control socket.
//!
//! Invariants: the socket is never reachable for anybody but its owner, not even for a moment (it is made in a private
//! folder and moved into place); at most [`MAX_CONNECTIONS`] are served, each one command at a time; a command whose
//! asker has gone away is not begun, and one that was begun for a lost asker stops at its next item.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::execute::{Backend, ExecuteError, Sink, execute};
use super::line;
use super::protocol::{Refusal, Request, Response, VERSION};
use crate::cli::exit::Exit;

/// Connections served at a time.
pub const MAX_CONNECTIONS: usize = 16;
/// How long an asker may say nothing, or leave an answer unread (somebody may be reading it in a pager).
const PATIENCE: Duration = Duration::from_mins(10);

/// Why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("{}: another relay is answering here; stop it first, or give this one a control-socket of its own", .0.display())]
    Taken(PathBuf),
    #[error("{}: is there and is no socket; remove it, or name another control-socket", .0.display())]
    NoSocket(PathBuf),
    #[error("{}: the control socket cannot be made: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// The listening socket; its file is removed when this is dropped, unless another relay has put its own there.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our file.
    file: (u64, u64),
}

impl ControlSocket {
    /// Makes the socket, mode 0600. One that is left from a relay that has ended is replaced; one that answers is not.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |error| ControlError::Io { path: path.to_owned(), error };
        match fs::symlink_metadata(path) {
            Ok(file) if !file.file_type().is_socket() => return Err(ControlError::NoSocket(path.to_owned())),
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => return Err(ControlError::Taken(path.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // bind() makes the file with the mode that the umask leaves, so it happens where nobody else can look.
        let folder = path.with_file_name(format!(".c{}", std::process::id()));
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?,
        }
        let made = Self::move_into_place(&folder.join("s"), path);
        // Only litter would be left.
        let _ = fs::remove_dir_all(&folder);
        made.map_err(failed)
    }

    fn move_into_place(from: &Path, path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(from)?;
        fs::set_permissions(from, Permissions::from_mode(0o600))?;
        let file = fs::symlink_metadata(from)?;
        fs::rename(from, path)?;
        Ok(Self { listener, path: path.to_owned(), file: (file.dev(), file.ino()) })
    }

    /// Serves until `stop` completes; commands that are being done then are ended with their connections.
    pub async fn serve(self, backend: Arc<Backend>, stop: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (room, backend) = (room.clone(), backend.clone());
                    connections.spawn(async move {
                        let Ok(_place) = room.try_acquire() else {
                            return turn_away(stream).await;
                        };
                        if let Err(error) = converse(stream, &backend).await {
                            tracing::debug!(%error, "control connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket does not accept; trying again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn turn_away(mut stream: UnixStream) {
    let refusal = Refusal { exit: Exit::TempFail.code(), message: format!("{MAX_CONNECTIONS} control connections are open; try again") };
    let _ = line::write(&mut stream, &Response::Error(refusal)).await;
}

async fn converse(stream: UnixStream, backend: &Backend) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let mut reader = BufReader::new(read);
    let mut answers = Answers(BufWriter::new(write));
    loop {
        let line = match timeout(PATIENCE, line::read(&mut reader, backend.max_request)).await? {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => line,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return answers.last(Response::Error(usage(format!("the request is too large: {error}")))).await;
            }
            Err(error) => return Err(error),
        };
        let response = match parse(&line) {
            Err(refusal) => Response::Error(refusal),
            Ok(request) => match execute(backend, request.command, &mut answers).await {
                Ok(touched) => Response::Done { touched },
                Err(ExecuteError::Refused(refusal)) => Response::Error(refusal),
                Err(ExecuteError::Sink(error)) => return Err(error),
            },
        };
        answers.last(response).await?;
    }
}

fn usage(message: String) -> Refusal {
    Refusal { exit: Exit::Usage.code(), message }
}

/// The version is judged before the command, which a later version may have words for that this one does not know.
fn parse(line: &[u8]) -> Result<Request, Refusal> {
    let request: Value = serde_json::from_slice(line).map_err(|error| usage(format!("the request is not JSON: {error}")))?;
    match request.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            let what = format!(
                "the command speaks version {version} of the control protocol and this relay version {VERSION}; use the program of the relay that runs"
            );
            return Err(usage(what));
        }
        None => return Err(usage("the request names no version".to_owned())),
    }
    serde_json::from_value(request).map_err(|error| usage(format!("the request is not understood: {error}")))
}

struct Answers(BufWriter<OwnedWriteHalf>);

impl Answers {
    async fn last(&mut self, response: Response) -> io::Result<()> {
        timeout(PATIENCE, async {
            line::write(&mut self.0, &response).await?;
            self.0.flush().await
        })
        .await?
    }
}

impl Sink for Answers {
    async fn item(&mut self, item: Value) -> io::Result<()> {
        timeout(PATIENCE, line::write(&mut self.0, &Response::Item(item))).await?
    }
}
