//! Inference requests and answers as protobuf messages.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::mem;

use bytes::Bytes;
use smallvec::SmallVec;

use super::pb::infer_parameter::ParameterChoice;
use super::pb::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::pb::model_infer_response::InferOutputTensor;
use super::pb::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use super::{AnswerView, DecodeLimits, rules};
use crate::types::{
    DType, InferError, InferRequest, InputTensor, Parameter, Payload, RequestedOutput, Shape,
    Tensor,
};

/// Decodes a request. Names borrow from `message`; its tensor data is moved
/// out, raw data without a copy.
pub fn decode_infer<'a>(
    message: &'a mut ModelInferRequest,
    limits: &DecodeLimits,
) -> Result<InferRequest<'a>, InferError> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents, .. } = message;
    rules::check_id(id)?;
    rules::check_count("inputs", inputs.len(), limits.max_inputs)?;
    rules::check_count("outputs", outputs.len(), limits.max_outputs)?;
    let raw = mem::take(raw_input_contents);
    check_raw_count(&raw, inputs)?;
    // Filled in place: moving a request costs more than most of its checks.
    let mut request = InferRequest { id: Cow::Borrowed(id), ..InferRequest::default() };
    let mut decoded = SmallVec::new();
    let mut raw = raw.into_iter();
    for input in inputs {
        decoded.push(decode_input(input, raw.next(), limits)?);
    }
    for output in outputs {
        request.outputs.push(decode_output(output, limits)?);
    }
    rules::check_unique(&decoded, &request.outputs)?;
    request.payload = Payload::Inputs(decoded);
    take_parameters("request", parameters, limits, |name, value| {
        rules::take_request_parameter(&mut request, Cow::Borrowed(name), value)
    })?;
    Ok(request)
}

/// Raw data is given for all inputs or for none.
fn check_raw_count(raw: &[Bytes], inputs: &[InferInputTensor]) -> Result<(), InferError> {
    if raw.is_empty() {
        return Ok(());
    }
    if let Some(input) = inputs.iter().find(|input| input.contents.is_some()) {
        return Err(InferError::invalid(format!(
            "input {}: contents must not be set in a request with raw_input_contents",
            rules::quoted(&input.name)
        )));
    }
    if raw.len() != inputs.len() {
        return Err(InferError::invalid(format!(
            "expected {} raw_input_contents, one for each input, got {}",
            inputs.len(),
            raw.len()
        )));
    }
    Ok(())
}

/// One input or output, as errors name it.
#[derive(Clone, Copy)]
struct Named<'a>(&'static str, &'a str);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, rules::quoted(self.1))
    }
}

fn decode_input<'a>(
    input: &'a mut InferInputTensor,
    raw: Option<Bytes>,
    limits: &DecodeLimits,
) -> Result<InputTensor<'a>, InferError> {
    let InferInputTensor { name, datatype, shape, parameters, contents } = input;
    let place = Named("input", name);
    // KServe's client also sends binary_data_size here, where it means nothing.
    take_parameters(place, parameters, limits, |name, _| {
        rules::check_input_parameter(place, name)
    })?;
    let dtype = rules::dtype(place, datatype)?;
    let shape = rules::shape(place, shape.iter().copied(), limits)?;
    let data = match (raw, contents.take()) {
        (Some(raw), _) => raw,
        (None, Some(contents)) => pack(place, dtype, &shape, &contents)?,
        (None, None) if shape.elements() == 0 => Bytes::new(),
        (None, None) => {
            return Err(InferError::invalid(format!(
                "{place}: expected raw_input_contents or contents, got neither"
            )));
        }
    };
    let tensor = Tensor::new(dtype, shape, data)
        .map_err(|error| InferError::invalid(format!("{place}: {error}")))?;
    Ok(InputTensor { name: Cow::Borrowed(name), tensor })
}

fn decode_output<'a>(
    output: &'a InferRequestedOutputTensor,
    limits: &DecodeLimits,
) -> Result<RequestedOutput<'a>, InferError> {
    let mut decoded =
        RequestedOutput { name: Cow::Borrowed(&output.name), ..RequestedOutput::default() };
    let place = Named("output", &output.name);
    take_parameters(place, &output.parameters, limits, |name, value| {
        rules::take_output_parameter(&mut decoded, place, name, &value)
    })?;
    Ok(decoded)
}

/// Hands each parameter to `take`.
fn take_parameters<'a>(
    place: impl Display,
    parameters: &'a BTreeMap<String, InferParameter>,
    limits: &DecodeLimits,
    mut take: impl FnMut(&'a str, Parameter<'a>) -> Result<(), InferError>,
) -> Result<(), InferError> {
    rules::check_count("parameters", parameters.len(), limits.max_parameters)?;
    for (name, value) in parameters {
        let Some(value) = decode_parameter(value) else {
            let name = rules::quoted(name);
            return Err(InferError::invalid(format!("{place}: parameter {name} has no value")));
        };
        take(name, value)?;
    }
    Ok(())
}

fn decode_parameter(parameter: &InferParameter) -> Option<Parameter<'_>> {
    parameter.parameter_choice.as_ref().map(|choice| match choice {
        ParameterChoice::BoolParam(value) => Parameter::Bool(*value),
        ParameterChoice::Int64Param(value) => Parameter::Int(*value),
        ParameterChoice::StringParam(value) => Parameter::Text(Cow::Borrowed(value)),
        ParameterChoice::DoubleParam(value) => Parameter::Double(*value),
        ParameterChoice::Uint64Param(value) => Parameter::Uint(*value),
    })
}

/// Packs the elements of the field that belongs to `dtype`.
fn pack(
    place: Named<'_>,
    dtype: DType,
    shape: &Shape,
    contents: &InferTensorContents,
) -> Result<Bytes, InferError> {
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    let fields = [
        ("bool_contents", bool_contents.len()),
        ("int_contents", int_contents.len()),
        ("int64_contents", int64_contents.len()),
        ("uint_contents", uint_contents.len()),
        ("uint64_contents", uint64_contents.len()),
        ("fp32_contents", fp32_contents.len()),
        ("fp64_contents", fp64_contents.len()),
        ("bytes_contents", bytes_contents.len()),
    ];
    let Some(field) = field_of(dtype) else {
        return Err(raw_only(place, dtype));
    };
    if let Some((other, _)) = fields.iter().find(|(name, elements)| *name != field && *elements > 0)
    {
        return Err(InferError::invalid(format!(
            "{place}: unexpected explicit tensor data: {dtype} belongs in {field}, got {other}"
        )));
    }
    let elements = fields.iter().map(|(_, elements)| elements).sum();
    rules::check_elements(place, shape, elements)?;
    match dtype {
        DType::Bool => Ok(bool_contents.iter().map(|value| u8::from(*value)).collect()),
        DType::Int8 => narrow(place, dtype, int_contents, i8::to_le_bytes),
        DType::Int16 => narrow(place, dtype, int_contents, i16::to_le_bytes),
        DType::Int32 => narrow(place, dtype, int_contents, i32::to_le_bytes),
        DType::Int64 => narrow(place, dtype, int64_contents, i64::to_le_bytes),
        DType::Uint8 => narrow(place, dtype, uint_contents, u8::to_le_bytes),
        DType::Uint16 => narrow(place, dtype, uint_contents, u16::to_le_bytes),
        DType::Uint32 => narrow(place, dtype, uint_contents, u32::to_le_bytes),
        DType::Uint64 => narrow(place, dtype, uint64_contents, u64::to_le_bytes),
        DType::Fp32 => narrow(place, dtype, fp32_contents, f32::to_le_bytes),
        DType::Fp64 => narrow(place, dtype, fp64_contents, f64::to_le_bytes),
        DType::Bytes => pack_strings(place, bytes_contents),
        DType::Fp16 | DType::Bf16 => Err(raw_only(place, dtype)),
    }
}

fn raw_only(place: Named<'_>, dtype: DType) -> InferError {
    InferError::invalid(format!("{place}: {dtype} data must be sent in raw_input_contents"))
}

/// The field for elements of `dtype`; `None` where only raw data will do.
fn field_of(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::Bool => Some("bool_contents"),
        DType::Int8 | DType::Int16 | DType::Int32 => Some("int_contents"),
        DType::Int64 => Some("int64_contents"),
        DType::Uint8 | DType::Uint16 | DType::Uint32 => Some("uint_contents"),
        DType::Uint64 => Some("uint64_contents"),
        DType::Fp32 => Some("fp32_contents"),
        DType::Fp64 => Some("fp64_contents"),
        DType::Bytes => Some("bytes_contents"),
        DType::Fp16 | DType::Bf16 => None,
    }
}

/// Packs `elements` as the type whose bytes `encode` gives, which may be
/// narrower than the field's.
fn narrow<Wide, Narrow, const N: usize>(
    place: Named<'_>,
    dtype: DType,
    elements: &[Wide],
    encode: impl Fn(Narrow) -> [u8; N],
) -> Result<Bytes, InferError>
where
    Wide: Copy + Display,
    Narrow: TryFrom<Wide>,
{
    let mut packed = Vec::with_capacity(elements.len() * N);
    for (index, element) in elements.iter().enumerate() {
        let Ok(value) = Narrow::try_from(*element) else {
            return Err(InferError::invalid(format!(
                "{place}: element {index}: {element} is outside the range of {dtype}"
            )));
        };
        packed.extend_from_slice(&encode(value));
    }
    Ok(Bytes::from(packed))
}

fn pack_strings(place: Named<'_>, elements: &[Bytes]) -> Result<Bytes, InferError> {
    let size = elements.iter().map(|element| element.len() + 4).sum();
    let mut packed = Vec::with_capacity(size);
    for element in elements {
        let Ok(length) = u32::try_from(element.len()) else {
            return Err(InferError::invalid(format!("{place}: an element is longer than 4 GiB")));
        };
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(element);
    }
    Ok(Bytes::from(packed))
}

/// Encodes an answer, always with one raw entry per output, which shares the
/// output's memory.
pub fn encode_infer(answer: &AnswerView<'_>) -> ModelInferResponse {
    let outputs = answer.outputs.iter().map(|output| InferOutputTensor {
        name: output.name.as_ref().to_owned(),
        datatype: output.tensor.dtype().name().to_owned(),
        shape: output.tensor.shape().dims().to_vec(),
        parameters: BTreeMap::new(),
        contents: None,
    });
    let parameters = answer.parameters.iter();
    ModelInferResponse {
        model_name: answer.model_name.to_owned(),
        model_version: answer.model_version.to_owned(),
        id: answer.id.to_owned(),
        parameters: parameters
            .map(|(name, value)| ((*name).to_owned(), encode_parameter(value)))
            .collect(),
        outputs: outputs.collect(),
        raw_output_contents: answer
            .outputs
            .iter()
            .map(|output| output.tensor.data().clone())
            .collect(),
    }
}

fn encode_parameter(value: &Parameter<'_>) -> InferParameter {
    let choice = match value {
        Parameter::Bool(value) => ParameterChoice::BoolParam(*value),
        Parameter::Int(value) => ParameterChoice::Int64Param(*value),
        Parameter::Uint(value) => ParameterChoice::Uint64Param(*value),
        Parameter::Double(value) => ParameterChoice::DoubleParam(*value),
        Parameter::Text(value) => ParameterChoice::StringParam(value.as_ref().to_owned()),
    };
    InferParameter { parameter_choice: Some(choice) }
}
