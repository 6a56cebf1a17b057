//! What may be wrong with a profile. Everything is checked before anything of
//! it is used, so that the arithmetic of scores needs no checks.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

use super::alarm::AlarmRule;
use super::bins::{Bins, CategoryBins, EdgeBins, MAX_BINS, Scale, ValueBins};
use super::document::{AlarmDocument, ColumnDocument, Dictionary, ProfileDocument};
use super::profile::{
    Calibration, Column, Kind, Profile, ProfileError, ReferenceQuality, SCHEMA, Summary,
};
use super::tally::{Rate, Tally};
use crate::types::MAX_RANK;

/// Inputs and outputs.
const MAX_COLUMNS: usize = 1024;
/// Characters of a column's name, and bytes of every other text.
const MAX_NAME: usize = 128;
pub(super) const MAX_TEXT: usize = 1024;
/// Known values without a bin of their own.
pub(super) const MAX_DICTIONARY: usize = 10_000;
const MAX_KNOTS: usize = 50;
/// Counts beyond this are not exact in JSON.
const MAX_COUNT: u64 = 1 << 53;
const MAX_DISPERSION: f64 = 1e6;

const REBUILD: &str = "build the profile again";

impl ProfileDocument {
    pub(super) fn check(self) -> Result<Profile, ProfileError> {
        if self.schema != SCHEMA {
            let fix = "build the profile with this version of modelgate";
            return Err(wrong("schema", SCHEMA, shortened(&self.schema), fix));
        }
        let texts = self.source.iter().flat_map(|source| {
            [&source.uri, &source.time_column, &source.from, &source.to].into_iter().flatten()
        });
        for text in texts.chain(&self.created) {
            check_text("source", text, MAX_TEXT)?;
        }
        let columns = self.inputs.len() + self.outputs.len();
        if !(1..=MAX_COLUMNS).contains(&columns) {
            let expected = format!("1 to {MAX_COLUMNS} columns");
            return Err(wrong("inputs", expected, columns, "leave out the least important"));
        }
        let (alarm, min_reference_rows) = self.alarm.check()?;
        let rows = self.source.as_ref().and_then(|source| source.rows);
        let mut names = HashSet::new();
        let mut check = |face: &str, columns: Vec<ColumnDocument>, rows: Option<u64>| {
            let checked = columns.into_iter().enumerate().map(|(at, column)| {
                let path = format!("{face}[{at}]");
                let column = column.check(&path)?;
                if !names.insert(Arc::clone(&column.name)) {
                    let found = format!("a second '{}'", column.name);
                    return Err(wrong(&path, "a name of its own", found, "rename the column"));
                }
                check_rows(&path, &column, rows, min_reference_rows)?;
                Ok(column)
            });
            checked.collect::<Result<Vec<Column>, ProfileError>>()
        };
        // Outputs may be those of other rows, which were kept from training.
        let (inputs, outputs) =
            (check("inputs", self.inputs, rows)?, check("outputs", self.outputs, None)?);
        self.calibration.as_ref().map_or(Ok(()), check_calibration)?;
        self.quality.as_ref().map_or(Ok(()), check_quality)?;
        Ok(Profile {
            model: self.model,
            model_digest: self.model_sha256,
            created: self.created,
            source: self.source,
            inputs,
            outputs,
            calibration: self.calibration,
            quality: self.quality,
            alarm,
            min_reference_rows,
        })
    }
}

impl Default for AlarmDocument {
    fn default() -> AlarmDocument {
        let rule = AlarmRule::default();
        AlarmDocument {
            psi: rule.psi,
            warning_psi: rule.warning_psi,
            p: rule.p,
            min_rows: rule.min_rows,
            min_reference_rows: 1000,
        }
    }
}

impl AlarmDocument {
    fn check(&self) -> Result<(AlarmRule, u64), ProfileError> {
        let AlarmDocument { psi, warning_psi, p, min_rows, min_reference_rows } = *self;
        if !(psi > 0.0 && psi.is_finite()) {
            return Err(wrong("alarm.psi", "a number above 0", psi, "0.1 is usual"));
        }
        if !(warning_psi > 0.0 && warning_psi <= psi) {
            let expected = format!("a number above 0, at most alarm.psi ({psi})");
            return Err(wrong("alarm.warning_psi", expected, warning_psi, "0.05 is usual"));
        }
        if !(p > 0.0 && p < 1.0) {
            return Err(wrong("alarm.p", "a probability between 0 and 1", p, "1e-4 is usual"));
        }
        for (path, count) in
            [("alarm.min_rows", min_rows), ("alarm.min_reference_rows", min_reference_rows)]
        {
            if !(1..=MAX_COUNT).contains(&count) {
                return Err(wrong(path, "1 or more", count, "leave it out for the default"));
            }
        }
        Ok((
            AlarmRule { psi, warning_psi, p, min_rows, ..AlarmRule::default() },
            min_reference_rows,
        ))
    }
}

impl ColumnDocument {
    fn check(self, path: &str) -> Result<Column, ProfileError> {
        check_text(&format!("{path}.name"), &self.name, MAX_NAME)?;
        check_text(&format!("{path}.tensor"), &self.tensor, MAX_TEXT)?;
        if let Some(text) = &self.log {
            check_text(&format!("{path}.log"), text, MAX_NAME)?;
        }
        let path = format!("{path} ('{}')", self.name);
        if self.index.len() > MAX_RANK {
            let expected = format!("at most {MAX_RANK} places");
            return Err(wrong(format!("{path}.index"), expected, self.index.len(), REBUILD));
        }
        if !(1.0..=MAX_DISPERSION).contains(&self.dispersion) {
            let expected = format!("1 to {MAX_DISPERSION}");
            return Err(wrong(format!("{path}.dispersion"), expected, self.dispersion, REBUILD));
        }
        let summary = self.summary(&path)?;
        let bins = self.bins(&path, summary)?;
        let mut counts = self.counts;
        let expected = bins.other().unwrap_or(bins.count());
        if counts.len() != expected {
            let expected = format!("{expected} counts, one for each bin but others");
            return Err(wrong(format!("{path}.counts"), expected, counts.len(), REBUILD));
        }
        counts.extend(bins.other().map(|_| self.other.unwrap_or(0)));
        let all = counts.iter().chain([&self.missing, &self.invalid]);
        let total = all.fold(0u64, |total, count| total.saturating_add(*count));
        if total > MAX_COUNT {
            return Err(wrong(format!("{path}.counts"), "at most 2^53 in all", total, REBUILD));
        }
        let mut reference = Tally::of(counts);
        reference.set(Rate::Missing, self.missing);
        reference.set(Rate::Invalid, self.invalid);
        Ok(Column {
            name: Arc::from(self.name),
            tensor: Arc::from(self.tensor),
            index: self.index,
            kind: self.kind,
            derived: self.derived,
            bins,
            reference,
            summary,
            dispersion: self.dispersion,
            log: self.log,
        })
    }

    /// The bins that the kind has, and no field of another kind.
    fn bins(&self, path: &str, summary: Option<Summary>) -> Result<Bins, ProfileError> {
        let given = [
            ("edges", self.edges.is_some()),
            ("values", self.values.is_some()),
            ("categories", self.categories.is_some()),
            ("other", self.other.is_some()),
            ("dictionary", self.dictionary.is_some()),
        ];
        let form = match (self.kind, &self.values) {
            (Kind::Numeric | Kind::Score, _) => "edges",
            (Kind::Values, _) | (Kind::Class, Some(_)) => "values",
            (Kind::Categorical, _) | (Kind::Class, None) => "categories",
        };
        for (field, is_given) in given {
            let belongs =
                field == form || form != "edges" && ["other", "dictionary"].contains(&field);
            if is_given && !belongs {
                let expected = format!("none in a column of this kind, which has {form}");
                return Err(wrong(format!("{path}.{field}"), expected, field, REBUILD));
            }
        }
        let missing = |expected: &str| wrong(format!("{path}.{form}"), expected, "none", REBUILD);
        match form {
            "edges" => {
                let edges = self.edges.clone().ok_or_else(|| missing("numbers"))?;
                check_increasing(&format!("{path}.edges"), &edges, MAX_BINS - 1)?;
                let summary = summary.ok_or_else(|| {
                    let expected = "min, max, p001, p999, mean and std";
                    wrong(path, expected, "not all of them", REBUILD)
                })?;
                let scale = Scale::new(summary.p001, summary.p999);
                let is_score = self.kind == Kind::Score;
                Ok(Bins::Edges(EdgeBins::new(edges, summary.min, summary.max, scale, is_score)))
            }
            "values" => {
                let values = self.values.clone().ok_or_else(|| missing("numbers"))?;
                check_increasing(&format!("{path}.values"), &values, MAX_BINS - 1)?;
                let rest = self.known_numbers(path, &values)?;
                let ends = (values[0], values[values.len() - 1]);
                let (low, high) = summary.map_or(ends, |summary| (summary.p001, summary.p999));
                Ok(Bins::Values(ValueBins::new(values, rest, Scale::new(low, high))))
            }
            _ => {
                let categories = self.categories.clone().ok_or_else(|| missing("texts"))?;
                let rest = self.known_texts(path, &categories)?;
                Ok(Bins::Categories(CategoryBins::new(categories, rest)))
            }
        }
    }

    /// All known values are listed, or none was left to list.
    fn is_complete(&self) -> bool {
        self.dictionary.is_some() || self.other.unwrap_or(0) == 0
    }

    fn known_numbers(&self, path: &str, values: &[f64]) -> Result<Option<Vec<f64>>, ProfileError> {
        let path = format!("{path}.dictionary");
        let rest = match &self.dictionary {
            Some(Dictionary::Numbers(rest)) => rest.clone(),
            Some(Dictionary::Texts(rest)) if rest.is_empty() => Vec::new(),
            Some(Dictionary::Texts(_)) => return Err(wrong(path, "numbers", "texts", REBUILD)),
            None => Vec::new(),
        };
        if !rest.is_empty() {
            check_increasing(&path, &rest, MAX_DICTIONARY)?;
        }
        if let Some(twice) = rest.iter().find(|known| values.contains(known)) {
            return Err(wrong(path, "none of the values that have a bin", twice, REBUILD));
        }
        Ok(self.is_complete().then_some(rest))
    }

    fn known_texts(
        &self,
        path: &str,
        categories: &[String],
    ) -> Result<Option<Vec<String>>, ProfileError> {
        let rest = match &self.dictionary {
            Some(Dictionary::Texts(rest)) => rest.clone(),
            Some(Dictionary::Numbers(rest)) if rest.is_empty() => Vec::new(),
            Some(Dictionary::Numbers(_)) => {
                return Err(wrong(format!("{path}.dictionary"), "texts", "numbers", REBUILD));
            }
            None => Vec::new(),
        };
        check_length(&format!("{path}.categories"), categories.len(), 1, MAX_BINS - 1)?;
        check_length(&format!("{path}.dictionary"), rest.len(), 0, MAX_DICTIONARY)?;
        let mut seen = HashSet::new();
        for text in categories.iter().chain(&rest) {
            if text.len() > MAX_TEXT {
                let expected = format!("texts of at most {MAX_TEXT} bytes");
                return Err(wrong(format!("{path}.categories"), expected, text.len(), REBUILD));
            }
            if !seen.insert(text) {
                let found = format!("'{}' twice", shortened(text));
                return Err(wrong(format!("{path}.categories"), "distinct texts", found, REBUILD));
            }
        }
        Ok(self.is_complete().then_some(rest))
    }

    /// All six numbers, or none.
    fn summary(&self, path: &str) -> Result<Option<Summary>, ProfileError> {
        let fields = [self.min, self.p001, self.p999, self.max, self.mean, self.std];
        let [Some(min), Some(p001), Some(p999), Some(max), Some(mean), Some(std)] = fields else {
            if fields.iter().all(Option::is_none) {
                return Ok(None);
            }
            let expected = "all of min, max, p001, p999, mean and std, or none";
            return Err(wrong(path, expected, "some", REBUILD));
        };
        if fields.iter().flatten().any(|value| !value.is_finite()) || std < 0.0 {
            let expected = "finite min, max, p001, p999 and mean, and std of 0 or more";
            return Err(wrong(path, expected, format!("{fields:?}"), REBUILD));
        }
        if !(min <= p001 && p001 <= p999 && p999 <= max) {
            let expected = "min <= p001 <= p999 <= max";
            return Err(wrong(path, expected, format!("{fields:?}"), REBUILD));
        }
        Ok(Some(Summary { min, max, p001, p999, mean, std }))
    }
}

fn check_rows(
    path: &str,
    column: &Column,
    rows: Option<u64>,
    least: u64,
) -> Result<(), ProfileError> {
    let path = || format!("{path} ('{}').counts", column.name);
    let (binned, seen) = (column.reference.binned(), column.reference.seen());
    if rows.is_some_and(|rows| rows != seen) {
        let rows = rows.unwrap_or_default();
        let expected = format!("{rows} with missing and invalid ones, as source.rows says");
        return Err(wrong(path(), expected, seen, REBUILD));
    }
    if binned < least {
        let expected = format!("at least {least} values (alarm.min_reference_rows)");
        let fix = "use more data; where there is no more, say so with alarm.min_reference_rows";
        return Err(wrong(path(), expected, binned, fix));
    }
    Ok(())
}

fn check_calibration(calibration: &Calibration) -> Result<(), ProfileError> {
    let Calibration { x, y } = calibration;
    check_length("calibration.x", x.len(), 2, MAX_KNOTS)?;
    check_increasing("calibration.x", x, MAX_KNOTS)?;
    if y.len() != x.len() {
        let expected = format!("{} numbers, one for each of x", x.len());
        return Err(wrong("calibration.y", expected, y.len(), REBUILD));
    }
    let are_probabilities = y.iter().all(|y| (0.0..=1.0).contains(y));
    if !are_probabilities || !y.is_sorted() {
        let expected = "probabilities that never fall";
        return Err(wrong("calibration.y", expected, format!("{y:?}"), REBUILD));
    }
    Ok(())
}

fn check_quality(quality: &ReferenceQuality) -> Result<(), ProfileError> {
    check_text("quality.metric", &quality.metric, MAX_NAME)?;
    let ReferenceQuality { value, lower, upper, chunk, .. } = *quality;
    let ordered = lower <= value && value <= upper && lower.is_finite() && upper.is_finite();
    if !ordered || chunk == 0 {
        let expected = "lower <= value <= upper, and chunks of at least one row";
        let found = format!("lower {lower}, value {value}, upper {upper}, chunk {chunk}");
        return Err(wrong("quality", expected, found, REBUILD));
    }
    Ok(())
}

fn check_increasing(path: &str, numbers: &[f64], most: usize) -> Result<(), ProfileError> {
    check_length(path, numbers.len(), 1, most)?;
    if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
        return Err(wrong(path, "finite numbers", number, REBUILD));
    }
    match numbers.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => {
            let found = format!("{} after {}", pair[1], pair[0]);
            Err(wrong(path, "strictly increasing numbers", found, REBUILD))
        }
        None => Ok(()),
    }
}

fn check_length(path: &str, found: usize, least: usize, most: usize) -> Result<(), ProfileError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(wrong(path, format!("{least} to {most} of them"), found, REBUILD))
}

fn check_text(path: &str, text: &str, most: usize) -> Result<(), ProfileError> {
    if (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let expected = format!("1 to {most} characters, none of them a control character");
    Err(wrong(path, expected, format!("'{}'", shortened(text)), "rename it"))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).filter(|c| !c.is_control()).collect()
}

fn wrong(
    path: impl Into<String>,
    expected: impl Into<String>,
    found: impl Display,
    fix: &'static str,
) -> ProfileError {
    let (path, expected, found) = (path.into(), expected.into(), found.to_string());
    ProfileError::Value { path, expected, found, fix }
}
