//! Tensors of the protocol: packed little-endian elements, read from JSON and written to it.

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    const ALL: [(Self, &str); 14] = [
        (Self::Bool, "BOOL"),
        (Self::Int8, "INT8"),
        (Self::Int16, "INT16"),
        (Self::Int32, "INT32"),
        (Self::Int64, "INT64"),
        (Self::Uint8, "UINT8"),
        (Self::Uint16, "UINT16"),
        (Self::Uint32, "UINT32"),
        (Self::Uint64, "UINT64"),
        (Self::Fp16, "FP16"),
        (Self::Bf16, "BF16"),
        (Self::Fp32, "FP32"),
        (Self::Fp64, "FP64"),
        (Self::Bytes, "BYTES"),
    ];

    pub fn parse(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, known)| *known == name);
        known.map(|(datatype, _)| *datatype).ok_or_else(|| format!("datatype `{name}` is unknown"))
    }

    pub fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(datatype, _)| *datatype == self);
        known.expect("ALL lists every variant").1
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub datatype: Datatype,
    pub shape: Vec<u64>,
    /// Row-major, little-endian, no padding; each BYTES element behind its
    /// length as a u32.
    pub data: Vec<u8>,
}

impl Tensor {
    /// Reads `data` of a JSON tensor, flat or nested.
    pub fn from_json(
        name: &str,
        datatype: Datatype,
        shape: Vec<u64>,
        data: &Value,
    ) -> Result<Self, String> {
        let mut packed = Vec::new();
        let count =
            pack(datatype, data, &mut packed).map_err(|e| format!("input `{name}`: {e}"))?;
        let expected = shape.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim));
        if expected != Some(count) {
            return Err(format!("input `{name}`: shape {shape:?} does not fit {count} elements"));
        }
        Ok(Self { name: name.to_owned(), datatype, shape, data: packed })
    }

    /// Writes the elements as a flat JSON array.
    pub fn json_data(&self) -> Result<String, String> {
        let data = &self.data;
        Ok(match self.datatype {
            Datatype::Bool => numbers(data, |[byte]: [u8; 1]| byte != 0),
            Datatype::Int8 => numbers(data, i8::from_le_bytes),
            Datatype::Int16 => numbers(data, i16::from_le_bytes),
            Datatype::Int32 => numbers(data, i32::from_le_bytes),
            Datatype::Int64 => numbers(data, i64::from_le_bytes),
            Datatype::Uint8 => numbers(data, u8::from_le_bytes),
            Datatype::Uint16 => numbers(data, u16::from_le_bytes),
            Datatype::Uint32 => numbers(data, u32::from_le_bytes),
            Datatype::Uint64 => numbers(data, u64::from_le_bytes),
            Datatype::Fp32 => numbers(data, f32::from_le_bytes),
            Datatype::Fp64 => numbers(data, f64::from_le_bytes),
            Datatype::Bytes => strings(data)?,
            Datatype::Fp16 | Datatype::Bf16 => {
                let name = self.datatype.name();
                return Err(format!(
                    "input `{}`: {name} has no JSON form; use --protocol http-binary or grpc",
                    self.name
                ));
            }
        })
    }
}

/// Appends the elements of `data` to `packed` and returns how many they are.
fn pack(datatype: Datatype, data: &Value, packed: &mut Vec<u8>) -> Result<u64, String> {
    if let Value::Array(items) = data {
        return items.iter().try_fold(0, |count, item| Ok(count + pack(datatype, item, packed)?));
    }
    pack_element(datatype, data, packed)
        .ok_or_else(|| format!("{data} is no {}", datatype.name()))?;
    Ok(1)
}

fn pack_element(datatype: Datatype, value: &Value, packed: &mut Vec<u8>) -> Option<()> {
    match datatype {
        Datatype::Bool => packed.push(value.as_bool()?.into()),
        Datatype::Int8 => packed.extend(i8::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int16 => packed.extend(i16::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int32 => packed.extend(i32::try_from(value.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int64 => packed.extend(value.as_i64()?.to_le_bytes()),
        Datatype::Uint8 => packed.push(u8::try_from(value.as_u64()?).ok()?),
        Datatype::Uint16 => packed.extend(u16::try_from(value.as_u64()?).ok()?.to_le_bytes()),
        Datatype::Uint32 => packed.extend(u32::try_from(value.as_u64()?).ok()?.to_le_bytes()),
        Datatype::Uint64 => packed.extend(value.as_u64()?.to_le_bytes()),
        Datatype::Fp32 => packed.extend((value.as_f64()? as f32).to_le_bytes()),
        Datatype::Fp64 => packed.extend(value.as_f64()?.to_le_bytes()),
        Datatype::Bytes => push_bytes_element(value.as_str()?.as_bytes(), packed)?,
        // No JSON form.
        Datatype::Fp16 | Datatype::Bf16 => return None,
    }
    Some(())
}

/// Appends one BYTES element; None when it is longer than a u32 can say.
pub fn push_bytes_element(element: &[u8], packed: &mut Vec<u8>) -> Option<()> {
    packed.extend(u32::try_from(element.len()).ok()?.to_le_bytes());
    packed.extend(element);
    Some(())
}

fn numbers<const SIZE: usize, T>(packed: &[u8], number: fn([u8; SIZE]) -> T) -> String
where
    T: std::fmt::Debug,
{
    let elements: Vec<_> =
        packed.as_chunks().0.iter().map(|bytes| format!("{:?}", number(*bytes))).collect();
    format!("[{}]", elements.join(","))
}

fn strings(mut packed: &[u8]) -> Result<String, String> {
    let mut elements = Vec::new();
    while let Some((len, rest)) = packed.split_first_chunk() {
        let (element, rest) = rest
            .split_at_checked(u32::from_le_bytes(*len) as usize)
            .ok_or("a BYTES element ends early")?;
        let text = std::str::from_utf8(element).map_err(|_| "a BYTES element is not UTF-8")?;
        elements.push(Value::from(text).to_string());
        packed = rest;
    }
    Ok(format!("[{}]", elements.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(datatype: &str, shape: &[u64], data: Value) -> Result<Tensor, String> {
        Tensor::from_json("x", Datatype::parse(datatype)?, shape.to_vec(), &data)
    }

    #[test]
    fn json_comes_back_as_it_was_read() {
        let cases = [
            ("BOOL", json!([true, false])),
            ("INT8", json!([-128, 127])),
            ("UINT16", json!([0, 65535])),
            ("INT64", json!([i64::MIN, i64::MAX])),
            ("UINT64", json!([0, u64::MAX])),
            ("FP64", json!([0.1, -1e300])),
            ("BYTES", json!(["", "a \"quoted\" é"])),
        ];
        for (datatype, data) in cases {
            let text = read(datatype, &[2], data.clone()).unwrap().json_data().unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), data, "{datatype}");
        }
    }

    #[test]
    fn fp32_is_written_with_its_own_digits() {
        let tensor = read("FP32", &[2], json!([0.1, 17.99])).unwrap();
        assert_eq!(tensor.json_data().unwrap(), "[0.1,17.99]");
    }

    #[test]
    fn nested_data_is_flat_in_row_order() {
        let tensor = read("UINT8", &[2, 2], json!([[1, 2], [3, 4]])).unwrap();
        assert_eq!(tensor.data, [1, 2, 3, 4]);
    }

    #[test]
    fn wrong_elements_and_counts_are_refused() {
        assert!(read("UINT8", &[1], json!([256])).is_err());
        assert!(read("BOOL", &[1], json!([1])).is_err());
        assert!(read("FP32", &[3], json!([1.0, 2.0])).is_err());
        assert!(read("FP16", &[1], json!([1.0])).is_err());
        assert!(read("FP32", &[u64::MAX, 2], json!([1.0])).is_err());
    }
}
