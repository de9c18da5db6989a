//! What every command says of a root directory that no registry has written to yet.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::html::{Data, Heading};
use super::json::{self, Head};
use super::{Document, Metrics, Page, Report};
use crate::escape::escaped;
use crate::exit::Exit;

/// There was nothing to do, because nothing is stored.
#[derive(Debug)]
pub struct UnusedReport {
    /// The command.
    pub command: &'static str,
    /// The root directory.
    pub root: PathBuf,
    /// The configuration that names it.
    pub config_path: Option<PathBuf>,
    /// When the run began.
    pub started: SystemTime,
}

#[derive(Serialize)]
struct Body {
    unused: bool,
}

impl UnusedReport {
    fn why(&self) -> &'static str {
        match self.root.starts_with("s3:") {
            true => "is empty: no registry has written to it yet, or it is another bucket or prefix. There is nothing to do.",
            false => "is empty: no registry has written to it yet, or its volume is not mounted here. There is nothing to do.",
        }
    }
}

impl Report for UnusedReport {
    fn document(&self) -> Document {
        let mut page = Document::default();
        page.line(&format!("{} {}", escaped(&self.root), self.why()));
        page
    }

    fn json(&self) -> String {
        let head = Head {
            command: self.command,
            outcome: None,
            exit: self.exit(),
            root: &self.root,
            config: self.config_path.as_deref(),
            started: self.started,
            elapsed: Duration::ZERO,
            findings: &[],
        };
        json::render(&head, Body { unused: true })
    }

    fn page(&self) -> Option<Page> {
        let mut data = Data::new(Heading {
            command: self.command,
            root: &self.root,
            config: self.config_path.as_deref(),
            started: self.started,
            elapsed: Duration::ZERO,
            verdict: "nothing is stored".to_owned(),
        });
        data.notice(&format!("{} {}", escaped(&self.root), self.why()));
        Some(Page::new(data))
    }

    fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new(self.command, self.started, self.exit());
        metrics.stored(0, 0);
        metrics
    }

    fn exit(&self) -> Exit {
        Exit::Clean
    }

    fn changed_anything(&self) -> bool {
        false
    }
}
