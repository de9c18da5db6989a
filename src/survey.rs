//! What one repository holds: its names, read in an order that cannot miss a writer's work.
//!
//! A push writes blobs, then layer links, then revisions, then tags. They are read in that order too (SAFETY I5): what was
//! finished before the survey began is seen whole. Blobs are listed before the first repository.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rayon::prelude::*;

use crate::error::Error;
use crate::layout::{self, LinkDirectory};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::{LinkContent, Repository, RepositoryEntry, Store, Stray, StrayKind, TagContent};
use crate::system_files::{is_of_a_fork, is_system_file};

/// How many links one task reads, so that one repository with 100,000 revisions keeps every thread busy.
const LINKS_AT_ONCE: usize = 256;

/// Answers that are held twice while they are put into one list.
pub const ANSWERS_AT_ONCE: usize = 64 * LINKS_AT_ONCE;

/// How many tags one task reads at least: small repositories are not worth dividing, there are others.
const TAGS_AT_ONCE: usize = 8;

/// What one repository holds, sorted.
pub struct Survey<'s> {
    /// The repository, as it was opened for this: where its links are read and looked at.
    pub repository: Box<dyn Repository + 's>,
    /// Its name.
    pub name: RepositoryName,
    /// Why nothing may be removed in it: it is reached through a symbolic link, one leads to it, or it is on another filesystem.
    pub set_apart: Option<StrayKind>,
    /// Digests that have a directory in `_layers`. Their links are not read yet.
    pub layers: Vec<Digest>,
    /// Digests that have a directory in `_manifests/revisions`.
    pub revisions: Vec<Revision>,
    /// The tags.
    pub tags: Vec<Tag>,
    /// Entries that are not what the layout has in their place.
    pub strays: Vec<Stray>,
    /// Digests that somebody wants to know of whether anything here needs them. None at first.
    pub queried: Vec<Digest>,
    /// Manifests that are kept like young ones although nothing here may say so: the repository has, had or may get back a revision link
    /// to them. None at first.
    pub protected: Vec<Digest>,
    /// Tags that were restored lately, sorted: they are young, whatever their links say. None at first.
    pub restored_tags: Vec<TagName>,
    /// When the last collection began, where it matters what was here by then. Nothing at first.
    pub last_run: Option<SystemTime>,
}

impl Survey<'_> {
    /// The place of a revision that has a link, whatever it says.
    pub fn revision(&self, digest: &Digest) -> Option<usize> {
        let place = self.revisions.binary_search_by(|revision| revision.digest.cmp(digest)).ok()?;
        (self.revisions[place].link != LinkContent::Absent).then_some(place)
    }
}

/// A directory in `_manifests/revisions`.
#[derive(Clone, Copy, Debug)]
pub struct Revision {
    /// The digest that the directory is named by.
    pub digest: Digest,
    /// What its link says.
    pub link: LinkContent,
}

/// A directory in `_manifests/tags`.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Its name.
    pub name: TagName,
    /// What its `current/link` says.
    pub current: LinkContent,
    /// Digests that have a directory in its `index/`.
    pub history: Vec<Digest>,
}

impl Tag {
    /// Whether it is a tag: what other programs make among the tags is called as none can be, or has no link.
    pub fn is_tag(&self) -> bool {
        self.name.is_valid() && self.current != LinkContent::Absent
    }

    /// What it is if no registry made it: it has neither a link nor a history, and is called as no tag can be, or as other programs and forks
    /// call what they leave. `Thumbs.db` can be a tag, and is one as soon as it names something.
    fn foreign(&self) -> Option<StrayKind> {
        let is_named = self.current != LinkContent::Absent || !self.history.is_empty();
        let name = self.name.as_os_str().as_bytes();
        match is_system_file(name, false) {
            _ if is_named => None,
            true => Some(StrayKind::SystemFile),
            false => (!self.name.is_valid() || is_of_a_fork(name)).then_some(StrayKind::Unrecognised),
        }
    }
}

/// Asks about each repository, many at a time, and returns the answers in their order: in a list as long as that, because many repositories
/// in lists of their own would take several times the memory.
///
/// # Errors
///
/// The first error in the order of the repositories, of those that were met. What was not begun by then is not asked.
pub fn each<T: Send>(
    repositories: &[RepositoryEntry],
    ask: impl Fn(&RepositoryEntry) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let has_failed = AtomicBool::new(false);
    let answers: Vec<Option<Result<T, Error>>> = repositories
        .par_iter()
        .with_max_len(1)
        .map(|repository| {
            if has_failed.load(Ordering::Relaxed) {
                return None;
            }
            let answer = ask(repository);
            if answer.is_err() {
                has_failed.store(true, Ordering::Relaxed);
            }
            Some(answer)
        })
        .collect();
    answers.into_iter().flatten().collect()
}

/// Opens and surveys one repository.
///
/// # Errors
///
/// When a directory cannot be listed or a link not be read.
pub fn survey<'s>(store: &'s dyn Store, entry: &RepositoryEntry) -> Result<Survey<'s>, Error> {
    let name = &entry.name;
    let repository = store.open(entry)?;
    let layers = repository.links(&LinkDirectory::Layers(name.clone()))?;
    let mut strays = layers.strays;

    strays.extend(repository.manifest_strays()?);
    let directory = LinkDirectory::Revisions(name.clone());
    let listed = repository.links(&directory)?;
    strays.extend(listed.strays);
    let contents = read_links(&*repository, &directory, &listed.entries)?;
    let revisions = listed.entries.iter().zip(contents).map(|(&digest, link)| Revision { digest, link });
    let revisions = revisions.collect();

    let tags = repository.tags()?;
    strays.extend(tags.strays);
    let contents: Vec<TagContent> =
        tags.entries.par_iter().with_min_len(TAGS_AT_ONCE).map(|tag| repository.tag(tag)).collect::<Result<_, _>>()?;
    let mut surveyed = Vec::with_capacity(contents.len());
    for (name, content) in tags.entries.into_iter().zip(contents) {
        let tag = Tag { name, current: content.current, history: content.history.entries };
        let foreign = tag.foreign();
        // What lies in a directory of another program's is its own affair.
        if foreign != Some(StrayKind::SystemFile) {
            strays.extend(content.history.strays);
        }
        match foreign {
            Some(kind) => strays.push(Stray { path: layout::tag_directory(&entry.name, &tag.name), kind }),
            None => surveyed.push(tag),
        }
    }
    Ok(Survey {
        repository,
        name: name.clone(),
        set_apart: entry.set_apart,
        layers: layers.entries,
        revisions,
        tags: surveyed,
        strays,
        queried: Vec::new(),
        protected: Vec::new(),
        restored_tags: Vec::new(),
        last_run: None,
    })
}

/// Reads many links of one directory, in parallel and in order.
///
/// # Errors
///
/// When one cannot be read.
pub fn read_links(repository: &dyn Repository, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
    in_chunks(digests, |some| repository.read_links(directory, some))
}

/// Asks about many links of one directory, in parallel and in order.
///
/// # Errors
///
/// When `ask` fails.
pub fn in_chunks<T: Send>(
    digests: &[Digest],
    ask: impl Fn(&[Digest]) -> Result<Vec<T>, Error> + Sync + Send,
) -> Result<Vec<T>, Error> {
    let mut answers = Vec::with_capacity(digests.len());
    for some in digests.chunks(ANSWERS_AT_ONCE) {
        let chunks: Vec<Vec<T>> = some.par_chunks(LINKS_AT_ONCE).map(&ask).collect::<Result<_, _>>()?;
        answers.extend(chunks.into_iter().flatten());
    }
    Ok(answers)
}
