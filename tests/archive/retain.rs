//! What goes when it is old or too much.

use std::time::Duration;

use modelgate::predictions::account::{ChangeCause, Entry};
use modelgate::predictions::archive::Keep;
use modelgate::predictions::frame::Cause;
use modelgate::predictions::{SchemaId, layout};

use crate::support::segments::SegmentWriter;
use crate::table::{HOUR, START, head};
use crate::{Kept, entries, files, parquet};

fn hours(kept: &mut Kept, count: u64) {
    for hour in 0..count {
        let mut segment = SegmentWriter::new(0, 7, hour * 10);
        for _ in 0..10 {
            let time = START + hour as i64 * HOUR;
            segment.prediction(&head(SchemaId::NONE, "r", time), |_, _| 0);
        }
        segment.seal(kept.root());
    }
}

#[test]
fn hours_that_are_too_old_go_and_are_told() {
    let mut kept = Kept::new();
    hours(&mut kept, 4);
    kept.convert();
    assert_eq!(parquet(kept.root()).len(), 4);
    let keep = Keep { age: Some(Duration::from_secs(3600)), bytes: None };
    // Three hours after the first began: what ended an hour ago goes.
    let gone = kept.keeper.retain(START + 3 * HOUR, &keep, None).expect("removed");
    assert_eq!(gone, 2);
    let left: Vec<_> = parquet(kept.root()).into_keys().collect();
    assert_eq!(left.len(), 2);
    assert!(left[0].contains("/hour=05/") && left[1].contains("/hour=06/"), "{left:?}");
    let told: Vec<_> = entries(kept.root())
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::File(change) => Some((change.cause, change.rows, change.now)),
            Entry::Segment(_) => None,
        })
        .collect();
    assert_eq!(told, [(ChangeCause::Age, 10, None), (ChangeCause::Age, 10, None)]);
    assert_eq!(kept.keeper.retain(START + 3 * HOUR, &keep, None).expect("nothing"), 0);
    // A file whose line says that the store does not have it yet stays.
    assert_eq!(kept.keeper.retain(START + 99 * HOUR, &keep, Some(0)).expect("nothing"), 0);
}

/// With nothing else to give up, sealed segments go: the oldest first, and as gaps.
#[test]
fn segments_are_the_last_to_go_and_become_gaps() {
    let mut kept = Kept::new();
    hours(&mut kept, 1);
    kept.convert();
    for shard in 1..3 {
        let mut segment = SegmentWriter::new(shard, 7, 5);
        segment.prediction(&head(SchemaId::NONE, "r", START), |_, _| 0);
        segment.gap(2, Cause::Refused);
        segment.prediction(&head(SchemaId::NONE, "r", START), |_, _| 0);
        segment.seal(kept.root());
    }
    let sealed: u64 = files(&layout::raw(kept.root()))
        .values()
        .map(|path| std::fs::metadata(path).expect("a file").len())
        .sum();
    let keep = Keep { age: None, bytes: Some(sealed - 1) };
    assert_eq!(kept.keeper.retain(START, &keep, None).expect("removed"), 2);
    assert!(parquet(kept.root()).is_empty());
    assert_eq!(files(&layout::raw(kept.root())).len(), 1);
    let told = entries(kept.root());
    let Some(Entry::Segment(account)) = told.last() else { panic!("{told:?}") };
    assert_eq!((account.shard, account.first, account.next, account.records), (1, 5, 9, 0));
    assert_eq!(account.epoch, 7);
    assert_eq!(
        account.gaps,
        [(5, 1, Cause::Expired), (6, 2, Cause::Refused), (8, 1, Cause::Expired)]
    );
}
