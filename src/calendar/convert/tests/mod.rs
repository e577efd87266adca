//! Tables of inputs with exact expectations, and what must hold of every translation.

mod bounds;
mod clocks;
mod grammar;
mod to_icalendar;
mod to_vcalendar;
mod zones;

use super::{Options, Target, Translation, translate};
use crate::calendar::tests::patching::job;

pub(super) fn options() -> Options {
    Options { now: job().now, notes: true }
}

/// The translation of text, with its lines joined by LF.
pub(super) fn translated(text: &str, target: Target) -> (String, Vec<String>) {
    let Translation { octets, losses, .. } = translate(text.replace('\n', "\r\n").into_bytes(), target, &options()).unwrap();
    let text = String::from_utf8(octets).unwrap().replace("\r\n", "\n");
    (text, losses.iter().map(ToString::to_string).collect())
}
