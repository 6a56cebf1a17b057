//! Inputs where ONNX Runtime can read them: in place where the wire happened to
//! align them, else copied once into this thread's buffer.

use std::cell::Cell;

use smallvec::SmallVec;

use super::Input;
use super::ffi::{Environment, Value};
use super::strings;

/// What every copied input is aligned for; a cache line.
const ALIGNMENT: usize = 64;

/// A larger buffer is freed after the run, so that one big request does not keep
/// its memory on every thread for ever.
const KEPT_BYTES: usize = 1 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The inputs of one run.
pub(super) struct Staged {
    buffer: Vec<u8>,
    /// Where each input was copied to; `None` for one that is read in place.
    copies: SmallVec<[Option<usize>; 4]>,
}

impl Staged {
    pub(super) fn new(inputs: &[Input<'_>]) -> Staged {
        let room: usize = inputs
            .iter()
            .filter(|input| !readable_in_place(input))
            .map(|input| input.data.len().next_multiple_of(ALIGNMENT))
            .sum();
        if room == 0 {
            let copies = SmallVec::from_elem(None, inputs.len());
            return Staged { buffer: Vec::new(), copies };
        }
        let mut buffer = BUFFER.take();
        buffer.clear();
        // Room for all and for the padding before the first: it does not move below.
        buffer.reserve(room + ALIGNMENT);
        let padding = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        buffer.resize(padding, 0);
        let copies = inputs
            .iter()
            .map(|input| {
                if readable_in_place(input) {
                    return None;
                }
                let start = buffer.len();
                buffer.extend_from_slice(input.data);
                let end = input.data.len().next_multiple_of(ALIGNMENT) + start;
                buffer.resize(end, 0);
                Some(start)
            })
            .collect();
        Staged { buffer, copies }
    }

    /// ONNX Runtime's view of the inputs.
    pub(super) fn values<'a>(
        &'a self,
        environment: &Environment,
        inputs: &[Input<'a>],
    ) -> Result<SmallVec<[Value<'a>; 4]>, String> {
        let mut values = SmallVec::new();
        for (input, copy) in inputs.iter().zip(&self.copies) {
            values.push(match (input.dtype.size(), copy) {
                (None, _) => strings::value_of(environment, input)?,
                (Some(_), Some(start)) => {
                    let data = &self.buffer[*start..*start + input.data.len()];
                    Value::over(environment, input.dtype, input.shape, data)?
                }
                (Some(_), None) => Value::over(environment, input.dtype, input.shape, input.data)?,
            });
        }
        Ok(values)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.buffer.capacity() != 0 && self.buffer.capacity() <= KEPT_BYTES {
            BUFFER.set(std::mem::take(&mut self.buffer));
        }
    }
}

/// Strings are copied into their tensor one by one, wherever they lie.
fn readable_in_place(input: &Input<'_>) -> bool {
    input
        .dtype
        .size()
        .is_none_or(|size| input.data.is_empty() || input.data.as_ptr().addr().is_multiple_of(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DType;

    #[test]
    fn only_misaligned_inputs_are_copied_and_copies_are_aligned() {
        let bytes: Vec<u8> = (0..64).collect();
        let offset = bytes.as_ptr().align_offset(8);
        let input =
            |start: usize, dtype| Input { dtype, shape: &[1], data: &bytes[start..start + 8] };
        let inputs = [
            input(offset, DType::Int64),
            input(offset + 1, DType::Int64),
            input(offset + 1, DType::Uint8),
            input(offset + 3, DType::Fp64),
            input(offset + 5, DType::Bytes),
        ];
        let staged = Staged::new(&inputs);
        let copied: Vec<bool> = staged.copies.iter().map(Option::is_some).collect();
        assert_eq!(copied, [false, true, false, true, false]);
        for (input, copy) in inputs.iter().zip(&staged.copies) {
            if let Some(start) = copy {
                let copy = &staged.buffer[*start..*start + 8];
                assert_eq!(copy, input.data);
                assert!(copy.as_ptr().addr().is_multiple_of(ALIGNMENT));
            }
        }
    }
}
