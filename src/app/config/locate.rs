//! Which key stands where in a file; read only when something is wrong with it.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// Line and column, from 1.
pub(super) type Place = (usize, usize);

/// The key whose name or value stands at `place`.
pub(super) fn key_at(yaml: &str, place: Place) -> Option<String> {
    find(yaml, |_, name, value| name == place || value == place).map(|(key, _)| key)
}

/// Where the value of `key` stands.
pub(super) fn place_of(yaml: &str, key: &str) -> Option<Place> {
    find(yaml, |path, _, _| path == key).map(|(_, place)| place)
}

/// Where the value of `key` stands, or else that of the innermost entry around it that is
/// there and whose path has at least `least` parts.
pub(super) fn nearest(yaml: &str, key: &str, least: usize) -> Option<Place> {
    let mut key = key;
    loop {
        if let Some(place) = place_of(yaml, key) {
            return Some(place);
        }
        key = key.rsplit_once('.').map(|(around, _)| around)?;
        if key.split('.').count() < least {
            return None;
        }
    }
}

/// The first and innermost entry that `wanted` accepts by its path and the places of its
/// name and value, with the place of the value.
fn find(yaml: &str, wanted: impl Fn(&str, Place, Place) -> bool) -> Option<(String, Place)> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::FirstWins };
    let tree: Tree = serde_saphyr::from_str_with_options(yaml, options).ok()?;
    search(&tree, "", &wanted)
}

fn search(
    tree: &Tree,
    path: &str,
    wanted: &impl Fn(&str, Place, Place) -> bool,
) -> Option<(String, Place)> {
    let Tree::Entries(entries) = tree else { return None };
    entries.iter().find_map(|entry| {
        let path = match path {
            "" => entry.name.clone(),
            path => format!("{path}.{}", entry.name),
        };
        // A mapping stands where its first key does, and that key is meant.
        search(&entry.value, &path, wanted).or_else(|| {
            wanted(&path, entry.name_place, entry.value_place).then_some((path, entry.value_place))
        })
    })
}

/// The shape of a file, without its scalars.
enum Tree {
    /// Of a mapping, or of a sequence under the names `0`, `1` and so on.
    Entries(Vec<Entry>),
    Leaf,
}

struct Entry {
    name: String,
    name_place: Place,
    value: Tree,
    value_place: Place,
}

fn place(location: &Location) -> Place {
    (location.line() as usize, location.column() as usize)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, value)) = map.next_entry::<Spanned<String>, Spanned<Tree>>()? {
            entries.push(Entry {
                name_place: place(&name.referenced),
                name: name.value,
                value_place: place(&value.referenced),
                value: value.value,
            });
        }
        Ok(Tree::Entries(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(value) = seq.next_element::<Spanned<Tree>>()? {
            let value_place = place(&value.referenced);
            let name = entries.len().to_string();
            entries.push(Entry { name, name_place: value_place, value: value.value, value_place });
        }
        Ok(Tree::Entries(entries))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "a:\n  b: 1\n  c: [x, {d: 2}]\ne: ~\n";

    #[test]
    fn keys_are_found_by_name_and_by_value() {
        assert_eq!(key_at(YAML, (2, 3)).as_deref(), Some("a.b"));
        assert_eq!(key_at(YAML, (2, 6)).as_deref(), Some("a.b"));
        assert_eq!(key_at(YAML, (3, 10)).as_deref(), Some("a.c.1"));
        assert_eq!(key_at(YAML, (9, 9)), None);
        assert_eq!(key_at("a: [", (1, 1)), None, "broken YAML has no keys");
    }

    #[test]
    fn places_are_those_of_values() {
        assert_eq!(place_of(YAML, "a.c.1.d"), Some((3, 14)));
        assert_eq!(place_of(YAML, "e"), Some((4, 4)));
        assert_eq!(place_of(YAML, "a.x"), None);
    }

    #[test]
    fn what_is_missing_is_missing_from_something() {
        assert_eq!(nearest(YAML, "a.c.1.d", 1), Some((3, 14)));
        assert_eq!(nearest(YAML, "a.c.1.e.f", 1), Some((3, 10)));
        assert_eq!(nearest(YAML, "a.x", 1), Some((2, 3)));
        assert_eq!(nearest(YAML, "a.x", 2), None, "too far away");
        assert_eq!(nearest(YAML, "x", 1), None);
    }
}
