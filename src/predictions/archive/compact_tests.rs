use proptest::prelude::*;

use super::super::commit::recover;
use super::*;
use crate::predictions::account::FileChange;
use crate::predictions::frame::Cause;
use crate::predictions::store::verify::verify;

/// What became of a segment's file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Its records stand in the file of another.
    None,
    Stays,
    Removed,
    Rewritten,
}

/// One segment: its shard, numbers left out before it, whether it has a gap, its file.
type Made = (u32, bool, bool, Fate);

/// What a run is told of.
fn history(epoch: u64, segments: &[Made]) -> Vec<Entry> {
    let (mut entries, mut changes) = (Vec::new(), Vec::new());
    let mut next = [0; 3];
    for (at, (shard, is_behind, has_gap, fate)) in segments.iter().enumerate() {
        let first = next[*shard as usize] + u64::from(*is_behind);
        next[*shard as usize] = first + 10;
        let path = format!("parquet/predictions/date=2026-01-01/hour=00/{epoch}-{at}.parquet");
        let file = ArchivedFile { path: path.clone(), rows: 9, ..ArchivedFile::default() };
        let account = SegmentAccount {
            shard: *shard,
            epoch,
            first,
            next: first + 10,
            records: 10 - u64::from(*has_gap),
            gaps: has_gap.then_some((first + 9, 1, Cause::Refused)).into_iter().collect(),
            files: (*fate != Fate::None).then(|| file.clone()).into_iter().collect(),
            ..SegmentAccount::default()
        };
        entries.push(Entry::Segment(account));
        let (cause, now) = match fate {
            Fate::None | Fate::Stays => continue,
            Fate::Removed => (ChangeCause::Age, None),
            Fate::Rewritten => (ChangeCause::Deleted, Some(ArchivedFile { rows: 4, ..file })),
        };
        changes.push(Entry::File(FileChange { path, rows: 9, cause, now }));
    }
    entries.extend(changes);
    entries
}

fn append(root: &Path, entries: &[Entry]) {
    let path = layout::archive(root);
    let mut text = std::fs::read(&path).unwrap_or_default();
    for entry in entries {
        write_line(&mut text, entry).expect("a line");
    }
    std::fs::write(path, text).expect("written");
}

fn log(segments: &[Made]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(layout::raw(folder.path())).expect("a folder");
    append(folder.path(), &history(7, segments));
    folder
}

/// What readers make of the lines: files and rows, what was removed, and whether all is there.
fn read(root: &Path) -> (BTreeMap<String, u64>, BTreeMap<ChangeCause, u64>, String) {
    let books = Books::read(root).expect("books");
    let files = books.files.into_iter().map(|(path, file)| (path, file.rows)).collect();
    let mut removed = BTreeMap::new();
    for (entry, _) in books::lines(root, 0).expect("lines").lines {
        let rows = match entry.expect("an entry") {
            Entry::Segment(_) => continue,
            Entry::File(change) => BTreeMap::from([(change.cause, change.rows_removed())]),
            Entry::Compacted(head) => head.removed,
        };
        for (cause, rows) in rows {
            *removed.entry(cause).or_default() += rows;
        }
    }
    (files, removed, format!("{:?}", verify(root).expect("a report")))
}

fn one_of() -> impl Strategy<Value = Made> {
    let fate = prop_oneof![
        1 => Just(Fate::None),
        1 => Just(Fate::Stays),
        1 => Just(Fate::Rewritten),
        4 => Just(Fate::Removed)
    ];
    (0..3u32, prop::bool::weighted(0.05), prop::bool::weighted(0.2), fate)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happened, readers are told the same, and places stay right.
    #[test]
    fn what_is_left_says_the_same(
        segments in prop::collection::vec(one_of(), 300..900),
        more in prop::collection::vec(one_of(), 1..400),
    ) {
        let folder = log(&segments);
        let root = folder.path();
        for epoch in 8..10 {
            let (expected, end) = (read(root), books::end(root).expect("an end"));
            compact(root).expect("compacted");
            prop_assert_eq!(read(root), expected);
            prop_assert_eq!(books::end(root).expect("an end"), end);
            prop_assert!(books::lines(root, end).expect("lines").lines.is_empty());
            let told: Vec<Entry> = history(epoch, &more);
            append(root, &told);
            let new = books::lines(root, end).expect("lines").lines;
            prop_assert_eq!(new.into_iter().filter_map(|(entry, _)| entry).collect::<Vec<_>>(), told);
        }
    }
}

#[test]
fn accounts_of_what_is_gone_become_few() {
    let folder = log(&[(0, false, false, Fate::Removed); 2000]);
    let root = folder.path();
    assert!(is_due(&Books::read(root).expect("books")));
    compact(root).expect("compacted");
    let books = Books::read(root).expect("books");
    // The head, one account, and the newest lines.
    assert_eq!((books.lines, books.compacted), (2 + RECENT as u64, 1 + RECENT as u64));
    assert!(!is_due(&books), "not again before as much has come");
    let folder = log(&[(0, false, false, Fate::Stays); 2000]);
    assert!(!is_due(&Books::read(folder.path()).expect("books")));
}

/// Whoever ends at any moment leaves the old file or the new one.
#[test]
fn whoever_ends_in_between_leaves_whole_books() {
    let made = [(0, false, true, Fate::Removed), (1, false, false, Fate::Stays)];
    let segments: Vec<Made> = made.into_iter().cycle().take(1200).collect();
    let done = log(&segments);
    compact(done.path()).expect("compacted");
    let new = std::fs::read(layout::archive(done.path())).expect("lines");
    let expected = read(done.path());
    for written in [0, 1, new.len() / 2, new.len()] {
        let folder = log(&segments);
        let root = folder.path();
        let unfinished = root.join("archive.jsonl.inprogress");
        std::fs::write(&unfinished, &new[..written]).expect("written");
        recover(root).expect("recovered");
        assert!(!unfinished.exists());
        assert_eq!(read(root), expected, "after {written} bytes");
        compact(root).expect("compacted");
        assert_eq!(std::fs::read(layout::archive(root)).expect("lines"), new);
    }
}
