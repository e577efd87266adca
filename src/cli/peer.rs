//! What `send`, `rsvp` and `freebusy` share: a CIP client that shows its dialog.
//!
//! Invariant: the client is nobody's relay: it may talk to the relay of this very machine, which the relay itself, for
//! fear of loops, would not.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::exit::{Exit, Failure};
use super::freebusy::{self, Form};
use super::output::{Colour, Output, Style, clean};
use super::source::open;
use crate::calendar::busy::Window;
use crate::cip::response::{Answer, FreeBusyAnswer, code};
use crate::clock::SystemClock;
use crate::config::{Config, ObjectFormat, Peer, RouteRule, TlsUse, split_host_port};
use crate::courier::cip::{CipCourier, Dialog, Said};
use crate::courier::{CipResult, CipVerb, FreeBusyResult, Unreachable};
use crate::ident::ServerId;
use crate::locate::Locator;
use crate::resolver::Resolver;

#[derive(Debug, clap::Args)]
pub struct PeerArgs {
    /// The server: HOST:PORT to connect to, or a server-id to look up; without it, the servers of the users
    #[arg(long, value_name = "SERVER")]
    to: Option<String>,
    /// Log in with AUTHENTICATE LOGIN as this identity; needs --password-file
    #[arg(long, value_name = "IDENTITY", requires = "password_file")]
    identity: Option<String>,
    /// The file whose first line is the password
    #[arg(long, value_name = "FILE", requires = "identity")]
    password_file: Option<PathBuf>,
    /// Show the dialog: C: what is sent, S: what is answered
    #[arg(long, short)]
    verbose: bool,
}

/// A client for one invocation.
pub struct Client {
    courier: CipCourier,
    /// Whoever is addressed, this is where it goes.
    to: Option<ServerId>,
    /// The worst that has happened so far.
    worst: Exit,
}

impl Client {
    pub fn new(mut config: Config, args: &PeerArgs, style: Style) -> Result<Self, Failure> {
        config.server_id = ServerId::parse("client.invalid").map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
        config.hostname = Some(config.server_id.to_string());
        let to = args.to.as_deref().map(|to| target(to, &mut config)).transpose()?;
        if let (Some(identity), Some(file)) = (&args.identity, &args.password_file) {
            let any = config.peer.is_empty().then(|| to.clone()).flatten();
            config.peer.extend(any.map(|name| peer(&name)));
            for peer in &mut config.peer {
                peer.identity = Some(identity.clone());
                peer.password_file = Some(file.clone());
            }
            if config.peer.is_empty() {
                return Err(Failure::new(
                    Exit::Usage,
                    "--identity needs --to, or a [[peer]] in the configuration: a password goes to a server that was named",
                ));
            }
        }
        let resolver = Resolver::new(&config.dns).map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        let locator = Locator::new(resolver, &config).own_addresses(Vec::new());
        let mut courier = CipCourier::new(locator, Arc::new(SystemClock));
        if args.verbose {
            courier = courier.dialog(dialog(style));
        }
        Ok(Self { courier, to, worst: Exit::Ok })
    }

    /// The server that was named with --to.
    pub const fn to(&self) -> Option<&ServerId> {
        self.to.as_ref()
    }

    pub async fn deliver(&mut self, server: &ServerId, verb: CipVerb, object: &[u8], out: &mut Output) -> io::Result<()> {
        let (exit, words) = match self.courier.deliver(server, verb, object).await {
            CipResult::Answered(answer) => (exit_of(&answer), lines(&answer)),
            CipResult::Uncertain(why) => (Exit::TempFail, format!("no answer after the data, perhaps stored: {why}")),
            CipResult::Unreachable { why, detail } => (unreachable_exit(why), detail),
        };
        self.say(server, exit, &words, out)
    }

    pub async fn free_busy(&mut self, server: &ServerId, request: &[u8], window: Window, form: Form, out: &mut Output) -> io::Result<()> {
        let (exit, words) = match self.courier.free_busy(server, request).await {
            FreeBusyResult::Answered(FreeBusyAnswer { data, answer }) => {
                if let Some(data) = data {
                    freebusy::show(&data, window, form, out)?;
                }
                // Times alone go to standard output, so that they can be piped.
                let exit = exit_of(&answer);
                out.flush()?;
                writeln!(io::stderr(), "{server}: {}", clean(&lines(&answer)))?;
                self.note(exit);
                return Ok(());
            }
            FreeBusyResult::Unreachable { why, detail } => (unreachable_exit(why), detail),
        };
        self.say(server, exit, &words, out)
    }

    fn say(&mut self, server: &ServerId, exit: Exit, words: &str, out: &mut Output) -> io::Result<()> {
        let colour = match exit {
            Exit::Ok => Colour::Green,
            Exit::TempFail => Colour::Yellow,
            _ => Colour::Red,
        };
        let name = self.to.as_ref().map_or_else(|| server.to_string(), |_| "server".to_owned());
        let name = out.style.paint(colour, &name);
        writeln!(out, "{name}: {}", clean(words))?;
        self.note(exit);
        Ok(())
    }

    /// What cannot be helped outweighs what can be tried again.
    fn note(&mut self, exit: Exit) {
        if self.worst == Exit::Ok || (self.worst == Exit::TempFail && exit != Exit::Ok) {
            self.worst = exit;
        }
    }

    pub fn outcome(self) -> super::Outcome {
        match self.worst {
            Exit::Ok => Ok(()),
            exit => Err(Failure::silent(exit)),
        }
    }
}

/// Where --to leads: an address becomes a peer of a name of its own, with `via`.
fn target(to: &str, config: &mut Config) -> Result<ServerId, Failure> {
    let bad = || Failure::new(Exit::Usage, format!("--to {to}: write HOST:PORT, an IP address, or a server-id such as jumbo.com"));
    let (host, port) =
        if to.parse::<std::net::Ipv6Addr>().is_ok() { (to.to_owned(), None) } else { split_host_port(to).ok_or_else(bad)? };
    let literal = host.parse::<std::net::IpAddr>().is_ok();
    if port.is_none() && !literal && !host.eq_ignore_ascii_case("localhost") {
        return ServerId::parse(to).map_err(|_| bad());
    }
    let name = ServerId::parse("server.invalid").map_err(|_| bad())?;
    let port = port.unwrap_or(config.cip.default_port);
    let via = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    config.peer = vec![Peer { via: Some(via), ..peer(&name) }];
    Ok(name)
}

fn peer(name: &ServerId) -> Peer {
    Peer {
        server_id: name.to_string(),
        via: None,
        route: RouteRule::Auto,
        tls: TlsUse::Opportunistic,
        identity: None,
        password_file: None,
        object_format: ObjectFormat::Vcalendar,
    }
}

fn exit_of(answer: &Answer) -> Exit {
    let completion = &answer.completion;
    match (completion.ok, completion.code) {
        (true, _) => Exit::Ok,
        (false, code::BAD) => Exit::Data,
        (false, code::BUSY | code::CLOSING) => Exit::TempFail,
        (false, _) => Exit::NoPerm,
    }
}

const fn unreachable_exit(why: Unreachable) -> Exit {
    match why {
        Unreachable::Dns => Exit::TempFail,
        Unreachable::NoCip | Unreachable::Silent | Unreachable::Down | Unreachable::Refused => Exit::Unavailable,
    }
}

/// The completion, and before it each informational line.
fn lines(answer: &Answer) -> String {
    let mut octets = Vec::new();
    answer.write(&mut octets);
    String::from_utf8_lossy(&octets).lines().collect::<Vec<_>>().join(" | ")
}

/// Prints whole lines as they come, each under who said it.
fn dialog(style: Style) -> Dialog {
    let rest: Mutex<[Vec<u8>; 2]> = Mutex::default();
    Arc::new(move |said, octets| {
        let (at, mark, colour) = match said {
            Said::Client => (0, "C:", Colour::Dim),
            Said::Server => (1, "S:", Colour::Bold),
        };
        let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest[at].extend_from_slice(octets);
        while let Some(end) = rest[at].iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = rest[at].drain(..=end).collect();
            let text = clean(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            // The conversation goes on whether or not somebody still watches it.
            let _ = writeln!(io::stdout(), "{}", style.paint(colour, &format!("{mark} {text}")));
        }
    })
}

/// Octets of a file or, for `-`, of standard input, at most `limit`.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let (name, source) = open(path)?;
    let failed = |error: io::Error| Failure::new(Exit::Io, format!("{name}: {error}"));
    let mut octets = Vec::new();
    source.take(limit + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() as u64 > limit {
        return Err(Failure::new(Exit::Data, format!("{name} has more than {limit} octets")));
    }
    Ok(octets)
}
