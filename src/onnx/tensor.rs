//! Whether a tensor holds what its type and shape declare.

/// Highest rank of a tensor that is accepted.
pub(super) const MOST_DIMS: usize = 64;

/// Most bytes of a sparse tensor once it is spread out, which no file bounds.
const MOST_SPREAD: u64 = 1 << 30;

/// The message `TensorProto`, without its contents.
#[derive(Default)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dims: Vec<i64>,
    /// ONNX's number of the element type.
    pub(super) element: i64,
    /// Bytes of `raw_data`, where there is one.
    pub(super) raw: Option<u64>,
    /// Most values that the typed fields can hold together.
    pub(super) typed: u64,
    pub(super) strings: u64,
    /// Entries of `external_data`.
    pub(super) external: Vec<(String, String)>,
    /// 0 where the data lies in the model, 1 where it lies in a file beside it.
    pub(super) location: i64,
}

/// Where a sound tensor's data lies.
pub(super) enum Held {
    Inside,
    /// In a file beside the model: so many bytes.
    Beside(u64),
}

const STRING: i64 = 8;

impl Tensor {
    /// Compares what the tensor declares with what it brings.
    pub(super) fn check(&self) -> Result<Held, String> {
        let elements = elements(&self.dims)?;
        let bytes = match self.element {
            STRING => None,
            other => Some(bytes_of(other, elements)?),
        };
        match self.location {
            0 if !self.external.is_empty() => {
                Err("it has external data, but says that its data lies in the model".to_owned())
            }
            0 => self.check_inside(elements, bytes).map(|()| Held::Inside),
            1 if self.raw.is_some() || self.typed > 0 || self.strings > 0 => {
                Err("it has data both in the model and in a file beside it".to_owned())
            }
            1 => bytes.map(Held::Beside).ok_or_else(|| "strings cannot be external".to_owned()),
            other => Err(format!("its data location is {other}, expected 0 or 1")),
        }
    }

    fn check_inside(&self, elements: u64, bytes: Option<u64>) -> Result<(), String> {
        let holds = match (bytes, self.raw) {
            (None, Some(_)) => return Err("strings cannot be raw data".to_owned()),
            (None, None) => self.strings == elements,
            (Some(_), Some(_)) if self.typed > 0 || self.strings > 0 => {
                return Err("it has both raw and typed data".to_owned());
            }
            (Some(bytes), Some(raw)) => raw == bytes,
            // Several small elements share a value.
            (Some(_), None) => elements <= self.typed.saturating_mul(4),
        };
        if holds {
            return Ok(());
        }
        let held = match self.raw {
            Some(raw) => format!("{raw} bytes"),
            None => format!("at most {} values", self.typed.max(self.strings)),
        };
        Err(format!("its shape {} declares {elements} elements, but it holds {held}", self.shape()))
    }

    fn shape(&self) -> String {
        let dims: Vec<String> = self.dims.iter().take(8).map(i64::to_string).collect();
        let more = if self.dims.len() > 8 { ",..." } else { "" };
        format!("[{}{more}]", dims.join(","))
    }
}

/// Checks that a sparse tensor of shape `dims` is of a bounded size once spread out.
pub(super) fn check_spread(dims: &[i64], element: i64) -> Result<(), String> {
    let bytes = bytes_of(if element == STRING { 7 } else { element }, elements(dims)?)?;
    if bytes > MOST_SPREAD {
        return Err(format!(
            "spread out, the sparse tensor takes {bytes} bytes; at most {MOST_SPREAD} are accepted"
        ));
    }
    Ok(())
}

fn elements(dims: &[i64]) -> Result<u64, String> {
    let product = dims.iter().try_fold(1u64, |product, dim| {
        let dim = u64::try_from(*dim).map_err(|_| format!("a dimension is {dim}"))?;
        product.checked_mul(dim).ok_or_else(|| "its shape has too many elements".to_owned())
    })?;
    i64::try_from(product)
        .map(|_| product)
        .map_err(|_| "its shape has too many elements".to_owned())
}

/// Bytes of `elements` packed elements of a type with a fixed size.
fn bytes_of(element: i64, elements: u64) -> Result<u64, String> {
    let bits: u64 = match element {
        // Two bits: UINT2, INT2. Four: UINT4, INT4, FLOAT4E2M1.
        25 | 26 => 2,
        21..=23 => 4,
        // UINT8, INT8, BOOL, the kinds of FLOAT8.
        2 | 3 | 9 | 17..=20 | 24 => 8,
        // UINT16, INT16, FLOAT16, BFLOAT16.
        4 | 5 | 10 | 16 => 16,
        // FLOAT, INT32, UINT32.
        1 | 6 | 12 => 32,
        // INT64, DOUBLE, UINT64, COMPLEX64; COMPLEX128.
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        other => return Err(format!("its element type {other} is not known")),
    };
    let bits = elements.checked_mul(bits).ok_or("its shape has too many elements")?;
    Ok(bits.div_ceil(8))
}
