//! One schema for files that differ: models have other features, and versions
//! of a model may. Pure.

use std::collections::{HashMap, HashSet};

use datafusion::arrow::datatypes::{DataType, Field, Schema};

/// All columns of `schemas` by name, in the order in which they first appear,
/// each of a type that holds every file's values: see [`common`]. Columns
/// whose types have none in common are left out.
pub fn merge<'a>(schemas: impl IntoIterator<Item = &'a Schema>) -> Schema {
    let mut names: Vec<&str> = Vec::new();
    let mut types: HashMap<&str, Option<DataType>> = HashMap::new();
    for field in schemas.into_iter().flat_map(|schema| schema.fields()) {
        let found = decoded(field.data_type());
        match types.get_mut(field.name().as_str()) {
            Some(known) => *known = known.take().and_then(|known| common(&known, &found)),
            None => {
                names.push(field.name());
                types.insert(field.name(), Some(found));
            }
        }
    }
    let field = |name: &str| Some(Field::new(name, types.get(name)?.clone()?, true));
    Schema::new(names.into_iter().filter_map(field).collect::<Vec<_>>())
}

/// Without columns of these names.
pub fn without(schema: &Schema, names: &[&str]) -> Schema {
    let names: HashSet<&str> = names.iter().copied().collect();
    let kept = schema.fields().iter().filter(|field| !names.contains(field.name().as_str()));
    Schema::new(kept.cloned().collect::<Vec<_>>())
}

/// Dictionaries are a matter of how a file is stored.
fn decoded(of: &DataType) -> DataType {
    match of {
        DataType::Dictionary(_, values) => decoded(values),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    }
}

/// The type that two columns of one name are read as: integers as `Int64`,
/// numbers of other kinds as `Float64`, anything else that can be written on a
/// line as text. None where one of them is made of several columns.
fn common(one: &DataType, other: &DataType) -> Option<DataType> {
    if one == other || other.is_null() {
        return Some(one.clone());
    }
    if one.is_null() {
        return Some(other.clone());
    }
    let both = |is: fn(&DataType) -> bool| is(one) && is(other);
    let fits_i64 = |of: &DataType| of.is_integer() && *of != DataType::UInt64;
    match () {
        () if fits_i64(one) && fits_i64(other) => Some(DataType::Int64),
        () if both(DataType::is_numeric) => Some(DataType::Float64),
        () if one.is_nested() || other.is_nested() => None,
        () => Some(DataType::Utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let field = |(name, of): &(&str, DataType)| Field::new(*name, of.clone(), false);
        Schema::new(columns.iter().map(field).collect::<Vec<_>>())
    }

    #[test]
    fn columns_of_all_files_come_together_by_name() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let list = DataType::new_list(DataType::Float32, true);
        let merged = merge([
            &schema(&[("a", DataType::Float32), ("b", dictionary), ("c", list.clone())]),
            &schema(&[("d", DataType::Boolean), ("a", DataType::Int64), ("b", DataType::Utf8)]),
            &schema(&[("c", DataType::Float32), ("c", list)]),
        ]);
        let found: Vec<_> = merged.fields().iter().map(|f| (f.name(), f.data_type())).collect();
        let expected = [
            (&"a".to_owned(), &DataType::Float64),
            (&"b".to_owned(), &DataType::Utf8),
            (&"d".to_owned(), &DataType::Boolean),
        ];
        assert_eq!(found, expected);
        assert!(merged.fields().iter().all(|field| field.is_nullable()));
    }

    #[test]
    fn types_that_differ_have_one_that_holds_both() {
        use DataType::{Boolean, Float32, Float64, Int8, Int64, Null, UInt32, UInt64, Utf8};
        for (one, other, expected) in [
            (Int8, UInt32, Int64),
            (Int8, UInt64, Float64),
            (Int64, Float32, Float64),
            (Utf8, Float32, Utf8),
            (Boolean, Int8, Utf8),
            (Null, Boolean, Boolean),
        ] {
            assert_eq!(common(&one, &other), Some(expected.clone()), "{one} {other}");
            assert_eq!(common(&other, &one), Some(expected), "{other} {one}");
        }
    }
}
