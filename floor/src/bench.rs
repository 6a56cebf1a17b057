//! What all scenarios share: where programs are, where things run, how pairs are measured.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::client::Sample;
use crate::{Args, Result};

#[derive(Debug)]
pub struct Bench {
    programs: PathBuf,
    pub server_cores: String,
    pub onnxruntime: Option<PathBuf>,
    pub serve_args: Vec<String>,
    pub models: PathBuf,
    /// Logs, bodies and scripts of this run.
    pub work: PathBuf,
    pub pairs: u32,
    pub time: Duration,
}

impl Bench {
    pub fn new(args: &Args) -> Result<Self> {
        needs("taskset", "util-linux")?;
        let programs = env::current_exe()?.parent().ok_or("this program has no folder")?.to_owned();
        let work = args.out.join("bench");
        fs::create_dir_all(&work)?;
        Ok(Self {
            programs,
            server_cores: args.server_cores.clone(),
            onnxruntime: args.onnxruntime.clone(),
            serve_args: args.serve_arg.clone(),
            models: args.bench_models.clone(),
            work,
            pairs: args.pairs,
            time: Duration::from_secs(args.seconds),
        })
    }

    /// Fails unless the programs that ask are installed.
    pub fn needs_clients(&self) -> Result<()> {
        needs("wrk", "wrk")?;
        needs("h2load", "nghttp2-client")
    }

    /// Keeps this process, and so every client it starts, to one core.
    pub fn keep_to(&self, core: usize) -> Result<()> {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)
            .map_err(|error| format!("cannot run on core {core}: {error}").into())
    }

    /// Path of a program that was built beside this one.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        if path.is_file() {
            return Ok(path);
        }
        Err(format!("{} is missing: cargo build --release", path.display()).into())
    }

    /// Writes a file of this run and returns its path.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.work.join(name);
        fs::write(&path, content).map_err(|error| unwritten(&path, &error))?;
        Ok(path)
    }

    /// Measures two things in turns and prints each pair.
    pub fn interleave(
        &self,
        names: [&str; 2],
        mut measure: impl FnMut(usize) -> Result<Sample>,
    ) -> Result<Vec<[Sample; 2]>> {
        let mut pairs = Vec::new();
        for number in 1..=self.pairs {
            let pair = [measure(0)?, measure(1)?];
            println!("  {number}: {} {}   {} {}", names[0], pair[0], names[1], pair[1]);
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

fn needs(tool: &str, package: &str) -> Result<()> {
    match Command::new(tool).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{tool} is missing: apt-get install {package}").into()),
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// The middle value; of an even number of them the upper middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_whatever_the_order() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 4.0);
        assert!(median([]).is_nan());
    }
}
