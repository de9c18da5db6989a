//! Shelves in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

use super::store::{MemoryStore, Node, now};
use crate::error::{Context as _, Error};
use crate::layout::{OWN_DIRECTORY, Target};
use crate::oci::Digest;
use crate::store::{
    Condition, Contents, Directories, FileState, Held, ManifestContent, Planned, Removal, Return, Shelf, Shelves,
};

/// What lies on one.
#[derive(Debug, Default)]
pub(super) struct Lying {
    /// By the paths that they had.
    files: BTreeMap<PathBuf, Node>,
    stamps: BTreeMap<String, Node>,
}

type All = BTreeMap<String, Lying>;

#[derive(Debug)]
struct MemoryShelf<'s> {
    store: &'s MemoryStore,
    name: String,
    place: PathBuf,
}

impl MemoryStore {
    fn all(&self) -> MutexGuard<'_, All> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf<'s>(&'s self, name: &str) -> Box<dyn Shelf + 's> {
        Box::new(MemoryShelf { store: self, name: name.to_owned(), place: Shelves::place(self).join(name) })
    }
}

impl Shelves for MemoryStore {
    fn place(&self) -> PathBuf {
        Path::new("memory").join(OWN_DIRECTORY).join("quarantine")
    }

    fn list<'s>(&'s self, is_run: &dyn Fn(&str) -> bool) -> Result<Vec<Box<dyn Shelf + 's>>, Error> {
        Ok(self.all().keys().filter(|name| is_run(name)).map(|name| self.shelf(name)).collect())
    }

    fn make<'s>(&'s self, name: &str) -> Result<Option<Box<dyn Shelf + 's>>, Error> {
        let mut all = self.all();
        if all.contains_key(name) {
            return Ok(None);
        }
        all.insert(name.to_owned(), Lying::default());
        Ok(Some(self.shelf(name)))
    }

    fn ensure_possible(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn ensure_returnable(&self, _: &mut dyn Iterator<Item = &Target>, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn ensure_room(&self, _: u64, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

impl MemoryShelf<'_> {
    fn with<T>(&self, look: impl FnOnce(&mut Lying) -> T) -> Result<T, Error> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        self.store.all().get_mut(&self.name).map(look).ok_or_else(absent).context("open", &self.place)
    }
}

impl Shelf for MemoryShelf<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> &Path {
        &self.place
    }

    fn read_stamp(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.with(|lying| lying.stamps.get(name).and_then(|stamp| stamp.content.clone()))
    }

    fn write_stamp(&self, name: &str, text: &[u8]) -> Result<(), Error> {
        self.with(|lying| drop(lying.stamps.insert(name.to_owned(), Node::file(text.to_vec(), now()))))
    }

    fn rename_stamp(&self, from: &str, to: &str) -> Result<(), Error> {
        self.with(|lying| {
            if let Some(stamp) = lying.stamps.remove(from) {
                lying.stamps.insert(to.to_owned(), stamp);
            }
        })
    }

    fn stamp_written(&self, name: &str) -> Result<SystemTime, Error> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let written = self.with(|lying| lying.stamps.get(name).map(|stamp| stamp.modified))?;
        written.ok_or_else(absent).context_with("look at", || self.place.join(name))
    }

    fn contents(&self, _: &[&str], room: u64) -> Result<Contents, Error> {
        self.with(|lying| {
            let held = |(path, node): (&PathBuf, &Node)| {
                let named = || Digest::parse(node.content.as_deref()?);
                Some(Held { target: Target::of_file(path, named)?, stat: node.stat(), changed: node.changed })
            };
            let mut held: Vec<Held> = lying.files.iter().filter_map(held).collect();
            held.sort_by(|a, b| a.target.cmp(&b.target));
            let all = held.len();
            held.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            Contents { unrecognised: 0, more: (all - held.len()) as u64, held }
        })
    }

    fn take(&self, planned: &Planned<'_>, directories: Directories) -> Result<Removal, Error> {
        self.store.dispose_of(planned, directories, |node| {
            let path = planned.target.path();
            let node = Node { changed: now(), ..node.clone() };
            let is_free = self.with(|lying| match lying.files.entry(path.clone()) {
                Entry::Vacant(place) => {
                    place.insert(node);
                    true
                }
                Entry::Occupied(_) => false,
            })?;
            match is_free {
                true => Ok(()),
                false => Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("quarantine", path),
            }
        })
    }

    fn keep(&self, planned: &Planned<'_>) -> Result<Removal, Error> {
        let path = planned.target.path();
        let Some(node) = self.store.content(&path).map(|content| Node::file(content, planned.stat.modified)) else {
            return Ok(Removal::AlreadyGone);
        };
        if self.store.state(&path) != FileState::File(*planned.stat) {
            return Ok(Removal::Changed("it was written to in the meantime"));
        }
        let node = Node { changed: now(), ..node };
        match self.with(|lying| lying.files.entry(path.clone()).or_insert(node.clone()).content == node.content)? {
            true => Ok(Removal::Removed),
            false => Err(io::Error::from(io::ErrorKind::AlreadyExists)).context("quarantine", path),
        }
    }

    fn give_back_over(&self, target: &Target, until: Option<SystemTime>) -> Result<Return, Error> {
        let path = target.path();
        let content = self.store.content(&path);
        let is_made = matches!(self.store.state(&path), FileState::File(there) if until.is_none_or(|until| there.modified <= until))
            && !matches!(target, Target::Blob(_))
            && content == target.digest().map(|digest| digest.to_string().into_bytes());
        let is_same = self.with(|lying| lying.files.get(&path).is_some_and(|node| node.content == content))?;
        if is_made || is_same {
            return Ok(match self.with(|lying| lying.files.remove(&path))? {
                Some(node) => {
                    self.store.put(&path, Node { changed: now(), ..node });
                    Return::Back
                }
                None => Return::Absent,
            });
        }
        self.give_back(target)
    }

    fn give_back(&self, target: &Target) -> Result<Return, Error> {
        let path = target.path();
        if self.store.state(&path) != FileState::Absent {
            let is_here = self.with(|lying| lying.files.contains_key(&path))?;
            return Ok(if is_here { Return::Replaced } else { Return::Absent });
        }
        Ok(match self.with(|lying| lying.files.remove(&path))? {
            Some(node) => {
                self.store.put(&path, Node { changed: now(), ..node });
                Return::Back
            }
            None => Return::Absent,
        })
    }

    fn drop_copy(&self, target: &Target) -> Result<bool, Error> {
        let there = self.store.content(&target.path());
        let here = self.with(|lying| lying.files.get(&target.path()).and_then(|node| node.content.clone()))?;
        match there.is_some() && there == here {
            true => self.drop_for_good(target),
            false => Ok(false),
        }
    }

    fn drop_for_good(&self, target: &Target) -> Result<bool, Error> {
        self.with(|lying| lying.files.remove(&target.path()).is_some())
    }

    fn condition(&self, target: &Target) -> Result<Option<Condition>, Error> {
        self.with(|lying| lying.files.get(&target.path()).map(Node::condition))
    }

    fn is_whole(&self, target: &Target) -> Result<bool, Error> {
        let content = self.with(|lying| lying.files.get(&target.path()).and_then(|node| node.content.clone()))?;
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let content = content.ok_or_else(absent).context_with("read from the quarantine", || target.path())?;
        let Some(digest) = target.digest() else { return Ok(true) };
        Ok(match target {
            Target::Blob(_) => Digest::of(digest.algorithm(), &content) == *digest,
            _ => Digest::parse(&content).is_some_and(|named| named == *digest),
        })
    }

    fn read_link(&self, target: &Target) -> Option<Digest> {
        let content = self.with(|lying| lying.files.get(&target.path()).and_then(|node| node.content.clone()));
        Digest::parse(&content.ok()??)
    }

    fn manifest(&self, digest: &Digest, read: &mut dyn FnMut(&[u8])) -> Result<ManifestContent, Error> {
        let node = self.with(|lying| lying.files.get(&Target::Blob(*digest).path()).cloned())?;
        Ok(Node::manifest(node.as_ref(), digest, read))
    }

    fn remove_if_empty(&self, _: &[&str]) -> Result<bool, Error> {
        let mut all = self.store.all();
        match all.get(&self.name).is_none_or(|lying| lying.files.is_empty()) {
            true => {
                all.remove(&self.name);
                Ok(true)
            }
            false => Ok(false),
        }
    }
}
