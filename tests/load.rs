//! The load tools (contrib/load) against the real program: every acknowledged message arrives once and unchanged, by every
//! way that the benchmarks use; and a comparison that finds fault when there is one.

#[path = "../contrib/load/tool/mod.rs"]
mod tool;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use clap::Parser as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::relay::{Process, Settings, free_port};
use crate::support::{eventually, in_time};

/// What `load` reports with these arguments, and whether its exit status is 0.
async fn load(arguments: &str, stop: watch::Receiver<bool>) -> (Value, bool) {
    let arguments = tool::Arguments::try_parse_from(["load"].into_iter().chain(arguments.split(' '))).unwrap_or_else(|e| panic!("{e}"));
    let report = tool::run(arguments, stop).await.unwrap_or_else(|e| panic!("{e}"));
    (serde_json::to_value(&report).unwrap(), report.good())
}

async fn now(arguments: &str) -> (Value, bool) {
    let (_held, stop) = watch::channel(false);
    in_time(arguments, load(arguments, stop)).await
}

fn count(report: &Value, what: &str) -> u64 {
    report[what].as_u64().unwrap_or_else(|| panic!("no {what} in {report}"))
}

/// A sink on a port of its own, until it is told to stop.
struct Sink {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<(Value, bool)>,
}

impl Sink {
    async fn start(protocol: &str, ledger: &Path, options: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (stop, stopped) = watch::channel(false);
        let arguments = format!("sink --protocol {protocol} {address} --ledger {}{options}", ledger.display());
        let task = tokio::spawn(async move { load(&arguments, stopped).await });
        let sink = Self { address, stop, task };
        eventually("the sink to listen", || async { tokio::net::TcpStream::connect(address).await.ok() }).await;
        sink
    }

    async fn stop(self) -> Value {
        self.stop.send(true).unwrap();
        in_time("the sink to stop", self.task).await.unwrap().0
    }
}

/// A relay for load.example whose other destinations are this sink.
fn relay(route: &str, sink: SocketAddr) -> Settings {
    let settings =
        Settings::new("load.example").quick().set("log.level", "warn").set("cip.relay-networks", vec!["127.0.0.0/8"]).smarthost(sink);
    let via = if route == "cip" { format!("via = \"{sink}\"") } else { String::new() };
    settings.peer(&format!("server-id = \"*.example\"\nroute = \"{route}\"\n{via}"))
}

/// Sends by `inward`, receives by `outward`; compares.
async fn through(inward: &str, outward: &str, messages: u64, trouble: &str) -> (Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    let (acknowledged, received) = (folder.path().join("acknowledged"), folder.path().join("received"));
    let sink = Sink::start(outward, &received, trouble).await;
    let process = Process::start(relay(outward_route(outward), sink.address)).await;
    let server = if inward == "cip" { process.cip_address() } else { process.smtp_address() };
    let (sent, _) = now(&format!(
        "source --protocol {inward} {server} --sessions 8 --messages {messages} --size 4096 --recipients 2 --destinations 5 --ledger {}",
        acknowledged.display()
    ))
    .await;
    assert_eq!(count(&sent, "acknowledged"), messages, "{sent}");
    process.queue_empty().await;
    let taken = sink.stop().await;
    let (compared, good) = now(&format!("compare {} {}", acknowledged.display(), received.display())).await;
    assert!(good, "{compared}");
    assert_eq!(count(&compared, "acknowledged"), 2 * messages, "{compared}");
    (compared, taken)
}

fn outward_route(outward: &str) -> &'static str {
    if outward == "cip" { "cip" } else { "mail" }
}

/// Nothing strange came, and nothing twice.
fn all_once((compared, taken): (Value, Value)) {
    for what in ["lost", "doubled", "corrupt", "unacknowledged"] {
        assert_eq!(count(&compared, what), 0, "{compared}");
    }
    assert_eq!(count(&taken, "strange"), 0, "{taken}");
    assert_eq!(taken["deliveries"], compared["received"], "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_cip_goes_on_by_cip_once_and_unchanged() {
    all_once(through("cip", "cip", 200, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_mail_goes_on_by_cip_once_and_unchanged() {
    all_once(through("smtp", "cip", 100, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_cip_goes_on_by_mail_once_and_unchanged() {
    all_once(through("cip", "smtp", 100, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_refuses_and_drops_gets_everything_in_the_end() {
    let (compared, taken) = through("cip", "cip", 50, " --refuse 0.2 --drop 0.1").await;
    assert!(count(&taken, "refused") > 0 && count(&taken, "dropped") > 0, "{taken}");
    assert_eq!((count(&compared, "received"), count(&compared, "doubled")), (100, 0), "{compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_finds_what_is_lost_doubled_and_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (acknowledged, received) = (folder.path().join("acknowledged"), folder.path().join("received"));
    fs::write(&acknowledged, "a@x d1 u@y,v@y\nb@x d2 u@y\nc@x d3 u@y\nd@x d4 u@").unwrap();
    let compare = format!("compare {} {}", acknowledged.display(), received.display());
    let table = [
        ("a@x d1 v@y\na@x d1 u@y\nb@x d2 u@y\nc@x d3 u@y\n", (0, 0, 0, 0), true),
        // One of two recipients.
        ("a@x d1 v@y\nb@x d2 u@y\nc@x d3 u@y\n", (1, 0, 0, 0), false),
        ("a@x d1 v@y,u@y\nb@x d2 u@y\nc@x d3 u@y\nc@x d3 u@y\nc@x d3 u@y\n", (0, 2, 0, 0), true),
        ("a@x d1 v@y,u@y\nb@x d0 u@y\nc@x d3 u@y\n", (0, 0, 1, 0), false),
        ("a@x d1 v@y,u@y\nb@x d2 u@y\nc@x d3 u@y\nd@x d4 u@y\nd@x d4 u@y\n", (0, 1, 0, 1), true),
    ];
    for (lines, (lost, doubled, corrupt, unacknowledged), good) in table {
        fs::write(&received, lines).unwrap();
        let (report, status) = now(&compare).await;
        let found = ["lost", "doubled", "corrupt", "unacknowledged"].map(|what| count(&report, what));
        assert_eq!((found, status), ([lost, doubled, corrupt, unacknowledged], good), "{lines}: {report}");
    }
    fs::write(&received, "a@x d1\n").unwrap();
    let arguments = tool::Arguments::parse_from(["load"].into_iter().chain(compare.split(' ')));
    let error = tool::run(arguments, watch::channel(false).1).await.unwrap_err().to_string();
    assert!(error.contains("received, line 1: \"a@x d1\" is no line of a ledger"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_keeps_the_source_waiting_and_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("received");
    let hole = Sink::start("cip", &ledger, " --black-hole").await;
    let (sent, _) = now(&format!("source --protocol cip {} --messages 2 --timeout 200ms", hole.address)).await;
    let seen = ["acknowledged", "refused", "broken"].map(|what| count(&sent, what));
    assert_eq!(seen, [0, 2, 2], "{sent}");
    assert_eq!(count(&hole.stop().await, "messages"), 0);
    assert_eq!(fs::read(&ledger).unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_the_disk_counts_every_record_and_sync() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("raw");
    let (limit, _) = now(&format!("raw {} --writers 8 --size 100 --time 200ms", file.display())).await;
    let (records, syncs) = (count(&limit, "records"), count(&limit, "syncs"));
    assert!(syncs > 0 && records >= syncs && records <= 8 * syncs, "{limit}");
    assert!(!file.exists());
}

/// Black holes are waited for, all of them at the same time, without a worker: there are fewer of those.
#[tokio::test(flavor = "multi_thread")]
async fn silent_destinations_leave_the_workers_to_those_that_answer() {
    let folder = tempfile::tempdir().unwrap();
    let hole = Sink::start("cip", &folder.path().join("hole"), " --black-hole").await;
    let live = Sink::start("cip", &folder.path().join("live"), "").await;
    let settings = relay("cip", live.address)
        .peer(&format!("server-id = \"*.hole.test\"\nroute = \"cip\"\nvia = \"{}\"", hole.address))
        .set("delivery.workers", 2);
    let process = Process::start(settings).await;
    let server = process.cip_address();
    let send = async |messages: u64, to: &str| {
        let (sent, _) = now(&format!("source --protocol cip {server} --messages {messages} --destinations 8 --to {to}")).await;
        assert_eq!(count(&sent, "acknowledged"), messages, "{sent}");
    };
    send(16, "user@d%d.hole.test").await;
    send(40, "user@d%d.example").await;
    // Two messages wait for each black hole; one of them is being tried.
    eventually("the live ones to be done and one message for each black hole to be tried", || async {
        let left = process.queue_json();
        let in_flight = left.iter().filter(|entry| entry["state"] == "in-flight").count();
        (left.len() == 16 && in_flight == 8).then_some(())
    })
    .await;
    assert_eq!(count(&live.stop().await, "deliveries"), 40);
    assert_eq!(count(&hole.stop().await, "messages"), 0);
}
