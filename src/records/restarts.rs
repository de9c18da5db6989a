//! Restarts of a store's registries, as reported by the operator.

use serde::{Deserialize, Serialize};

use super::{SCHEMA, parsed};
use crate::clock::RecordedTime;
use crate::error::Error;
use crate::store::Notes;

const RESTARTS: &str = "restarts.json";

/// More are of no use: each later restart covers the earlier ones.
const REMEMBERED: usize = 8;

/// The content of `restarts.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Restarts {
    schema: u32,
    /// In the order of recording. Each: every registry then in service had been started after this time.
    started_after: Vec<RecordedTime>,
}

/// The recorded times.
///
/// # Errors
///
/// When the record cannot be read or understood.
pub fn restarts(notes: &dyn Notes) -> Result<Vec<RecordedTime>, Error> {
    Ok(parsed::<Restarts>(notes, RESTARTS)?.unwrap_or_default().started_after)
}

/// Records one more time.
///
/// # Errors
///
/// When the record cannot be written.
pub fn add_restart(notes: &dyn Notes, started_after: RecordedTime) -> Result<(), Error> {
    let mut all = restarts(notes)?;
    all.push(started_after);
    let first = all.len().saturating_sub(REMEMBERED);
    let restarts = Restarts { schema: SCHEMA, started_after: all.split_off(first) };
    notes.replace(RESTARTS, &mut |out| Ok(serde_json::to_writer_pretty(&mut *out, &restarts)?))
}
