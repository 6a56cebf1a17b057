//! The prediction id: `x-request-id`, else the body's `id`, else a UUIDv7.

use std::time::{SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use crate::types::next_random;

/// Longest id that is taken from a client.
const MAX_LENGTH: usize = 64;

/// Identifies one prediction for its caller: 1 to 64 of `A-Z a-z 0-9 - _ . :`,
/// safe in headers, logs and file names. Ids may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestId(SmallVec<[u8; 40]>);

impl RequestId {
    /// The client's id where it is usable, else a new one.
    pub fn choose(header: Option<&[u8]>, body: &str) -> RequestId {
        header
            .and_then(RequestId::parse)
            .or_else(|| RequestId::parse(body.as_bytes()))
            .unwrap_or_else(RequestId::generate)
    }

    pub fn parse(text: &[u8]) -> Option<RequestId> {
        let legal = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
        let usable = (1..=MAX_LENGTH).contains(&text.len()) && text.iter().all(legal);
        usable.then(|| RequestId(SmallVec::from_slice(text)))
    }

    /// A new UUIDv7: milliseconds since 1970, then random bits.
    pub fn generate() -> RequestId {
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let mut random = [0; 10];
        random[..8].copy_from_slice(&next_random().to_le_bytes());
        random[8..].copy_from_slice(&next_random().to_le_bytes()[..2]);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut text);
        RequestId(SmallVec::from_slice(&text))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        // Only ASCII is let in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_wins_then_the_body_then_a_new_id() {
        assert_eq!(RequestId::choose(Some(b"h-1"), "b-1").as_str(), "h-1");
        assert_eq!(RequestId::choose(None, "b-1").as_str(), "b-1");
        assert_eq!(RequestId::choose(Some(b"bad id\n"), "b-1").as_str(), "b-1");
        let new = RequestId::choose(Some(&[b'x'; 65]), "");
        let uuid = uuid::Uuid::parse_str(new.as_str()).expect("a uuid");
        assert_eq!(uuid.get_version_num(), 7);
    }

    #[test]
    fn new_ids_differ() {
        let ids: std::collections::HashSet<_> =
            (0..10_000).map(|_| RequestId::generate().as_str().to_owned()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
