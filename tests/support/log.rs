//! The prediction log as a reader finds it: segments and Parquet.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use modelgate::predictions::frame::{self, Header, Piece};
use modelgate::predictions::{Kind, Label, Prediction, layout};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

/// One record, or one row of Parquet, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub epoch: u64,
    pub shard: u32,
    pub sequence: u64,
}

/// All predictions in the raw segments of a log's folder, by key.
pub fn raw(root: &Path) -> BTreeMap<Key, Prediction> {
    let decode = |payload| Prediction::decode(payload).expect("a whole record");
    payloads(root, Kind::Prediction).iter().map(|(key, payload)| (*key, decode(payload))).collect()
}

/// All labels, likewise.
pub fn labels(root: &Path) -> BTreeMap<Key, Label> {
    let decode = |payload| Label::decode(payload).expect("a whole record");
    payloads(root, Kind::Label).iter().map(|(key, payload)| (*key, decode(payload))).collect()
}

fn payloads(root: &Path, of: Kind) -> BTreeMap<Key, Bytes> {
    loop {
        // Segments get other names while the gateway runs.
        if let Some(found) = look_at_raw(root, of) {
            return found;
        }
    }
}

fn look_at_raw(root: &Path, of: Kind) -> Option<BTreeMap<Key, Bytes>> {
    let mut found = BTreeMap::new();
    for file in files(&layout::raw(root)) {
        // A segment has its own name only when the log's thread came by; whatever has a
        // header is one.
        let segment = Bytes::from(fs::read(&file).ok()?);
        let Some(Header { shard, epoch, .. }) = Header::decode(&segment) else { continue };
        for piece in frame::scan(&segment, epoch, frame::HEADER) {
            let Piece::Record { kind, sequence, payload } = piece else { continue };
            if kind == of {
                found.insert(Key { epoch, shard, sequence }, segment.slice(payload));
            }
        }
    }
    Some(found)
}

/// Rows of the archive: the request's id, and how many rows, by key.
pub fn archived(root: &Path) -> BTreeMap<Key, (String, u32)> {
    let mut found: BTreeMap<Key, (String, u32)> = BTreeMap::new();
    for file in files(&layout::predictions(root)) {
        if file.extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        let opened = fs::File::open(&file).expect("a file");
        let reader = SerializedFileReader::new(opened).expect("Parquet");
        for row in reader.get_row_iter(None).expect("rows") {
            let row = row.expect("a row");
            let column = |name: &str| {
                let mut columns = row.get_column_iter();
                columns.find(|(column, _)| *column == name).expect("a column").1.clone()
            };
            let number = |name: &str| match column(name) {
                Field::ULong(number) => number,
                Field::UInt(number) => u64::from(number),
                other => panic!("{name}: {other:?}"),
            };
            let key = Key {
                epoch: number("epoch"),
                shard: u32::try_from(number("shard")).expect("a shard"),
                sequence: number("sequence"),
            };
            let Field::Str(id) = column("request_id") else { panic!("no id in {file:?}") };
            found.entry(key).or_insert((id, 0)).1 += 1;
        }
    }
    found
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
