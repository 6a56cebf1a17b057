//! Segments of the prediction log, written by hand.

use std::path::{Path, PathBuf};

use modelgate::predictions::frame::{self, Cause, Gap, Header};
use modelgate::predictions::record::{self, Head};
use modelgate::predictions::{Kind, Label, layout};

/// A segment whose numbers go on by themselves.
pub struct SegmentWriter {
    pub header: Header,
    pub next: u64,
    pub bytes: Vec<u8>,
}

impl SegmentWriter {
    pub fn new(shard: u32, epoch: u64, first: u64) -> SegmentWriter {
        let header = Header { shard, epoch, first, created: 1_700_000_000_000_000 };
        SegmentWriter { header, next: first, bytes: header.encode().to_vec() }
    }

    /// The same, made later by the same run.
    pub fn later(self) -> SegmentWriter {
        let header = Header { created: self.header.created + 1, ..self.header };
        SegmentWriter { header, bytes: header.encode().to_vec(), ..self }
    }

    fn record(&mut self, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let sequence = self.next;
        let start = frame::begin(&mut self.bytes);
        payload(&mut self.bytes);
        frame::finish(&mut self.bytes, start, kind, sequence, self.header.epoch);
        self.next += 1;
        sequence
    }

    /// `tensors` appends the list of inputs or, called for the second time, of
    /// outputs, and says how many they are.
    pub fn prediction(
        &mut self,
        head: &Head<'_>,
        mut tensors: impl FnMut(Side, &mut Vec<u8>) -> u16,
    ) -> u64 {
        self.record(Kind::Prediction, |out| {
            head.encode(out);
            for side in [Side::Inputs, Side::Outputs] {
                let list = record::begin_list(out);
                let count = tensors(side, out);
                record::end_list(out, list, count);
            }
        })
    }

    pub fn label(&mut self, label: &Label) -> u64 {
        self.record(Kind::Label, |out| label.encode(out))
    }

    pub fn gap(&mut self, count: u64, cause: Cause) {
        let first = self.next;
        self.record(Kind::Gap, |out| out.extend_from_slice(&Gap { count, cause }.encode()));
        self.next = first + count;
    }

    /// Writes the file as the log seals one.
    pub fn seal(&self, root: &Path) -> PathBuf {
        self.write(root, layout::SEALED)
    }

    pub fn write(&self, root: &Path, extension: &str) -> PathBuf {
        let Header { shard, first, .. } = self.header;
        std::fs::create_dir_all(layout::shard(root, shard)).expect("a folder");
        let path = layout::segment(root, shard, first, extension);
        std::fs::write(&path, &self.bytes).expect("a segment");
        path
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Inputs,
    Outputs,
}
