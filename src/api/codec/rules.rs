//! Rules of the protocol that hold whatever the wire form is.

use std::borrow::Cow;
use std::fmt::Display;

use super::{DecodeLimits, MAX_ID_BYTES};
use crate::types::{
    DType, InferError, InferRequest, InputTensor, Parameter, RequestedOutput, Shape, ShapeError,
};

/// Parameter that names shared memory, which this server does not attach.
const SHARED_MEMORY: &str = "shared_memory_region";

/// Text from a client as an error may repeat it: escaped, and cut where long.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

pub(super) fn check_id(id: &str) -> Result<(), InferError> {
    if id.len() > MAX_ID_BYTES {
        return Err(InferError::invalid(format!(
            "id has {} bytes, at most {MAX_ID_BYTES} are accepted",
            id.len()
        )));
    }
    Ok(())
}

/// Refuses the item after the last that `most` allows.
pub(super) fn check_count(what: &str, count: usize, most: usize) -> Result<(), InferError> {
    if count > most {
        return Err(InferError::invalid(format!("more than {most} {what}")));
    }
    Ok(())
}

pub(super) fn dtype(place: impl Display, name: &str) -> Result<DType, InferError> {
    DType::parse(name).ok_or_else(|| {
        let known = DType::ALL.map(DType::name).join(", ");
        InferError::invalid(format!(
            "{place}: expected a datatype of {known}, got {}",
            quoted(name)
        ))
    })
}

pub(super) fn shape(
    place: impl Display,
    dims: impl IntoIterator<Item = i64>,
    limits: &DecodeLimits,
) -> Result<Shape, InferError> {
    let refuse = |error: ShapeError| InferError::invalid(format!("{place}: {error}"));
    let shape = Shape::new(dims).map_err(refuse)?;
    if shape.elements() > limits.max_elements {
        return Err(InferError::invalid(format!(
            "{place}: shape {shape} has {} elements, at most {} are accepted",
            shape.elements(),
            limits.max_elements
        )));
    }
    Ok(shape)
}

/// Puts one parameter of the request where it belongs.
pub(super) fn take_request_parameter<'a>(
    request: &mut InferRequest<'a>,
    name: Cow<'a, str>,
    value: Parameter<'a>,
) -> Result<(), InferError> {
    match (&*name, value) {
        ("binary_data_output", Parameter::Bool(binary)) => request.binary_output = binary,
        ("binary_data_output", _) => {
            return Err(InferError::invalid("parameter binary_data_output must be true or false"));
        }
        // Says how a stream of many answers ends; here every request has one.
        ("triton_enable_empty_final_response", _) => {}
        (reserved, _) if reserved.starts_with("triton_") => {
            return Err(InferError::invalid(format!(
                "parameter {}: names that begin with triton_ are reserved",
                quoted(reserved)
            )));
        }
        (again, _) if request.parameters.iter().any(|(earlier, _)| earlier == again) => {
            let again = quoted(again);
            return Err(InferError::invalid(format!("parameter {again} is given twice")));
        }
        (_, value) => request.parameters.push((name, value)),
    }
    Ok(())
}

pub(super) fn check_input_parameter(place: impl Display, name: &str) -> Result<(), InferError> {
    refuse_shared_memory(place, name)
}

/// Puts one parameter of a requested output where it belongs; unknown ones
/// are left aside.
pub(super) fn take_output_parameter(
    output: &mut RequestedOutput<'_>,
    place: impl Display,
    name: &str,
    value: &Parameter<'_>,
) -> Result<(), InferError> {
    match (name, value) {
        ("classification", value) => {
            output.classification =
                unsigned(value).and_then(|top| u32::try_from(top).ok()).ok_or_else(|| {
                    InferError::invalid(format!(
                        "{place}: parameter classification must be a count of classes"
                    ))
                })?;
        }
        ("binary_data", Parameter::Bool(binary)) => output.binary = Some(*binary),
        ("binary_data", _) => {
            return Err(InferError::invalid(format!(
                "{place}: parameter binary_data must be true or false"
            )));
        }
        (name, _) => refuse_shared_memory(place, name)?,
    }
    Ok(())
}

/// A parameter's value as a count.
pub(super) fn unsigned(value: &Parameter<'_>) -> Option<u64> {
    match value {
        Parameter::Int(value) => u64::try_from(*value).ok(),
        Parameter::Uint(value) => Some(*value),
        _ => None,
    }
}

fn refuse_shared_memory(place: impl Display, name: &str) -> Result<(), InferError> {
    if name == SHARED_MEMORY {
        return Err(InferError::invalid(format!(
            "{place}: {SHARED_MEMORY} is not supported by this server; send the data itself"
        )));
    }
    Ok(())
}

/// The count that `elements` (which came as separate items) must have.
pub(super) fn check_elements(
    place: impl Display,
    shape: &Shape,
    elements: usize,
) -> Result<(), InferError> {
    if elements != shape.elements() {
        return Err(InferError::invalid(format!(
            "{place}: expected {} elements for shape {shape}, got {elements}",
            shape.elements()
        )));
    }
    Ok(())
}

pub(super) fn check_unique(
    inputs: &[InputTensor<'_>],
    outputs: &[RequestedOutput<'_>],
) -> Result<(), InferError> {
    let input = repeated(inputs, |input| &input.name).map(|name| ("input", name));
    let output = repeated(outputs, |output| &output.name).map(|name| ("output", name));
    match input.or(output) {
        Some((what, name)) => {
            Err(InferError::invalid(format!("{what} {} is given twice", quoted(name))))
        }
        None => Ok(()),
    }
}

/// The first name that occurs twice. Quadratic; the counts have small limits.
fn repeated<T>(items: &[T], name: impl Fn(&T) -> &str) -> Option<&str> {
    items
        .iter()
        .enumerate()
        .find(|(i, item)| items[..*i].iter().any(|earlier| name(earlier) == name(item)))
        .map(|(_, item)| name(item))
}
