//! The columns of a version's tensors: `f.<name>` of inputs, `o.<name>` of outputs.
//!
//! A table becomes a column for each of its own; a tensor of one element for
//! each row becomes one; any other is a list for each row, or for the request
//! where the version does not work row by row. Of a tensor that is only kept
//! as its digest there are `<column>.digest`, `.min`, `.max`, `.mean`, `.std`,
//! `.non_finite` and `.shape`, the same on every row of the request.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, StringBuilder, UInt64Builder};
use arrow_schema::{ArrowError, DataType, Field};
use smallvec::SmallVec;

use super::columns::{Element, Lists, Values, hex};
use crate::predictions::record::{Form, Prediction, Statistics, TensorRecord};
use crate::predictions::schema::{Schema, TensorSchema, Treated};
use crate::types::DType;

/// The columns of all tensors.
#[derive(Default)]
pub struct Tensors {
    tensors: Vec<Columns>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

/// The columns of one tensor.
struct Columns {
    side: Side,
    index: u16,
    dtype: DType,
    name: String,
    content: Content,
    digest: Option<Digest>,
}

#[expect(clippy::large_enum_variant, reason = "there is one for each tensor of an open file")]
enum Content {
    /// It is not kept, or as its digest alone.
    Nothing,
    Table {
        /// Whether its rows were written anew, some columns hashed, say, or left out.
        rewritten: bool,
        columns: Vec<TableColumn>,
    },
    Lists {
        element: Element,
        items: Lists,
        /// Whether each row has a list of its own.
        of_rows: bool,
        /// Where the items alone do not tell it.
        shape: Option<Lists>,
    },
}

struct TableColumn {
    name: String,
    element: Element,
    values: Values,
}

struct Digest {
    digest: StringBuilder,
    /// Smallest, largest, mean and standard deviation.
    numbers: [Float64Builder; 4],
    non_finite: UInt64Builder,
    /// Where the tensor has no such column anyway.
    shape: Option<Lists>,
}

const NUMBERS: [&str; 4] = ["min", "max", "mean", "std"];

/// What is still to be read of one tensor of a record.
#[derive(Clone, Copy, Default)]
struct Cursor<'a> {
    /// Elements of the rows that follow.
    packed: Option<&'a [u8]>,
    /// Elements of a row.
    items: usize,
    /// Of what one row holds, or of the whole that was digested.
    shape: &'a [i64],
    statistics: Option<&'a Statistics>,
}

/// A record's tensors, row after row.
pub struct Cursors<'a> {
    tensors: SmallVec<[Cursor<'a>; 8]>,
    /// Tensors that are not what the schema says, and stay null.
    pub mismatched: usize,
}

impl Tensors {
    /// `digested` says whether there are columns for digests.
    pub fn new(schema: &Schema, digested: bool) -> Tensors {
        let mut names = Names::default();
        let mut tensors = Vec::new();
        for (side, list) in [(Side::Input, &schema.inputs), (Side::Output, &schema.outputs)] {
            for (index, tensor) in (0..=u16::MAX).zip(list) {
                let mut name = format!("{}.{}", side.prefix(), tensor.name);
                let content = Content::new(schema, tensor, side, &mut names, &mut name);
                let is_kept = match tensor.columns.as_slice() {
                    [] => tensor.whole != Treated::Drop,
                    columns => columns.iter().any(|column| column.treated != Treated::Drop),
                };
                let digest = (digested && is_kept).then(|| Digest::new(content.has_shape()));
                let dtype = tensor.datatype;
                tensors.push(Columns { side, index, dtype, name, content, digest });
            }
        }
        Tensors { tensors }
    }

    /// In the order of [`Tensors::finish`]. No two have the same name, whatever
    /// tensors and their columns are called.
    pub fn fields(&self) -> Vec<Field> {
        let mut taken = HashSet::new();
        let unique = |field: Field| {
            let numbered = (2..).map(|number| format!("{}.{number}", field.name()));
            let mut wanted = [field.name().clone()].into_iter().chain(numbered);
            let name = wanted.find(|name| taken.insert(name.clone())).unwrap_or_default();
            field.with_name(name)
        };
        self.tensors.iter().flat_map(Columns::fields).map(unique).collect()
    }

    /// Begins a record of so many rows.
    pub fn begin<'a>(&self, record: &'a Prediction, rows: usize) -> Cursors<'a> {
        let mut mismatched = 0;
        let cursors = self.tensors.iter().map(|columns| {
            let side = match columns.side {
                Side::Input => &record.inputs,
                Side::Output => &record.outputs,
            };
            let Some(tensor) = side.iter().find(|tensor| tensor.index == columns.index) else {
                return Cursor::default();
            };
            columns.begin(tensor, rows).unwrap_or_else(|| {
                mismatched += 1;
                Cursor::default()
            })
        });
        let tensors = cursors.collect();
        Cursors { tensors, mismatched }
    }

    /// Appends a record's next row.
    pub fn push(&mut self, cursors: &mut Cursors<'_>) {
        for (columns, cursor) in self.tensors.iter_mut().zip(&mut cursors.tensors) {
            columns.push(cursor);
        }
    }

    /// # Errors
    /// See [`Lists::finish`].
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut arrays = Vec::new();
        for columns in &mut self.tensors {
            columns.finish(&mut arrays)?;
        }
        Ok(arrays)
    }
}

impl Digest {
    fn new(has_shape: bool) -> Digest {
        Digest {
            digest: StringBuilder::new(),
            numbers: Default::default(),
            non_finite: UInt64Builder::new(),
            shape: (!has_shape).then(|| Lists::new(Element::Of(DType::Int64))),
        }
    }

    fn push(&mut self, cursor: &Cursor<'_>) {
        let of = cursor.statistics;
        self.digest.append_option(of.map(|of| hex(&of.digest.to_be_bytes())));
        let numbers = of.map(|of| [of.min, of.max, of.mean, of.std]);
        for (at, builder) in self.numbers.iter_mut().enumerate() {
            let number = numbers.map(|numbers| numbers[at]);
            builder.append_option(number.filter(|number| !number.is_nan()));
        }
        self.non_finite.append_option(of.map(|of| of.non_finite));
        if let Some(shape) = &mut self.shape {
            push_shape(shape, cursor.shape, of.is_some());
        }
    }
}

/// The names of tables' columns, and of tensors that are columns.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    /// `name` where it is free, else one made of the tensor's too.
    fn unique(&mut self, side: Side, tensor: &str, name: &str) -> String {
        let prefix = side.prefix();
        let short = format!("{prefix}.{name}");
        if self.0.insert(short.clone()) { short } else { format!("{prefix}.{tensor}.{name}") }
    }
}

impl Side {
    fn prefix(self) -> &'static str {
        match self {
            Side::Input => "f",
            Side::Output => "o",
        }
    }
}

impl Content {
    /// `whole` becomes the name of a column that holds all of the tensor.
    fn new(
        schema: &Schema,
        tensor: &TensorSchema,
        side: Side,
        names: &mut Names,
        whole: &mut String,
    ) -> Content {
        let kept = |treated: &Treated| match treated {
            Treated::Drop | Treated::Digest => None,
            Treated::Hash => Some(Element::Hash),
            Treated::Bin(_) => Some(Element::Bin),
            Treated::Keep | Treated::Truncate(_) => Some(Element::Of(tensor.datatype)),
        };
        if !tensor.columns.is_empty() && tensor.whole != Treated::Digest {
            let columns = tensor.columns.iter().filter_map(|column| {
                let element = kept(&column.treated)?;
                let name = names.unique(side, &tensor.name, &column.name);
                Some(TableColumn { name, element, values: Values::new(element) })
            });
            let columns = columns.collect();
            return Content::Table { rewritten: tensor.is_rewritten(), columns };
        }
        *whole = names.unique(side, &tensor.name, &tensor.name);
        // A whole tensor is kept, or told by its digest, which is hashed where it is.
        if tensor.whole != Treated::Keep {
            return Content::Nothing;
        }
        let element = Element::Of(tensor.datatype);
        let of_rows = schema.row_wise;
        let inner = tensor.shape.get(1..).filter(|_| of_rows);
        if inner.is_some_and(|inner| inner.iter().all(|size| *size == 1)) {
            let column = TableColumn { name: whole.clone(), element, values: Values::new(element) };
            return Content::Table { rewritten: false, columns: vec![column] };
        }
        let is_told = inner.is_some_and(|inner| inner.len() == 1 || !inner.contains(&-1));
        let shape = (!is_told).then(|| Lists::new(Element::Of(DType::Int64)));
        Content::Lists { element, items: Lists::new(element), of_rows, shape }
    }
}

impl Content {
    fn has_shape(&self) -> bool {
        matches!(self, Content::Lists { shape: Some(_), .. })
    }
}

impl Columns {
    /// Checks that a tensor holds what its columns need for so many rows, to
    /// the byte. `None` where it does not.
    fn begin<'a>(&self, tensor: &'a TensorRecord, rows: usize) -> Option<Cursor<'a>> {
        if tensor.dtype != self.dtype {
            return None;
        }
        let shape = tensor.shape.as_slice();
        let (data, is_rewritten) = match &tensor.form {
            Form::Digest(statistics) => {
                let statistics = Some(statistics).filter(|_| self.digest.is_some());
                return Some(Cursor { statistics, shape, ..Cursor::default() });
            }
            Form::Raw(data) => (data.as_ref(), false),
            Form::Rows(data) => (data.as_ref(), true),
        };
        match &self.content {
            Content::Nothing => Some(Cursor::default()),
            Content::Table { rewritten, columns } => {
                let elements = || columns.iter().map(|column| column.element);
                let right = *rewritten == is_rewritten && holds(data, rows, elements);
                right.then_some(Cursor { packed: Some(data), ..Cursor::default() })
            }
            Content::Lists { element, of_rows, .. } => {
                let items = elements(shape)?;
                let right = !is_rewritten
                    && items <= data.len()
                    && items.is_multiple_of(rows)
                    && holds(data, items, || std::iter::once(*element));
                let shape = shape.get(usize::from(*of_rows)..).unwrap_or_default();
                let cursor =
                    Cursor { packed: Some(data), items: items / rows, shape, statistics: None };
                right.then_some(cursor)
            }
        }
    }

    fn push(&mut self, cursor: &mut Cursor<'_>) {
        let mut next = |element: Element| {
            let (first, rest) = element.split(cursor.packed?)?;
            cursor.packed = Some(rest);
            Some(first)
        };
        match &mut self.content {
            Content::Nothing => {}
            Content::Table { columns, .. } => {
                for column in columns {
                    match next(column.element) {
                        Some(element) => column.values.push(element),
                        None => column.values.push_null(),
                    }
                }
            }
            Content::Lists { element, items, shape, .. } => {
                for _ in 0..cursor.items {
                    if let Some(item) = next(*element) {
                        items.push(item);
                    }
                }
                let is_there = cursor.packed.is_some();
                items.end(is_there);
                if let Some(shape) = shape {
                    push_shape(shape, cursor.shape, is_there || cursor.statistics.is_some());
                }
            }
        }
        if let Some(digest) = &mut self.digest {
            digest.push(cursor);
        }
    }

    fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut field = |name: String, of: DataType| fields.push(Field::new(name, of, true));
        let name = &self.name;
        let shape_type = Lists::data_type(Element::Of(DType::Int64));
        match &self.content {
            Content::Nothing => {}
            Content::Table { columns, .. } => {
                for column in columns {
                    field(column.name.clone(), column.element.data_type());
                }
            }
            Content::Lists { element, shape, .. } => {
                field(name.clone(), Lists::data_type(*element));
                if shape.is_some() {
                    field(format!("{name}.shape"), shape_type.clone());
                }
            }
        }
        if self.digest.is_some() {
            field(format!("{name}.digest"), DataType::Utf8);
            for number in NUMBERS {
                field(format!("{name}.{number}"), DataType::Float64);
            }
            field(format!("{name}.non_finite"), DataType::UInt64);
            if !self.content.has_shape() {
                field(format!("{name}.shape"), shape_type);
            }
        }
        fields
    }

    /// In the order of [`Columns::fields`].
    fn finish(&mut self, arrays: &mut Vec<ArrayRef>) -> Result<(), ArrowError> {
        match &mut self.content {
            Content::Nothing => {}
            Content::Table { columns, .. } => {
                arrays.extend(columns.iter_mut().map(|column| column.values.finish()));
            }
            Content::Lists { items, shape, .. } => {
                arrays.push(items.finish()?);
                if let Some(shape) = shape {
                    arrays.push(shape.finish()?);
                }
            }
        }
        if let Some(digest) = &mut self.digest {
            arrays.push(Arc::new(digest.digest.finish()));
            for number in &mut digest.numbers {
                arrays.push(Arc::new(number.finish()));
            }
            arrays.push(Arc::new(digest.non_finite.finish()));
            if let Some(shape) = &mut digest.shape {
                arrays.push(shape.finish()?);
            }
        }
        Ok(())
    }
}

/// Whether packed data is exactly so many rows of these elements.
fn holds<E: Iterator<Item = Element>>(data: &[u8], rows: usize, row: impl Fn() -> E) -> bool {
    let size = row().try_fold(0usize, |sum, element| sum.checked_add(element.size()?));
    if let Some(size) = size {
        return size.checked_mul(rows) == Some(data.len());
    }
    let mut rest = data;
    for _ in 0..rows {
        for element in row() {
            match element.split(rest) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
    }
    rest.is_empty()
}

/// Elements of a shape without unknown sizes.
fn elements(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, size| count.checked_mul(usize::try_from(*size).ok()?))
}

fn push_shape(to: &mut Lists, shape: &[i64], is_there: bool) {
    if is_there {
        shape.iter().for_each(|size| to.push(&size.to_le_bytes()));
    }
    to.end(is_there);
}
