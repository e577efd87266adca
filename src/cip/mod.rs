//! The Calendaring Interoperability Protocol as sans-IO sessions (draft-ietf-calsch-cip-00; profile 1–4).
//!
//! [`greeting`], [`command`] and [`response`] hold what is said, parsing and writing side by side; [`client`] and
//! [`server`] hold who says it when. Octets go in, steps and octets come out; sockets, time-outs and the relay's own
//! work belong to `listen::cip` and `courier::cip`.
//!
//! Invariants: no input panics or grows a session without bound; how the octets are cut into reads changes nothing.

pub mod client;
pub mod command;
pub mod greeting;
pub mod response;
pub mod server;
