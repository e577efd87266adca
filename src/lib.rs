//! `cip-relay`: a store-and-forward relay for calendaring, between CIP (draft-ietf-calsch-cip-00) and e-mail (iMIP).
//!
//! The modules in reading order; each uses only what stands above it.
//!
//! - [`clock`], [`ident`], [`config`]: time, names and settings, parsed once and then trusted.
//! - [`wire`]: strict CRLF lines and dot-terminated data within limits.
//! - [`calendar`]: the three object formats, no I/O.
//! - [`cip`], [`smtp`]: the two protocols as sans-IO sessions.
//! - [`mime`], [`imip`]: mail messages, and events inside them.
//! - [`resolver`], [`locate`]: DNS, and where a CIP server is.
//! - [`store`], [`queue`], [`ledger`]: what is on disk and how it stays there.
//! - [`policy`], [`freebusy`], [`intake`]: who may do what; the one door in.
//! - [`retry`], [`courier`], [`reporting`], [`delivery`]: the way out.
//! - [`listen`], [`admin`], [`relay`], [`cli`]: sockets, the administrator, and the program that joins them.

pub mod admin;
pub mod calendar;
pub mod cip;
pub mod cli;
pub mod clock;
pub mod config;
pub mod courier;
pub mod delivery;
pub mod freebusy;
pub mod ident;
pub mod imip;
pub mod intake;
pub mod ledger;
pub mod listen;
pub mod locate;
pub mod logbook;
pub mod mime;
pub mod policy;
pub mod queue;
pub mod relay;
pub mod renewal;
pub mod reporting;
pub mod resolver;
pub mod retention;
pub mod retry;
pub mod smtp;
pub mod store;
pub mod wire;
