use super::*;
use crate::listen::{Envelope, MailReply};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

struct Yes;

impl MailDoor for Yes {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    async fn recipient(&self, _: &MailClient, _: &str, _: &str) -> MailReply {
        MailReply::new(250, "2.1.5", "ok")
    }

    async fn message(&self, _: &MailClient, envelope: &Envelope, _: Vec<u8>) -> Vec<MailReply> {
        vec![MailReply::new(250, "2.0.0", "stored"); envelope.recipients.len()]
    }
}

/// Says `octets` and reads until `replies` whole replies have come or the connection ends; gives their codes.
async fn say(stream: &mut BufReader<TcpStream>, octets: &[u8], replies: usize) -> Vec<String> {
    // The listener may have closed already: then the replies tell.
    let _ = stream.write_all(octets).await;
    let mut codes = Vec::new();
    while codes.len() < replies {
        let mut line = String::new();
        let read = timeout(Duration::from_secs(10), stream.read_line(&mut line)).await.expect("a reply in time");
        if read.map_or(true, |n| n == 0) {
            break;
        }
        if line.as_bytes().get(3) == Some(&b' ') {
            codes.push(line[..3].to_owned());
        }
    }
    codes
}

/// Messages that do not end, from several clients: what they hold together is bounded, and given back.
#[tokio::test]
async fn sessions_together_hold_a_bounded_amount() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = SmtpSettings {
        hostname: "r.example".into(),
        kind: Kind::Smtp,
        trusted_networks: Vec::new(),
        max_sessions: 10,
        idle_timeout: Duration::from_secs(10),
        max_message: 500_000,
    };
    let (_alive, shutdown) = watch::channel(false);
    tokio::spawn(serve_within(Socket::Tcp(listener), Arc::new(Yes), settings, shutdown, Bound::of(300_000)));
    let begin = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nNOOP\r\n";
    let chunk = |octets: usize| format!("BDAT {octets}\r\n{}", "0123456789012345678\r\n".repeat(octets / 21)).into_bytes();
    let connect = async || {
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        assert_eq!(say(&mut stream, begin, 5).await, ["220", "250", "250", "250", "250"]);
        stream
    };
    let (mut one, mut two, mut three) = (connect().await, connect().await, connect().await);
    assert_eq!(say(&mut one, &chunk(105_000), 1).await, ["250"]);
    assert_eq!(say(&mut two, &chunk(105_000), 1).await, ["250"]);
    assert_eq!(say(&mut three, &chunk(105_000), 2).await, ["421"]);
    // The others are served to their end, and when they are done there is room again.
    for stream in [&mut one, &mut two] {
        assert_eq!(say(stream, b"BDAT 0 LAST\r\n", 1).await, ["250"]);
        assert_eq!(say(stream, b"NOOP\r\n", 1).await, ["250"]);
    }
    let mut four = connect().await;
    assert_eq!(say(&mut four, &chunk(294_000), 1).await, ["250"]);
}
