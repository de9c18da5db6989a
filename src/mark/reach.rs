//! Follows references from roots, within one repository.
//!
//! Each repository decides anew whether to descend into a manifest: a mark from another repository does not show what
//! the manifest reaches here (H2). Manifests are looked up in the whole store, whether or not this repository links
//! them (H1).

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashSet};

use super::notes::Notes;
use crate::error::Error;
use crate::finding::Finding;
use crate::graph::{Context, Edges, Held, LinkVerdict, Queue, Reading, Visited, Visitor, Walk, layer_verdict};
use crate::inventory::{BlobId, MarkFlags};
use crate::oci::{Algorithm, Descriptor, DescriptorKind, Digest};
use crate::store::LinkContent;
use crate::survey::Survey;

/// Why a digest is read as a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// A tag names it, by its place in the survey.
    TagTarget(u32),
    /// A revision link, or a tag's history, names it.
    Revision,
    /// A manifest names it as one of its manifests.
    Child,
    /// An index lists it with another media type.
    MaybeManifest,
    /// Named without a requirement that it exists: by a tag's history, or as content stored elsewhere.
    Optional,
}

/// Everything reached so far.
pub(super) struct Reach<'a> {
    walk: Walk<'a>,
    marking: Marking<'a>,
}

/// The visitor that marks.
struct Marking<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey<'a>,
    /// The reading of each revision of the survey.
    readings: &'a [Held<'a>],
    revisions: HashSet<BlobId>,
    referrers: HashMap<Digest, Vec<u32>>,
    /// Revisions that are kept independently of their subjects.
    always: Vec<usize>,
    /// The flags to mark with.
    flags: MarkFlags,
    /// Whether a limit of the walk was reached.
    is_cut_off: bool,
    /// Whether all aliases have been reached.
    any_alias: bool,
    /// Reached manifests that are not stored.
    absent: HashSet<Digest>,
    /// Stored blobs that were reached.
    blobs: HashSet<BlobId>,
    /// Digests that were named and are not stored under that name.
    names: HashSet<Digest>,
    /// Those of them that the registry misses.
    missed: HashSet<Digest>,
    notes: Notes<'a>,
}

impl<'a> Reach<'a> {
    pub(super) fn new(context: &'a Context<'a>, survey: &'a Survey<'a>, readings: &'a [Held<'a>]) -> Result<Reach<'a>, Error> {
        let mut walk = Walk::new(context.manifests);
        walk.reserve(survey.revisions.len());
        let mut marking = Marking {
            context,
            survey,
            readings,
            revisions: with_room(survey.revisions.len()),
            referrers: HashMap::default(),
            always: Vec::new(),
            flags: MarkFlags::LIVE,
            is_cut_off: false,
            any_alias: false,
            absent: HashSet::default(),
            blobs: with_room(survey.layers.len() + survey.revisions.len()),
            names: HashSet::default(),
            missed: HashSet::default(),
            notes: Notes::new(survey),
        };
        for index in 0..survey.revisions.len() {
            marking.add_revision(index)?;
        }
        Ok(Reach { walk, marking })
    }

    /// Whether a reached link or manifest cannot be understood.
    pub(super) fn has_fault(&self) -> bool {
        self.marking.notes.fault
    }

    /// Whether a tag's target is missing.
    pub(super) fn lacks_tag_target(&self) -> bool {
        self.marking.notes.tag_target_absent
    }

    /// Revisions that are roots without a tag that reaches them.
    pub(super) fn always_kept(&self) -> Vec<(Digest, Role)> {
        let Marking { survey, always, .. } = &self.marking;
        always.iter().map(|&index| (survey.revisions[index].digest, Role::Revision)).collect()
    }

    /// Whether the revision at a place in the survey is such a root.
    pub(super) fn is_always_kept(&self, place: usize) -> bool {
        self.marking.always.binary_search(&place).is_ok()
    }

    /// Forgets what was reached, so that it can be marked again with other flags. Findings stay.
    pub(super) fn forget(&mut self) {
        self.walk.forget();
        let marking = &mut self.marking;
        marking.notes.begin_again();
        marking.any_alias = false;
        marking.blobs.clear();
        marking.names.clear();
        marking.missed.clear();
    }

    /// Whether a manifest was reached.
    pub(super) fn has_visited(&self, digest: &Digest) -> bool {
        self.walk.has_visited(digest)
    }

    /// Whether a layer link of that name is needed. `blob` is its place in the inventory.
    pub(super) fn has_reached(&self, digest: &Digest, blob: Option<BlobId>) -> bool {
        blob.is_some_and(|blob| self.marking.blobs.contains(&blob)) || self.marking.names.contains(digest)
    }

    /// The findings of the walk.
    pub(super) fn into_findings(self) -> impl Iterator<Item = Finding> {
        self.marking.notes.into_findings()
    }

    /// Marks one digest without its references.
    pub(super) fn mark_alone(&mut self, digest: &Digest, flags: MarkFlags) {
        self.marking.flags = flags;
        self.marking.mark(digest);
    }

    /// Marks the roots and everything that they reach: references to any depth, and referrers of reached manifests.
    pub(super) fn walk(&mut self, roots: Vec<(Digest, Role)>, flags: MarkFlags) -> Result<(), Error> {
        self.marking.flags = flags;
        self.walk.run(roots, &mut self.marking)
    }
}

impl Visitor for Marking<'_> {
    type Role = Role;

    fn revision(&self, digest: &Digest, _: &Role) -> Result<Option<Reading>, Error> {
        self.survey.revision(digest).map(|index| self.readings[index].get(digest)).transpose()
    }

    fn visit(&mut self, digest: &Digest, role: &Role, reading: &Reading, queue: &mut Queue<'_, Role>) -> Result<Visited, Error> {
        match reading {
            Reading::Read(edges) => {
                self.mark_found(digest, edges.blob);
                if let Role::TagTarget(tag) = *role {
                    self.notes.tag_target(digest, tag);
                }
                self.queue_referrers(digest, queue);
                if edges.overfull {
                    self.notes.overfull(digest);
                }
                self.follow(edges, queue)?;
            }
            // It is a layer, not a manifest.
            Reading::Bad(_) if matches!(role, Role::MaybeManifest | Role::Optional) => {
                self.mark(digest);
                return Ok(Visited::Undecided);
            }
            Reading::Bad(fault) => {
                self.mark(digest);
                self.notes.bad(digest, fault);
            }
            Reading::Absent => {
                // Its empty directory may exist, and a push may fill it again.
                self.mark(digest);
                self.absent.insert(*digest);
                // Referrers of a platform that was never copied are kept with the index that names it.
                self.queue_referrers(digest, queue);
                self.notes.absent(digest, role);
            }
        }
        Ok(Visited::Done)
    }

    /// A tag as a second path to a manifest is worth its own finding.
    fn visit_again(&mut self, digest: &Digest, role: &Role) {
        if let Role::TagTarget(tag) = *role {
            match self.absent.contains(digest) {
                true => self.notes.absent(digest, role),
                false => self.notes.tag_target(digest, tag),
            }
        }
    }

    /// The repository becomes held, which keeps everything that can be pulled from it.
    fn cut_off(&mut self, digest: &Digest) {
        self.mark(digest);
        if !std::mem::replace(&mut self.is_cut_off, true) {
            self.notes.cut_off(digest);
        }
    }
}

impl Marking<'_> {
    /// Notes a revision's subjects, and whether it is a root in any case.
    fn add_revision(&mut self, index: usize) -> Result<(), Error> {
        let revision = &self.survey.revisions[index];
        // A deleted revision is neither a revision nor a referrer.
        if revision.link == LinkContent::Absent {
            return Ok(());
        }
        let inventory = self.context.inventory;
        let blob = match self.readings[index].get(&revision.digest)? {
            Reading::Read(edges) => {
                if edges.more_subjects {
                    self.notes.many_subjects(&revision.digest);
                    self.always.push(index);
                }
                let stays = !self.context.retention.drops_referrer(self.survey, &revision.digest);
                for subject in edges.subjects.iter().filter(|_| stays) {
                    self.referrers.entry(*subject).or_default().push(index as u32);
                }
                edges.blob
            }
            // What it refers to is unknown, and the registry serves it: a symbolic link's target, and what is damaged, too. Kept, it makes the
            // repository held, whether or not a tag leads to it.
            Reading::Bad(_) => {
                self.always.push(index);
                inventory.find(&revision.digest)
            }
            Reading::Absent => inventory.find(&revision.digest),
        };
        if let Some(blob) = blob {
            self.revisions.insert(blob);
            // It is never removed, and can be pulled while it is linked.
            if inventory.has_any(blob, MarkFlags::FOREIGN) {
                self.always.push(index);
            }
        }
        Ok(())
    }

    fn mark(&mut self, digest: &Digest) {
        self.mark_found(digest, self.context.inventory.find(digest));
    }

    /// [`Marking::mark`] for a digest with a known place in the inventory.
    fn mark_found(&mut self, digest: &Digest, blob: Option<BlobId>) {
        match blob {
            Some(blob) => {
                self.context.inventory.mark(blob, self.flags);
                self.blobs.insert(blob);
            }
            // A name takes sixteen times the room of a place in the inventory.
            None => drop(self.names.insert(*digest)),
        }
    }

    fn queue_referrers(&self, subject: &Digest, queue: &mut Queue<'_, Role>) {
        for &referrer in self.referrers.get(subject).into_iter().flatten() {
            queue.push(&self.survey.revisions[referrer as usize].digest, Role::Revision);
        }
    }

    /// Marks the references of a manifest, and queues those to read.
    fn follow(&mut self, edges: &Edges, queue: &mut Queue<'_, Role>) -> Result<(), Error> {
        let inventory = self.context.inventory;
        for edge in &edges.stored {
            inventory.mark(edge.blob, self.flags);
            self.blobs.insert(edge.blob);
            let role = match edge.kind {
                DescriptorKind::Manifest => Role::Child,
                // This repository serves it as a manifest, whatever the reference calls it.
                _ if self.revisions.contains(&edge.blob) => Role::Revision,
                DescriptorKind::MaybeManifest => Role::MaybeManifest,
                DescriptorKind::Blob => continue,
            };
            queue.push_blob(edge.blob, role);
        }
        if edges.any_alias && !std::mem::replace(&mut self.any_alias, true) {
            self.reach_aliases(queue)?;
        }
        for descriptor in &edges.unresolved {
            self.resolve(descriptor, queue)?;
        }
        Ok(())
    }

    /// Reaches every digest with an algorithm under which nothing is stored: it may be an alias.
    fn reach_aliases(&mut self, queue: &mut Queue<'_, Role>) -> Result<(), Error> {
        let survey = self.survey;
        let moved = survey.moved_aliases.iter().map(|(alias, _)| alias);
        for digest in survey.layers.iter().filter(|digest| digest.algorithm() != Algorithm::Sha256).chain(moved) {
            let kind = DescriptorKind::MaybeManifest;
            let alias = Descriptor { digest: *digest, size_bytes: None, kind, foreign: true, expected: false };
            self.resolve(&alias, queue)?;
        }
        Ok(())
    }

    /// Resolves a digest that is not stored, or that may be an alias of a blob (H3).
    fn resolve(&mut self, descriptor: &Descriptor, queue: &mut Queue<'_, Role>) -> Result<(), Error> {
        let digest = &descriptor.digest;
        // Another manifest may have named it as a layer, and this reference is more specific.
        let is_new = self.names.insert(*digest);
        // An expected digest may have been named before where the registry does not read.
        let is_missed = descriptor.expected && !descriptor.foreign;
        let is_first_missed = is_missed && descriptor.kind == DescriptorKind::Blob && self.missed.insert(*digest);
        if !is_new && descriptor.kind == DescriptorKind::Blob && !is_first_missed {
            return Ok(());
        }
        let stored = self.context.inventory.find(digest).is_some();
        match layer_verdict(self.survey, digest)? {
            LinkVerdict::Names(canonical) if canonical != *digest => {
                self.mark(&canonical);
                // The canonical link is read as if the manifest had named that digest.
                if self.context.inventory.find(&canonical).is_none()
                    && let LinkVerdict::Faulty(code) = layer_verdict(self.survey, &canonical)?
                {
                    self.notes.faulty_link(&canonical, code);
                    return Ok(());
                }
                match descriptor.kind {
                    DescriptorKind::Manifest if is_missed => queue.push(&canonical, Role::Child),
                    _ if self.survey.revision(&canonical).is_some() => queue.push(&canonical, Role::Revision),
                    DescriptorKind::Manifest if self.context.inventory.find(&canonical).is_some() => {
                        queue.push(&canonical, Role::Child)
                    }
                    DescriptorKind::Manifest => queue.push(&canonical, Role::Optional),
                    DescriptorKind::MaybeManifest if is_missed => queue.push(&canonical, Role::MaybeManifest),
                    DescriptorKind::MaybeManifest => queue.push(&canonical, Role::Optional),
                    DescriptorKind::Blob if !is_missed || self.context.inventory.find(&canonical).is_some() => {}
                    DescriptorKind::Blob => self.notes.missing_blob(&canonical),
                }
                return Ok(());
            }
            LinkVerdict::Faulty(code) => {
                self.notes.faulty_link(digest, code);
                return Ok(());
            }
            LinkVerdict::Names(_) | LinkVerdict::Absent => {}
        }
        if stored {
            return Ok(());
        }
        match descriptor.kind {
            // It may have been stored after the run began; the walk reads it.
            DescriptorKind::Manifest if descriptor.expected => queue.push(digest, Role::Child),
            _ if self.survey.revision(digest).is_some() => queue.push(digest, Role::Revision),
            DescriptorKind::MaybeManifest if is_missed => queue.push(digest, Role::MaybeManifest),
            DescriptorKind::Manifest | DescriptorKind::MaybeManifest => queue.push(digest, Role::Optional),
            DescriptorKind::Blob if !is_first_missed => {}
            DescriptorKind::Blob => self.notes.missing_blob(digest),
        }
        Ok(())
    }
}

fn with_room<T>(count: usize) -> HashSet<T> {
    HashSet::with_capacity_and_hasher(count, RandomState::default())
}
