//! Lines of bounded length, read from and written to the control socket.

use std::io;

use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

/// Reads one line without its LF. `None`: the other side has ended. A line cut off by the end, or longer than `limit`, is
/// an error.
pub async fn read<R: AsyncBufRead + Unpin>(reader: &mut R, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let octets = reader.fill_buf().await?;
        if octets.is_empty() {
            return match line.len() {
                0 => Ok(None),
                _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the line was cut off")),
            };
        }
        let end = octets.iter().position(|&b| b == b'\n');
        let part = &octets[..end.unwrap_or(octets.len())];
        if line.len() + part.len() > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line of more than {limit} octets")));
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Writes one value as a line; does not flush.
pub async fn write<W: AsyncWrite + Unpin>(writer: &mut W, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn lines_are_bounded_and_an_end_within_one_is_seen() {
        let mut reader = BufReader::with_capacity(2, &b"abc\n\nabcd\n"[..]);
        assert_eq!(read(&mut reader, 4).await.unwrap(), Some(b"abc".to_vec()));
        assert_eq!(read(&mut reader, 4).await.unwrap(), Some(Vec::new()));
        assert_eq!(read(&mut reader, 4).await.unwrap(), Some(b"abcd".to_vec()));
        assert_eq!(read(&mut reader, 4).await.unwrap(), None);
        let mut long = BufReader::with_capacity(2, &b"abcde\n"[..]);
        assert_eq!(read(&mut long, 4).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut cut = BufReader::with_capacity(2, &b"abc"[..]);
        assert_eq!(read(&mut cut, 4).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
