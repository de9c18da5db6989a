//! What a collection would remove: one finding for each repository and kind, and one for each blob without a link.

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

/// Findings to hold in full before they are limited to what a report lists.
const FINDINGS_AT_ONCE: usize = 4096;

/// Waste of one kind in one repository.
#[derive(Debug, Default)]
struct Share {
    count: u64,
    /// Blobs that a collection frees with it. May contain duplicates.
    blobs: Vec<BlobId>,
}

impl Share {
    /// Counts each blob once.
    fn freed(&mut self, inventory: &Inventory) -> Amount {
        self.blobs.sort_unstable();
        self.blobs.dedup();
        let mut freed = Amount::default();
        self.blobs.iter().for_each(|blob| freed.add(inventory.size_bytes(*blob).unwrap_or_default()));
        freed
    }
}

/// Waste by two plans: of a collection, and of one with `--delete-untagged`. `reported` has digests that other findings cover.
pub(crate) fn of_plans(
    plain: (&SweepPlan, &Inventory),
    untagged: (&SweepPlan, &Inventory),
    reported: &BTreeSet<(Option<RepositoryName>, Digest)>,
) -> Vec<Finding> {
    let gathered = Gathered::default();
    let mut shares: BTreeMap<(Code, RepositoryName), Share> = BTreeMap::new();
    let mut findings = Vec::new();
    let is_reported = |repository: &RepositoryName, digest: &Digest| {
        reported.contains(&(Some(repository.clone()), *digest)) || reported.contains(&(None, *digest))
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
        if is_reported(directory.repository(), digest) {
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
        if is_history || is_reported(directory.repository(), digest) {
            continue;
        }
        let share = shares.entry((Code::UntaggedRevisions, directory.repository().clone())).or_default();
        share.count += u64::from(is_revision);
        // Blobs that go without --delete-untagged as well are counted above.
        if goes(plain.1, digest).is_none() {
            share.blobs.extend(goes(untagged.1, digest));
        }
    }
    gathered.add(findings);
    for ((code, repository), mut share) in shares.into_iter().filter(|(_, share)| share.count > 0) {
        let freed = share.freed(if code == Code::UntaggedRevisions { untagged.1 } else { plain.1 });
        gathered.add(vec![Finding::new(code).repository(&repository).detail(summary(code, share.count, freed))]);
    }
    gathered.into_findings()
}

fn summary(code: Code, count: u64, freed: Amount) -> String {
    let blobs = format!("{} ({})", plural(freed.count, "blob", "blobs"), size(freed.size_bytes));
    let what = match code {
        Code::StaleHistory => plural(count, "history entry", "history entries") + " of deleted revisions",
        Code::UnneededLayerLinks => plural(count, "layer link", "layer links") + " that no manifest here needs",
        _ => plural(count, "revision", "revisions") + " that no tag reaches",
    };
    format!("{what}; {blobs} would go with {}.", if count == 1 { "it" } else { "them" })
}

/// The finding about a repository without a revision and without a tag.
pub(crate) fn empty_repository(facts: &RepositoryFacts<'_>) -> Option<Finding> {
    let survey = &facts.survey;
    let any_revision = survey.revisions.iter().any(|revision| revision.link != LinkContent::Absent);
    (!any_revision && survey.tags.is_empty())
        .then(|| Finding::new(Code::EmptyRepository).repository(&survey.name).path(layout::repository_directory(&survey.name)))
}
