//! Whether what was missing is missing still: a registry may take pushes while a store is listed, and a push or a deletion that ends in
//! the middle of it is no damage.

use rayon::prelude::*;

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{LinkDirectory, Shard};
use crate::oci::Digest;
use crate::store::{FileState, LinkContent, Store};

/// Leaves the findings that still hold.
///
/// # Errors
///
/// When one cannot be looked at again.
pub(crate) fn still_hold(store: &dyn Store, findings: Vec<Finding>) -> Result<Vec<Finding>, Error> {
    findings
        .into_par_iter()
        .map(|finding| Ok(stands(store, &finding)?.then_some(finding)))
        .filter_map(Result::transpose)
        .collect()
}

/// Whether a finding still holds. Only what can appear by a push, or go with what was deleted, is looked at again.
///
/// # Errors
///
/// When it cannot be looked at.
pub(crate) fn stands(store: &dyn Store, finding: &Finding) -> Result<bool, Error> {
    let is_file = |leaves: Vec<FileState>| matches!(leaves[..], [FileState::File(_)]);
    let blob = |digest: &Digest| Ok::<_, Error>(is_file(store.stat_blobs(Shard::of(digest), &[*digest])?));
    let link = |directory: LinkDirectory, digest: &Digest| Ok::<_, Error>(is_file(store.stat_links(&directory, &[*digest])?));
    let appeared = match (finding.code, &finding.repository, finding.digest) {
        (Code::MissingTagTarget, Some(_), Some(digest)) => blob(&digest)? || !names(store, finding, &digest)?,
        (
            Code::MissingManifest
            | Code::MissingTagTarget
            | Code::MissingBlob
            | Code::MissingChild
            | Code::BrokenLayerLink
            | Code::MissingData,
            _,
            Some(digest),
        ) => blob(&digest)?,
        (Code::MissingLayerLink, Some(repository), Some(digest)) => link(LinkDirectory::Layers(repository.clone()), &digest)?,
        (Code::LostChild, Some(repository), Some(digest)) => link(LinkDirectory::Revisions(repository.clone()), &digest)?,
        (Code::LostRevision, Some(repository), Some(digest)) => {
            link(LinkDirectory::Revisions(repository.clone()), &digest)? || !names(store, finding, &digest)?
        }
        (Code::TagWithoutCurrent, Some(repository), _) => match &finding.tag {
            Some(tag) => {
                store.tag(repository, tag)?.current != LinkContent::Absent || !store.tags(repository)?.entries.contains(tag)
            }
            None => false,
        },
        _ => false,
    };
    Ok(!appeared)
}

/// Whether the tag of a finding names a digest still; one without a tag names it for all that is known.
fn names(store: &dyn Store, finding: &Finding, digest: &Digest) -> Result<bool, Error> {
    match (&finding.repository, &finding.tag) {
        (Some(repository), Some(tag)) => Ok(store.tag(repository, tag)?.current == LinkContent::Digest(*digest)),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::layout;
    use crate::oci::{Algorithm, RepositoryName, TagName};
    use crate::store::MemoryStore;

    #[test]
    fn what_has_appeared_since_or_gone_with_what_needed_it_is_no_damage() {
        let (before, after, gone) = (MemoryStore::new(), MemoryStore::new(), MemoryStore::new());
        let (repository, bare, tag) = (RepositoryName::new("a"), TagName::new("bare"), TagName::new("v1"));
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for path in [
            layout::blob_data(&digest),
            layout::current_link(&repository, &bare),
            layout::current_link(&repository, &tag),
            LinkDirectory::Layers(repository.clone()).link(&digest),
            LinkDirectory::Revisions(repository.clone()).link(&digest),
        ] {
            after.add_file(path, digest.to_string(), SystemTime::UNIX_EPOCH);
        }
        before.add_file(layout::current_link(&repository, &tag), digest.to_string(), SystemTime::UNIX_EPOCH);
        before.add_file(layout::tag_directory(&repository, &bare).join("index/x"), "", SystemTime::UNIX_EPOCH);
        let of = |code| Finding::new(code).repository(&repository).digest(&digest);
        for (code, tag, goes) in [
            (Code::MissingManifest, &tag, false),
            (Code::MissingTagTarget, &tag, true),
            (Code::MissingBlob, &tag, false),
            (Code::MissingChild, &tag, false),
            (Code::BrokenLayerLink, &tag, false),
            (Code::MissingLayerLink, &tag, false),
            (Code::LostChild, &tag, false),
            (Code::LostRevision, &tag, true),
            (Code::TagWithoutCurrent, &bare, true),
        ] {
            let finding = of(code).tag(tag);
            assert!(stands(&before, &finding).expect("readable"), "{code}");
            assert!(!stands(&after, &finding).expect("readable"), "{code}");
            assert_eq!(!stands(&gone, &finding).expect("readable"), goes, "{code}");
        }
        let of = |code| of(code).tag(&tag);
        // What is there and wrong does not go by being there.
        for code in [Code::CorruptManifest, Code::EmptyLink, Code::OrphanedReferrer] {
            assert!(stands(&after, &of(code)).expect("readable"), "{code}");
        }
    }
}
