//! Sources that do what sources must not: nothing is told of the user, and the relay goes on.

use tokio::task::JoinSet;

use super::{ask, at_hour, busy, calendar, settings};
use crate::support::cip::{Answer, CipClient};
use crate::support::in_time;
use crate::support::running::Running;
use crate::support::web::{Page, Web};

fn page(path: &str, method: &str) -> Page {
    let whole = calendar(&[&at_hour(9)]);
    match path {
        "/endless" => Page::Endless,
        "/slow" => Page::Slow,
        "/silent" => Page::Silence,
        "/large" => Page::ok(calendar(&[&format!("{}\nX-PAD:{}", at_hour(9), "x".repeat(10 << 20))])),
        "/liar" => Page::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nBEGIN:VCALENDAR\r\n".to_vec()),
        "/html" => Page::ok("<html><body>Please log in</body></html>"),
        "/binary" => Page::ok(vec![0u8; 1000]),
        "/cut" => Page::ok(&whole.as_bytes()[..whole.len() - 20]),
        "/short" => Page::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{whole}").into_bytes()),
        "/unasked" => Page::status(304),
        "/forbidden" => Page::status(403),
        "/login" => Page::status(401),
        "/smtp" => Page::Raw(b"220 mail.tiny.com ESMTP\r\n".to_vec()),
        "/headers" => Page::Raw([b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: b\r\n".repeat(100_000), b"\r\n".to_vec()].concat()),
        "/circle" => Page::to("/circle"),
        "/pingpong" => Page::to("/pongping"),
        "/pongping" => Page::to("/pingpong"),
        "/nowhere" => Page::status(302),
        "/elsewhere" => Page::to("http://localhost:1/x"),
        "/secure" => Page::to("https://127.0.0.1:1/x"),
        "/file" => Page::to("file:///etc/passwd"),
        "/forever" => Page::ok(calendar(&["DTSTART:19700101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY"])),
        // Five steps are allowed, and the method stays.
        "/step" => Page::to("/step1"),
        "/step1" => Page::to("/step2?a"),
        "/step2?a" => Page::to("step3"),
        "/step3" => Page::to("/step4"),
        "/step4" => Page::to("/good"),
        "/good" if method == "GET" => Page::ok(whole),
        _ => Page::status(404),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bad_source_says_is_not_taken_for_free_time() {
    let web = Web::start(|request| page(&request.path, &request.method)).await;
    let source = format!("[{{ source = \"url\", url = \"{}\" }}]", web.url("/%u"));
    let text = format!("name = \"tiny.com\"\nfree-busy-for = \"anyone\"\nfree-busy = {source}");
    let relay = Running::start(settings("[]").domain_text(&text).set("free-busy.timeout", "2s")).await;
    let mut client = relay.cip().await;
    let bad = [
        "endless",
        "slow",
        "silent",
        "large",
        "liar",
        "html",
        "binary",
        "cut",
        "short",
        "unasked",
        "forbidden",
        "login",
        "smtp",
        "headers",
        "circle",
        "pingpong",
        "nowhere",
        "elsewhere",
        "secure",
        "file",
        "forever",
    ];
    for name in bad {
        let answer = ask(&mut client, &[&format!("{name}@tiny.com")]).await;
        assert_eq!((answer.infos.len(), answer.code(), answer.data.as_deref()), (0, "NO 004", None), "{name}");
    }
    let users: Vec<String> = bad.iter().chain(&["step", "absent"]).map(|name| format!("{name}@tiny.com")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let answer = ask(&mut client, &users).await;
    assert_eq!(busy(&answer, "step@tiny.com").unwrap(), ["BUSY 1124T0900/1124T1000"]);
    assert_eq!((answer.code(), answer.infos.len()), ("OK 003", bad.len() + 1));
    web.stop().await;
    assert_eq!(ask(&mut client, &["step@tiny.com"]).await.code(), "OK 000", "what came within the last minute is known");
    assert_eq!(ask(&mut client, &["good@tiny.com"]).await.code(), "NO 004");
}

/// A source that never answers holds up those who ask for it, within bounds, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn questions_cannot_use_up_the_relay() {
    let web = Web::start(|_| Page::Silence).await;
    let source = format!("[{{ source = \"url\", url = \"{}\" }}]", web.url("/%u"));
    let relay = Running::start(settings(&source).set("free-busy.timeout", "2s")).await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(relay.cip().await);
    }
    let ask_all = |mut client: CipClient| async move { ask(&mut client, &["mary@tiny.com", "bob@tiny.com", "carl@tiny.com"]).await };
    let mut asking: JoinSet<Answer> = clients.into_iter().map(ask_all).collect();
    let mut answers = Vec::new();
    while let Some(answer) = in_time("sixty answers", asking.join_next()).await {
        answers.push(answer.unwrap());
    }
    assert!(answers.iter().all(|a| a.code() == "NO 004" && a.data.is_none()), "{answers:?}");
    let refused = answers.iter().filter(|a| a.completion.contains("Too many questions")).count();
    assert_eq!(refused, 60 - 32, "thirty-two are looked after at a time");
    assert!(web.requests().len() <= 16 * 4 * 4, "sixteen users at a time, for at most eleven seconds");
    assert_eq!(ask(&mut relay.cip().await, &["nobody@tiny.com"]).await.code(), "NO 000", "nothing is left behind");
}
