//! What a command needs of a place, in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::store::MemoryStore;
use crate::error::Error;
use crate::layout::OWN_DIRECTORY;
use crate::store::filesystem::Root;
use crate::store::{
    Access, Backend, Identity, Inside, LockGuard, Notes, Part, Parts, Repair, RequestCounts, Shelves, Store, Vacuum, Versions,
};

/// How often a waiting process tries again.
const RETRY: Duration = Duration::from_millis(5);

/// How many look, or that one changes things.
#[derive(Debug, Default)]
pub(super) struct Locks {
    looking: usize,
    changing: bool,
}

#[derive(Debug)]
struct Guard {
    locks: Arc<Mutex<Locks>>,
    access: Access,
}

impl LockGuard for Guard {
    fn is_held(&self) -> bool {
        true
    }

    fn unlockable(&self) -> Option<&'static str> {
        None
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        match self.access {
            Access::Look => locks.looking -= 1,
            Access::Remove | Access::Change => locks.changing = false,
        }
    }
}

impl Backend for MemoryStore {
    fn place(&self) -> &Path {
        Path::new("memory")
    }

    fn root(&self) -> Option<&Root> {
        None
    }

    fn store(&self) -> &dyn Store {
        self
    }

    fn vacuum(&self) -> &dyn Vacuum {
        self
    }

    fn repair(&self) -> Option<&dyn Repair> {
        Some(self)
    }

    fn shelves(&self) -> &dyn Shelves {
        self
    }

    fn notes(&self) -> &dyn Notes {
        self
    }

    fn parts(&self) -> &dyn Parts {
        self
    }

    fn lock(&self, access: Access, wait: Duration, _: Timestamp, stop: &AtomicBool) -> Result<Box<dyn LockGuard>, Error> {
        let begun = Instant::now();
        loop {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            match access {
                Access::Look if !locks.changing => locks.looking += 1,
                Access::Remove | Access::Change if !locks.changing && locks.looking == 0 => locks.changing = true,
                _ if stop.load(Ordering::Relaxed) => return Err(Error::Interrupted),
                _ if begun.elapsed() >= wait => {
                    return Err(Error::Locked { path: Backend::place(self).to_owned(), holder: "somebody else".to_owned() });
                }
                _ => {
                    drop(locks);
                    std::thread::sleep(RETRY);
                    continue;
                }
            }
            return Ok(Box::new(Guard { locks: Arc::clone(&self.locks), access }));
        }
    }

    fn has(&self, relative: &str) -> Result<bool, Error> {
        Ok(self.contains(Path::new(relative)))
    }

    fn shared_blobs(&self) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn holds(&self, _: &Path) -> Option<Inside> {
        None
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn requests(&self) -> Option<RequestCounts> {
        None
    }

    fn versions(&self) -> Option<Versions> {
        None
    }

    fn identity(&self) -> Result<Identity, Error> {
        Ok(Identity { place: Backend::place(self).to_owned(), filesystem: 0, directory: std::ptr::from_ref(self).addr() as u64 })
    }
}

impl Notes for MemoryStore {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.notes().get(name).cloned())
    }

    fn replace(&self, name: &str, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Error> {
        let mut text = Vec::new();
        write(&mut text).map_err(|source| Error::Io { operation: "write", path: self.at(name), source })?;
        self.notes().insert(name.to_owned(), text);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.notes().remove(name);
        Ok(())
    }

    fn at(&self, name: &str) -> PathBuf {
        Backend::place(self).join(OWN_DIRECTORY).join(name)
    }
}

/// Nothing is ever mounted here.
impl Parts for MemoryStore {
    fn present(&self, _: &mut dyn Iterator<Item = &Path>) -> Vec<Part> {
        Vec::new()
    }

    fn hold(&self, _: &[Part]) {}

    fn is_held(&self, _: &str) -> bool {
        false
    }
}

impl MemoryStore {
    fn notes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
