//! Checks again what was missing. A registry may take pushes while a store is listed: a push or a deletion that ends
//! meanwhile is no damage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use rayon::prelude::*;

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::layout::{self, LinkDirectory, Shard, Target};
use crate::oci::{Digest, RepositoryName};
use crate::policy::{Age, Policy};
use crate::store::{FileState, LinkContent, Repository, RepositoryEntry, Stat, Store};

/// What there is of a finding by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    Stands,
    Gone,
    /// It is young, so somebody may be about to complete it.
    UnderWay,
}

/// Returns the findings that still hold, in their order. Opens each repository anew, once. What is young and not complete is a note, and no
/// damage: the repository of it is kept as a whole all the same.
///
/// # Errors
///
/// When an entry cannot be read again.
pub(crate) fn still_hold(store: &dyn Store, policy: &Policy, findings: Vec<Finding>) -> Result<Vec<Finding>, Error> {
    let mut by_repository: BTreeMap<Option<&RepositoryName>, Vec<usize>> = BTreeMap::new();
    for (place, finding) in findings.iter().enumerate().filter(|(_, finding)| may_go(finding)) {
        by_repository.entry(repository_of(finding)).or_default().push(place);
    }
    let changed = by_repository.par_iter().map(|(name, places)| {
        let current = CurrentStore::new(store, *name)?;
        let changed = |place: &usize| match current.now(&findings[*place], policy)? {
            Now::Stands => Ok(None),
            now => Ok(Some((*place, now))),
        };
        places.par_iter().map(changed).filter_map(Result::transpose).collect::<Result<Vec<_>, Error>>()
    });
    let changed: BTreeMap<usize, Now> = changed.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect();
    let mut standing = Vec::with_capacity(findings.len());
    let mut kept_for_work = BTreeSet::new();
    for (place, finding) in findings.into_iter().enumerate() {
        match changed.get(&place) {
            None | Some(Now::Stands) => standing.push(finding),
            Some(Now::Gone) => {}
            Some(Now::UnderWay) => {
                kept_for_work.extend(finding.repository.clone().filter(|_| finding.code == Code::EmptyLink));
                standing.push(under_way(finding));
            }
        }
    }
    for name in kept_for_work {
        if !standing.iter().any(|finding| holds(finding, &name)) {
            standing.retain(|finding| finding.code != Code::HeldRepository || finding.repository.as_ref() != Some(&name));
        }
    }
    Ok(standing)
}

/// The note in place of a finding.
fn under_way(finding: Finding) -> Finding {
    let code = Code::WorkUnderWay;
    let what = finding.code.meaning().trim_end_matches('.');
    let kept = if finding.code == Code::EmptyLink { " Its repository keeps everything meanwhile." } else { "" };
    let detail = format!("{} It is: {what}.{kept}", code.meaning());
    Finding { code, severity: code.severity(), ..finding }.detail(detail)
}

/// Whether a repository is held for what a finding says, or may be: content has no repository of its own.
fn holds(finding: &Finding, name: &RepositoryName) -> bool {
    let is_content = matches!(
        finding.code,
        Code::MissingTagTarget
            | Code::MissingManifest
            | Code::CorruptManifest
            | Code::UnreadableManifest
            | Code::OverfullManifest
            | Code::OversizedManifest
            | Code::IrregularData
    );
    match &finding.repository {
        Some(repository) => repository == name && (is_content || finding.code.is_of_held_name()),
        None => is_content,
    }
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
            | Code::EmptyLink
    )
}

/// The repository to read again for a finding. Most findings depend on the blobs alone.
fn repository_of(finding: &Finding) -> Option<&RepositoryName> {
    let needs_repository = matches!(
        finding.code,
        Code::MissingTagTarget
            | Code::MissingLayerLink
            | Code::LostChild
            | Code::LostRevision
            | Code::TagWithoutCurrent
            | Code::EmptyLink
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

    fn now(&self, finding: &Finding, policy: &Policy) -> Result<Now, Error> {
        Ok(match self.stands(finding)? {
            false => Now::Gone,
            true if self.is_under_way(finding, policy)? => Now::UnderWay,
            true => Now::Stands,
        })
    }

    /// Whether what is not complete was written just now: a push ends with the `current/link` of a tag, a deletion begins anywhere, and registries
    /// before 3.1 truncate a link before they write it.
    fn is_under_way(&self, finding: &Finding, policy: &Policy) -> Result<bool, Error> {
        let Some((name, repository)) = &self.repository else { return Ok(false) };
        // By the time of writing alone: a copy of damage is damage. A time far ahead proves nothing.
        let is_young = |modified: SystemTime| matches!(policy.age(&Stat::new(0, modified)), Age::Young(_));
        let is_written = |state: &FileState| matches!(state, FileState::File(stat) if is_young(stat.modified));
        match (finding.code, &finding.tag) {
            (Code::TagWithoutCurrent, Some(tag)) => {
                let history = LinkDirectory::History((*name).clone(), tag.clone());
                let states = repository.stat_links(&history, &repository.tag(tag)?.history.entries)?;
                Ok(states.iter().any(is_written) || repository.tag_changed(tag)?.is_some_and(is_young))
            }
            (Code::LostRevision, Some(tag)) => Ok(is_written(&repository.stat_tag(tag)?)),
            (Code::EmptyLink, Some(tag)) if finding.path == Some(layout::current_link(name, tag)) => {
                let is_whole = matches!(repository.tag(tag)?.current, LinkContent::Digest(_));
                Ok(is_whole || is_written(&repository.stat_tag(tag)?))
            }
            (Code::EmptyLink, _) => match finding.path.as_deref().and_then(Target::of_path) {
                Some(Target::Link(directory, digest)) => {
                    let looked = repository.inspect_links(&directory, &[digest])?;
                    Ok(looked.iter().any(|(content, state)| matches!(content, LinkContent::Digest(_)) || is_written(state)))
                }
                _ => Ok(false),
            },
            _ => Ok(false),
        }
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
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::oci::{Algorithm, TagName};
    use crate::policy::Arrivals;
    use crate::store::{Etags, MemoryStore, ObjectStore, Request, counted};

    fn stands(store: &dyn Store, finding: &Finding) -> Result<bool, Error> {
        Ok(!still_hold(store, &policy(), vec![finding.clone()])?.is_empty())
    }

    /// A day after everything was written that has no time of its own.
    fn policy() -> Policy {
        let day = Duration::from_secs(24 * 3600);
        Policy::new(Duration::from_secs(3600), Arrivals::Ignored, SystemTime::UNIX_EPOCH + day)
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
        let of = |code| of(code).tag(&tag).path(layout::blob_data(&digest));
        // Findings about content that is present but wrong hold.
        for code in [Code::CorruptManifest, Code::EmptyLink, Code::OrphanedReferrer] {
            assert!(stands(&after, &of(code)).expect("readable"), "{code}");
        }
    }

    /// By the time of writing, on a store with directories and on one without.
    #[test]
    fn what_is_young_and_not_complete_is_a_note() {
        let policy = policy();
        let (name, tag) = (RepositoryName::new("a"), TagName::new("v1"));
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let revision = LinkDirectory::Revisions(name.clone()).link(&digest);
        let history = LinkDirectory::History(name.clone(), tag.clone()).link(&digest);
        let current = layout::current_link(&name, &tag);
        let text = digest.to_string();
        let here = |code| Finding::new(code).repository(&name).digest(&digest);
        let cases: [(Finding, Vec<(&Path, &str)>); 5] = [
            (here(Code::TagWithoutCurrent).tag(&tag).path(current.clone()), vec![(&history, &text)]),
            (here(Code::TagWithoutCurrent).tag(&tag).path(current.clone()), vec![(&history, "")]),
            (here(Code::EmptyLink).tag(&tag).path(current.clone()), vec![(&current, "")]),
            (here(Code::EmptyLink).path(revision.clone()), vec![(&revision, "")]),
            (here(Code::LostRevision).tag(&tag).path(revision.clone()), vec![(&current, &text)]),
        ];
        let minutes = |count: u64| policy.now - Duration::from_secs(count * 60);
        let ahead = policy.now + Duration::from_secs(24 * 3600);
        for (finding, files) in &cases {
            for (written, code) in [
                (minutes(1), Code::WorkUnderWay),
                (minutes(59), Code::WorkUnderWay),
                (minutes(61), finding.code),
                (ahead, finding.code),
            ] {
                let files_written = MemoryStore::new();
                files.iter().for_each(|(path, text)| files_written.add_file(*path, *text, written));
                let store = ObjectStore::new(files_written, Etags::Md5, 1);
                let held = Finding::new(Code::HeldRepository).repository(&name);
                for store in [&store as &dyn Store, store.memory()] {
                    let found = still_hold(store, &policy, vec![held.clone(), finding.clone()]).expect("readable");
                    let codes: Vec<Code> = found.iter().map(|finding| finding.code).collect();
                    let is_explained = code == Code::WorkUnderWay && finding.code == Code::EmptyLink;
                    let expected = if is_explained { vec![code] } else { vec![Code::HeldRepository, code] };
                    assert_eq!(codes, expected, "{finding:?}");
                    assert!(found.iter().all(|finding| finding.severity == finding.code.severity()));
                }
            }
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
            let standing = still_hold(&store, &policy(), findings.clone()).expect("readable");
            assert_eq!(standing, findings[ask..], "in their order");
            assert_eq!(counted(&store.log()), [(Request::List, 2)].into());
            let link = LinkDirectory::Layers(repositories[0].clone()).link(&digests[0]);
            store.memory().add_file(link, digests[0].to_string(), SystemTime::UNIX_EPOCH);
        }
    }
}
