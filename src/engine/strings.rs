//! Between the protocol's packed strings, each behind a `u32` length, and ONNX
//! Runtime's string tensors.

use smallvec::SmallVec;

use super::Input;
use super::ffi::{Environment, Value};

const PREFIX: usize = size_of::<u32>();

/// A string tensor of the packed strings of `input`, which may hold any bytes.
pub(super) fn value_of(
    environment: &Environment,
    input: &Input<'_>,
) -> Result<Value<'static>, String> {
    let strings = Packed::new(input.data)?;
    Value::strings(environment, input.shape, strings)
}

/// The strings of a tensor of `elements` strings, packed.
pub(super) fn packed(value: &Value<'_>, elements: usize) -> Result<Vec<u8>, String> {
    if elements == 0 {
        return Ok(Vec::new());
    }
    let content = value.strings_len()?;
    let prefixes = elements.checked_mul(PREFIX).ok_or("too many strings")?;
    let total = prefixes.checked_add(content).ok_or("too many bytes of strings")?;
    let mut packed = vec![0; total];
    let mut offsets: SmallVec<[usize; 32]> = SmallVec::from_elem(0, elements);
    // The content goes to the end of the buffer and then string by string to its place,
    // which never lies behind what is still to be moved: one buffer, no second copy of it.
    value.read_strings(&mut packed[prefixes..], &mut offsets)?;
    let mut at = 0;
    for index in 0..elements {
        let start = offsets[index];
        let end = offsets.get(index + 1).copied().unwrap_or(content);
        let length = end.checked_sub(start).ok_or("string offsets are out of order")?;
        let prefix = u32::try_from(length).map_err(|_| "a string is longer than 4 GiB")?;
        packed[at..at + PREFIX].copy_from_slice(&prefix.to_le_bytes());
        at += PREFIX;
        packed.copy_within(prefixes + start..prefixes + end, at);
        at += length;
    }
    Ok(packed)
}

/// Packed strings that are known to be whole.
pub(super) struct Packed<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Packed<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Result<Packed<'a>, String> {
        let mut rest = packed;
        let mut left = 0;
        while !rest.is_empty() {
            (_, rest) = split(rest).ok_or_else(|| format!("string {left} is cut off"))?;
            left += 1;
        }
        Ok(Packed { rest: packed, left })
    }
}

fn split(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first_chunk::<PREFIX>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

impl<'a> Iterator for Packed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (string, rest) = split(self.rest)?;
        self.rest = rest;
        self.left -= 1;
        Some(string)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Packed<'_> {}
