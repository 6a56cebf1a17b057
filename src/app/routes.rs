//! The folder of routes: what its files state, and what of that is in force. A
//! file that is invalid keeps what it stated before, so that a slip of the pen
//! takes no route away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::config::{Config, ConfigError, RouteFile};
use crate::control::DeclaredRoute;
use crate::routing::RouteDocument;
use crate::types::ModelName;

/// Most bytes of all files of the folder together; files beyond are refused.
const MAX_BYTES: u64 = 64 << 20;

/// Who states the routes that stand in the configuration.
const CONFIGURATION: &str = "config";

#[derive(Debug, Error)]
pub enum RoutesError {
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error("cannot list the folder of routes {}: {error}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("{place}: route '{route}' stands in {first} already; keep one of them")]
    Twice { route: ModelName, place: String, first: String },
    #[error("{file}: all files of the folder of routes may have {MAX_BYTES} bytes together")]
    TooLarge { file: String },
}

/// Files by name: what could be read of them.
type Read = BTreeMap<String, Result<String, RoutesError>>;

#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// What is in force, by the file's name.
    files: BTreeMap<String, Arc<RouteFile>>,
    /// What was said to be wrong, by the file's name, so that it is said once.
    told: BTreeMap<String, String>,
}

/// Reads all routes that a configuration states.
///
/// # Errors
/// The first thing that is wrong with a file.
pub fn open(config: &Config) -> Result<Option<Folder>, RoutesError> {
    let Some(path) = config.routes.folder() else { return Ok(None) };
    let mut folder =
        Folder { path: path.to_owned(), files: BTreeMap::new(), told: BTreeMap::new() };
    let mut wrong = folder.take(read(path)?, config.routes.inline());
    match wrong.pop_first() {
        Some((_, error)) => Err(error),
        None => Ok(Some(folder)),
    }
}

/// The routes of a configuration and its folder, with where they stand.
pub fn declared(config: &Config, folder: Option<&Folder>) -> Vec<DeclaredRoute> {
    let stated = |document: &RouteDocument, origin: &str| DeclaredRoute {
        document: document.clone(),
        origin: origin.to_owned(),
    };
    let inline = config.routes.inline().iter().map(|document| stated(document, CONFIGURATION));
    let mut routes: Vec<DeclaredRoute> = inline.collect();
    if let Some(folder) = folder {
        for (name, file) in &folder.files {
            let origin = folder.shown(name);
            routes.extend(file.documents().map(|document| stated(document, &origin)));
        }
    }
    routes
}

impl Folder {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the files again, and says in the log what is wrong with them;
    /// says whether other routes are in force.
    pub fn look(&mut self, inline: &[RouteDocument]) -> bool {
        let before = self.files.clone();
        let wrong = match read(&self.path) {
            Ok(read) => self.take(read, inline),
            Err(error) => BTreeMap::from([(String::new(), error)]),
        };
        let wrong: BTreeMap<String, String> =
            wrong.into_iter().map(|(file, error)| (file, error.to_string())).collect();
        for (file, error) in
            wrong.iter().filter(|(file, error)| self.told.get(*file) != Some(error))
        {
            tracing::error!(file, %error, "a file of routes is refused; what it said before stays");
        }
        self.told = wrong;
        // The same text makes the same file, so the pointers tell.
        let same = |(old, new): (&Arc<RouteFile>, &Arc<RouteFile>)| Arc::ptr_eq(old, new);
        !(before.keys().eq(self.files.keys()) && before.values().zip(self.files.values()).all(same))
    }

    /// Whether routes of the configuration stand in a file too.
    ///
    /// # Errors
    /// Names both places.
    pub fn check(&self, inline: &[RouteDocument]) -> Result<(), RoutesError> {
        let all = self.files.keys().cloned().collect();
        match self.clash(&self.files, &all, inline) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes in what the files say now. What is wrong with a file is returned
    /// by its name, and what it stated before stays in force.
    fn take(&mut self, read: Read, inline: &[RouteDocument]) -> BTreeMap<String, RoutesError> {
        let mut wrong = BTreeMap::new();
        let mut changed = BTreeSet::new();
        let mut next = BTreeMap::new();
        for (name, text) in read {
            let before = self.files.get(&name);
            let parsed = match (text, before) {
                (Ok(text), Some(before)) if before.text() == text => Ok(Arc::clone(before)),
                (Ok(text), _) => {
                    changed.insert(name.clone());
                    RouteFile::parse(text, &self.shown(&name)).map(Arc::new).map_err(Into::into)
                }
                (Err(error), _) => Err(error),
            };
            match (parsed, before) {
                (Ok(file), _) => drop(next.insert(name, file)),
                (Err(error), before) => {
                    changed.remove(&name);
                    next.extend(before.map(|before| (name.clone(), Arc::clone(before))));
                    wrong.insert(name, error);
                }
            }
        }
        // Files that have just changed give way to those that have not.
        while let Some((name, error)) = self.clash(&next, &changed, inline) {
            changed.remove(&name);
            match self.files.get(&name) {
                Some(before) => drop(next.insert(name.clone(), Arc::clone(before))),
                None => drop(next.remove(&name)),
            }
            wrong.insert(name, error);
        }
        self.files = next;
        wrong
    }

    /// The first of the changed files that has a route which stands elsewhere too.
    fn clash(
        &self,
        files: &BTreeMap<String, Arc<RouteFile>>,
        changed: &BTreeSet<String>,
        inline: &[RouteDocument],
    ) -> Option<(String, RoutesError)> {
        let mut places: BTreeMap<&ModelName, String> = inline
            .iter()
            .map(|document| (document.name(), "the configuration".to_owned()))
            .collect();
        let (new, old): (Vec<_>, Vec<_>) =
            files.iter().partition(|(name, _)| changed.contains(*name));
        for (name, file) in old.into_iter().chain(new) {
            for document in file.documents() {
                let route = document.name();
                let place = file.place(route).unwrap_or_default();
                let Some(first) = places.insert(route, place.clone()) else { continue };
                if changed.contains(name) {
                    let error = RoutesError::Twice { route: route.clone(), place, first };
                    return Some((name.clone(), error));
                }
            }
        }
        None
    }

    /// A file's name for people: with the last part of the folder's.
    fn shown(&self, name: &str) -> String {
        let folder = self.path.file_name().unwrap_or_default();
        Path::new(folder).join(name).display().to_string()
    }
}

/// Reads every file of routes. Links are followed: that is how volumes of
/// Kubernetes are made.
fn read(folder: &Path) -> Result<Read, RoutesError> {
    let unlisted = |error| RoutesError::Folder { path: folder.to_owned(), error };
    let mut files = Read::new();
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(unlisted)? {
        let path = entry.map_err(unlisted)?.path();
        let (Some(name), Some(extension)) = (path.file_name(), path.extension()) else { continue };
        let name = name.to_string_lossy().into_owned();
        let is_file = fs::metadata(&path).is_ok_and(|file| file.is_file());
        if name.starts_with('.') || !is_file || (extension != "yaml" && extension != "yml") {
            continue;
        }
        let text = fs::metadata(&path).and_then(|file| {
            bytes += file.len();
            if bytes > MAX_BYTES { Ok(None) } else { fs::read_to_string(&path).map(Some) }
        });
        let text = match text {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(RoutesError::TooLarge { file: path.display().to_string() }),
            Err(error) => Err(ConfigError::Read { path, error }.into()),
        };
        files.insert(name, text);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, version: u64) -> String {
        format!(
            "apiVersion: modelgate.dev/v1\nkind: Route\nmetadata: {{name: {name}}}\n\
             spec: {{variants: [{{name: champion, version: {version}}}]}}\n"
        )
    }

    fn folder() -> Folder {
        Folder { path: PathBuf::from("/srv/routes"), files: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// What is wrong with the files, after they say this.
    fn take(folder: &mut Folder, files: &[(&str, String)]) -> Vec<String> {
        let read = files.iter().map(|(name, text)| ((*name).to_owned(), Ok(text.clone())));
        let wrong = folder.take(read.collect(), &[]);
        wrong.into_values().map(|error| error.to_string()).collect()
    }

    /// Names and versions in force, with their files.
    fn in_force(folder: &Folder) -> Vec<String> {
        let routes = declared(&Config::default(), Some(folder)).into_iter();
        let mut shown: Vec<String> = routes
            .map(|route| {
                let champion = &route.document.spec.variants[0];
                format!("{} {} {}", route.document.name(), champion.version, route.origin)
            })
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn files_come_change_and_go() {
        let mut folder = folder();
        let both = format!("{}---\n{}", route("a", 1), route("b", 1));
        assert!(take(&mut folder, &[("1.yaml", both), ("2.yml", route("c", 1))]).is_empty());
        assert_eq!(
            in_force(&folder),
            ["a 1 routes/1.yaml", "b 1 routes/1.yaml", "c 1 routes/2.yml"]
        );
        assert!(
            take(&mut folder, &[("1.yaml", route("a", 2)), ("2.yml", route("c", 1))]).is_empty()
        );
        assert_eq!(in_force(&folder), ["a 2 routes/1.yaml", "c 1 routes/2.yml"]);
        assert!(take(&mut folder, &[("1.yaml", route("a", 2))]).is_empty());
        assert_eq!(in_force(&folder), ["a 2 routes/1.yaml"]);
    }

    #[test]
    fn an_invalid_file_keeps_what_it_said() {
        let mut folder = folder();
        take(&mut folder, &[("1.yaml", route("a", 1)), ("2.yaml", route("b", 1))]);
        let broken = route("a", 2).replace("spec", "sepc");
        let wrong = take(&mut folder, &[("1.yaml", broken.clone()), ("2.yaml", route("b", 2))]);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with("routes/1.yaml:4:1: sepc: unknown key"), "{wrong:?}");
        assert_eq!(in_force(&folder), ["a 1 routes/1.yaml", "b 2 routes/2.yaml"]);
        let new = take(&mut folder, &[("1.yaml", route("a", 1)), ("3.yaml", broken)]);
        assert_eq!((new.len(), in_force(&folder)), (1, vec!["a 1 routes/1.yaml".to_owned()]));
    }

    #[test]
    fn a_name_stands_in_one_place() {
        let mut folder = folder();
        take(&mut folder, &[("1.yaml", route("a", 1)), ("2.yaml", route("b", 1))]);
        let both = format!("{}---\n{}", route("b", 7), route("c", 7));
        let wrong = take(&mut folder, &[("1.yaml", both), ("2.yaml", route("b", 1))]);
        let expected = "routes/1.yaml:3:18: route 'b' stands in routes/2.yaml:3:18 already";
        assert!(wrong.len() == 1 && wrong[0].starts_with(expected), "{wrong:?}");
        assert_eq!(in_force(&folder), ["a 1 routes/1.yaml", "b 1 routes/2.yaml"]);

        // A route may move, in either direction of names.
        let moved = [("1.yaml", route("b", 2)), ("2.yaml", route("a", 2))];
        assert!(take(&mut folder, &moved).is_empty());
        assert_eq!(in_force(&folder), ["a 2 routes/2.yaml", "b 2 routes/1.yaml"]);

        let inline: RouteDocument = serde_saphyr::from_str(&route("b", 9)).expect("a route");
        let error = folder.check(&[inline]).expect_err("it stands in a file").to_string();
        assert!(
            error.contains("routes/1.yaml:3:18") && error.contains("the configuration"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_is_read_whole_at_the_start_and_looked_at_later() {
        let there = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(there.path().join(name), text).expect("a file");
        };
        write("a.yaml", &route("a", 1));
        write(".a.yaml.swp", "no");
        write("README.md", "no");
        fs::create_dir(there.path().join("more.yaml")).expect("a folder");
        let config = |text: &str| Config::parse(text, "test.yaml").expect("valid");
        let config = config(&format!("routes: {{folder: {}}}\n", there.path().display()));
        let mut folder = open(&config).expect("valid").expect("a folder");
        assert_eq!(folder.files.len(), 1);
        assert!(!folder.look(&[]), "nothing has changed");
        write("a.yaml", &route("a", 2));
        assert!(folder.look(&[]));
        write("a.yaml", "kind: [");
        assert!(!folder.look(&[]), "what it said before stays");
        assert!(open(&config).is_err(), "but nothing starts with it");
        fs::remove_dir_all(there.path()).expect("gone");
        assert!(!folder.look(&[]), "a folder that cannot be read takes nothing away");
        assert!(in_force(&folder)[0].starts_with("a 2 "));
        assert!(open(&config).is_err());
    }
}
