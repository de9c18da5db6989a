//! Findings about damage: broken links, invalid names, and content that manifests need and the store lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::ages::Ages;
use super::facts::{BlobFacts, RepositoryFacts};
use super::leftover::{is_unfinished, leftover};
use crate::finding::{Code, Finding, Needs};
use crate::findings::OfRepository;
use crate::graph::{LinkVerdict, judge_link};
use crate::inventory::Inventory;
use crate::layout::{self, LinkDirectory};
use crate::oci::Digest;
use crate::store::{FileState, LinkContent};

/// Damage in one repository that marking does not report.
pub(crate) fn repository(facts: &RepositoryFacts<'_>, inventory: &Inventory, blobs: &BlobFacts, ages: &Ages) -> Vec<Finding> {
    let mut findings = OfRepository::new(&facts.survey.name);
    let is_stored = |digest: &Digest| inventory.find(digest).is_some() && blobs.has_data(digest);
    layer_links(facts, (&is_stored, blobs), &mut findings);
    history_links(facts, &mut findings);
    tag_names(facts, &mut findings);
    let name = &facts.survey.name;
    for digest in facts.needed.lost_children.iter().map(|blob| inventory.digest(*blob)).filter(|digest| blobs.has_data(digest)) {
        let link = LinkDirectory::Revisions(name.clone()).link(&digest);
        findings.push(Finding::new(Code::LostChild).repository(name).digest(&digest).path(link));
    }
    for digest in facts.needed.unlinked.iter().filter(|digest| is_stored(digest)) {
        let link = LinkDirectory::Layers(name.clone()).link(digest);
        findings.push(Finding::new(Code::MissingLayerLink).repository(name).digest(digest).path(link));
    }
    // Marking counts a blob as stored if its directory exists.
    let absent = facts.needed.absent.iter().filter(|digest| blobs.without_data.get(digest) == Some(&FileState::Absent));
    findings.extend(absent.map(|digest| Finding::new(Code::MissingBlob).digest(digest).path(layout::blob_data(digest))));
    findings.extend(facts.leftovers.iter().filter_map(|found| leftover(found, ages)).map(|finding| finding.repository(name)));
    findings.extend(
        facts.uploads.strays.iter().map(|stray| Finding::new(Code::of_stray(stray.kind)).repository(name).path(&stray.path)),
    );
    findings.into_findings()
}

/// Blobs whose `data` is not a regular file.
pub(crate) fn blobs(blobs: &BlobFacts) -> impl Iterator<Item = Finding> {
    let irregular = blobs.without_data.iter().filter(|(_, state)| **state == FileState::Irregular);
    irregular.map(|(digest, _)| Finding::new(Code::IrregularData).digest(digest).path(layout::blob_data(digest)))
}

fn layer_links(
    facts: &RepositoryFacts<'_>,
    (is_stored, blobs): (&impl Fn(&Digest) -> bool, &BlobFacts),
    findings: &mut OfRepository,
) {
    let directory = LinkDirectory::Layers(facts.survey.name.clone());
    for (digest, content) in facts.survey.layers.iter().zip(&facts.layer_links) {
        let code = match judge_link(digest, *content) {
            LinkVerdict::Absent => continue,
            LinkVerdict::Faulty(code) => code,
            LinkVerdict::Names(name) if is_stored(&name) => continue,
            // It goes after the blob's purge: until then both can be restored.
            LinkVerdict::Names(name) if blobs.quarantined.contains(&name) => continue,
            // A blob that a manifest names is reported as missing already.
            LinkVerdict::Names(name) if [digest, &name].into_iter().any(|name| facts.needed.named.contains_key(name)) => continue,
            LinkVerdict::Names(_) => Code::BrokenLayerLink,
        };
        findings.push(Finding::new(code).repository(directory.repository()).digest(digest).path(directory.link(digest)));
    }
}

fn history_links(facts: &RepositoryFacts<'_>, findings: &mut OfRepository) {
    for (tag, contents) in facts.survey.tags.iter().zip(&facts.history_links) {
        let directory = LinkDirectory::History(facts.survey.name.clone(), tag.name.clone());
        for (digest, content) in tag.history.iter().zip(contents) {
            let code = match content {
                LinkContent::Digest(named) if named == digest => continue,
                LinkContent::Absent => continue,
                LinkContent::Digest(_) => Code::DisagreeingLink,
                LinkContent::Empty => Code::EmptyLink,
                LinkContent::Garbled => Code::GarbledLink,
                LinkContent::Irregular => Code::IrregularLink,
            };
            let here = Finding::new(code).repository(directory.repository()).tag(&tag.name);
            findings.push(here.digest(digest).path(directory.link(digest)));
        }
    }
}

fn tag_names(facts: &RepositoryFacts<'_>, findings: &mut OfRepository) {
    let name = &facts.survey.name;
    for tag in facts.survey.tags.iter().filter(|tag| !tag.name.is_valid()) {
        let directory = layout::tag_directory(name, &tag.name);
        findings.push(Finding::new(Code::InvalidTagName).repository(name).tag(&tag.name).path(directory));
    }
    for tag in &facts.survey.tags {
        let Some(subject) = tag.name.subject() else { continue };
        if facts.survey.revision(&subject).is_none() {
            let directory = layout::tag_directory(name, &tag.name);
            let found = Finding::new(Code::OrphanedSignature).repository(name).tag(&tag.name);
            findings.push(found.digest(&subject).path(directory));
        }
    }
    for digest in &facts.needed.orphans {
        let link = LinkDirectory::Revisions(name.clone()).link(digest);
        findings.push(Finding::new(Code::OrphanedReferrer).repository(name).digest(digest).path(link));
    }
}

/// Keeps one finding for each blob directory without data. An unfinished file explains the missing data: a crash left it,
/// or a writer has not finished. Otherwise the finding about the directory covers the other entries in it.
pub(crate) fn directory_once(findings: &mut Vec<Finding>, blobs: &BlobFacts) {
    let directory = |path: &Path| path.parent().map(Path::to_owned);
    let unfinished: BTreeSet<PathBuf> = blobs
        .leftovers
        .iter()
        .filter(|leftover| is_unfinished(leftover))
        .filter_map(|leftover| directory(&leftover.path))
        .collect();
    let directory_of = |finding: &Finding| finding.path.as_deref().and_then(directory);
    let is_in = |finding: &Finding, directories: &BTreeSet<PathBuf>| {
        directory_of(finding).is_some_and(|directory| directories.contains(&directory))
    };
    findings.retain(|finding| finding.code != Code::MissingData || !is_in(finding, &unfinished));
    let without: BTreeSet<PathBuf> =
        findings.iter().filter(|finding| finding.code == Code::MissingData).filter_map(directory_of).collect();
    findings.retain(|finding| finding.code != Code::UnrecognisedEntry || !is_in(finding, &without));
}

/// Drops the repository from a finding about a blob.
pub(crate) fn wherever_met(finding: Finding) -> Finding {
    match finding.digest {
        Some(_) if finding.code.is_about_blob() => Finding { repository: None, ..finding },
        _ => finding,
    }
}

/// The digests whose damage breaks images.
pub(crate) fn damaged(findings: &[Finding]) -> BTreeSet<Digest> {
    let damaged = findings.iter().filter(|finding| finding.code.is_about_blob() || finding.code == Code::MissingTagTarget);
    damaged.filter_map(|finding| finding.digest).collect()
}

/// Reports each damaged blob once, under its most severe code, with the images that need it.
pub(crate) fn once_each(findings: Vec<Finding>, mut needs: BTreeMap<Digest, Needs>) -> Vec<Finding> {
    let targets: BTreeSet<Digest> =
        findings.iter().filter(|finding| finding.code == Code::MissingTagTarget).filter_map(|finding| finding.digest).collect();
    let mut of_blobs: BTreeMap<Digest, Finding> = BTreeMap::new();
    let mut all = Vec::new();
    for finding in findings.into_iter().map(wherever_met) {
        match finding.digest {
            Some(digest) if finding.code.is_about_blob() => {
                if targets.contains(&digest) {
                    continue;
                }
                let kept = of_blobs.entry(digest).or_insert_with(|| finding.clone());
                if finding < *kept {
                    *kept = finding;
                }
            }
            _ => all.push(finding),
        }
    }
    all.extend(of_blobs.into_iter().map(|(digest, finding)| finding.needed_by(needs.remove(&digest).unwrap_or_default())));
    all.sort();
    all.dedup();
    all
}
