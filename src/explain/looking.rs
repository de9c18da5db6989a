//! Scans all repositories, and combines how they relate to the target of an explanation.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use foldhash::{HashMap, HashSet};

use super::facts::{LineageRoots, kept_for, links};
use super::target::Target;
use super::values::{ChainStep, ExplainedChain, Explanation, Fate, LinkPlace, MOST_LISTED, Relation};
use crate::amount::Amount;
use crate::catalogue::sizes_of;
use crate::error::Error;
use crate::finding::Finding;
use crate::graph::Context;
use crate::inventory::{BlobId, Budget, Holder, MarkFlags, Ownership, Whose};
use crate::layout::Shard;
use crate::lineage::{self, Chains, Content, ImageInfo, Lineage, Place, Sought, Step};
use crate::mark::{self, Marks};
use crate::oci::{Digest, RepositoryName};
use crate::plan::{BlobFacts, Decision, Deletions, Inspected, KeepReason, Reason, decide};
use crate::policy::Age;
use crate::store::{FileState, RepositoryEntry};
use crate::survey::{self, Survey};
use crate::usage::LIVE;

/// Whether only the target keeps a blob, or something else does.
const FOR_TARGET: u32 = 0;
const FOR_OTHERS: u32 = 1;

/// An explanation under construction.
pub(crate) struct Explained<'a> {
    context: &'a Context<'a>,
    target: &'a Target,
    ownership: Ownership,
    found: Mutex<Found>,
}

/// How the repositories relate to the target.
#[derive(Default)]
struct Found {
    links: Vec<LinkPlace>,
    chains: Vec<ExplainedChain>,
    link_count: u64,
    chain_count: u64,
    tagged_chain_count: u64,
    held_in: Vec<RepositoryName>,
    is_linked: bool,
    leads_to: HashSet<BlobId>,
}

/// Starts an explanation.
///
/// # Errors
///
/// When there is no room beyond the budget.
pub(crate) fn explain<'a>(context: &'a Context<'a>, target: &'a Target, budget: &Budget) -> Result<Explained<'a>, Error> {
    let ownership = Ownership::new(context.inventory.len(), budget)?;
    Ok(Explained { context, target, ownership, found: Mutex::default() })
}

impl Explained<'_> {
    /// Scans one repository. The marks keep only the findings about the target.
    ///
    /// # Errors
    ///
    /// When something in it cannot be read.
    pub(crate) fn look_at(&self, repository: &RepositoryEntry) -> Result<Marks, Error> {
        let context = self.context;
        let surveyed = survey::survey(context.store, repository)?;
        let inventory = context.inventory.noting();
        let mut marks = mark::mark(&surveyed, &Context { inventory: &inventory, ..*context })?;
        marks.deletions = Deletions::default();
        let noted = inventory.into_noted();
        let blob = self.target.blob(context.inventory);
        let is_noted = blob.is_some_and(|blob| noted.get(&blob).is_some_and(|flags| flags.intersects(MarkFlags::KEPT)));
        let links = match self.target.digest() {
            Some(digest) => links(&surveyed, digest)?,
            None => Vec::new(),
        };
        let is_concerned = self.target.is_in(&surveyed.name);
        let (mut content, mut is_manifest) = (Content::default(), false);
        let kept = if is_concerned && (is_noted || !links.is_empty() || matches!(self.target, Target::Repository(_))) {
            let lineage = Lineage::read(context, &surveyed)?;
            let roots = LineageRoots::new(context, &surveyed, &lineage, &noted);
            self.note_chains(&surveyed, &lineage, &roots)?;
            let root = self.target.digest().and_then(|digest| lineage.place(digest));
            let places = root.map_or_else(|| (0..lineage.len() as Place).collect(), |root| lineage.content(root));
            is_manifest = root.is_some();
            content = lineage::content(context, &surveyed, &lineage, &places)?;
            kept_for(self.target, context, &lineage, &roots, &noted, marks.held)
        } else {
            HashSet::default()
        };
        for (blob, _) in noted.iter().filter(|(_, flags)| flags.intersects(LIVE)) {
            self.ownership.claim(*blob, Holder::Live, if kept.contains(blob) { FOR_TARGET } else { FOR_OTHERS });
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.held && (is_noted || (is_concerned && self.target.digest().is_none())) {
            found.held_in.push(surveyed.name.clone());
        }
        if let Target::Repository(_) = self.target
            && is_concerned
        {
            found.leads_to.extend(noted.iter().filter(|(_, flags)| flags.intersects(MarkFlags::KEPT)).map(|(blob, _)| *blob));
        }
        found.is_linked |= is_concerned && !links.is_empty();
        found.link_count += links.len() as u64;
        found.links.extend(links);
        if found.links.len() > 2 * MOST_LISTED {
            found.links.sort();
            found.links.truncate(MOST_LISTED);
        }
        drop(found);
        let Content { named, lost } = content;
        // Of a manifest all that it names is needed, and of a blob nothing but itself.
        let is_needed = |found: &Digest| self.target.digest() == Some(found) || (is_manifest && named.contains(found));
        let is_about = |finding: &Finding| match self.target.digest() {
            Some(_) => {
                finding.digest.as_ref().is_some_and(is_needed)
                    || (is_noted && marks.held)
                    || (is_concerned && finding.tag.is_some() && self.is_tag(finding))
            }
            None => is_concerned,
        };
        let found: BTreeSet<Finding> = std::mem::take(&mut marks.findings).into_iter().chain(lost).collect();
        marks.findings = found.into_iter().filter(is_about).collect();
        Ok(marks)
    }

    fn is_tag(&self, finding: &Finding) -> bool {
        matches!(self.target, Target::Tag(_, tag, _) if finding.tag.as_ref() == Some(tag))
    }

    fn note_chains(&self, surveyed: &Survey, lineage: &Lineage, roots: &LineageRoots) -> Result<(), Error> {
        let Some(digest) = self.target.digest() else { return Ok(()) };
        let manifest = lineage.place(digest);
        let sought = match (manifest, self.target.blob(self.context.inventory)) {
            (Some(place), _) => Sought::Manifest(place),
            (None, Some(blob)) => Sought::Blob(blob),
            (None, None) => return Ok(()),
        };
        let chains = Chains::new(lineage, sought);
        let from_tags = roots.tags.iter().map(|(tag, place)| (Some(tag), *place));
        let from_untagged = roots.untagged.iter().map(|place| (None, *place));
        let (mut count, mut tagged) = (0_u64, 0_u64);
        let mut first = Vec::new();
        for (tag, root) in from_tags.chain(from_untagged) {
            count = count.saturating_add(chains.count(root));
            tagged = tagged.saturating_add(if tag.is_some() { chains.count(root) } else { 0 });
            for steps in chains.first(root, MOST_LISTED - first.len()) {
                first.push((tag.cloned(), steps));
            }
        }
        let mut known = HashMap::default();
        let listed = first.into_iter().map(|(tag, steps)| {
            Ok(ExplainedChain {
                repository: surveyed.name.clone(),
                tag,
                steps: self.described(&mut known, &steps, manifest.is_none().then_some(digest))?,
            })
        });
        let listed = listed.collect::<Result<Vec<_>, Error>>()?;
        let content: Vec<Place> = manifest.map_or_else(Vec::new, |place| lineage.content(place));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.chain_count = found.chain_count.saturating_add(count);
        found.tagged_chain_count = found.tagged_chain_count.saturating_add(tagged);
        found.chains.extend(listed);
        found.leads_to.extend(lineage.blobs_of(&content));
        if found.chains.len() > 2 * MOST_LISTED {
            sort(&mut found.chains);
            found.chains.truncate(MOST_LISTED);
        }
        Ok(())
    }

    /// A chain for display: the kind of each manifest, and the blob at its end. Most chains share most of their steps, so
    /// `known` caches manifests.
    fn described(
        &self,
        known: &mut HashMap<Digest, Rc<ImageInfo>>,
        steps: &[Step],
        end: Option<&Digest>,
    ) -> Result<Vec<ChainStep>, Error> {
        let mut described: Vec<ChainStep> = Vec::with_capacity(steps.len() + 1);
        let mut above: Option<Rc<ImageInfo>> = None;
        for step in steps {
            let info = match known.get(step.digest()) {
                Some(info) => Rc::clone(info),
                None => Rc::new(ImageInfo::read(self.context.store, step.digest())?),
            };
            known.insert(*step.digest(), Rc::clone(&info));
            let listed = above.as_ref().and_then(|above| above.listed.iter().find(|(digest, _)| digest == step.digest()));
            let platform = listed.and_then(|(_, platform)| platform.clone()).or_else(|| info.platform.clone());
            let relation = match step {
                _ if described.is_empty() => Relation::Root,
                Step::Named(_) => Relation::Named,
                Step::Referrer(_) => Relation::Refers,
            };
            described.push(ChainStep {
                digest: *step.digest(),
                relation,
                kind: platform.unwrap_or_else(|| info.kind().to_owned()),
            });
            above = Some(info);
        }
        described.extend(end.map(|digest| ChainStep { digest: *digest, relation: Relation::Named, kind: "blob".to_owned() }));
        Ok(described)
    }

    /// The explanation, once all repositories are scanned.
    ///
    /// # Errors
    ///
    /// When a blob cannot be read.
    pub(crate) fn into_explanation(self) -> Result<Explanation, Error> {
        let Explained { context, target, ownership, found } = self;
        let Found { mut links, mut chains, link_count, chain_count, tagged_chain_count, mut held_in, is_linked, mut leads_to } =
            found.into_inner().unwrap_or_else(PoisonError::into_inner);
        links.sort();
        links.truncate(MOST_LISTED);
        sort(&mut chains);
        chains.truncate(MOST_LISTED);
        held_in.sort();
        let blob = target.blob(context.inventory);
        leads_to.extend(blob);
        let freed = (0..context.inventory.len() as u32).map(BlobId::at).filter(|blob| {
            context.inventory.has_any(*blob, MarkFlags::KEPT) && ownership.whose(*blob, Holder::Live) == Whose::One(FOR_TARGET)
        });
        let (size_bytes, fate) = fate(context, target)?;
        let kind = match target.digest() {
            Some(digest) if size_bytes.is_some() => Some(kind(context, digest)?),
            _ => None,
        };
        Ok(Explanation {
            digest: target.digest().copied(),
            size_bytes,
            kind,
            fate,
            held_in,
            is_linked,
            links,
            link_count,
            chains,
            chain_count,
            tagged_chain_count,
            leads_to: amount(context, leads_to)?,
            freed: amount(context, freed)?,
        })
    }
}

/// Tags first, then by repository. Chains of one root keep their order.
fn sort(chains: &mut [ExplainedChain]) {
    chains.sort_by(|a, b| (a.tag.is_none(), &a.repository, &a.tag).cmp(&(b.tag.is_none(), &b.repository, &b.tag)));
}

fn amount(context: &Context<'_>, blobs: impl IntoIterator<Item = BlobId>) -> Result<Amount, Error> {
    Ok(sizes_of(context, blobs)?.into_values().collect())
}

/// The kind of a blob. A JSON object that names other content counts as a manifest.
fn kind(context: &Context<'_>, digest: &Digest) -> Result<String, Error> {
    let info = match context.manifests.read(digest)? {
        crate::graph::Reading::Read(edges) if !edges.stored.is_empty() || !edges.unresolved.is_empty() => {
            ImageInfo::read(context.store, digest)?
        }
        _ => return Ok("blob".to_owned()),
    };
    Ok(match info.platform.clone() {
        Some(platform) => format!("{} for {platform}", info.kind()),
        None => info.kind().to_owned(),
    })
}

/// The size of a blob, and the decision of a collection about it.
fn fate(context: &Context<'_>, target: &Target) -> Result<(Option<u64>, Fate), Error> {
    let Some(digest) = target.digest() else {
        return Ok((None, Fate::Kept));
    };
    let Some(blob) = context.inventory.find(digest) else { return Ok((None, Fate::Absent)) };
    let state = context.store.stat_blobs(Shard::of(digest), &[*digest])?[0];
    let size_bytes = match state {
        FileState::File(stat) => Some(stat.size_bytes),
        FileState::Absent => return Ok((None, Fate::Absent)),
        FileState::Irregular => None,
    };
    let flags = context.inventory.flags(blob);
    let facts = BlobFacts { flags, of_dropped_revision: false, inspected: Inspected::new(&state, &context.policy) };
    let fate = match decide::blob(&facts) {
        Decision::Keep(KeepReason::Foreign) => Fate::Foreign,
        Decision::Keep(KeepReason::Reached) if flags.intersects(MarkFlags::TAGGED) => Fate::Kept,
        Decision::Keep(KeepReason::Reached) if flags.intersects(LIVE) => Fate::Young(None),
        Decision::Keep(KeepReason::Reached) => Fate::KeptUntagged,
        Decision::Keep(KeepReason::Young(Age::Young(until) | Age::JustMade(until))) => Fate::Young(Some(until)),
        Decision::Keep(KeepReason::Irregular) => Fate::Irregular,
        Decision::Keep(KeepReason::Absent) => Fate::Absent,
        Decision::Keep(_) => Fate::Young(None),
        Decision::Delete(Reason::Unlinked) => Fate::Unlinked,
        Decision::Delete(_) => Fate::Unreferenced,
    };
    Ok((size_bytes, fate))
}
