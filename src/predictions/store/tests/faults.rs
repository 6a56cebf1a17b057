//! Disks that are full, read-only, broken or slow: what is answered, what is
//! counted, and that it recovers by itself.

use std::collections::BTreeMap;

use super::super::simulated::Faults;
use super::*;
use crate::predictions::frame::{Cause, MAX_PAYLOAD};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

fn all(error: i32) -> Faults {
    Faults { write: Some(error), sync: Some(error), names: Some(error), ..Faults::default() }
}

fn is_gap(appended: &Appended) -> bool {
    matches!(appended, Appended::Gap)
}

/// What a strict record comes to, when the log's thread has had its turn.
fn outcome(driven: &Driven, appended: Appended) -> Result<Place, NotKept> {
    match appended {
        Appended::Pending(mut result) => {
            driven.write_queue();
            result.try_recv().expect("an answer")
        }
        other => panic!("not pending: {other:?}"),
    }
}

fn gaps(report: &Report) -> BTreeMap<Cause, u64> {
    assert!(report.complete, "{report:?}");
    let mut gaps = BTreeMap::new();
    for (cause, count) in report.shards.iter().flat_map(|shard| &shard.gaps) {
        *gaps.entry(*cause).or_default() += count;
    }
    gaps
}

/// Payloads of all records, by their numbers.
fn payloads(disk: &Simulated) -> Vec<String> {
    let text = |payload: Vec<u8>| String::from_utf8(payload).expect("text");
    let mut found: Vec<_> = records(disk, Path::new(ROOT)).into_iter().collect();
    found.sort_by_key(|((_, shard, sequence), _)| (*shard, *sequence));
    found.into_iter().map(|(_, payload)| text(payload)).collect()
}

#[test]
fn answers_go_on_while_the_disk_refuses_and_every_gap_is_counted() {
    for error in [ENOSPC, EIO, EROFS] {
        let disk = Simulated::new(1);
        let mut driven = Driven::open(&disk);
        place(&driven.append(b"before"));
        disk.set_faults(all(error));
        for _ in 0..4 {
            assert!(is_gap(&driven.append(b"refused")));
            driven.settle();
        }
        assert_eq!(driven.log.status().detached, 1);
        assert!(driven.log.status().problem.is_some());
        assert!(driven.counts("modelgate_prediction_log_degraded 1"));
        disk.set_faults(Faults::default());
        driven.settle();
        let after = place(&driven.append(b"after"));
        assert_eq!(after.sequence, 5, "numbers go on");
        driven.settle();
        assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::Refused, 4)]));
        assert!(driven.counts(r#"modelgate_prediction_log_gaps_total{cause="refused"} 4"#));
        assert!(driven.counts("modelgate_prediction_log_degraded 0"));
        assert_eq!(driven.log.status().detached, 0);
        driven.close();
        assert_eq!(payloads(&disk), ["before", "after"]);
    }
}

#[test]
fn strict_records_are_refused_while_the_disk_refuses() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    disk.set_faults(all(ENOSPC));
    for _ in 0..3 {
        let answer = driven.append_by(OnFailure::Strict, b"refused");
        let refused = outcome(&driven, answer).expect_err("an error");
        assert!(refused.to_string().contains("No space left"), "{refused}");
    }
    disk.set_faults(Faults::default());
    driven.settle();
    place(&driven.append_by(OnFailure::Strict, b"after"));
    driven.settle();
    // One for each record in one of the two shards, and one for the append that found out.
    assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::Refused, 4)]));
    driven.close();
    assert_eq!(payloads(&disk), ["after"]);
}

/// Appends a record whose write takes so many milliseconds; says whether the
/// shard is attached after it.
fn append_for(driven: &Driven, millis: u64) -> bool {
    let slow = Duration::from_millis(millis);
    driven.disk.set_faults(Faults { slow, ..Faults::default() });
    place(&driven.append(b"record"));
    driven.log.shared.shards[0].writer().mode == Mode::Attached
}

#[test]
fn a_shard_goes_on_after_one_slow_append_but_not_after_two_or_a_long_one() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    for (appends, expected) in [
        (&[6, 0, 6, 0, 50, 0][..], &[true, true, true, true, true, true][..]),
        (&[50, 6], &[true, false]),
        // What was slow before it was attached again does not count.
        (&[6, 50], &[true, false]),
        (&[6, 0, 51], &[true, true, false]),
        (&[6, 6], &[true, false]),
    ] {
        let attached: Vec<bool> =
            appends.iter().map(|millis| append_for(&driven, *millis)).collect();
        assert_eq!(attached, expected, "{appends:?}");
        disk.set_faults(Faults::default());
        driven.settle();
    }
}

#[test]
fn slow_appends_are_kept_and_those_behind_them_do_not_wait() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    place(&driven.append(b"before"));
    disk.set_faults(Faults { slow: Duration::from_millis(6), ..Faults::default() });
    place(&driven.append(b"slow"));
    place(&driven.append(b"slower"));
    let now = disk.now();
    assert!(is_gap(&driven.append(b"gap")));
    let handed = driven.append_by(OnFailure::Strict, b"handed over");
    assert_eq!(disk.now(), now, "no write on this thread");
    let handed = outcome(&driven, handed).expect("written by the log's thread");
    assert_eq!(handed.shard, 1);
    driven.settle();
    assert_eq!(driven.log.status().detached, 1, "slow still");
    assert!(is_gap(&driven.append(b"gap")));
    disk.set_faults(Faults::default());
    driven.settle();
    assert_eq!(driven.log.status().detached, 0);
    place(&driven.append(b"after"));
    driven.settle();
    assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::Refused, 2)]));
    driven.close();
    assert_eq!(payloads(&disk), ["before", "slow", "slower", "after", "handed over"]);
    let files = segments(&disk, Path::new(ROOT));
    assert_eq!(files.len(), 2, "each shard goes on in the segment that it has");
}

#[test]
fn what_a_failed_flush_leaves_in_doubt_is_written_again_before_it_counts() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    let first = place(&driven.append(b"first"));
    assert_eq!(driven.is_durable(first), None);
    driven.flush();
    assert_eq!(driven.is_durable(first), Some(true));
    let second = place(&driven.append(b"second"));
    disk.set_faults(Faults { sync: Some(EIO), ..Faults::default() });
    driven.flush();
    assert_eq!(driven.is_durable(second), None, "not known yet");
    assert!(is_gap(&driven.append(b"gap")));
    disk.set_faults(Faults::default());
    // Syncing the same file again would say that all is well, and lie.
    driven.keep();
    assert_eq!(driven.is_durable(second), Some(true));
    disk.lose_power();
    assert_eq!(payloads(&disk), ["first", "second"]);
    let mut driven = Driven::open(&disk);
    driven.settle();
    assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::Refused, 1)]));
}

#[test]
fn who_waits_is_told_when_the_disk_does_not_come_back() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    let first = place(&driven.append(b"first"));
    assert_eq!(driven.is_durable(first), None);
    disk.set_faults(Faults { sync: Some(EIO), ..Faults::default() });
    driven.flush();
    driven.keep();
    assert_eq!(driven.is_durable(first), Some(false));
    disk.set_faults(Faults::default());
    driven.settle();
    assert_eq!(driven.is_durable(first), Some(false), "nobody is told otherwise later");
    let second = place(&driven.append(b"second"));
    driven.flush();
    assert_eq!(driven.is_durable(second), Some(true));
}

#[test]
fn what_is_too_much_to_be_written_again_is_not_promised() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    let first = place(&driven.append(b"first"));
    assert_eq!(driven.is_durable(first), None);
    driven.flush();
    let forgotten = place(&driven.append(&[b'a'; 700_000]));
    let kept = place(&driven.append(&[b'b'; 700_000]));
    let last = place(&driven.append(b"last"));
    disk.set_faults(Faults { sync: Some(EIO), ..Faults::default() });
    driven.flush();
    disk.set_faults(Faults::default());
    driven.keep();
    let seen = [first, forgotten, kept, last].map(|place| driven.is_durable(place));
    assert_eq!(seen, [Some(true), Some(false), Some(false), Some(true)]);
    driven.settle();
    assert_eq!(payloads(&disk).len(), 4, "written again where it stands, as well as it goes");
    assert!(driven.verify().complete);
}

#[test]
fn a_full_queue_counts_what_it_drops() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    let taken = (0..12).filter(|_| driven.log.offer(Box::new(Small("small")))).count();
    assert_eq!((taken, driven.log.status().waiting), (8, 8));
    driven.write_queue();
    assert!(driven.log.offer(Box::new(Small("later"))));
    assert!(!driven.log.offer(Box::new(Large)), "more bytes than may wait");
    driven.write_queue();
    driven.settle();
    let report = driven.verify();
    assert_eq!(gaps(&report), BTreeMap::from([(Cause::Dropped, 5)]));
    assert_eq!(report.shards[1].raw_records, 9);
    assert!(driven.counts(r#"modelgate_prediction_log_gaps_total{cause="dropped"} 5"#));
}

struct Small(&'static str);

impl Encode for Small {
    fn kind(&self) -> Kind {
        Kind::Prediction
    }

    fn encode(&self, payload: &mut Vec<u8>) {
        assert_ne!(self.0, "bad", "on purpose");
        payload.extend_from_slice(self.0.as_bytes());
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }
}

struct Large;

impl Encode for Large {
    fn kind(&self) -> Kind {
        Kind::Prediction
    }

    fn encode(&self, _payload: &mut Vec<u8>) {}

    fn bytes(&self) -> usize {
        2 << 20
    }
}

#[test]
fn a_queue_waits_for_a_disk_that_refuses() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    disk.set_faults(all(EIO));
    assert!(driven.log.offer(Box::new(Small("lost"))));
    driven.write_queue();
    assert!(driven.log.offer(Box::new(Small("waits"))));
    driven.write_queue();
    disk.set_faults(Faults::default());
    driven.settle();
    driven.write_queue();
    driven.settle();
    assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::Refused, 1)]));
    driven.close();
    assert_eq!(payloads(&disk), ["waits"]);
}

#[test]
fn a_record_that_panics_is_dropped_alone() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    for text in ["one", "bad", "two"] {
        assert!(driven.log.offer(Box::new(Small(text))));
    }
    driven.write_queue();
    driven.settle();
    assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::Dropped, 1)]));
    driven.close();
    assert_eq!(payloads(&disk), ["one", "two"]);
}

#[test]
fn strict_records_that_wait_are_bounded() {
    let disk = Simulated::new(1);
    let driven = Driven::open(&disk);
    disk.set_faults(all(EIO));
    assert!(is_gap(&driven.append(b"detaches")));
    let strict = |_| driven.append_by(OnFailure::Strict, b"waits");
    let mut answers: Vec<Appended> = (0..3000).map(strict).collect();
    let refused = |answer: &mut Appended| match answer {
        Appended::Pending(result) => matches!(result.try_recv(), Ok(Err(_))),
        other => panic!("not pending: {other:?}"),
    };
    assert_eq!(
        answers.iter_mut().filter_map(|one| refused(one).then_some(())).count(),
        3000 - 1024
    );
}

#[test]
fn a_record_that_is_too_large_is_a_gap_alone() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    place(&driven.append(b"before"));
    assert!(is_gap(&driven.append(&vec![0; MAX_PAYLOAD + 1])));
    place(&driven.append(b"after"));
    driven.settle();
    assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::TooLarge, 1)]));
    driven.close();
    assert_eq!(payloads(&disk), ["before", "after"]);
}

#[test]
fn a_gap_survives_a_kill_on_a_full_disk() {
    let disk = Simulated::new(1);
    let driven = Driven::open(&disk);
    place(&driven.append(b"before"));
    disk.set_faults(all(ENOSPC));
    for _ in 0..7 {
        assert!(is_gap(&driven.append(b"refused")));
    }
    drop(driven);
    disk.restart();
    // Full still: the log starts, and goes on counting.
    let driven = Driven::open(&disk);
    assert!(is_gap(&driven.append(b"refused")));
    drop(driven);
    disk.set_faults(Faults::default());
    disk.restart();
    let mut driven = Driven::open(&disk);
    let after = place(&driven.append(b"after"));
    assert_eq!(after.sequence, 9);
    driven.settle();
    assert_eq!(gaps(&driven.verify()), BTreeMap::from([(Cause::Refused, 8)]));
    driven.close();
    assert_eq!(payloads(&disk), ["before", "after"]);
}

#[test]
fn segments_are_sealed_when_full_and_when_old_but_never_empty() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    let names = |disk: &Simulated| {
        let files = disk.list(&layout::shard(Path::new(ROOT), 0)).expect("files");
        let mut names: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name.ends_with(layout::SEALED));
        names
    };
    driven.disk.advance(Duration::from_secs(100));
    driven.settle();
    assert_eq!(names(&disk), [""; 0]);
    place(&driven.append(b"old soon"));
    driven.disk.advance(Duration::from_secs(100));
    driven.settle();
    assert_eq!(names(&disk), ["00000000000000000000.sealed"]);
    // Of 4 KiB each; the next file is ready before one is full.
    for _ in 0..10 {
        place(&driven.append(&[7; 1000]));
        driven.keep();
    }
    driven.settle();
    assert_eq!(
        names(&disk)[1..],
        [
            "00000000000000000001.sealed",
            "00000000000000000004.sealed",
            "00000000000000000007.sealed"
        ]
    );
    let sealed = disk.read(&layout::segment(Path::new(ROOT), 0, 1, layout::SEALED), u64::MAX);
    let sealed = sealed.expect("a segment");
    assert_eq!(Contents::read(&sealed).expect("a segment").end, sealed.len());
    driven.close();
}

#[test]
fn without_a_file_in_reserve_a_segment_grows() {
    let disk = Simulated::new(1);
    let driven = Driven::open(&disk);
    for _ in 0..10 {
        place(&driven.append(&[7; 1000]));
    }
    driven.close();
    assert_eq!(segments(&disk, Path::new(ROOT)).len(), 1);
}
