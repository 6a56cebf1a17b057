//! The two passes over a file, for all columns at once.

use half::{bf16, f16};

use super::plan::Part;
use crate::cli::table::{Cells, Rows};
use crate::drift::build::{Blocks, BuildError, BuildOptions, ColumnSpec, Count, Survey, Value};
use crate::drift::{Column, Derived};
use crate::types::DType;

/// Rows that categories have to tell apart, or a text is profiled by its length.
const LEAST_NAMED: f64 = 0.5;

/// How a cell becomes the value of a column.
#[derive(Clone, Copy)]
struct Feed {
    derived: Option<Derived>,
    dtype: DType,
}

/// The columns of one way, as far as they have come.
type Way<T> = Vec<(Feed, T)>;

/// Of one part of the plan.
type Ways = Vec<Result<Way<Count>, BuildError>>;

/// The first pass. Cells stand in the order of the plan.
pub(super) struct Surveys(Vec<Vec<Way<Survey>>>);

/// The second pass.
pub(super) struct Counts(Vec<Ways>);

impl Surveys {
    pub(super) fn new(parts: &[Part], options: BuildOptions) -> Surveys {
        let survey = |part: &Part, spec: &ColumnSpec| {
            (Feed::of(spec, part.dtype), Survey::new(spec.clone(), options))
        };
        let ways = |part: &Part| -> Vec<Way<Survey>> {
            let way = |way: &Vec<ColumnSpec>| way.iter().map(|spec| survey(part, spec)).collect();
            part.ways.iter().map(way).collect()
        };
        Surveys(parts.iter().map(ways).collect())
    }

    pub(super) fn see(&mut self, rows: &Rows) {
        for (ways, cells) in self.0.iter_mut().zip(&rows.cells) {
            for (feed, survey) in ways.iter_mut().flatten() {
                (0..rows.count).for_each(|row| survey.see(feed.value(cells.at(row))));
            }
        }
    }

    pub(super) fn finish(self) -> Counts {
        let finish = |way: Way<Survey>| {
            way.into_iter().map(|(feed, survey)| Ok((feed, survey.finish()?))).collect()
        };
        Counts(self.0.into_iter().map(|ways| ways.into_iter().map(finish).collect()).collect())
    }
}

impl Counts {
    /// `blocks` are of the times, one for each row; none where rows are in order.
    pub(super) fn see(&mut self, rows: &Rows, blocks: Option<(&Blocks, &Cells)>) {
        let block = |row: usize| {
            let (blocks, times) = blocks?;
            match times.at(row) {
                Value::Number(time) => Some(blocks.place(time)),
                _ => None,
            }
        };
        for (ways, cells) in self.0.iter_mut().zip(&rows.cells) {
            for (feed, count) in ways.iter_mut().flatten().flatten() {
                for row in 0..rows.count {
                    let value = feed.value(cells.at(row));
                    match block(row) {
                        Some(block) => count.see_in(block, value),
                        None => count.see(value),
                    }
                }
            }
        }
    }

    /// The columns of each part, in the order of the parts.
    pub(super) fn finish(self) -> Vec<Result<Vec<Column>, BuildError>> {
        self.0.into_iter().map(chosen).collect()
    }
}

impl Feed {
    fn of(spec: &ColumnSpec, dtype: DType) -> Feed {
        // Places of the greatest probability come ready from the file.
        let derived = spec.derived.filter(|derived| derived.is_of_text());
        Feed { derived, dtype }
    }

    fn value<'a>(&self, value: Value<'a>) -> Value<'a> {
        match (value, self.derived, self.dtype) {
            (Value::Text(text), Some(derived), _) => Value::Number(derived.of_text(text)),
            (Value::Number(number), _, DType::Fp16) => {
                Value::Number(f16::from_f64(number).to_f64())
            }
            (Value::Number(number), _, DType::Bf16) => {
                Value::Number(bf16::from_f64(number).to_f64())
            }
            _ => value,
        }
    }
}

/// The first way that tells rows apart; else the last that there is.
fn chosen(ways: Ways) -> Result<Vec<Column>, BuildError> {
    let mut last = None;
    for way in ways {
        let finish = |(_, count): (Feed, Count)| count.finish();
        let columns: Result<Vec<Column>, BuildError> =
            way.and_then(|way| way.into_iter().map(finish).collect());
        match columns {
            Ok(columns) if columns.iter().all(tells_apart) => return Ok(columns),
            Err(_) if matches!(last, Some(Ok(_))) => {}
            columns => last = Some(columns),
        }
    }
    last.unwrap_or_else(|| Ok(Vec::new()))
}

fn tells_apart(column: &Column) -> bool {
    let counts = column.reference.bins();
    let others = column.bins.other().map_or(0, |other| counts[other]);
    (column.reference.binned() - others) as f64 >= LEAST_NAMED * column.reference.binned() as f64
}
