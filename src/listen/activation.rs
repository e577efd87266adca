//! Sockets that systemd bound for the relay (sd_listen_fds(3)): by the names of `systemd/*.socket`.
//!
//! Invariants: a kind of listener that was passed replaces what the configuration says for that kind and for no other; a name
//! that is not known is an error, since nobody would serve that socket.

use std::io;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use super::smtp::{Kind, Socket};

/// The sockets passed, by what they are for.
#[derive(Debug, Default)]
pub struct Activation {
    pub cip: Vec<TcpListener>,
    pub mail: Vec<(Kind, Socket)>,
}

impl Activation {
    /// Takes the sockets that the environment of this process announces; none when it was not started by a socket unit. To
    /// be called within a tokio runtime.
    pub fn take() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut fds = ListenFd::from_env();
        let mut taken = Self::default();
        for (n, name) in names.split(':').enumerate().take(fds.len()) {
            let kind = match name {
                "cip" => {
                    if let Some(listener) = fds.take_tcp_listener(n)? {
                        listener.set_nonblocking(true)?;
                        taken.cip.push(TcpListener::from_std(listener)?);
                    }
                    continue;
                }
                "smtp" => Kind::Smtp,
                "lmtp" => Kind::Lmtp,
                "inbound" => Kind::Inbound,
                _ => {
                    let why =
                        format!("the socket unit passes a socket named {name:?}; FileDescriptorName= must be cip, smtp, lmtp or inbound");
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
                }
            };
            taken.mail.push((kind, socket(&mut fds, n)?));
        }
        Ok(taken)
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.mail.iter().any(|(k, _)| *k == kind)
    }
}

/// A TCP or Unix socket, whichever was passed.
fn socket(fds: &mut ListenFd, n: usize) -> io::Result<Socket> {
    if let Ok(Some(listener)) = fds.take_tcp_listener(n) {
        listener.set_nonblocking(true)?;
        return Ok(Socket::Tcp(TcpListener::from_std(listener)?));
    }
    match fds.take_unix_listener(n)? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            Ok(Socket::Unix(UnixListener::from_std(listener)?))
        }
        None => Err(io::Error::new(io::ErrorKind::NotFound, format!("socket {n} of the socket unit is not there"))),
    }
}
