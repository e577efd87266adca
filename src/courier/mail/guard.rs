//! The stream that the SMTP client library is given: it bounds replies and keeps question and answer in step.
//!
//! Why it is needed: the library reads a reply line of any length into memory, spends time that grows with the square of
//! a reply's lines, takes octets that arrived before a TLS handshake for what was said inside it, and gives a reply that
//! was sent unasked to the next command.
//!
//! Invariants: between two writes of ours at most one reply is passed on, of at most [`MAX_REPLY`] octets in at most
//! [`MAX_LINES`] lines of at most [`MAX_LINE`] octets that end in CRLF; octets beyond it are an error; what is passed on is printable ASCII. TLS lies
//! below, so that all of it holds inside TLS too.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Octets of one reply, all lines.
pub const MAX_REPLY: usize = 16 << 10;
/// Lines of one reply. The library reads a reply anew from its start for each line that comes, so that the work grows
/// with the square.
pub const MAX_LINES: usize = 128;
/// Octets of one line with its CRLF: RFC 5321 4.5.3.1.5 says 512, and servers exceed it.
pub const MAX_LINE: usize = 998;

/// What the guard sits on.
pub enum Inner {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Shared with whoever opened the connection, so that the socket can be taken back for the TLS handshake. Locked for
/// one poll at a time.
#[derive(Clone)]
pub struct Slot(Arc<Mutex<Option<Inner>>>);

impl Slot {
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(Mutex::new(Some(inner))))
    }

    /// Takes the socket away from the guard, which from then on is at its end.
    pub fn take(&self) -> Option<Inner> {
        self.lock().take()
    }

    /// Whether the server has neither closed nor spoken since its last reply was read.
    pub async fn is_quiet(&self) -> bool {
        // The runtime learns of a closed socket only when it has looked.
        tokio::task::yield_now().await;
        std::future::poll_fn(|cx| Poll::Ready(self.lock().as_mut().is_some_and(|inner| inner.is_quiet(cx)))).await
    }

    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let mut octet = [0];
        self.poll_read(cx, &mut ReadBuf::new(&mut octet)).is_pending()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

/// See the module's words.
pub struct Guard {
    slot: Slot,
    peer: SocketAddr,
    /// Given to the reader before anything from the socket.
    greeting: &'static [u8],
    /// Written instead of the first octets, as many.
    instead: &'static [u8],
    reply: Reply,
    spoken: Spoken,
}

/// Whether anything has been written through the guard: the greeting was accepted.
#[derive(Clone, Default)]
pub struct Spoken(Arc<AtomicBool>);

impl Spoken {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where in a reply the server is.
#[derive(Default)]
struct Reply {
    /// Nothing is owed: the last reply was complete, and nothing was written since.
    complete: bool,
    octets: usize,
    lines: usize,
    /// Octets of the line so far.
    line: usize,
    /// The fourth octet of the line: `-` says that another line follows.
    fourth: u8,
    last: u8,
}

impl Reply {
    fn begin(&mut self) {
        *self = Self::default();
    }

    /// Judges octets as they come, and makes them printable.
    fn take(&mut self, octets: &mut [u8]) -> Result<(), &'static str> {
        for octet in octets {
            if self.complete {
                return Err("the server spoke unasked");
            }
            self.octets += 1;
            self.line += 1;
            if self.octets > MAX_REPLY || self.lines == MAX_LINES || self.line > MAX_LINE {
                return Err("the server's reply is too long");
            }
            if (*octet == b'\n') != (self.last == b'\r') {
                return Err("the server's reply has a line that does not end in CRLF");
            }
            if self.line == 4 {
                self.fourth = *octet;
            }
            self.last = *octet;
            if *octet == b'\n' {
                self.complete = self.fourth != b'-';
                self.lines += 1;
                self.line = 0;
                self.fourth = 0;
            } else if *octet != b'\r' && !(b' '..=b'~').contains(octet) {
                // The library reads replies as UTF-8 and gives up on Latin-1.
                *octet = b'?';
            }
        }
        Ok(())
    }
}

impl Guard {
    pub fn new(slot: Slot, peer: SocketAddr) -> Self {
        Self { slot, peer, greeting: b"", instead: b"", reply: Reply::default(), spoken: Spoken::default() }
    }

    pub fn spoken(&self) -> Spoken {
        self.spoken.clone()
    }

    /// Inside TLS after STARTTLS there is no greeting (RFC 3207 4.2), and the library waits for one.
    pub fn greeted(mut self) -> Self {
        self.greeting = b"220 inside TLS\r\n";
        self
    }

    /// Says HELO where the library says EHLO, which is the first thing it says (RFC 5321 3.2).
    pub fn helo(mut self) -> Self {
        self.instead = b"HELO";
        self
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection was given up")
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        if !it.greeting.is_empty() {
            let n = it.greeting.len().min(buf.remaining());
            buf.put_slice(&it.greeting[..n]);
            it.greeting = &it.greeting[n..];
            it.reply.complete = it.greeting.is_empty();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        {
            let mut slot = it.slot.lock();
            let Some(inner) = slot.as_mut() else { return Poll::Ready(Err(gone())) };
            ready!(inner.poll_read(cx, buf))?;
        }
        Poll::Ready(it.reply.take(&mut buf.filled_mut()[before..]).map_err(invalid))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        let mut slot = it.slot.lock();
        let Some(inner) = slot.as_mut() else { return Poll::Ready(Err(gone())) };
        if it.reply.complete {
            if !inner.is_quiet(cx) {
                return Poll::Ready(Err(invalid("the server closed the connection or spoke unasked")));
            }
            it.reply.begin();
        }
        let octets = if it.instead.is_empty() { buf } else { &it.instead[..it.instead.len().min(buf.len())] };
        let n = ready!(match inner {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_write(cx, octets),
            Inner::Tls(tls) => Pin::new(tls).poll_write(cx, octets),
        })?;
        it.spoken.0.store(true, Ordering::Relaxed);
        it.instead = &it.instead[n.min(it.instead.len())..];
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.slot.lock().as_mut() {
            Some(Inner::Tcp(tcp)) => Pin::new(tcp).poll_flush(cx),
            Some(Inner::Tls(tls)) => Pin::new(tls).poll_flush(cx),
            None => Poll::Ready(Err(gone())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.slot.lock().as_mut() {
            Some(Inner::Tcp(tcp)) => Pin::new(tcp).poll_shutdown(cx),
            Some(Inner::Tls(tls)) => Pin::new(tls).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.peer)
    }
}

impl AsyncTokioStream for Guard {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(octets: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut reply = Reply::default();
        let mut all = octets.to_vec();
        // Octet by octet and at once must come to the same.
        let mut again = all.clone();
        let one = again.iter_mut().try_for_each(|b| reply.take(std::slice::from_mut(b)));
        reply.begin();
        assert_eq!(reply.take(&mut all), one);
        one.map(|()| all)
    }

    #[test]
    fn one_reply_passes_and_nothing_else() {
        for (octets, want) in [
            (&b"220 mx\r\n"[..], Ok(&b"220 mx\r\n"[..])),
            (b"250-a\r\n250-b\r\n250 c\r\n", Ok(b"250-a\r\n250-b\r\n250 c\r\n")),
            (b"250-a\r\n250", Ok(b"250-a\r\n250")),
            (b"250\r\n", Ok(b"250\r\n")),
            (b"550 f\xfcr \x1b[31m\r\n", Ok(b"550 f?r ?[31m\r\n")),
            (b"220 go\r\n250 injected\r\n", Err("the server spoke unasked")),
            (b"250-a\r\n250 b\r\nx", Err("the server spoke unasked")),
            (b"250 a\n", Err("the server's reply has a line that does not end in CRLF")),
            (b"250 a\rb\r\n", Err("the server's reply has a line that does not end in CRLF")),
        ] {
            assert_eq!(taken(octets), want.map(<[u8]>::to_vec), "{:?}", String::from_utf8_lossy(octets));
        }
        let too_long = Err("the server's reply is too long");
        assert_eq!(taken(&[b'2'; MAX_LINE + 1]), too_long);
        assert_eq!(taken("250-x\r\n".repeat(MAX_LINES + 1).as_bytes()), too_long);
        assert_eq!(taken(format!("250-{}\r\n", "x".repeat(900)).repeat(MAX_REPLY / 900 + 1).as_bytes()), too_long);
        assert!(taken("250-x\r\n".repeat(MAX_LINES).as_bytes()).is_ok());
        assert!(taken(&[b'2'; MAX_LINE]).is_ok());
    }
}
