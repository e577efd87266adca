//! The mail courier and TLS: STARTTLS, implicit TLS, and what happens when it fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cip_relay::config::{Config, Smarthost};
use cip_relay::courier::mail::MailCourier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config;
use super::mail::{MESSAGE, courier_with, is, send, server};
use crate::support::dns::Dns;
use crate::support::port::Port;

const PEM: &[u8] = include_bytes!("mx.test.pem");

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(PEM).unwrap();
    let key = PrivateKeyDer::from_pem_slice(PEM).unwrap();
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// What a server does about TLS.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// From the first octet.
    Implicit,
    /// STARTTLS, as it should be.
    Good,
    /// Offers it and replies 454.
    Refuses,
    /// Offers it, replies 220 and closes.
    Closes,
    /// Replies 220 and speaks no TLS.
    Nonsense,
    /// Sends an EHLO reply of its own right behind the 220, to be taken for the one inside TLS.
    Injects,
    /// Does not offer it.
    Lacks,
    /// Speaks unasked inside TLS.
    TwiceInside,
}

/// What was said, a line for each command; `tls ` before what was said inside TLS.
type Log = Arc<Mutex<Vec<String>>>;

struct Mx {
    port: Port,
    log: Log,
    connections: Arc<AtomicUsize>,
}

impl Mx {
    fn start(way: Way) -> Self {
        let (log, connections) = (Log::default(), Arc::new(AtomicUsize::new(0)));
        let (to, count) = (log.clone(), connections.clone());
        let port = server(move |stream| {
            count.fetch_add(1, Ordering::SeqCst);
            let log = to.clone();
            async move {
                // Broken connections are what half of these tests are about.
                let _ = talk(stream, way, &log).await;
            }
        });
        Self { port, log, connections }
    }

    fn log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn talk(mut stream: TcpStream, way: Way, log: &Log) -> std::io::Result<()> {
    if way == Way::Implicit {
        let mut tls = acceptor().accept(stream).await?;
        tls.write_all(b"220 mx\r\n").await?;
        return session(&mut tls, way, "tls ", log).await.map(|_| ());
    }
    stream.write_all(b"220 mx\r\n").await?;
    if !session(&mut stream, way, "", log).await? {
        return Ok(());
    }
    let reply: &[u8] = match way {
        Way::Refuses => b"454 4.7.0 TLS not available\r\n",
        Way::Injects => b"220 go\r\n250-mx\r\n250 8BITMIME\r\n",
        _ => b"220 go\r\n",
    };
    stream.write_all(reply).await?;
    match way {
        Way::Refuses => session(&mut stream, way, "", log).await.map(|_| ()),
        Way::Closes => Ok(()),
        Way::Nonsense => stream.write_all(&b"250 hello\r\n".repeat(100)).await,
        _ => session(&mut acceptor().accept(stream).await?, way, "tls ", log).await.map(|_| ()),
    }
}

/// True when the client asked for STARTTLS.
async fn session<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, way: Way, prefix: &str, log: &Log) -> std::io::Result<bool> {
    let mut seen = Vec::new();
    let mut data = false;
    while stream.read_buf(&mut seen).await? > 0 {
        if !seen.ends_with(if data { b"\r\n.\r\n" } else { b"\r\n" }) {
            continue;
        }
        let text = String::from_utf8_lossy(&std::mem::take(&mut seen)).into_owned();
        let verb = if data { "body" } else { text.split([' ', ':', '\r']).next().unwrap_or("") };
        log.lock().unwrap().push(format!("{prefix}{verb}"));
        data = verb == "DATA";
        let reply = match verb {
            "STARTTLS" => return Ok(true),
            "EHLO" if prefix.is_empty() && way != Way::Lacks => "250-mx\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
            "EHLO" => "250-mx\r\n250 8BITMIME\r\n",
            "DATA" => "354 go\r\n",
            "MAIL" if way == Way::TwiceInside && !prefix.is_empty() => "250 ok\r\n250 ok\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(reply.as_bytes()).await?;
    }
    Ok(false)
}

async fn courier_to(mx: &Mx, smarthost: Option<&str>) -> (Dns, MailCourier) {
    let dns = Dns::start("$ORIGIN jumbo.com.\n@ 0 IN MX 10 mx.jumbo.com.\nmx 0 IN A 127.0.0.1").await;
    let mut config: Config = config(&dns);
    let address = mx.port.address();
    config.mail.smarthost = smarthost.map(|s| Smarthost::try_from(s.replace("MX", &address.to_string())).unwrap());
    let courier = courier_with(&config).port(address.port());
    (dns, courier)
}

const INSIDE: &[&str] = &["EHLO", "STARTTLS", "tls EHLO", "tls MAIL", "tls RCPT", "tls DATA", "tls body"];

#[tokio::test]
async fn starttls_is_used_where_it_is_offered() {
    let mx = Mx::start(Way::Good);
    let (_dns, courier) = courier_to(&mx, None).await;
    // Nobody vouches for the certificate, and it has another name: better than clear text.
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
    assert_eq!(mx.log(), INSIDE);
    // The next message goes inside the same TLS session.
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
    assert_eq!(mx.log(), INSIDE[3..]);
    assert_eq!(mx.connections(), 1);
    let (_dns, courier) = courier_to(&mx, Some("smtp://MX?tls=none")).await;
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
    assert_eq!(mx.log(), ["EHLO", "MAIL", "RCPT", "DATA", "body"]);
}

#[tokio::test]
async fn a_failed_opportunity_becomes_clear_text_on_a_new_connection() {
    for way in [Way::Refuses, Way::Closes, Way::Nonsense, Way::Injects] {
        let mx = Mx::start(way);
        let (_dns, courier) = courier_to(&mx, None).await;
        is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
        let log = mx.log();
        assert_eq!(log[log.len() - 5..], ["EHLO", "MAIL", "RCPT", "DATA", "body"], "{way:?}: {log:?}");
        assert_eq!(mx.connections(), 2, "{way:?}");
    }
    let mx = Mx::start(Way::Lacks);
    let (_dns, courier) = courier_to(&mx, None).await;
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["sent"], "");
    assert_eq!(mx.connections(), 1);
}

#[tokio::test]
async fn where_tls_is_required_nothing_is_said_without_it() {
    for (way, words) in [
        (Way::Refuses, "454 4.7.0"),
        (Way::Closes, "no TLS"),
        // Unasked or no TLS, depending on when the octets come.
        (Way::Nonsense, ""),
        (Way::Injects, "unasked"),
        (Way::Lacks, "offers no STARTTLS"),
        // A certificate that nobody vouches for proves nothing (where there are no roots, nothing does).
        (Way::Good, "certificate"),
    ] {
        let mx = Mx::start(way);
        let (_dns, courier) = courier_to(&mx, Some("smtp://MX?tls=required")).await;
        is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["down"], words);
        let log = mx.log();
        assert!(!log.iter().any(|l| l.ends_with("MAIL") || l.ends_with("body")), "{way:?}: {log:?}");
        assert_eq!(mx.connections(), 1, "{way:?}");
    }
}

#[tokio::test]
async fn implicit_tls_begins_at_once_and_must_prove_itself() {
    let mx = Mx::start(Way::Implicit);
    let (_dns, courier) = courier_to(&mx, Some("smtps://MX")).await;
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["down"], "certificate");
    assert_eq!(mx.log(), Vec::<String>::new());
    // A server in clear text gets a handshake, and no command.
    let mx = Mx::start(Way::Lacks);
    let (_dns, courier) = courier_to(&mx, Some("smtps://MX")).await;
    is(&send(&courier, &["a@jumbo.com"], MESSAGE).await, &["down"], "no TLS");
}

#[tokio::test]
async fn replies_are_guarded_inside_tls_too() {
    let mx = Mx::start(Way::TwiceInside);
    let (_dns, courier) = courier_to(&mx, None).await;
    let results = tokio::time::timeout(Duration::from_secs(10), send(&courier, &["a@jumbo.com"], MESSAGE)).await.unwrap();
    is(&results, &["later"], "unasked");
}
