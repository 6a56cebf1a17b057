//! How much memory a process holds, as Linux tells it; other systems do not.

use std::fs::File;
use std::io::{self, Read, Seek};

/// A process's status file, which stays readable in the sandbox.
pub(super) struct Status(File);

/// Bytes of memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Address space.
    pub(super) mapped: u64,
    pub(super) resident: u64,
    /// The most that was ever resident.
    pub(super) peak: u64,
}

impl Status {
    pub(super) fn own() -> io::Result<Status> {
        File::open("/proc/self/status").map(Status)
    }

    pub(super) fn of(process: u32) -> io::Result<Status> {
        File::open(format!("/proc/{process}/status")).map(Status)
    }

    /// What the process holds now; an error once it has ended.
    pub(super) fn memory(&mut self) -> io::Result<Memory> {
        let mut text = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut text)?;
        parse(&text).ok_or_else(|| io::Error::other("the process has ended"))
    }
}

fn parse(status: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
        kilobytes.checked_mul(1024)
    };
    Some(Memory { mapped: bytes("VmSize:")?, resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_memory() {
        let mut status = Status::of(std::process::id()).expect("a status file");
        let before = status.memory().expect("this process");
        assert!(0 < before.resident && before.resident <= before.peak);
        assert!(before.peak < before.mapped);
        let filled = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = status.memory().expect("this process");
        assert!(after.peak >= before.resident + filled.len() as u64 / 2, "read anew");
    }

    #[test]
    fn a_process_without_memory_has_ended() {
        assert_eq!(parse("Name:\tmodelgate\nState:\tZ (zombie)\n"), None);
    }
}
