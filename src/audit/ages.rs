//! Minimum ages for findings.

use std::time::{Duration, SystemTime};

/// How old something must be before an audit reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// Anything younger may still be in use by a writer.
    pub(crate) min_age: Duration,
    /// An upload not continued within this period is stale.
    pub(crate) upload_age: Duration,
    /// The time from which ages are measured.
    pub(crate) now: SystemTime,
}

impl Ages {
    /// Whether a modification time is at least `age` ago. A time in the future is not.
    pub(super) fn is_past(&self, modified: SystemTime, age: Duration) -> bool {
        self.now.duration_since(modified).is_ok_and(|since| since >= age)
    }
}
