//! Stores inside of stores.

use std::path::Path;

use crate::layout;

/// Whether the root lies in the storage of another registry, which may be the one that is meant.
pub fn outer_store(root: &Path) -> Option<&Path> {
    root.ancestors().skip(1).find(|directory| directory.ends_with(layout::V2))
}
