//! The records as a run found them, for a run that changes nothing else.
//!
//! A run records what it is about to do before it does it. If nothing comes of it, these records would speak of changes
//! that never were, and those of an earlier run that was cut off would be lost: the same command would not go on with
//! it, or another one would.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::store::Notes;

/// Records that can be taken back: what each held before its first change is kept.
pub struct Kept<'n> {
    notes: &'n dyn Notes,
    /// By name; `None` where there was no such record. One that is there is read right before its first change: it may be large.
    found: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl<'n> Kept<'n> {
    /// Keeps nothing yet.
    pub fn new(notes: &'n dyn Notes) -> Kept<'n> {
        Kept { notes, found: Mutex::default() }
    }

    /// Makes every record what it was.
    ///
    /// # Errors
    ///
    /// When one cannot be written. The others are as they were.
    pub fn take_back(&self) -> Result<(), Error> {
        let mut taken = Ok(());
        for (name, before) in std::mem::take(&mut *self.found()) {
            let back = match (self.notes.read(&name), &before) {
                (Ok(now), before) if now == *before => Ok(()),
                (_, Some(before)) => self.notes.replace(&name, &mut |out| out.write_all(before)),
                (_, None) => self.notes.remove(&name),
            };
            taken = taken.and(back);
        }
        taken
    }

    fn keep(&self, name: &str) -> Result<(), Error> {
        let mut found = self.found();
        if !found.contains_key(name) {
            found.insert(name.to_owned(), self.notes.read(name)?);
        }
        Ok(())
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes for Kept<'_> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = self.notes.read(name)?;
        // What is not there need not be read again before it is written.
        if read.is_none() {
            self.found().entry(name.to_owned()).or_insert(None);
        }
        Ok(read)
    }

    fn replace(&self, name: &str, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Error> {
        self.keep(name)?;
        self.notes.replace(name, write)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.keep(name)?;
        self.notes.remove(name)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.notes.at(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn each_record_is_what_it_was_before_its_first_change() {
        let store = MemoryStore::new();
        let notes: &dyn Notes = &store;
        let write = |notes: &dyn Notes, name: &str, text: &str| {
            notes.replace(name, &mut |out| out.write_all(text.as_bytes())).expect("written");
        };
        let all = || ["changed", "gone", "new", "other"].map(|name| notes.read(name).expect("readable"));
        ["changed", "gone", "other"].iter().for_each(|name| write(notes, name, "found"));
        let before = all();
        let kept = Kept::new(notes);
        write(&kept, "changed", "once");
        write(&kept, "changed", "twice");
        write(&kept, "new", "once");
        kept.remove("gone").expect("removed");
        write(notes, "other", "by somebody else");
        kept.take_back().expect("written");
        assert_eq!(all()[..3], before[..3]);
        assert_eq!(all()[3].as_deref(), Some(&b"by somebody else"[..]), "what was not changed here is left alone");
        write(&kept, "changed", "after that");
        kept.take_back().expect("written");
        assert_eq!(all()[..3], before[..3]);
    }
}
