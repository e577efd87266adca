//! Radicale as the CalDAV server, and Python's `recurring-ical-events` as the judge of what a calendar says.
//!
//! Both come from PyPI: `.ci/run` installs them and names the interpreter in FREEBUSY_PYTHON; without them these
//! scenarios say so and pass.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{busy, settings};
use crate::support::cip::CipClient;
use crate::support::eventually;
use crate::support::relay::{Settings, free_port};
use crate::support::running::Running;
use crate::support::web::{Page, Web};

const CALENDAR: &str = include_str!("../fixtures/freebusy/mary.ics");
/// Weeks around each change of the clocks in Berlin and New York, a month with none, and a year.
const WINDOWS: [(&str, &str); 6] = [
    ("20260301T000000Z", "20260315T000000Z"),
    ("20260322T000000Z", "20260405T000000Z"),
    ("20261018T000000Z", "20261108T000000Z"),
    ("20260601T000000Z", "20260701T000000Z"),
    ("20261224T000000Z", "20270107T000000Z"),
    ("20260101T000000Z", "20270101T000000Z"),
];

/// An interpreter that has the packages.
fn python() -> Option<String> {
    let named = std::env::var("FREEBUSY_PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "import radicale, recurring_ical_events"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(has || named.is_none(), "FREEBUSY_PYTHON={python} has not both radicale and recurring-ical-events");
    if !has {
        println!("skipped: python3 has not both radicale and recurring-ical-events (pip install radicale recurring-ical-events)");
    }
    has.then_some(python)
}

/// What the packages make of the calendar: `BUSY 20260302T080000Z/20260302T090000Z`, a line each, by type.
fn expected(python: &str, from: &str, until: &str, zone: &str) -> Vec<String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/freebusy/expected.py");
    let mut child =
        Command::new(python).arg(script).args([from, until, zone]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(CALENDAR.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

async fn told(client: &mut CipClient, from: &str, until: &str) -> Vec<String> {
    let answer = client.object("FREEBUSY", &format!("ATTENDEE:mary@tiny.com\nDTSTART:{from}\nDTEND:{until}\n")).await;
    assert!(busy(&answer, "mary@tiny.com").is_some(), "{answer:?}");
    let data = answer.data.unwrap();
    let lines = crate::support::object::lines(data.as_bytes());
    lines.iter().filter_map(|line| Some(line.strip_prefix("FREEBUSY;FBTYPE=")?.replacen(':', " ", 1))).collect()
}

fn domain(source: &str) -> String {
    format!("name = \"tiny.com\"\ntime-zone = \"Europe/Berlin\"\nfree-busy-for = \"anyone\"\nfree-busy = [{source}]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_calendar_says_what_python_says() {
    let Some(python) = python() else { return };
    let web = Web::start(|_| Page::ok(CALENDAR.replace('\n', "\r\n"))).await;
    let source = format!("{{ source = \"url\", url = \"{}\" }}", web.url("/%u.ics"));
    let relay = Running::start(settings("[]").domain_text(&domain(&source))).await;
    let mut client = relay.cip().await;
    for (from, until) in WINDOWS {
        let expected = expected(&python, from, until, "Europe/Berlin");
        assert!(expected.len() > 3, "a window that tests something: {expected:?}");
        assert_eq!(told(&mut client, from, until).await, expected, "{from} to {until}");
    }
}

/// The server, run in the relay's folder; ended when dropped.
struct Radicale {
    child: Child,
    url: String,
}

impl Drop for Radicale {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Radicale {
    async fn start(python: &str, settings: &Settings) -> Self {
        let port = free_port();
        std::fs::write(settings.path("users"), "svc:secret\n").unwrap();
        std::fs::write(settings.path("pw"), "secret\n").unwrap();
        std::fs::write(settings.path("rights"), "[service]\nuser: svc\ncollection: .*\npermissions: RrWw\n").unwrap();
        let folder = settings.folder().display();
        let config = format!(
            "[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = htpasswd\nhtpasswd_filename = {folder}/users\nhtpasswd_encryption = plain\n\
             [rights]\ntype = from_file\nfile = {folder}/rights\n[storage]\nfilesystem_folder = {folder}/collections\n"
        );
        std::fs::write(settings.path("radicale.conf"), config).unwrap();
        let log = std::fs::File::create(settings.path("radicale.log")).unwrap();
        let child = Command::new(python)
            .args(["-m", "radicale", "--config"])
            .arg(settings.path("radicale.conf"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, url: format!("http://127.0.0.1:{port}") };
        eventually("Radicale to listen", || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok() }).await;
        server
    }

    /// Puts a whole calendar in.
    fn put(&self, python: &str, user: &str, calendar: &str) {
        let script = "import sys, requests\n\
            server, user, calendar = sys.argv[1:]\n\
            ask = lambda method, path, **more: requests.request(method, server + path, auth=('svc', 'secret'), **more)\n\
            made = ask('MKCOL', user)\n\
            r = ask('PUT', user + calendar, data=sys.stdin.buffer.read(), headers={'Content-Type': 'text/calendar'})\n\
            assert made.ok and r.ok, (made.status_code, r.status_code, r.text)";
        let mut child = Command::new(python).args(["-c", script, &self.url, user, "calendar/"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(calendar.replace('\n', "\r\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn radicale_tells_what_python_says() {
    let Some(python) = python() else { return };
    let base = settings("[]");
    let server = Radicale::start(&python, &base).await;
    server.put(&python, "/mary/", CALENDAR);
    let source = |more: &str| {
        format!("{{ source = \"caldav\", url = \"{}/%u/calendar/\", user = \"svc\", password-file = \"pw\"{more} }}", server.url)
    };
    // Its free-busy-query takes a whole day for a day of UTC.
    let relay = Running::start(base.clone().domain_text(&domain(&source("")))).await;
    let mut client = relay.cip().await;
    for (from, until) in WINDOWS {
        assert_eq!(told(&mut client, from, until).await, expected(&python, from, until, "UTC"), "{from} to {until}");
    }
    relay.relay.shutdown().await;
    let relay = Running::start(base.domain_text(&domain(&source(", report = \"calendar-query\"")))).await;
    let mut client = relay.cip().await;
    for (from, until) in WINDOWS {
        assert_eq!(told(&mut client, from, until).await, expected(&python, from, until, "Europe/Berlin"), "{from} to {until}");
    }
    let nobody = client.object("FREEBUSY", "ATTENDEE:bob@tiny.com\nDTSTART:20260301T000000Z\nDTEND:20260315T000000Z\n").await;
    assert_eq!((nobody.infos.as_slice(), nobody.code()), (["* NOTFOUND bob@tiny.com".to_owned()].as_slice(), "NO 000"));
    // From the command line.
    let to = relay.cip_address().to_string();
    let words = ["freebusy", "mary@tiny.com", "--from", "2026-03-22", "--until", "2026-04-05", "--to", &to];
    let output = relay.settings.run(&[&words[..], &["--json"]].concat(), b"");
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let periods = shown["busy"].as_array().unwrap().iter().map(|p| {
        let basic = |key: &str| p[key].as_str().unwrap().replace(['-', ':'], "");
        format!("{} {}/{}", p["type"].as_str().unwrap(), basic("start"), basic("end"))
    });
    assert_eq!(periods.collect::<Vec<_>>(), expected(&python, "20260322T000000Z", "20260405T000000Z", "Europe/Berlin"));
    let text = String::from_utf8(relay.settings.run(&words, b"").stdout).unwrap();
    assert!(text.starts_with("mary@tiny.com: ") && text.contains(" tentative (20260"), "{text}");
}
