//! Whether an output is the expected one.

use super::{GoldenError, Named, Tolerance};
use crate::engine::rows::float;
use crate::types::{DType, Tensor};

/// Most characters of a value that a message shows.
const SHOWN: usize = 60;

pub(super) fn compare(
    case: usize,
    expected: &Named,
    got: &Tensor,
    tolerance: Tolerance,
) -> Result<(), GoldenError> {
    let output = expected.name.clone();
    let expected = &expected.tensor;
    if expected.dtype() != got.dtype() || expected.shape() != got.shape() {
        let kind = |tensor: &Tensor| format!("{} {}", tensor.dtype(), tensor.shape());
        let (expected, got) = (kind(expected), kind(got));
        return Err(GoldenError::Kind { case, output, expected, got });
    }
    let dtype = expected.dtype();
    let pairs = elements(expected).zip(elements(got));
    let mut wrong = pairs.enumerate().filter(|(_, (a, b))| !agree(dtype, a, b, tolerance));
    let Some((index, (expected_element, got_element))) = wrong.next() else { return Ok(()) };
    Err(GoldenError::Value {
        case,
        output,
        index,
        expected: show(dtype, expected_element),
        got: show(dtype, got_element),
        wrong: 1 + wrong.count(),
        elements: expected.shape().elements(),
    })
}

fn elements(tensor: &Tensor) -> Box<dyn Iterator<Item = &[u8]> + '_> {
    match tensor.dtype().size() {
        Some(size) => Box::new(tensor.data().chunks_exact(size)),
        None => Box::new(tensor.strings()),
    }
}

fn agree(dtype: DType, expected: &[u8], got: &[u8], tolerance: Tolerance) -> bool {
    match (float(dtype, expected), float(dtype, got)) {
        (Some(expected), Some(got)) => {
            expected == got
                || (expected.is_nan() && got.is_nan())
                || (got - expected).abs()
                    <= tolerance.absolute + tolerance.relative * expected.abs()
                    // An infinite tolerance would let everything pass.
                    && expected.is_finite()
        }
        _ => expected == got,
    }
}

/// A value as a message shows it.
fn show(dtype: DType, element: &[u8]) -> String {
    if let Some(float) = float(dtype, element) {
        return float.to_string();
    }
    let text = match dtype {
        DType::Bytes => format!("{:?}", String::from_utf8_lossy(element)),
        DType::Bool => (element != [0]).to_string(),
        DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64 => {
            widened(element, 0).map(u64::from_le_bytes).unwrap_or_default().to_string()
        }
        _ => {
            let fill = if element.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
            widened(element, fill).map(i64::from_le_bytes).unwrap_or_default().to_string()
        }
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A little-endian number in eight bytes.
fn widened(element: &[u8], fill: u8) -> Option<[u8; 8]> {
    let mut wide = [fill; 8];
    wide.get_mut(..element.len())?.copy_from_slice(element);
    Some(wide)
}
