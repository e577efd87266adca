//! What a transcript cannot show: many sessions at once, shutdown, sizes, clients that do not read.

use std::time::{Duration, Instant};

use super::door::{Door, from_head};
use super::{Client, PATIENCE, Server};
use tokio::time::timeout;

const OBJECT: &[u8] = b"SENDEVENT+\r\nUID: 1@a.com\r\nSEQUENCE: 1\r\nATTENDEE;ROLE=OWNER:tom@a.com\r\nATTENDEE:mary@xyz.com\r\n.\r\n";

/// An event for so many users of xyz.com.
fn crowd(count: usize) -> String {
    let guests: Vec<String> = (0..count).map(|n| format!("ATTENDEE:user{n}@xyz.com\r\n")).collect();
    let head = "SENDEVENT+\r\nUID: 1@a.com\r\nSEQUENCE: 1\r\nATTENDEE;ROLE=OWNER:tom@a.com\r\n";
    [head, &guests.concat(), ".\r\n"].concat()
}

fn door() -> Door {
    from_head("# relay: domain xyz.com\n# relay: user mary@xyz.com\n# relay: login a.com right\n").0
}

async fn greeted(server: &Server) -> Client {
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.line().await.as_deref(), Some("OK CIP 1.0 cal.example.com"));
    client
}

async fn ended(server: Server) {
    timeout(PATIENCE, server.ended).await.expect("the listener ends").unwrap();
}

#[tokio::test]
async fn too_many_sessions_are_told_so() {
    let server = Server::start(door(), |s| s.max_sessions = 2).await;
    let (first, mut second) = (greeted(&server).await, greeted(&server).await);
    let mut third = Client::connect(server.address).await;
    // A client that speaks before the greeting still gets the refusal.
    third.send(OBJECT).await;
    assert_eq!(third.line().await.as_deref(), Some("NO 004 Too many sessions."));
    assert_eq!(third.line().await, None);
    second.send(b"QUIT\r\n").await;
    assert_eq!(second.line().await.as_deref(), Some("NO 001 Unknown command."));
    drop(first);
    let end = Instant::now() + PATIENCE;
    loop {
        let mut next = Client::connect(server.address).await;
        if next.line().await.is_some_and(|l| l.starts_with("OK CIP")) {
            break;
        }
        assert!(Instant::now() < end, "a session that ended gives its place to another");
    }
}

#[tokio::test]
async fn shutdown_lets_a_command_finish_and_closes_the_idle() {
    let mut slow = door();
    slow.work = Duration::from_millis(200);
    let server = Server::start(slow, |_| {}).await;
    let (mut idle, mut working, mut sending) = (greeted(&server).await, greeted(&server).await, greeted(&server).await);
    working.send(OBJECT).await;
    sending.send(b"RSVP+\r\nUID: 9@a.com\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send(true).unwrap();
    assert_eq!(idle.line().await.as_deref(), Some("NO 005 Shutting down."));
    assert_eq!(idle.line().await, None);
    for want in ["* TENTATIVE mary@xyz.com", "OK 000 Stored.", "NO 005 Shutting down."] {
        assert_eq!(working.line().await.as_deref(), Some(want));
    }
    sending.send(b".\r\n").await;
    for want in ["* NOTFOUND 9@a.com", "NO 000 No such event.", "NO 005 Shutting down."] {
        assert_eq!(sending.line().await.as_deref(), Some(want));
    }
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    drop((idle, working, sending));
    ended(server).await;
}

#[tokio::test]
async fn a_listener_whose_owner_is_gone_stops() {
    let Server { address, stop, ended } = Server::start(door(), |_| {}).await;
    let mut client = Client::connect(address).await;
    client.line().await;
    drop(stop);
    assert_eq!(client.line().await.as_deref(), Some("NO 005 Shutting down."));
    drop(client);
    timeout(PATIENCE, ended).await.expect("the listener ends").unwrap();
}

/// An answer that says why, and the next command on the same connection is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eleven_mebibytes_and_a_hundred_thousand_attendees() {
    let server = Server::start(door(), |_| {}).await;
    let mut client = greeted(&server).await;
    let line = format!("X-FILL:{}\r\n", "x".repeat(1015));
    client.send(format!("SENDEVENT+\r\n{}.\r\n", line.repeat(11 << 10)).as_bytes()).await;
    assert_eq!(client.line().await.as_deref(), Some("NO 001 An object has at most 10485760 octets."));

    client.send(format!("SENDEVENT+\r\nX:{}\r\n.\r\n", "x".repeat(70_000)).as_bytes()).await;
    assert_eq!(client.line().await.as_deref(), Some("NO 001 A line of an object has at most 65536 octets."));

    client.send(crowd(100_000).as_bytes()).await;
    for n in 0..100_000 {
        assert_eq!(client.line().await, Some(format!("* NOTFOUND user{n}@xyz.com")));
    }
    assert_eq!(client.line().await.as_deref(), Some("NO 000 Nobody received the event."));
    client.send(OBJECT).await;
    assert_eq!(client.line().await.as_deref(), Some("* TENTATIVE mary@xyz.com"));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_session() {
    let server = Server::start(door(), |s| {
        s.max_sessions = 1;
        s.idle_timeout = Duration::from_millis(300);
    })
    .await;
    let mut deaf = Client::connect(server.address).await;
    deaf.send(crowd(200_000).as_bytes()).await;
    let end = Instant::now() + PATIENCE;
    loop {
        let mut next = Client::connect(server.address).await;
        if next.line().await.is_some_and(|l| l.starts_with("OK CIP")) {
            break;
        }
        assert!(Instant::now() < end, "the session of a client that does not read ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Eleven guesses at once: one is too many, whichever comes last; and then the right password is too late as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_guesses_is_shut_out() {
    let server = Server::start(door(), |_| {}).await;
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..11 {
        let mut client = greeted(&server).await;
        guesses.spawn(async move {
            client.send(b"AUTHENTICATE LOGIN a.com wrong\r\n").await;
            client.line().await.unwrap()
        });
    }
    loop {
        match guesses.join_next().await.expect("an eleventh guess").unwrap().as_str() {
            "NO 000 Access denied." => {}
            other => {
                assert_eq!(other, "NO 005 Too many failed logins.");
                break;
            }
        }
    }
    let mut late = greeted(&server).await;
    late.send(b"AUTHENTICATE LOGIN a.com right\r\n").await;
    assert_eq!(late.line().await.as_deref(), Some("NO 005 Too many failed logins."));
    assert_eq!(late.line().await, None);
}
