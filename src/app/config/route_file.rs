//! A file of routes: one or several YAML documents, each of them a route or a
//! list of routes. Nothing in it refers to the environment or to other files.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ConfigError;
use super::locate::{self, Place};
use super::range::Problem;
use super::routes::twice;
use crate::routing::{Route, RouteDocument};
use crate::types::ModelName;

/// The routes of a file, each of them valid, and where they stand in it.
#[derive(Clone, Debug)]
pub struct RouteFile {
    source: String,
    text: String,
    routes: Vec<Stated>,
}

#[derive(Clone, Debug)]
struct Stated {
    document: RouteDocument,
    part: Part,
    /// Its place in the list that the YAML document is; none where that is the route itself.
    item: Option<usize>,
}

/// One YAML document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// Lines of the file before it.
    line: usize,
    /// Bytes of the file.
    start: usize,
    end: usize,
}

impl RouteFile {
    /// Reads the file at `path`, which messages call `source`.
    pub fn load(path: &Path, source: &str) -> Result<RouteFile, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        RouteFile::parse(text, source)
    }

    /// Reads `text`, which came from `source`: a name for messages.
    pub fn parse(text: String, source: &str) -> Result<RouteFile, ConfigError> {
        let mut file = RouteFile { source: source.to_owned(), text, routes: Vec::new() };
        for part in parts(&file.text) {
            let documents = file.read(part)?;
            file.routes.extend(documents);
        }
        let mut names = BTreeSet::new();
        for route in &file.routes {
            if let Err(problem) = Route::compile(&route.document, None) {
                return Err(file.at(route, problem.into()));
            }
            if !names.insert(route.document.name()) {
                return Err(file.at(route, twice(route.document.name())));
            }
        }
        Ok(file)
    }

    pub fn documents(&self) -> impl Iterator<Item = &RouteDocument> {
        self.routes.iter().map(|route| &route.document)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with one of its routes, shown where the key at `path`
    /// stands; `None` where it has no such route.
    pub fn problem(&self, route: &ModelName, path: &str, message: &str) -> Option<ConfigError> {
        let route = self.find(route)?;
        Some(self.at(route, Problem::new(path, message)))
    }

    /// Where a route's name stands, as `file.yaml:3:9`.
    pub fn place(&self, route: &ModelName) -> Option<String> {
        let error = self.problem(route, "metadata.name", "")?;
        let invalid = error.invalid()?;
        Some(format!("{}:{}:{}", self.source, invalid.line, invalid.column))
    }

    fn find(&self, name: &ModelName) -> Option<&Stated> {
        self.routes.iter().find(|route| route.document.name() == name)
    }

    fn read(&self, part: Part) -> Result<Vec<Stated>, ConfigError> {
        let options = || serde_saphyr::options! { with_snippet: false };
        let read = serde_saphyr::from_str_with_options(part.of(&self.text), options())
            // Once more for the error, with the lines that the file has.
            .or_else(|_| {
                let whole = part.with_lines(&self.text);
                serde_saphyr::from_str_with_options(&whole, options()).map_err(|error| {
                    let error = ConfigError::yaml(&error, &whole, &self.source);
                    match error.invalid() {
                        // What is wrong with all of it stands nowhere.
                        Some(nowhere) if nowhere.line == 0 => {
                            let problem = Problem::new("", &*nowhere.message);
                            ConfigError::at(part.first(), problem, &whole, &self.source)
                        }
                        _ => error,
                    }
                })
            })?;
        Ok(match read {
            OneOrMore::One(document) => vec![Stated { document: *document, part, item: None }],
            OneOrMore::More(documents) => documents
                .into_iter()
                .enumerate()
                .map(|(item, document)| Stated { document, part, item: Some(item) })
                .collect(),
        })
    }

    fn at(&self, route: &Stated, problem: Problem) -> ConfigError {
        let problem = match route.item {
            Some(item) => problem.within(&item.to_string()),
            None => problem,
        };
        let yaml = route.part.with_lines(&self.text);
        let place = locate::nearest(&yaml, &problem.path, 1).unwrap_or(route.part.first());
        ConfigError::at(place, problem, &yaml, &self.source)
    }
}

impl Part {
    fn of(self, text: &str) -> &str {
        &text[self.start..self.end]
    }

    fn first(self) -> Place {
        (self.line + 1, 1)
    }

    /// The document alone, on the lines that it has in the file.
    fn with_lines(self, text: &str) -> String {
        "\n".repeat(self.line) + self.of(text)
    }
}

/// The YAML documents of a file that hold something. A line that begins with
/// `---` begins one wherever it stands, in a text of several lines too.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = vec![Part { line: 0, start: 0, end: 0 }];
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let last = parts.len() - 1;
        let end = parts[last].end;
        let begins = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if begins {
            parts.push(Part { line, start: end, end: end + content.len() });
        } else {
            parts[last].end += content.len();
        }
    }
    parts.retain(|part| !is_empty(part.of(text)));
    parts
}

/// Whether there are only comments, directives and markers.
fn is_empty(part: &str) -> bool {
    part.lines().all(|line| {
        let line = line.trim_start_matches('\u{feff}').trim();
        line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line == "..."
    })
}

enum OneOrMore {
    One(Box<RouteDocument>),
    More(Vec<RouteDocument>),
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMore, D::Error> {
        struct Routes;
        impl<'de> Visitor<'de> for Routes {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a route, or a list of routes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore::More)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneOrMore, A::Error> {
                RouteDocument::deserialize(MapAccessDeserializer::new(map))
                    .map(|document| OneOrMore::One(Box::new(document)))
            }
        }
        deserializer.deserialize_any(Routes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "apiVersion: modelgate.dev/v1
kind: Route
metadata:
  name: a
spec:
  variants:
  - {name: champion, version: 1}
  - name: candidate
    version: 2
    weight: 5
";

    fn parse(yaml: &str) -> Result<RouteFile, ConfigError> {
        RouteFile::parse(yaml.to_owned(), "routes.yaml")
    }

    fn names(file: &RouteFile) -> Vec<&str> {
        file.documents().map(|document| document.name().as_str()).collect()
    }

    fn named(name: &str) -> String {
        A.replace("name: a\n", &format!("name: {name}\n"))
    }

    fn listed(routes: &[String]) -> String {
        routes
            .iter()
            .map(|route| format!("- {}\n", route.trim_end().replace('\n', "\n  ")))
            .collect()
    }

    #[test]
    fn a_file_holds_one_route_or_several() {
        let (b, c) = (named("b"), named("c"));
        for (yaml, expected) in [
            (A.to_owned(), &["a"][..]),
            (
                format!("# mine\n--- # the first\n{A}---\n{b}...\n---\n# nothing\n---\n{c}"),
                &["a", "b", "c"],
            ),
            (listed(&[A.to_owned(), b.clone()]), &["a", "b"]),
            (format!("---\r\n{A}---\n{}", listed(&[b, c])), &["a", "b", "c"]),
            (String::new(), &[]),
            ("# only a comment\n---\n".to_owned(), &[]),
            ("%YAML 1.2\n---\n[]\n".to_owned(), &[]),
        ] {
            assert_eq!(names(&parse(&yaml).expect("valid")), expected, "{yaml}");
        }
    }

    #[test]
    fn mistakes_are_shown_on_the_lines_of_the_whole_file() {
        let b = named("b");
        for (yaml, place, key, part) in [
            (A.replace("spec:", "sepc:"), (5, 1), "sepc", "did you mean 'spec'?"),
            (
                format!("{A}---\n{}", b.replace("    weight: 5", "    wieght: 5")),
                (21, 5),
                "spec.variants.1.wieght",
                "did you mean 'weight'?",
            ),
            (
                format!("{A}---\n{}", b.replace("weight: 5", "weight: lots")),
                (21, 13),
                "spec.variants.1.weight",
                "expected",
            ),
            (
                format!("{A}---\n{}", b.replace("weight: 5", "weight: 0.00001")),
                (21, 13),
                "spec.variants.1.weight",
                "at most three decimals",
            ),
            (
                listed(&[A.to_owned(), b.replace("version: 2", "version: -2")]),
                (19, 16),
                "1.spec.variants.1.version",
                "positive integers",
            ),
            (format!("{A}---\n{A}"), (15, 9), "metadata.name", "stands here a second time"),
            (listed(&[A.to_owned(), A.to_owned()]), (14, 11), "1.metadata.name", "a second time"),
            (format!("{A}---\nspec: [\n"), (12, 7), "", "expected mapping"),
            (format!("{A}---\n5\n"), (11, 1), "", "a route, or a list of routes"),
            (format!("{A}---\nkind: Route\n"), (12, 1), "kind", "missing field `apiVersion`"),
        ] {
            let error = parse(&yaml).expect_err(&yaml);
            let invalid = error.invalid().expect("read, but invalid");
            assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
            assert_eq!((invalid.line, invalid.column), place, "{error}");
            assert_eq!(invalid.key, key, "{error}");
        }
    }

    #[test]
    fn what_others_find_is_shown_in_the_file_too() {
        let file = parse(&format!("{A}---\n{}", listed(&[named("b")]))).expect("valid");
        let name = |text| ModelName::parse(text).expect("a name");
        for (route, path, place) in [
            ("a", "spec.variants.1.weight", (10, 13)),
            ("a", "spec.variants.0.weight", (7, 5)),
            ("a", "spec.shadow", (6, 3)),
            ("b", "spec.variants.1.version", (20, 16)),
            ("b", "status", (12, 3)),
        ] {
            let error = file.problem(&name(route), path, "no").expect("it is there");
            let invalid = error.invalid().expect("invalid");
            assert_eq!((invalid.line, invalid.column), place, "{route} {path}: {error}");
        }
        assert!(file.problem(&name("c"), "spec", "no").is_none());
        assert_eq!(file.place(&name("b")).as_deref(), Some("routes.yaml:15:11"));
    }

    #[test]
    fn nothing_is_expanded() {
        let yaml = A.replace("  name: a\n", "  name: a\n  labels: {home: \"${HOME}\"}\n");
        let file = parse(&yaml).expect("valid");
        let document = file.documents().next().expect("a route");
        assert_eq!(document.metadata.labels["home"], "${HOME}");
    }
}
