//! A listening port on 127.0.0.1 that can be closed and opened again.
//!
//! While closed, the port stays bound without listening: connections are refused, as by a dead server, and no other
//! program of the machine is given the number in the meantime.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

type Handler = Arc<dyn Fn(TcpStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

pub struct Port {
    address: SocketAddr,
    handler: Handler,
    state: Mutex<State>,
    sessions: Arc<AtomicUsize>,
}

enum State {
    Closed(TcpSocket),
    Open(JoinHandle<()>),
    Moving,
}

impl Port {
    /// A port that runs `handler` for each connection; closed until [`Port::open`].
    pub fn new<F, Fut>(handler: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local_addr().unwrap();
        Self {
            address,
            handler: Arc::new(move |stream| Box::pin(handler(stream))),
            state: Mutex::new(State::Closed(socket)),
            sessions: Arc::default(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open just now.
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::SeqCst)
    }

    /// Starts to accept; nothing when it already does.
    pub fn open(&self) {
        let mut state = self.state.lock().unwrap();
        *state = match std::mem::replace(&mut *state, State::Moving) {
            State::Closed(socket) => {
                let listener = socket.listen(1024).unwrap();
                State::Open(tokio::spawn(accept(listener, self.handler.clone(), self.sessions.clone())))
            }
            other => other,
        };
    }

    /// Closes the listener and every connection; from then on connections are refused.
    pub async fn close(&self) {
        let task = {
            let mut state = self.state.lock().unwrap();
            match std::mem::replace(&mut *state, State::Moving) {
                State::Open(task) => task,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        task.abort();
        let _ = task.await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        *self.state.lock().unwrap() = State::Closed(socket);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Ok(State::Open(task)) = self.state.get_mut().map(|s| &*s) {
            task.abort();
        }
    }
}

/// The connections live in a set that is dropped, and so aborted, with this task.
async fn accept(listener: TcpListener, handler: Handler, open: Arc<AtomicUsize>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let (session, counted) = (handler(stream), Counted::new(&open));
                    sessions.spawn(async move {
                        let _counted = counted;
                        session.await;
                    });
                }
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// One open connection, for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
