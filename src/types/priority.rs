//! How much a request matters when not all can be served.

use serde::{Deserialize, Serialize};

/// Classes of work, the one that is served first standing first. A route says
/// which one its requests belong to; a request's header may only lower it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Critical,
    #[default]
    Normal,
    Batch,
    /// Copies of other requests, which nobody waits for.
    Shadow,
}

impl Priority {
    pub const ALL: [Priority; 4] =
        [Priority::Critical, Priority::Normal, Priority::Batch, Priority::Shadow];

    pub fn label(self) -> &'static str {
        match self {
            Priority::Critical => "critical",
            Priority::Normal => "normal",
            Priority::Batch => "batch",
            Priority::Shadow => "shadow",
        }
    }

    /// The class of that name.
    pub fn parse(text: &[u8]) -> Option<Priority> {
        Priority::ALL.into_iter().find(|class| class.label().as_bytes() == text)
    }

    /// The less important of two.
    pub fn lowered_to(self, other: Priority) -> Priority {
        self.max(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_never_raised() {
        for (of_route, asked, expected) in [
            (Priority::Normal, Priority::Critical, Priority::Normal),
            (Priority::Normal, Priority::Batch, Priority::Batch),
            (Priority::Critical, Priority::Normal, Priority::Normal),
            (Priority::Batch, Priority::Batch, Priority::Batch),
        ] {
            assert_eq!(of_route.lowered_to(asked), expected);
        }
        assert_eq!(Priority::parse(b"batch"), Some(Priority::Batch));
        assert_eq!(Priority::parse(b"Batch"), None);
    }
}
