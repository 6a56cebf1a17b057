//! A prediction, and what of it the path of a request writes.

use super::tensor::TensorRecord;
use super::trace::Trace;
use crate::predictions::schema::SchemaId;
use crate::telemetry::Protocol;
use crate::types::Code;

/// One request, as one version answered it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// When the request came; µs since 1970.
    pub event_time: i64,
    /// What `inputs` and `outputs` mean; [`SchemaId::NONE`] where there are none.
    pub schema: SchemaId,
    pub model: String,
    /// 0 where none was chosen.
    pub version: u64,
    pub request_id: String,
    /// Of the caller's W3C `traceparent`.
    pub trace: Option<Trace>,
    /// Empty for a model without a route.
    pub route: String,
    pub revision: u64,
    /// Of the variant that answered, or the one that was to.
    pub variant: String,
    pub role: Role,
    pub assignment: Assignment,
    /// How likely the unit was to get the variant that it was assigned to.
    pub propensity: f32,
    /// What the split's hash begins with; empty where nothing was split.
    pub salt: String,
    /// Bucket of the split, 0 to 99,999.
    pub bucket: Option<u32>,
    /// HMAC of the key that the variant sticks to.
    pub unit: Option<[u8; 16]>,
    /// The key itself, where the policy allows it.
    pub unit_key: String,
    /// By the policy: as it came, or the HMAC's hexadecimal digits.
    pub principal: String,
    pub protocol: Option<Protocol>,
    /// `None` for a prediction.
    pub code: Option<Code>,
    /// Why it was refused: a reason of `modelgate_rejected_total`.
    pub reason: String,
    /// Microseconds: before the run, of the run, from the request to here.
    pub queue_us: u32,
    pub infer_us: u32,
    pub total_us: u32,
    pub rows: u32,
    /// Rows of the run, others' included.
    pub batch_rows: u32,
    /// Share of its like that is recorded, 0 to 1.
    pub sampling: f32,
    pub inputs: Vec<TensorRecord>,
    pub outputs: Vec<TensorRecord>,
}

/// The fixed part of a prediction, borrowed: what the path of a request has at hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    pub event_time: i64,
    pub schema: SchemaId,
    pub model: &'a str,
    pub version: u64,
    pub request_id: &'a [u8],
    pub trace: Option<Trace>,
    pub route: &'a str,
    pub revision: u64,
    pub variant: &'a [u8],
    pub role: Role,
    pub assignment: Assignment,
    pub propensity: f32,
    pub salt: &'a str,
    pub bucket: Option<u32>,
    pub unit: Option<[u8; 16]>,
    pub unit_key: &'a [u8],
    pub principal: &'a [u8],
    pub protocol: Option<Protocol>,
    pub code: Option<Code>,
    pub reason: &'a str,
    pub queue_us: u32,
    pub infer_us: u32,
    pub total_us: u32,
    pub rows: u32,
    pub batch_rows: u32,
    pub sampling: f32,
}

impl Prediction {
    /// All of it but the tensors, to be encoded again.
    pub fn head(&self) -> Head<'_> {
        Head {
            event_time: self.event_time,
            schema: self.schema,
            model: &self.model,
            version: self.version,
            request_id: self.request_id.as_bytes(),
            trace: self.trace,
            route: &self.route,
            revision: self.revision,
            variant: self.variant.as_bytes(),
            role: self.role,
            assignment: self.assignment,
            propensity: self.propensity,
            salt: &self.salt,
            bucket: self.bucket,
            unit: self.unit,
            unit_key: self.unit_key.as_bytes(),
            principal: self.principal.as_bytes(),
            protocol: self.protocol,
            code: self.code,
            reason: &self.reason,
            queue_us: self.queue_us,
            infer_us: self.infer_us,
            total_us: self.total_us,
            rows: self.rows,
            batch_rows: self.batch_rows,
            sampling: self.sampling,
        }
    }
}

/// Whose answer it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    #[default]
    Primary = 0,
    /// The champion's, in place of another variant that failed or was not ready.
    Fallback = 1,
    /// Of a mirrored request; nobody got it.
    Shadow = 2,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Primary, Role::Fallback, Role::Shadow];

    pub fn label(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Fallback => "fallback",
            Role::Shadow => "shadow",
        }
    }
}

/// What made a variant answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Assignment {
    /// A model without a route, or no variant was chosen.
    #[default]
    None = 0,
    Split = 1,
    Rule = 2,
    Pin = 3,
}

impl Assignment {
    pub const ALL: [Assignment; 4] =
        [Assignment::None, Assignment::Split, Assignment::Rule, Assignment::Pin];

    pub fn label(self) -> &'static str {
        match self {
            Assignment::None => "none",
            Assignment::Split => "split",
            Assignment::Rule => "rule",
            Assignment::Pin => "pin",
        }
    }
}
