//! Whether a model file has arrived whole, as far as its outermost layer tells.

use std::fs::File;
use std::io::{self, BufReader, Read};

const GRAPH: u64 = 7;
const OPERATOR_SETS: u64 = 8;

/// Why `file` is not a whole ONNX model yet, or none if it is one. Only the
/// fields of the outermost message are looked at, and what they hold is skipped.
pub(super) fn why_incomplete(file: File) -> io::Result<Option<String>> {
    let bytes = file.metadata()?.len();
    let mut fields = Fields { reader: BufReader::with_capacity(512, file), at: 0, bytes };
    let (mut graph, mut operator_sets) = (false, false);
    while fields.at < bytes {
        match fields.skip()? {
            Some(GRAPH) => graph = true,
            Some(OPERATOR_SETS) => operator_sets = true,
            Some(_) => {}
            None => {
                let reason = format!(
                    "it is no whole ONNX model: it breaks off or is damaged after {} of {bytes} bytes",
                    fields.at
                );
                return Ok(Some(reason));
            }
        }
    }
    let missing = match (graph, operator_sets) {
        (true, true) => return Ok(None),
        (false, _) => "graph",
        (true, false) => "operator sets",
    };
    Ok(Some(format!("it is no whole ONNX model: it has no {missing}")))
}

struct Fields {
    reader: BufReader<File>,
    at: u64,
    bytes: u64,
}

impl Fields {
    /// Skips one field and tells its number; none where it is not whole.
    fn skip(&mut self) -> io::Result<Option<u64>> {
        let start = self.at;
        let skipped = self.field()?;
        if skipped.is_none() {
            self.at = start;
        }
        Ok(skipped)
    }

    fn field(&mut self) -> io::Result<Option<u64>> {
        let Some(key) = self.varint()? else { return Ok(None) };
        let length = match key & 7 {
            0 => return Ok(self.varint()?.and(Some(key >> 3))),
            1 => 8,
            2 => match self.varint()? {
                Some(length) => length,
                None => return Ok(None),
            },
            5 => 4,
            _ => return Ok(None),
        };
        if key >> 3 == 0 || length > self.bytes - self.at {
            return Ok(None);
        }
        let Ok(step) = i64::try_from(length) else { return Ok(None) };
        self.reader.seek_relative(step)?;
        self.at += length;
        Ok(Some(key >> 3))
    }

    fn varint(&mut self) -> io::Result<Option<u64>> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if self.reader.read(&mut byte)? == 0 {
                return Ok(None);
            }
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, bytes).expect("a file");
        why_incomplete(File::open(path).expect("the file")).expect("it can be read")
    }

    #[test]
    fn a_sample_is_whole_and_no_part_of_it_is() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits/1/model.onnx");
        let bytes = std::fs::read(sample).expect("the sample");
        assert_eq!(reason(&bytes), None);
        for end in (0..bytes.len()).step_by(97) {
            assert!(reason(&bytes[..end]).is_some(), "{end} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn what_is_no_model_is_told_apart() {
        for bytes in [&b""[..], b"hello, world", &[0; 64], &[0xff; 64], b"\x08\x07", b"\x3a\x00"] {
            assert!(reason(bytes).is_some(), "{bytes:?}");
        }
        assert_eq!(reason(b"\x08\x07\x3a\x00\x42\x00"), None, "the least that is whole");
    }
}
