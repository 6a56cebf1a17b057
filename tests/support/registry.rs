//! Model folders for tests.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::onnx_builder::Graph;

/// A temporary folder of models, in the layout the gateway serves.
pub struct Registry {
    folder: TempDir,
}

impl Registry {
    pub fn new() -> Registry {
        Registry { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn model(self, name: &str, graph: Graph) -> Registry {
        self.version(name, 1, &graph.model())
    }

    pub fn version(self, name: &str, version: u64, bytes: &[u8]) -> Registry {
        let folder = self.path().join(name).join(version.to_string());
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("model.onnx"), bytes).expect("a model file");
        self
    }

    /// `model.yaml` of a model that is there.
    pub fn options(self, name: &str, yaml: &str) -> Registry {
        fs::write(self.path().join(name).join("model.yaml"), yaml).expect("an options file");
        self
    }

    /// One of the sample models that the project brings.
    pub fn sample(self, name: &str) -> Registry {
        copy(&samples().join(name), &self.path().join(name));
        self
    }
}

/// The sample models that the project brings.
pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a sample model").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file");
        }
    }
}
