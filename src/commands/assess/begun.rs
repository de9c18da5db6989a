//! What a collection is about to remove by its names, and what of that it comes to the end of.

use std::collections::{BTreeSet, HashSet};

use super::Assessment;
use crate::config::CollectSettings;
use crate::layout::{LinkDirectory, Target};
use crate::mark::Marks;
use crate::oci::{Digest, RepositoryName};
use crate::quarantine::by_name;
use crate::records::{BegunName, BegunWith};
use crate::removal::RemovedFrom;

impl Assessment {
    /// What goes by the names of tags, manifests and repositories, of each repository: of the revisions those that are in the plan, or would be but
    /// for their age and for what is in quarantine.
    pub(in crate::commands) fn begun(&self) -> Vec<(RepositoryName, BegunWith)> {
        if self.expired.is_none() && self.removed.is_none() {
            return Vec::new();
        }
        let of_rules = self.expired.iter().flat_map(|expired| expired.chosen.0.iter().map(|(name, of)| (name, &of.begun)));
        let by_name = self.removed.iter().flat_map(|removed| removed.removal.0.iter().map(|(name, of)| (name, &of.begun)));
        let planned: HashSet<(RepositoryName, Digest)> = self.plan.revisions().collect();
        let goes = |name: &RepositoryName, with: &BegunWith| {
            let mut with = with.clone();
            with.revisions.retain(|digest| planned.contains(&(name.clone(), *digest)) || self.is_postponed(name, digest));
            with
        };
        of_rules.chain(by_name).flat_map(|(name, begun)| begun.iter().map(|with| (name.clone(), goes(name, with)))).collect()
    }

    /// The manifests that go by their own names, as they stand in the stamp of a quarantine.
    pub(in crate::commands) fn named(&self) -> BTreeSet<String> {
        let removed = self.removed.iter().flat_map(|removed| &removed.removal.0);
        let named = |(name, of): (&RepositoryName, &RemovedFrom)| -> Vec<String> {
            let manifest = |with: &BegunWith| match &with.name {
                BegunName::Manifest(digest) => Some(by_name(name, digest)),
                _ => None,
            };
            of.begun.iter().filter_map(manifest).collect()
        };
        removed.flat_map(named).collect()
    }

    /// What of it is done with the plan. The same command goes on with the rest once it is old enough, or what keeps it in quarantine is purged:
    /// names that were given together are given together again.
    pub(in crate::commands) fn ended(&self) -> Vec<(RepositoryName, BegunWith)> {
        let mut begun = self.begun();
        let waits =
            |(name, with): &(RepositoryName, BegunWith)| with.revisions.iter().any(|digest| self.is_postponed(name, digest));
        match self.removed.is_some() && begun.iter().any(waits) {
            true => begun.clear(),
            false => begun.retain(|with| !waits(with)),
        }
        begun
    }

    /// Whether a revision that was to go stays for now: also one that is restored before anything goes, because a referrer went before its image.
    fn is_postponed(&self, name: &RepositoryName, digest: &Digest) -> bool {
        let link = || Target::Link(LinkDirectory::Revisions(name.clone()), *digest);
        self.postponed.contains(&(name.clone(), *digest)) || self.needed.targets.contains(&link())
    }
}

/// Of a collection that drops no names nothing goes on with revisions that stay for now.
pub(super) fn forget_names(settings: &CollectSettings, marks: &mut Marks) {
    if settings.expire.is_none() && settings.remove.is_none() {
        (marks.young, marks.restorable) = Default::default();
    }
}

/// The revisions that were to go and stay for what is in quarantine alone, and all of those that stay for now.
pub(super) fn staying(marks: &[Marks]) -> [HashSet<(RepositoryName, Digest)>; 2] {
    let named = |some: fn(&Marks) -> &Vec<Digest>| {
        marks.iter().flat_map(move |marks| some(marks).iter().map(|digest| (marks.repository.clone(), *digest)))
    };
    let restorable: HashSet<(RepositoryName, Digest)> = named(|marks| &marks.restorable).collect();
    let postponed = named(|marks| &marks.young).chain(restorable.iter().cloned()).collect();
    [restorable, postponed]
}
