//! The mail listeners over real sockets: raw octets from a client of ours, and lettre as a client that others wrote.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cip_relay::config::Listen;
use cip_relay::listen::smtp::{Kind, SmtpSettings, Socket, bind, serve};
use cip_relay::listen::{Envelope, MailClient, MailDoor, MailReply};
use cip_relay::queue::entry::Via;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::support::in_time;

/// A door that judges by the address and remembers what it was given.
struct Door {
    taken: Mutex<Vec<(MailClient, Envelope, Vec<u8>)>>,
    full: AtomicBool,
    /// A permit is used up by each message.
    gate: Semaphore,
}

impl Door {
    fn taken(&self) -> Vec<(MailClient, Envelope, Vec<u8>)> {
        self.taken.lock().unwrap().clone()
    }

    fn octets(&self) -> Vec<Vec<u8>> {
        self.taken().into_iter().map(|(_, _, octets)| octets).collect()
    }
}

impl MailDoor for Door {
    fn ready(&self) -> Result<(), String> {
        if self.full.load(Ordering::Relaxed) { Err("no disk space".into()) } else { Ok(()) }
    }

    async fn recipient(&self, _: &MailClient, _: &str, recipient: &str) -> MailReply {
        if recipient.starts_with("nobody") {
            MailReply::new(550, "5.1.1", "nobody here")
        } else {
            MailReply::new(250, "2.1.5", "recipient ok")
        }
    }

    async fn message(&self, client: &MailClient, envelope: &Envelope, message: Vec<u8>) -> Vec<MailReply> {
        self.gate.acquire().await.unwrap().forget();
        self.taken.lock().unwrap().push((client.clone(), envelope.clone(), message));
        let reply = |r: &String| match r.split('@').next() {
            Some("fail") => MailReply::new(550, "5.7.1", "not for him"),
            Some("busy") => MailReply::new(451, "4.3.0", "not now"),
            _ => MailReply::new(250, "2.0.0", "stored"),
        };
        envelope.recipients.iter().map(reply).collect()
    }
}

struct Server {
    address: Listen,
    door: Arc<Door>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn settings(kind: Kind) -> SmtpSettings {
    SmtpSettings {
        hostname: "relay.example".into(),
        kind,
        trusted_networks: vec!["127.0.0.0/8".parse().unwrap()],
        max_sessions: 20,
        idle_timeout: Duration::from_secs(20),
        max_message: 100_000,
    }
}

fn serve_on(address: &Listen, settings: SmtpSettings) -> Server {
    let socket = bind(address).unwrap();
    let address = match &socket {
        Socket::Tcp(tcp) => Listen::Tcp(tcp.local_addr().unwrap()),
        Socket::Unix(_) => address.clone(),
    };
    let door = Arc::new(Door { taken: Mutex::default(), full: false.into(), gate: Semaphore::new(1_000_000) });
    let (shutdown, receiver) = watch::channel(false);
    let task = tokio::spawn(serve(socket, Arc::clone(&door), settings, receiver));
    Server { address, door, shutdown, task }
}

fn start(settings: SmtpSettings) -> Server {
    serve_on(&Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))), settings)
}

impl Server {
    fn tcp(&self) -> SocketAddr {
        match &self.address {
            Listen::Tcp(address) => *address,
            Listen::Unix(path) => panic!("{} is no TCP address", path.display()),
        }
    }

    /// Connects and reads the greeting, which must begin with `code`.
    async fn connect_for(&self, code: &str) -> Talk {
        let stream: Box<dyn Stream> = match &self.address {
            Listen::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
            Listen::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        };
        let mut talk = Talk(BufReader::new(stream));
        talk.expect(code).await;
        talk
    }

    async fn connect(&self) -> Talk {
        self.connect_for("220 relay.example").await
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Talk(BufReader<Box<dyn Stream>>);

impl Talk {
    async fn send(&mut self, octets: impl AsRef<[u8]>) {
        in_time("the listener to read", self.0.write_all(octets.as_ref())).await.unwrap();
    }

    /// The last line of the next reply; `""` when the connection has been closed.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            in_time("a reply", self.0.read_line(&mut line)).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                assert!(line.is_empty() || line.ends_with("\r\n"), "{line:?}");
                return line.trim_end().to_owned();
            }
        }
    }

    /// Reads a reply for each of the beginnings.
    async fn expect(&mut self, beginnings: &str) {
        for beginning in beginnings.split(", ") {
            let reply = self.reply().await;
            assert!(reply.starts_with(beginning), "{beginnings}: {beginning} was expected, not {reply:?}");
        }
    }

    async fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        in_time("the end of the connection", self.0.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

const BEGIN: &str = "EHLO client.example\r\nMAIL FROM:<tom@jumbo.com>\r\nRCPT TO:<mary@tiny.com>\r\n";
const BEGUN: &str = "250, 250 2.1.0, 250 2.1.5";

#[tokio::test]
async fn a_session_in_one_packet_and_octet_by_octet() {
    let server = start(settings(Kind::Smtp));
    let dialog = format!(
        "{BEGIN}RCPT TO:<nobody@tiny.com>\r\nRCPT TO:<\"mary weaver\"@tiny.com>\r\nDATA\r\n.\r\n..x\r\n\
         RSET\r\nMAIL FROM:<> BODY=8BITMIME SIZE=20\r\nRCPT TO:<mary@[127.0.0.1]>\r\nDATA\r\n..first\r\n...\r\n\u{e9}\r\n.\r\nQUIT\r\n"
    );
    let replies = format!(
        "{BEGUN}, 550 5.1.1, 250 2.1.5, 354, 250 2.0.0 stored, 500 5.5.1, 250 2.0.0 reset, 250 2.1.0, 250 2.1.5, 354, 250 2.0.0, 221"
    );
    for piece in [usize::MAX, 1] {
        let mut talk = server.connect().await;
        for octets in dialog.as_bytes().chunks(piece.min(dialog.len())) {
            talk.send(octets).await;
            if piece == 1 {
                tokio::task::yield_now().await;
            }
        }
        talk.expect(&replies).await;
        talk.expect_closed().await;
        let taken = std::mem::take(&mut *server.door.taken.lock().unwrap());
        assert_eq!(taken.len(), 2);
        let (client, envelope, octets) = &taken[0];
        assert_eq!((envelope.sender.as_str(), octets.as_slice()), ("tom@jumbo.com", &b""[..]));
        assert_eq!(envelope.recipients, ["mary@tiny.com", "\"mary weaver\"@tiny.com"]);
        assert_eq!((client.helo.as_str(), client.via, client.trusted), ("client.example", Via::Smtp, true));
        assert_eq!(client.address, Some(server.tcp().ip()));
        let (_, envelope, octets) = &taken[1];
        assert_eq!((envelope.sender.as_str(), envelope.eight_bit), ("", true));
        assert_eq!(envelope.recipients, ["mary@[127.0.0.1]"]);
        assert_eq!(octets, ".first\r\n..\r\n\u{e9}\r\n".as_bytes());
    }
}

#[tokio::test]
async fn no_ending_but_the_one_ends_a_message() {
    let server = start(settings(Kind::Inbound));
    let mut talk = server.connect().await;
    talk.send("EHLO x\r\n").await;
    talk.expect("250").await;
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r", "\r\n.\r\r\n", "\r\n\0.\r\n", "\n.\r\n\r\n", "x\n"] {
        let inner = "MAIL FROM:<evil@b.c>\r\nRCPT TO:<victim@tiny.com>\r\nDATA\r\nforged\r\n.\r\n";
        talk.send("MAIL FROM:<a@b.c>\r\nRCPT TO:<mary@tiny.com>\r\nDATA\r\n").await;
        talk.expect("250, 250, 354").await;
        talk.send(format!("Subject: x\r\n\r\ninnocent{end}{inner}")).await;
        talk.expect(if end.contains('\0') { "554 5.6.0" } else { "550 5.6.11" }).await;
    }
    assert!(server.door.octets().is_empty());
    // The session is none the worse for it.
    talk.send("MAIL FROM:<a@b.c>\r\nRCPT TO:<mary@tiny.com>\r\nDATA\r\ngood\r\n.\r\nNOOP\nNOOP\r\nNOOP a\0b\r\nQUIT\r\n").await;
    talk.expect("250, 250, 354, 250, 500 5.5.2, 500 5.5.2, 221").await;
    assert_eq!(server.door.octets(), [b"good\r\n"]);
}

#[tokio::test]
async fn a_message_in_chunks() {
    let server = start(settings(Kind::Smtp));
    let mut talk = server.connect().await;
    talk.send(format!("{BEGIN}BDAT 9\r\nSubject: BDAT 5\r\nx\r\n\r\nBDAT 3 LAST\r\n.\r\nQUIT\r\n")).await;
    talk.expect(&format!("{BEGUN}, 250 2.0.0 9 octets, 250 2.0.0 5 octets, 250 2.0.0 stored, 221")).await;
    assert_eq!(server.door.octets(), [b"Subject: x\r\n\r\n.\r\n"]);

    // A size that cannot be: nothing that follows is taken for a command.
    let mut talk = server.connect().await;
    talk.send(format!("{BEGIN}BDAT 18446744073709551615000000000003 LAST\r\nRSET\r\nQUIT\r\n")).await;
    talk.expect(&format!("{BEGUN}, 501 5.5.4")).await;
    talk.expect_closed().await;
}

#[tokio::test]
async fn addresses_beyond_ascii() {
    let server = start(settings(Kind::Smtp));
    let mut talk = server.connect().await;
    talk.send("EHLO x\r\nMAIL FROM:<j\u{f6}rg@tiny.com>\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<j\u{f6}rg@tiny.com>\r\nRSET\r\n").await;
    talk.expect("250, 553 5.6.7, 250, 553 5.6.7, 250").await;
    talk.send("MAIL FROM:<j\u{f6}rg@tiny.com> SMTPUTF8\r\nRCPT TO:<\u{3c7}@\u{3c8}.gr>\r\nDATA\r\nx\r\n.\r\n").await;
    talk.expect("250, 250, 354, 250").await;
    talk.send(b"RSET \xff\r\nMAIL FROM:<\xff@a.b> SMTPUTF8\r\n").await;
    talk.expect("500 5.5.2, 500 5.5.2").await;
    let (_, envelope, _) = &server.door.taken()[0];
    assert_eq!((envelope.recipients[0].as_str(), envelope.smtputf8), ("\u{3c7}@\u{3c8}.gr", true));
}

#[tokio::test]
async fn too_long_too_large_too_many() {
    let server = start(settings(Kind::Smtp));
    let mut talk = server.connect().await;
    talk.send(format!("NOOP {}\r\nEHLO x\r\n", "x".repeat(1_000_000))).await;
    talk.expect("500 5.5.2, 250").await;
    talk.send("MAIL FROM:<> SIZE=100001\r\nMAIL FROM:<> SIZE=99999999999999999999\r\nMAIL FROM:<> SIZE=100000\r\n").await;
    talk.expect("552 5.3.4, 552 5.3.4, 250").await;
    talk.send("RCPT TO:<mary@tiny.com>\r\nDATA\r\n").await;
    talk.expect("250, 354").await;
    talk.send(format!("{}.\r\nNOOP\r\n", "0123456789\r\n".repeat(9_000))).await;
    talk.expect("552 5.3.4, 250").await;

    // All of this is on its way before the first reply is read.
    let rcpts: Vec<String> = (0..1001).map(|i| format!("RCPT TO:<r{i}@tiny.com>\r\n")).collect();
    talk.send(format!("MAIL FROM:<a@b.c>\r\n{}DATA\r\nx\r\n.\r\n", rcpts.concat())).await;
    talk.expect("250 2.1.0").await;
    for _ in 0..1000 {
        talk.expect("250 2.1.5").await;
    }
    talk.expect("452 4.5.3, 354, 250 2.0.0").await;
    assert_eq!(server.door.taken()[0].1.recipients.len(), 1000);

    // Four times the limit without an end: the reply arrives although the client is still sending.
    talk.send("MAIL FROM:<a@b.c>\r\nRCPT TO:<mary@tiny.com>\r\nDATA\r\n").await;
    talk.expect("250, 250, 354").await;
    talk.send("0123456789\r\n".repeat(50_000)).await;
    talk.expect("552 5.3.4").await;
    talk.expect_closed().await;

    let mut talk = server.connect().await;
    talk.send("WHAT\r\n".repeat(100)).await;
    for _ in 0..20 {
        talk.expect("500 5.5.1").await;
    }
    talk.expect("421 4.7.0").await;
    talk.expect_closed().await;
    assert_eq!(server.door.taken().len(), 1);
}

#[tokio::test]
async fn recipients_that_differ() {
    let folder = tempfile::tempdir().unwrap();
    let unix = Listen::Unix(folder.path().join("lmtp.sock"));
    let lmtp = serve_on(&unix, settings(Kind::Lmtp));
    let smtp = start(settings(Kind::Smtp));
    // What each recipient hears over LMTP, and what the client hears over SMTP.
    let table = [
        ("mary", "250 2.0.0", "250 2.0.0"),
        ("fail mary busy", "550 5.7.1, 250 2.0.0, 451 4.3.0", "250 2.0.0"),
        ("fail busy", "550 5.7.1, 451 4.3.0", "451 4.3.0"),
        ("fail fail", "550 5.7.1, 550 5.7.1", "550 5.7.1"),
    ];
    let mut one = lmtp.connect().await;
    let mut other = smtp.connect().await;
    one.send("EHLO x\r\nLHLO x\r\n").await;
    one.expect("500 5.5.1, 250").await;
    other.send("LHLO x\r\nEHLO x\r\n").await;
    other.expect("500 5.5.1, 250").await;
    for (recipients, many, single) in table {
        let rcpts: Vec<String> = recipients.split(' ').map(|r| format!("RCPT TO:<{r}@tiny.com>\r\n")).collect();
        for (talk, replies) in [(&mut one, many), (&mut other, single)] {
            talk.send(format!("MAIL FROM:<>\r\nRCPT TO:<nobody@tiny.com>\r\n{}DATA\r\nx\r\n.\r\n", rcpts.concat())).await;
            talk.expect(&format!("250, 550 5.1.1{}, 354, {replies}", ", 250 2.1.5".repeat(rcpts.len()))).await;
        }
    }
    one.send("MAIL FROM:<>\r\nRCPT TO:<nobody@tiny.com>\r\nDATA\r\nQUIT\r\n").await;
    one.expect("250, 550, 503 5.5.1, 221").await;
    let client = &lmtp.door.taken()[0].0;
    assert_eq!((client.via, client.address, client.trusted), (Via::Lmtp, None, true));
}

#[tokio::test]
async fn who_is_trusted() {
    let nowhere = vec!["192.0.2.0/24".parse().unwrap()];
    let table = [
        (settings(Kind::Smtp), true, Via::Smtp),
        (settings(Kind::Lmtp), true, Via::Lmtp),
        (SmtpSettings { trusted_networks: nowhere, ..settings(Kind::Smtp) }, false, Via::Smtp),
        (settings(Kind::Inbound), false, Via::Inbound),
    ];
    for (settings, trusted, via) in table {
        let kind = settings.kind;
        // A socket for both families sees an IPv4 client under a mapped address.
        for address in ["127.0.0.1:0", "[::]:0"] {
            let Ok(socket) = bind(&Listen::Tcp(address.parse().unwrap())) else { continue };
            drop(socket);
            let server = serve_on(&Listen::Tcp(address.parse().unwrap()), settings.clone());
            let server = Server { address: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], server.tcp().port()))), ..server };
            let mut talk = server.connect().await;
            talk.send(BEGIN.replace("EHLO", if kind == Kind::Lmtp { "LHLO" } else { "EHLO" })).await;
            talk.send("DATA\r\n.\r\n").await;
            talk.expect(&format!("{BEGUN}, 354, 250")).await;
            let client = &server.door.taken()[0].0;
            assert_eq!((client.trusted, client.via), (trusted, via), "{kind:?} {address}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (kind, trusted) in [(Kind::Smtp, true), (Kind::Inbound, false)] {
        let server = serve_on(&Listen::Unix(folder.path().join(format!("{kind:?}"))), settings(kind));
        let mut talk = server.connect().await;
        talk.send(format!("{BEGIN}DATA\r\n.\r\n")).await;
        talk.expect(&format!("{BEGUN}, 354, 250")).await;
        assert_eq!(server.door.taken()[0].0.trusted, trusted, "{kind:?} on a Unix socket");
    }
}

/// Long enough for a busy machine to answer in between.
const IDLE: Duration = Duration::from_millis(300);

fn impatient() -> Server {
    start(SmtpSettings { idle_timeout: IDLE, ..settings(Kind::Smtp) })
}

/// Sends `octets` again and again for this long, or until the listener has had enough.
async fn drip(talk: &mut Talk, octets: &str, how_long: Duration) {
    let started = Instant::now();
    while started.elapsed() < how_long && talk.0.write_all(octets.as_bytes()).await.is_ok() {
        tokio::time::sleep(IDLE / 10).await;
    }
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let server = impatient();
    let started = Instant::now();
    let mut silent = server.connect().await;
    silent.expect("421 4.4.2").await;
    silent.expect_closed().await;
    assert!(started.elapsed() >= IDLE);
    // Octets that never make a line do not count as talk.
    let mut dripping = server.connect().await;
    drip(&mut dripping, "x", IDLE * 3).await;
    dripping.expect("421 4.4.2").await;
}

#[tokio::test]
async fn a_message_may_come_slowly_but_not_for_ever() {
    let server = impatient();
    let mut slow = server.connect().await;
    slow.send(format!("{BEGIN}DATA\r\n")).await;
    slow.expect(&format!("{BEGUN}, 354")).await;
    drip(&mut slow, "x\r\n", IDLE * 3).await;
    slow.send(".\r\nMAIL FROM:<>\r\nRCPT TO:<mary@tiny.com>\r\nDATA\r\n").await;
    slow.expect("250 2.0.0, 250, 250, 354").await;
    drip(&mut slow, "x\r\n", IDLE * 8).await;
    slow.expect("421 4.4.2").await;
    assert_eq!(server.door.taken().len(), 1);
}

#[tokio::test]
async fn a_client_that_is_never_between_two_messages_is_busy_not_slow() {
    let server = impatient();
    let mut busy = server.connect().await;
    let next = "MAIL FROM:<>\r\nRCPT TO:<mary@tiny.com>\r\nBDAT 2 LAST\r\nx";
    busy.send(format!("EHLO x\r\n{next}")).await;
    busy.expect("250, 250, 250").await;
    let started = Instant::now();
    while started.elapsed() < IDLE * 8 {
        tokio::time::sleep(IDLE / 6).await;
        busy.send(format!("y{next}")).await;
        busy.expect("250 2.0.0, 250, 250").await;
    }
}

#[tokio::test]
async fn when_there_is_no_room() {
    let server = start(SmtpSettings { max_sessions: 2, ..settings(Kind::Smtp) });
    let (mut one, two) = (server.connect().await, server.connect().await);
    for _ in 0..5 {
        let mut third = server.connect_for("421 4.3.2 relay.example too many sessions").await;
        third.expect_closed().await;
    }
    drop(two);
    // The listener learns of it a little later.
    let mut next = crate::support::eventually("a session to be free", || async {
        let mut talk = Talk(BufReader::new(Box::new(TcpStream::connect(server.tcp()).await.unwrap()) as Box<dyn Stream>));
        talk.reply().await.starts_with("220").then_some(talk)
    })
    .await;
    server.door.full.store(true, Ordering::Relaxed);
    next.send(BEGIN).await;
    next.expect("250, 452 4.3.1 no disk space, 503").await;
    drop(next);
    server.door.full.store(false, Ordering::Relaxed);
    one.send(format!("{BEGIN}DATA\r\n.\r\nQUIT\r\n")).await;
    one.expect(&format!("{BEGUN}, 354, 250, 221")).await;
    one.expect_closed().await;
    server.door.full.store(true, Ordering::Relaxed);
    server.connect_for("421 4.3.2 relay.example ").await.expect_closed().await;
}

#[tokio::test]
async fn shutdown_lets_a_message_finish() {
    let server = start(settings(Kind::Smtp));
    let mut idle = server.connect().await;
    let mut half = server.connect().await;
    half.send(format!("{BEGIN}DATA\r\nfirst half\r\n")).await;
    half.expect(&format!("{BEGUN}, 354")).await;
    server.shutdown.send(true).unwrap();
    idle.expect("421 4.3.2").await;
    idle.expect_closed().await;
    drop(idle);
    half.send("second half\r\n.\r\n").await;
    half.expect("250 2.0.0, 421 4.3.2").await;
    half.expect_closed().await;
    drop(half);
    in_time("the listener to end", server.task).await.unwrap();
    assert_eq!(server.door.octets(), [b"first half\r\nsecond half\r\n"]);
    assert_eq!(
        TcpStream::connect(match server.address {
            Listen::Tcp(a) => a,
            Listen::Unix(_) => unreachable!(),
        })
        .await
        .unwrap_err()
        .kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn a_client_that_leaves() {
    let server = start(settings(Kind::Smtp));
    // In the middle of a message: nothing is taken.
    for half in ["DATA\r\nhalf\r\n", "DATA\r\nhalf\r\n.", "BDAT 100 LAST\r\nhalf", "BDAT 4\r\nhalf"] {
        let mut talk = server.connect().await;
        talk.send(format!("{BEGIN}{half}")).await;
        talk.expect(BEGUN).await;
    }
    // After its end: what the door has been given is seen through, whoever is there to hear of it.
    server.door.gate.forget_permits(1_000_000);
    let mut talk = server.connect().await;
    talk.send(format!("{BEGIN}DATA\r\nwhole\r\n.\r\n")).await;
    talk.expect(&format!("{BEGUN}, 354")).await;
    drop(talk);
    server.door.gate.add_permits(1);
    crate::support::eventually("the message", || async { (!server.door.octets().is_empty()).then_some(()) }).await;
    assert_eq!(server.door.octets(), [b"whole\r\n"]);
}

#[tokio::test]
async fn socket_files() {
    let folder = tempfile::tempdir().unwrap();
    let listen = |path: &Path| Listen::Unix(path.to_owned());
    let path = folder.path().join("lmtp.sock");
    let first = bind(&listen(&path)).unwrap();
    assert_eq!(bind(&listen(&path)).unwrap_err().kind(), io::ErrorKind::AddrInUse, "somebody answers there");
    drop(first);
    assert!(path.exists(), "left over, as after a kill");
    drop(bind(&listen(&path)).unwrap());

    let file = folder.path().join("precious");
    std::fs::write(&file, "data").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for taken in [&file, &link] {
        assert_eq!(bind(&listen(taken)).unwrap_err().kind(), io::ErrorKind::AddrInUse, "{taken:?}");
        assert!(taken.symlink_metadata().is_ok());
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"data");
    assert!(bind(&listen(&folder.path().join("no/such/folder"))).is_err());
}

#[tokio::test]
async fn a_client_that_others_wrote() {
    use lettre::address::Envelope as Addresses;
    use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
    let server = start(settings(Kind::Smtp));
    let client = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1").port(server.tcp().port()).build();
    let addresses = |from: Option<&str>, to: &[&str]| {
        Addresses::new(from.map(|f| f.parse().unwrap()), to.iter().map(|t| t.parse().unwrap()).collect()).unwrap()
    };
    let message = "Subject: hello\r\n\r\n.dots\r\n..and more\r\nj\u{f6}rg\r\n.";
    let sent = client.send_raw(&addresses(Some("tom@jumbo.com"), &["mary@tiny.com", "bob@tiny.com"]), message.as_bytes()).await.unwrap();
    assert_eq!(sent.code().to_string(), "250");
    client.send_raw(&addresses(None, &["j\u{f6}rg@tiny.com"]), b"x").await.unwrap();
    let refused = client.send_raw(&addresses(None, &["nobody@tiny.com"]), b"x").await.unwrap_err();
    assert_eq!(refused.status().unwrap().to_string(), "550");
    let refused = client.send_raw(&addresses(None, &["fail@tiny.com"]), b"x").await.unwrap_err();
    assert!(refused.is_permanent());
    let put_off = client.send_raw(&addresses(None, &["busy@tiny.com"]), b"x").await.unwrap_err();
    assert!(put_off.is_transient());

    let taken = server.door.taken();
    assert_eq!(taken[0].1.recipients, ["mary@tiny.com", "bob@tiny.com"]);
    assert!(taken[0].1.eight_bit && !taken[0].1.smtputf8);
    assert_eq!(taken[0].2, [message.as_bytes(), b"\r\n"].concat());
    assert_eq!((taken[1].1.sender.as_str(), taken[1].1.smtputf8), ("", true));
}
