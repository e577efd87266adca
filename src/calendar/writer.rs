//! iCalendar content lines from values.
//!
//! Invariant: no value starts a line of its own; lines are folded at 75 octets and end in CRLF.

use std::fmt::{self, Write};

use super::text;

/// Content lines, folded, with CRLF.
#[derive(Default)]
pub(crate) struct Writer {
    pub octets: Vec<u8>,
    /// Room in which a line is put together.
    line: String,
}

impl Writer {
    /// A line as it stands; CR and LF, which could start another, become blanks.
    pub fn line(&mut self, line: &str) {
        if memchr::memchr2(b'\r', b'\n', line.as_bytes()).is_some() {
            text::fold_into(&mut self.octets, line.replace(['\r', '\n'], " ").as_bytes());
        } else {
            text::fold_into(&mut self.octets, line.as_bytes());
        }
    }

    /// The same, put together in place.
    pub fn line_of(&mut self, line: fmt::Arguments<'_>) {
        let mut text = std::mem::take(&mut self.line);
        text.clear();
        // Writing to a String cannot fail.
        let _ = text.write_fmt(line);
        self.line(&text);
        self.line = text;
    }

    /// A TEXT property.
    pub fn text(&mut self, name: &str, value: &str) {
        self.property(name, "", value);
    }

    /// The same with parameters, as `;NAME=value`.
    pub fn property(&mut self, name: &str, params: &str, value: &str) {
        let mut text = std::mem::take(&mut self.line);
        text.clear();
        for part in [name, params, ":"] {
            text.push_str(part);
        }
        text::push_escaped(&mut text, value);
        self.line(&text);
        self.line = text;
    }
}
