//! Conversations in the draft's own notation, played over TCP against a listening CIP server.
//!
//! A transcript is a text file in `tests/dialogs/`:
//!
//! ```text
//! # Words for the reader. Lines that begin `# relay:` say what the server is (see `door`).
//! C: a line that the client sends, CRLF is added
//! C| octets that it sends as they are, with \r \n \0 \t \\ and \xNN; nothing is added
//! S: a line that the server answers, exactly; a final … stands for any rest
//! ! repeat 1000 a line          sends it 1000 times
//! ! bytewise                    from here on each octet is a packet of its own
//! ! connect                     the client closes and connects anew
//! ! closed                      the server closes, without another word
//! ```
//!
//! Consecutive `C` lines go out in one write. [`play`] takes an address, so that a transcript runs against anything that
//! listens. After the last line the client waits a moment to see that the server says nothing more.

mod door;
mod limits;
mod whole;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cip_relay::listen::cip::{CipSettings, serve};
use door::Door;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long any answer may take before the transcript has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the server must keep silent after the last line.
const SILENCE: Duration = Duration::from_millis(30);

/// A real listener with a door, on a port of its own.
pub struct Server {
    pub address: SocketAddr,
    pub stop: watch::Sender<bool>,
    pub ended: JoinHandle<()>,
}

impl Server {
    pub async fn start(door: Door, change: impl FnOnce(&mut CipSettings)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = CipSettings {
            hostname: "cal.example.com".into(),
            max_sessions: 100,
            idle_timeout: PATIENCE,
            max_event_size: 10 << 20,
            allow_plaintext_login: true,
        };
        change(&mut settings);
        let (stop, stopped) = watch::channel(false);
        let ended = tokio::spawn(serve(listener, Arc::new(door), settings, stopped));
        Self { address, stop, ended }
    }
}

/// A client that reads lines.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub async fn send(&mut self, octets: &[u8]) {
        // A server that has said its last word may close while the client still sends.
        let _ = timeout(PATIENCE, self.stream.write_all(octets)).await.expect("the server reads");
    }

    pub async fn bytewise(&mut self, octets: &[u8]) {
        for octet in octets {
            self.send(&[*octet]).await;
            tokio::task::yield_now().await;
        }
    }

    /// The next line without its CRLF; `None`: closed.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").expect("a server's line ends in CRLF");
                return Some(String::from_utf8_lossy(line).into_owned());
            }
            let mut read = [0; 4096];
            match timeout(PATIENCE, self.stream.read(&mut read)).await.expect("the server answers") {
                Ok(0) | Err(_) => {
                    assert!(self.buffer.is_empty(), "half a line before the end: {:?}", self.buffer);
                    return None;
                }
                Ok(n) => self.buffer.extend_from_slice(&read[..n]),
            }
        }
    }

    /// Fails when the server speaks unasked.
    async fn silence(&mut self) {
        assert!(self.buffer.is_empty(), "the server said more: {}", String::from_utf8_lossy(&self.buffer));
        let mut read = [0; 4096];
        if let Ok(Ok(n)) = timeout(SILENCE, self.stream.read(&mut read)).await {
            assert_eq!(n, 0, "the server said more: {}", String::from_utf8_lossy(&read[..n]));
        }
    }
}

/// Plays a transcript against whoever listens at `address`; `name` stands in the failure's words.
pub async fn play(address: SocketAddr, name: &str, transcript: &str) {
    let mut client = Client::connect(address).await;
    let mut outgoing = Vec::new();
    let mut bytewise = false;
    for (number, line) in transcript.lines().enumerate().map(|(n, l)| (n + 1, l)) {
        let at = format!("{name}.txt:{number}");
        let says = |what: Option<&str>| what.map(|w| w.strip_prefix(' ').unwrap_or(w).to_owned());
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if let Some(text) = says(line.strip_prefix("C:")) {
            outgoing.extend_from_slice(text.as_bytes());
            outgoing.extend_from_slice(b"\r\n");
            continue;
        }
        if let Some(text) = says(line.strip_prefix("C|")) {
            outgoing.extend(unescape(&text).unwrap_or_else(|| panic!("{at}: no such escape")));
            continue;
        }
        if let Some(rest) = line.strip_prefix("! repeat ") {
            let (count, text) = rest.split_once(' ').unwrap_or_else(|| panic!("{at}: write ! repeat N TEXT"));
            let count = count.parse().unwrap_or_else(|_| panic!("{at}: {count:?} is no number"));
            outgoing.extend(format!("{text}\r\n").into_bytes().repeat(count));
            continue;
        }
        flush(&mut client, &mut outgoing, bytewise).await;
        if let Some(want) = says(line.strip_prefix("S:")) {
            let got = client.line().await.unwrap_or_else(|| panic!("{at}: the server closed instead of {want:?}"));
            let same = want.strip_suffix('…').map_or(got == want, |start| got.starts_with(start.trim_end()));
            assert!(same, "{at}: the server said {got:?} instead of {want:?}");
            continue;
        }
        match line {
            "! bytewise" => bytewise = true,
            "! closed" => assert_eq!(client.line().await, None, "{at}: the server did not close"),
            "! connect" => {
                client.silence().await;
                client = Client::connect(address).await;
            }
            _ => panic!("{at}: no such line: {line:?}"),
        }
    }
    flush(&mut client, &mut outgoing, bytewise).await;
    client.silence().await;
}

async fn flush(client: &mut Client, outgoing: &mut Vec<u8>, bytewise: bool) {
    let octets = std::mem::take(outgoing);
    if bytewise {
        client.bytewise(&octets).await;
    } else {
        client.send(&octets).await;
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        out.push(match chars.next()? {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(out)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs")
}

/// Runs one transcript against a listener that is as its head says.
async fn run(name: &str) {
    let transcript = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    let (door, change) = door::from_head(&transcript);
    let server = Server::start(door, change).await;
    play(server.address, name, &transcript).await;
    server.stop.send(true).unwrap();
    timeout(PATIENCE, server.ended).await.expect("the listener ends").unwrap();
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                run(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_transcript_is_run() {
            let mut files: Vec<String> = std::fs::read_dir(folder()).unwrap()
                .filter_map(|entry| entry.unwrap().file_name().to_str().and_then(|n| n.strip_suffix(".txt")).map(str::to_owned))
                .collect();
            files.sort();
            let mut names = vec![$(stringify!($name)),*];
            names.sort_unstable();
            assert_eq!(files, names);
        }
    };
}

transcripts! {
    draft_2_1_authenticate
    draft_2_2_sendevent
    draft_2_3_rsvp
    draft_2_4_freebusy
    draft_3_group_meeting
    draft_3_bill_and_mary
    draft_3_bill_at_xyz
    hostile_command_lines
    hostile_data
    hostile_sizes
    many_errors
    framing
    silence
    login_failures
    plaintext_refused
    not_ready
    redirects
}
