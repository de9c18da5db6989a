//! Checks again what was missing. A registry may take pushes while a store is listed: a push or a deletion that ends
//! meanwhile is no damage.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{LinkDirectory, Shard};
use crate::oci::{Digest, RepositoryName};
use crate::store::{FileState, LinkContent, Repository, RepositoryEntry, Store};

/// Returns the findings that still hold, in their order. Opens each repository anew, once.
///
/// # Errors
///
/// When an entry cannot be read again.
pub(crate) fn still_hold(store: &dyn Store, findings: Vec<Finding>) -> Result<Vec<Finding>, Error> {
    let mut by_repository: BTreeMap<Option<&RepositoryName>, Vec<usize>> = BTreeMap::new();
    for (place, finding) in findings.iter().enumerate().filter(|(_, finding)| may_go(finding)) {
        by_repository.entry(repository_of(finding)).or_default().push(place);
    }
    let gone = by_repository.par_iter().map(|(name, places)| {
        let current = CurrentStore::new(store, *name)?;
        let gone = |place: &usize| Ok((!current.stands(&findings[*place])?).then_some(*place));
        places.par_iter().map(gone).filter_map(Result::transpose).collect::<Result<Vec<usize>, Error>>()
    });
    let mut gone = gone.collect::<Result<Vec<_>, Error>>()?.concat();
    gone.sort_unstable();
    let stands = |place: &usize| gone.binary_search(place).is_err();
    Ok(findings.into_iter().enumerate().filter(|(place, _)| stands(place)).map(|(_, finding)| finding).collect())
}

/// Whether a finding may no longer hold: a push can supply what is missing, and a deletion can remove what needed it.
fn may_go(finding: &Finding) -> bool {
    matches!(
        finding.code,
        Code::MissingTagTarget
            | Code::MissingManifest
            | Code::MissingBlob
            | Code::MissingChild
            | Code::BrokenLayerLink
            | Code::MissingData
            | Code::MissingLayerLink
            | Code::LostChild
            | Code::LostRevision
            | Code::TagWithoutCurrent
    )
}

/// The repository to read again for a finding. Most findings depend on the blobs alone.
fn repository_of(finding: &Finding) -> Option<&RepositoryName> {
    let needs_repository = matches!(
        finding.code,
        Code::MissingTagTarget | Code::MissingLayerLink | Code::LostChild | Code::LostRevision | Code::TagWithoutCurrent
    );
    finding.repository.as_ref().filter(|_| needs_repository)
}

/// The store as it is now, with the repository of the findings.
struct CurrentStore<'s> {
    store: &'s dyn Store,
    repository: Option<(&'s RepositoryName, Box<dyn Repository + 's>)>,
}

impl<'s> CurrentStore<'s> {
    fn new(store: &'s dyn Store, name: Option<&'s RepositoryName>) -> Result<CurrentStore<'s>, Error> {
        let open = |name: &'s RepositoryName| Ok((name, store.open(&RepositoryEntry { name: name.clone(), foreign: None })?));
        Ok(CurrentStore { store, repository: name.map(open).transpose()? })
    }

    fn stands(&self, finding: &Finding) -> Result<bool, Error> {
        let appeared = match (finding.code, &self.repository, finding.digest) {
            (Code::MissingTagTarget, Some((_, repository)), Some(digest)) => {
                self.has_blob(&digest)? || !names(&**repository, finding, &digest)?
            }
            (
                Code::MissingManifest
                | Code::MissingTagTarget
                | Code::MissingBlob
                | Code::MissingChild
                | Code::BrokenLayerLink
                | Code::MissingData,
                _,
                Some(digest),
            ) => self.has_blob(&digest)?,
            (Code::MissingLayerLink, Some((name, repository)), Some(digest)) => {
                has_link(&**repository, LinkDirectory::Layers((*name).clone()), &digest)?
            }
            (Code::LostChild, Some((name, repository)), Some(digest)) => {
                has_link(&**repository, LinkDirectory::Revisions((*name).clone()), &digest)?
            }
            (Code::LostRevision, Some((name, repository)), Some(digest)) => {
                has_link(&**repository, LinkDirectory::Revisions((*name).clone()), &digest)?
                    || !names(&**repository, finding, &digest)?
            }
            (Code::TagWithoutCurrent, Some((_, repository)), _) => match &finding.tag {
                Some(tag) => repository.tag(tag)?.current != LinkContent::Absent || !repository.tags()?.entries.contains(tag),
                None => false,
            },
            _ => false,
        };
        Ok(!appeared)
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(is_file(&self.store.stat_blobs(Shard::of(digest), &[*digest])?))
    }
}

fn has_link(repository: &dyn Repository, directory: LinkDirectory, digest: &Digest) -> Result<bool, Error> {
    Ok(is_file(&repository.stat_links(&directory, &[*digest])?))
}

fn is_file(states: &[FileState]) -> bool {
    matches!(states, [FileState::File(_)])
}

/// Whether the tag of a finding still names a digest. Assumes so for a finding without a tag.
fn names(repository: &dyn Repository, finding: &Finding, digest: &Digest) -> Result<bool, Error> {
    match &finding.tag {
        Some(tag) => Ok(repository.tag(tag)?.current == LinkContent::Digest(*digest)),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::layout;
    use crate::oci::{Algorithm, TagName};
    use crate::store::{Etags, MemoryStore, ObjectStore, Request, counted};

    fn stands(store: &dyn Store, finding: &Finding) -> Result<bool, Error> {
        Ok(!still_hold(store, vec![finding.clone()])?.is_empty())
    }

    #[test]
    fn content_that_appeared_or_is_no_longer_needed_is_no_damage() {
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
        let [before, after, gone] = [before, after, gone].map(|files| ObjectStore::new(files, Etags::Md5, 1));
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
            for [before, after, gone] in [
                [&before, &after, &gone].map(|store| store as &dyn Store),
                [&before, &after, &gone].map(|store| store.memory() as &dyn Store),
            ] {
                assert!(stands(before, &finding).expect("readable"), "{code}");
                assert!(!stands(after, &finding).expect("readable"), "{code}");
                assert_eq!(!stands(gone, &finding).expect("readable"), goes, "{code}");
            }
        }
        let of = |code| of(code).tag(&tag);
        // Findings about content that is present but wrong hold.
        for code in [Code::CorruptManifest, Code::EmptyLink, Code::OrphanedReferrer] {
            assert!(stands(&after, &of(code)).expect("readable"), "{code}");
        }
    }

    #[test]
    fn each_repository_is_opened_once_and_anew() {
        let store = ObjectStore::new(MemoryStore::new(), Etags::Md5, 0);
        let repositories = ["a", "b"].map(RepositoryName::new);
        let digests = [b"x", b"y", b"z"].map(|text| Digest::of(Algorithm::Sha256, text));
        let found = |repository: &RepositoryName, digest: &Digest| {
            Finding::new(Code::MissingLayerLink).repository(repository).digest(digest)
        };
        let findings: Vec<Finding> =
            digests.iter().flat_map(|digest| repositories.each_ref().map(|repository| found(repository, digest))).collect();
        for ask in 0..2 {
            store.begin(None);
            let standing = still_hold(&store, findings.clone()).expect("readable");
            assert_eq!(standing, findings[ask..], "in their order");
            assert_eq!(counted(&store.log()), [(Request::List, 2)].into());
            let link = LinkDirectory::Layers(repositories[0].clone()).link(&digests[0]);
            store.memory().add_file(link, digests[0].to_string(), SystemTime::UNIX_EPOCH);
        }
    }
}
