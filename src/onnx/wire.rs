//! Protobuf's wire format, read field by field and in place: lengths are checked
//! against the file before anything is read, and content that nobody asks for is
//! skipped by seeking.

use std::io::{BufReader, Read, Seek};

use super::ScanError;

const BUFFER: usize = 64 << 10;

/// Most fields of one file, so that a file of nothing but tiny fields takes seconds.
const MOST_FIELDS: u64 = 100_000_000;

/// One field: its number and what follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) value: Value,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Varint(u64),
    /// Eight bytes, read already.
    Fixed64,
    /// Four bytes, read already.
    Fixed32,
    /// So many bytes, which come next: a message, text or packed numbers.
    Bytes(u64),
}

pub(super) struct Wire<R> {
    reader: BufReader<R>,
    /// Bytes read and skipped so far.
    at: u64,
    /// Bytes of the file.
    len: u64,
    fields: u64,
}

impl<R: Read + Seek> Wire<R> {
    pub(super) fn new(reader: R, len: u64) -> Wire<R> {
        Wire { reader: BufReader::with_capacity(BUFFER, reader), at: 0, len, fields: 0 }
    }

    /// Bytes read and skipped so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The next field of the message that ends at byte `end`, and none at that end.
    pub(super) fn next(&mut self, end: u64) -> Result<Option<Field>, ScanError> {
        if self.at >= end {
            return Ok(None);
        }
        self.fields += 1;
        if self.fields > MOST_FIELDS {
            return Err(ScanError::Limit { what: "protobuf fields", most: MOST_FIELDS });
        }
        let began = self.at;
        let tag = self.varint(end)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let Some(number) = number else {
            return Err(malformed(format!("no field begins at byte {began}")));
        };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint(end)?),
            1 => {
                self.advance(8, end)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint(end)?;
                self.claim(length, end)?;
                Value::Bytes(length)
            }
            5 => {
                self.advance(4, end)?;
                Value::Fixed32
            }
            // Groups, which ONNX has none of, and two kinds that do not exist.
            kind => {
                return Err(malformed(format!("a field of kind {kind} begins at byte {began}")));
            }
        };
        Ok(Some(Field { number, value }))
    }

    /// Leaves out what follows a field.
    pub(super) fn skip(&mut self, field: &Field) -> Result<(), ScanError> {
        match field.value {
            Value::Bytes(length) => self.advance(length, self.len),
            Value::Varint(_) | Value::Fixed64 | Value::Fixed32 => Ok(()),
        }
    }

    /// Where the message in `field` ends.
    pub(super) fn message(&self, field: &Field) -> Result<u64, ScanError> {
        Ok(self.at + length_of(field)?)
    }

    /// The text in `field`, which may be `most` bytes long.
    pub(super) fn text(&mut self, field: &Field, most: u64) -> Result<String, ScanError> {
        let length = length_of(field)?;
        if length > most {
            return Err(ScanError::Limit { what: "bytes in a name", most });
        }
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(length).read_to_end(&mut bytes);
        read.map_err(ScanError::Io)?;
        if bytes.len() as u64 != length {
            return Err(self.truncated(self.at + length));
        }
        self.at += length;
        String::from_utf8(bytes).map_err(|_| malformed("a name is not valid UTF-8".to_owned()))
    }

    /// The whole numbers in `field`, whether packed or a single one.
    pub(super) fn integers(
        &mut self,
        field: &Field,
        mut take: impl FnMut(i64) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        if let Value::Varint(value) = field.value {
            return take(value as i64);
        }
        let end = self.message(field)?;
        while self.at < end {
            take(self.varint(end)? as i64)?;
        }
        Ok(())
    }

    fn varint(&mut self, end: u64) -> Result<u64, ScanError> {
        let began = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            self.claim(1, end)?;
            let mut byte = [0];
            match self.reader.read_exact(&mut byte) {
                Ok(()) => self.at += 1,
                Err(error) => return Err(ScanError::Io(error)),
            }
            let bits = u64::from(byte[0] & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed(format!("the number at byte {began} does not end")))
    }

    fn advance(&mut self, length: u64, end: u64) -> Result<(), ScanError> {
        self.claim(length, end)?;
        let step = i64::try_from(length).map_err(|_| self.truncated(u64::MAX))?;
        self.reader.seek_relative(step).map_err(ScanError::Io)?;
        self.at += length;
        Ok(())
    }

    /// Checks that `length` more bytes lie before `end`.
    fn claim(&self, length: u64, end: u64) -> Result<(), ScanError> {
        let reaches = self.at.saturating_add(length);
        if reaches > self.len {
            Err(self.truncated(reaches))
        } else if reaches > end {
            Err(malformed(format!("the field at byte {} reaches past its message", self.at)))
        } else {
            Ok(())
        }
    }

    fn truncated(&self, end: u64) -> ScanError {
        ScanError::Truncated { bytes: self.len, at: self.at, end }
    }
}

/// A whole number as it is written.
pub(super) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

fn length_of(field: &Field) -> Result<u64, ScanError> {
    match field.value {
        Value::Bytes(length) => Ok(length),
        _ => Err(malformed(format!("field {} is not of its kind", field.number))),
    }
}

pub(super) fn malformed(why: String) -> ScanError {
    ScanError::Malformed(why)
}
