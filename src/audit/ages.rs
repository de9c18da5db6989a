//! How old things are before they are reported.

use std::time::{Duration, SystemTime};

/// How old things are before they are reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// What is younger may still be at work.
    pub(crate) min_age: Duration,
    /// An upload that was not continued within this period is stale.
    pub(crate) upload_age: Duration,
    /// The moment that ages are counted back from.
    pub(crate) now: SystemTime,
}

impl Ages {
    /// Whether something was last touched at least this long ago. What lies in the future was not.
    pub(super) fn is_past(&self, modified: SystemTime, age: Duration) -> bool {
        self.now.duration_since(modified).is_ok_and(|since| since >= age)
    }
}
