//! Reports each damaged blob once, with the images that need it.

use std::collections::{BTreeMap, BTreeSet};

use crate::dependents::{dependents, stated_otherwise};
use crate::error::Error;
use crate::finding::{Finding, Needs};
use crate::graph::Context;
use crate::oci::Digest;
use crate::store::RepositoryEntry;

/// Reports each damaged blob once, under its most severe code, and each intact blob whose size differs from a stated one.
///
/// Skips a repository that cannot be read, with a warning: its error must not lose the findings.
pub fn consolidate(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    findings: Vec<Finding>,
    sizes: &BTreeMap<Digest, u64>,
) -> Vec<Finding> {
    let mut of_blobs: BTreeMap<Digest, Finding> = BTreeMap::new();
    let mut all = Vec::new();
    for mut finding in findings {
        let Some(digest) = finding.digest else {
            all.push(finding);
            continue;
        };
        // The images that need the blob state the repository and the tag.
        (finding.repository, finding.tag) = (None, None);
        let kept = of_blobs.entry(digest).or_insert_with(|| finding.clone());
        if finding < *kept {
            *kept = finding;
        }
    }
    let damaged: BTreeSet<Digest> = of_blobs.keys().copied().collect();
    let mut needs: BTreeMap<Digest, Needs> = BTreeMap::new();
    for part in of_each(repositories, |repositories| dependents(context, repositories, &damaged)) {
        for (digest, part) in part {
            needs.entry(digest).or_default().append_all(part, Needs::MOST);
        }
    }
    for (digest, finding) in &mut of_blobs {
        finding.needed_by = needs.remove(digest).unwrap_or_default();
    }
    all.extend(of_blobs.into_values());
    all.extend(of_each(repositories, |repositories| stated_otherwise(context, repositories, sizes)).concat());
    all.sort();
    all.dedup();
    all
}

/// Asks all repositories at once or, if one of them fails, each by itself.
fn of_each<T>(repositories: &[RepositoryEntry], ask: impl Fn(&[RepositoryEntry]) -> Result<T, Error>) -> Vec<T> {
    match ask(repositories) {
        Ok(answer) => vec![answer],
        Err(_) => repositories
            .iter()
            .filter_map(|repository| match ask(std::slice::from_ref(repository)) {
                Ok(answer) => Some(answer),
                Err(error) => {
                    tracing::warn!("cannot tell what {} needs: {error}", repository.name);
                    None
                }
            })
            .collect(),
    }
}
