//! When the registries of a store were started again, as their operator said.

use serde::{Deserialize, Serialize};

use super::{SCHEMA, parsed};
use crate::clock::RecordedTime;
use crate::error::Error;
use crate::store::Notes;

const RESTARTS: &str = "restarts.json";

/// More are never of use: each that is later covers what those before it do.
const REMEMBERED: usize = 8;

/// What `restarts.json` says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Restarts {
    schema: u32,
    /// The latest word last. Each: every registry that was in service then had been started after this.
    started_after: Vec<RecordedTime>,
}

/// The times that were noted.
///
/// # Errors
///
/// When they cannot be read or understood.
pub fn restarts(notes: &dyn Notes) -> Result<Vec<RecordedTime>, Error> {
    Ok(parsed::<Restarts>(notes, RESTARTS)?.unwrap_or_default().started_after)
}

/// Notes one more.
///
/// # Errors
///
/// When that cannot be written.
pub fn add_restart(notes: &dyn Notes, started_after: RecordedTime) -> Result<(), Error> {
    let mut all = restarts(notes)?;
    all.push(started_after);
    let first = all.len().saturating_sub(REMEMBERED);
    let restarts = Restarts { schema: SCHEMA, started_after: all.split_off(first) };
    notes.replace(RESTARTS, &mut |out| Ok(serde_json::to_writer_pretty(&mut *out, &restarts)?))
}
