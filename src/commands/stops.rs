//! What stops a real run, and is said by a dry one.

use crate::config::Mode;
use crate::error::Error;

/// Ends a real run that something stands against, and lets a dry run say so, where it is something that stands against real runs alone
/// (`is_said`): anything else ends a dry run too.
pub(super) fn stops_real_runs(
    mode: Mode,
    asked: Result<(), Error>,
    is_said: fn(&Error) -> bool,
    stops: &mut Vec<Error>,
) -> Result<(), Error> {
    match asked {
        Err(error) if mode == Mode::DryRun && is_said(&error) => {
            stops.push(error);
            Ok(())
        }
        other => other,
    }
}
