//! How a record is shown: on a line for people, or as a line of JSON.

use serde_json::{Value, json};

use super::decode;
use crate::cli::output;
use crate::cli::when;
use crate::predictions::frame::Gap;
use crate::predictions::hash::hex;
use crate::predictions::{Label, Prediction, Schema, Truth};

/// A record, and where it stands.
pub(super) struct Entry {
    /// Microseconds since 1970: of the request, or of when a label came. Of a
    /// gap, the time of what stands before it.
    pub(super) at: i64,
    pub(super) shard: u32,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Prediction(Box<Prediction>),
    Label(Box<Label>),
    Gap(Gap),
}

impl Entry {
    /// One line. What callers sent cannot break it.
    pub(super) fn line(&self) -> String {
        let at = when::show(self.at);
        let text = match &self.what {
            What::Prediction(of) => prediction_line(&at, of),
            What::Label(of) => {
                let (kind, truth) = truth(of);
                format!("{at}  label  {}  row {}  {kind} {}", of.request_id, of.row, shown(&truth))
            }
            What::Gap(of) => {
                let (first, last) =
                    (self.sequence, self.sequence.saturating_add(of.count.saturating_sub(1)));
                let cause = of.cause.label();
                format!(
                    "{at}  gap  {} missing: {cause}  shard {}, {first} to {last}",
                    of.count, self.shard
                )
            }
        };
        output::plain(&text)
    }

    /// With inputs and outputs, decoded where the schema is known.
    pub(super) fn json(&self, schema: Option<&Schema>) -> Value {
        let mut fields = match &self.what {
            What::Prediction(of) => prediction_fields(of, schema),
            What::Label(of) => label_fields(of),
            What::Gap(of) => {
                json!({"record": "gap", "count": of.count, "cause": of.cause.label()})
            }
        };
        fields["shard"] = json!(self.shard);
        fields["epoch"] = json!(self.epoch);
        fields["sequence"] = json!(self.sequence);
        fields
    }
}

fn prediction_line(at: &str, of: &Prediction) -> String {
    let code = of.code.map_or("ok", |code| code.label());
    let variant = if of.variant.is_empty() { "-" } else { &of.variant };
    let mut line = format!(
        "{at}  {}/{}  {variant}  {}  {code}  {}  rows {}  {} us",
        of.model,
        of.version,
        of.role.label(),
        of.request_id,
        of.rows,
        of.total_us
    );
    if !of.reason.is_empty() {
        line.push_str("  ");
        line.push_str(&of.reason);
    }
    line
}

fn prediction_fields(of: &Prediction, schema: Option<&Schema>) -> Value {
    let (inputs, outputs) = decode::sides(schema);
    json!({
        "record": "prediction",
        "event_time": when::show(of.event_time),
        "request_id": of.request_id,
        "model": of.model,
        "version": of.version,
        "route": text(&of.route),
        "route_revision": (!of.route.is_empty()).then_some(of.revision),
        "variant": text(&of.variant),
        "role": of.role.label(),
        "assignment": of.assignment.label(),
        "propensity": decode::single(of.propensity),
        "salt": text(&of.salt),
        "bucket": of.bucket,
        "unit_hash": of.unit.map(|unit| hex(&unit)),
        "unit_key": text(&of.unit_key),
        "principal": text(&of.principal),
        "trace_id": of.trace.map(|trace| hex(&trace.trace)),
        "span_id": of.trace.map(|trace| hex(&trace.span)),
        "protocol": of.protocol.map(|protocol| protocol.label()),
        "code": of.code.map_or("ok", |code| code.label()),
        "reason": text(&of.reason),
        "rows": of.rows,
        "batch_rows": of.batch_rows,
        "queue_us": of.queue_us,
        "infer_us": of.infer_us,
        "total_us": of.total_us,
        "sampling_fraction": decode::single(of.sampling),
        "schema_id": of.schema.to_string(),
        "inputs": decode::tensors(&of.inputs, inputs),
        "outputs": decode::tensors(&of.outputs, outputs),
    })
}

fn label_fields(of: &Label) -> Value {
    let (kind, truth) = truth(of);
    json!({
        "record": "label",
        "request_id": of.request_id,
        "row": of.row,
        "label_time": when::show(of.label_time),
        "recorded_time": when::show(of.recorded_time),
        "kind": kind,
        kind: truth,
        "weight": of.weight,
        "model": text(&of.model),
    })
}

fn truth(of: &Label) -> (&'static str, Value) {
    match &of.truth {
        Truth::Class(class) => ("class", json!(class)),
        Truth::Value(value) => ("value", json!(value)),
        Truth::Reward(reward) => ("reward", json!(reward)),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Null for what is not there.
fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
