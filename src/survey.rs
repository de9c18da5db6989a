//! Surveys one repository: reads its names in an order that cannot miss a writer's work.
//!
//! A push writes blobs, then layer links, then revisions, then tags. The survey reads them in that order too (SAFETY I5):
//! it sees a push whole if the push finished before the survey began. Blobs are listed before the first repository.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rayon::prelude::*;

use crate::clock::TOLERANCE;
use crate::error::Error;
use crate::layout::{self, LinkDirectory};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::policy::Policy;
use crate::store::{FileState, LinkContent, Repository, RepositoryEntry, Store, Stray, StrayKind, TagContent};
use crate::system_files::{is_of_a_fork, is_system_file};

/// Links that one task reads: few enough that one repository with 100,000 revisions keeps every thread busy.
const LINKS_AT_ONCE: usize = 256;

/// Answers to hold twice while they are joined into one list.
pub const ANSWERS_AT_ONCE: usize = 64 * LINKS_AT_ONCE;

/// Tags that one task reads at least: dividing a small repository is of no use, because others run in parallel.
const TAGS_AT_ONCE: usize = 8;

/// What one repository holds, sorted.
pub struct Survey<'s> {
    /// The open repository, for reading its links.
    pub repository: Box<dyn Repository + 's>,
    /// Its name.
    pub name: RepositoryName,
    /// Why nothing may be removed in it: it is reached through a symbolic link, one leads to it, or it is on another filesystem.
    pub foreign: Option<StrayKind>,
    /// Digests that have a directory in `_layers`. Their links are not read yet.
    pub layers: Vec<Digest>,
    /// Digests that have a directory in `_manifests/revisions`.
    pub revisions: Vec<Revision>,
    /// The tags.
    pub tags: Vec<Tag>,
    /// Entries that do not match the layout.
    pub strays: Vec<Stray>,
    /// Digests to check for use in this repository. Empty at first.
    pub queried: Vec<Digest>,
    /// Manifests to keep like young ones, even if nothing here names them: the repository has, had or may regain a revision
    /// link to them. Empty at first.
    pub protected: Vec<Digest>,
    /// Those of them that were restored lately. Empty at first.
    pub restored: Vec<Digest>,
    /// Manifests that nothing but a tag in quarantine protects, where what is dropped in this run is quarantined, too: one that is goes after its
    /// tag, and any other stays for it. Empty at first.
    pub followers: Vec<Digest>,
    /// Tags that were restored lately, sorted: they are young, whatever their links say. None at first.
    pub restored_tags: Vec<TagName>,
    /// Uploads that were restored lately. None at first.
    pub restored_uploads: Vec<String>,
    /// Other names of blobs (H3) whose layer links are in quarantine, each with what it names. None at first.
    pub moved_aliases: Vec<(Digest, Digest)>,
    /// When the last collection began, where it matters what was here by then. Nothing at first.
    pub last_run: Option<SystemTime>,
}

impl Survey<'_> {
    /// The place of a revision that has a link, with any content.
    pub fn revision(&self, digest: &Digest) -> Option<usize> {
        let place = self.revisions.binary_search_by(|revision| revision.digest.cmp(digest)).ok()?;
        (self.revisions[place].link != LinkContent::Absent).then_some(place)
    }

    /// Whether some revisions may be young. To tell what is too young to go, one look at their directory does for most repositories: a link that was
    /// written again in its place is younger than that, and untagged seldom.
    ///
    /// # Errors
    ///
    /// When that cannot be looked at.
    pub fn may_have_young_revisions(&self, policy: &Policy) -> Result<bool, Error> {
        let directory = LinkDirectory::Revisions(self.name.clone());
        for alike in self.revisions.chunk_by(|one, next| one.digest.algorithm() == next.digest.algorithm()) {
            let list = self.repository.stat_list(&directory, alike[0].digest.algorithm())?;
            if list.is_none_or(|list| policy.is_young(&list)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The manifests that may be linked here again, whatever protects them.
    pub fn awaited(&self) -> impl Iterator<Item = &Digest> {
        self.protected.iter().chain(&self.followers)
    }
}

/// A directory in `_manifests/revisions`.
#[derive(Clone, Copy, Debug)]
pub struct Revision {
    /// The digest that the directory is named by.
    pub digest: Digest,
    /// The content of its link.
    pub link: LinkContent,
}

/// A directory in `_manifests/tags`.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Its name.
    pub name: TagName,
    /// The content of its `current/link`.
    pub current: LinkContent,
    /// Digests that have a directory in its `index/`.
    pub history: Vec<Digest>,
    /// Whether no link is left in its directory: it names nothing, and named nothing that is known. A registry lists it all the same.
    pub is_empty: bool,
}

impl Tag {
    /// Whether it is a tag. A directory that another program made among the tags has an invalid name, or no link.
    pub fn is_tag(&self) -> bool {
        self.name.is_valid() && self.current != LinkContent::Absent
    }

    /// The kind of stray that it is, if no registry made it: it has neither a link nor a history, and its name is invalid for a
    /// tag or typical of other programs and forks. `Thumbs.db` is a valid name, and a tag once it names something.
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

/// Asks about each repository, many at a time, and returns the answers in their order. The list has the full length from
/// the start: separate lists of many repositories would take several times the memory.
///
/// # Errors
///
/// The first error in the order of the repositories, among those that occurred. Repositories not begun by then are skipped.
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
/// When a directory cannot be listed or a link cannot be read.
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
        let history = content.history.entries;
        let is_empty = content.current == LinkContent::Absent && {
            let directory = LinkDirectory::History(entry.name.clone(), name.clone());
            let states = repository.stat_links(&directory, &history)?;
            states.iter().all(|state| *state == FileState::Absent)
        };
        let tag = Tag { name, current: content.current, history, is_empty };
        let foreign = tag.foreign();
        // Strays in a directory of another program are not reported.
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
        foreign: entry.foreign,
        layers: layers.entries,
        revisions,
        tags: surveyed,
        strays,
        queried: Vec::new(),
        protected: Vec::new(),
        restored: Vec::new(),
        followers: Vec::new(),
        restored_tags: Vec::new(),
        restored_uploads: Vec::new(),
        moved_aliases: Vec::new(),
        last_run: None,
    })
}

/// Reads many links of one directory, in parallel and in order.
///
/// # Errors
///
/// When a link cannot be read.
pub fn read_links(repository: &dyn Repository, directory: &LinkDirectory, digests: &[Digest]) -> Result<Vec<LinkContent>, Error> {
    in_chunks(digests, |some| repository.read_links(directory, some))
}

/// Those of some revisions whose links nobody has written since a sweep that was cut off began to remove them. `began` says when that was, for
/// those that it was to remove. What was pushed again since is a push of its own.
///
/// # Errors
///
/// When a link cannot be looked at.
pub(crate) fn untouched_since(
    survey: &Survey<'_>,
    revisions: &[Digest],
    began: &dyn Fn(&Digest) -> Option<SystemTime>,
) -> Result<Vec<Digest>, Error> {
    let (digests, times): (Vec<Digest>, Vec<SystemTime>) =
        revisions.iter().filter_map(|digest| Some((*digest, began(digest)?))).unzip();
    let directory = LinkDirectory::Revisions(survey.name.clone());
    let states = in_chunks(&digests, |some| survey.repository.stat_links(&directory, some))?;
    // The clock of the store may differ a little.
    let is_older = |state: &FileState, began: SystemTime| matches!(state, FileState::File(stat) if stat.modified.checked_add(TOLERANCE).is_some_and(|time| time <= began));
    let untouched = digests.into_iter().zip(states).zip(times).filter(|((_, state), began)| is_older(state, *began));
    Ok(untouched.map(|((digest, _), _)| digest).collect())
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
