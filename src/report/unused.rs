//! What every command says of a root directory that no registry has written to yet.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::{Metrics, Report, SCHEMA};
use crate::escape::escaped;
use crate::exit::Exit;

/// There was nothing to do, because nothing is stored.
#[derive(Debug)]
pub struct UnusedReport {
    /// The command.
    pub command: &'static str,
    /// The root directory.
    pub root: PathBuf,
    /// When the run began.
    pub started: SystemTime,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    command: &'a str,
    root: String,
    exit_code: u8,
    unused: bool,
}

impl Report for UnusedReport {
    fn text(&self) -> String {
        format!(
            "{} is empty: no registry has written to it yet, or its volume is not mounted here. There is nothing to do.\n",
            escaped(&self.root)
        )
    }

    fn json(&self) -> String {
        let root = escaped(&self.root).to_string();
        let document = Document { schema: SCHEMA, command: self.command, root, exit_code: self.exit() as u8, unused: true };
        serde_json::to_string_pretty(&document).expect("a document is text")
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new(self.command, self.started, self.exit());
        metrics.looked_at(0, 0);
        metrics
    }

    fn exit(&self) -> Exit {
        Exit::Clean
    }

    fn changed_anything(&self) -> bool {
        false
    }
}
