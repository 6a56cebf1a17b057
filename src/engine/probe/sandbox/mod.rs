//! What a probe process gives up before it looks at a model.
//!
//! Limits of the system everywhere; on Linux also its capabilities, every file but the
//! model's folder (Landlock), and every system call that a model has no need for
//! (seccomp). A kernel that lacks one of them does without: the rest still holds.

#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod syscalls;

use std::io;
use std::path::Path;

use crate::background;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Address space beyond what the model may take: allocators and thread stacks reserve
/// much that they never use. What is used is bounded by the parent, which watches.
const SPARE_ADDRESSES: u64 = 2 << 30;
/// The same for every core, which may get a thread.
const SPARE_FOR_A_CORE: u64 = 64 << 20;

/// Files that may be open at once: the model, its weights, the C library's.
const MOST_FILES: u64 = 256;

/// How tightly a process is to be confined.
#[derive(Clone, Copy, Debug)]
pub struct Confinement<'a> {
    /// The only folder of the model that stays readable.
    pub folder: &'a Path,
    /// Processor time of the whole process, rounded up to seconds.
    pub cpu_ms: u64,
    /// Address space of the process, to which some room is added.
    pub mapped_bytes: u64,
}

/// Closes the sandbox, for good, and tells what is in force. For a process whose only
/// thread this is.
///
/// # Errors
/// Where a limit that every system has cannot be set.
pub fn enter(confinement: &Confinement<'_>) -> io::Result<Vec<String>> {
    let mut in_force = vec!["limits".to_owned()];
    limit(confinement)?;
    #[cfg(target_os = "linux")]
    {
        let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|all| all.count() == 1);
        let mut note = |name: &str, done: Result<(), String>| {
            in_force.push(match done {
                Ok(()) => name.to_owned(),
                Err(why) => format!("no {name}: {why}"),
            });
        };
        note("no_new_privs", renounce().map_err(|error| error.to_string()));
        note("landlock", files::confine(confinement.folder));
        // It binds the thread that asks for it, and those that this one starts.
        if !alone {
            note("landlock", Err("for threads that ran before".to_owned()));
        }
        note("capabilities", drop_capabilities().map_err(|error| error.to_string()));
        // Last: it forbids what the others need.
        note("seccomp", syscalls::confine());
    }
    Ok(in_force)
}

fn limit(confinement: &Confinement<'_>) -> io::Result<()> {
    let seconds = confinement.cpu_ms.div_ceil(1000).max(1);
    // At the first the process gets SIGXCPU, at the second it is killed.
    lower(Resource::Cpu, seconds, seconds + 2)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let spare = SPARE_ADDRESSES.saturating_add(SPARE_FOR_A_CORE.saturating_mul(cores));
    let addresses = confinement.mapped_bytes.saturating_add(spare);
    lower(Resource::As, addresses, addresses)?;
    lower(Resource::Fsize, 0, 0)?;
    lower(Resource::Nofile, MOST_FILES, MOST_FILES)?;
    lower(Resource::Core, 0, 0)
}

/// Sets a limit, but never above the one in force.
fn lower(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let now = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(now)), maximum: Some(hard.min(now)) };
    Ok(setrlimit(resource, limit)?)
}

/// Gives up gaining rights by starting programs, and being looked into.
#[cfg(target_os = "linux")]
fn renounce() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    rustix::thread::set_no_new_privs(true)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(target_os = "linux")]
fn drop_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(set_capabilities(None, sets)?)
}

/// Has the system end this process when its parent's thread ends.
pub(in crate::engine::probe) fn die_with_parent() {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
    {
        eprintln!("this process may outlive its parent: {error}");
    }
}

/// Checks that the parent is still there after [`die_with_parent`].
pub(in crate::engine::probe) fn require_parent(parent: u32) -> io::Result<()> {
    let now = rustix::process::getppid().map_or(0, |now| now.as_raw_nonzero().get());
    match u32::try_from(now) == Ok(parent) {
        true => Ok(()),
        false => Err(io::Error::other("its parent has ended")),
    }
}

/// Takes the first place when memory runs out, and the last for the processor where it
/// `yields`. A process that may not is tried all the same.
pub(in crate::engine::probe) fn step_back(yields: bool) {
    if yields {
        background::step_back();
    }
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}
