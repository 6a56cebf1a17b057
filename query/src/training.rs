//! `export --for-training`: a row for each labelled prediction, with its weight.

use clap::{Args, ValueEnum};
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use datafusion::prelude::SessionContext;

use crate::columns::quoted;
use crate::filters::Filters;
use crate::{QueryError, engine, export, matched};

#[derive(Args, Debug)]
pub struct Training {
    /// Only predictions that succeeded and have a label; with the label and a weight
    #[arg(long)]
    for_training: bool,
    /// Labels of this kind; needed where rows have labels of several kinds
    #[arg(long, value_enum, requires = "for_training")]
    label: Option<Kind>,
    /// Divide weights by the probability of the variant as well
    #[arg(long, requires = "for_training")]
    inverse_propensity: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Class,
    Value,
    Reward,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Class, Kind::Value, Kind::Reward];

    fn label(self) -> &'static str {
        match self {
            Kind::Class => "class",
            Kind::Value => "value",
            Kind::Reward => "reward",
        }
    }

    /// The column that holds labels of the kind.
    fn column(self) -> &'static str {
        if self == Kind::Class { "label_class" } else { "label_value" }
    }
}

/// What stands before the features.
const LEADING: [&str; 8] =
    ["event_time", "request_id", "row", "model", "version", "route", "variant", "role"];

/// Of the count of what there is, by what becomes of it.
struct Found {
    predictions: i64,
    failed: i64,
    shadows: i64,
    unlabelled: i64,
    without_propensity: i64,
    /// Estimated: each recorded prediction stands for 1 / fraction.
    unsampled: f64,
    kinds: Vec<Kind>,
}

impl Training {
    pub fn is_asked_for(&self) -> bool {
        self.for_training
    }

    /// The query for the training set; what it leaves out is told.
    ///
    /// # Errors
    /// Where the labels are of several kinds and none was chosen, or none is there.
    pub async fn select(
        &self,
        context: &SessionContext,
        filters: &Filters,
    ) -> Result<String, QueryError> {
        let labels = match self.label {
            Some(kind) => format!("kind = '{}'", kind.label()),
            None => "true".to_owned(),
        };
        let found = self.count(context, &labels, filters).await?;
        found.tell(self.inverse_propensity);
        let kind = match found.kinds.as_slice() {
            [kind] => *kind,
            [] => return Err(QueryError::Refused("no prediction has a label".to_owned())),
            several => {
                let names: Vec<&str> = several.iter().map(|kind| kind.label()).collect();
                let names = names.join(", ");
                let reason = format!("labels are of several kinds: {names}; choose one by --label");
                return Err(QueryError::Refused(reason));
            }
        };
        let columns = export::columns(context).await?;
        let is_tensor = |name: &&String| name.starts_with("f.") || name.starts_with("o.");
        let tensors = columns.iter().filter(is_tensor).map(|name| quoted(name));
        let shown = LEADING.into_iter().map(quoted).chain(tensors).collect::<Vec<_>>().join(", ");
        let matched = matched::with_labels(&columns, &self.wanted(filters), &labels);
        let propensity = if self.inverse_propensity { " / CAST(propensity AS DOUBLE)" } else { "" };
        let has_propensity = if self.inverse_propensity { "propensity > 0" } else { "true" };
        let (label, order) = (kind.column(), matched::BY_TIME);
        Ok(format!(
            "SELECT {shown}, {label} AS label, label_time,
                label_weight / CAST(sampling_fraction AS DOUBLE){propensity} AS weight
            FROM ({matched}) WHERE label_kind IS NOT NULL AND {has_propensity} ORDER BY {order}"
        ))
    }

    /// What succeeded and reached its caller. A shadow's row has the same features
    /// and would count twice; it is there where it is asked for.
    fn wanted(&self, filters: &Filters) -> String {
        let role = if filters.role.is_some() { "true" } else { "role <> 'shadow'" };
        format!("code = 'ok' AND {role}")
    }

    async fn count(
        &self,
        context: &SessionContext,
        labels: &str,
        filters: &Filters,
    ) -> Result<Found, QueryError> {
        let columns = ["epoch", "shard", "sequence", "row", "code", "role", "sampling_fraction"];
        let columns: Vec<String> =
            columns.into_iter().chain(["propensity"]).map(str::to_owned).collect();
        let (wanted, rows) = (self.wanted(filters), matched::with_labels(&columns, "true", labels));
        let sql = format!(
            "SELECT count(*),
                count(*) FILTER (WHERE code <> 'ok'),
                count(*) FILTER (WHERE code = 'ok' AND NOT ({wanted})),
                count(*) FILTER (WHERE {wanted} AND label_kind IS NULL),
                count(*) FILTER (WHERE {wanted} AND label_kind IS NOT NULL
                    AND (propensity IS NULL OR propensity <= 0)),
                coalesce(sum(1 / CAST(sampling_fraction AS DOUBLE) - 1) FILTER (WHERE {wanted}), 0),
                count(*) FILTER (WHERE {wanted} AND label_kind = 'class'),
                count(*) FILTER (WHERE {wanted} AND label_kind = 'value'),
                count(*) FILTER (WHERE {wanted} AND label_kind = 'reward')
            FROM ({rows})"
        );
        let row = engine::one_row(context, &sql).await?;
        let count = |column: usize| row.column(column).as_primitive::<Int64Type>().value(0);
        let kinds = Kind::ALL.into_iter().zip(6..).filter(|(_, column)| count(*column) > 0);
        Ok(Found {
            predictions: count(0),
            failed: count(1),
            shadows: count(2),
            unlabelled: count(3),
            without_propensity: count(4),
            unsampled: row.column(5).as_primitive::<Float64Type>().value(0),
            kinds: kinds.map(|(kind, _)| kind).collect(),
        })
    }
}

impl Found {
    fn tell(&self, needs_propensity: bool) {
        println!("{} predictions in the log; left out:", self.predictions);
        println!("  {} that failed", self.failed);
        println!("  {} of shadows", self.shadows);
        println!("  {} without a label", self.unlabelled);
        if needs_propensity {
            println!("  {} with a label but no propensity", self.without_propensity);
        }
        println!("  about {:.0} that sampling did not record", self.unsampled);
    }
}
