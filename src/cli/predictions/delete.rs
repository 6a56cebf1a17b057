//! `modelgate predictions delete`: takes the records of a unit or of a request
//! out of the archive, and keeps those that are not archived yet out of it.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::place::Place;
use crate::cli::asking::Failure;
use crate::cli::{FAILED, WAIT_TIMED_OUT, output};
use crate::predictions::archive::{self, ArchiveError, Deleted, Deletion, Unit};
use crate::predictions::hash::{Hasher, hex};
use crate::predictions::layout;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(super) struct Delete {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    which: Which,
    /// File with the configuration's `predictions.hash_key`, where it has one
    #[arg(long, value_name = "FILE", requires = "unit_key")]
    hash_key: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How long to wait for a running gateway that does it
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// The key that variants stick to, as callers send it; whether it is kept or hashed
    #[arg(long, value_name = "KEY")]
    unit_key: Option<String>,
    /// What the column unit_hash has
    #[arg(long, value_name = "HASH", value_parser = hash)]
    unit_hash: Option<String>,
    /// One request
    #[arg(long, value_name = "REQUEST_ID")]
    id: Option<String>,
}

fn hash(text: &str) -> Result<String, String> {
    let right = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    right.then(|| text.to_owned()).ok_or_else(|| "expected 32 hexadecimal digits".to_owned())
}

impl Delete {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let root = self.place.root()?;
        let units = self.units(&root)?;
        if !self.yes && !is_meant(&root)? {
            eprintln!("nothing was deleted");
            return Ok(ExitCode::from(FAILED));
        }
        let failed = |error: ArchiveError| Failure::Invalid(error.to_string());
        let asked = match archive::delete_units(&root, &units).map_err(failed)? {
            Deletion::Done(deleted) => {
                tell(deleted);
                return Ok(ExitCode::SUCCESS);
            }
            Deletion::Asked(asked) => asked,
        };
        let until = Instant::now() + Duration::from_secs(self.wait);
        loop {
            if let Some(deleted) = archive::deleted(&root, &asked).map_err(failed)? {
                tell(deleted);
                return Ok(ExitCode::SUCCESS);
            }
            if Instant::now() >= until {
                eprintln!("the gateway that keeps the archive has not done it yet, but will");
                return Ok(ExitCode::from(WAIT_TIMED_OUT));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What records are told by. A key may stand in them as it came, or hashed.
    fn units(&self, root: &Path) -> Result<Vec<Unit>, Failure> {
        let Which { unit_key, unit_hash, id } = &self.which;
        let mut units: Vec<Unit> = unit_hash.iter().cloned().map(Unit::Hash).collect();
        units.extend(id.iter().cloned().map(Unit::Request));
        if let Some(key) = unit_key {
            units.push(Unit::Key(key.clone()));
            let hashed = self.hasher(root)?.map(|hasher| hex(&hasher.hash(key.as_bytes())));
            units.extend(hashed.map(Unit::Hash));
        }
        Ok(units)
    }

    /// `None` where the folder has no key, so that nothing was hashed with it.
    fn hasher(&self, root: &Path) -> Result<Option<Hasher>, Failure> {
        let unreadable =
            |error: io::Error| Failure::Invalid(format!("cannot read the key: {error}"));
        if let Some(file) = &self.hash_key {
            let key = std::fs::read_to_string(file).map_err(unreadable)?;
            return Ok(Some(Hasher::new(key.trim().as_bytes())));
        }
        if !layout::hash_key(root).exists() {
            return Ok(None);
        }
        Hasher::of_folder(root).map(Some).map_err(unreadable)
    }
}

/// Asks whoever sits at the terminal.
fn is_meant(root: &Path) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Invalid(
            "nobody can be asked here: --yes says that it is meant".into(),
        ));
    }
    let folder = output::plain(&root.display().to_string());
    eprint!("delete these records from '{folder}' for good? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn tell(Deleted { rows, labels }: Deleted) {
    println!("{rows} rows and {labels} labels deleted; what is not archived yet will be left out");
}
