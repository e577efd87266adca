//! iCalendar content lines from values.
//!
//! Invariant: no value starts a line of its own; lines are folded at 75 octets and end in CRLF.

use super::text;

/// Content lines, folded, with CRLF.
#[derive(Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    /// A line as it stands; CR and LF, which could start another, become blanks.
    pub fn line(&mut self, line: &str) {
        if line.contains(['\r', '\n']) {
            text::fold_into(&mut self.0, line.replace(['\r', '\n'], " ").as_bytes());
        } else {
            text::fold_into(&mut self.0, line.as_bytes());
        }
    }

    /// A TEXT property.
    pub fn text(&mut self, name: &str, value: &str) {
        self.line(&format!("{name}:{}", text::escape(value)));
    }
}
