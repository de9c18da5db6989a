//! Stores inside other stores.

use std::path::Path;

use crate::layout;

/// The storage of another registry that holds the root; that registry may be the intended one.
pub fn outer_store(root: &Path) -> Option<&Path> {
    root.ancestors().skip(1).find(|directory| directory.ends_with(layout::V2))
}
