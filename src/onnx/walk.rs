//! The walk through a model: every place where a node or a tensor can hide.
//!
//! Field numbers are those of `onnx.proto`. A message that may stand once must: ONNX
//! Runtime would merge several, and read another model than this walk has.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use super::external::External;
use super::tensor::{Held, MOST_DIMS, Tensor, check_spread};
use super::wire::{Field, Value, Wire, malformed};
use super::{Scan, ScanError, ScanRules};
use crate::types::FileName;

const MOST_NODES: u64 = 1_000_000;
const MOST_TENSORS: u64 = 1_000_000;
const MOST_FUNCTIONS: usize = 65_536;
/// Graphs within graphs, as bodies of loops and branches.
const MOST_DEPTH: usize = 32;
/// Bytes of a name of an operator, a domain or a tensor.
const MOST_NAME: u64 = 4096;
/// Entries of one tensor's external data.
const MOST_ENTRIES: usize = 16;

const ALWAYS_ALLOWED: [&str; 3] = ["", "ai.onnx", "ai.onnx.ml"];

/// The operator that loads a compiled model from a path of its own.
const READS_FILES: &str = "EPContext";

/// Domain and name of an operator or function.
type Operator = (String, String);

pub(super) struct Walk<'a, R> {
    wire: Wire<R>,
    rules: &'a ScanRules,
    external: External<'a>,
    nodes: u64,
    tensors: u64,
    /// Functions that the model defines.
    functions: BTreeSet<Operator>,
    /// Operators of other domains, which may be the model's own functions: these may
    /// come after the calls.
    foreign: BTreeSet<Operator>,
}

impl<'a, R: Read + Seek> Walk<'a, R> {
    pub(super) fn new(
        wire: Wire<R>,
        rules: &'a ScanRules,
        beside: &'a dyn Fn(&FileName) -> Result<u64, String>,
    ) -> Walk<'a, R> {
        Walk {
            wire,
            rules,
            external: External::new(beside),
            nodes: 0,
            tensors: 0,
            functions: BTreeSet::new(),
            foreign: BTreeSet::new(),
        }
    }

    pub(super) fn model(mut self) -> Result<Scan, ScanError> {
        let end = self.wire.len();
        let (mut once, mut imports) = (Once::default(), false);
        while let Some(field) = self.wire.next(end)? {
            match field.number {
                7 => {
                    once.only(7, "graph of the model")?;
                    self.graph(&field, 0)?;
                }
                8 => {
                    imports = true;
                    self.wire.skip(&field)?;
                }
                20 => self.training(&field)?,
                25 => self.function(&field)?,
                _ => self.wire.skip(&field)?,
            }
        }
        if !once.has(7) || !imports {
            let what = if once.has(7) { "operator set" } else { "graph" };
            return Err(malformed(format!("it has no {what}; the file may be truncated")));
        }
        if let Some((domain, op)) = self.foreign.difference(&self.functions).next() {
            return Err(ScanError::Domain { domain: shorten(domain), op: shorten(op) });
        }
        let external = self.external.names().collect();
        Ok(Scan { nodes: self.nodes, tensors: self.tensors, external })
    }

    /// `TrainingInfoProto`: two graphs.
    fn training(&mut self, field: &Field) -> Result<(), ScanError> {
        let end = self.wire.message(field)?;
        let mut once = Once::default();
        while let Some(field) = self.wire.next(end)? {
            match field.number {
                1 | 2 => {
                    once.only(field.number, "graph of a training step")?;
                    self.graph(&field, 0)?;
                }
                _ => self.wire.skip(&field)?,
            }
        }
        Ok(())
    }

    /// `FunctionProto`: nodes, and attributes with defaults.
    fn function(&mut self, field: &Field) -> Result<(), ScanError> {
        let end = self.wire.message(field)?;
        let (mut name, mut domain) = (String::new(), String::new());
        while let Some(field) = self.wire.next(end)? {
            match field.number {
                1 => name = self.wire.text(&field, MOST_NAME)?,
                10 => domain = self.wire.text(&field, MOST_NAME)?,
                7 => self.node(&field, 0)?,
                11 => self.attribute(&field, 0)?,
                _ => self.wire.skip(&field)?,
            }
        }
        self.functions.insert((domain, name));
        if self.functions.len() > MOST_FUNCTIONS {
            return Err(ScanError::Limit { what: "functions", most: MOST_FUNCTIONS as u64 });
        }
        Ok(())
    }

    /// `GraphProto`; `depth` graphs stand around it.
    fn graph(&mut self, field: &Field, depth: usize) -> Result<(), ScanError> {
        if depth >= MOST_DEPTH {
            return Err(ScanError::Limit { what: "graphs within graphs", most: MOST_DEPTH as u64 });
        }
        let end = self.wire.message(field)?;
        while let Some(field) = self.wire.next(end)? {
            match field.number {
                1 => self.node(&field, depth)?,
                5 => drop(self.tensor(&field)?),
                15 => self.sparse(&field)?,
                _ => self.wire.skip(&field)?,
            }
        }
        Ok(())
    }

    fn node(&mut self, field: &Field, depth: usize) -> Result<(), ScanError> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(ScanError::Limit { what: "nodes", most: MOST_NODES });
        }
        let end = self.wire.message(field)?;
        let (mut op, mut domain) = (String::new(), String::new());
        while let Some(field) = self.wire.next(end)? {
            match field.number {
                4 => op = self.wire.text(&field, MOST_NAME)?,
                5 => self.attribute(&field, depth)?,
                7 => domain = self.wire.text(&field, MOST_NAME)?,
                _ => self.wire.skip(&field)?,
            }
        }
        if op == READS_FILES {
            return Err(ScanError::Operator(op));
        }
        if !ALWAYS_ALLOWED.contains(&&*domain) && !self.rules.allowed_domains.contains(&domain) {
            self.foreign.insert((domain, op));
            // Each must be a function of the model in the end.
            if self.foreign.len() > MOST_FUNCTIONS {
                return Err(ScanError::Limit { what: "functions", most: MOST_FUNCTIONS as u64 });
            }
        }
        Ok(())
    }

    fn attribute(&mut self, field: &Field, depth: usize) -> Result<(), ScanError> {
        let end = self.wire.message(field)?;
        let mut once = Once::default();
        while let Some(field) = self.wire.next(end)? {
            if matches!(field.number, 5 | 6 | 22) {
                once.only(field.number, "value of an attribute")?;
            }
            match field.number {
                5 | 10 => drop(self.tensor(&field)?),
                6 | 11 => self.graph(&field, depth + 1)?,
                22 | 23 => self.sparse(&field)?,
                _ => self.wire.skip(&field)?,
            }
        }
        Ok(())
    }

    /// `SparseTensorProto`: values and indices are tensors, the shape is its own.
    fn sparse(&mut self, field: &Field) -> Result<(), ScanError> {
        let end = self.wire.message(field)?;
        let mut once = Once::default();
        let (mut values, mut dims) = (Tensor::default(), Vec::new());
        while let Some(field) = self.wire.next(end)? {
            match field.number {
                1 | 2 => {
                    once.only(field.number, "part of a sparse tensor")?;
                    let tensor = self.tensor(&field)?;
                    if field.number == 1 {
                        values = tensor;
                    }
                }
                3 => self.dims(&field, &mut dims)?,
                _ => self.wire.skip(&field)?,
            }
        }
        check_spread(&dims, values.element).map_err(|why| refused(&values.name, why))
    }

    fn tensor(&mut self, field: &Field) -> Result<Tensor, ScanError> {
        self.tensors += 1;
        if self.tensors > MOST_TENSORS {
            return Err(ScanError::Limit { what: "tensors", most: MOST_TENSORS });
        }
        let tensor = self.read_tensor(field)?;
        let held = tensor.check().and_then(|held| match held {
            Held::Inside => Ok(()),
            Held::Beside(bytes) => self.external.take(&tensor.external, bytes),
        });
        held.map_err(|why| refused(&tensor.name, why))?;
        Ok(tensor)
    }

    fn read_tensor(&mut self, field: &Field) -> Result<Tensor, ScanError> {
        let end = self.wire.message(field)?;
        let mut once = Once::default();
        let mut tensor = Tensor::default();
        while let Some(field) = self.wire.next(end)? {
            if matches!(field.number, 2 | 9 | 14) {
                once.only(field.number, "type, data or place of a tensor")?;
            }
            match field.number {
                1 => self.dims(&field, &mut tensor.dims)?,
                2 => tensor.element = integer(&field)?,
                3 => return Err(malformed("a tensor comes in segments".to_owned())),
                // Numbers of a fixed size, and numbers of one byte or more.
                4 => tensor.typed += self.typed(&field, 4)?,
                10 => tensor.typed += self.typed(&field, 8)?,
                5 | 7 | 11 => tensor.typed += self.typed(&field, 1)?,
                6 => {
                    self.wire.skip(&field)?;
                    tensor.strings += 1;
                }
                8 => tensor.name = self.wire.text(&field, MOST_NAME)?,
                9 => {
                    tensor.raw = Some(self.wire.message(&field)? - self.wire.at());
                    self.wire.skip(&field)?;
                }
                13 => {
                    let entry = self.entry(&field)?;
                    tensor.external.push(entry);
                    if tensor.external.len() > MOST_ENTRIES {
                        return Err(ScanError::Limit {
                            what: "entries of external data",
                            most: MOST_ENTRIES as u64,
                        });
                    }
                }
                14 => tensor.location = integer(&field)?,
                _ => self.wire.skip(&field)?,
            }
        }
        Ok(tensor)
    }

    /// Most values that a typed field holds, `size` bytes each at least.
    fn typed(&mut self, field: &Field, size: u64) -> Result<u64, ScanError> {
        self.wire.skip(field)?;
        Ok(match field.value {
            Value::Bytes(length) => length / size,
            Value::Varint(_) | Value::Fixed32 | Value::Fixed64 => 1,
        })
    }

    fn dims(&mut self, field: &Field, dims: &mut Vec<i64>) -> Result<(), ScanError> {
        self.wire.integers(field, |dim| {
            if dims.len() >= MOST_DIMS {
                return Err(ScanError::Limit {
                    what: "dimensions of a tensor",
                    most: MOST_DIMS as u64,
                });
            }
            dims.push(dim);
            Ok(())
        })
    }

    /// `StringStringEntryProto`.
    fn entry(&mut self, field: &Field) -> Result<(String, String), ScanError> {
        let end = self.wire.message(field)?;
        let (mut key, mut value) = (String::new(), String::new());
        while let Some(field) = self.wire.next(end)? {
            match field.number {
                1 => key = self.wire.text(&field, MOST_NAME)?,
                2 => value = self.wire.text(&field, MOST_NAME)?,
                _ => self.wire.skip(&field)?,
            }
        }
        Ok((key, value))
    }
}

/// The fields of a message that may stand once.
#[derive(Default)]
struct Once(BTreeSet<u32>);

impl Once {
    fn only(&mut self, number: u32, what: &str) -> Result<(), ScanError> {
        match self.0.insert(number) {
            true => Ok(()),
            false => Err(malformed(format!("a {what} stands twice"))),
        }
    }

    fn has(&self, number: u32) -> bool {
        self.0.contains(&number)
    }
}

/// A number that protobuf keeps in 32 bits.
fn integer(field: &Field) -> Result<i64, ScanError> {
    match field.value {
        Value::Varint(value) if i32::try_from(value as i64).is_ok() => Ok(value as i64),
        _ => Err(malformed(format!("field {} of a tensor is not of its kind", field.number))),
    }
}

fn refused(tensor: &str, why: String) -> ScanError {
    ScanError::Tensor { tensor: shorten(tensor), why }
}

/// A name out of the model as a message may show it.
fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
