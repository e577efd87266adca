//! What the relay remembers of events: read by `ledger`, forgotten in time, moved, renumbered and renamed.

#[path = "ledger/history.rs"]
mod history;
