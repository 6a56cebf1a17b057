//! One entry of a model's `metadata_props`: read, put in, and left out of the
//! digest, so that a file is known by its graph whether it has the entry or not.
//!
//! Entries stand at the top level of the file, so they are found by skipping
//! from field to field, and a file is rewritten by copying what is between them.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::wire::{Value, Wire, malformed, put_varint};
use super::{MOST_BYTES, MOST_TOP_FIELDS, ScanError};
use crate::types::Digest;

/// `ModelProto.metadata_props`, a list of `StringStringEntryProto`.
const METADATA: u32 = 14;
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// Wire type of what has a length.
const LENGTH_DELIMITED: u64 = 2;

const COPY: usize = 64 << 10;

/// Where an entry with the key stands.
struct Entry {
    whole: Range<u64>,
    value: Range<u64>,
}

/// The value under `key` in a model of `bytes` bytes, which may have `most`
/// bytes; none where there is no such entry.
///
/// # Errors
/// Where the file is no sound protobuf, has the key twice, or too long a value.
pub fn metadata<R: Read + Seek>(
    mut model: R,
    bytes: u64,
    key: &str,
    most: u64,
) -> Result<Option<Vec<u8>>, ScanError> {
    let entries = entries(&mut model, bytes, key)?;
    let entry = match &entries[..] {
        [] => return Ok(None),
        [entry] => entry,
        _ => return Err(malformed(format!("its metadata has '{key}' {} times", entries.len()))),
    };
    let length = entry.value.end - entry.value.start;
    if length > most {
        return Err(ScanError::Limit { what: "bytes in a value of its metadata", most });
    }
    let mut value = Vec::new();
    model.seek(SeekFrom::Start(entry.value.start)).map_err(ScanError::Io)?;
    model.take(length).read_to_end(&mut value).map_err(ScanError::Io)?;
    Ok(Some(value))
}

/// The digest of a model of `bytes` bytes as it is without `key` in its
/// metadata: where it has no such entry, that of the file.
///
/// # Errors
/// Where the file is no sound protobuf.
pub fn digest_without<R: Read + Seek>(
    mut model: R,
    bytes: u64,
    key: &str,
) -> Result<Digest, ScanError> {
    let mut hasher = Sha256::new();
    let entries = entries(&mut model, bytes, key)?;
    copy_without(&mut model, bytes, &entries, |part| {
        hasher.update(part);
        Ok(())
    })?;
    Ok(Digest::new(hasher.finalize().into()))
}

/// Writes a model of `bytes` bytes with `value` under `key` in its metadata, in
/// place of what was there.
///
/// # Errors
/// Where the file is no sound protobuf or would become too large, or cannot be
/// read or written.
pub fn with_metadata<R: Read + Seek, W: Write>(
    mut model: R,
    bytes: u64,
    (key, value): (&str, &[u8]),
    out: &mut W,
) -> Result<(), ScanError> {
    let mut entry = Vec::new();
    put_field(&mut entry, KEY, key.as_bytes());
    put_field(&mut entry, VALUE, value);
    let mut field = Vec::new();
    put_field(&mut field, METADATA, &entry);
    if bytes.saturating_add(field.len() as u64) > MOST_BYTES {
        return Err(ScanError::Limit { what: "bytes of the model file", most: MOST_BYTES });
    }
    let entries = entries(&mut model, bytes, key)?;
    copy_without(&mut model, bytes, &entries, |part| out.write_all(part))?;
    out.write_all(&field).map_err(ScanError::Io)
}

/// Entries with the key, in the order of the file.
fn entries<R: Read + Seek>(model: &mut R, bytes: u64, key: &str) -> Result<Vec<Entry>, ScanError> {
    model.seek(SeekFrom::Start(0)).map_err(ScanError::Io)?;
    let mut wire = Wire::new(model, bytes);
    let mut found = Vec::new();
    for _ in 0..MOST_TOP_FIELDS {
        let start = wire.at();
        let Some(field) = wire.next(bytes)? else { return Ok(found) };
        if field.number != METADATA {
            wire.skip(&field)?;
            continue;
        }
        let end = wire.message(&field)?;
        if let Some(value) = value_of(&mut wire, end, key)? {
            found.push(Entry { whole: start..end, value });
        }
    }
    Err(ScanError::Limit { what: "fields at the top level", most: MOST_TOP_FIELDS })
}

/// Where the value of an entry stands, if its key is this one.
fn value_of<R: Read + Seek>(
    wire: &mut Wire<R>,
    end: u64,
    key: &str,
) -> Result<Option<Range<u64>>, ScanError> {
    let (mut is_key, mut value) = (false, end..end);
    while let Some(field) = wire.next(end)? {
        match (field.number, field.value) {
            // Others are not read: they may be of any length.
            (KEY, Value::Bytes(length)) if length == key.len() as u64 => {
                is_key = wire.text(&field, length)? == key;
            }
            (VALUE, Value::Bytes(length)) => {
                value = wire.at()..wire.at() + length;
                wire.skip(&field)?;
            }
            (number, _) => {
                is_key &= number != KEY;
                wire.skip(&field)?;
            }
        }
    }
    Ok(is_key.then_some(value))
}

/// Hands out the file without some entries, part by part.
fn copy_without<R: Read + Seek>(
    model: &mut R,
    bytes: u64,
    entries: &[Entry],
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ScanError> {
    let starts = std::iter::once(0).chain(entries.iter().map(|entry| entry.whole.end));
    let ends = entries.iter().map(|entry| entry.whole.start).chain([bytes]);
    let mut buffer = vec![0; COPY];
    for (start, end) in starts.zip(ends) {
        model.seek(SeekFrom::Start(start)).map_err(ScanError::Io)?;
        let mut left = end - start;
        while left > 0 {
            let most = left.min(COPY as u64) as usize;
            let read = model.read(&mut buffer[..most]).map_err(ScanError::Io)?;
            if read == 0 {
                return Err(ScanError::Truncated { bytes: end - left, at: start, end });
            }
            take(&buffer[..read]).map_err(ScanError::Io)?;
            left -= read as u64;
        }
    }
    Ok(())
}

fn put_field(into: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(into, u64::from(number) << 3 | LENGTH_DELIMITED);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "ours";

    /// Fields of a number each, then metadata.
    fn file(numbers: &[u8], metadata: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in numbers {
            bytes.extend([1 << 3, *number & 0x7f]);
        }
        for (key, value) in metadata {
            let mut entry = Vec::new();
            put_field(&mut entry, KEY, key.as_bytes());
            put_field(&mut entry, VALUE, value.as_bytes());
            put_field(&mut bytes, METADATA, &entry);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Vec<u8>>, ScanError> {
        metadata(Cursor::new(bytes), bytes.len() as u64, OURS, 100)
    }

    fn digest(bytes: &[u8]) -> Digest {
        digest_without(Cursor::new(bytes), bytes.len() as u64, OURS).expect("sound")
    }

    fn embed(bytes: &[u8], value: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let value = value.as_bytes();
        with_metadata(Cursor::new(bytes), bytes.len() as u64, (OURS, value), &mut out)
            .expect("sound");
        out
    }

    #[test]
    fn an_entry_is_found_among_others() {
        let bytes = file(&[1, 2], &[("a", "b"), (OURS, "{}"), ("outs", "of the same length")]);
        assert_eq!(read(&bytes).expect("sound"), Some(b"{}".to_vec()));
        assert_eq!(read(&file(&[1], &[("a", "b")])).expect("sound"), None);
        assert_eq!(read(&[]).expect("sound"), None);
        // The value may stand before the key, and be missing.
        let mut entry = Vec::new();
        put_field(&mut entry, VALUE, b"{}");
        put_field(&mut entry, KEY, OURS.as_bytes());
        let mut bytes = Vec::new();
        put_field(&mut bytes, METADATA, &entry);
        assert_eq!(read(&bytes).expect("sound"), Some(b"{}".to_vec()));
        let mut bytes = Vec::new();
        put_field(&mut bytes, METADATA, &entry[4..]);
        assert_eq!(read(&bytes).expect("sound"), Some(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let twice = file(&[], &[(OURS, "1"), (OURS, "2")]);
        let long = file(&[], &[(OURS, &"x".repeat(101))]);
        let cut = &file(&[], &[(OURS, "{}")])[..7];
        for (bytes, part) in [
            (&twice[..], "'ours' 2 times"),
            (&long[..], "at most 100"),
            (cut, "truncated"),
            (&[0xff; 20][..], "does not end"),
        ] {
            let error = read(bytes).expect_err(part).to_string();
            assert!(error.contains(part), "{error:?} should contain {part:?}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_file_as_it_was() {
        let plain = file(&[3], &[("a", "b")]);
        let expected = Digest::new(Sha256::digest(&plain).into());
        assert_eq!(digest(&plain), expected);
        let embedded = embed(&plain, "one");
        assert_ne!(embedded, plain);
        assert_eq!(digest(&embedded), expected);
        assert_eq!(digest(&embed(&embedded, "another")), expected, "it is replaced");
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(
            numbers in prop::collection::vec(0u8..128, 0..8),
            value in "[a-z]{0,100}",
            before in prop::option::of("[a-z]{0,20}"),
        ) {
            let others = [("a", "b")];
            let before = before.as_deref().map(|value| (OURS, value));
            let model = file(&numbers, &[others.as_slice(), before.as_slice()].concat());
            let embedded = embed(&model, &value);
            prop_assert_eq!(read(&embedded).expect("sound"), Some(value.into_bytes()));
            prop_assert_eq!(digest(&embedded), digest(&file(&numbers, &others)));
        }

        #[test]
        fn nothing_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes);
            let _ = digest_without(Cursor::new(&bytes), bytes.len() as u64, OURS);
        }
    }
}
