//! `modelgate predictions tail`: the last records of all shards, and new ones.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::fits::Filters;
use super::lines::{Entry, What};
use super::place::Place;
use super::segments::{self, Found, Name, Reader};
use crate::cli::asking::Failure;
use crate::predictions::frame::{Gap, Kind};
use crate::predictions::layout::SEALED;
use crate::predictions::{Label, Prediction, Schemas};

/// How often new records are looked for.
const EVERY: Duration = Duration::from_millis(200);
/// What is read of a segment before what was found is shown.
const MOST: u64 = 8 << 20;

#[derive(Args, Debug)]
pub(super) struct Tail {
    #[command(flatten)]
    place: Place,
    /// Go on with new records as they are written
    #[arg(short, long)]
    follow: bool,
    /// How many of the last records to begin with; those that are not in the archive yet
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// A line for people, or one of JSON with the inputs and outputs
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    #[default]
    Table,
    Json,
}

impl Tail {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self.show() {
            // Who reads, such as `head`, has enough.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(ExitCode::SUCCESS)
            }
            shown => shown.map(|()| ExitCode::SUCCESS),
        }
    }

    fn show(&self) -> Result<(), Failure> {
        let root = self.place.root()?;
        let schemas = Schemas::new(root.clone());
        let mut follower = Follower { root, ..Follower::default() };
        let unreadable =
            |error: io::Error| Failure::Invalid(format!("cannot read the log: {error}"));
        self.print(&schemas, follower.last(self.lines, &self.filters).map_err(unreadable)?)?;
        if !self.follow {
            return Ok(());
        }
        loop {
            let mut found = Vec::new();
            let more = follower.pass(&self.filters, &mut found).map_err(unreadable)?;
            self.print(&schemas, found)?;
            if !more {
                std::thread::sleep(EVERY);
            }
        }
    }

    fn print(&self, schemas: &Schemas, mut entries: Vec<Entry>) -> io::Result<()> {
        entries.sort_by_key(|entry| (entry.at, entry.shard, entry.sequence));
        let mut out = io::stdout().lock();
        for entry in entries {
            match self.output {
                Form::Table => writeln!(out, "{}", entry.line())?,
                Form::Json => {
                    let schema = match &entry.what {
                        What::Prediction(of) => schemas.get(of.schema),
                        What::Label(_) | What::Gap(_) => None,
                    };
                    writeln!(out, "{}", entry.json(schema.as_deref()))?;
                }
            }
        }
        out.flush()
    }
}

/// How far each shard was read.
#[derive(Default)]
struct Follower {
    root: PathBuf,
    readers: BTreeMap<Name, Reader>,
    /// By shard, the newest segment that is done with; those before it are too.
    passed: BTreeMap<u32, u64>,
    /// By shard, the time of its last record.
    times: BTreeMap<u32, i64>,
}

impl Follower {
    /// The last records of all shards that fit, reading as few segments as will do.
    fn last(&mut self, count: usize, filters: &Filters) -> io::Result<Vec<Entry>> {
        let mut by_shard: BTreeMap<u32, Vec<(Name, PathBuf)>> = BTreeMap::new();
        for (name, path) in segments::list(&self.root)? {
            by_shard.entry(name.0).or_default().push((name, path));
        }
        let mut last = Vec::new();
        for (shard, segments) in by_shard {
            let mut kept = VecDeque::new();
            let newest = segments.len() - 1;
            for (at, (name, path)) in segments.into_iter().enumerate().rev() {
                if at + 1 == newest {
                    self.passed.insert(shard, name.1);
                }
                if at < newest && kept.len() >= count {
                    continue;
                }
                let Some(mut reader) = Reader::open(&path)? else { continue };
                let is_sealed = path.extension().is_some_and(|extension| extension == SEALED);
                let mut found = VecDeque::new();
                let epoch = reader.epoch;
                reader.read(is_sealed, u64::MAX, |piece| {
                    found.extend(self.entry(name, epoch, piece, filters));
                    if found.len() > count {
                        found.pop_front();
                    }
                })?;
                found.append(&mut kept);
                found.drain(..found.len().saturating_sub(count));
                kept = found;
                if at == newest {
                    self.readers.insert(name, reader);
                }
            }
            last.extend(kept);
        }
        last.sort_by_key(|entry| (entry.at, entry.shard, entry.sequence));
        last.drain(..last.len().saturating_sub(count));
        Ok(last)
    }

    /// Appends what was written since the last pass, and says whether more is there already.
    fn pass(&mut self, filters: &Filters, found: &mut Vec<Entry>) -> io::Result<bool> {
        let listed = segments::list(&self.root)?;
        for (name, path) in &listed {
            let is_done = self.passed.get(&name.0).is_some_and(|passed| name.1 <= *passed);
            if !is_done
                && !self.readers.contains_key(name)
                && let Some(reader) = Reader::open(path)?
            {
                self.readers.insert(*name, reader);
            }
        }
        let mut more = false;
        for (name, mut reader) in std::mem::take(&mut self.readers) {
            // A segment that is in the archive already was sealed before.
            let is_sealed = listed
                .get(&name)
                .is_none_or(|path| path.extension().is_some_and(|extension| extension == SEALED));
            let epoch = reader.epoch;
            let goes_on = reader.read(is_sealed, MOST, |piece| {
                found.extend(self.entry(name, epoch, piece, filters));
            })?;
            more |= goes_on;
            if is_sealed && !goes_on {
                let passed = self.passed.entry(name.0).or_default();
                *passed = name.1.max(*passed);
            } else {
                self.readers.insert(name, reader);
            }
        }
        Ok(more)
    }

    /// What a piece of a segment tells, where it fits. Damage is noted aside.
    fn entry(&mut self, name: Name, epoch: u64, piece: Found, filters: &Filters) -> Option<Entry> {
        let (shard, first) = name;
        let (kind, sequence, payload) = match piece {
            Found::Record { kind, sequence, payload } => (kind, sequence, payload),
            Found::Damage(bytes) => {
                eprintln!("shard {shard}, segment {first}: {bytes} bytes are no record");
                return None;
            }
        };
        let time = self.times.entry(shard).or_default();
        let what = match kind {
            Kind::Prediction => Prediction::decode(&payload).map(|of| {
                *time = of.event_time;
                (filters.takes_prediction(&of), What::Prediction(Box::new(of)))
            }),
            Kind::Label => Label::decode(&payload).map(|of| {
                *time = of.recorded_time;
                (filters.takes_label(&of), What::Label(Box::new(of)))
            }),
            Kind::Gap => Gap::decode(&payload).map(|of| (filters.takes_gaps(), What::Gap(of))),
        };
        let Some((fits, what)) = what else {
            eprintln!("shard {shard}, sequence {sequence}: a record that cannot be read");
            return None;
        };
        fits.then_some(Entry { at: *time, shard, epoch, sequence, what })
    }
}
