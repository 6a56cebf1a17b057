//! What records are made of: numbers, little-endian, and texts behind their length.

use bytes::Bytes;

/// Longest text of a record; longer ones are cut.
const MAX_TEXT: usize = u8::MAX as usize;

pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(MAX_TEXT)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

/// What is left of a payload. Each call is `None` where it holds no more of it.
pub struct Reader<'a> {
    payload: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(payload: &'a Bytes) -> Reader<'a> {
        Reader { payload, at: 0 }
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.payload.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    /// As `take`, shared with the payload.
    pub fn bytes(&mut self, count: usize) -> Option<Bytes> {
        Some(self.payload.slice_ref(self.take(count)?))
    }

    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(*self.take(2)?.first_chunk()?))
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    pub fn i64(&mut self) -> Option<i64> {
        Some(self.u64()?.cast_signed())
    }

    pub fn f64(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.u64()?))
    }

    /// Texts of headers may hold any byte.
    pub fn text(&mut self) -> Option<String> {
        let length = self.take(1)?[0];
        Some(String::from_utf8_lossy(self.take(usize::from(length))?).into_owned())
    }
}
