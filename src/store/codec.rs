//! How a record lies on disk: version octet, CRC-32, payload. The only module that knows bincode.
//!
//! Invariants: the checksum covers the version octet and the payload; the high bit of the version octet says that the
//! payload is compressed; a payload is read within a limit and to its last octet; one struct stands for one version and
//! is never changed once records of it exist (bincode has no names: an added field breaks what was written before).
//! What cannot be decoded is an error, never a panic and never a default.

use bincode::config;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Octets of a record before its payload.
const HEAD: usize = 5;
/// The bit of the version octet that says: compressed.
const PACKED: u8 = 0x80;
/// Payloads above this are compressed when that makes them smaller.
const PACK_FROM: usize = 1024;
/// Octets that one payload may have when uncompressed.
pub const PAYLOAD_MAX: usize = 8 << 20;
/// What decoding may claim: decoded values are larger than their encoding.
const CLAIM_MAX: usize = 8 * PAYLOAD_MAX;

/// Why a record could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the record is cut off: {0} octets")]
    Short(usize),
    #[error("the record's checksum is wrong: its octets have changed since they were written")]
    Checksum,
    #[error("the record has version {found}, this program reads {known}: it was written by a newer program, or is damaged")]
    Version { found: u8, known: u8 },
    #[error("the record does not decode: {0}")]
    Payload(String),
    #[error("the record would have {0} octets, more than {PAYLOAD_MAX}")]
    TooLarge(usize),
}

/// Encodes `record` as version `version` (1 to 127).
pub fn encode<T: Serialize>(version: u8, record: &T) -> Result<Vec<u8>, CodecError> {
    let payload = payload(record)?;
    if payload.len() > PACK_FROM {
        let packed = lz4_flex::block::compress_prepend_size(&payload);
        if packed.len() < payload.len() {
            return Ok(seal(version | PACKED, &packed));
        }
    }
    Ok(seal(version, &payload))
}

/// Decodes a record that must be of version `version`.
pub fn decode<T: DeserializeOwned>(version: u8, record: &[u8]) -> Result<T, CodecError> {
    let (found, payload) = unseal(record)?;
    if found & !PACKED != version {
        return Err(CodecError::Version { found: found & !PACKED, known: version });
    }
    if found & PACKED == 0 {
        return whole(payload);
    }
    let size = payload.first_chunk().map_or(usize::MAX, |n| u32::from_le_bytes(*n) as usize);
    if size > PAYLOAD_MAX {
        return Err(CodecError::TooLarge(size));
    }
    let plain = lz4_flex::block::decompress_size_prepended(payload).map_err(|e| CodecError::Payload(e.to_string()))?;
    whole(&plain)
}

/// Whether the octets of a record are those that were written, without decoding it.
pub fn verify(record: &[u8]) -> Result<(), CodecError> {
    unseal(record).map(|_| ())
}

/// The version that a record claims, for choosing the struct to decode it with.
pub fn version(record: &[u8]) -> Option<u8> {
    record.first().map(|v| v & !PACKED)
}

/// The payload alone, for records that carry further octets behind it.
pub(super) fn payload<T: Serialize>(record: &T) -> Result<Vec<u8>, CodecError> {
    let octets = bincode::serde::encode_to_vec(record, config::standard()).map_err(|e| CodecError::Payload(e.to_string()))?;
    if octets.len() > PAYLOAD_MAX { Err(CodecError::TooLarge(octets.len())) } else { Ok(octets) }
}

/// A value at the front of `payload`, and how many octets it took.
pub(super) fn front<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), CodecError> {
    // Without the limit a wrong length reserves gigabytes before the first element is read.
    bincode::serde::decode_from_slice(payload, config::standard().with_limit::<CLAIM_MAX>()).map_err(|e| CodecError::Payload(e.to_string()))
}

fn whole<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
    let (value, consumed) = front(payload)?;
    if consumed == payload.len() {
        Ok(value)
    } else {
        Err(CodecError::Payload(format!("{} octets are left over behind it", payload.len() - consumed)))
    }
}

/// Puts the head before octets that are no bincode payload.
pub(super) fn seal(version: u8, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + payload.len());
    record.push(version);
    record.extend_from_slice(&checksum(version, payload).to_be_bytes());
    record.extend_from_slice(payload);
    record
}

/// Checks the head and takes it off; gives the version octet as it stands.
pub(super) fn unseal(record: &[u8]) -> Result<(u8, &[u8]), CodecError> {
    let (head, payload) = record.split_first_chunk::<HEAD>().ok_or(CodecError::Short(record.len()))?;
    let [version, sum @ ..] = *head;
    if u32::from_be_bytes(sum) != checksum(version, payload) {
        return Err(CodecError::Checksum);
    }
    Ok((version, payload))
}

fn checksum(version: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_small_and_large() {
        for n in [0usize, 1, 10, 5000, 100_000] {
            let value = (n as u64, "x".repeat(n), vec![Some(7u32); n / 10]);
            let record = encode(3, &value).unwrap();
            assert_eq!(decode::<(u64, String, Vec<Option<u32>>)>(3, &record).unwrap(), value);
            assert_eq!(version(&record), Some(3));
            assert_eq!(record[0] & PACKED != 0, n >= 5000, "{n}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        for text in ["hello".to_owned(), "hello ".repeat(400)] {
            let record = encode(1, &text).unwrap();
            for bit in 0..record.len() * 8 {
                let mut bad = record.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(decode::<String>(1, &bad).is_err(), "bit {bit}");
            }
            for end in 0..record.len() {
                assert!(decode::<String>(1, &record[..end]).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn well_summed_nonsense_is_an_error_with_words() {
        // A length of 2^63, an element count far beyond the octets, left-over octets, a bomb of compression, an unknown version.
        let bomb = [&u32::MAX.to_le_bytes()[..], &[0x1f, 0, 1, 0, 0xff]].concat();
        let cases: [(&str, Vec<u8>); 5] = [
            ("length", seal(1, &[253, 0, 0, 0, 0, 0, 0, 0, 0x80])),
            ("count", seal(1, &[252, 0xff, 0xff, 0xff, 0x7f, 1])),
            ("left over", seal(1, &[1, b'a', b'b'])),
            ("bomb", seal(1 | PACKED, &bomb)),
            ("version", seal(2, &[1, b'a'])),
        ];
        for (name, record) in cases {
            assert!(decode::<String>(1, &record).is_err(), "{name}");
            assert!(decode::<Vec<u64>>(1, &record).is_err(), "{name}");
        }
        assert_eq!(decode::<String>(1, &seal(2, &[1, b'a'])), Err(CodecError::Version { found: 2, known: 1 }));
    }

    #[test]
    fn what_is_too_large_is_not_written() {
        assert!(matches!(encode(1, &"x".repeat(PAYLOAD_MAX + 1)), Err(CodecError::TooLarge(_))));
    }
}
