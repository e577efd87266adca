//! A disk that is full, read-only, broken or slow: senders are told to come again, nothing acknowledged is lost, and what
//! can recover by itself does.

mod full;
mod shim;

use std::collections::BTreeSet;

use crate::crash::{World, uid};
use crate::support::eventually;

/// Every event and mail that has come, and that none came twice.
fn delivered(world: &World) -> BTreeSet<String> {
    let events = world.jumbo.of("SENDEVENT").into_iter().map(|c| c.value("UID").unwrap());
    let mails = world.sink.mails();
    let all: Vec<String> = events.chain(mails.iter().map(uid)).collect();
    let once: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), once.len(), "something came twice: {all:?}");
    once
}

/// Waits until all of these have come.
async fn all_delivered(world: &World, acknowledged: &BTreeSet<String>) {
    let words = format!("{} deliveries", acknowledged.len());
    eventually(&words, || async { acknowledged.is_subset(&came(world)).then_some(()) }).await;
}

/// Every event and mail that has come, once or more often.
fn came(world: &World) -> BTreeSet<String> {
    let events = world.jumbo.of("SENDEVENT").into_iter().map(|c| c.value("UID").unwrap());
    events.chain(world.sink.mails().iter().map(uid)).collect()
}
