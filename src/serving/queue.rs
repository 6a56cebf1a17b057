//! Which of the waiting jobs goes next, and which is refused. Pure: times come in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::types::Priority;

/// What the order of jobs depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) class: Priority,
    pub(super) queued_at: Instant,
    pub(super) deadline: Instant,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// What a run of it alone should take.
    pub(super) expected: Duration,
}

/// Work that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Run one by one.
    pub(super) expected: Duration,
}

/// How work is done.
pub(super) struct Service<'a> {
    pub(super) lanes: usize,
    /// Rows that share a run; 1 where runs are not shared.
    pub(super) rows_together: usize,
    /// Until a lane should be free.
    pub(super) free_in: Duration,
    /// What a run on so many bytes should take.
    pub(super) predict: &'a dyn Fn(usize) -> Duration,
}

/// Jobs by class. Within a class the oldest goes first, unless it has waited
/// for more than half of the time it had: then the newest, which can still be
/// in time, while the oldest most likely cannot.
#[derive(Debug)]
pub(super) struct Queue<T> {
    classes: [VecDeque<(Facts, T)>; Priority::ALL.len()],
    waiting: [Amount; Priority::ALL.len()],
    capacity: usize,
}

impl<T> Queue<T> {
    /// Holds at most `capacity` jobs.
    pub(super) fn new(capacity: usize) -> Queue<T> {
        Queue { classes: Default::default(), waiting: Default::default(), capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// What goes before a new job of `class`, if all of it runs.
    pub(super) fn ahead_of(&self, class: Priority) -> Amount {
        let mut ahead = Amount::default();
        for waiting in &self.waiting[..=class as usize] {
            ahead.rows += waiting.rows;
            ahead.bytes += waiting.bytes;
            ahead.expected += waiting.expected;
        }
        ahead
    }

    /// How long the oldest job has waited.
    pub(super) fn longest_wait(&self, now: Instant) -> Duration {
        let oldest = self.classes.iter().filter_map(VecDeque::front);
        let waits = oldest.map(|(facts, _)| now.saturating_duration_since(facts.queued_at));
        waits.max().unwrap_or_default()
    }

    /// Adds a job. A full queue makes room by the newest job of its least
    /// important class, which is handed back.
    ///
    /// # Errors
    /// The job, where the queue is full of what is as important.
    pub(super) fn push(&mut self, facts: Facts, job: T) -> Result<Option<T>, T> {
        let mut pushed_out = None;
        if self.len() >= self.capacity {
            let less = (facts.class as usize + 1..self.classes.len()).rev();
            let Some(class) = less.into_iter().find(|class| !self.classes[*class].is_empty())
            else {
                return Err(job);
            };
            pushed_out = self.remove(class, self.classes[class].len() - 1);
        }
        let waiting = &mut self.waiting[facts.class as usize];
        waiting.rows += facts.rows;
        waiting.bytes += facts.bytes;
        waiting.expected += facts.expected;
        self.classes[facts.class as usize].push_back((facts, job));
        Ok(pushed_out)
    }

    /// The next job. Those that came first and are of no use any more, because
    /// nobody waits for them (`is_left`) or they would be late, go to `late`.
    pub(super) fn pop(
        &mut self,
        now: Instant,
        is_left: impl Fn(&T) -> bool,
        late: &mut Vec<T>,
    ) -> Option<T> {
        for class in 0..self.classes.len() {
            while let Some((facts, job)) = self.classes[class].front() {
                if !is_left(job) && !is_late(facts, now) {
                    break;
                }
                late.extend(self.remove(class, 0));
            }
            if let Some(last) = self.classes[class].len().checked_sub(1) {
                let next = if self.newest_first(class, now) { last } else { 0 };
                return self.remove(class, next);
            }
        }
        None
    }

    /// Takes jobs that fit, in the order in which they would go, until none is
    /// left or so many did not fit.
    pub(super) fn take_fitting(
        &mut self,
        now: Instant,
        mut misfits: usize,
        mut fits: impl FnMut(&T) -> bool,
        taken: &mut Vec<T>,
    ) {
        for class in 0..self.classes.len() {
            let newest_first = self.newest_first(class, now);
            let mut passed = 0;
            while misfits > 0 && passed < self.classes[class].len() {
                let last = self.classes[class].len() - 1;
                let place = if newest_first { last - passed } else { passed };
                if fits(&self.classes[class][place].1) {
                    taken.extend(self.remove(class, place));
                } else {
                    passed += 1;
                    misfits -= 1;
                }
            }
        }
    }

    fn newest_first(&self, class: usize, now: Instant) -> bool {
        self.classes[class].front().is_some_and(|(facts, _)| {
            let waited = now.saturating_duration_since(facts.queued_at);
            waited > facts.deadline.saturating_duration_since(facts.queued_at) / 2
        })
    }

    fn remove(&mut self, class: usize, place: usize) -> Option<T> {
        let (facts, job) = self.classes[class].remove(place)?;
        let waiting = &mut self.waiting[class];
        waiting.rows -= facts.rows;
        waiting.bytes -= facts.bytes;
        waiting.expected -= facts.expected;
        Some(job)
    }
}

/// Whether a job that starts now would be late because it has waited. One that
/// never had the time that its run should take is not: it may find out that
/// the expectation is wrong.
fn is_late(facts: &Facts, now: Instant) -> bool {
    let left = facts.deadline.saturating_duration_since(now);
    let had = facts.deadline.saturating_duration_since(facts.queued_at);
    left.is_zero() || (left < facts.expected && facts.expected <= had)
}

/// How long new work waits behind `ahead`, beside what runs now.
pub(super) fn wait_behind(ahead: Amount, service: &Service<'_>) -> Duration {
    let lanes = u32::try_from(service.lanes.max(1)).unwrap_or(u32::MAX);
    if service.rows_together <= 1 {
        return ahead.expected / lanes;
    }
    let per_row = ahead.bytes.div_ceil(ahead.rows.max(1));
    let batches = u32::try_from(ahead.rows / service.rows_together).unwrap_or(u32::MAX);
    (service.predict)(per_row * service.rows_together).saturating_mul(batches) / lanes
}

/// Whether a job would be late behind `ahead`, or wait for too long of its time. One
/// that need not wait is tried, whatever is expected of it: else an
/// expectation that is wrong would never be put right.
pub(super) fn would_expire(job: &Facts, ahead: Amount, service: &Service<'_>) -> bool {
    let run = if service.rows_together > 1 {
        // Full batches go first, then one of the rest with this job in it.
        let rows = ahead.rows + job.rows;
        let per_row = (ahead.bytes + job.bytes).div_ceil(rows.max(1));
        (service.predict)(per_row * (ahead.rows % service.rows_together + job.rows))
    } else {
        job.expected
    };
    let wait = service.free_in + wait_behind(ahead, service);
    let has = job.deadline.saturating_duration_since(job.queued_at);
    !wait.is_zero() && (wait + run > has || wait > longest_wait(has))
}

/// How long work that has so much time may expect to wait. Beyond half of it
/// the newest goes first, and it would most likely wait for nothing; what is
/// expected is seldom right to the millisecond.
pub(super) fn longest_wait(has: Duration) -> Duration {
    has / 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Batch, Critical, Normal, Shadow};

    const MS: Duration = Duration::from_millis(1);

    fn facts(start: Instant, class: Priority, queued: u32, has: u32) -> Facts {
        let queued_at = start + queued * MS;
        Facts { class, queued_at, deadline: queued_at + has * MS, rows: 1, bytes: 4, expected: MS }
    }

    /// A queue of jobs that came at those milliseconds, with 100 ms each, and are
    /// called by them.
    fn queue(start: Instant, jobs: &[(Priority, u32)]) -> Queue<u32> {
        let mut queue = Queue::new(8);
        for (class, queued) in jobs {
            queue.push(facts(start, *class, *queued, 100), *queued).expect("room");
        }
        queue
    }

    /// All that pops at one moment, in order, and what was late.
    fn drain(queue: &mut Queue<u32>, now: Instant) -> (Vec<u32>, Vec<u32>) {
        let mut late = Vec::new();
        let popped = std::iter::from_fn(|| queue.pop(now, |job| *job == 13, &mut late)).collect();
        assert_eq!((queue.len(), queue.ahead_of(Shadow)), (0, Amount::default()));
        (popped, late)
    }

    #[test]
    fn who_goes_next() {
        let start = Instant::now();
        type Jobs<'a> = &'a [(Priority, u32)];
        let cases: [(Jobs<'_>, u32, &[u32], &[u32]); 8] = [
            (&[(Normal, 1), (Normal, 2), (Normal, 3)], 10, &[1, 2, 3], &[]),
            (&[(Shadow, 1), (Batch, 2), (Normal, 3), (Critical, 4)], 10, &[4, 3, 2, 1], &[]),
            // The oldest has waited for more than half of what it had.
            (&[(Normal, 0), (Normal, 1), (Normal, 2)], 60, &[2, 1, 0], &[]),
            (&[(Normal, 0), (Normal, 20), (Normal, 50)], 60, &[50, 20, 0], &[]),
            // Each class by itself.
            (&[(Normal, 50), (Normal, 51), (Batch, 1), (Batch, 2)], 60, &[50, 51, 2, 1], &[]),
            // Less than a run is left, or nothing at all.
            (&[(Normal, 0), (Normal, 1), (Normal, 90)], 100, &[90, 1], &[0]),
            (&[(Normal, 0), (Batch, 1), (Shadow, 2)], 300, &[], &[0, 1, 2]),
            // The caller of 13 has left.
            (&[(Normal, 13), (Normal, 14)], 20, &[14], &[13]),
        ];
        for (jobs, now, popped, late) in cases {
            let seen = drain(&mut queue(start, jobs), start + now * MS);
            assert_eq!(seen, (popped.to_vec(), late.to_vec()), "{jobs:?} at {now}");
        }
    }

    #[test]
    fn a_job_that_never_had_the_time_is_tried() {
        let start = Instant::now();
        let slow = Facts { expected: 500 * MS, ..facts(start, Normal, 0, 100) };
        assert!(!is_late(&slow, start + 10 * MS));
        assert!(is_late(&slow, start + 100 * MS));
        let fits = Facts { expected: 95 * MS, ..slow };
        assert!(is_late(&fits, start + 10 * MS));
        assert!(!is_late(&fits, start + 5 * MS));
    }

    #[test]
    fn a_full_queue_makes_room_for_what_matters_more() {
        let start = Instant::now();
        let cases = [
            (vec![Normal, Normal], Normal, Err(9)),
            (vec![Normal, Normal], Batch, Err(9)),
            (vec![Normal, Normal], Critical, Ok(Some(1))),
            (vec![Batch, Normal], Critical, Ok(Some(0))),
            (vec![Shadow, Batch], Normal, Ok(Some(0))),
            (vec![Shadow, Shadow], Batch, Ok(Some(1))),
            (vec![Critical, Critical], Critical, Err(9)),
            (vec![Normal], Batch, Ok(None)),
        ];
        for (inside, class, expected) in cases {
            let mut queue = Queue::new(2);
            for (number, class) in inside.iter().enumerate() {
                queue.push(facts(start, *class, 0, 100), number as u32).expect("room");
            }
            let pushed = queue.push(facts(start, class, 0, 100), 9);
            assert_eq!(pushed, expected, "{class:?} into {inside:?}");
            assert!(queue.len() <= 2);
        }
    }

    #[test]
    fn what_fits_is_taken_in_order_and_the_rest_stays() {
        let start = Instant::now();
        let jobs = [(Normal, 1), (Normal, 2), (Normal, 3), (Critical, 4), (Batch, 5), (Batch, 6)];
        for (now, misfits, taken, left) in [
            (10, 64, vec![4, 2, 6], vec![1, 3, 5]),
            (10, 2, vec![4, 2], vec![1, 3, 5, 6]),
            (70, 64, vec![4, 2, 6], vec![3, 1, 5]),
            (70, 1, vec![4], vec![3, 2, 1, 6, 5]),
        ] {
            let (mut queue, mut seen) = (queue(start, &jobs), Vec::new());
            let now = start + now * MS;
            queue.take_fitting(now, misfits, |job| job % 2 == 0, &mut seen);
            assert_eq!(seen, taken);
            assert_eq!(drain(&mut queue, now).0, left);
        }
    }

    #[test]
    fn the_longest_wait_is_that_of_the_oldest_of_any_class() {
        let start = Instant::now();
        let queue = queue(start, &[(Normal, 30), (Batch, 10), (Normal, 40)]);
        assert_eq!(queue.longest_wait(start + 50 * MS), 40 * MS);
        assert_eq!(Queue::<u32>::new(1).longest_wait(start), Duration::ZERO);
    }

    #[test]
    fn who_would_wait_past_the_deadline_is_refused() {
        let start = Instant::now();
        let job = facts(start, Normal, 0, 100);
        let jobs = |jobs: u32| Amount {
            rows: jobs as usize,
            bytes: jobs as usize * 4,
            expected: jobs * MS,
        };
        // A row takes a millisecond alone, and a tenth more for each further one.
        let predict = |bytes: usize| MS + (bytes / 4).saturating_sub(1) as u32 * MS / 10;
        for (lanes, rows_together, free_in, ahead, expected) in [
            (1, 1, 0, 0, false),
            (1, 1, 0, 33, false),
            (1, 1, 0, 34, true),
            (1, 1, 30, 3, false),
            (1, 1, 30, 4, true),
            (2, 1, 0, 66, false),
            (2, 1, 0, 68, true),
            // Nothing ahead, and a lane that is free or should be.
            (1, 1, 100, 0, true),
            // Full batches of 32 take 4.1 ms each; behind eight it is a third of the time.
            (1, 32, 0, 4 * 32, false),
            (1, 32, 0, 8 * 32, false),
            (1, 32, 0, 9 * 32, true),
        ] {
            let free_in = free_in * MS;
            let service = Service { lanes, rows_together, free_in, predict: &predict };
            let seen = would_expire(&job, jobs(ahead), &service);
            assert_eq!(seen, expected, "{lanes} lanes of {rows_together}, {ahead} ahead");
        }
        let hopeless = Facts { expected: 500 * MS, ..job };
        let idle =
            Service { lanes: 1, rows_together: 1, free_in: Duration::ZERO, predict: &predict };
        assert!(!would_expire(&hopeless, jobs(0), &idle), "the expectation may be wrong");
        assert!(would_expire(&hopeless, jobs(1), &idle));
    }
}
