//! Where a version comes from, as flags and the surroundings tell.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::registry::Provenance;

#[derive(Args, Debug)]
pub(super) struct ProvenanceFlags {
    /// Revision of the code that made the model [default: that of PATH's git checkout]
    #[arg(long, value_name = "REVISION")]
    git_revision: Option<String>,
    /// A reference to the training data, such as a URL
    #[arg(long, value_name = "REFERENCE")]
    training_data: Option<String>,
    /// A figure of the training, such as accuracy=0.97; may be repeated
    #[arg(long = "metric", value_name = "NAME=NUMBER", value_parser = metric)]
    metrics: Vec<(String, f64)>,
    /// Anything else, such as team=fraud; may be repeated
    #[arg(long = "tag", value_name = "NAME=TEXT", value_parser = tag)]
    tags: Vec<(String, String)>,
}

impl ProvenanceFlags {
    /// `path` is what is pushed.
    pub(super) fn provenance(&self, path: &Path) -> Provenance {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        Provenance {
            git_revision: self.git_revision.clone().or_else(|| git_revision(path)),
            training_data: self.training_data.clone(),
            metrics: self.metrics.iter().cloned().collect(),
            tags: self.tags.iter().cloned().collect::<BTreeMap<_, _>>(),
            created_at: now.and_then(|now| u64::try_from(now.as_millis()).ok()),
            created_by: std::env::var("USER").ok().filter(|user| !user.is_empty()),
        }
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=TEXT".to_owned()),
    }
}

fn metric(text: &str) -> Result<(String, f64), String> {
    let expected = || "expected NAME=NUMBER, such as accuracy=0.97".to_owned();
    let (name, value) = tag(text).map_err(|_| expected())?;
    let value: f64 = value.parse().map_err(|_| expected())?;
    // JSON has no other numbers.
    if value.is_finite() { Ok((name, value)) } else { Err(expected()) }
}

/// The revision of the checkout that `path` is in, with `-dirty` where something in it is
/// not committed; none where there is no checkout, or no git.
fn git_revision(path: &Path) -> Option<String> {
    let folder = if path.is_dir() { path } else { path.parent()? };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let revision = git(&["rev-parse", "HEAD"]).filter(|revision| !revision.is_empty())?;
    let is_clean = git(&["status", "--porcelain"])?.is_empty();
    Some(if is_clean { revision } else { format!("{revision}-dirty") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_tags_are_read() {
        assert_eq!(metric("accuracy=0.5"), Ok(("accuracy".to_owned(), 0.5)));
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        for bad in ["accuracy", "=1", "accuracy=", "accuracy=high", "accuracy=NaN", "x=inf"] {
            assert!(metric(bad).is_err(), "{bad}");
        }
    }
}
