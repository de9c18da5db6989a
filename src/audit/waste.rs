//! What a collection would remove: one finding for each repository and kind, and one for each blob that nobody links.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::RepositoryFacts;
use crate::amount::Amount;
use crate::finding::{Code, Finding};
use crate::findings::Gathered;
use crate::format::{plural, size};
use crate::inventory::{BlobId, Inventory, MarkFlags};
use crate::layout::{self, LinkDirectory, Target};
use crate::oci::{Digest, RepositoryName};
use crate::plan::{Reason, SweepPlan};
use crate::store::LinkContent;

/// Findings that are held before all but a few of them are only counted.
const FINDINGS_AT_ONCE: usize = 4096;

/// What a repository has too much of.
#[derive(Debug, Default)]
struct Share {
    count: u64,
    /// Blobs that go with it, some of them perhaps twice.
    blobs: Vec<BlobId>,
}

impl Share {
    /// Each blob once.
    fn freed(&mut self, inventory: &Inventory) -> Amount {
        self.blobs.sort_unstable();
        self.blobs.dedup();
        let mut freed = Amount::default();
        self.blobs.iter().for_each(|blob| freed.add(inventory.size_bytes(*blob).unwrap_or_default()));
        freed
    }
}

/// What two plans say is waste: of a collection, and of one with `--delete-untagged`. `told` has the digests of which something else
/// is said already.
pub(crate) fn of_plans(
    plain: (&SweepPlan, &Inventory),
    untagged: (&SweepPlan, &Inventory),
    told: &BTreeSet<(Option<RepositoryName>, Digest)>,
) -> Vec<Finding> {
    let gathered = Gathered::default();
    let mut shares: BTreeMap<(Code, RepositoryName), Share> = BTreeMap::new();
    let mut findings = Vec::new();
    let is_told = |repository: &RepositoryName, digest: &Digest| {
        told.contains(&(Some(repository.clone()), *digest)) || told.contains(&(None, *digest))
    };
    let goes = |inventory: &Inventory, digest: &Digest| {
        inventory.find(digest).filter(|blob| inventory.has_any(*blob, MarkFlags::DELETION))
    };
    for row in plain.0.iter() {
        let (directory, digest) = match &row.target {
            Target::Blob(digest) if row.reason == Reason::Unlinked => {
                let detail = format!("{} {} in it.", Code::UnlinkedBlob.meaning(), size(row.stat.size_bytes));
                findings.push(Finding::new(Code::UnlinkedBlob).digest(digest).path(layout::blob_data(digest)).detail(detail));
                if findings.len() == FINDINGS_AT_ONCE {
                    gathered.add(std::mem::take(&mut findings));
                }
                continue;
            }
            Target::Link(directory, digest) => (directory, digest),
            _ => continue,
        };
        if is_told(directory.repository(), digest) {
            continue;
        }
        let code = match directory {
            LinkDirectory::History(..) => Code::StaleHistory,
            LinkDirectory::Layers(_) => Code::UnneededLayerLinks,
            LinkDirectory::Revisions(_) => continue,
        };
        let share = shares.entry((code, directory.repository().clone())).or_default();
        share.count += 1;
        share.blobs.extend(goes(plain.1, digest));
    }
    for row in untagged.0.iter() {
        let Target::Link(directory, digest) = &row.target else { continue };
        let is_revision = matches!(directory, LinkDirectory::Revisions(_));
        let is_history = matches!(directory, LinkDirectory::History(..));
        if is_history || is_told(directory.repository(), digest) {
            continue;
        }
        let share = shares.entry((Code::UntaggedRevisions, directory.repository().clone())).or_default();
        share.count += u64::from(is_revision);
        // What goes without --delete-untagged too is counted above.
        if goes(plain.1, digest).is_none() {
            share.blobs.extend(goes(untagged.1, digest));
        }
    }
    gathered.add(findings);
    for ((code, repository), mut share) in shares.into_iter().filter(|(_, share)| share.count > 0) {
        let freed = share.freed(if code == Code::UntaggedRevisions { untagged.1 } else { plain.1 });
        gathered.add(vec![Finding::new(code).repository(&repository).detail(words(code, share.count, freed))]);
    }
    gathered.into_findings()
}

fn words(code: Code, count: u64, freed: Amount) -> String {
    let blobs = format!("{} ({})", plural(freed.count, "blob", "blobs"), size(freed.size_bytes));
    let what = match code {
        Code::StaleHistory => plural(count, "history entry", "history entries") + " of deleted revisions",
        Code::UnneededLayerLinks => plural(count, "layer link", "layer links") + " that no manifest here needs",
        _ => plural(count, "revision", "revisions") + " that no tag reaches",
    };
    format!("{what}; {blobs} would go with {}.", if count == 1 { "it" } else { "them" })
}

/// Says so if nothing can be pulled from a repository.
pub(crate) fn empty_repository(facts: &RepositoryFacts<'_>) -> Option<Finding> {
    let survey = &facts.survey;
    let any_revision = survey.revisions.iter().any(|revision| revision.link != LinkContent::Absent);
    (!any_revision && survey.tags.is_empty())
        .then(|| Finding::new(Code::EmptyRepository).repository(&survey.name).path(layout::repository_directory(&survey.name)))
}
