//! Schedules out of a seed: appends, flushes, faults, ends and losses of
//! power in any order. Whatever happens, what was promised is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::super::simulated::{Faults, Random};
use super::*;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

/// What a test knows to be true of a log.
struct World {
    random: Random,
    disk: Simulated,
    driven: Option<Driven>,
    /// Payloads of all records that were ever handed over.
    given: BTreeSet<Vec<u8>>,
    /// Answered as kept: there after a `kill -9`.
    kept: BTreeMap<Key, Vec<u8>>,
    /// Known to be on the disk: there after a loss of power.
    acked: BTreeSet<Key>,
    count: u64,
}

struct Offered(Vec<u8>);

impl Encode for Offered {
    fn kind(&self) -> Kind {
        Kind::Label
    }

    fn encode(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.0);
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// A promise that was broken.
#[derive(Debug)]
struct Broken(#[expect(dead_code, reason = "told by a failing test")] String);

impl World {
    fn new(seed: u64, no_sync: bool) -> World {
        let disk = Simulated::new(seed);
        disk.set_faults(Faults { no_sync, ..Faults::default() });
        let driven = Some(Driven::open(&disk));
        World {
            random: Random(seed ^ 0xABCD),
            disk,
            driven,
            given: BTreeSet::new(),
            kept: BTreeMap::new(),
            acked: BTreeSet::new(),
            count: 0,
        }
    }

    fn driven(&mut self) -> &mut Driven {
        self.driven.as_mut().expect("a log")
    }

    fn payload(&mut self) -> Vec<u8> {
        self.count += 1;
        let mut payload = self.count.to_le_bytes().to_vec();
        payload.resize(8 + self.random.below(300) as usize, self.count as u8);
        self.given.insert(payload.clone());
        payload
    }

    fn step(&mut self, faults: bool) -> Result<(), Broken> {
        match self.random.below(100) {
            0..60 => self.append(),
            60..68 => {
                self.driven().flush();
                self.note_acks();
            }
            68..74 => self.driven().keep(),
            74..82 => {
                let payload = self.payload();
                self.driven().log.offer(Box::new(Offered(payload)));
            }
            82..86 => self.driven().write_queue(),
            86..88 => self.disk.advance(Duration::from_secs(40)),
            88..92 if faults => self.break_disk(),
            92 | 93 if faults => self.doubt(),
            94 => {
                self.heal();
                let driven = self.driven.take().expect("a log");
                driven.close();
                self.disk.restart();
                self.reopen(true)?;
            }
            95 => {
                let changes = self.random.below(20);
                self.disk.end_after(changes);
            }
            96 | 97 => {
                self.disk.restart();
                self.reopen(true)?;
            }
            98 | 99 => {
                self.disk.lose_power();
                self.reopen(false)?;
            }
            _ => {}
        }
        if self.disk.has_ended() {
            self.note_acks();
            let is_power = self.random.below(2) == 0;
            if is_power {
                self.disk.lose_power();
            } else {
                self.disk.restart();
            }
            self.reopen(!is_power)?;
        }
        Ok(())
    }

    fn append(&mut self) {
        let payload = self.payload();
        let strict = self.random.below(3) == 0;
        let on_failure = if strict { OnFailure::Strict } else { OnFailure::BestEffort };
        let driven = self.driven();
        let epoch = driven.log.shared.epoch;
        let place = match driven.append_by(on_failure, &payload) {
            Appended::Kept(place) => Some(place),
            Appended::Gap => None,
            Appended::Pending(mut result) => {
                driven.write_queue();
                result.try_recv().expect("an answer").ok()
            }
        };
        // What a process that has ended says, nobody hears.
        if let Some(place) = place
            && !self.disk.has_ended()
        {
            self.kept.insert((epoch, place.shard, place.sequence), payload);
        }
    }

    fn note_acks(&mut self) {
        if self.disk.has_ended() {
            return;
        }
        let driven = self.driven.as_ref().expect("a log");
        let epoch = driven.log.shared.epoch;
        for key in self.kept.keys().filter(|(of, ..)| *of == epoch) {
            if driven.is_durable(Place { shard: key.1, sequence: key.2 }) == Some(true) {
                self.acked.insert(*key);
            }
        }
    }

    fn break_disk(&mut self) {
        let number = [ENOSPC, EIO, EROFS][self.random.below(3) as usize];
        let mut faults = Faults { no_sync: self.disk.faults().no_sync, ..Faults::default() };
        match self.random.below(8) {
            0 => faults.write = Some(number),
            1 => faults.sync = Some(number),
            2 => faults.names = Some(number),
            3 => faults.slow = Duration::from_millis(10),
            4 => {
                (faults.write, faults.sync, faults.names) =
                    (Some(number), Some(number), Some(number));
            }
            _ => {}
        }
        self.disk.set_faults(faults);
    }

    /// A flush fails, and the process may end while its records are written again.
    fn doubt(&mut self) {
        let no_sync = self.disk.faults().no_sync;
        self.disk.set_faults(Faults { sync: Some(EIO), no_sync, ..Faults::default() });
        self.driven().flush();
        self.heal();
        let changes = self.random.below(12);
        self.disk.end_after(changes);
        self.disk.advance(Duration::from_secs(2));
        self.driven().keep();
        self.note_acks();
    }

    fn heal(&mut self) {
        let no_sync = self.disk.faults().no_sync;
        self.disk.set_faults(Faults { no_sync, ..Faults::default() });
    }

    /// Starts anew on a disk that works, and holds the log to its promises.
    fn reopen(&mut self, all: bool) -> Result<(), Broken> {
        self.driven = None;
        self.heal();
        self.driven = Some(Driven::open(&self.disk));
        self.check(all)
    }

    fn check(&mut self, all: bool) -> Result<(), Broken> {
        let found = records(&self.disk, Path::new(ROOT));
        for (key, payload) in &self.kept {
            let promised = all || self.acked.contains(key);
            match found.get(key) {
                Some(record) if record != payload => {
                    return Err(Broken(format!("{key:?} is another record")));
                }
                None if promised => return Err(Broken(format!("{key:?} is lost"))),
                _ => {}
            }
        }
        if let Some(wrong) = found.values().find(|payload| !self.given.contains(*payload)) {
            return Err(Broken(format!("nobody wrote {wrong:?}")));
        }
        // What a loss of power took is not promised any more.
        self.kept.retain(|key, _| found.contains_key(key));
        let driven = self.driven();
        driven.settle();
        let report = driven.verify();
        if !report.complete {
            return Err(Broken(format!("{report:?}")));
        }
        Ok(())
    }
}

fn run(seed: u64, steps: u64, faults: bool, no_sync: bool) -> Result<(), Broken> {
    let mut world = World::new(seed, no_sync);
    for _ in 0..steps {
        world.step(faults)?;
    }
    world.heal();
    world.disk.lose_power();
    world.reopen(false)
}

/// Seeds of a test; `MODELGATE_TEST_SCHEDULES` sets another number.
fn schedules(usual: u64) -> u64 {
    let asked = std::env::var("MODELGATE_TEST_SCHEDULES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(usual)
}

#[test]
fn promises_hold_through_ends_and_losses_of_power() {
    for seed in 0..schedules(500) {
        if let Err(broken) = run(seed, 120, false, false) {
            panic!("seed {seed}: {broken:?}");
        }
    }
}

#[test]
fn promises_hold_through_faults_too() {
    for seed in 0..schedules(500) {
        if let Err(broken) = run(seed, 160, true, false) {
            panic!("seed {seed}: {broken:?}");
        }
    }
}

/// The same promises, on a disk whose syncs do nothing: the test can fail.
#[test]
fn without_fsync_records_are_lost() {
    let lost = (0..200).filter(|seed| run(*seed, 120, false, true).is_err()).count();
    assert!(lost > 100, "a disk that never syncs lost records in {lost} of 200 schedules only");
}
