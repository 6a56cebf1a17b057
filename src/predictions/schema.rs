//! What the tensors of a version's records mean. Records name their schema by
//! a hash of its text; the texts stand in files beside the segments, written
//! before the first record that needs them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::layout;
use crate::types::DType;

/// First 8 bytes of the SHA-256 of a schema's JSON, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub u64);

impl SchemaId {
    /// Of records that have no tensors.
    pub const NONE: SchemaId = SchemaId(0);
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Everything that is the same for all records of a version under one policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    pub model: String,
    pub version: u64,
    /// `sha256:<hex>` of the version's files.
    pub digest: String,
    /// The gateway that wrote.
    pub gateway: String,
    /// What computed: `cpu`.
    pub provider: String,
    /// Whether the first dimension of every tensor counts rows. Else a request is one row.
    pub row_wise: bool,
    pub inputs: Vec<TensorSchema>,
    pub outputs: Vec<TensorSchema>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorSchema {
    pub name: String,
    pub datatype: DType,
    /// As the model declares it; -1 is any size.
    pub shape: Vec<i64>,
    /// The columns of a row, where the tensor is a table: row-wise, and of
    /// `[rows]` or `[rows, fixed]`. Empty for any other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// What becomes of a tensor without columns. Never `bin` or `truncate`.
    #[serde(default)]
    pub whole: Treated,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(default)]
    pub treated: Treated,
}

/// [`super::Treatment`] as files tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treated {
    #[default]
    Keep,
    Drop,
    Hash,
    Bin(Vec<f64>),
    Truncate(usize),
    Digest,
}

impl Schema {
    pub fn id(&self) -> SchemaId {
        let digest = Sha256::digest(self.text().as_bytes());
        SchemaId(digest.iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte)))
    }

    fn text(&self) -> String {
        // Maps with other keys than texts alone could fail, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl TensorSchema {
    /// Whether a record holds the columns one by one, because not all are kept as they came.
    pub fn is_rewritten(&self) -> bool {
        self.columns.iter().any(|column| column.treated != Treated::Keep)
    }
}

/// The schemas of a log's folder, and those of this process.
#[derive(Debug)]
pub struct Schemas {
    root: PathBuf,
    known: Mutex<HashMap<SchemaId, Arc<Schema>>>,
}

impl Schemas {
    /// `root` is the log's folder; nothing is read yet.
    pub fn new(root: PathBuf) -> Schemas {
        Schemas { root, known: Mutex::default() }
    }

    /// Makes sure that a schema stands in its file. Does I/O.
    ///
    /// # Errors
    /// Where it cannot be written; it is known to this process all the same.
    pub fn keep(&self, schema: &Arc<Schema>) -> io::Result<()> {
        let id = schema.id();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(id, Arc::clone(schema));
        let folder = layout::schemas(&self.root);
        let file = folder.join(format!("{id}.json"));
        if std::fs::read_to_string(&file).is_ok_and(|text| text == schema.text()) {
            return Ok(());
        }
        std::fs::create_dir_all(&folder)?;
        let mut written = tempfile::NamedTempFile::new_in(&folder)?;
        io::Write::write_all(&mut written, schema.text().as_bytes())?;
        written.as_file().sync_all()?;
        written.persist(&file)?;
        std::fs::File::open(&folder)?.sync_all()
    }

    /// A schema by its id, from this process or from its file. Does I/O once.
    pub fn get(&self, id: SchemaId) -> Option<Arc<Schema>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = known.get(&id) {
            return Some(Arc::clone(schema));
        }
        let file = layout::schemas(&self.root).join(format!("{id}.json"));
        let schema: Schema = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        // A file that was changed does not say what its records mean.
        let schema = Arc::new(schema);
        (schema.id() == id).then(|| {
            known.insert(id, Arc::clone(&schema));
            schema
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_found_by_its_id_and_only_while_its_file_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let schema = Arc::new(Schema {
            model: "m".to_owned(),
            version: 3,
            digest: String::new(),
            gateway: String::new(),
            provider: "cpu".to_owned(),
            row_wise: true,
            inputs: Vec::new(),
            outputs: Vec::new(),
        });
        Schemas::new(folder.path().into()).keep(&schema).expect("written");
        let read = || Schemas::new(folder.path().into()).get(schema.id());
        assert_eq!(read(), Some(Arc::clone(&schema)));
        let file = layout::schemas(folder.path()).join(format!("{}.json", schema.id()));
        let text = std::fs::read_to_string(&file).expect("a file").replace('3', "4");
        std::fs::write(&file, text).expect("changed");
        assert_eq!(read(), None);
    }
}
