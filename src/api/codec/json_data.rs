//! The `data` of a JSON input, parsed straight into packed elements.

use bytes::Bytes;
use jiter::{Jiter, JiterErrorType, Peek};
use lexical_parse_float::{FromLexicalWithOptions, Options, format};

use super::json_reader::{Place, Spot, kind, not_json};
use super::rules::check_elements;
use super::small_float::{to_bf16, to_f16};
use crate::types::{DType, InferError, Shape};

/// Deepest nesting of arrays, which is the highest rank.
const MAX_DEPTH: usize = crate::types::MAX_RANK;

/// Where a `data` value stands and what it must hold.
#[derive(Clone, Copy)]
pub(super) struct DataValue<'a> {
    pub(super) text: &'a str,
    /// Offset of the value's first byte in `text`.
    pub(super) start: usize,
    pub(super) place: Place,
    pub(super) dtype: DType,
    pub(super) shape: &'a Shape,
}

/// Parses flat or nested arrays of elements. How they nest is not compared
/// with the shape, only how many they are. Returns the packed elements and
/// the offset behind the value.
pub(super) fn parse(value: DataValue<'_>) -> Result<(Bytes, usize), InferError> {
    match value.dtype {
        DType::Bool => pack(value, boolean),
        DType::Uint8 => pack(value, |token| unsigned::<u8>(token).map(|(v, n)| ([v], n))),
        DType::Uint16 => {
            pack(value, |token| unsigned(token).map(|(v, n)| (u16::to_le_bytes(v), n)))
        }
        DType::Uint32 => {
            pack(value, |token| unsigned(token).map(|(v, n)| (u32::to_le_bytes(v), n)))
        }
        DType::Uint64 => {
            pack(value, |token| unsigned(token).map(|(v, n)| (u64::to_le_bytes(v), n)))
        }
        DType::Int8 => pack(value, |token| signed(token).map(|(v, n)| (i8::to_le_bytes(v), n))),
        DType::Int16 => pack(value, |token| signed(token).map(|(v, n)| (i16::to_le_bytes(v), n))),
        DType::Int32 => pack(value, |token| signed(token).map(|(v, n)| (i32::to_le_bytes(v), n))),
        DType::Int64 => pack(value, |token| signed(token).map(|(v, n)| (i64::to_le_bytes(v), n))),
        DType::Fp16 => pack(value, |token| {
            let (number, length) = float::<f64>(token)?;
            let half = to_f16(number);
            let fits = half.is_finite() || !number.is_finite();
            fits.then_some((half.to_le_bytes(), length)).ok_or(Wrong::Range)
        }),
        DType::Bf16 => pack(value, |token| {
            let (number, length) = float::<f64>(token)?;
            let brain = to_bf16(number);
            let fits = brain.is_finite() || !number.is_finite();
            fits.then_some((brain.to_le_bytes(), length)).ok_or(Wrong::Range)
        }),
        DType::Fp32 => pack(value, |token| float::<f32>(token).map(|(v, n)| (v.to_le_bytes(), n))),
        DType::Fp64 => pack(value, |token| float::<f64>(token).map(|(v, n)| (v.to_le_bytes(), n))),
        DType::Bytes => pack_strings(value),
    }
}

/// Why one element was refused.
enum Wrong {
    /// Not what the datatype asks for.
    Kind,
    /// A number with a fraction or an exponent where an integer belongs.
    Fraction,
    Range,
    /// A broken string; the reason and where in it.
    String(JiterErrorType, usize),
}

fn pack<const N: usize>(
    value: DataValue<'_>,
    element: impl Fn(&[u8]) -> Result<([u8; N], usize), Wrong>,
) -> Result<(Bytes, usize), InferError> {
    let mut packed = Vec::with_capacity(most_elements(&value) * N);
    let end = walk(value, |rest| {
        let (bytes, length) = element(rest)?;
        packed.extend_from_slice(&bytes);
        Ok(length)
    })?;
    Ok((Bytes::from(packed), end))
}

fn pack_strings(value: DataValue<'_>) -> Result<(Bytes, usize), InferError> {
    const PREFIX: usize = 4;
    let mut packed = Vec::with_capacity(most_elements(&value) * PREFIX);
    let end = walk(value, |rest| {
        if rest.first() != Some(&b'"') {
            return Err(Wrong::Kind);
        }
        let mut jiter = Jiter::new(rest);
        let string =
            jiter.known_str().map_err(|error| Wrong::String(error.error_type, error.index))?;
        let length = u32::try_from(string.len()).map_err(|_| Wrong::Range)?;
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(string.as_bytes());
        Ok(jiter.current_index())
    })?;
    Ok((Bytes::from(packed), end))
}

/// The most elements that can come: a shape that lies costs no memory, since
/// every element takes two bytes of the body at least.
fn most_elements(value: &DataValue<'_>) -> usize {
    let rest = value.text.len().saturating_sub(value.start);
    value.shape.elements().min(rest / 2 + 1)
}

/// Walks over the arrays and hands the text from each element on to
/// `element`, which returns the element's length. Returns the offset behind
/// the outermost array.
#[inline]
fn walk(
    value: DataValue<'_>,
    mut element: impl FnMut(&[u8]) -> Result<usize, Wrong>,
) -> Result<usize, InferError> {
    let text = value.text.as_bytes();
    let mut position = value.start;
    let mut depth = 0;
    let mut elements = 0;
    // Whether a value may come here, and whether the array may end here.
    let (mut open, mut closable) = (true, false);
    loop {
        match text.get(position) {
            Some(b' ' | b'\n' | b'\r' | b'\t') => position += 1,
            Some(b',') if !open && depth > 0 => {
                position += 1;
                (open, closable) = (true, false);
            }
            Some(b'[') if open => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(too_deep(&value, position));
                }
                position += 1;
                closable = true;
            }
            Some(b']') if closable => {
                depth -= 1;
                position += 1;
                if depth == 0 {
                    break;
                }
                open = false;
            }
            Some(_) if open && depth > 0 => {
                if elements == value.shape.elements() && kind_at(text, position).is_some() {
                    return Err(too_many(&value));
                }
                let length = element(&text[position..])
                    .map_err(|wrong| refuse(&value, position, elements, wrong))?;
                elements += 1;
                position += length;
                (open, closable) = (false, true);
            }
            _ => return Err(misplaced(&value, position, depth, open)),
        }
    }
    check_elements(value.place, value.shape, elements)?;
    Ok(position)
}

fn boolean(token: &[u8]) -> Result<([u8; 1], usize), Wrong> {
    if token.starts_with(b"true") {
        Ok(([1], 4))
    } else if token.starts_with(b"false") {
        Ok(([0], 5))
    } else {
        Err(Wrong::Kind)
    }
}

fn unsigned<T: TryFrom<u64>>(token: &[u8]) -> Result<(T, usize), Wrong> {
    let (negative, magnitude, length) = integer(token)?;
    if negative && magnitude > 0 {
        return Err(Wrong::Range);
    }
    T::try_from(magnitude).map(|value| (value, length)).map_err(|_| Wrong::Range)
}

fn signed<T: TryFrom<i64>>(token: &[u8]) -> Result<(T, usize), Wrong> {
    let (negative, magnitude, length) = integer(token)?;
    let value =
        if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    value.and_then(|value| T::try_from(value).ok()).map(|v| (v, length)).ok_or(Wrong::Range)
}

/// Sign, magnitude and length of an integer.
fn integer(token: &[u8]) -> Result<(bool, u64, usize), Wrong> {
    let negative = token.first() == Some(&b'-');
    let digits = &token[usize::from(negative)..];
    let mut magnitude = Some(0u64);
    let mut length = 0;
    while let Some(digit @ b'0'..=b'9') = digits.get(length) {
        magnitude = magnitude
            .and_then(|value| value.checked_mul(10))
            .and_then(|value| value.checked_add(u64::from(digit - b'0')));
        length += 1;
    }
    if length == 0 || (length > 1 && digits.first() == Some(&b'0')) {
        return Err(Wrong::Kind);
    }
    if let Some(b'.' | b'e' | b'E') = digits.get(length) {
        return Err(Wrong::Fraction);
    }
    Ok((negative, magnitude.ok_or(Wrong::Range)?, length + usize::from(negative)))
}

/// A float type that numbers are parsed into.
trait Float: FromLexicalWithOptions<Options = Options> {
    const NAN: Self;
    const INFINITY: Self;
    const NEG_INFINITY: Self;
    fn is_finite(&self) -> bool;
}

impl Float for f32 {
    const NAN: f32 = f32::NAN;
    const INFINITY: f32 = f32::INFINITY;
    const NEG_INFINITY: f32 = f32::NEG_INFINITY;
    fn is_finite(&self) -> bool {
        f32::is_finite(*self)
    }
}

impl Float for f64 {
    const NAN: f64 = f64::NAN;
    const INFINITY: f64 = f64::INFINITY;
    const NEG_INFINITY: f64 = f64::NEG_INFINITY;
    fn is_finite(&self) -> bool {
        f64::is_finite(*self)
    }
}

/// A number, rounded once to `F`, and its length.
fn float<F: Float>(token: &[u8]) -> Result<(F, usize), Wrong> {
    const OPTIONS: Options = Options::new();
    match F::from_lexical_partial_with_options::<{ format::JSON }>(token, &OPTIONS) {
        Ok((value, length)) if value.is_finite() => Ok((value, length)),
        Ok(_) => Err(Wrong::Range),
        Err(_) if token.starts_with(b"NaN") => Ok((F::NAN, 3)),
        Err(_) if token.starts_with(b"Infinity") => Ok((F::INFINITY, 8)),
        Err(_) if token.starts_with(b"-Infinity") => Ok((F::NEG_INFINITY, 9)),
        Err(_) => Err(Wrong::Kind),
    }
}

#[cold]
fn refuse(value: &DataValue<'_>, position: usize, index: usize, wrong: Wrong) -> InferError {
    let DataValue { text, place, dtype, .. } = *value;
    let spot = Spot::find(text, position);
    let message = match wrong {
        Wrong::String(JiterErrorType::JsonError(reason), offset) => {
            return not_json(text, position + offset, reason);
        }
        Wrong::String(..) | Wrong::Kind => match literal_at(text, position) {
            Ok(got) => {
                format!(
                    "{place}[{index}]: expected {} for {dtype}, got {got} at {spot}",
                    want(dtype)
                )
            }
            Err(reason) => return not_json(text, position, reason),
        },
        Wrong::Fraction => format!(
            "{place}[{index}]: expected an integer for {dtype}, got {} at {spot}",
            number_at(text, position)
        ),
        Wrong::Range => format!(
            "{place}[{index}]: {} is outside the range of {dtype}{} at {spot}",
            number_at(text, position),
            range(dtype)
        ),
    };
    InferError::invalid(message)
}

#[cold]
fn misplaced(value: &DataValue<'_>, position: usize, depth: usize, open: bool) -> InferError {
    let got = kind_at(value.text.as_bytes(), position);
    match (depth, got) {
        (0, Some(got)) => InferError::invalid(format!(
            "{}: expected an array, got {got} at {}",
            value.place,
            Spot::find(value.text, position)
        )),
        _ if open => not_json(value.text, position, "expected a value"),
        _ => not_json(value.text, position, "expected `,` or `]`"),
    }
}

#[cold]
fn too_many(value: &DataValue<'_>) -> InferError {
    InferError::invalid(format!(
        "{}: expected {} elements for shape {}, got more",
        value.place,
        value.shape.elements(),
        value.shape
    ))
}

#[cold]
fn too_deep(value: &DataValue<'_>, position: usize) -> InferError {
    InferError::invalid(format!(
        "{}: arrays are nested deeper than {MAX_DEPTH} at {}",
        value.place,
        Spot::find(value.text, position)
    ))
}

fn kind_at(text: &[u8], position: usize) -> Option<&'static str> {
    kind(Peek::new(*text.get(position)?))
}

/// What stands at `position`, or why it is no JSON value.
fn literal_at(text: &str, position: usize) -> Result<&'static str, &'static str> {
    const WORDS: [&str; 6] = ["true", "false", "null", "NaN", "Infinity", "-Infinity"];
    let rest = text.get(position..).unwrap_or_default();
    if let Some(word) = WORDS.into_iter().find(|word| rest.starts_with(word)) {
        return Ok(word);
    }
    match kind_at(text.as_bytes(), position) {
        Some(got @ ("a string" | "an array" | "an object")) => Ok(got),
        Some("a number") => {
            let valid = Jiter::new(rest.as_bytes()).next_number_bytes().is_ok();
            if valid { Ok("a number") } else { Err("invalid number") }
        }
        _ => Err("expected a value"),
    }
}

/// The number at `position`, cut where long.
fn number_at(text: &str, position: usize) -> String {
    const MOST: usize = 32;
    let number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    let mut token: String =
        text[position..].chars().take_while(|c| number(*c)).take(MOST).collect();
    if token.len() == MOST {
        token.push_str("...");
    }
    token
}

fn want(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "true or false",
        DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64 => "a number",
        DType::Bytes => "a string",
        _ => "an integer",
    }
}

/// The range of an integer type, for messages; empty for the others.
fn range(dtype: DType) -> String {
    let (low, high) = match dtype {
        DType::Uint8 => (0, u64::from(u8::MAX)),
        DType::Uint16 => (0, u64::from(u16::MAX)),
        DType::Uint32 => (0, u64::from(u32::MAX)),
        DType::Uint64 => (0, u64::MAX),
        DType::Int8 => (i64::from(i8::MIN), i8::MAX as u64),
        DType::Int16 => (i64::from(i16::MIN), i16::MAX as u64),
        DType::Int32 => (i64::from(i32::MIN), i32::MAX as u64),
        DType::Int64 => (i64::MIN, i64::MAX as u64),
        _ => return String::new(),
    };
    format!(", {low} to {high},")
}
