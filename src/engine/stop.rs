//! Stops runs that are still going at their deadline.
//!
//! Every thread that runs models has one [`Slot`] with the run options its runs
//! share. One watchdog thread looks at all slots every few milliseconds and
//! terminates what is late. The hot path is one store and one exchange.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::EngineError;
use super::ffi::{Environment, RunOptions};

/// How late a stop may be, about.
const TICK: Duration = Duration::from_millis(5);

/// Ticks without a single run after which the watchdog sleeps until the next one.
const IDLE_TICKS: u32 = 200;

/// States of a slot; every other value is the deadline of the run in progress, in
/// nanoseconds since the watchdog's epoch.
const IDLE: u64 = 0;
const KILLING: u64 = u64::MAX - 1;
const KILLED: u64 = u64::MAX;

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

thread_local! {
    static SLOT: OnceCell<Arc<Slot>> = const { OnceCell::new() };
}

struct Slot {
    /// Who moves it: the run's thread `IDLE` to a deadline and back, and `KILLED` to
    /// `IDLE`; the watchdog a deadline to `KILLING` to `KILLED`. Only the side whose
    /// turn it is touches the options' flag. A deadline says all there is to know, so
    /// a watchdog that is late and meets a later run with the same deadline is right.
    state: AtomicU64,
    /// Runs begun, by which the watchdog knows that it is needed.
    runs: AtomicU64,
    options: RunOptions,
}

struct Watchdog {
    epoch: Instant,
    /// As many as threads ever ran a model and still live.
    slots: Mutex<Vec<Weak<Slot>>>,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Runs `run` and stops it at `deadline`, at once if that has passed: then ONNX Runtime ends it between two nodes
/// of the graph, or iterations of a loop; a single long operator is not interrupted.
/// A run that has ended by itself keeps its result.
pub fn with_deadline<T>(
    environment: &Environment,
    deadline: Option<Instant>,
    run: impl FnOnce(Option<&RunOptions>) -> Result<T, String>,
) -> Result<T, EngineError> {
    let Some(deadline) = deadline else {
        return run(None).map_err(EngineError::Run);
    };
    SLOT.with(|cell| {
        if cell.get().is_none() {
            let slot = Slot::register(environment).map_err(EngineError::Run)?;
            // Nothing else sets this thread's cell in between.
            let _ = cell.set(slot);
        }
        let Some(slot) = cell.get() else {
            return Err(EngineError::Run("this thread cannot run models".to_owned()));
        };
        let armed = slot.arm(deadline);
        let result = run(Some(&slot.options));
        match (result, armed.end()) {
            (Ok(value), _) => Ok(value),
            (Err(_), true) => Err(EngineError::Stopped),
            (Err(reason), false) => Err(EngineError::Run(reason)),
        }
    })
}

impl Slot {
    fn register(environment: &Environment) -> Result<Arc<Slot>, String> {
        let watchdog = Watchdog::get()?;
        let slot = Arc::new(Slot {
            state: AtomicU64::new(IDLE),
            runs: AtomicU64::new(0),
            options: RunOptions::new(environment)?,
        });
        watchdog.slots.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&slot));
        Ok(slot)
    }

    fn arm(&self, deadline: Instant) -> Armed<'_> {
        // Registering has started it.
        let watchdog = WATCHDOG.get();
        let epoch = watchdog.map_or(deadline, |watchdog| watchdog.epoch);
        let nanos = u64::try_from(deadline.saturating_duration_since(epoch).as_nanos());
        let deadline = nanos.unwrap_or(KILLING).clamp(IDLE + 1, KILLING - 1);
        self.runs.store(self.runs.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // Sequentially consistent with `asleep`: either the watchdog sees this run before
        // it sleeps, or this thread sees that it sleeps.
        self.state.store(deadline, Ordering::SeqCst);
        if let Some(watchdog) = watchdog
            && watchdog.asleep.load(Ordering::SeqCst)
        {
            watchdog.wake();
        }
        Armed { slot: self, deadline }
    }

    /// Ends the run in progress if it is late at `now`.
    fn stop_if_late(&self, now: u64) {
        let state = self.state.load(Ordering::Acquire);
        if state == IDLE || state >= KILLING || state > now {
            return;
        }
        let taken =
            self.state.compare_exchange(state, KILLING, Ordering::AcqRel, Ordering::Relaxed);
        if taken.is_ok() {
            if let Err(reason) = self.options.terminate() {
                tracing::warn!(reason, "a run past its deadline cannot be stopped");
            }
            self.state.store(KILLED, Ordering::Release);
        }
    }
}

/// A run in progress. Dropping it without [`Armed::end`], as a panic does, also ends it.
struct Armed<'a> {
    slot: &'a Slot,
    deadline: u64,
}

impl Armed<'_> {
    /// Whether the watchdog stopped the run.
    fn end(self) -> bool {
        let killed = self.disarm();
        std::mem::forget(self);
        killed
    }

    fn disarm(&self) -> bool {
        let state = &self.slot.state;
        if state.compare_exchange(self.deadline, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
        {
            return false;
        }
        // The watchdog is between taking the run and having stopped it: one short call.
        while state.load(Ordering::Acquire) != KILLED {
            thread::yield_now();
        }
        if let Err(reason) = self.slot.options.clear() {
            tracing::error!(reason, "this thread's runs can no longer be started");
        }
        state.store(IDLE, Ordering::Release);
        true
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl Watchdog {
    fn get() -> Result<&'static Watchdog, String> {
        let watchdog = WATCHDOG.get_or_init(|| Watchdog {
            epoch: Instant::now(),
            slots: Mutex::new(Vec::new()),
            asleep: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        // Under the lock, so that one thread is started however many threads come first.
        let slots = watchdog.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if watchdog.thread.get().is_none() {
            let handle = thread::Builder::new()
                .name("modelgate-stop".to_owned())
                .spawn(|| watchdog.watch())
                .map_err(|error| format!("cannot start the thread that stops runs: {error}"))?;
            let _ = watchdog.thread.set(handle.thread().clone());
        }
        drop(slots);
        Ok(watchdog)
    }

    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn watch(&self) {
        let mut runs_before = 0;
        let mut idle = 0;
        loop {
            thread::park_timeout(TICK);
            let runs = self.look();
            idle = if runs == runs_before { idle + 1 } else { 0 };
            runs_before = runs;
            if idle < IDLE_TICKS {
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            // A run that began before it could see the flag is seen here, or by `look`
            // right after: then nothing is lost by staying awake.
            if self.anything_runs() {
                self.asleep.store(false, Ordering::SeqCst);
            }
            while self.asleep.load(Ordering::SeqCst) {
                thread::park();
            }
            idle = 0;
        }
    }

    /// Stops what is late and returns a number that changes when runs begin.
    fn look(&self) -> u64 {
        let now = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(KILLING - 1);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut runs = 0u64;
        slots.retain(|slot| match slot.upgrade() {
            Some(slot) => {
                slot.stop_if_late(now);
                runs = runs.wrapping_add(slot.runs.load(Ordering::Relaxed));
                true
            }
            None => false,
        });
        runs
    }

    fn anything_runs(&self) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().filter_map(Weak::upgrade).any(|s| s.state.load(Ordering::SeqCst) != IDLE)
    }
}
