//! A small file system of its own, in memory, that fills up under a running relay.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::bridge::bare;
use crate::crash::World;
use crate::crash::load::invitation;
use crate::support::cip::CipClient;
use crate::support::eventually;
use crate::support::relay::Settings;
use crate::support::smtp::SmtpClient;

use super::{all_delivered, came, delivered};

const MIB: u64 = 1 << 20;

/// A process that holds a mount namespace with a tmpfs in it. Needs no rights where users may make namespaces.
struct Small {
    holder: Child,
    mounted: PathBuf,
}

impl Small {
    /// Mounts `mebibytes` at `place`; `None` where that is not allowed.
    fn mount(place: &Path, mebibytes: u64) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let script = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$0\" && echo mounted && exec sleep 3600");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script]).arg(place).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut line).ok()?;
        let mounted = PathBuf::from(format!("/proc/{}/root", holder.id())).join(place.strip_prefix("/").unwrap());
        let small = Self { holder, mounted };
        (line == "mounted\n" && fs::read_dir(&small.mounted).is_ok()).then_some(small)
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.mounted).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Fills the file system until this much is left.
    fn leave(&self, octets: u64) {
        let mut ballast = File::options().create(true).append(true).open(self.mounted.join("ballast")).unwrap();
        while self.free() > octets {
            let piece = (self.free() - octets).min(MIB);
            ballast.write_all(&vec![1; usize::try_from(piece).unwrap()]).unwrap();
        }
    }

    fn relieve(&self) {
        fs::remove_file(self.mounted.join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A relay whose data directory is such a file system; `None`, with words, where there can be none.
async fn world(mebibytes: u64, minimum: &str) -> Option<(World, Small)> {
    let mut small = None;
    // Tried before the relay is started: it is to run there.
    let probe = tempfile::tempdir().unwrap();
    if Small::mount(probe.path(), 1).is_none() {
        eprintln!("skipped: no file system can be mounted here (unshare -rm)");
        return None;
    }
    let world = World::with(|settings: Settings| {
        let mounted = Small::mount(&settings.path("data"), mebibytes).unwrap();
        let holder = mounted.holder.id().to_string();
        small = Some(mounted);
        let control = settings.path("control.sock").display().to_string();
        settings.set("storage.free-space-minimum", minimum).set("control-socket", control).within(&[
            "nsenter",
            "-t",
            &holder,
            "-U",
            "-m",
            "--preserve-credentials",
        ])
    })
    .await;
    Some((world, small.unwrap()))
}

async fn event(client: &mut CipClient, uid: &str) -> String {
    client.object("SENDEVENT", &bare(uid, 1, "tom@jumbo.com", &["mary@tiny.com"])).await.code().to_owned()
}

async fn mail(client: &mut SmtpClient, uid: &str) -> u16 {
    client.mail("mary@tiny.com", &["tom@jumbo.com"], invitation(uid).as_bytes()).await.code
}

/// Accepts an event and a mail; gives their UIDs.
async fn both(cip: &mut CipClient, smtp: &mut SmtpClient, name: &str) -> [String; 2] {
    let uids = [format!("cip-{name}@jumbo.com"), format!("smtp-{name}@tiny.com")];
    assert_eq!(event(cip, &uids[0]).await, "OK 000", "{name}");
    assert_eq!(mail(smtp, &uids[1]).await, 250, "{name}");
    uids
}

#[tokio::test(flavor = "multi_thread")]
async fn full_while_accepting_and_while_settling() {
    let Some((world, small)) = world(256, "96 MiB").await else { return };
    let (mut cip, mut smtp) = (world.relay.cip().await, world.relay.smtp().await);
    let mut acknowledged = BTreeSet::from(both(&mut cip, &mut smtp, "before").await);

    // Below the minimum: nothing new, in open sessions and in new ones; what is there is delivered and removed.
    small.leave(80 * MIB);
    assert_eq!(event(&mut cip, "refused@jumbo.com").await, "NO 004");
    assert_eq!(mail(&mut smtp, "refused@tiny.com").await, 452);
    let late = CipClient::connect(world.relay.cip_address()).await;
    assert!(late.greeting.starts_with("NO 004 ") && late.greeting.contains("are needed (storage.free-space-minimum)"), "{}", late.greeting);
    assert_eq!(SmtpClient::connect(world.relay.smtp_address()).await.greeting.code, 421);
    world.jumbo.up();
    world.sink.up();
    all_delivered(&world, &acknowledged).await;
    world.relay.queue_empty().await;

    // Space again: taken in again, by itself.
    small.relieve();
    let (mut cip, mut smtp) = (world.relay.cip().await, world.relay.smtp().await);
    world.jumbo.stop().await;
    world.sink.stop().await;
    acknowledged.extend(both(&mut cip, &mut smtp, "between").await);

    // Below the reserve: nothing is handed out, since what became of it could not be recorded.
    small.leave(40 * MIB);
    let before = came(&world);
    world.jumbo.up();
    world.sink.up();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(came(&world), before, "something was sent whose outcome could not be recorded");
    small.relieve();
    all_delivered(&world, &acknowledged).await;
    world.relay.queue_empty().await;
    assert_eq!(delivered(&world), acknowledged);
}

/// No minimum, so that the disk itself says that it is full: the relay ends, and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn full_to_the_last_octet() {
    let Some((mut world, small)) = world(192, "0 MiB").await else { return };
    let mut acknowledged = BTreeSet::new();
    let mut cip = world.relay.cip().await;
    assert_eq!(event(&mut cip, "first@jumbo.com").await, "OK 000");
    acknowledged.insert("first@jumbo.com".to_owned());
    small.leave(0);
    // Folded lines of letters, which do not compress to nothing.
    let mut letters = StdRng::seed_from_u64(1);
    let noise: String =
        (0..800).map(|_| "\n ".chars().chain((0..70).map(|_| letters.random_range('a'..='z'))).collect::<String>()).collect();
    for n in 0..2000 {
        let uid = format!("large{n}@jumbo.com");
        let object = bare(&uid, 1, "tom@jumbo.com", &["mary@tiny.com"]).replace("Bring the plan.", &noise);
        match cip.try_object("SENDEVENT", &object).await {
            Some(answer) if answer.code() == "OK 000" => acknowledged.insert(uid),
            _ => break,
        };
    }
    assert_eq!(world.relay.ended().await.code(), Some(74), "for its supervisor");
    assert!(world.relay.log().contains("writing to the store failed"), "{}", world.relay.log());
    small.relieve();
    world.relay.start_again().await;
    world.jumbo.up();
    world.sink.up();
    all_delivered(&world, &acknowledged).await;
    eventually("an empty queue", || async { world.relay.queue_json().is_empty().then_some(()) }).await;
}
