//! Follows references from roots, within one repository.
//!
//! Whether to descend into a manifest is decided for each repository anew: that another repository has marked it says nothing
//! about what it reaches here (H2). Manifests are looked up in the whole store, whether or not this repository links them (H1).

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashSet};

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::findings::LISTED_OF_A_REPOSITORY as FINDINGS_OF_A_CODE;
use crate::graph::{Context, Edges, Fault, Held, LinkVerdict, MAX_STRANGERS, Reading, layer_verdict};
use crate::inventory::{BlobId, MarkFlags};
use crate::layout::{self, LinkDirectory};
use crate::oci::{Algorithm, Descriptor, DescriptorKind, Digest, TagName};
use crate::store::LinkContent;
use crate::survey::Survey;

/// And so many bytes of what is no revision here.
const MAX_STRANGERS_BYTES: u64 = 1 << 30;

/// Why something is looked at as a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A tag names it.
    TagTarget(TagName),
    /// A revision link, or a tag's history, names it.
    Revision,
    /// A manifest names it as one of its manifests.
    Child,
    /// An index lists it with another media type.
    MaybeManifest,
    /// Named without a promise that anything is there: by the history of a tag, or as content that lives elsewhere.
    Optional,
}

/// What has been reached so far.
pub(super) struct Reach<'a> {
    context: &'a Context<'a>,
    survey: &'a Survey,
    /// What each revision of the survey reads as.
    readings: &'a [Held<'a>],
    revisions: HashMap<BlobId, usize>,
    referrers: HashMap<Digest, Vec<usize>>,
    /// Revisions that are kept whatever keeps their subjects.
    always: Vec<usize>,
    /// Manifests that were read and have no revision here, and their bytes.
    strangers: (u64, u64),
    /// Whether there are more of them.
    is_cut_off: bool,
    /// Whether all aliases have been reached.
    any_alias: bool,
    /// Manifests that were descended into, or found to be none.
    descended: HashSet<Digest>,
    /// Those of them that are not stored.
    absent: HashSet<Digest>,
    /// Stored blobs that were reached.
    blobs: HashSet<BlobId>,
    /// Digests that were named and are not stored under that name.
    names: HashSet<Digest>,
    /// Those of them that the registry misses.
    missed: HashSet<Digest>,
    /// Whether something was reached that cannot be understood.
    pub(super) fault: bool,
    /// Whether a tag's target is absent.
    pub(super) tag_target_absent: bool,
    findings: BTreeMap<(Code, Digest, Option<TagName>), Finding>,
    /// How many of a code there are, those that are not told apart included.
    noted: BTreeMap<Code, u64>,
    /// The digests that tags name now.
    tag_targets: HashSet<Digest>,
}

impl<'a> Reach<'a> {
    pub(super) fn new(context: &'a Context<'a>, survey: &'a Survey, readings: &'a [Held<'a>]) -> Result<Reach<'a>, Error> {
        let mut revisions = HashMap::with_capacity_and_hasher(survey.revisions.len(), RandomState::default());
        let mut referrers: HashMap<Digest, Vec<usize>> = HashMap::default();
        let mut always = Vec::new();
        let mut findings = BTreeMap::new();
        for (index, (revision, reading)) in survey.revisions.iter().zip(readings).enumerate() {
            // A deleted revision is no revision any more: neither is it a referrer.
            if revision.link == LinkContent::Absent {
                continue;
            }
            let blob = match reading.get(&revision.digest)? {
                Reading::Read(edges) => {
                    if edges.more_subjects {
                        let link = LinkDirectory::Revisions(survey.name.clone()).link(&revision.digest);
                        let finding =
                            Finding::new(Code::ManySubjects).repository(&survey.name).digest(&revision.digest).path(link);
                        findings.insert((finding.code, revision.digest, None), finding);
                        always.push(index);
                    }
                    for subject in &edges.subjects {
                        referrers.entry(*subject).or_default().push(index);
                    }
                    edges.blob
                }
                // The registry follows a symbolic link and serves what is behind it. What that refers to is not known here.
                Reading::Bad(Fault::Irregular) => {
                    always.push(index);
                    context.inventory.find(&revision.digest)
                }
                _ => context.inventory.find(&revision.digest),
            };
            if let Some(blob) = blob {
                revisions.insert(blob, index);
                // It cannot go, and can be pulled for as long as it is linked.
                if context.inventory.has_any(blob, MarkFlags::SET_APART) {
                    always.push(index);
                }
            }
        }
        let tag_targets = survey.tags.iter().filter_map(|tag| match tag.current {
            LinkContent::Digest(digest) => Some(digest),
            _ => None,
        });
        Ok(Reach {
            context,
            survey,
            readings,
            revisions,
            referrers,
            always,
            strangers: (0, 0),
            is_cut_off: false,
            any_alias: false,
            descended: with_room(survey.revisions.len()),
            absent: HashSet::default(),
            blobs: with_room(survey.layers.len() + survey.revisions.len()),
            names: with_room(survey.revisions.len()),
            missed: HashSet::default(),
            fault: false,
            tag_target_absent: false,
            findings,
            noted: BTreeMap::new(),
            tag_targets: tag_targets.collect(),
        })
    }

    /// Revisions that are roots although no tag reaches them.
    pub(super) fn always_kept(&self) -> Vec<(Digest, Role)> {
        self.always.iter().map(|&index| (self.survey.revisions[index].digest, Role::Revision)).collect()
    }

    /// Forgets what was reached, so that it can be marked in another way. Findings stay.
    pub(super) fn forget(&mut self) {
        // Those that were only counted are about to be met again.
        self.noted.values_mut().for_each(|noted| *noted = FINDINGS_OF_A_CODE.min(*noted));
        self.strangers = (0, 0);
        self.any_alias = false;
        self.descended.clear();
        self.blobs.clear();
        self.names.clear();
        self.missed.clear();
    }

    /// Whether a manifest was reached.
    pub(super) fn has_descended(&self, digest: &Digest) -> bool {
        self.descended.contains(digest)
    }

    /// Whether a layer link of that name is needed. `blob` is where the inventory has it.
    pub(super) fn has_reached(&self, digest: &Digest, blob: Option<BlobId>) -> bool {
        blob.is_some_and(|blob| self.blobs.contains(&blob)) || self.names.contains(digest)
    }

    /// What was found on the way.
    pub(super) fn into_findings(self) -> impl Iterator<Item = Finding> {
        let uncounted = self.noted.into_iter().filter(|(_, noted)| *noted > FINDINGS_OF_A_CODE).map(|(code, noted)| {
            let more = noted - FINDINGS_OF_A_CODE;
            let detail = format!("{} {more} more of these here, which are not listed.", code.meaning());
            Finding::new(code).repository(&self.survey.name).count(more).detail(detail)
        });
        self.findings.into_values().chain(uncounted)
    }

    /// Marks one digest and nothing that it may refer to.
    pub(super) fn mark_alone(&mut self, digest: &Digest, flags: MarkFlags) {
        self.mark_found(digest, self.context.inventory.find(digest), flags);
    }

    /// The same for one whose place in the inventory is known.
    fn mark_found(&mut self, digest: &Digest, blob: Option<BlobId>, flags: MarkFlags) {
        self.names.insert(*digest);
        if let Some(blob) = blob {
            self.context.inventory.mark(blob, flags);
            self.blobs.insert(blob);
        }
    }

    /// Marks the roots and everything that they reach: references to any depth, and referrers of what was reached.
    pub(super) fn walk(&mut self, roots: Vec<(Digest, Role)>, flags: MarkFlags) -> Result<(), Error> {
        let mut queue = roots;
        while let Some((digest, role)) = queue.pop() {
            if self.descended.contains(&digest) {
                self.note_tag_again(&digest, &role);
                continue;
            }
            let reading = match self.survey.revision(&digest) {
                Some(index) => self.readings[index].get(&digest)?,
                None if self.is_too_far() => {
                    self.mark_alone(&digest, flags);
                    self.cut_off(&digest);
                    continue;
                }
                // Not a revision here, or one whose link was deleted: an index that names it needs it all the same.
                None => self.stranger(&digest)?,
            };
            let edges = match &reading {
                Reading::Read(edges) => edges,
                // It is a layer after all.
                Reading::Bad(_) if matches!(role, Role::MaybeManifest | Role::Optional) => {
                    self.mark_alone(&digest, flags);
                    continue;
                }
                Reading::Bad(fault) => {
                    self.mark_alone(&digest, flags);
                    self.descended.insert(digest);
                    self.fault = true;
                    self.note_fault(&digest, fault);
                    continue;
                }
                Reading::Absent => {
                    // Its directory may be there, and waits for it to be pushed again.
                    self.mark_alone(&digest, flags);
                    self.descended.insert(digest);
                    self.absent.insert(digest);
                    // What refers to a platform that was never copied is kept with the index that names it.
                    self.queue_referrers(&digest, &mut queue);
                    self.note_absent(&digest, &role);
                    continue;
                }
            };
            self.descended.insert(digest);
            self.mark_found(&digest, edges.blob, flags);
            if let Role::TagTarget(tag) = &role {
                self.note_lost_revision(&digest, tag);
            }
            self.queue_referrers(&digest, &mut queue);
            if edges.overfull {
                self.fault = true;
                self.note(Finding::new(Code::OverfullManifest).digest(&digest).path(layout::blob_data(&digest)));
            }
            self.follow(edges, flags, &mut queue)?;
        }
        Ok(())
    }

    /// Reads a manifest that is no revision here.
    fn stranger(&mut self, digest: &Digest) -> Result<Reading, Error> {
        let reading = self.context.manifests.read(digest)?;
        self.strangers.0 += u64::from(matches!(reading, Reading::Read(_)));
        self.strangers.1 += reading.bytes_read();
        Ok(reading)
    }

    /// Goes no further: the repository is held, and that is what it takes to keep all that can be pulled from it.
    fn cut_off(&mut self, digest: &Digest) {
        if !std::mem::replace(&mut self.is_cut_off, true) {
            self.fault = true;
            self.note(Finding::new(Code::OverfullRepository).digest(digest).path(layout::blob_data(digest)));
        }
    }

    /// Whether the repository leads to more manifests of others than are followed.
    fn is_too_far(&self) -> bool {
        self.strangers.0 >= MAX_STRANGERS || self.strangers.1 >= MAX_STRANGERS_BYTES
    }

    fn queue_referrers(&self, subject: &Digest, queue: &mut Vec<(Digest, Role)>) {
        for &referrer in self.referrers.get(subject).into_iter().flatten() {
            queue.push((self.survey.revisions[referrer].digest, Role::Revision));
        }
    }

    /// Marks what a manifest names, and queues what is to be read in its turn.
    fn follow(&mut self, edges: &Edges, flags: MarkFlags, queue: &mut Vec<(Digest, Role)>) -> Result<(), Error> {
        let inventory = self.context.inventory;
        for edge in &edges.stored {
            inventory.mark(edge.blob, flags);
            self.blobs.insert(edge.blob);
            let role = match edge.kind {
                DescriptorKind::Manifest => Role::Child,
                // Whatever the manifest calls it, this repository serves it as a manifest.
                _ if self.revisions.contains_key(&edge.blob) => Role::Revision,
                DescriptorKind::MaybeManifest => Role::MaybeManifest,
                DescriptorKind::Blob => continue,
            };
            queue.push((inventory.digest(edge.blob), role));
        }
        if edges.any_alias && !std::mem::replace(&mut self.any_alias, true) {
            self.reach_aliases(flags, queue)?;
        }
        for descriptor in &edges.unresolved {
            self.resolve(descriptor, flags, queue)?;
        }
        Ok(())
    }

    /// Reaches whatever the repository knows by a name of an algorithm under which nothing is stored.
    fn reach_aliases(&mut self, flags: MarkFlags, queue: &mut Vec<(Digest, Role)>) -> Result<(), Error> {
        let survey = self.survey;
        for digest in survey.layers.iter().filter(|digest| digest.algorithm() != Algorithm::Sha256) {
            let kind = DescriptorKind::MaybeManifest;
            let alias = Descriptor { digest: *digest, size_bytes: None, kind, foreign: true, expected: false };
            self.resolve(&alias, flags, queue)?;
        }
        Ok(())
    }

    /// Deals with a digest that is not stored, or that may be another name of a blob (H3).
    fn resolve(&mut self, descriptor: &Descriptor, flags: MarkFlags, queue: &mut Vec<(Digest, Role)>) -> Result<(), Error> {
        let digest = &descriptor.digest;
        // Another manifest may have called it a layer, and this one knows better.
        let is_new = self.names.insert(*digest);
        // What is expected here may have been named where the registry does not read.
        let is_missed = descriptor.expected && !descriptor.foreign;
        let is_first_missed = is_missed && self.missed.insert(*digest);
        if !is_new && descriptor.kind == DescriptorKind::Blob && !is_first_missed {
            return Ok(());
        }
        let stored = self.context.inventory.find(digest).is_some();
        match layer_verdict(self.context.store, self.survey, digest)? {
            LinkVerdict::Names(canonical) if canonical != *digest => {
                self.mark_alone(&canonical, flags);
                // Its own link is opened as if the manifest had named it by that name.
                if self.context.inventory.find(&canonical).is_none()
                    && let LinkVerdict::Faulty(code) = layer_verdict(self.context.store, self.survey, &canonical)?
                {
                    self.note_faulty_link(&canonical, code);
                    return Ok(());
                }
                match descriptor.kind {
                    DescriptorKind::Manifest if is_missed => queue.push((canonical, Role::Child)),
                    _ if self.survey.revision(&canonical).is_some() => queue.push((canonical, Role::Revision)),
                    DescriptorKind::Manifest if self.context.inventory.find(&canonical).is_some() => {
                        queue.push((canonical, Role::Child))
                    }
                    DescriptorKind::Manifest => queue.push((canonical, Role::Optional)),
                    DescriptorKind::MaybeManifest if is_missed => queue.push((canonical, Role::MaybeManifest)),
                    DescriptorKind::MaybeManifest => queue.push((canonical, Role::Optional)),
                    DescriptorKind::Blob if !is_missed || self.context.inventory.find(&canonical).is_some() => {}
                    DescriptorKind::Blob => self.note_missing_blob(&canonical),
                }
                return Ok(());
            }
            LinkVerdict::Faulty(code) => {
                self.note_faulty_link(digest, code);
                return Ok(());
            }
            LinkVerdict::Names(_) | LinkVerdict::Absent => {}
        }
        if stored {
            return Ok(());
        }
        match descriptor.kind {
            // It may have been stored since the run began: the walk will tell.
            DescriptorKind::Manifest if descriptor.expected => queue.push((*digest, Role::Child)),
            _ if self.survey.revision(digest).is_some() => queue.push((*digest, Role::Revision)),
            DescriptorKind::MaybeManifest if is_missed => queue.push((*digest, Role::MaybeManifest)),
            DescriptorKind::Manifest | DescriptorKind::MaybeManifest => queue.push((*digest, Role::Optional)),
            DescriptorKind::Blob if !is_first_missed => {}
            DescriptorKind::Blob => self.note_missing_blob(digest),
        }
        Ok(())
    }

    fn note(&mut self, finding: Finding) {
        let digest = finding.digest.expect("what is found on the way has a digest");
        let finding = finding.repository(&self.survey.name);
        let key = (finding.code, digest, finding.tag.clone());
        if self.findings.contains_key(&key) {
            return;
        }
        if matches!(finding.code, Code::MissingBlob | Code::MissingChild) {
            let noted = self.noted.entry(finding.code).or_default();
            *noted += 1;
            if *noted > FINDINGS_OF_A_CODE {
                return;
            }
        }
        self.findings.insert(key, finding);
    }

    fn note_fault(&mut self, digest: &Digest, fault: &Fault) {
        let finding = match fault {
            Fault::Corrupt => Finding::new(Code::CorruptManifest),
            Fault::TooLarge => Finding::new(Code::OversizedManifest),
            Fault::Irregular => Finding::new(Code::IrregularData),
            Fault::Unreadable { why, .. } => {
                Finding::new(Code::UnreadableManifest).detail(format!("The manifest is not one whole JSON object: {why}"))
            }
            Fault::NotAnObject => {
                Finding::new(Code::UnreadableManifest).detail("What is named as a manifest does not begin as a JSON object does")
            }
        };
        self.note(finding.digest(digest).path(layout::blob_data(digest)));
    }

    fn note_absent(&mut self, digest: &Digest, role: &Role) {
        let path = layout::blob_data(digest);
        match role {
            Role::TagTarget(tag) => {
                self.tag_target_absent = true;
                self.note(Finding::new(Code::MissingTagTarget).tag(tag).digest(digest).path(path));
            }
            Role::Revision if self.tag_targets.contains(digest) => {}
            Role::Revision => self.note(Finding::new(Code::MissingManifest).digest(digest).path(path)),
            Role::Child => self.note(Finding::new(Code::MissingChild).digest(digest).path(path)),
            Role::MaybeManifest => self.note_missing_blob(digest),
            Role::Optional => {}
        }
    }

    fn note_faulty_link(&mut self, digest: &Digest, code: Code) {
        self.fault = true;
        let link = LinkDirectory::Layers(self.survey.name.clone()).link(digest);
        self.note(Finding::new(code).digest(digest).path(link));
    }

    fn note_missing_blob(&mut self, digest: &Digest) {
        self.note(Finding::new(Code::MissingBlob).digest(digest).path(layout::blob_data(digest)));
    }

    fn note_lost_revision(&mut self, digest: &Digest, tag: &TagName) {
        if self.survey.revision(digest).is_none() {
            let link = LinkDirectory::Revisions(self.survey.name.clone()).link(digest);
            self.note(Finding::new(Code::LostRevision).tag(tag).digest(digest).path(link));
        }
    }

    /// A second way to a manifest may be the one that matters to the operator.
    fn note_tag_again(&mut self, digest: &Digest, role: &Role) {
        if let Role::TagTarget(tag) = role {
            match self.absent.contains(digest) {
                true => self.note_absent(digest, role),
                false => self.note_lost_revision(digest, tag),
            }
        }
    }
}

fn with_room<T>(count: usize) -> HashSet<T> {
    HashSet::with_capacity_and_hasher(count, RandomState::default())
}
