//! Tables of inputs with exact expectations; the draft's own examples first.

pub(crate) mod dialect;
mod instances;
mod odd_lines;
pub(crate) mod patching;
mod reading;
mod tolerance;
mod zone_writing;
mod zones;

pub(crate) use reading::pieces;

use proptest::test_runner::Config;

use super::Object;
use crate::ident::UserId;

/// As many cases as suit the property, unless `PROPTEST_CASES` asks for more or fewer.
pub(crate) fn cases(usual: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    let cases = asked.unwrap_or(usual);
    Config { cases, max_global_rejects: cases.saturating_mul(8).max(1024), failure_persistence: None, ..Config::default() }
}

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
