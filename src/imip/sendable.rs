//! The check before a message goes out by SMTP (RFC 5321 2.3.8, 4.5.3.1.6): a bare CR or LF, which servers read
//! differently (SMTP smuggling), and lines that are too long.
//!
//! Invariant: a message that passes is sent octet for octet by any client that doubles leading dots.

/// The most octets of a line, without its CRLF, in what the relay writes itself.
pub const MAX_LINE: usize = 998;
/// The same for mail that is passed on as it came: as much as the SMTP listener takes. Whether the next server likes it
/// is for that server to say; the relay is not to refuse what the mail server would have sent.
pub const MAX_LINE_PASSED_ON: usize = (64 << 10) - 2;

/// Why a message cannot be sent as it stands. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    #[error("line {line} of the message ends in a bare LF; lines must end in CRLF (RFC 5321 2.3.8)")]
    BareLf { line: usize },
    #[error("line {line} of the message holds a CR without LF; lines must end in CRLF (RFC 5321 2.3.8)")]
    BareCr { line: usize },
    #[error("line {line} of the message has {octets} octets; at most {max} can be sent (RFC 5321 4.5.3.1.6)")]
    LongLine { line: usize, octets: usize, max: usize },
}

/// Whether a message with lines of at most `max` octets can go out as it stands; the first fault, else.
pub fn check(message: &[u8], max: usize) -> Result<(), Unsendable> {
    for (index, piece) in message.split_inclusive(|&b| b == b'\n').enumerate() {
        let line = index + 1;
        let content = match piece {
            [content @ .., b'\r', b'\n'] => content,
            [.., b'\n'] => return Err(Unsendable::BareLf { line }),
            content => content,
        };
        if content.contains(&b'\r') {
            return Err(Unsendable::BareCr { line });
        }
        if content.len() > max {
            return Err(Unsendable::LongLine { line, octets: content.len(), max });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let long = |n: usize| [b"a: b\r\n\r\n".to_vec(), vec![b'x'; n], b"\r\n".to_vec()].concat();
        for (message, verdict) in [
            (b"".to_vec(), Ok(())),
            (b"a: b\r\n\r\nc".to_vec(), Ok(())),
            (b"a: b\r\n\nc\r\n".to_vec(), Err(Unsendable::BareLf { line: 2 })),
            (b"a: b\r\nc\rd\r\n".to_vec(), Err(Unsendable::BareCr { line: 2 })),
            (b"a: b\r\r\n".to_vec(), Err(Unsendable::BareCr { line: 1 })),
            (b"a: b\r".to_vec(), Err(Unsendable::BareCr { line: 1 })),
            (long(998), Ok(())),
            (long(999), Err(Unsendable::LongLine { line: 3, octets: 999, max: MAX_LINE })),
        ] {
            assert_eq!(check(&message, MAX_LINE), verdict);
        }
    }
}
