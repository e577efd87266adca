//! Who may do what: local users and their other names, standing, and the limits that go with it.
//!
//! Nothing here stores or sends; `intake` asks, and acts on the answer.

pub mod aliases;
pub mod credentials;
pub mod directory;
pub mod standing;
pub mod verify;
