//! The payloads of records, and their bytes.
//!
//! A prediction is one request as one version answered it, or failed to: its
//! rows become rows of Parquet later. Encoding appends to a buffer and
//! allocates nothing else; decoding borrows nothing and believes no length.

use bytes::Bytes;
use smallvec::SmallVec;

use super::schema::SchemaId;
use crate::telemetry::Protocol;
use crate::types::{Code, DType};

/// Longest text of a record; longer ones are cut.
const MAX_TEXT: usize = u8::MAX as usize;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub trace: [u8; 16],
    pub span: [u8; 8],
}

impl Trace {
    /// Reads a W3C `traceparent`: version, trace, parent and flags in hexadecimal digits.
    pub fn parse(header: &[u8]) -> Option<Trace> {
        fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
            let mut bytes = [0; N];
            for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
                let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
                *byte = u8::try_from(high? * 16 + low?).ok()?;
            }
            // All zeros is how none is written.
            (bytes != [0; N]).then_some(bytes)
        }
        let (head, rest) = header.split_at_checked(55)?;
        let is_framed = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
        let is_known = rest.is_empty() || rest[0] == b'-';
        if !is_framed || !is_known {
            return None;
        }
        Some(Trace { trace: bytes(&head[3..35])?, span: bytes(&head[36..52])? })
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

/// One tensor of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorRecord {
    /// Place in the schema's inputs or outputs.
    pub index: u16,
    pub dtype: DType,
    pub shape: SmallVec<[i64; 4]>,
    pub form: Form,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// The protocol's binary form: elements packed little-endian; texts behind a `u32` length.
    Raw(Bytes),
    /// Row by row the columns that the schema does not drop: as in `Raw`, but
    /// `Hash` is 16 bytes, and `Bin` a `u16`.
    Rows(Bytes),
    Digest(Statistics),
}

/// What is kept of a tensor that is too large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// XXH3-64 of its bytes.
    pub digest: u64,
    /// Of its finite numbers; NaN where it has none.
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    /// Of the population.
    pub std: f64,
    pub non_finite: u64,
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

/// What is known of a prediction once it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub request_id: String,
    /// Row of the request.
    pub row: u32,
    /// When the truth became known; µs since 1970.
    pub label_time: i64,
    /// When it came here.
    pub recorded_time: i64,
    pub truth: Truth,
    pub weight: f64,
    /// Empty where the caller did not say and the prediction is not known here.
    pub model: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// A class, as its label reads.
    Class(String),
    /// A number: of a regression, or a class that is numbered.
    Value(f64),
    /// How good the answer was, of a bandit or of a person.
    Reward(f64),
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

/// Bytes of numbers at the front of a prediction.
const FIXED: usize = 4 * 8 + 8 * 4 + 4 + 2;
const NO_BUCKET: u32 = u32::MAX;
const HAS_TRACE: u8 = 1;
const HAS_UNIT: u8 = 2;

impl Head<'_> {
    /// Appends the head. Inputs and then outputs follow, each list behind its
    /// length ([`begin_list`]).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut fixed = [0; FIXED];
        let mut rest = fixed.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            let (now, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            now.copy_from_slice(bytes);
            rest = after;
        };
        put(&self.event_time.to_le_bytes());
        put(&self.schema.0.to_le_bytes());
        put(&self.version.to_le_bytes());
        put(&self.revision.to_le_bytes());
        put(&self.propensity.to_le_bytes());
        put(&self.sampling.to_le_bytes());
        put(&self.bucket.unwrap_or(NO_BUCKET).to_le_bytes());
        for number in [self.queue_us, self.infer_us, self.total_us, self.rows, self.batch_rows] {
            put(&number.to_le_bytes());
        }
        let protocol = self.protocol.map_or(u8::MAX, |protocol| protocol as u8);
        let code = self.code.map_or(u8::MAX, |code| code as u8);
        put(&[self.role as u8, self.assignment as u8, protocol, code]);
        let flags = if self.trace.is_some() { HAS_TRACE } else { 0 }
            | if self.unit.is_some() { HAS_UNIT } else { 0 };
        put(&[flags, 0]);
        out.extend_from_slice(&fixed);
        if let Some(Trace { trace, span }) = &self.trace {
            out.extend_from_slice(trace);
            out.extend_from_slice(span);
        }
        if let Some(unit) = &self.unit {
            out.extend_from_slice(unit);
        }
        for text in [
            self.model.as_bytes(),
            self.request_id,
            self.route.as_bytes(),
            self.variant,
            self.salt.as_bytes(),
            self.unit_key,
            self.principal,
            self.reason.as_bytes(),
        ] {
            put_text(out, text);
        }
    }
}

/// Appends the length of a list of tensors, to be set once it is known.
pub fn begin_list(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 2]);
    out.len() - 2
}

/// Sets the length of the list that begins at `at`.
pub fn end_list(out: &mut [u8], at: usize, count: u16) {
    out[at..at + 2].copy_from_slice(&count.to_le_bytes());
}

const RAW: u8 = 1;
const ROWS: u8 = 2;
const DIGEST: u8 = 3;

/// Appends what stands before the data of a tensor. Data of a length that is
/// not known yet is ended by [`end_data`] with what this returns.
pub fn begin_tensor(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64], form: u8) -> usize {
    out.extend_from_slice(&index.to_le_bytes());
    // Ranks are at most 8.
    out.extend_from_slice(&[dtype as u8, form, shape.len() as u8, 0]);
    for size in shape {
        out.extend_from_slice(&size.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Sets the length of the data that begins at `at` and ends here.
pub fn end_data(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at - 4..at].copy_from_slice(&length.to_le_bytes());
}

/// Appends a whole tensor as it came.
pub fn put_raw(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64], data: &[u8]) {
    let at = begin_tensor(out, index, dtype, shape, RAW);
    out.extend_from_slice(data);
    end_data(out, at);
}

/// Begins a tensor of rewritten rows; ended by [`end_data`].
pub fn begin_rows(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64]) -> usize {
    begin_tensor(out, index, dtype, shape, ROWS)
}

pub fn put_digest(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64], of: &Statistics) {
    let at = begin_tensor(out, index, dtype, shape, DIGEST);
    out.extend_from_slice(&of.digest.to_le_bytes());
    for number in [of.min, of.max, of.mean, of.std] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&of.non_finite.to_le_bytes());
    end_data(out, at);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(MAX_TEXT)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
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

    /// `None` where the payload is none, or cut short.
    pub fn decode(payload: &Bytes) -> Option<Prediction> {
        let mut read = Reader { payload, at: 0 };
        let event_time = read.i64()?;
        let schema = SchemaId(read.u64()?);
        let version = read.u64()?;
        let revision = read.u64()?;
        let propensity = f32::from_bits(read.u32()?);
        let sampling = f32::from_bits(read.u32()?);
        let bucket = Some(read.u32()?).filter(|bucket| *bucket != NO_BUCKET);
        let [queue_us, infer_us, total_us, rows, batch_rows] =
            [read.u32()?, read.u32()?, read.u32()?, read.u32()?, read.u32()?];
        let [role, assignment, protocol, code, flags, _] = *read.take(6)?.first_chunk()?;
        let trace = match flags & HAS_TRACE {
            0 => None,
            _ => Some(Trace {
                trace: *read.take(16)?.first_chunk()?,
                span: *read.take(8)?.first_chunk()?,
            }),
        };
        let unit = match flags & HAS_UNIT {
            0 => None,
            _ => Some(*read.take(16)?.first_chunk()?),
        };
        Some(Prediction {
            event_time,
            schema,
            version,
            revision,
            propensity,
            sampling,
            bucket,
            queue_us,
            infer_us,
            total_us,
            rows,
            batch_rows,
            role: *Role::ALL.get(usize::from(role))?,
            assignment: *Assignment::ALL.get(usize::from(assignment))?,
            protocol: Protocol::ALL.get(usize::from(protocol)).copied(),
            code: Code::ALL.get(usize::from(code)).copied(),
            trace,
            unit,
            model: read.text()?,
            request_id: read.text()?,
            route: read.text()?,
            variant: read.text()?,
            salt: read.text()?,
            unit_key: read.text()?,
            principal: read.text()?,
            reason: read.text()?,
            inputs: read.tensors()?,
            outputs: read.tensors()?,
        })
    }
}

const CLASS: u8 = 1;
const VALUE: u8 = 2;
const REWARD: u8 = 3;

impl Label {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.label_time.to_le_bytes());
        out.extend_from_slice(&self.recorded_time.to_le_bytes());
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&self.row.to_le_bytes());
        let (kind, number, class) = match &self.truth {
            Truth::Class(class) => (CLASS, 0.0, class.as_str()),
            Truth::Value(value) => (VALUE, *value, ""),
            Truth::Reward(reward) => (REWARD, *reward, ""),
        };
        out.push(kind);
        out.extend_from_slice(&f64::to_le_bytes(number));
        for text in [class, &self.request_id, &self.model] {
            put_text(out, text.as_bytes());
        }
    }

    /// `None` where the payload is none, or cut short.
    pub fn decode(payload: &Bytes) -> Option<Label> {
        let mut read = Reader { payload, at: 0 };
        let (label_time, recorded_time) = (read.i64()?, read.i64()?);
        let weight = f64::from_bits(read.u64()?);
        let row = read.u32()?;
        let kind = read.take(1)?[0];
        let number = f64::from_bits(read.u64()?);
        let class = read.text()?;
        let truth = match kind {
            CLASS => Truth::Class(class),
            VALUE => Truth::Value(number),
            REWARD => Truth::Reward(number),
            _ => return None,
        };
        let (request_id, model) = (read.text()?, read.text()?);
        Some(Label { request_id, row, label_time, recorded_time, truth, weight, model })
    }
}

struct Reader<'a> {
    payload: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.payload.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(*self.take(2)?.first_chunk()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(self.u64()?.cast_signed())
    }

    fn f64(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.u64()?))
    }

    /// Texts of headers may hold any byte.
    fn text(&mut self) -> Option<String> {
        let length = self.take(1)?[0];
        Some(String::from_utf8_lossy(self.take(usize::from(length))?).into_owned())
    }

    fn tensors(&mut self) -> Option<Vec<TensorRecord>> {
        let count = self.u16()?;
        (0..count).map(|_| self.tensor()).collect()
    }

    fn tensor(&mut self) -> Option<TensorRecord> {
        let index = self.u16()?;
        let [dtype, form, rank, _] = *self.take(4)?.first_chunk()?;
        let dtype = *DType::ALL.get(usize::from(dtype))?;
        let shape = (0..rank).map(|_| self.i64()).collect::<Option<_>>()?;
        let length = self.u32()? as usize;
        let start = self.at;
        self.take(length)?;
        let form = match form {
            RAW => Form::Raw(self.payload.slice(start..self.at)),
            ROWS => Form::Rows(self.payload.slice(start..self.at)),
            DIGEST => {
                let mut read = Reader { payload: self.payload, at: start };
                Form::Digest(Statistics {
                    digest: read.u64()?,
                    min: read.f64()?,
                    max: read.f64()?,
                    mean: read.f64()?,
                    std: read.f64()?,
                    non_finite: read.u64()?,
                })
            }
            _ => return None,
        };
        Some(TensorRecord { index, dtype, shape, form })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head<'static> {
        Head {
            event_time: -1,
            schema: SchemaId(7),
            model: "fraud",
            version: 3,
            request_id: b"r-1",
            trace: Some(Trace { trace: [1; 16], span: [2; 8] }),
            route: "fraud",
            revision: 9,
            variant: b"candidate",
            role: Role::Fallback,
            assignment: Assignment::Split,
            propensity: 0.05,
            salt: "fraud/r-01/split",
            bucket: Some(99_999),
            unit: Some([3; 16]),
            unit_key: b"user-1",
            principal: b"",
            protocol: Some(Protocol::Grpc),
            code: Some(Code::Internal),
            reason: "limit",
            queue_us: 1,
            infer_us: 2,
            total_us: 3,
            rows: 4,
            batch_rows: 5,
            sampling: 0.5,
        }
    }

    fn payload() -> Vec<u8> {
        let mut out = Vec::new();
        head().encode(&mut out);
        let list = begin_list(&mut out);
        put_raw(&mut out, 0, DType::Fp32, &[1, 2], &[0; 8]);
        let at = begin_rows(&mut out, 1, DType::Bytes, &[1]);
        out.extend_from_slice(&[9; 16]);
        end_data(&mut out, at);
        end_list(&mut out, list, 2);
        let list = begin_list(&mut out);
        let statistics = Statistics { digest: 5, mean: 0.5, ..Statistics::default() };
        put_digest(&mut out, 0, DType::Fp64, &[3, 224, 224], &statistics);
        end_list(&mut out, list, 1);
        out
    }

    #[test]
    fn a_prediction_comes_back() {
        let found = Prediction::decode(&Bytes::from(payload())).expect("a record");
        assert_eq!((found.model.as_str(), found.version), ("fraud", 3));
        assert_eq!((found.role, found.code), (Role::Fallback, Some(Code::Internal)));
        assert_eq!((found.bucket, found.unit), (Some(99_999), Some([3; 16])));
        assert_eq!(found.inputs[0].form, Form::Raw(Bytes::from_static(&[0; 8])));
        assert_eq!(found.inputs[1].form, Form::Rows(Bytes::from_static(&[9; 16])));
        assert!(matches!(found.outputs[0].form, Form::Digest(of) if of.digest == 5));
        assert_eq!(found.outputs[0].shape.as_slice(), [3, 224, 224]);
    }

    #[test]
    fn what_is_cut_short_is_no_record() {
        let whole = payload();
        for length in 0..whole.len() {
            assert_eq!(Prediction::decode(&Bytes::copy_from_slice(&whole[..length])), None);
        }
    }

    #[test]
    fn a_traceparent_is_read() {
        let header = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let found = Trace::parse(header).expect("a trace");
        assert_eq!((found.trace[0], found.trace[15], found.span[7]), (0x4b, 0x36, 0xb7));
        for bad in [
            &b""[..],
            &header[..54],
            b"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(bad), None);
        }
    }

    #[test]
    fn labels_come_back() {
        for truth in [Truth::Class("cat".to_owned()), Truth::Value(-2.5), Truth::Reward(1.0)] {
            let label = Label {
                request_id: "r-1".to_owned(),
                row: 2,
                label_time: 5,
                recorded_time: 6,
                truth,
                weight: 0.25,
                model: String::new(),
            };
            let mut out = Vec::new();
            label.encode(&mut out);
            assert_eq!(Label::decode(&Bytes::from(out.clone())).as_ref(), Some(&label));
            assert_eq!(Label::decode(&Bytes::from(out[..out.len() - 1].to_vec())), None);
        }
    }
}
