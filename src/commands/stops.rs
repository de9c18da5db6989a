//! What stops a real run, and is said by a dry one.

use crate::config::Mode;
use crate::error::{ALSO, Error};

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

/// All that stops a run as one error. What is no guard stands alone: the others may only follow from it.
pub(super) fn all_of(stops: Vec<Error>) -> Option<Error> {
    stops.into_iter().reduce(|all, more| match (all, more) {
        (all @ Error::Brake { .. }, Error::Brake { reason, lift }) => {
            Error::Brake { reason: format!("{all}{ALSO}{reason}"), lift }
        }
        (all, _) => all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_are_said() {
        let brake = |reason: &str, lift: &str| Error::Brake { reason: reason.to_owned(), lift: lift.to_owned() };
        let all = all_of(vec![brake("a", "b"), brake("c", "d")]).expect("an error");
        assert_eq!((all.code(), all.to_string()), ("brake", "a; b; also: c; d".to_owned()));
        let first = all_of(vec![Error::Usage("x".to_owned()), brake("c", "d")]).expect("an error");
        assert_eq!((first.code(), first.to_string()), ("usage", "x".to_owned()));
        assert!(all_of(Vec::new()).is_none());
    }
}
