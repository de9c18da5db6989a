//! Checks which store a state file belongs to. A copy of a store is another store: the copy has not been verified.

use std::path::Path;

use crate::error::Error;
use crate::escape::escaped;
use crate::store::Identity;

/// Checks that a state file written for one store belongs to this one.
pub(super) fn check(written_for: &Identity, store: &Identity, path: &Path) -> Result<(), Error> {
    if written_for == store {
        return Ok(());
    }
    let difference = match written_for.place == store.place {
        true => "of the same path, but on another filesystem or in another directory: a copy that was not read yet".to_owned(),
        false => format!("in {}", escaped(&written_for.place)),
    };
    Err(Error::Usage(format!(
        "the state file {} belongs to another store, {difference}; give a file of its own to each store, or remove this one to begin \
         anew",
        escaped(path)
    )))
}
