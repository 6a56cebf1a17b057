//! Threads that yield to those that answer requests: for fetching, proving and
//! loading models, which take long and can wait. And a way to hand them things.

mod handover;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

pub use handover::Handover;

/// Whether there are requests to yield to. The scheduler's view of a process is
/// one, so this is too.
static YIELDS: AtomicBool = AtomicBool::new(false);

/// From now on work in the background yields: the gateway has become ready.
/// Before, whoever waits for the start waits for that work.
pub fn begin_to_yield() {
    YIELDS.store(true, Ordering::Relaxed);
}

pub fn yields() -> bool {
    YIELDS.load(Ordering::Relaxed)
}

/// Puts the calling thread, and those it starts, behind every other for the
/// processor: it runs where a core would be idle, and is interrupted at once
/// when one is needed. What the system refuses is done without.
pub fn step_back() {
    const LOWEST: i32 = 19;
    // Where the policy below is not to be had, and for whoever looks at the list of processes.
    let _ = rustix::process::setpriority_process(None, LOWEST);
    #[cfg(target_os = "linux")]
    be_idle();
}

/// Steps a thread back as soon as there are requests to yield to.
#[derive(Debug, Default)]
pub struct Yielding(bool);

impl Yielding {
    /// To be called again and again; does nothing once it has stepped back.
    pub fn step_back_once(&mut self) {
        if !self.0 && yields() {
            step_back();
            self.0 = true;
        }
    }
}

/// Makes the calling thread, and those it starts, nicer by `by`, up to 19: it
/// gets less of a busy processor than others do, but some. What the system
/// refuses is done without.
pub fn be_nice(by: i32) {
    let _ = rustix::process::nice(by);
}

/// A nice thread alone may finish its slice of some milliseconds before one
/// that answers requests gets its turn; an idle one may not.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe interface to the scheduling policy")]
fn be_idle() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 names the calling thread, and the parameters are a live local that the call
    // only reads. A refusal changes nothing.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) };
}

/// Does `work` on a thread of its own, which yields if that has begun. The work
/// goes on when nobody waits for it any more.
///
/// # Errors
/// When no thread can be started, or the work panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("background".to_owned()).spawn(move || {
        if yields() {
            step_back();
        }
        let _ = done.send(work());
    })?;
    result.await.map_err(|_| io::Error::other("a panic in the background"))
}

/// Does `work` on a thread of its own, which yields if that has begun, and waits for it.
///
/// # Errors
/// As [`run`].
pub fn run_beside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn_scoped(scope, || {
            if yields() {
                step_back();
            }
            work()
        })?;
        thread.join().map_err(|_| io::Error::other("a panic in the background"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_is_done_behind_all_others() {
        begin_to_yield();
        let look = || std::fs::read_to_string("/proc/thread-self/stat");
        for stat in [block_on(run(look)), run_beside("beside", look)] {
            let stat = stat.expect("a thread").expect("its state");
            // After the name in brackets, from the state on: `policy` is the 41st field of all.
            let fields = stat.rsplit(')').next().unwrap_or("");
            let fields: Vec<&str> = fields.split_whitespace().collect();
            assert_eq!(fields.get(38), Some(&"5"), "SCHED_IDLE: {stat}");
            assert_eq!(fields.get(16), Some(&"19"), "nice: {stat}");
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let ended = block_on(run(|| -> u8 { panic!("on purpose") }));
        assert!(ended.is_err());
    }
}
