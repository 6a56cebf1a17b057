//! Loading and unloading through the protocol's repository extension, and what
//! the lifecycle's answers mean to a caller.

use std::sync::OnceLock;
use std::time::Duration;

use crate::control::{Asked, Control, ControlError};
use crate::types::{Code, InferError, ModelName};

/// The lifecycle as the faces see it.
#[derive(Default)]
pub struct Repository {
    /// Set once, when the lifecycle begins: the faces are there before it.
    control: OnceLock<Control>,
}

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Load,
    Unload,
}

impl Repository {
    /// Begins to take calls. Only the first handle counts.
    pub fn open(&self, control: Control) {
        let _ = self.control.set(control);
    }

    /// Makes the change and waits for it, at most for `patience`; the change
    /// goes on where that is over before. `parameters` are the names of the
    /// call's parameters, `face` says who asks in the audit log.
    ///
    /// # Errors
    /// `InvalidArgument` for a parameter that is not taken, and as [`refusal`].
    pub async fn change(
        &self,
        change: Change,
        model: &str,
        parameters: impl Iterator<Item = &str>,
        face: &str,
        patience: Duration,
    ) -> Result<(), InferError> {
        for parameter in parameters {
            check_parameter(change, parameter)?;
        }
        let name =
            ModelName::parse(model).map_err(|error| InferError::invalid(error.to_string()))?;
        let Some(control) = self.control.get() else {
            return Err(InferError::new(Code::Unavailable, "the gateway is starting"));
        };
        let asked = Asked { actor: face.to_owned(), reason: "repository extension".to_owned() };
        let changed = async {
            match change {
                Change::Load => control.load(name, asked).await,
                Change::Unload => control.unload(name, asked).await,
            }
        };
        match tokio::time::timeout(patience, changed).await {
            Ok(outcome) => outcome.map_err(refusal),
            Err(_) => Err(InferError::new(
                Code::DeadlineExceeded,
                "this takes longer than the request may; it goes on, and the repository index \
                 shows what comes of it",
            )),
        }
    }
}

fn check_parameter(change: Change, name: &str) -> Result<(), InferError> {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    match change {
        // Nothing here depends on another model.
        Change::Unload if name == "unload_dependents" => Ok(()),
        Change::Load if name == "config" || name.starts_with("file:") => {
            Err(InferError::invalid(format!(
                "parameter '{shown}' is not taken: models and their model.yaml come from the \
                 registry; push a version there and load without parameters"
            )))
        }
        Change::Load => {
            Err(InferError::invalid(format!("unknown parameter '{shown}': load takes none")))
        }
        Change::Unload => Err(InferError::invalid(format!(
            "unknown parameter '{shown}': unload takes unload_dependents"
        ))),
    }
}

/// The one mapping of the lifecycle's refusals to codes.
pub fn refusal(error: ControlError) -> InferError {
    let code = match &error {
        ControlError::UnknownModel(_)
        | ControlError::UnknownRoute(_)
        | ControlError::UnknownRegistry { .. } => Code::NotFound,
        ControlError::BadRoute { .. } => Code::InvalidArgument,
        ControlError::Refused(_) => Code::FailedPrecondition,
        ControlError::Rejected { .. } => Code::Rejected,
        ControlError::Busy | ControlError::Stopping => Code::Unavailable,
    };
    InferError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_replace_the_registry_is_refused() {
        for (change, name, taken) in [
            (Change::Load, "config", false),
            (Change::Load, "file:1/model.onnx", false),
            (Change::Load, "unload_dependents", false),
            (Change::Unload, "unload_dependents", true),
            (Change::Unload, "config", false),
        ] {
            assert_eq!(check_parameter(change, name).is_ok(), taken, "{change:?} {name}");
        }
        let error = check_parameter(Change::Load, "file:x").expect_err("refused");
        assert!(error.message.contains("registry"), "{error}");
    }
}
