//! The exit codes, and the only mapping to them.

use std::process::ExitCode;

use crate::error::Error;
use crate::finding::{Finding, Severity};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; nothing wrong found.
    Clean = 0,
    /// Done; findings about the store were reported.
    Findings = 1,
    /// Stopped before anything was changed.
    Stopped = 2,
    /// A sweep, a purge or a repair began and did not finish cleanly. Running it again is safe.
    Incomplete = 3,
    /// A signal ended it.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of a job that could not be done.
    pub fn of_error(error: &Error) -> Exit {
        match error {
            Error::Interrupted => Exit::Interrupted,
            _ => Exit::Stopped,
        }
    }

    /// The exit code of a finished job, from its findings. Notes do not count.
    pub fn of_findings(findings: &[Finding]) -> Exit {
        match findings.iter().any(|finding| finding.severity < Severity::Note) {
            true => Exit::Findings,
            false => Exit::Clean,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Code;

    #[test]
    fn notes_alone_are_clean() {
        let note = Finding::new(Code::UnrecognisedEntry);
        let warning = Finding::new(Code::LostRevision);
        let error = Finding::new(Code::MissingBlob);
        assert_eq!(Exit::of_findings(&[]), Exit::Clean);
        assert_eq!(Exit::of_findings(std::slice::from_ref(&note)), Exit::Clean);
        assert_eq!(Exit::of_findings(&[warning, note]), Exit::Findings);
        assert_eq!(Exit::of_findings(&[error]), Exit::Findings);
        assert_eq!(Exit::of_error(&Error::Interrupted) as u8, 130);
        assert_eq!(Exit::of_error(&Error::Usage(String::new())) as u8, 2);
    }
}
