//! What the fuzz targets, the differential run against Go and `tests/suite/fuzz.rs` have in common.
//!
//! | File | What it gives |
//! | --- | --- |
//! | `checks` | what has to hold of any bytes; a panic says that it does not |
//! | `model` | what Go's decoder would read in a manifest, in the simplest way that reads no less |
//! | `manifests`, `node` | odd manifests by number |
//! | `mangle` | odd links and configurations by number |
//! | `cases` | odd manifests and links by hand, with what the registry makes of each |
//! | `random` | numbers that are the same on every machine |

pub mod cases;
pub mod checks;
pub mod mangle;
pub mod manifests;
pub mod model;
mod node;
pub mod random;
