//! Tensors, sequences and maps that go into a run or come out of one.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use ort::sys::{ONNXType, OrtValue};
use smallvec::SmallVec;

use super::{Environment, Session, api, check, dtype_of, element_type};
use crate::types::DType;

/// Below this many bytes an output is copied: cheaper than keeping ONNX Runtime's
/// value and the session alive from another thread.
const COPIED_BELOW: usize = 512;

/// What empty tensors point to; aligned for every element type.
static NOTHING: u64 = 0;

/// Dimensions, inline for the ranks that occur.
pub type Dims = SmallVec<[i64; 6]>;

/// A value that ONNX Runtime reads or has made; `'a` is the memory it may point into.
pub struct Value<'a> {
    raw: NonNull<OrtValue>,
    memory: Memory,
    _borrows: PhantomData<&'a mut [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// A slice of ours that may only be read: its address and length.
    Borrowed(usize, usize),
    /// A slice of ours that a run may write: its address and length.
    Writable(usize, usize),
    /// Made by ONNX Runtime and known to point into no slice of ours.
    Independent,
    /// Made by ONNX Runtime, perhaps out of an input.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Tensor,
    Sequence,
    Map,
    /// An optional output that holds nothing, or a kind we do not serve.
    Other,
}

// SAFETY: a value is counted atomically by ONNX Runtime and only read once it is made;
// slices it borrows are `Send` themselves.
unsafe impl Send for Value<'_> {}
// SAFETY: every method that takes `&self` only reads.
unsafe impl Sync for Value<'_> {}

impl<'a> Value<'a> {
    /// A tensor over `data`, which must be aligned for its type and exactly as long
    /// as the shape says.
    pub fn over(
        environment: &Environment,
        dtype: DType,
        shape: &[i64],
        data: &'a [u8],
    ) -> Result<Value<'a>, String> {
        if dtype == DType::Bool && data.iter().any(|byte| *byte > 1) {
            // C++ may do anything with such a bool.
            return Err("a BOOL element is neither 0 nor 1".to_owned());
        }
        let value = Value::around(environment, dtype, shape, data.as_ptr().cast_mut(), data.len())?;
        Ok(value.with(Memory::Borrowed(data.as_ptr().addr(), data.len())))
    }

    /// A tensor that a run writes into `data`, with the same conditions.
    pub fn over_mut(
        environment: &Environment,
        dtype: DType,
        shape: &[i64],
        data: &'a mut [u8],
    ) -> Result<Value<'a>, String> {
        let (start, len) = (data.as_mut_ptr(), data.len());
        let value = Value::around(environment, dtype, shape, start, len)?;
        Ok(value.with(Memory::Writable(start.addr(), len)))
    }

    fn around(
        environment: &Environment,
        dtype: DType,
        shape: &[i64],
        data: *mut u8,
        len: usize,
    ) -> Result<Value<'a>, String> {
        let Some(size) = dtype.size() else {
            return Err("strings have no slice form".to_owned());
        };
        let needed = shape.iter().try_fold(size, |bytes, dim| {
            usize::try_from(*dim).ok().and_then(|dim| bytes.checked_mul(dim))
        });
        if needed != Some(len) {
            return Err(format!("{len} bytes are not a {dtype} tensor of shape {shape:?}"));
        }
        let data = if len == 0 { (&raw const NOTHING).cast_mut().cast() } else { data };
        if data.addr() % size != 0 {
            return Err("the tensor's data is not aligned".to_owned());
        }
        let mut raw = ptr::null_mut();
        // SAFETY: `data` is aligned for the elements, holds as many as the shape says
        // (checked above) and lives for `'a`, which the value does not outlive; the call
        // copies the shape. `NOTHING` is never written, as it stands for no elements.
        check(unsafe {
            (api().CreateTensorWithDataAsOrtValue)(
                environment.cpu.as_ptr(),
                data.cast(),
                len,
                shape.as_ptr(),
                shape.len(),
                element_type(dtype),
                &mut raw,
            )
        })?;
        // SAFETY: made by the call above, owned from here.
        unsafe { Value::from_raw(raw, Memory::Unknown) }
    }

    /// A tensor of the given strings, which may hold any bytes. `shape` must count
    /// exactly as many.
    pub fn strings<'s>(
        environment: &Environment,
        shape: &[i64],
        strings: impl ExactSizeIterator<Item = &'s [u8]>,
    ) -> Result<Value<'static>, String> {
        let elements = shape.iter().try_fold(1usize, |count, dim| {
            usize::try_from(*dim).ok().and_then(|dim| count.checked_mul(dim))
        });
        if elements != Some(strings.len()) {
            return Err(format!("{} strings are not a tensor of {shape:?}", strings.len()));
        }
        let mut raw = ptr::null_mut();
        // SAFETY: the allocator is live for ever; the shape is copied.
        check(unsafe {
            (api().CreateTensorAsOrtValue)(
                environment.allocator.as_ptr(),
                shape.as_ptr(),
                shape.len(),
                element_type(DType::Bytes),
                &mut raw,
            )
        })?;
        // SAFETY: made by the call above, owned from here.
        let value: Value<'static> = unsafe { Value::from_raw(raw, Memory::Independent)? };
        for (index, string) in strings.enumerate() {
            let mut buffer = ptr::null_mut();
            // SAFETY: `index` is below the number of elements (checked above), and a
            // successful call gives `string.len()` writable bytes of the new element.
            unsafe {
                check((api().GetResizedStringTensorElementBuffer)(
                    value.as_ptr(),
                    index,
                    string.len(),
                    &mut buffer,
                ))?;
                ptr::copy_nonoverlapping(string.as_ptr(), buffer.cast(), string.len());
            }
        }
        Ok(value)
    }

    /// Takes over a value that a run has made.
    ///
    /// # Safety
    /// `raw` is null or a live value that the caller owns, and points into nothing
    /// that lives shorter than `'a`.
    pub(super) unsafe fn from_run(raw: *mut OrtValue) -> Result<Value<'a>, String> {
        // SAFETY: the contract is passed on.
        unsafe { Value::from_raw(raw, Memory::Unknown) }
    }

    /// # Safety
    /// As [`Value::from_run`], and `memory` is true.
    unsafe fn from_raw(raw: *mut OrtValue, memory: Memory) -> Result<Value<'a>, String> {
        let raw = NonNull::new(raw).ok_or("ONNX Runtime returned no value")?;
        Ok(Value { raw, memory, _borrows: PhantomData })
    }

    pub(super) fn as_ptr(&self) -> *mut OrtValue {
        self.raw.as_ptr()
    }

    /// Whether the value is over a slice of ours that a run may write.
    pub fn is_writable(&self) -> bool {
        matches!(self.memory, Memory::Writable(..))
    }

    /// Whether `address` lies in the slice that this value borrows.
    pub(super) fn borrows(&self, address: usize) -> bool {
        match self.memory {
            Memory::Borrowed(start, len) | Memory::Writable(start, len) => {
                (start..start + len).contains(&address)
            }
            Memory::Independent | Memory::Unknown => false,
        }
    }

    /// Marks a value of a run as pointing into no slice of ours.
    pub(super) fn independent(self) -> Value<'a> {
        self.with(Memory::Independent)
    }

    fn with(mut self, memory: Memory) -> Value<'a> {
        self.memory = memory;
        self
    }

    /// Where the data of a tensor lies; `None` for what is not a tensor.
    pub(super) fn address(&self) -> Result<Option<usize>, String> {
        if self.kind()? != ValueKind::Tensor {
            return Ok(None);
        }
        let mut data = ptr::null_mut();
        // SAFETY: a live tensor.
        check(unsafe { (api().GetTensorMutableData)(self.as_ptr(), &mut data) })?;
        Ok(Some(data.addr()))
    }
}

impl Value<'_> {
    pub fn kind(&self) -> Result<ValueKind, String> {
        let mut is_tensor: c_int = 0;
        // SAFETY: a live value.
        check(unsafe { (api().IsTensor)(self.as_ptr(), &mut is_tensor) })?;
        if is_tensor != 0 {
            return Ok(ValueKind::Tensor);
        }
        let mut kind = 0i32;
        // SAFETY: a live value; an `ONNXType` is an `i32` in C.
        check(unsafe { (api().GetValueType)(self.as_ptr(), (&raw mut kind).cast::<ONNXType>()) })?;
        Ok(match kind {
            kind if kind == ONNXType::ONNX_TYPE_SEQUENCE as i32 => ValueKind::Sequence,
            kind if kind == ONNXType::ONNX_TYPE_MAP as i32 => ValueKind::Map,
            _ => ValueKind::Other,
        })
    }

    /// Type and dimensions of a tensor.
    pub fn tensor_type(&self) -> Result<(DType, Dims), String> {
        let mut info = ptr::null_mut();
        // SAFETY: a live value; what is not a tensor gives a status.
        check(unsafe { (api().GetTensorTypeAndShape)(self.as_ptr(), &mut info) })?;
        let (mut element, mut rank) = (0i32, 0);
        let mut dims = Dims::new();
        // SAFETY: `info` is live until released, once, below; an element type is an `i32`
        // in C; the array has the `rank` places that are filled.
        let read = unsafe {
            let read = check((api().GetTensorElementType)(info, (&raw mut element).cast()))
                .and_then(|()| check((api().GetDimensionsCount)(info, &mut rank)))
                .and_then(|()| {
                    dims.resize(rank, 0);
                    check((api().GetDimensions)(info, dims.as_mut_ptr(), rank))
                });
            (api().ReleaseTensorTypeAndShapeInfo)(info);
            read
        };
        read?;
        let dtype = dtype_of(element).map_err(|name| format!("elements are of type {name}"))?;
        Ok((dtype, dims))
    }

    /// The packed elements of a tensor of fixed-size elements.
    pub fn data(&self) -> Result<&[u8], String> {
        let (mut len, mut data) = (0, ptr::null_mut());
        // SAFETY: a live value; strings and what is not a tensor give a status at the
        // first call.
        unsafe {
            check((api().GetTensorSizeInBytes)(self.as_ptr(), &mut len))?;
            check((api().GetTensorMutableData)(self.as_ptr(), &mut data))?;
        }
        if len == 0 || data.is_null() {
            return Ok(&[]);
        }
        // SAFETY: the tensor holds `len` bytes at `data`, written by the run that made it,
        // for as long as the value lives; nobody writes to them any more.
        Ok(unsafe { slice::from_raw_parts(data.cast::<u8>(), len) })
    }

    /// The data of a tensor of fixed-size elements, without a copy where it is large
    /// and the value points into memory of its own. `session` made the value.
    pub fn into_bytes(self, session: &Arc<Session>) -> Result<Bytes, String> {
        let data = self.data()?;
        if data.len() < COPIED_BELOW || self.memory != Memory::Independent {
            return Ok(Bytes::copy_from_slice(data));
        }
        let (data, len) = (data.as_ptr(), data.len());
        // SAFETY: an independent value borrows no slice of ours, so `'static` is true; in
        // case it points into the session, it keeps the session.
        let value = unsafe { Value::from_raw(self.as_ptr(), Memory::Independent)? };
        std::mem::forget(self);
        Ok(Bytes::from_owner(OwnedData { data, len, _value: value, _session: Arc::clone(session) }))
    }

    /// Bytes of all strings of a string tensor together.
    pub fn strings_len(&self) -> Result<usize, String> {
        let mut len = 0;
        // SAFETY: a live value; what is not a string tensor gives a status.
        check(unsafe { (api().GetStringTensorDataLength)(self.as_ptr(), &mut len) })?;
        Ok(len)
    }

    /// Writes the strings of a string tensor one after another to `content`, which
    /// holds exactly [`Value::strings_len`] bytes, and where each begins to
    /// `offsets`, which has one place per element.
    pub fn read_strings(&self, content: &mut [u8], offsets: &mut [usize]) -> Result<(), String> {
        // SAFETY: a live value; the slices' true lengths are passed, and what does not
        // fit gives a status.
        check(unsafe {
            (api().GetStringTensorContent)(
                self.as_ptr(),
                content.as_mut_ptr().cast(),
                content.len(),
                offsets.as_mut_ptr(),
                offsets.len(),
            )
        })
    }

    /// Parts of a sequence, or of a map: 2, its keys and its values.
    pub fn count(&self) -> Result<usize, String> {
        let mut count = 0;
        // SAFETY: a live value; what has no parts gives a status.
        check(unsafe { (api().GetValueCount)(self.as_ptr(), &mut count) })?;
        Ok(count)
    }

    /// One part of a sequence or map. It may point into the whole.
    pub fn part(&self, environment: &Environment, index: usize) -> Result<Value<'_>, String> {
        let index = c_int::try_from(index).map_err(|_| "too many parts".to_owned())?;
        let mut raw = ptr::null_mut();
        // SAFETY: a live value, whose borrow outlives the part; an index out of range
        // gives a status; the part comes owned.
        unsafe {
            check((api().GetValue)(
                self.as_ptr(),
                index,
                environment.allocator.as_ptr(),
                &mut raw,
            ))?;
            Value::from_raw(raw, Memory::Unknown)
        }
    }
}

impl Drop for Value<'_> {
    fn drop(&mut self) {
        // SAFETY: owned since `from_raw`, released once.
        unsafe { (api().ReleaseValue)(self.as_ptr()) }
    }
}

/// An output as the owner of the bytes of an answer. The value goes before the session.
struct OwnedData {
    data: *const u8,
    len: usize,
    _value: Value<'static>,
    _session: Arc<Session>,
}

// SAFETY: the pointer is to memory of the value, which is `Send` and no longer written.
unsafe impl Send for OwnedData {}

impl AsRef<[u8]> for OwnedData {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `data` and `len` describe the value's memory, which lives as long as it.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }
}
