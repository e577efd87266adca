//! Bodies: octets of any size, compressed, cut into pieces, shared by counting.
//!
//! Invariants: a piece holds at most [`PIECE`] octets before compression and is never larger afterwards than these and
//! its head, so that no value ever becomes one of sled's blob files, which are not synced; the header holds the number
//! of references and, when the body is small, the body; every value has its own checksum.

use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};

/// Octets of a body in one piece, before compression.
pub const PIECE: usize = 64 << 10;
/// A body whose only piece is at most this long stands in the header: one record instead of two. Counting references
/// writes the header again, so it stays small.
const INLINE: usize = 8 << 10;
const VERSION: u8 = 1;
const RAW: u8 = 0;
const LZ4: u8 = 1;

/// What is known of a body without its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub refs: u32,
    /// Octets, uncompressed.
    pub size: u64,
    /// Pieces in records of their own; 0: the only one stands behind the header.
    pub pieces: u32,
}

/// A body ready to be stored.
#[derive(Debug)]
pub struct Packed {
    pub header: Header,
    pub inline: Vec<u8>,
    pub pieces: Vec<Vec<u8>>,
}

impl Packed {
    pub fn new(octets: &[u8], refs: u32) -> Self {
        let mut pieces: Vec<Vec<u8>> = octets.chunks(PIECE).map(pack).collect();
        let inline = match pieces.as_slice() {
            [only] if only.len() <= INLINE => pieces.remove(0),
            _ => Vec::new(),
        };
        // A body is bounded by the memory that holds it: fewer than 2^32 pieces.
        let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        let pieces = pieces.into_iter().map(|piece| codec::seal(VERSION, &piece)).collect();
        Self { header: Header { refs, size: octets.len() as u64, pieces: count }, inline, pieces }
    }

    pub fn octets(&self) -> usize {
        self.inline.len() + self.pieces.iter().map(Vec::len).sum::<usize>()
    }
}

/// The header's record.
pub fn encode_header(header: &Header, inline: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut payload = codec::payload(header)?;
    payload.extend_from_slice(inline);
    Ok(codec::seal(VERSION, &payload))
}

/// The header, and the piece behind it.
pub fn decode_header(record: &[u8]) -> Result<(Header, &[u8]), CodecError> {
    let payload = open(record)?;
    let (header, consumed) = codec::front(payload)?;
    Ok((header, &payload[consumed..]))
}

/// Appends the octets of a piece's record to `body`.
pub fn decode_piece(record: &[u8], body: &mut Vec<u8>) -> Result<(), CodecError> {
    unpack(open(record)?, body)
}

/// Appends the octets of the piece behind a header.
pub fn unpack(piece: &[u8], body: &mut Vec<u8>) -> Result<(), CodecError> {
    match piece.split_first() {
        None => {}
        Some((&RAW, octets)) => body.extend_from_slice(octets),
        Some((&LZ4, packed)) => {
            let octets = lz4_flex::block::decompress(packed, PIECE).map_err(|e| CodecError::Payload(e.to_string()))?;
            body.extend_from_slice(&octets);
        }
        Some((form, _)) => return Err(CodecError::Payload(format!("a piece in the unknown form {form}"))),
    }
    Ok(())
}

fn open(record: &[u8]) -> Result<&[u8], CodecError> {
    match codec::unseal(record)? {
        (VERSION, payload) => Ok(payload),
        (found, _) => Err(CodecError::Version { found, known: VERSION }),
    }
}

fn pack(octets: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(octets);
    let (form, content) = if packed.len() < octets.len() { (LZ4, packed.as_slice()) } else { (RAW, octets) };
    let mut piece = Vec::with_capacity(1 + content.len());
    piece.push(form);
    piece.extend_from_slice(content);
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize) -> Vec<u8> {
        let mut x = 1u32;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn bodies_of_all_sizes_come_back_in_bounded_pieces() {
        for n in [0, 1, 100, INLINE - 1, INLINE, INLINE + 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 17] {
            for body in [noise(n), vec![b'a'; n]] {
                let packed = Packed::new(&body, 3);
                let record = encode_header(&packed.header, &packed.inline).unwrap();
                assert!(record.len() <= INLINE + 32);
                let (header, inline) = decode_header(&record).unwrap();
                assert_eq!((header.refs, header.size, header.pieces as usize), (3, n as u64, packed.pieces.len()));
                let mut back = Vec::new();
                unpack(inline, &mut back).unwrap();
                for piece in &packed.pieces {
                    assert!(piece.len() <= PIECE + 6);
                    decode_piece(piece, &mut back).unwrap();
                }
                assert!(back == body, "{n}");
            }
        }
    }

    #[test]
    fn a_piece_that_claims_too_much_is_an_error() {
        let bomb = lz4_flex::block::compress(&vec![0; PIECE + 1]);
        let piece = codec::seal(VERSION, &[&[LZ4], bomb.as_slice()].concat());
        assert!(decode_piece(&piece, &mut Vec::new()).is_err());
        assert!(decode_piece(&codec::seal(VERSION, &[9, 1]), &mut Vec::new()).is_err());
        assert!(decode_piece(&codec::seal(7, &[0, 1]), &mut Vec::new()).is_err());
    }
}
