//! What a session says about its inputs and outputs.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ort::sys::{ONNXType, OrtTypeInfo};

use super::{Environment, api, check, dtype_of};
use crate::types::{DType, Dim};

/// One input or output as the graph declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: Arc<str>,
    pub kind: PortKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// `dims` is `None` where the graph does not even say the rank.
    Tensor {
        dtype: DType,
        dims: Option<Vec<Dim>>,
    },
    Sequence(Box<PortKind>),
    Map {
        key: DType,
        value: Box<PortKind>,
    },
}

/// A type description that is freed with its owner.
pub(super) struct TypeInfo(NonNull<OrtTypeInfo>);

impl TypeInfo {
    /// Takes over a description that ONNX Runtime has handed out.
    ///
    /// # Safety
    /// `raw` is null or a live description that the caller owns.
    pub(super) unsafe fn from_raw(raw: *mut OrtTypeInfo) -> Result<TypeInfo, String> {
        NonNull::new(raw).map(TypeInfo).ok_or_else(|| "it has no type".to_owned())
    }

    /// The described type; optional types count as what they contain.
    pub(super) fn kind(&self) -> Result<PortKind, String> {
        // Read as a number: a newer library may know kinds that this build does not.
        let mut kind = 0i32;
        // SAFETY: the description is live; an `ONNXType` is an `i32` in C.
        check(unsafe {
            (api().GetOnnxTypeFromTypeInfo)(self.0.as_ptr(), (&raw mut kind).cast::<ONNXType>())
        })?;
        match kind {
            kind if kind == ONNXType::ONNX_TYPE_TENSOR as i32 => self.tensor(),
            kind if kind == ONNXType::ONNX_TYPE_SEQUENCE as i32 => {
                Ok(PortKind::Sequence(Box::new(self.sequence_element()?.kind()?)))
            }
            kind if kind == ONNXType::ONNX_TYPE_MAP as i32 => self.map(),
            kind if kind == ONNXType::ONNX_TYPE_OPTIONAL as i32 => self.contained()?.kind(),
            kind if kind == ONNXType::ONNX_TYPE_SPARSETENSOR as i32 => {
                Err("it is a sparse tensor, which the protocol cannot carry".to_owned())
            }
            _ => Err(format!("it is of a kind ({kind}) that the protocol cannot carry")),
        }
    }

    fn tensor(&self) -> Result<PortKind, String> {
        let mut info = ptr::null();
        let mut element = 0i32;
        // SAFETY: the description is live and of a tensor; `info` is part of it and is not
        // freed; an element type is an `i32` in C.
        let has_shape = unsafe {
            check((api().CastTypeInfoToTensorInfo)(self.0.as_ptr(), &mut info))?;
            if info.is_null() {
                return Err("it does not say what its elements are".to_owned());
            }
            check((api().GetTensorElementType)(info, (&raw mut element).cast()))?;
            (api().TensorTypeAndShape_HasShape)(info)
        };
        let dtype = dtype_of(element).map_err(|name| {
            format!("its elements are of type {name}, which the protocol cannot carry")
        })?;
        if !has_shape {
            return Ok(PortKind::Tensor { dtype, dims: None });
        }
        let mut rank = 0;
        // SAFETY: as above.
        check(unsafe { (api().GetDimensionsCount)(info, &mut rank) })?;
        let mut sizes = vec![-1i64; rank];
        let mut symbols = vec![ptr::null(); rank];
        // SAFETY: as above; both arrays have the `rank` places that the calls fill.
        unsafe {
            check((api().GetDimensions)(info, sizes.as_mut_ptr(), rank))?;
            check((api().GetSymbolicDimensions)(info, symbols.as_mut_ptr(), rank))?;
        }
        let dims = sizes.into_iter().zip(symbols).map(|(size, symbol)| {
            // Shape inference of a hostile model can come out below -1; it means nothing.
            let Ok(size) = usize::try_from(size) else {
                // SAFETY: null, or a NUL-terminated string inside the live description.
                let symbol = (!symbol.is_null()).then(|| unsafe { CStr::from_ptr(symbol) });
                let symbol = symbol.map(CStr::to_string_lossy).filter(|name| !name.is_empty());
                return Dim::Free(symbol.map(Arc::from));
            };
            Dim::Fixed(size)
        });
        Ok(PortKind::Tensor { dtype, dims: Some(dims.collect()) })
    }

    fn sequence_element(&self) -> Result<TypeInfo, String> {
        let (mut info, mut element) = (ptr::null(), ptr::null_mut());
        // SAFETY: the description is live and of a sequence; `element` comes owned.
        unsafe {
            check((api().CastTypeInfoToSequenceTypeInfo)(self.0.as_ptr(), &mut info))?;
            check((api().GetSequenceElementType)(info, &mut element))?;
            TypeInfo::from_raw(element)
        }
    }

    fn map(&self) -> Result<PortKind, String> {
        let (mut info, mut value, mut key) = (ptr::null(), ptr::null_mut(), 0i32);
        // SAFETY: the description is live and of a map; `value` comes owned; an element
        // type is an `i32` in C.
        let value = unsafe {
            check((api().CastTypeInfoToMapTypeInfo)(self.0.as_ptr(), &mut info))?;
            check((api().GetMapKeyType)(info, (&raw mut key).cast()))?;
            check((api().GetMapValueType)(info, &mut value))?;
            TypeInfo::from_raw(value)?
        };
        let key = dtype_of(key).map_err(|name| format!("its keys are of type {name}"))?;
        Ok(PortKind::Map { key, value: Box::new(value.kind()?) })
    }

    fn contained(&self) -> Result<TypeInfo, String> {
        let (mut info, mut inner) = (ptr::null(), ptr::null_mut());
        // SAFETY: the description is live and of an optional; `inner` comes owned.
        unsafe {
            check((api().CastTypeInfoToOptionalTypeInfo)(self.0.as_ptr(), &mut info))?;
            check((api().GetOptionalContainedTypeInfo)(info, &mut inner))?;
            TypeInfo::from_raw(inner)
        }
    }
}

impl Drop for TypeInfo {
    fn drop(&mut self) {
        // SAFETY: owned since `from_raw`, released once.
        unsafe { (api().ReleaseTypeInfo)(self.0.as_ptr()) }
    }
}

/// Copies a name that ONNX Runtime allocated, and frees it.
///
/// # Safety
/// `raw` is null or a NUL-terminated string from the environment's allocator that
/// the caller owns.
pub(super) unsafe fn take_name(
    environment: &Environment,
    raw: *mut std::ffi::c_char,
) -> Result<std::ffi::CString, String> {
    if raw.is_null() {
        return Err("a name is missing".to_owned());
    }
    // SAFETY: by the contract above; freed once, after the copy.
    unsafe {
        let name = CStr::from_ptr(raw).to_owned();
        check((api().AllocatorFree)(environment.allocator.as_ptr(), raw.cast()))?;
        Ok(name)
    }
}
