//! The transcripts again, against the whole relay: users, redirects, passwords and events as the head says, the events
//! accepted by mail from their owners. Where the whole relay rightly answers otherwise, there is a transcript of its own
//! in `relay/`, which says why.

use super::{folder, play};
use crate::bridge::{ical, imip};
use crate::support::dns::Dns;
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::Sink;

/// What the head of a transcript asks for, as a configuration; and the events.
fn settings(transcript: &str, settings: Settings) -> (Settings, Vec<Vec<String>>) {
    let heads: Vec<Vec<String>> =
        transcript.lines().filter_map(|l| l.strip_prefix("# relay: ")).map(|l| l.split(' ').map(str::to_owned).collect()).collect();
    let of = |word: &str| heads.iter().filter(|h| h[0] == word).map(|h| h[1..].to_vec()).collect::<Vec<_>>();
    let mut settings = settings.set("cip.allow-plaintext-login", of("no-plaintext-login").is_empty());
    for domain in of("domain").into_iter().flatten() {
        let here = format!("@{domain}");
        let local = |user: &String| user.strip_suffix(&here).map(str::to_owned);
        let owners = of("event").into_iter().filter_map(|e| local(&e[1]));
        let users: Vec<String> = of("user").iter().filter_map(|u| local(&u[0])).chain(owners).collect();
        let moved: String = of("moved").iter().filter_map(|m| Some(format!("{:?} = {:?}\n", local(&m[0])?, m[1]))).collect();
        settings = settings.domain_text(&format!("name = \"{domain}\"\nusers = {users:?}\n[redirects]\n{moved}"));
    }
    for login in of("login") {
        let output = settings.run(&["passwd", &login[0]], format!("{}\n", login[1]).as_bytes());
        assert!(output.status.success(), "{output:?}");
        let path = settings.path("credentials");
        let before = std::fs::read(&path).unwrap_or_default();
        std::fs::write(&path, [before, output.stdout].concat()).unwrap();
        settings = settings.set("cip.credentials", path.display().to_string());
    }
    for (word, key, unit) in [("idle", "cip.idle-timeout", "ms"), ("max-event-size", "cip.max-event-size", "")] {
        for value in of(word) {
            settings = settings.set(key, format!("{}{unit}", value[0]));
        }
    }
    (settings, of("event"))
}

async fn run(name: &str) {
    let transcript = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
    let (dns, sink) = (Dns::start("").await, Sink::start().await);
    let base = Settings::new("relay.example").dns(dns.address()).smarthost(sink.address()).quick();
    let (settings, events) = settings(&transcript, base);
    let relay = Running::start(settings).await;
    for event in events {
        let people: Vec<(&str, &str)> = event[2..].iter().map(|a| (a.as_str(), "NEEDS-ACTION")).collect();
        let recipients: Vec<&str> = event[2..].iter().map(String::as_str).collect();
        let mail = imip("REQUEST", &event[1], &recipients, &ical("REQUEST", &event[0], 0, &event[1], &people));
        let reply = relay.smtp().await.mail(&event[1], &recipients, mail.as_bytes()).await;
        assert_eq!(reply.code, 250, "{reply:?}");
    }
    play(relay.cip_address(), name, &transcript).await;
}

macro_rules! whole {
    ($($test:ident $name:literal)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                run($name).await;
            }
        )*
    };
}

whole! {
    draft_2_1_authenticate "draft_2_1_authenticate"
    draft_2_2_sendevent "draft_2_2_sendevent"
    draft_2_3_rsvp "draft_2_3_rsvp"
    draft_2_4_freebusy "relay/draft_2_4_freebusy"
    draft_3_group_answer "relay/draft_3_group_answer"
    draft_3_bill_and_mary "draft_3_bill_and_mary"
    draft_3_bill_at_xyz "draft_3_bill_at_xyz"
    hostile_command_lines "hostile_command_lines"
    hostile_data "hostile_data"
    hostile_sizes "hostile_sizes"
    login_failures "login_failures"
    many_errors "many_errors"
    framing "framing"
    silence "silence"
    plaintext_refused "plaintext_refused"
}
