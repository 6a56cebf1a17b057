//! Servers under measurement: started on their cores, watched, and stopped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::Bench;
use crate::probe::Probe;

/// Loading the largest generated model takes well under a second; a slow disk may take longer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    name: String,
    process: Child,
    pub http: SocketAddr,
    /// The same as `http` where one listener answers all there is.
    pub grpc: SocketAddr,
    /// The gateway's; an empty server has none.
    pub admin: Option<SocketAddr>,
    /// Likewise.
    pub metrics: Option<SocketAddr>,
}

impl Server {
    /// Starts the gateway on the models of a folder.
    pub fn gateway(bench: &Bench, name: &str, models: &Path) -> Result<Self> {
        Self::gateway_with(bench, name, models, &[])
    }

    /// The same with more arguments of `modelgate serve`.
    pub fn gateway_with(
        bench: &Bench,
        name: &str,
        models: &Path,
        arguments: &[&OsStr],
    ) -> Result<Self> {
        let (http, grpc) = (free_address()?, free_address()?);
        let (admin, metrics) = (free_address()?, free_address()?);
        let mut command = pinned(bench, "modelgate")?;
        command.arg("serve").arg("--models").arg(models);
        command.args(["--http", &http.to_string(), "--grpc", &grpc.to_string()]);
        command.args(["--metrics", &metrics.to_string()]);
        command.args(["--admin", &admin.to_string()]);
        let data = bench.work.join(format!("{name}-data"));
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        command.arg("--data").arg(&data);
        if let Some(path) = &bench.onnxruntime {
            command.arg("--onnxruntime").arg(path);
        }
        command.args(arguments).args(&bench.serve_args);
        let mut server = Self::start(bench, name, command, [http, grpc])?;
        server.admin = Some(admin);
        server.metrics = Some(metrics);
        server.wait(|| {
            let answer = Probe::connect(http).and_then(|mut probe| probe.get("/v2/health/ready"));
            answer.is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(server)
    }

    /// Starts the empty HTTP server with this answer.
    pub fn hyper(bench: &Bench, name: &str, answer: &[u8], content_type: &str) -> Result<Self> {
        let mut command = pinned(bench, "floor-hyper")?;
        command.args(["--content-type", content_type]);
        Self::floor(bench, name, command, answer)
    }

    /// Starts the empty gRPC server with this encoded answer.
    pub fn tonic(bench: &Bench, name: &str, answer: &[u8]) -> Result<Self> {
        Self::floor(bench, name, pinned(bench, "floor-tonic")?, answer)
    }

    fn floor(bench: &Bench, name: &str, mut command: Command, answer: &[u8]) -> Result<Self> {
        let address = free_address()?;
        let answer = bench.write(&format!("{name}.answer"), answer)?;
        command.args(["--listen", &address.to_string(), "--answer"]).arg(answer);
        let mut server = Self::start(bench, name, command, [address, address])?;
        server.wait(|| TcpStream::connect(address).is_ok())?;
        Ok(server)
    }

    fn start(
        bench: &Bench,
        name: &str,
        mut command: Command,
        [http, grpc]: [SocketAddr; 2],
    ) -> Result<Self> {
        let log = File::create(bench.work.join(format!("{name}.log")))?;
        let process = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { name: name.to_owned(), process, http, grpc, admin: None, metrics: None })
    }

    fn wait(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("{} ended at once, {status}: see its log", self.name).into());
            }
            if begun.elapsed() > START_LIMIT {
                return Err(format!("{} is not ready after {START_LIMIT:?}", self.name).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// CPU time that the server has used so far, in user and system.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let ticks = cpu_ticks(&stat).ok_or("/proc/PID/stat has another form")?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// CPU time of its threads whose names begin so.
    pub fn cpu_of_threads(&self, prefix: &str) -> Result<Duration> {
        let mut ticks = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let folder = thread?.path();
            if fs::read_to_string(folder.join("comm"))?.starts_with(prefix) {
                let stat = fs::read_to_string(folder.join("stat"))?;
                ticks += cpu_ticks(&stat).ok_or("/proc/PID/task/TID/stat has another form")?;
            }
        }
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Memory that the server holds, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.process.id()))?;
        let pages = statm.split(' ').nth(1).ok_or("/proc/PID/statm has another form")?;
        Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An empty server has nothing to lose, and one that ended already is fine too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program on the servers' cores. taskset becomes the program, so that the
/// child's id is the server's.
fn pinned(bench: &Bench, program: &str) -> Result<Command> {
    let mut command = Command::new("taskset");
    command.args(["-c", &bench.server_cores]).arg(bench.program(program)?);
    Ok(command)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// User and system time, the 14th and 15th fields; the second is the program's
/// name in brackets, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_an_odd_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 300 21 0 0";
        assert_eq!(cpu_ticks(stat), Some(321));
        assert_eq!(cpu_ticks("42 (short) S 1"), None);
    }
}
