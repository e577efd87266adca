//! Clients that send as fast as the relay takes it, and know what was acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bridge::{bare, ical, imip};

/// An invitation of Mary's to Tom, which goes by CIP.
pub fn invitation(uid: &str) -> String {
    imip(
        "REQUEST",
        "Mary Weaver <mary@tiny.com>",
        &["tom@jumbo.com"],
        &ical("REQUEST", uid, 0, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]),
    )
}

/// A client that sends one thing after the other until the relay will not have more; the UIDs that were acknowledged, each
/// of which counts in `count`.
pub async fn cip_load(address: SocketAddr, client: usize, round: usize, count: Arc<AtomicUsize>) -> Vec<String> {
    let mut taken = Vec::new();
    let Ok(mut stream) = TcpStream::connect(address).await else { return taken };
    let mut heard = String::new();
    for n in 0.. {
        let uid = format!("cip{round}-{client}-{n}@jumbo.com");
        let object = bare(&uid, 1, "tom@jumbo.com", &["mary@tiny.com"]).replace('\n', "\r\n");
        if stream.write_all(format!("SENDEVENT+\r\n{object}.\r\n").as_bytes()).await.is_err() {
            break;
        }
        if !until(&mut stream, &mut heard, |line| line.starts_with("OK 0") || line.starts_with("NO "))
            .await
            .is_some_and(|l| l.starts_with("OK 0"))
        {
            break;
        }
        taken.push(uid);
        count.fetch_add(1, Ordering::SeqCst);
    }
    taken
}

pub async fn smtp_load(address: SocketAddr, client: usize, round: usize, count: Arc<AtomicUsize>) -> Vec<String> {
    let mut taken = Vec::new();
    let Ok(mut stream) = TcpStream::connect(address).await else { return taken };
    let mut heard = String::new();
    let last = |line: &str| line.as_bytes().get(3) == Some(&b' ');
    let ready = async |stream: &mut TcpStream, heard: &mut String, octets: &str, code: &str| {
        stream.write_all(octets.as_bytes()).await.is_ok() && until(stream, heard, last).await.is_some_and(|l| l.starts_with(code))
    };
    if !ready(&mut stream, &mut heard, "", "220").await || !ready(&mut stream, &mut heard, "EHLO load.test\r\n", "250").await {
        return taken;
    }
    for n in 0.. {
        let uid = format!("smtp{round}-{client}-{n}@tiny.com");
        let message = format!("{}\r\n.\r\n", invitation(&uid).trim_end());
        let steps =
            [("MAIL FROM:<mary@tiny.com>\r\n", "250"), ("RCPT TO:<tom@jumbo.com>\r\n", "250"), ("DATA\r\n", "354"), (&message, "250")];
        for (octets, code) in steps {
            if !ready(&mut stream, &mut heard, octets, code).await {
                return taken;
            }
        }
        taken.push(uid);
        count.fetch_add(1, Ordering::SeqCst);
    }
    taken
}

/// The next line that fits; `None` when the relay has closed.
async fn until(stream: &mut TcpStream, heard: &mut String, fits: impl Fn(&str) -> bool) -> Option<String> {
    loop {
        while let Some(end) = heard.find("\r\n") {
            let line: String = heard.drain(..end + 2).collect();
            if fits(&line) && !line.starts_with("OK CIP") {
                return Some(line);
            }
        }
        let mut octets = [0; 4096];
        match stream.read(&mut octets).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => heard.push_str(&String::from_utf8_lossy(&octets[..n])),
        }
    }
}
