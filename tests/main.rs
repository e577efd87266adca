//! The scenarios: whole conversations over real sockets, a file each. One program, so that it links once.

mod answers;
mod bridge;
mod chain;
mod cli;
mod contrib;
mod courier;
mod crash;
mod dialogs;
mod formats;
mod freebusy;
mod hostile;
mod imip;
mod intake_cip;
mod intake_mail;
mod invariants;
mod locate;
mod moving;
mod order;
mod outcomes;
mod programs;
mod reports;
mod routing;
mod schedule;
mod smtp;
mod support;
mod updates;
