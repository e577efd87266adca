//! The administrator's door: inspecting and changing the queue through the control socket while the relay runs, and
//! through the data directory when it does not.
//!
//! [`protocol`] has the words, [`execute`] does what they say, [`server`] and [`client`] carry them over the socket.
//! The offline way runs the very same [`execute`] on a store that the command opened itself.
//!
//! Invariants: a request is one line of bounded length; an answer is a stream of items that ends in exactly one `done`
//! or `error`, so that a broken connection is never taken for an end; whoever may open the socket may do everything,
//! so only the relay's own user may (mode 0600).

mod change;
pub mod client;
pub mod execute;
pub mod ledger;
mod ledger_view;
mod line;
pub mod protocol;
pub mod rename;
pub mod server;
pub mod transfer;
pub mod view;
