//! Starting on a data directory that is in use, damaged or emptied, or without space; reading the users anew.

use std::fs;

use super::{World, uid};
use crate::bridge::bare;
use crate::support::eventually;
use crate::support::relay::{Process, Settings};
use crate::support::smtp::SmtpClient;

/// `serve` with these settings, expected to fail: its exit code and what it says.
async fn fails(settings: &Settings) -> (Option<i32>, String) {
    let settings = settings.clone();
    let output = tokio::task::spawn_blocking(move || settings.run(&["serve"], b"")).await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_on_the_same_data_is_refused() {
    let relay = Process::start(Settings::new("tiny.com")).await;
    let second = relay.settings.clone().set("cip.listen", vec!["127.0.0.1:0"]).set("mail.smtp-listen", vec!["127.0.0.1:0"]);
    let second = second.set("mail.lmtp-listen", vec!["127.0.0.1:0"]).set("mail.inbound-listen", vec!["127.0.0.1:0"]);
    let (code, said) = fails(&second).await;
    assert_eq!(code, Some(74), "{said}");
    let data = relay.settings.path("data");
    let expected =
        format!("{}: the store is already open by another process; a running relay is asked through its control socket", data.display());
    assert!(said.contains(&expected), "{said}");
    // The first one does not mind.
    assert_eq!(relay.cip().await.greeting, "OK CIP 1.0 relay.tiny.com");
    assert!(relay.queue_json().is_empty());
    // A command that finds no control socket does not say that no relay runs.
    fs::remove_file(relay.settings.path("data/control.sock")).unwrap();
    let settings = relay.settings.clone();
    let output = tokio::task::spawn_blocking(move || settings.run(&["queue", "list"], b"")).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let words = format!("nobody answers at {}/control.sock: start the relay again if the socket is lost\n", data.display());
    assert!(said.starts_with(&format!("cip-relay: {expected}")) && said.ends_with(&words), "{said}");
    assert_eq!(output.status.code(), Some(75));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_or_damaged_store_is_not_taken_for_a_new_one() {
    let mut world = World::new().await;
    let answer = world.relay.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    assert_eq!(world.relay.terminate().await.code(), Some(0));
    let settings = world.relay.settings.clone();
    let (queue, aside) = (settings.path("data/queue"), settings.path("aside"));

    fs::rename(&queue, &aside).unwrap();
    let (code, said) = fails(&settings).await;
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("the store is empty, but the file store-id beside it says that store"), "{said}");

    fs::create_dir_all(&queue).unwrap();
    for file in fs::read_dir(&aside).unwrap().map(Result::unwrap).filter(|f| f.file_type().unwrap().is_file()) {
        fs::copy(file.path(), queue.join(file.file_name())).unwrap();
    }
    let octets = fs::metadata(queue.join("db")).unwrap().len();
    fs::write(queue.join("db"), vec![0xA5; usize::try_from(octets.min(1 << 20)).unwrap()]).unwrap();
    let (code, said) = fails(&settings).await;
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("the database does not open: ") || said.contains("the store is empty, but"), "{said}");

    fs::remove_dir_all(&queue).unwrap();
    fs::rename(&aside, &queue).unwrap();
    world.relay.start_again().await;
    world.sink.up();
    assert_eq!(uid(&world.sink.wait_for(1).await[0]), "e1@jumbo.com");
    world.relay.queue_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_space_nothing_is_accepted() {
    let relay = Process::start(Settings::new("tiny.com").set("storage.free-space-minimum", "1000000 GiB")).await;
    let words = "are needed (storage.free-space-minimum)";
    let mut client = relay.cip().await;
    assert!(client.greeting.starts_with("NO 004 ") && client.greeting.contains(words), "{}", client.greeting);
    assert!(client.closed().await);
    for address in [relay.smtp_address(), relay.lmtp_address(), relay.inbound_address()] {
        let mut client = SmtpClient::connect(address).await;
        let greeting = format!("{:?}", client.greeting);
        assert!(client.greeting.code == 421 && greeting.contains("4.3.2") && greeting.contains(words), "{greeting}");
        assert!(client.closed().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hang_up_reads_the_users_anew() {
    let settings = Settings::new("tiny.com");
    let users = settings.path("users");
    fs::write(&users, "mary\n").unwrap();
    let settings = settings.domain_text(&format!("name = \"tiny.com\"\nusers = {{ file = \"{}\" }}", users.display()));
    let relay = Process::start(settings).await;
    let mut client = relay.cip().await;
    let bob = async |client: &mut crate::support::cip::CipClient, version| {
        client.object("SENDEVENT", &bare("e1@jumbo.com", version, "tom@jumbo.com", &["mary@tiny.com", "bob@tiny.com"])).await.infos[1]
            .clone()
    };
    assert_eq!(bob(&mut client, 1).await, "* NOTFOUND bob@tiny.com");
    fs::write(&users, "mary\nbob\n").unwrap();
    relay.signal("HUP");
    eventually("the reload", || async { relay.log().contains("were read anew").then_some(()) }).await;
    assert_eq!(bob(&mut client, 2).await, "* TENTATIVE bob@tiny.com", "in the session that was open");
    // A file that cannot be read changes nothing.
    fs::write(&users, "not a local part\n").unwrap();
    relay.signal("HUP");
    eventually("the failed reload", || async { relay.log().contains("the reload failed").then_some(()) }).await;
    assert_eq!(bob(&mut client, 3).await, "* TENTATIVE bob@tiny.com");
}
