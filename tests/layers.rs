//! The import direction of design: a folder under `src/` imports only from
//! folders of lower levels, and only the engine knows ONNX Runtime's crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. Folders of one level do not import each other.
const LEVELS: [&[&str]; 10] = [
    &["types", "background"],
    &["telemetry"],
    &["onnx"],
    &["engine", "routing", "admission", "registry", "predictions", "drift"],
    &["quality", "serving"],
    &["shadow"],
    &["request", "control"],
    &["api"],
    &["app"],
    &["cli"],
];

/// Files that see everything.
const EXEMPT: [&str; 2] = ["main.rs", "lib.rs"];

/// Where ONNX Runtime's crate may be named.
const ENGINE: &str = "engine";

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

struct Source {
    /// Below `src/`.
    path: PathBuf,
    /// The folder right under `src/` that it belongs to.
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).expect("below src").to_owned();
                let module = below.iter().next().expect("a name").to_string_lossy();
                let module = module.trim_end_matches(".rs").to_owned();
                let text = code(&fs::read_to_string(&path).expect("a source file"));
                found.push(Source { path: below, module, text });
            }
        }
    }
    found.retain(|source| !EXEMPT.iter().any(|exempt| source.path == Path::new(exempt)));
    found
}

/// A file's text without comments and the contents of strings.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if next == '"' {
            string_length(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(next);
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = true;
    for (at, character) in text.char_indices() {
        match character {
            '"' if !escaped => return at + 1,
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The modules right under `src/` that `text` names by a path from the crate's
/// root: `crate::module` and each branch of `crate::{...}`.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        // `$crate::`, in macros, counts as well; `my_crate::` does not.
        if text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(branches(list)),
            None => found.extend(identifier(rest)),
        }
    }
    found
}

/// First names of the branches of a list whose `{` has been read.
fn branches(list: &str) -> Vec<String> {
    let mut depth = 1;
    let mut expect_name = true;
    let mut found = Vec::new();
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => expect_name = true,
            c if c.is_whitespace() => {}
            _ if expect_name => {
                found.extend(identifier(&list[at..]));
                expect_name = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// Modules reached with `super::` from so deep that it leaves the folder.
fn climbs_out(source: &Source) -> bool {
    // Depth of the file's module below the crate: `a.rs` and `a/mod.rs` are 1.
    let stem = source.path.file_stem().unwrap_or_default();
    let depth = source.path.iter().count() - usize::from(stem == "mod");
    // Modules written inside a file, such as its tests, are one deeper.
    let nested = usize::from(source.text.contains("mod tests {"));
    let climbs = (1..).take_while(|steps| source.text.contains(&"super::".repeat(*steps))).last();
    climbs.is_some_and(|climbs| climbs >= depth + nested)
}

#[test]
fn every_folder_has_a_level() {
    for source in sources() {
        assert!(
            level(&source.module).is_some(),
            "{}: its folder has no level",
            source.path.display()
        );
    }
    for module in LEVELS.concat() {
        let known = sources().iter().any(|source| source.module == module);
        assert!(known, "level of a folder that is not there: {module}");
    }
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        for import in imports(&source.text) {
            let down = match (level(&source.module), level(&import)) {
                (Some(from), Some(to)) => to < from || source.module == import,
                // The crate's own macros and constants, of which there are none.
                _ => false,
            };
            if !down {
                wrong.push(format!("src/{} imports {import}", source.path.display()));
            }
        }
        if climbs_out(&source) {
            wrong.push(format!("src/{} leaves its folder by super::", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "against the import direction:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_engine_names_ort() {
    for source in sources().into_iter().filter(|source| source.module != ENGINE) {
        for name in ["ort::", "ort_sys"] {
            let named = source.text.match_indices(name).any(|(at, _)| {
                !source.text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            });
            assert!(!named, "src/{} names {name}", source.path.display());
        }
    }
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let text = code(
        r#"
        use crate::types::Shape; // crate::comments
        pub(crate) use crate::{
            serving::{Catalog, turn},
            telemetry,
        };
        fn f() -> crate::engine::Engine { let _ = "crate::strings \" crate::more"; }
        use other_crate::api;
        "#,
    );
    let expected = ["engine", "serving", "telemetry", "types"].map(str::to_owned);
    assert_eq!(imports(&text), BTreeSet::from(expected));
    let source = |path: &str, text: &str| Source {
        path: path.into(),
        module: String::new(),
        text: text.to_owned(),
    };
    assert!(!climbs_out(&source("api/http/infer.rs", "use super::super::headers;")));
    assert!(climbs_out(&source("api/http/infer.rs", "use super::super::super::engine;")));
    assert!(climbs_out(&source("api/mod.rs", "use super::engine;")));
    assert!(!climbs_out(&source("api/read.rs", "use super::Face;")));
}
