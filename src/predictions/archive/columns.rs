//! Columns that are being filled, straight from the bytes of tensors.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, DictionaryArray, ListArray, StringArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field};
use half::{bf16, f16};

use crate::types::DType;

/// Hexadecimal digits of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// What one element is, where it is kept, and how many bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Of(DType),
    /// 16 bytes, kept as their hexadecimal digits.
    Hash,
    /// A `u16`.
    Bin,
}

impl Element {
    pub fn data_type(self) -> DataType {
        match self {
            Element::Hash => DataType::Utf8,
            Element::Bin => DataType::Int32,
            Element::Of(dtype) => match dtype {
                DType::Bool => DataType::Boolean,
                DType::Uint8 => DataType::UInt8,
                DType::Uint16 => DataType::UInt16,
                DType::Uint32 => DataType::UInt32,
                DType::Uint64 => DataType::UInt64,
                DType::Int8 => DataType::Int8,
                DType::Int16 => DataType::Int16,
                DType::Int32 => DataType::Int32,
                DType::Int64 => DataType::Int64,
                // Parquet's readers do without halves.
                DType::Fp16 | DType::Bf16 | DType::Fp32 => DataType::Float32,
                DType::Fp64 => DataType::Float64,
                DType::Bytes => DataType::Utf8,
            },
        }
    }

    /// Bytes of one; `None` for texts, which vary.
    pub fn size(self) -> Option<usize> {
        match self {
            Element::Hash => Some(16),
            Element::Bin => Some(2),
            Element::Of(dtype) => dtype.size(),
        }
    }

    /// The first element of packed ones, and what follows it.
    pub fn split(self, packed: &[u8]) -> Option<(&[u8], &[u8])> {
        if let Some(size) = self.size() {
            return packed.split_at_checked(size);
        }
        let (length, rest) = packed.split_first_chunk::<4>()?;
        rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    }
}

/// The values of one column.
pub enum Values {
    Bool(BooleanBuilder),
    U8(PrimitiveBuilder<UInt8Type>),
    U16(PrimitiveBuilder<UInt16Type>),
    U32(PrimitiveBuilder<UInt32Type>),
    U64(PrimitiveBuilder<UInt64Type>),
    I8(PrimitiveBuilder<Int8Type>),
    I16(PrimitiveBuilder<Int16Type>),
    I32(PrimitiveBuilder<Int32Type>),
    I64(PrimitiveBuilder<Int64Type>),
    Half(PrimitiveBuilder<Float32Type>),
    Brain(PrimitiveBuilder<Float32Type>),
    F32(PrimitiveBuilder<Float32Type>),
    F64(PrimitiveBuilder<Float64Type>),
    Text(StringBuilder),
    Hash(StringBuilder),
    Bin(PrimitiveBuilder<Int32Type>),
}

/// Does the same with the builder inside, whatever its type.
macro_rules! each {
    ($values:expr, $builder:ident => $do:expr) => {
        match $values {
            Values::Bool($builder) => $do,
            Values::U8($builder) => $do,
            Values::U16($builder) => $do,
            Values::U32($builder) => $do,
            Values::U64($builder) => $do,
            Values::I8($builder) => $do,
            Values::I16($builder) => $do,
            Values::I32($builder) | Values::Bin($builder) => $do,
            Values::I64($builder) => $do,
            Values::Half($builder) | Values::Brain($builder) | Values::F32($builder) => $do,
            Values::F64($builder) => $do,
            Values::Text($builder) | Values::Hash($builder) => $do,
        }
    };
}

impl Values {
    pub fn new(element: Element) -> Values {
        match element {
            Element::Hash => Values::Hash(StringBuilder::new()),
            Element::Bin => Values::Bin(PrimitiveBuilder::new()),
            Element::Of(dtype) => match dtype {
                DType::Bool => Values::Bool(BooleanBuilder::new()),
                DType::Uint8 => Values::U8(PrimitiveBuilder::new()),
                DType::Uint16 => Values::U16(PrimitiveBuilder::new()),
                DType::Uint32 => Values::U32(PrimitiveBuilder::new()),
                DType::Uint64 => Values::U64(PrimitiveBuilder::new()),
                DType::Int8 => Values::I8(PrimitiveBuilder::new()),
                DType::Int16 => Values::I16(PrimitiveBuilder::new()),
                DType::Int32 => Values::I32(PrimitiveBuilder::new()),
                DType::Int64 => Values::I64(PrimitiveBuilder::new()),
                DType::Fp16 => Values::Half(PrimitiveBuilder::new()),
                DType::Bf16 => Values::Brain(PrimitiveBuilder::new()),
                DType::Fp32 => Values::F32(PrimitiveBuilder::new()),
                DType::Fp64 => Values::F64(PrimitiveBuilder::new()),
                DType::Bytes => Values::Text(StringBuilder::new()),
            },
        }
    }

    /// Appends one element, as [`Element::split`] gives it.
    pub fn push(&mut self, element: &[u8]) {
        match self {
            Values::Bool(to) => to.append_value(element.first().is_some_and(|byte| *byte != 0)),
            Values::U8(to) => to.append_value(u8::from_le_bytes(number(element))),
            Values::U16(to) => to.append_value(u16::from_le_bytes(number(element))),
            Values::U32(to) => to.append_value(u32::from_le_bytes(number(element))),
            Values::U64(to) => to.append_value(u64::from_le_bytes(number(element))),
            Values::I8(to) => to.append_value(i8::from_le_bytes(number(element))),
            Values::I16(to) => to.append_value(i16::from_le_bytes(number(element))),
            Values::I32(to) => to.append_value(i32::from_le_bytes(number(element))),
            Values::I64(to) => to.append_value(i64::from_le_bytes(number(element))),
            Values::Half(to) => to.append_value(f16::from_le_bytes(number(element)).to_f32()),
            Values::Brain(to) => to.append_value(bf16::from_le_bytes(number(element)).to_f32()),
            Values::F32(to) => to.append_value(f32::from_le_bytes(number(element))),
            Values::F64(to) => to.append_value(f64::from_le_bytes(number(element))),
            Values::Text(to) => to.append_value(String::from_utf8_lossy(element)),
            Values::Hash(to) => to.append_value(hex(element)),
            Values::Bin(to) => to.append_value(i32::from(u16::from_le_bytes(number(element)))),
        }
    }

    pub fn push_null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    pub fn len(&self) -> usize {
        each!(self, builder => ArrayBuilder::len(builder))
    }

    pub fn finish(&mut self) -> ArrayRef {
        each!(self, builder => ArrayBuilder::finish(builder))
    }
}

/// The bytes of a number, which [`Element::split`] has cut to its size.
fn number<const SIZE: usize>(element: &[u8]) -> [u8; SIZE] {
    element.first_chunk().copied().unwrap_or([0; SIZE])
}

/// A column of lists.
pub struct Lists {
    element: Element,
    values: Values,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

impl Lists {
    pub fn new(element: Element) -> Lists {
        let valid = NullBufferBuilder::new(0);
        Lists { element, values: Values::new(element), offsets: vec![0], valid }
    }

    pub fn data_type(element: Element) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(element.data_type(), true)))
    }

    /// Appends an item to the list that is to be ended next.
    pub fn push(&mut self, element: &[u8]) {
        self.values.push(element);
    }

    pub fn end(&mut self, valid: bool) {
        // A batch holds far fewer than 2^31 bytes.
        self.offsets.push(i32::try_from(self.values.len()).unwrap_or(i32::MAX));
        self.valid.append(valid);
    }

    /// # Errors
    /// Where the lists hold more items than can be numbered.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let field = Arc::new(Field::new_list_field(self.element.data_type(), true));
        let list = ListArray::try_new(field, offsets, self.values.finish(), self.valid.finish())?;
        Ok(Arc::new(list))
    }
}

/// A column of texts that come again and again: a dictionary of its own for each batch.
#[derive(Default)]
pub struct Words {
    keys: PrimitiveBuilder<Int32Type>,
    numbers: HashMap<String, i32>,
    values: StringBuilder,
    /// What was appended last is looked up at no cost.
    last: Option<(String, i32)>,
}

impl Words {
    pub fn data_type() -> DataType {
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
    }

    pub fn push(&mut self, text: &str) {
        if let Some((last, key)) = &self.last
            && last == text
        {
            self.keys.append_value(*key);
            return;
        }
        let key = match self.numbers.get(text) {
            Some(key) => *key,
            None => {
                let key = i32::try_from(self.numbers.len()).unwrap_or(i32::MAX);
                self.numbers.insert(text.to_owned(), key);
                self.values.append_value(text);
                key
            }
        };
        let (last, number) = self.last.get_or_insert_default();
        last.clear();
        last.push_str(text);
        *number = key;
        self.keys.append_value(key);
    }

    /// Null for an empty text.
    pub fn push_or_null(&mut self, text: &str) {
        if text.is_empty() { self.keys.append_null() } else { self.push(text) }
    }

    /// # Errors
    /// Never, as every key is one of a word.
    pub fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        self.numbers.clear();
        self.last = None;
        let values: StringArray = self.values.finish();
        Ok(Arc::new(DictionaryArray::try_new(self.keys.finish(), Arc::new(values))?))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    #[test]
    fn words_keep_their_numbers_within_a_batch_and_begin_anew_in_the_next() {
        let mut words = Words::default();
        for text in ["a", "a", "b", "", "a"] {
            words.push_or_null(text);
        }
        let batch = words.finish().expect("a dictionary");
        let texts = batch.as_dictionary::<Int32Type>().downcast_dict::<StringArray>();
        let texts: Vec<_> = texts.expect("texts").into_iter().collect();
        assert_eq!(texts, [Some("a"), Some("a"), Some("b"), None, Some("a")]);
        words.push("c");
        let batch = words.finish().expect("a dictionary");
        assert_eq!(batch.as_dictionary::<Int32Type>().values().len(), 1);
    }

    #[test]
    fn elements_are_cut_where_they_end() {
        let texts = b"\x02\0\0\0abrest";
        let split = Element::Of(DType::Bytes).split(texts);
        assert_eq!(split, Some((&b"ab"[..], &b"rest"[..])));
        assert_eq!(Element::Of(DType::Bytes).split(&texts[..5]), None);
        assert_eq!(Element::Of(DType::Fp64).split(&[0; 7]), None);
        assert_eq!(hex(&[0, 0xff, 0x1a]), "00ff1a");
    }
}
