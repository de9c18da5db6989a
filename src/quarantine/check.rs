//! What a restoration is worth: whether what came back can be pulled.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Purpose, Quarantine, Reader, Run};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Edges, Fault, LinkVerdict, Manifests, Queue, Reading, Visited, Visitor, Walk, judge_link};
use crate::inventory::Inventory;
use crate::layout::{self, LinkDirectory, Shard, Target};
use crate::oci::{DescriptorKind, Digest, RepositoryName, TagName};
use crate::store::{FileState, Held, LinkContent, RepositoryEntry, stat_target};
use crate::survey::{self, Survey};

/// Blobs that may not be what their digests say once they are restored: `verify` or `repair` took them for corrupt, they were written to in
/// quarantine, or there is nothing in them.
pub fn suspects(quarantine: &Quarantine<'_>, is_wanted: &dyn Fn(&Run<'_>, &Target) -> bool) -> BTreeSet<Digest> {
    let is_suspect = |(run, held): &(&Run<'_>, &Held)| {
        !run.stamp().purpose.is_of_collection() || run.was_written_to(held) || held.stat.size_bytes == 0
    };
    let is_blob = |held: &Held| blob_of(&held.target).is_some();
    let blobs = quarantine.held().filter(|(run, held)| is_blob(held) && is_wanted(run, &held.target));
    blobs.filter(is_suspect).filter_map(|(_, held)| held.target.digest().copied()).collect()
}

/// Follows what was restored, and says what of it is still missing. Of `suspects` the bytes are read.
///
/// # Errors
///
/// When something cannot be read.
pub fn check(reader: &Reader<'_>, restored: &BTreeSet<Target>, suspects: &BTreeSet<Digest>) -> Result<Vec<Finding>, Error> {
    let mut revisions: BTreeMap<RepositoryName, Vec<Digest>> = BTreeMap::new();
    let mut layers: BTreeMap<RepositoryName, Vec<Digest>> = BTreeMap::new();
    let mut tags: BTreeMap<&RepositoryName, Vec<(&TagName, &Digest)>> = BTreeMap::new();
    let mut findings = left_behind(reader, restored)?;
    for digest in suspects {
        if reader.store().is_whole_on_disk(digest)? == Some(false) {
            let detail = "It was restored, and its bytes do not match its digest: clients refuse it.";
            let finding = Finding::new(Code::CorruptBlob).digest(digest).path(layout::blob_data(digest));
            findings.push(finding.detail(detail));
        }
    }
    for target in restored {
        match target {
            Target::Link(LinkDirectory::Revisions(name), digest) => revisions.entry(name.clone()).or_default().push(*digest),
            Target::Link(LinkDirectory::Layers(name), digest) => layers.entry(name.clone()).or_default().push(*digest),
            // The image may have been where it is, or have gone since by other means.
            Target::Tag(name, tag, digest) => {
                revisions.entry(name.clone()).or_default().push(*digest);
                tags.entry(name).or_default().push((tag, digest));
            }
            _ => {}
        }
    }
    for (name, digests) in layers {
        let repository = reader.store().open(&RepositoryEntry { name: name.clone(), foreign: None })?;
        let contents = repository.read_links(&LinkDirectory::Layers(name.clone()), &digests)?;
        // A link that leads nowhere is none that an image needs, unless a revision came back with it: that is followed below.
        findings.extend(digests.iter().zip(contents).filter_map(|(digest, content)| damaged(&name, digest, content)));
    }
    if !revisions.is_empty() {
        let (inventory, _) = Inventory::list(reader.store(), &(reader.budget)(0))?;
        let manifests = Manifests::new(reader.store(), &inventory);
        for (name, revisions) in revisions {
            let survey = survey::survey(reader.store(), &RepositoryEntry { name, foreign: None })?;
            for (tag, digest) in tags.get(&survey.name).into_iter().flatten() {
                // Of a manifest that is not there itself that is said, and a link would lead nowhere.
                if !has_link(&survey, digest) && is_stored(reader, digest)? {
                    findings.push(missing(Code::LostRevision, &survey.name, digest).tag(tag));
                }
            }
            let mut check =
                Check { reader, inventory: &inventory, manifests: &manifests, survey: &survey, layers: HashSet::new(), findings };
            let roots = revisions.into_iter().map(|digest| (digest, Role::Revision)).collect();
            Walk::unbounded(&manifests).run(roots, &mut check)?;
            findings = check.findings;
        }
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// What `repair` had replaced says no more than before.
fn damaged(repository: &RepositoryName, digest: &Digest, content: LinkContent) -> Option<Finding> {
    let code = match content {
        LinkContent::Empty => Code::EmptyLink,
        LinkContent::Garbled => Code::GarbledLink,
        LinkContent::Digest(_) | LinkContent::Absent | LinkContent::Irregular => return None,
    };
    let path = LinkDirectory::Layers(repository.clone()).link(digest);
    let detail = format!("{} It was restored as it was.", code.meaning());
    Some(Finding::new(code).repository(repository).digest(digest).path(path).detail(detail))
}

/// Links that are still in quarantine and whose blobs are not there with them, but were restored: a run that was killed had moved the
/// links alone.
fn left_behind(reader: &Reader<'_>, restored: &BTreeSet<Target>) -> Result<Vec<Finding>, Error> {
    let (mut findings, mut tagged) = (Vec::new(), Tagged::default());
    let quarantine = Quarantine::open(reader.backend)?;
    // What `repair` replaced comes back by the name of its run alone.
    for run in quarantine.runs.iter().filter(|run| run.stamp().purpose != Purpose::Repair) {
        let blobs: BTreeSet<&Digest> = run.held().iter().filter_map(|held| blob_of(&held.target)).collect();
        let links = run.held().iter().map(|held| &held.target).filter(|target| blob_of(target).is_none());
        let links = links.filter_map(|link| Some((link, link.digest()?)));
        for (link, digest) in links.filter(|(_, digest)| !blobs.contains(digest) && restored.contains(&Target::Blob(**digest))) {
            // Its tag went before the image did, which can be pulled by another one again.
            if let Target::Tag(repository, ..) | Target::Link(LinkDirectory::History(repository, _), _) = link
                && tagged.targets(reader, repository)?.contains(digest)
            {
                continue;
            }
            let detail = match link {
                Target::Tag(repository, tag, digest) if names_something(reader, repository, tag)? => format!(
                    "Its blob was restored, and run {} still holds the tag: it was pushed again since, and nothing is replaced. The image is {repository}@{digest}.",
                    run.id()
                ),
                _ => format!(
                    "Its blob was restored, and run {} still holds the link: `regsweep restore --all` restores both.",
                    run.id()
                ),
            };
            let mut finding = Finding::new(Code::FailedRestore).digest(digest).path(link.path()).detail(detail);
            finding.repository = link.link_directory().map(|directory| directory.repository().clone());
            findings.push(finding);
        }
    }
    Ok(findings)
}

/// What the tags of repositories name, each of which is looked at once.
#[derive(Default)]
struct Tagged(BTreeMap<RepositoryName, HashSet<Digest>>);

impl Tagged {
    fn targets(&mut self, reader: &Reader<'_>, name: &RepositoryName) -> Result<&HashSet<Digest>, Error> {
        if !self.0.contains_key(name) {
            let repository = reader.store().open(&RepositoryEntry { name: name.clone(), foreign: None })?;
            let mut targets = HashSet::new();
            for tag in repository.tags()?.entries {
                if let LinkContent::Digest(digest) = repository.tag(&tag)?.current {
                    targets.insert(digest);
                }
            }
            self.0.insert(name.clone(), targets);
        }
        Ok(&self.0[name])
    }
}

fn names_something(reader: &Reader<'_>, repository: &RepositoryName, tag: &TagName) -> Result<bool, Error> {
    Ok(stat_target(reader.store(), &Target::BrokenTag(repository.clone(), tag.clone()))? != FileState::Absent)
}

fn has_link(survey: &Survey<'_>, digest: &Digest) -> bool {
    survey.revision(digest).is_some_and(|place| survey.revisions[place].link != LinkContent::Absent)
}

fn blob_of(target: &Target) -> Option<&Digest> {
    target.digest().filter(|_| matches!(target, Target::Blob(_)))
}

fn is_stored(reader: &Reader<'_>, digest: &Digest) -> Result<bool, Error> {
    Ok(matches!(reader.store().stat_blobs(Shard::of(digest), &[*digest])?[..], [FileState::File(_)]))
}

fn missing(code: Code, repository: &RepositoryName, digest: &Digest) -> Finding {
    let detail = "It was restored, and this is not there for it.".to_owned();
    let finding = Finding::new(code).repository(repository).digest(digest).path(layout::blob_data(digest));
    finding.detail(format!("{} {detail}", code.meaning()))
}

/// Why something is looked at as a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    /// It was restored as one, or the repository has a revision of that name.
    Revision,
    /// A manifest names it as one of its manifests.
    Child,
}

struct Check<'a> {
    reader: &'a Reader<'a>,
    inventory: &'a Inventory,
    manifests: &'a Manifests<'a>,
    survey: &'a Survey<'a>,
    /// Those that were looked at.
    layers: HashSet<Digest>,
    findings: Vec<Finding>,
}

impl Visitor for Check<'_> {
    type Role = Role;

    /// All of them are read like revisions: a client compares each with its digest.
    fn revision(&self, digest: &Digest, _: &Role) -> Result<Option<Reading>, Error> {
        self.manifests.read_revision(digest).map(Some)
    }

    fn visit(&mut self, digest: &Digest, role: &Role, reading: &Reading, queue: &mut Queue<'_, Role>) -> Result<Visited, Error> {
        if *role == Role::Child && self.survey.revision(digest).is_none() {
            self.findings.push(missing(Code::LostChild, &self.survey.name, digest));
        }
        self.findings.extend(self.damaged_revision(digest));
        let code = match reading {
            Reading::Read(edges) => {
                self.follow(edges, queue)?;
                return Ok(Visited::Done);
            }
            Reading::Absent if *role == Role::Revision || self.survey.revision(digest).is_some() => Code::MissingManifest,
            // A platform that was never copied, as often as not.
            Reading::Absent => Code::MissingChild,
            Reading::Bad(Fault::Corrupt) => Code::CorruptManifest,
            Reading::Bad(Fault::TooLarge) => Code::OversizedManifest,
            Reading::Bad(Fault::Irregular) => Code::IrregularData,
            Reading::Bad(Fault::Unreadable { .. } | Fault::NotAnObject) => Code::UnreadableManifest,
        };
        self.findings.push(missing(code, &self.survey.name, digest));
        Ok(Visited::Done)
    }
}

impl Check<'_> {
    /// A manifest is served through its revision link here, as a layer is through its own.
    fn damaged_revision(&self, digest: &Digest) -> Option<Finding> {
        let link = self.survey.revisions[self.survey.revision(digest)?].link;
        let LinkVerdict::Faulty(code) = judge_link(digest, link) else { return None };
        let path = LinkDirectory::Revisions(self.survey.name.clone()).link(digest);
        let detail = format!("{} What was restored needs it, and is not served without it.", code.meaning());
        Some(Finding::new(code).repository(&self.survey.name).digest(digest).path(path).detail(detail))
    }

    fn follow(&mut self, edges: &Edges, queue: &mut Queue<'_, Role>) -> Result<(), Error> {
        let stored = edges.stored.iter().map(|edge| (self.inventory.digest(edge.blob), edge.kind, false));
        let unresolved = edges.unresolved.iter().map(|named| (named.digest, named.kind, named.foreign));
        for (named, kind, is_foreign) in stored.chain(unresolved) {
            match kind {
                DescriptorKind::Manifest => queue.push(&named, Role::Child),
                _ if self.survey.revision(&named).is_some() => queue.push(&named, Role::Revision),
                _ if is_foreign => {}
                _ if !self.layers.insert(named) => {}
                _ => self.findings.extend(layer(self.reader, self.survey, &named)?),
            }
        }
        Ok(())
    }
}

/// A layer or configuration is served through its link here.
fn layer(reader: &Reader<'_>, survey: &Survey<'_>, digest: &Digest) -> Result<Option<Finding>, Error> {
    let content = survey.repository.read_links(&LinkDirectory::Layers(survey.name.clone()), &[*digest])?[0];
    let code = match judge_link(digest, content) {
        LinkVerdict::Names(named) if is_stored(reader, &named)? => return Ok(None),
        LinkVerdict::Absent if is_stored(reader, digest)? => Code::MissingLayerLink,
        LinkVerdict::Faulty(code) => code,
        _ => Code::MissingBlob,
    };
    Ok(Some(missing(code, &survey.name, digest)))
}
