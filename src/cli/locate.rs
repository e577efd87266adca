//! `locate`: every step of finding a CIP server, and what the relay would do.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Colour, Output, clean};
use crate::cip::greeting::FirstLine;
use crate::config::{Config, Deliver, RouteRule};
use crate::ident::ServerId;
use crate::locate::{LocateError, Located, Locator, NotLocated};
use crate::resolver::Resolver;

/// Show every step of finding the CIP server of a server-id, and what the relay would do
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay locate jumbo.com\n\nExit codes: 0 a server greets as CIP, 69 none does, 75 DNS could not say."
)]
pub struct Args {
    server_id: ServerId,
}

/// What a port said.
#[derive(Debug, PartialEq, Eq)]
enum Port {
    Cip(String),
    Busy(String),
    Other(String),
    Closed(String),
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let mut out = Output::stdout();
    let resolver = Resolver::new(&config.dns).map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    let locator = Locator::new(resolver, &config);
    let mut rng = StdRng::from_rng(&mut rand::rng());
    let (exit, advice) = match locator.locate(&args.server_id, &mut rng).await {
        Err(error) => {
            steps(&mut out, &error.steps)?;
            not_located(&error, &config, &args.server_id)
        }
        Ok(located) => {
            steps(&mut out, &located.steps)?;
            probe(&mut out, &located, &config, &args.server_id).await?
        }
    };
    let colour = if exit == Exit::Ok { Colour::Green } else { Colour::Yellow };
    let advice = out.style.paint(colour, &format!("The relay would {advice}."));
    writeln!(out, "{advice}")?;
    out.flush()?;
    if exit == Exit::Ok { Ok(()) } else { Err(Failure::silent(exit)) }
}

fn steps(out: &mut Output, steps: &[String]) -> std::io::Result<()> {
    steps.iter().try_for_each(|step| writeln!(out, "{}", clean(step)))
}

/// Asks each address what it is, in the order in which the relay would try them.
async fn probe(out: &mut Output, located: &Located, config: &Config, server: &ServerId) -> std::io::Result<(Exit, String)> {
    let connect = config.delivery.connect_timeout.0;
    let patience = if located.promised { connect } else { connect.min(Duration::from_secs(5)) };
    let (mut first, mut busy) = (None, false);
    for candidate in &located.candidates {
        for &address in &candidate.addresses {
            let to = SocketAddr::new(address, candidate.port);
            let said = knock(to, patience).await;
            let words = match &said {
                Port::Cip(line) => format!("greets as CIP: {line}"),
                Port::Busy(line) => format!("is CIP and will not serve now: {line}"),
                Port::Other(line) => format!("is something else: {line}"),
                Port::Closed(why) => format!("does not answer: {why}"),
            };
            writeln!(out, "{} ({to}) {}", candidate.host, clean(&words))?;
            busy |= matches!(said, Port::Busy(_));
            if matches!(said, Port::Cip(_)) && first.is_none() {
                first = Some(format!("{} ({to})", candidate.host));
            }
        }
    }
    Ok(match first {
        Some(host) => (Exit::Ok, format!("deliver by CIP to {host}")),
        None if located.promised || busy => (Exit::Unavailable, down(config, server)),
        None => (Exit::Unavailable, "deliver by e-mail at once, and remember for an hour that nothing here speaks CIP".to_owned()),
    })
}

/// What patience leads to; the configuration may have ruled e-mail out.
fn down(config: &Config, server: &ServerId) -> String {
    let patience = super::output::span(config.delivery.cip_patience.0);
    let cip_only = config.peer(server).is_some_and(|peer| peer.route == RouteRule::Cip)
        || config.local_domain(server).is_some_and(|domain| domain.deliver == Deliver::Cip);
    if cip_only {
        let expire = super::output::span(config.delivery.expire_after.0);
        return format!("keep trying by CIP for {expire} (delivery.expire-after), and then report the failure");
    }
    format!("keep trying for {patience} (delivery.cip-patience), then deliver by e-mail")
}

fn not_located(error: &LocateError, config: &Config, server: &ServerId) -> (Exit, String) {
    match error.why {
        NotLocated::NoCip => (Exit::Unavailable, "deliver by e-mail at once, without any CIP connection".to_owned()),
        NotLocated::NoAddress => (Exit::Unavailable, "deliver by e-mail at once".to_owned()),
        NotLocated::Down => (Exit::Unavailable, down(config, server)),
        NotLocated::Dns => (Exit::TempFail, "try again later; for a failed look-up it does not turn to e-mail".to_owned()),
        NotLocated::Refused => (Exit::Unavailable, "not connect there".to_owned()),
    }
}

/// Connects, and reads the first line.
async fn knock(to: SocketAddr, patience: Duration) -> Port {
    let mut stream = match timeout(patience, TcpStream::connect(to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Port::Closed(error.to_string()),
        Err(_) => return Port::Closed(format!("no connection within {patience:?}")),
    };
    let mut line = Vec::new();
    let mut reader = BufReader::new((&mut stream).take(1024));
    match timeout(patience, reader.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) if !line.is_empty() => {}
        Ok(Ok(_)) => return Port::Other("it closes without a word".to_owned()),
        Ok(Err(error)) => return Port::Closed(error.to_string()),
        Err(_) => return Port::Other(format!("it accepts connections and says nothing for {patience:?}")),
    }
    // A server may note who leaves without a word.
    let _ = stream.shutdown().await;
    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
    match FirstLine::parse(text.as_bytes()) {
        FirstLine::Ready(_) => Port::Cip(text),
        FirstLine::Refused(_) => Port::Busy(text),
        FirstLine::NotCip(_) => Port::Other(text),
    }
}
