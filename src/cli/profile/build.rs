//! `modelgate profile build`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::columns::Surveys;
use super::model::{Model, ModelFlags};
use super::outputs::{self, OutputFlag};
use super::plan::{self, Asked, Choice, Part};
use super::quality::{Metric, Positive, Quality, Slots};
use super::summary::Summary;
use super::{Failure, file};
use crate::cli::output::{self, Shown};
use crate::cli::table::{Cells, Form, Holds, Table, Wanted, suggestion};
use crate::cli::when;
use crate::drift::build::{BuildError, BuildOptions, Times, Value};
use crate::drift::profile::Source;
use crate::drift::{AlarmRule, Column, Kind, MAX_BINS, Profile};
use crate::registry::file_digest;
use crate::types::ModelName;

/// Values of all columns that are kept at a time, to take quantiles of.
const MOST_VALUES: usize = 1 << 26;

#[derive(Args, Debug)]
pub(super) struct Build {
    /// What the model was trained on: Parquet, or CSV with a header
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    model: ModelFlags,
    /// Name of the model [default: its folder's or file's name, else that of the data]
    #[arg(long, value_parser = ModelName::parse)]
    name: Option<ModelName>,
    /// Column with the time of a row [default: rows are in the order of time]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Column with what was true, to measure the reference's quality
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Column with what the model predicted: a class or a number; COLUMN=TENSOR or
    /// COLUMN=TENSOR[INDEX] says of which output
    #[arg(long, value_name = "COLUMN", value_parser = OutputFlag::parse)]
    prediction: Option<OutputFlag>,
    /// Column with the probability of the positive class, likewise. Of rows that the model was
    /// not trained on, or it is too sure
    #[arg(long, value_name = "COLUMN", value_parser = OutputFlag::parse)]
    score: Option<OutputFlag>,
    /// The label whose probability the score is [default: 1]
    #[arg(long, value_name = "LABEL", requires = "score")]
    positive: Option<String>,
    /// Kind of an input column; may be repeated
    #[arg(long = "kind", value_name = "COLUMN=KIND", value_parser = kind)]
    kinds: Vec<(String, Asked)>,
    /// Leave an input column out; may be repeated
    #[arg(long, value_name = "COLUMN")]
    leave_out: Vec<String>,
    /// Bins of numbers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = bins)]
    bins: usize,
    /// Rows that every column needs, at least
    #[arg(long, value_name = "N", default_value_t = 1000)]
    min_reference_rows: u64,
    /// Where the profile goes
    #[arg(long, value_name = "FILE", default_value = "profile.json")]
    out: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

/// What is read of every row.
struct Reading {
    inputs: usize,
    /// Inputs, then outputs.
    parts: Vec<Part>,
    /// Those of the parts, in their order, and more.
    wanted: Vec<Wanted>,
    time: Option<Time>,
    quality: Option<(Slots, Positive)>,
}

/// Where the times stand, and whether they are numbers of some unit.
#[derive(Clone, Copy)]
struct Time {
    slot: usize,
    are_numbers: bool,
}

/// The range of times, and the blocks they fall into.
struct Timed {
    times: Times,
    first: f64,
    last: f64,
}

impl Build {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let model = self.model.model()?;
        let table = Table::open(&self.data)?;
        let reading = self.reading(&table, model.as_ref())?;
        let columns = reading.parts.iter().flat_map(|part| &part.ways).map(Vec::len).sum::<usize>();
        let options = BuildOptions {
            bins: self.bins,
            most_values: (MOST_VALUES / columns.max(1)).min(1 << 20),
            is_ordered: true,
            ..BuildOptions::default()
        };
        let profile = self.build(&table, model.as_ref(), &reading, options)?;
        let json = profile.render();
        // What a gateway would refuse is refused here.
        let profile = Profile::parse(&json).map_err(|error| Failure::of(error.to_string()))?;
        if let Some(model) = &model {
            let misfits = profile.misfits(&model.signature);
            if !misfits.is_empty() {
                let told: Vec<String> = misfits.iter().map(ToString::to_string).collect();
                return Err(Failure::of(told.join("\n")));
            }
        }
        file::write(&self.out, |out| out.write_all(&json))?;
        if self.time.is_none() {
            eprintln!("rows are taken to be in the order of time, as no --time says otherwise");
        }
        eprintln!("wrote {} ({})", self.out.display(), output::bytes(json.len() as u64));
        output::print(self.shown.format, &Summary::of(&profile), Summary::text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn reading(&self, table: &Table, model: Option<&Model>) -> Result<Reading, Failure> {
        let outputs = [&self.prediction, &self.score].into_iter().flatten();
        let others = [&self.time, &self.label].into_iter().flatten().map(String::as_str);
        let choice = Choice {
            kinds: self.kinds.iter().map(|(name, asked)| (name.as_str(), *asked)).collect(),
            leave_out: &self.leave_out,
            others: others.chain(outputs.map(|flag| flag.column.as_str())).collect(),
        };
        let (mut parts, notes) = plan::inputs(table, model, &choice)?;
        notes.iter().for_each(|note| eprintln!("{}", output::plain(note)));
        let inputs = parts.len();
        let mut add = |part: Part| {
            parts.push(part);
            parts.len() - 1
        };
        let prediction =
            self.prediction.as_ref().map(|flag| outputs::prediction(table, model, flag));
        let prediction = prediction.transpose()?.map(&mut add);
        let score = self.score.as_ref().map(|flag| outputs::score(table, model, flag));
        let score = score.transpose()?.map(&mut add);
        if parts.is_empty() {
            return Err(Failure::of("no column is left to profile: see --data and --leave-out"));
        }
        let mut wanted: Vec<Wanted> = parts.iter().map(|part| part.wanted).collect();
        let mut want = |column: usize, form: Form| {
            wanted.push(Wanted { column, form });
            wanted.len() - 1
        };
        let time = self
            .time_column(table)?
            .map(|(column, are_numbers)| Time { slot: want(column, Form::Times), are_numbers });
        let quality = match self.label_column(table, prediction.map(|slot| &parts[slot]))? {
            Some(_) if prediction.or(score).is_none() => {
                return Err(Failure::of("--label is of use with --prediction or --score only"));
            }
            Some((column, form)) => {
                let positive = self.positive(model, score.map(|slot| &parts[slot]), form)?;
                Some((Slots { label: want(column, form), prediction, score }, positive))
            }
            None => None,
        };
        Ok(Reading { inputs, parts, wanted, time, quality })
    }

    /// The column of times, and whether it holds numbers.
    fn time_column(&self, table: &Table) -> Result<Option<(usize, bool)>, Failure> {
        let Some(name) = &self.time else { return Ok(None) };
        let column = table.find(name)?;
        let holds = &table.columns()[column].holds;
        if !table.can_be(column, Form::Times) {
            let holds = holds.describe();
            let reason = format!("--time: '{name}' holds {holds}: expected times or numbers");
            return Err(Failure::of(reason));
        }
        Ok(Some((column, *holds == Holds::Numbers)))
    }

    /// The column of labels, and how it is read: as the prediction is.
    fn label_column(
        &self,
        table: &Table,
        prediction: Option<&Part>,
    ) -> Result<Option<(usize, Form)>, Failure> {
        let Some(name) = &self.label else { return Ok(None) };
        let column = table.find(name)?;
        let holds = &table.columns()[column].holds;
        let form = if *holds == Holds::Texts { Form::Texts } else { Form::Numbers };
        if !table.can_be(column, form) {
            let holds = holds.describe();
            let reason = format!("--label: '{name}' holds {holds}: expected classes or numbers");
            return Err(Failure::of(reason));
        }
        if prediction.is_some_and(|prediction| prediction.wanted.form != form) {
            let reason = "--label and --prediction: expected both to hold numbers, or both texts; \
                          write both in the same way";
            return Err(Failure::of(reason));
        }
        Ok(Some((column, form)))
    }

    /// What the score is the probability of: as said, or as `model.yaml` calls
    /// that place, or 1.
    fn positive(
        &self,
        model: Option<&Model>,
        score: Option<&Part>,
        labels: Form,
    ) -> Result<Positive, Failure> {
        let (Some(score), None) = (score, &self.positive) else {
            return Positive::parse(self.positive.as_deref().unwrap_or("1"), labels);
        };
        if labels == Form::Numbers {
            return Ok(Positive::Number(1.0));
        }
        let spec = &score.ways[0][0];
        let named = model.and_then(|model| model.options.labels.get(&*spec.tensor));
        match named.zip(spec.index.first()).and_then(|(names, at)| names.get(*at)) {
            Some(name) => Ok(Positive::Text(name.clone())),
            None => {
                Err(Failure::of("labels are texts: say by --positive which one the score is of"))
            }
        }
    }

    fn build(
        &self,
        table: &Table,
        model: Option<&Model>,
        reading: &Reading,
        options: BuildOptions,
    ) -> Result<Profile, Failure> {
        let mut surveys = Surveys::new(&reading.parts, options);
        let mut timed =
            Timed { times: Times::default(), first: f64::INFINITY, last: f64::NEG_INFINITY };
        let rows = table.read("pass 1 of 2 over", &reading.wanted, |rows| {
            surveys.see(rows);
            match reading.time {
                Some(time) => timed.see(&rows.cells[time.slot], rows.count),
                None => Ok(()),
            }
        })?;
        if rows == 0 {
            let path = table.path().display();
            return Err(Failure::of(format!("'{path}': expected rows, found a header alone")));
        }
        let mut counts = surveys.finish();
        let range = reading.time.map(|time| (time, timed.first, timed.last));
        let blocks = reading.time.map(|time| (time.slot, timed.times.finish()));
        let quality = reading.quality.clone();
        let mut quality = quality.map(|(slots, positive)| Quality::new(slots, positive, rows));
        let again = table.read("pass 2 of 2 over", &reading.wanted, |rows| {
            let blocks = blocks.as_ref().map(|(slot, blocks)| (blocks, &rows.cells[*slot]));
            counts.see(rows, blocks);
            quality.as_mut().map_or(Ok(()), |quality| quality.see(rows))
        })?;
        if again != rows {
            let path = table.path().display();
            return Err(Failure::of(format!("'{path}' changed while it was read: read it again")));
        }
        let mut columns = self.sufficient(counts.finish())?;
        let outputs = columns.split_off(reading.inputs);
        let metric = self.metric(&outputs);
        let measured = quality.is_some();
        let quality = quality.and_then(|quality| quality.finish(metric));
        if measured && quality.is_none() {
            eprintln!("too few labelled rows for the quality of the reference: it is left out");
        }
        Ok(Profile {
            model: self.model_name(model)?,
            model_digest: model.map(|model| model.digest),
            created: None,
            source: Some(self.source(rows, range)?),
            inputs: columns.into_iter().flatten().collect(),
            outputs: outputs.into_iter().flatten().collect(),
            calibration: None,
            quality,
            alarm: AlarmRule::default(),
            min_reference_rows: self.min_reference_rows,
        })
    }

    /// The columns of each part.
    ///
    /// # Errors
    /// Every one that cannot be profiled.
    fn sufficient(
        &self,
        parts: Vec<Result<Vec<Column>, BuildError>>,
    ) -> Result<Vec<Vec<Column>>, Failure> {
        let least = self.min_reference_rows;
        let (mut columns, mut wrong) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Ok(part) => columns.push(part),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        for column in columns.iter().flatten() {
            let binned = column.reference.binned();
            if binned < least {
                wrong.push(format!(
                    "'{}': expected at least {least} values, found {binned}; use more data, leave \
                     the column out, or make do with fewer by --min-reference-rows",
                    column.name
                ));
            }
        }
        if wrong.is_empty() { Ok(columns) } else { Err(Failure::of(wrong.join("\n"))) }
    }

    /// Of scores the area under the curve; of predictions whether they are
    /// right where they are classes, else how far off they are.
    fn metric(&self, outputs: &[Vec<Column>]) -> Metric {
        let prediction = outputs.first().and_then(|columns| columns.first());
        match prediction.map(|column| column.kind) {
            _ if self.score.is_some() => Metric::RocAuc,
            Some(Kind::Class | Kind::Values) => Metric::Accuracy,
            _ => Metric::Mae,
        }
    }

    fn model_name(&self, model: Option<&Model>) -> Result<ModelName, Failure> {
        let of_data = || ModelName::parse(self.data.file_stem()?.to_str()?).ok();
        let own = self.name.clone().or_else(|| model.and_then(|model| model.name.clone()));
        own.or_else(of_data).ok_or_else(|| Failure::of("say by --name which model it is of"))
    }

    /// The file's name alone, as its folder means nothing elsewhere.
    fn source(&self, rows: u64, range: Option<(Time, f64, f64)>) -> Result<Source, Failure> {
        let digest = file_digest(&self.data);
        let digest = digest.map_err(|error| {
            Failure::of(format!("cannot read '{}': {error}", self.data.display()))
        })?;
        let name = self.data.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        Ok(Source {
            uri: name,
            rows: Some(rows),
            sha256: Some(digest),
            time_column: self.time.clone(),
            from: range.and_then(|(time, first, _)| time.shown(first)),
            to: range.and_then(|(time, _, last)| time.shown(last)),
        })
    }
}

impl Timed {
    fn see(&mut self, times: &Cells, rows: usize) -> Result<(), Failure> {
        for row in 0..rows {
            match times.at(row) {
                Value::Number(time) if time.is_finite() => {
                    self.times.see(time);
                    self.first = self.first.min(time);
                    self.last = self.last.max(time);
                }
                _ => {
                    return Err(Failure::of(
                        "--time: expected a time such as 2026-11-21T12:00:00Z, or a number, in \
                         every row, found one without; leave such rows out of the file",
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Time {
    /// None of times before 1970.
    fn shown(self, at: f64) -> Option<String> {
        match self.are_numbers {
            true => Some(at.to_string()),
            false => (at >= 0.0).then(|| when::show(at as i64)),
        }
    }
}

fn kind(text: &str) -> Result<(String, Asked), String> {
    let (name, kind) =
        text.rsplit_once('=').ok_or("expected COLUMN=KIND, such as zip=categorical")?;
    let kinds = ["numeric", "values", "categorical", "text"];
    let asked = <Asked as clap::ValueEnum>::from_str(kind, false)
        .map_err(|_| format!("no kind '{kind}'; {}", suggestion(kind, kinds.into_iter())))?;
    Ok((name.to_owned(), asked))
}

fn bins(text: &str) -> Result<usize, String> {
    let expected = || format!("expected a number from 2 to {MAX_BINS}");
    text.parse().ok().filter(|bins| (2..=MAX_BINS).contains(bins)).ok_or_else(expected)
}
