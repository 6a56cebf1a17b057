//! The bytes of a prediction: numbers of fixed size, then texts, then tensors.

use bytes::Bytes;

use super::field::{Reader, put_text};
use super::prediction::{Assignment, Head, Prediction, Role};
use super::tensor::tensors;
use super::trace::Trace;
use crate::predictions::schema::SchemaId;
use crate::telemetry::Protocol;
use crate::types::Code;

/// Bytes of numbers at the front of a prediction.
const FIXED: usize = 4 * 8 + 8 * 4 + 4 + 2;
const NO_BUCKET: u32 = u32::MAX;
const HAS_TRACE: u8 = 1;
const HAS_UNIT: u8 = 2;

impl Head<'_> {
    /// Appends the head. Inputs and then outputs follow, each list behind its
    /// length ([`begin_list`](super::begin_list)).
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

impl Prediction {
    /// `None` where the payload is none, or cut short.
    pub fn decode(payload: &Bytes) -> Option<Prediction> {
        let mut read = Reader::new(payload);
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
            inputs: tensors(&mut read)?,
            outputs: tensors(&mut read)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::record::{
        Form, Statistics, begin_list, begin_rows, end_data, end_list, put_digest, put_raw,
    };
    use crate::types::DType;

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
}
