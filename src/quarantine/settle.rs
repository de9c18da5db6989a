//! What of a quarantine is needed after all, and what becomes of it.
//!
//! Whatever was moved aside while a registry was at work may have been needed by a push that had looked at it just before. By the time
//! that such a push has ended, a link of its own says so. Hence every mark here keeps all revisions, and all links that were written
//! since the oldest run began, whatever the minimum age and whether or not tags name them; it is more than any collection would keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::{Held, Overlay, Quarantine, Run};
use crate::error::Error;
use crate::layout::{LinkFolder, Target};
use crate::mark::blobs::Amount;
use crate::mark::{self, Budget, Colour, Context, Inventory, Manifests, Reading};
use crate::oci::{Digest, RepositoryName};
use crate::policy::{Arrivals, Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::store::filesystem::aside::Return;
use crate::store::{FilesystemStore, Store as _};

/// What has to go back.
#[derive(Debug, Default)]
pub struct Needed {
    /// Blobs and links.
    pub targets: BTreeSet<Target>,
    /// Whether the store looks as if a part of it were missing: then nothing must go for good.
    pub looks_empty: bool,
}

/// Marks the store as it is now, together with what is in quarantine.
///
/// # Errors
///
/// When something that is there cannot be read.
pub fn needed(
    store: &FilesystemStore,
    quarantine: &Quarantine,
    now: SystemTime,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Needed, Error> {
    progress.begin(Phase::ListingBlobs, None);
    let overlay = Overlay::new(store, quarantine);
    let (inventory, _) = Inventory::list(&overlay, &Budget::unlimited())?;
    let repositories = overlay.repositories()?.entries;
    let manifests = Manifests::new(&overlay, &inventory);
    let policy =
        Policy { roots: RootPolicy::AllRevisions, min_age: since_began(quarantine, now), arrivals: Arrivals::Ignored, now };
    let context = Context { store: &overlay, inventory: &inventory, manifests: &manifests, policy };
    let asked = asked(quarantine, &manifests)?;
    let of = |name: &RepositoryName| asked.get(name).cloned().unwrap_or_default();
    let marks = mark::repositories(&context, &repositories, &of, progress, stop)?;

    let mut needed = Needed { looks_empty: marks.is_empty() || !inventory.any_kept(), ..Needed::default() };
    let reached: BTreeMap<&RepositoryName, BTreeSet<Digest>> =
        marks.iter().map(|marks| (&marks.repository, marks.needed.iter().copied().collect())).collect();
    for run in quarantine.collected() {
        for held in run.held() {
            let is_needed = match &held.target {
                Target::Link(folder, digest) => {
                    // Written to by a registry that had it open when it was moved.
                    let written = run.look_at(store, &held.target)?.is_some_and(|stat| stat.modified > run.began());
                    // What refers to something lives with it.
                    let names = [vec![*digest], subjects(folder, digest, &manifests)?].concat();
                    let reached = reached.get(folder.repository());
                    written || reached.is_some_and(|reached| names.iter().any(|name| reached.contains(name)))
                }
                target => {
                    let blob = inventory.find(target.digest());
                    blob.is_some_and(|blob| inventory.has_any(blob, Colour::LIVE.and(Colour::YOUNG)))
                }
            };
            if is_needed {
                needed.targets.insert(held.target.clone());
            }
        }
    }
    // What a link that goes back names goes back with it.
    let named: Vec<Target> = needed.targets.iter().map(|target| Target::Blob(*target.digest())).collect();
    let held: BTreeSet<&Target> = quarantine.collected().flat_map(|run| run.held()).map(|held| &held.target).collect();
    needed.targets.extend(named.into_iter().filter(|target| held.contains(target)));
    Ok(needed)
}

/// How long ago the oldest run began.
fn since_began(quarantine: &Quarantine, now: SystemTime) -> Duration {
    let oldest = quarantine.collected().map(Run::began).min().unwrap_or(now);
    now.duration_since(oldest).unwrap_or_default()
}

/// The digests that links in quarantine name, and that the manifests of these refer to, by repository.
fn asked(quarantine: &Quarantine, manifests: &Manifests<'_>) -> Result<BTreeMap<RepositoryName, Vec<Digest>>, Error> {
    let mut asked: BTreeMap<RepositoryName, Vec<Digest>> = BTreeMap::new();
    for held in quarantine.collected().flat_map(|run| run.held()) {
        if let Target::Link(folder, digest) = &held.target {
            let asked = asked.entry(folder.repository().clone()).or_default();
            asked.push(*digest);
            asked.extend(subjects(folder, digest, manifests)?);
        }
    }
    Ok(asked)
}

/// What the manifest of a revision in quarantine refers to.
fn subjects(folder: &LinkFolder, digest: &Digest, manifests: &Manifests<'_>) -> Result<Vec<Digest>, Error> {
    if !matches!(folder, LinkFolder::Revisions(_)) {
        return Ok(Vec::new());
    }
    Ok(match manifests.read_revision(digest)? {
        Reading::Read(edges) => edges.subjects.to_vec(),
        _ => Vec::new(),
    })
}

/// What became of things in quarantine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Blobs that are back.
    pub blobs: Amount,
    /// Links that are back.
    pub links: u64,
    /// Things that were in the store again already.
    pub replaced: u64,
    /// What could not be moved or removed, in words.
    pub failed: Vec<(Target, String)>,
}

impl Settled {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Settled::default()
    }
}

impl std::ops::AddAssign for Settled {
    fn add_assign(&mut self, other: Settled) {
        self.blobs += other.blobs;
        self.links += other.links;
        self.replaced += other.replaced;
        self.failed.extend(other.failed);
    }
}

/// What happens to something whose place in the store is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It goes if it is a copy of what is there.
    Drop,
    /// It may be something else: it stays in quarantine.
    Keep,
}

/// Puts things back for which `chosen` is true: contents before names, so that no link is ever there before what it names.
///
/// # Errors
///
/// When the store cannot be flushed in between. What cannot be moved is in the answer.
pub fn put_back(
    store: &FilesystemStore,
    quarantine: &Quarantine,
    replaced: Replaced,
    chosen: &dyn Fn(&Run, &Target) -> bool,
) -> Result<Settled, Error> {
    let mut settled = Settled::default();
    for blobs in [true, false] {
        let mut moved = false;
        for run in &quarantine.runs {
            // Links the other way round than they went: layer links, revisions, history.
            let held = run.held().iter().rev().filter(|held| matches!(held.target, Target::Blob(_)) == blobs);
            for held in held.filter(|held| chosen(run, &held.target)) {
                match run.put_back(store, &held.target) {
                    Ok(Return::Back) => {
                        moved = true;
                        match blobs {
                            true => settled.blobs.add(held.stat.size_bytes),
                            false => settled.links += 1,
                        }
                    }
                    Ok(Return::Replaced) => {
                        settled.replaced += 1;
                        if replaced == Replaced::Drop
                            && let Err(error) = run.drop_copy(store, &held.target)
                        {
                            settled.failed.push((held.target.clone(), error.to_string()));
                        }
                    }
                    Ok(Return::Absent) => {}
                    Err(error) => settled.failed.push((held.target.clone(), error.to_string())),
                }
            }
        }
        if moved {
            crate::store::Vacuum::barrier(store)?;
        }
        if blobs && !settled.failed.is_empty() {
            break;
        }
    }
    Ok(settled)
}

/// Removes for good everything in the runs given that is not needed, and their folders if nothing is left in them. Ends early when `stop`
/// becomes true.
pub fn purge(store: &FilesystemStore, runs: &[&Run], needed: &Needed, stop: &AtomicBool) -> Settled {
    let mut settled = Settled::default();
    for run in runs {
        for held in names_first(run).filter(|held| !needed.targets.contains(&held.target)) {
            if stop.load(Ordering::Relaxed) {
                return settled;
            }
            match run.drop_for_good(store, &held.target) {
                Ok(true) => match held.target {
                    Target::Blob(_) => settled.blobs.add(held.stat.size_bytes),
                    _ => settled.links += 1,
                },
                Ok(false) => {}
                Err(error) => settled.failed.push((held.target.clone(), error.to_string())),
            }
        }
        if let Err(error) = run.remove_if_empty(store) {
            tracing::warn!("cannot tidy up after run {}: {error}", run.id());
        }
    }
    settled
}

/// Names before contents: whatever is left of an interrupted purge and is put back by hand leads to something.
fn names_first(run: &Run) -> impl Iterator<Item = &Held> {
    let is_blob = |held: &&Held| matches!(held.target, Target::Blob(_));
    let links = run.held().iter().filter(move |held| !is_blob(held));
    links.chain(run.held().iter().filter(is_blob))
}
