//! Tables of inputs with exact expectations; the draft's own examples first.

pub(crate) mod dialect;
mod instances;
pub(crate) mod patching;
mod reading;
mod tolerance;
mod zone_writing;
mod zones;

pub(crate) use reading::pieces;

use super::Object;
use crate::ident::UserId;

/// Lines joined by CRLF.
pub(crate) fn object(text: &str) -> Object {
    Object::parse(crlf(text)).unwrap_or_else(|e| panic!("{e}: {text}"))
}

pub(crate) fn crlf(text: &str) -> Vec<u8> {
    text.trim_start_matches('\n').replace('\n', "\r\n").into_bytes()
}

pub(crate) fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}
