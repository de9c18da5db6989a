//! A run that is held between plan and sweep.
//!
//! It writes its plan to a fifo, and the plan is more than a pipe holds. Once its first byte is there the plan is made and the lock
//! taken; and the sweep does not begin before the last one is read.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tempfile::TempDir;

use super::run::{Outcome, Regsweep, Running};
use super::{Content, layer};

pub(crate) fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a fifo");
}

/// Blobs that nothing links: their rows are more than the 64 KiB of a pipe, and more than what waits in a buffer before it.
pub(crate) fn filling() -> impl Iterator<Item = Content> {
    (1_000_000..1_000_500).map(layer)
}

/// A run between plan and sweep.
pub(crate) struct Held {
    pub(crate) running: Running,
    fifo: File,
    plan: Vec<u8>,
    _directory: TempDir,
}

impl Held {
    /// Starts a run that writes its plan nowhere else, on a store with what [`filling`] gives, until it has a plan.
    pub(crate) fn start(run: Regsweep) -> Held {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("plan");
        make_fifo(&path);
        let fifo = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).expect("a fifo can be read");
        let running = run.arg("--plan-out").arg(&path).start();
        let mut held = Held { running, fifo: File::from(fifo), plan: Vec::new(), _directory: directory };
        held.read(1);
        held
    }

    /// Reads so many bytes of the plan, or all of it.
    fn read(&mut self, bytes: usize) {
        let begun = Instant::now();
        let mut buffer = [0; 4096];
        while self.plan.len() < bytes {
            let room = buffer.len().min(bytes - self.plan.len());
            match self.fifo.read(&mut buffer[..room]) {
                Ok(0) if !self.plan.is_empty() => return,
                Ok(0) => {
                    let ended = self.running.child.try_wait().expect("a child can be asked");
                    assert!(ended.is_none(), "it ended without a plan: {ended:?}");
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(read) => self.plan.extend(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it is stuck");
        }
    }

    /// Lets it sweep.
    pub(crate) fn release(mut self) -> Outcome {
        self.read(usize::MAX);
        let mut outcome = self.running.wait();
        outcome.plan = Some(String::from_utf8(self.plan).expect("a plan is text"));
        outcome
    }
}
