//! Inputs that are made up, by which a model is tried before clients use it.

use smallvec::SmallVec;

use super::Input;
use crate::types::{DType, Dim, Signature, TensorSpec};

/// Sizes tried, in this order, for dimensions that a model leaves free, other than
/// the rows: some models only run from a certain size on, or at a certain one.
const SIZES: [usize; 6] = [1, 4, 16, 64, 256, 224];

/// Whole numbers are often indices: below the first of these where the model has as
/// many, else below the second. Both fit every type.
const BOUNDS: [u64; 2] = [100, 2];

/// Most bytes of one made-up input.
const MOST_BYTES: usize = 64 << 20;

const WORDS: [&str; 8] = ["red", "blue", "a", "north wind", "7", "x", "zebra", "hello world"];

/// One made-up input.
#[derive(Clone, Debug)]
pub(super) struct Generated {
    pub(super) dtype: DType,
    pub(super) shape: Vec<i64>,
    pub(super) data: Vec<u8>,
}

impl Generated {
    pub(super) fn as_input(&self) -> Input<'_> {
        Input { dtype: self.dtype, shape: &self.shape, data: &self.data }
    }

    /// The rows of `self`, then those of `after`.
    pub(super) fn followed_by(&self, after: &Generated) -> Generated {
        let mut joined = self.clone();
        joined.data.extend_from_slice(&after.data);
        if let (Some(rows), Some(more)) = (joined.shape.first_mut(), after.shape.first()) {
            *rows += more;
        }
        joined
    }
}

pub(super) fn as_inputs(generated: &[Generated]) -> SmallVec<[Input<'_>; 4]> {
    generated.iter().map(Generated::as_input).collect()
}

/// A kind of inputs to try a model on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// Of every free dimension but the rows.
    size: usize,
    /// Above every whole number.
    bound: u64,
}

/// The kinds worth trying on the model, the likeliest first.
pub(super) fn variants(signature: &Signature) -> Vec<Variant> {
    let is_free = |dim: &Dim| matches!(dim, Dim::Free(_));
    let free = signature.inputs.iter().any(|spec| spec.dims.iter().skip(1).any(is_free));
    let whole = signature.inputs.iter().any(|spec| is_whole(spec.dtype));
    let sizes = if free { &SIZES[..] } else { &SIZES[..1] };
    let bounds = if whole { &BOUNDS[..] } else { &BOUNDS[..1] };
    let pairs = sizes.iter().flat_map(|size| bounds.iter().map(move |bound| (*size, *bound)));
    pairs.map(|(size, bound)| Variant { size, bound }).collect()
}

fn is_whole(dtype: DType) -> bool {
    match dtype {
        DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64 => true,
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 => true,
        DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64 => false,
        DType::Bool | DType::Bytes => false,
    }
}

/// Inputs for `signature` with `rows` wherever a first dimension is free; the same for
/// the same `seed`. `None` where they would be too large to make up.
pub(super) fn inputs(
    signature: &Signature,
    rows: usize,
    variant: Variant,
    seed: u64,
) -> Option<Vec<Generated>> {
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    let batch = signature.inputs.iter().find_map(|spec| match spec.dims.first() {
        Some(Dim::Free(Some(symbol))) => Some(symbol.clone()),
        _ => None,
    });
    let one = |spec: &TensorSpec| {
        let dims = spec.dims.iter().enumerate().map(|(index, dim)| match dim {
            Dim::Fixed(fixed) => *fixed,
            Dim::Free(_) if index == 0 => rows,
            // The batch's symbol elsewhere, as in a state of [2, batch, 128].
            Dim::Free(symbol) if symbol.is_some() && *symbol == batch => rows,
            Dim::Free(_) => variant.size,
        });
        let dims: Vec<usize> = dims.collect();
        let elements = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim))?;
        let bytes = elements.checked_mul(spec.dtype.size().unwrap_or(16))?;
        if bytes > MOST_BYTES {
            return None;
        }
        let mut data = Vec::with_capacity(bytes);
        for _ in 0..elements {
            random.element(spec.dtype, variant.bound, &mut data);
        }
        let shape = dims.iter().map(|dim| i64::try_from(*dim).ok()).collect::<Option<_>>()?;
        Some(Generated { dtype: spec.dtype, shape, data })
    };
    signature.inputs.iter().map(one).collect()
}

/// A small generator of its own (xorshift), so that tries are repeatable.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    /// Appends one element: a number between -1 and 1, a whole number below `bound`,
    /// or a word.
    fn element(&mut self, dtype: DType, bound: u64, to: &mut Vec<u8>) {
        let random = self.next();
        let bit = u8::from(random & 1 == 1);
        // 31 random bits, of which 24 fit a float.
        let float = (random >> 7) as f32 / (1u32 << 23) as f32 - 1.0;
        let whole = random % bound;
        match dtype {
            DType::Fp32 => to.extend(float.to_le_bytes()),
            DType::Fp64 => to.extend(f64::from(float).to_le_bytes()),
            DType::Bf16 => to.extend_from_slice(&float.to_le_bytes()[2..]),
            // Sign, an exponent for [0.5, 1), and random digits.
            DType::Fp16 => {
                let half = (u16::from(bit) << 15) | 0x3800 | ((random >> 8) & 0x3ff) as u16;
                to.extend(half.to_le_bytes());
            }
            DType::Bytes => {
                let word = WORDS[(random >> 4) as usize % WORDS.len()];
                to.extend((word.len() as u32).to_le_bytes());
                to.extend(word.bytes());
            }
            DType::Bool => to.push(bit),
            DType::Uint8 | DType::Int8 => to.push(whole as u8),
            DType::Uint16 | DType::Int16 => to.extend((whole as u16).to_le_bytes()),
            DType::Uint32 | DType::Int32 => to.extend((whole as u32).to_le_bytes()),
            DType::Uint64 | DType::Int64 => to.extend(whole.to_le_bytes()),
        }
    }
}
