//! What the relay remembers of events: read by `ledger`, forgotten in time, given away as tokens, moved to another machine.

#[path = "ledger/history.rs"]
mod history;
#[path = "ledger/renewal.rs"]
mod renewal;
#[path = "ledger/retention.rs"]
mod retention;
#[path = "ledger/tokens.rs"]
mod tokens;
