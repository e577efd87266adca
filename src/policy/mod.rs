//! Who may do what: local users and their other names, standing, whether a mail is from whom it says, and the limits that
//! go with it.
//!
//! Nothing here stores or sends; `intake` asks, and acts on the answer.

pub mod aliases;
pub mod authenticity;
pub mod credentials;
pub mod directory;
pub mod standing;
pub mod verify;
