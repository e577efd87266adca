//! Calendar objects in their three formats (profile 5): read, patched in place, composed. No I/O.
//!
//! [`Object`] is the octets with an index over them; [`Event`](event::Event) is what the relay needs to know of them.
//! [`Patch`] changes single lines and leaves every other octet alone; [`compose`] makes objects of our own.
//!
//! Invariants: nothing here panics, recurses or takes more than proportional time on any input; no octets are ever
//! rewritten through another library's writer.

pub mod busy;
pub mod compose;
pub mod convert;
mod error;
pub mod event;
mod freebusy;
mod instances;
mod join;
mod object;
mod patch;
mod people;
mod property;
mod proposal;
mod reader;
pub(crate) mod recur;
mod singles;
mod snapshot;
pub mod stream;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod writer;
mod zone;

pub use busy::is_zone;
pub use error::ObjectError;
pub use freebusy::{FreeBusyRequest, freebusy_request};
pub use instances::Instances;
pub use object::{MAX_PEOPLE, Object};
pub use patch::{Patch, crlf};
pub use people::{read_user, read_users};
pub use proposal::Proposal;
pub use singles::{Single, Singles, singles};
pub use snapshot::{Mark, Snapshot};
pub(crate) use snapshot::{Shown, Wall, in_zone_of};
