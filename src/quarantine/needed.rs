//! What of a quarantine is needed after all.
//!
//! Whatever was quarantined while a registry was at work may have been needed by a push that had looked at it just before. By the time
//! that such a push has ended, a link of its own says so. Hence every mark here keeps all revisions, and for what a run took all links that were
//! written since it began, whatever the minimum age and whether or not tags name them; it is more than any collection would keep. A link that
//! was there when the run began has been judged by that run: it is no push that needs something.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use super::named::{Reached, by_staying};
use super::runs::since;
use super::{Overlay, Quarantine, Run};
use crate::error::Error;
use crate::graph::{Context, Manifests, Reading};
use crate::inventory::{Budget, Inventory, MarkFlags};
use crate::layout::{LinkDirectory, Target};
use crate::mark::{self, Marks};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::policy::{Arrivals, Policy, RootPolicy};
use crate::progress::{Phase, Progress};
use crate::store::{Backend, FileState, Notes, Store, stat_target};
use crate::survey::Survey;

/// Tags that do not come back for what something else needs.
type DroppedTags<'q> = HashSet<(&'q RepositoryName, &'q TagName)>;

/// What the store says about a quarantine.
#[derive(Debug, Default)]
pub struct Needed {
    /// Blobs and links that have to be restored.
    pub targets: BTreeSet<Target>,
    /// Whether the store looks as if a part of it were missing: then nothing must be purged.
    pub looks_empty: bool,
    /// The repositories in the store, with how many tags and revisions each has.
    pub repositories: Vec<(RepositoryName, [u64; 2])>,
    /// The same for those in which something is older than the oldest run, or was there when the last one ended, if that was asked for.
    pub old: Vec<(RepositoryName, [u64; 2])>,
    /// Needed by what stays in quarantine: an image that can still be restored needs all its layers.
    pub(super) by_staying: Reached,
}

impl Needed {
    /// Says of a directory that is empty whether restoring what is needed puts something into it.
    pub fn fills(&self) -> impl Fn(&Target) -> bool {
        let repositories: HashSet<&RepositoryName> = self.targets.iter().filter_map(Target::repository).collect();
        let uploads: HashSet<(&RepositoryName, &str)> = self.targets.iter().filter_map(Target::upload).collect();
        let tags: HashSet<(&RepositoryName, &TagName)> =
            self.targets.iter().filter_map(|target| Some((target.repository()?, target.tag()?))).collect();
        move |directory| match directory {
            Target::EmptyTag(repository, tag) => tags.contains(&(repository, tag)),
            Target::EmptyLinkDirectory(links, digest) => self.targets.contains(&Target::Link(links.clone(), *digest)),
            Target::EmptyBlobDirectory(digest) => self.targets.contains(&Target::Blob(*digest)),
            Target::EmptyUploadDirectory(repository, id) => uploads.contains(&(repository, id)),
            Target::EmptyRepository(repository) => repositories.contains(repository),
            Target::Tag(..) | Target::BrokenTag(..) | Target::Link(..) | Target::Blob(_) | Target::Upload(_) => false,
        }
    }
}

/// How a store is read: what every mark of a command has in common.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Where the store is.
    pub backend: &'a dyn Backend,
    /// The records beside it.
    pub notes: &'a dyn Notes,
    /// Gives the memory that a table may take beside so many bytes of what is in quarantine.
    pub budget: &'a (dyn Fn(u64) -> Budget + Sync),
    /// Where to say how far it is.
    pub progress: &'a dyn Progress,
    /// Ends it.
    pub stop: &'a AtomicBool,
}

impl<'a> Reader<'a> {
    /// What is read.
    pub fn store(&self) -> &'a dyn Store {
        self.backend.store()
    }
}

/// Marks the store as it is now, together with what is in quarantine. `is_due` tells the runs that may be purged from those that stay. What is
/// old of tags and revisions is looked at where somebody asks for it.
///
/// # Errors
///
/// When something that is there cannot be read.
pub fn needed(
    reader: &Reader<'_>,
    quarantine: &Quarantine<'_>,
    (now, last_run): (SystemTime, Option<SystemTime>),
    is_due: &dyn Fn(&Run<'_>) -> bool,
) -> Result<Needed, Error> {
    let mut restored: BTreeSet<Target> = BTreeSet::new();
    let dropped = dropped_tags(reader.store(), quarantine)?;
    let overlay = Overlay::new(reader.store(), quarantine);
    loop {
        let needed = marked(reader, (quarantine, &overlay, &dropped), (now, last_run), is_due, &restored)?;
        // A revision link that is restored needs all that its manifest names.
        let before = restored.len();
        let is_revision = |target: &&Target| matches!(target, Target::Link(LinkDirectory::Revisions(_), _));
        restored.extend(needed.targets.iter().filter(is_revision).cloned());
        if restored.len() == before {
            return Ok(needed);
        }
    }
}

/// One mark, with revision links that are to be restored as if they were in the store.
fn marked(
    reader: &Reader<'_>,
    (quarantine, overlay, dropped): (&Quarantine<'_>, &Overlay<'_>, &DroppedTags<'_>),
    (now, last_run): (SystemTime, Option<SystemTime>),
    is_due: &dyn Fn(&Run<'_>) -> bool,
    restored: &BTreeSet<Target>,
) -> Result<Needed, Error> {
    reader.progress.begin(Phase::ListingBlobs, None);
    let inventory = listed(overlay, &(reader.budget)(quarantine.memory_bytes()))?;
    let repositories = overlay.repositories()?.entries;
    let manifests = Manifests::new(overlay, &inventory);
    let policy = Policy::new(since_began(quarantine, now), Arrivals::Ignored, now);
    let context =
        Context { store: overlay, inventory: &inventory, manifests: &manifests, retention: &RootPolicy::AllRevisions, policy };
    let mut roots: BTreeMap<RepositoryName, Vec<Digest>> = BTreeMap::new();
    for target in restored {
        let directory = target.link_directory().expect("revision links lie in directories of links");
        roots.entry(directory.repository().clone()).or_default().extend(target.digest());
    }
    let queried = queried(quarantine, &manifests)?;
    let prepare = |survey: &mut Survey<'_>| {
        survey.queried = queried.get(&survey.name).cloned().unwrap_or_default();
        survey.protected = roots.get(&survey.name).cloned().unwrap_or_default();
        (survey.last_run, survey.moved_aliases) = (last_run, overlay.moved_aliases(&survey.name));
    };
    let forget = |marks: &mut Marks| {
        (marks.findings, marks.deletions) = Default::default();
        Ok(())
    };
    let marks = mark::repositories(&context, &repositories, &prepare, &forget, reader.progress, reader.stop)?;

    let looks_empty = marks.is_empty() || !inventory.any_kept();
    let held = marks.iter().map(|marks| (marks.repository.clone(), [marks.counts.tags, marks.counts.revisions]));
    let old = marks.iter().filter_map(|marks| Some((marks.repository.clone(), marks.held_by_old()?)));
    let mut needed = Needed { looks_empty, repositories: held.collect(), old: old.collect(), ..Needed::default() };
    let reached: BTreeMap<&RepositoryName, BTreeSet<Digest>> =
        marks.iter().map(|marks| (&marks.repository, marks.needed.iter().copied().collect())).collect();
    let written = last_named(&marks);
    for (run, held) in quarantine.collected().flat_map(|run| run.held().iter().map(move |held| (run, held))) {
        let is_needed = match &held.target {
            // A tag went for its own sake, and its history with it: that something else needs its image does not bring it back.
            Target::Tag(..) => held.stat.modified > run.began(),
            Target::Link(LinkDirectory::History(repository, tag), _) if dropped.contains(&(repository, tag)) => {
                held.stat.modified > run.began()
            }
            Target::Link(directory, digest) => {
                // Written to by a registry that had it open when it was moved.
                let written = held.stat.modified > run.began();
                // What refers to something lives with it.
                let names = match went_by_name(run, directory, digest) {
                    true => vec![*digest],
                    false => [vec![*digest], subjects(directory, digest, &manifests)?].concat(),
                };
                let reached = reached.get(directory.repository());
                written || reached.is_some_and(|reached| names.iter().any(|name| reached.contains(name)))
            }
            // Nothing needs an upload but who sends it, and who does writes to its files.
            Target::Upload(_) => held.stat.modified > run.began(),
            target => {
                let blob = target.digest().and_then(|digest| inventory.find(digest));
                let is_named = target.digest().and_then(|digest| written.get(digest)).is_some_and(|last| *last > run.began());
                let is_reached = blob.is_some_and(|blob| inventory.has_any(blob, MarkFlags::LIVE | MarkFlags::RESTORABLE));
                run.was_written_to(held) || is_reached || is_named
            }
        };
        if is_needed {
            needed.targets.insert(held.target.clone());
        }
    }
    // What a link that is restored names is restored with it.
    let named: Vec<Target> = needed.targets.iter().filter_map(Target::digest).map(|digest| Target::Blob(*digest)).collect();
    let held: BTreeSet<&Target> = quarantine.collected().flat_map(Run::held).map(|held| &held.target).collect();
    needed.targets.extend(named.into_iter().filter(|target| held.contains(target)));
    add_rest_of_uploads(&mut needed.targets, &held);
    if quarantine.collected().any(is_due) {
        needed.by_staying = by_staying(overlay, quarantine, &|run| !is_due(run), &inventory, &manifests)?;
    }
    Ok(needed)
}

/// Lists the blobs, and flags those that are in quarantine.
fn listed(overlay: &Overlay<'_>, budget: &Budget) -> Result<Inventory, Error> {
    let (inventory, _) = Inventory::list(overlay, budget)?;
    for blob in overlay.quarantined().filter_map(|digest| inventory.find(digest)) {
        inventory.mark(blob, MarkFlags::QUARANTINED);
    }
    Ok(inventory)
}

/// When the last link to each blob was written of those that the marks call young.
fn last_named(marks: &[Marks]) -> HashMap<Digest, SystemTime> {
    let mut last: HashMap<Digest, SystemTime> = HashMap::new();
    for (digest, written) in marks.iter().flat_map(|marks| &marks.young_names) {
        last.entry(*digest).and_modify(|last| *last = (*last).max(*written)).or_insert(*written);
    }
    last
}

/// The tags that are in quarantine, and those of which only history is, and that name nothing in the store: history that came back alone would be a
/// tag that cannot be pulled.
fn dropped_tags<'q>(store: &dyn Store, quarantine: &'q Quarantine<'_>) -> Result<DroppedTags<'q>, Error> {
    let targets = || quarantine.collected().flat_map(Run::held).map(|held| &held.target);
    let mut dropped: DroppedTags<'_> = targets().filter_map(tag_of).collect();
    let of_history = |target: &'q Target| match target {
        Target::Link(LinkDirectory::History(repository, tag), _) => Some((repository, tag)),
        _ => None,
    };
    let with_history: BTreeSet<_> = targets().filter_map(of_history).filter(|tag| !dropped.contains(tag)).collect();
    for (repository, tag) in with_history {
        if stat_target(store, &Target::BrokenTag(repository.clone(), tag.clone()))? == FileState::Absent {
            dropped.insert((repository, tag));
        }
    }
    Ok(dropped)
}

/// Adds the rest of the uploads of which something is needed.
fn add_rest_of_uploads(needed: &mut BTreeSet<Target>, held: &BTreeSet<&Target>) {
    let uploads: HashSet<(RepositoryName, String)> =
        needed.iter().filter_map(Target::upload).map(|(repository, id)| (repository.clone(), id.to_owned())).collect();
    if uploads.is_empty() {
        return;
    }
    let is_of_one =
        |target: &Target| target.upload().is_some_and(|(repository, id)| uploads.contains(&(repository.clone(), id.to_owned())));
    needed.extend(held.iter().copied().filter(|target| is_of_one(target)).cloned());
}

/// The tag that a target is, if it is one.
fn tag_of(target: &Target) -> Option<(&RepositoryName, &TagName)> {
    match target {
        Target::Tag(repository, tag, _) => Some((repository, tag)),
        _ => None,
    }
}

/// Whether a manifest was removed by its own name: what it refers to may have stayed.
fn went_by_name(run: &Run<'_>, directory: &LinkDirectory, digest: &Digest) -> bool {
    let named = &run.stamp().named;
    !named.is_empty() && named.contains(&by_name(directory.repository(), digest))
}

/// A manifest as it stands in a stamp.
pub fn by_name(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{repository}@{digest}")
}

/// How long ago the oldest run began.
fn since_began(quarantine: &Quarantine<'_>, now: SystemTime) -> Duration {
    since(now, quarantine.collected().map(Run::began).min().unwrap_or(now))
}

/// The digests that links in quarantine name, and that the manifests of these refer to, by repository.
fn queried(quarantine: &Quarantine<'_>, manifests: &Manifests<'_>) -> Result<BTreeMap<RepositoryName, Vec<Digest>>, Error> {
    let mut queried: BTreeMap<RepositoryName, Vec<Digest>> = BTreeMap::new();
    for held in quarantine.collected().flat_map(Run::held) {
        if let Target::Link(directory, digest) = &held.target {
            let queried = queried.entry(directory.repository().clone()).or_default();
            queried.push(*digest);
            queried.extend(subjects(directory, digest, manifests)?);
        }
    }
    Ok(queried)
}

/// What the manifest of a revision in quarantine refers to.
pub(super) fn subjects(directory: &LinkDirectory, digest: &Digest, manifests: &Manifests<'_>) -> Result<Vec<Digest>, Error> {
    if !matches!(directory, LinkDirectory::Revisions(_)) {
        return Ok(Vec::new());
    }
    Ok(match manifests.read_revision(digest)? {
        Reading::Read(edges) => edges.subjects.to_vec(),
        _ => Vec::new(),
    })
}
