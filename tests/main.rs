//! The scenarios: whole conversations over real sockets, a file each. One program, so that it links once.

mod imip;
mod locate;
mod support;
