//! What programs are told of a job that could not be done: in place of a report, in the same shape.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use super::json::SCHEMA;
use crate::error::{Error, USAGE};
use crate::escape::escaped;
use crate::exit::Exit;

/// Why there is no report.
#[derive(Clone, Debug)]
pub struct Failure {
    command: Option<String>,
    root: Option<PathBuf>,
    config: Option<PathBuf>,
    started: SystemTime,
    exit: Exit,
    code: &'static str,
    message: String,
    path: Option<PathBuf>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    schema: u32,
    command: Option<&'a str>,
    outcome: &'static str,
    exit_code: u8,
    root: Option<String>,
    config: Option<String>,
    started: String,
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'static str,
    message: &'a str,
    path: Option<String>,
}

impl Failure {
    /// Of a command line that was not taken.
    pub fn usage(command: Option<String>, message: String, started: SystemTime) -> Failure {
        Failure { command, root: None, config: None, started, exit: Exit::Stopped, code: USAGE, message, path: None }
    }

    /// Of a command that could not do its job.
    pub fn new(command: &str, error: &Error, started: SystemTime) -> Failure {
        Failure {
            command: Some(command.to_owned()),
            root: None,
            config: None,
            started,
            exit: Exit::of_error(error),
            code: error.code(),
            message: error.to_string(),
            path: error.path().map(Path::to_owned),
        }
    }

    /// With the root directory and the configuration, as they were given.
    #[must_use]
    pub fn of_store(self, root: Option<PathBuf>, config: Option<PathBuf>) -> Failure {
        Failure { root, config, ..self }
    }

    /// For programs: one document, as of a report.
    pub fn json(&self) -> String {
        let document = Envelope {
            schema: SCHEMA,
            command: self.command.as_deref(),
            outcome: if self.exit == Exit::Interrupted { "interrupted" } else { "stopped" },
            exit_code: self.exit as u8,
            root: self.root.as_deref().map(escaped),
            config: self.config.as_deref().map(escaped),
            started: Timestamp::try_from(self.started).unwrap_or_default().to_string(),
            error: Body { code: self.code, message: &self.message, path: self.path.as_deref().map(escaped) },
        };
        serde_json::to_string_pretty(&document).expect("it is made of strings and numbers")
    }
}
