//! Inference requests and answers as JSON, alone or followed by binary data.

use std::borrow::Cow;

use bytes::Bytes;
use jiter::Peek;
use smallvec::SmallVec;

use super::DecodeLimits;
use super::json_data::{self, DataValue};
use super::json_reader::{Place, Reader, not_json};
use super::rules;
use crate::types::{
    DType, InferError, InferRequest, InputTensor, Parameter, Payload, RequestedOutput, Shape,
    Tensor,
};

pub use super::json_write::{Encoded, encode_infer};

/// Header that says where the JSON ends and the binary data begins.
pub const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

/// Decodes the body of an inference request. `header_length` is the value of
/// [`HEADER_LENGTH`]: without it the whole body is JSON, with 0 the whole body
/// is the raw data of one input, else binary data follows that much JSON.
/// Tensors that came as binary data share the body's memory.
pub fn decode_infer<'a>(
    body: &'a Bytes,
    header_length: Option<usize>,
    limits: &DecodeLimits,
) -> Result<InferRequest<'a>, InferError> {
    if header_length == Some(0) {
        let payload = Payload::Raw(body.clone());
        return Ok(InferRequest { payload, binary_output: true, ..InferRequest::default() });
    }
    let json_length = header_length.unwrap_or(body.len());
    let Some(json) = body.get(..json_length) else {
        return Err(InferError::invalid(format!(
            "{HEADER_LENGTH} is {json_length}, but the body has only {} bytes",
            body.len()
        )));
    };
    let text = std::str::from_utf8(json).map_err(|error| {
        InferError::invalid(format!("the body is not valid UTF-8 at byte {}", error.valid_up_to()))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(InferError::invalid(
            "expected a JSON object with the request's inputs, got an empty body",
        ));
    }
    let binary = header_length.map(|_| body.slice(json_length..));
    let mut request = InferRequest::default();
    Decoder { reader: Reader::new(text), binary, limits: *limits }.request(&mut request)?;
    Ok(request)
}

struct Decoder<'a> {
    reader: Reader<'a>,
    /// The binary data not yet given to an input; `None` where the whole body is JSON.
    binary: Option<Bytes>,
    limits: DecodeLimits,
}

/// The data of an input, as far as it can be read when its key comes.
enum Data {
    Packed(Bytes),
    /// Datatype or shape are still to come: the value begins here.
    Later(usize),
}

impl<'a> Decoder<'a> {
    /// Fills `request` in place, since moving one costs more than reading most of its keys.
    fn request(mut self, request: &mut InferRequest<'a>) -> Result<(), InferError> {
        let mut inputs = SmallVec::new();
        let [mut seen_id, mut seen_inputs, mut seen_outputs, mut seen_parameters] = [false; 4];
        let mut key = self.reader.first_key(Place::Body)?;
        while let Some(name) = key {
            match &*name {
                "inputs" => {
                    first(&mut seen_inputs, Place::Field("inputs"))?;
                    self.inputs(&mut inputs)?;
                }
                "outputs" => {
                    first(&mut seen_outputs, Place::Field("outputs"))?;
                    self.outputs(&mut request.outputs)?;
                }
                "id" => {
                    first(&mut seen_id, Place::Field("id"))?;
                    request.id = self.id()?;
                }
                "parameters" => {
                    first(&mut seen_parameters, Place::Field("parameters"))?;
                    self.parameters(Place::Field("parameters"), |name, value| {
                        rules::take_request_parameter(request, name, value)
                    })?;
                }
                _ => self.reader.skip()?,
            }
            key = self.reader.next_key()?;
        }
        self.reader.finish()?;
        if !seen_inputs {
            return Err(InferError::invalid("the body has no inputs"));
        }
        rules::check_unique(&inputs, &request.outputs)?;
        request.payload = Payload::Inputs(inputs);
        match self.binary {
            Some(left) if !left.is_empty() => Err(InferError::invalid(format!(
                "unexpected additional input data: {} bytes follow the data of the last input",
                left.len()
            ))),
            _ => Ok(()),
        }
    }

    fn id(&mut self) -> Result<Cow<'a, str>, InferError> {
        if self.reader.null()? {
            return Ok(Cow::default());
        }
        let id = self.reader.string(Place::Field("id"))?;
        rules::check_id(&id)?;
        Ok(id)
    }

    fn inputs(&mut self, inputs: &mut SmallVec<[InputTensor<'a>; 2]>) -> Result<(), InferError> {
        let mut more = self.reader.first_item(Place::Field("inputs"))?;
        while more {
            rules::check_count("inputs", inputs.len() + 1, self.limits.max_inputs)?;
            inputs.push(self.input(inputs.len())?);
            more = self.reader.next_item()?;
        }
        Ok(())
    }

    fn input(&mut self, index: usize) -> Result<InputTensor<'a>, InferError> {
        let at = |field| Place::ItemField("inputs", index, field);
        let item = Place::Item("inputs", index);
        let (mut name, mut dtype, mut shape) = (None, None, None);
        let (mut data, mut binary_size) = (None, None);
        let mut key = self.reader.first_key(item)?;
        while let Some(field) = key {
            match &*field {
                "name" => once(&mut name, self.reader.string(at("name"))?, at("name"))?,
                "datatype" => {
                    let place = at("datatype");
                    let named = self.reader.string(place)?;
                    once(&mut dtype, rules::dtype(place, &named)?, place)?;
                }
                "shape" => once(&mut shape, self.shape(at("shape"))?, at("shape"))?,
                "data" => {
                    if let Some(value) = self.data(at("data"), dtype, shape.as_ref())? {
                        once(&mut data, value, at("data"))?;
                    }
                }
                "parameters" => {
                    let size = self.binary_data_size(item, at("parameters"))?;
                    once(&mut binary_size, size, at("parameters"))?;
                }
                _ => self.reader.skip()?,
            }
            key = self.reader.next_key()?;
        }
        let name = required(name, item, "name")?;
        let dtype = required(dtype, item, "datatype")?;
        let shape = required(shape, item, "shape")?;
        let data = match (data, binary_size.flatten()) {
            (Some(Data::Packed(packed)), None) => packed,
            (Some(Data::Later(start)), None) => {
                let text = self.reader.text();
                let value = DataValue { text, start, place: at("data"), dtype, shape: &shape };
                json_data::parse(value)?.0
            }
            (None, Some(size)) => self.take_binary(item, size)?,
            (Some(_), Some(_)) => {
                return Err(InferError::invalid(format!(
                    "{item}: expected one of data and parameters.binary_data_size, got both"
                )));
            }
            (None, None) => {
                return Err(InferError::invalid(format!(
                    "{item}: expected data or parameters.binary_data_size, got neither"
                )));
            }
        };
        let tensor = Tensor::new(dtype, shape, data).map_err(|error| {
            InferError::invalid(format!("{item} {}: {error}", rules::quoted(&name)))
        })?;
        Ok(InputTensor { name, tensor })
    }

    fn shape(&mut self, place: Place) -> Result<Shape, InferError> {
        let mut dims = SmallVec::<[i64; 6]>::new();
        let mut more = self.reader.first_item(place)?;
        while more {
            // One too many is kept for the error to count.
            if dims.len() <= crate::types::MAX_RANK {
                dims.push(self.dim(place)?);
            } else {
                self.reader.skip()?;
            }
            more = self.reader.next_item()?;
        }
        rules::shape(place, dims, &self.limits)
    }

    fn dim(&mut self, place: Place) -> Result<i64, InferError> {
        const EXPECTED: &str = "whole numbers from 0";
        let peek = self.reader.peek()?;
        if !peek.is_num() {
            return Err(self.reader.mismatch(place, EXPECTED, peek));
        }
        let number = self.reader.number(peek)?;
        number.parse().map_err(|_| {
            let got = rules::quoted(number);
            InferError::invalid(format!("{place}: expected {EXPECTED}, got {got}"))
        })
    }

    /// Parses the data at once where datatype and shape are known, else only
    /// reads over it. `None` for a `null`, which stands for no data.
    fn data(
        &mut self,
        place: Place,
        dtype: Option<DType>,
        shape: Option<&Shape>,
    ) -> Result<Option<Data>, InferError> {
        if self.reader.null()? {
            return Ok(None);
        }
        let (text, start) = (self.reader.text(), self.reader.position());
        match (dtype, shape) {
            (Some(dtype), Some(shape)) => {
                let value = DataValue { text, start, place, dtype, shape };
                let (packed, end) = json_data::parse(value)?;
                self.reader.resume_at(end);
                Ok(Some(Data::Packed(packed)))
            }
            _ => {
                self.reader.skip()?;
                Ok(Some(Data::Later(start)))
            }
        }
    }

    /// Reads the parameters of an input, of which one matters here.
    fn binary_data_size(&mut self, item: Place, place: Place) -> Result<Option<usize>, InferError> {
        let mut size = None;
        self.parameters(place, |name, value| {
            if name != "binary_data_size" {
                return rules::check_input_parameter(item, &name);
            }
            let bytes = rules::unsigned(&value).and_then(|bytes| usize::try_from(bytes).ok());
            let bytes = bytes.ok_or_else(|| {
                InferError::invalid(format!("{place}: binary_data_size must be a count of bytes"))
            })?;
            once(&mut size, bytes, place)
        })?;
        Ok(size)
    }

    fn take_binary(&mut self, item: Place, size: usize) -> Result<Bytes, InferError> {
        match &mut self.binary {
            Some(left) if size <= left.len() => Ok(left.split_to(size)),
            Some(left) => Err(InferError::invalid(format!(
                "{item}: binary_data_size is {size}, but only {} bytes are left in the body",
                left.len()
            ))),
            None if size == 0 => Ok(Bytes::new()),
            None => Err(InferError::invalid(format!(
                "{item}: binary_data_size is {size}, but the request has no {HEADER_LENGTH} header"
            ))),
        }
    }

    fn outputs(
        &mut self,
        outputs: &mut SmallVec<[RequestedOutput<'a>; 2]>,
    ) -> Result<(), InferError> {
        if self.reader.null()? {
            return Ok(());
        }
        let mut more = self.reader.first_item(Place::Field("outputs"))?;
        while more {
            rules::check_count("outputs", outputs.len() + 1, self.limits.max_outputs)?;
            outputs.push(self.output(outputs.len())?);
            more = self.reader.next_item()?;
        }
        Ok(())
    }

    fn output(&mut self, index: usize) -> Result<RequestedOutput<'a>, InferError> {
        let at = |field| Place::ItemField("outputs", index, field);
        let item = Place::Item("outputs", index);
        let mut output = RequestedOutput::default();
        let (mut name, mut seen_parameters) = (None, false);
        let mut key = self.reader.first_key(item)?;
        while let Some(field) = key {
            match &*field {
                "name" => once(&mut name, self.reader.string(at("name"))?, at("name"))?,
                "parameters" => {
                    first(&mut seen_parameters, at("parameters"))?;
                    self.parameters(at("parameters"), |name, value| {
                        rules::take_output_parameter(&mut output, item, &name, &value)
                    })?;
                }
                _ => self.reader.skip()?,
            }
            key = self.reader.next_key()?;
        }
        output.name = required(name, item, "name")?;
        Ok(output)
    }

    /// Reads an object of parameters and hands each to `take`.
    fn parameters(
        &mut self,
        place: Place,
        mut take: impl FnMut(Cow<'a, str>, Parameter<'a>) -> Result<(), InferError>,
    ) -> Result<(), InferError> {
        if self.reader.null()? {
            return Ok(());
        }
        let mut count = 0;
        let mut key = self.reader.first_key(place)?;
        while let Some(name) = key {
            count += 1;
            rules::check_count("parameters", count, self.limits.max_parameters)?;
            let value = self.parameter(place)?;
            take(name, value)?;
            key = self.reader.next_key()?;
        }
        Ok(())
    }

    fn parameter(&mut self, place: Place) -> Result<Parameter<'a>, InferError> {
        let peek = self.reader.peek()?;
        match peek {
            Peek::String => Ok(Parameter::Text(self.reader.string(place)?)),
            Peek::True | Peek::False => Ok(Parameter::Bool(self.reader.boolean(peek)?)),
            number if number.is_num() => {
                let start = self.reader.position();
                let number = self.reader.number(peek)?;
                number_parameter(number).ok_or_else(|| {
                    let reason = format!("{place} holds a number outside the range of 64 bits");
                    not_json(self.reader.text(), start, reason)
                })
            }
            other => {
                Err(self.reader.mismatch(place, "strings, numbers, true or false as values", other))
            }
        }
    }
}

/// Integers stay exact over the ranges of `i64` and `u64`.
fn number_parameter(number: &str) -> Option<Parameter<'static>> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let int = number.parse().map(Parameter::Int);
        return int.or_else(|_| number.parse().map(Parameter::Uint)).ok();
    }
    let double: f64 = number.parse().ok()?;
    let overflowed = double.is_infinite() && !digits.starts_with('I');
    (!overflowed).then_some(Parameter::Double(double))
}

/// Marks a key as seen and refuses it the second time.
fn first(seen: &mut bool, place: Place) -> Result<(), InferError> {
    once(&mut seen.then_some(()), (), place)?;
    *seen = true;
    Ok(())
}

/// Fills `slot` and refuses a second value, since readers of JSON differ on
/// which of two values holds.
fn once<T>(slot: &mut Option<T>, value: T, place: Place) -> Result<(), InferError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(InferError::invalid(format!("{place} is given twice"))),
    }
}

fn required<T>(slot: Option<T>, item: Place, field: &str) -> Result<T, InferError> {
    slot.ok_or_else(|| InferError::invalid(format!("{item} has no {field}")))
}
