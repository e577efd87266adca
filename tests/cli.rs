//! The command line, run as the program that is installed.

mod client;
mod convert;
mod inspect;
mod queue;
mod serve;

use std::path::Path;
use std::process::Output;

use cip_relay::policy::credentials::Credentials;

use crate::support::relay::Settings;

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The subcommands, each with words for which it shows its help.
const COMMANDS: [&str; 34] = [
    "ledger",
    "ledger list",
    "ledger show",
    "redirect",
    "redirect list",
    "redirect add",
    "redirect remove",
    "serve",
    "check-config",
    "submit",
    "send",
    "rsvp",
    "freebusy",
    "locate",
    "convert",
    "inspect",
    "passwd",
    "completions",
    "man",
    "queue",
    "queue list",
    "queue show",
    "queue summary",
    "queue retry",
    "queue hold",
    "queue release",
    "queue drop",
    "queue bounce",
    "queue export",
    "queue import",
    "queue check",
    "queue watch",
    "help",
    "help queue",
];

#[test]
fn every_command_explains_itself_with_an_example() {
    let settings = Settings::new("tiny.com");
    for command in COMMANDS.iter().filter(|c| !c.starts_with("help")) {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--help");
        let output = settings.run(&words, b"");
        assert_eq!(code(&output), 0, "{command}");
        let text = stdout(&output);
        assert!(text.contains("Example") && text.contains("cip-relay "), "{command}: {text}");
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn how_a_command_ends_is_told_in_sysexits() {
    let settings = Settings::new("tiny.com");
    for (words, expected, said) in [
        ("", 64, "Usage:"),
        ("frobnicate", 64, "unrecognized subcommand"),
        ("--version", 0, ""),
        ("help queue", 0, ""),
        ("queue", 64, "Usage:"),
        ("queue show nonsense", 64, "is not an entry id"),
        ("queue show 00000000001", 65, "00000000001: no such entry"),
        ("queue list --state odd", 64, "invalid value 'odd'"),
        ("queue list --older 5 minutes", 64, "unexpected argument"),
        ("queue drop", 64, "which entries?"),
        ("queue drop --all --server a.com", 64, "exclude each other"),
        ("queue drop 00000000001 --all", 64, "exclude each other"),
        ("queue list", 0, "does not exist yet"),
        ("queue watch", 64, "needs a terminal"),
        ("queue import nowhere", 65, "nowhere: No such file"),
        ("submit mary@tiny.com", 75, "cip-relay is not running"),
        ("send nowhere.vcs", 65, "nowhere.vcs: No such file"),
        ("send --to : file", 65, "file: No such file"),
        ("rsvp", 64, "required arguments"),
        ("rsvp --event a@b.com", 64, "required arguments"),
        ("freebusy mary@tiny.com --from tomorrow --until 2026-12-01", 64, "write a date"),
        ("freebusy mary --from 2026-12-01 --until 2026-12-02", 64, "is not of the form local@server-id"),
        ("freebusy mary@tiny.com --from 2026-12-02 --until 2026-12-01", 65, "DTEND"),
        ("locate -", 64, "is not a domain name"),
        ("completions tcsh", 64, "invalid value 'tcsh'"),
        ("convert nowhere", 64, "--to"),
        ("convert --to vcard x", 64, "invalid value 'vcard'"),
        ("convert --to vcalendar nowhere", 65, "nowhere: No such file"),
        ("inspect nowhere", 65, "nowhere: No such file"),
        ("passwd a:b", 64, "cannot be an identity"),
    ] {
        let words: Vec<&str> = words.split(' ').filter(|w| !w.is_empty()).collect();
        let output = settings.run(&words, b"From: tom@jumbo.com\n\nHello\n");
        assert_eq!((code(&output), stderr(&output).contains(said)), (expected, true), "{words:?}: {output:?}");
    }
}

#[test]
fn check_config_names_file_line_and_remedy() {
    let settings = Settings::new("tiny.com");
    let file = settings.path("bad.toml");
    std::fs::write(&file, "server-id = \"tiny.com\"\ndata-dri = \"x\"\n\n[cip]\nidle-timeout = \"5 minutes\"\n\n[[peer]]\nserver-id = \"jumbo.com\"\ntls = \"required\"\n").unwrap();
    let output =
        std::process::Command::new(crate::support::relay::binary()).arg("check-config").arg("--config").arg(&file).output().unwrap();
    let name = file.display();
    let expected = format!(
        "{name}:2:1: data-dri: no such key; write `data-dir`\n\
         {name}:5:16: cip.idle-timeout: \"5 minutes\" is not a duration; write a number and one of ms s m h d, such as \"30s\" or \"4h\"\n\
         {name}:9:7: peer[0].tls: this version does not speak TLS over CIP, so \"required\" could never deliver; write \"opportunistic\" or \"never\", or route = \"mail\"\n"
    );
    assert_eq!((code(&output), stderr(&output), stdout(&output)), (78, expected, String::new()));

    let other =
        std::process::Command::new(crate::support::relay::binary()).args(["queue", "list", "--config"]).arg(&file).output().unwrap();
    assert_eq!(code(&other), 78);
    assert!(stderr(&other).contains("bad.toml:2:1:"));
}

#[test]
fn check_config_passes_a_good_file_and_warns_of_a_readable_secret() {
    let settings = Settings::new("tiny.com").set("cip.credentials", "credentials");
    std::fs::write(settings.path("credentials"), "").unwrap();
    let output = settings.run(&["check-config"], b"");
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("no mistakes found\n  this relay is tiny.com on relay.tiny.com, mail domain cip.tiny.com\n"));
    assert!(stderr(&output).contains("warning: cip.credentials: ") && stderr(&output).contains("chmod 640"), "{}", stderr(&output));
    assert_eq!(stdout(&settings.run(&["check-config", "--quiet"], b"")), "");
}

#[test]
fn passwd_makes_a_line_that_logs_in() {
    let settings = Settings::new("tiny.com");
    let output = settings.run(&["passwd", "jumbo.com", "--relay"], b"pa:ss $word\nrest is ignored\n");
    assert_eq!(code(&output), 0, "{output:?}");
    let credentials = Credentials::parse(Path::new("credentials"), &stdout(&output)).unwrap();
    let login = credentials.verify("jumbo.com", b"pa:ss $word").unwrap();
    assert!(login.relay);
    assert!(credentials.verify("jumbo.com", b"pa:ss $word\n").is_none());
    assert_eq!(code(&settings.run(&["passwd", "jumbo.com"], b"")), 65);
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let settings = Settings::new("tiny.com");
    for shell in ["bash", "zsh", "fish"] {
        let output = settings.run(&["completions", shell], b"");
        assert_eq!(code(&output), 0);
        assert!(["check-config", "freebusy", "bounce"].iter().all(|c| stdout(&output).contains(c)), "{shell}");
    }
    let page = stdout(&settings.run(&["man"], b""));
    assert!(page.contains(".TH cip-relay 1") && page.contains("check\\-config"), "{page}");
    let folder = settings.folder().display().to_string();
    assert_eq!(code(&settings.run(&["man", "--all", &folder], b"")), 0);
    assert!(settings.path("cip-relay-queue-bounce.1").exists());
}

const MAIL: &str = "From: Tom Jones <tom@jumbo.com>\nTo: mary@tiny.com\nSubject: Lunch\nMessage-ID: <1@jumbo.com>\nMIME-Version: 1.0\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\n\nBEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//y//EN\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:lunch-1\nSEQUENCE:2\nDTSTAMP:20261122T120000Z\nDTSTART:20261201T113000Z\nDTEND:20261201T123000Z\nSUMMARY:Lunch\nORGANIZER;CN=Tom Jones:mailto:tom@jumbo.com\nATTENDEE;CN=Mary;PARTSTAT=NEEDS-ACTION;ROLE=OPT-PARTICIPANT:mailto:mary@tiny.com\nEND:VEVENT\nEND:VCALENDAR\n";

const BARE: &str = "UID: 10-28@jumbo.com\nSEQUENCE: 1\nATTENDEE;ROLE=OWNER: Tom Jones <tom@jumbo.com>\nATTENDEE: mary@tiny.com\nDTSTART: 19961231T2000-0500\nSUMMARY: New Year's Eve\n";
