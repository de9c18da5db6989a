//! Whether what was missing is missing still: an audit may run while a registry takes pushes, and a push that ends in the middle of it
//! is no damage.

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{LinkFolder, Shard};
use crate::oci::Digest;
use crate::store::{Leaf, LinkContent, Store};

/// Whether a finding still holds. Only what can appear by a push is looked at again.
///
/// # Errors
///
/// When it cannot be looked at.
pub fn stands(store: &dyn Store, finding: &Finding) -> Result<bool, Error> {
    let is_file = |leaves: Vec<Leaf>| matches!(leaves[..], [Leaf::File(_)]);
    let blob = |digest: &Digest| Ok::<_, Error>(is_file(store.stat_blobs(Shard::of(digest), &[*digest])?));
    let link = |folder: LinkFolder, digest: &Digest| Ok::<_, Error>(is_file(store.stat_links(&folder, &[*digest])?));
    let appeared = match (finding.code, &finding.repository, finding.digest) {
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
        (Code::MissingLayerLink, Some(repository), Some(digest)) => link(LinkFolder::Layers(repository.clone()), &digest)?,
        (Code::LostChild | Code::LostRevision, Some(repository), Some(digest)) => {
            link(LinkFolder::Revisions(repository.clone()), &digest)?
        }
        (Code::TagWithoutCurrent, Some(repository), _) => match &finding.tag {
            Some(tag) => store.tag(repository, tag)?.current != LinkContent::Absent,
            None => false,
        },
        _ => false,
    };
    Ok(!appeared)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::layout;
    use crate::oci::{Algorithm, RepositoryName, TagName};
    use crate::store::MemoryStore;

    #[test]
    fn what_has_appeared_since_is_no_damage() {
        let (before, after) = (MemoryStore::new(), MemoryStore::new());
        let (repository, tag) = (RepositoryName::new("a"), TagName::new("v1"));
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for path in [
            layout::blob_data(&digest),
            layout::current_link(&repository, &tag),
            LinkFolder::Layers(repository.clone()).link(&digest),
            LinkFolder::Revisions(repository.clone()).link(&digest),
        ] {
            after.add_file(path, digest.to_string(), SystemTime::UNIX_EPOCH);
        }
        let of = |code| Finding::new(code).repository(&repository).tag(&tag).digest(&digest);
        for code in [
            Code::MissingManifest,
            Code::MissingTagTarget,
            Code::MissingBlob,
            Code::MissingChild,
            Code::BrokenLayerLink,
            Code::MissingLayerLink,
            Code::LostChild,
            Code::LostRevision,
            Code::TagWithoutCurrent,
        ] {
            assert!(stands(&before, &of(code)).expect("readable"), "{code}");
            assert!(!stands(&after, &of(code)).expect("readable"), "{code}");
        }
        // What is there and wrong does not go by being there.
        for code in [Code::CorruptManifest, Code::EmptyLink, Code::OrphanedReferrer] {
            assert!(stands(&after, &of(code)).expect("readable"), "{code}");
        }
    }
}
