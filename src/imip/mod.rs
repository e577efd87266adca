//! Mail ↔ event, without I/O: reading iMIP mail (bridge 6), composing it (bridge 5), the addresses of replies and of the
//! gateway (bridge 4), delivery reports (bridge 9), and the check before a message goes to SMTP.
//!
//! Invariants: nothing here parses a calendar object beyond its METHOD line (`calendar` does); every composed message
//! is 7-bit unless an address needs SMTPUTF8, has CRLF line ends and no line over 998 octets, and no value given by a
//! peer can end a header field.

/// `write!` into a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($what:tt)*) => {{
        use std::fmt::Write as _;
        $out.write_fmt(format_args!($($what)*)).expect("a String takes all that is written to it")
    }};
}

pub mod address;
pub mod compose;
pub mod read;
pub mod report;
pub mod sendable;
