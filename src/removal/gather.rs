//! Looks at what was asked for, and refuses what is not there or what something that stays needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use foldhash::{HashMap, HashSet};

use super::asked::{Asked, Removal, RemovedFrom};
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::format::{duration, number};
use crate::graph::Context;
use crate::layout::LinkDirectory;
use crate::lineage::{Lineage, Place};
use crate::mark::{Stays, interrupted};
use crate::oci::reference::{is_repository, is_tag};
use crate::oci::{Digest, Reference, RepositoryName, TagName};
use crate::plan::{Kind, SweepPlan};
use crate::policy::Policy;
use crate::records::{Begun, BegunName, BegunWith};
use crate::store::{FileState, LinkContent, RepositoryEntry, Store};
use crate::survey::{self, Survey, Tag};

/// Of each kind that an error names.
const NAMED: usize = 5;

/// What helps where something in quarantine keeps it.
const PURGE_FIRST: &str = "wait, or purge first what is in quarantine (`regsweep quarantine list` lists it)";

/// What was asked for, as it is in a store.
#[derive(Debug, Default)]
pub struct Removed {
    /// What goes.
    pub removal: Removal,
    /// What was asked for, in the order in which it was asked for.
    pub asked: Vec<Asked>,
    /// Why some of it cannot go, and what helps.
    pub stops: Vec<(String, String)>,
}

/// What a plan makes of the repositories.
pub(crate) struct Outcomes<'a> {
    /// Those of which nothing goes, because something in them cannot be understood.
    pub(crate) held: HashSet<&'a RepositoryName>,
    /// Revisions that were to go, and are kept for what is in quarantine alone.
    pub(crate) restorable: &'a std::collections::HashSet<(RepositoryName, Digest)>,
    /// Those that stay although they were to go as a whole.
    pub(crate) stays: HashMap<&'a RepositoryName, &'a Stays>,
    /// Whether a registry may be writing to the store meanwhile.
    pub(crate) is_online: bool,
    /// Whether the store has directories.
    pub(crate) has_directories: bool,
}

/// What a run that was cut off had begun to remove by a name, if it had.
pub(crate) type CutOff<'a> = &'a dyn Fn(&RepositoryName, &BegunName) -> Option<Begun>;

/// Finds what was asked for in a store.
///
/// # Errors
///
/// When something of it is not there, or something that stays needs it, or what is there cannot be read.
pub(crate) fn gather(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    references: &[Reference],
    cut_off: CutOff<'_>,
    stop: &AtomicBool,
) -> Result<Removed, Error> {
    let (mut refused, mut gone) = (Vec::new(), Vec::new());
    let mut wanted: BTreeMap<RepositoryName, (&RepositoryEntry, Vec<&Reference>)> = BTreeMap::new();
    for reference in references {
        let typed = reference.repository().unwrap_or_default();
        match repositories.iter().find(|entry| is_repository(&entry.name, typed)) {
            Some(entry) => wanted.entry(entry.name.clone()).or_insert((entry, Vec::new())).1.push(reference),
            // A run that was cut off removed it, and what it freed is left.
            None if cut_off(&RepositoryName::new(typed), &BegunName::Repository).is_some() => {
                gone.push(Asked { is_gone: true, ..Asked::new(&RepositoryName::new(typed)) });
            }
            None => refused.push(format!("there is no repository {} for {reference}", crate::escape::escaped(typed))),
        }
    }
    let mut removed = Removed::default();
    for (name, (entry, references)) in wanted {
        interrupted(stop)?;
        let surveyed = survey::survey(context.store, entry)?;
        let gathering = Gathering { surveyed: &surveyed, lineage: Lineage::read(context, &surveyed)?, cut_off };
        let asked = gathering.asked(&references, &mut refused);
        let from = gathering.from(&asked, &mut refused)?;
        removed.removal.0.insert(name, from);
        let nested = |one: Asked| match one.is_repository() {
            true => Asked { nested: nested_in(&one.repository, repositories), ..one },
            false => one,
        };
        removed.asked.extend(asked.into_iter().map(nested));
    }
    // What goes as well does not stay.
    let whole: HashSet<RepositoryName> =
        removed.asked.iter().filter(|one| one.is_repository()).map(|one| one.repository.clone()).collect();
    removed.asked.iter_mut().for_each(|one| one.nested.retain(|nested| !whole.contains(nested)));
    removed.asked.append(&mut gone);
    match refused.is_empty() {
        true => Ok(removed),
        false => Err(Error::Usage(format!("nothing is removed: {}", shown(&refused, "; ")))),
    }
}

/// The repositories in the directory of another one. They are no part of it.
fn nested_in(name: &RepositoryName, repositories: &[RepositoryEntry]) -> Vec<RepositoryName> {
    let is_in = |other: &&RepositoryEntry| other.name != *name && other.name.as_path().starts_with(name.as_path());
    repositories.iter().filter(is_in).map(|other| other.name.clone()).collect()
}

/// The first of some words, and how many more there are.
fn shown(words: &[String], between: &str) -> String {
    let rest = match words.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("{between}and {} more", number(more as u64)),
    };
    words[..words.len().min(NAMED)].join(between) + &rest
}

struct Gathering<'a> {
    surveyed: &'a Survey<'a>,
    lineage: Lineage,
    cut_off: CutOff<'a>,
}

impl Gathering<'_> {
    /// What of the repository was asked for, each once.
    fn asked(&self, references: &[&Reference], refused: &mut Vec<String>) -> Vec<Asked> {
        let mut seen = BTreeSet::new();
        let mut asked = Vec::new();
        for reference in references {
            let found = match reference {
                Reference::Tag(_, typed) => self.tag(typed),
                Reference::Manifest(_, digest) => self.manifest(digest),
                Reference::Repository(_) => Ok(Asked::new(&self.surveyed.name)),
                Reference::Digest(_) => Err("it names no repository: give REPOSITORY@DIGEST".to_owned()),
            };
            match found {
                Ok(one) if seen.insert((one.tag.clone(), one.digest)) => asked.push(one),
                Ok(_) => {}
                Err(why) => refused.push(format!("{reference}: {why}")),
            }
        }
        asked
    }

    fn one(&self, tag: Option<TagName>, digest: Option<Digest>, is_gone: bool) -> Asked {
        Asked { tag, digest, is_gone, ..Asked::new(&self.surveyed.name) }
    }

    /// Whether a run that was cut off had begun to remove it.
    fn is_begun(&self, name: &BegunName) -> bool {
        (self.cut_off)(&self.surveyed.name, name).is_some()
    }

    /// Whether a tag names nothing: one that does was pushed again, or is not gone yet, and its own target is what goes with it.
    fn is_taken(&self, name: &TagName) -> bool {
        self.surveyed.tags.iter().find(|tag| tag.name == *name).is_none_or(|tag| tag.current == LinkContent::Absent)
    }

    fn tag(&self, typed: &str) -> Result<Asked, String> {
        let tags = &self.surveyed.tags;
        // The name as it is comes before one that is only shown so.
        let exact = tags.iter().find(|tag| tag.name.as_os_str() == typed);
        let Some(tag) = exact.or_else(|| tags.iter().find(|tag| is_tag(&tag.name, typed))) else {
            return match self.is_begun(&BegunName::Tag(TagName::new(typed))) {
                true => Ok(self.one(Some(TagName::new(typed)), None, true)),
                false => Err("there is no such tag".to_owned()),
            };
        };
        match tag.current {
            LinkContent::Digest(digest) => Ok(self.one(Some(tag.name.clone()), Some(digest), false)),
            // A run that was cut off may leave the directory.
            LinkContent::Absent if tag.history.is_empty() && self.is_begun(&BegunName::Tag(tag.name.clone())) => {
                Ok(self.one(Some(tag.name.clone()), None, true))
            }
            _ => Ok(self.one(Some(tag.name.clone()), None, false)),
        }
    }

    fn manifest(&self, digest: &Digest) -> Result<Asked, String> {
        match self.surveyed.revision(digest) {
            Some(_) => Ok(self.one(None, Some(*digest), false)),
            None if self.is_begun(&BegunName::Manifest(*digest)) => Ok(self.one(None, Some(*digest), true)),
            None => Err("there is no such manifest in the repository".to_owned()),
        }
    }

    /// What goes with it. What something that stays needs is refused.
    fn from(&self, asked: &[Asked], refused: &mut Vec<String>) -> Result<RemovedFrom, Error> {
        let Gathering { surveyed, lineage, .. } = self;
        if asked.iter().any(Asked::is_repository) {
            return Ok(self.all());
        }
        let present = || asked.iter().filter(|one| !one.is_gone);
        let names: HashSet<&TagName> = present().filter_map(|one| one.tag.as_ref()).collect();
        let (going, staying): (Vec<&Tag>, Vec<&Tag>) = surveyed.tags.iter().partition(|tag| names.contains(&tag.name));
        let tags = going.iter().map(|tag| (tag.name.clone(), tag.current)).collect();
        let target = |tag: &&Tag| match tag.current {
            LinkContent::Digest(digest) => Some(digest),
            _ => None,
        };
        let places = |digests: Vec<Digest>| digests.into_iter().filter_map(|digest| lineage.place(&digest));
        let freed = lineage.below(places(present().filter_map(|one| one.digest).collect()), None);
        let is_revision = |digest: &Digest| surveyed.revision(digest).is_some();
        let mut revisions: BTreeSet<Digest> = freed.into_iter().map(|place| lineage.name(place)).filter(is_revision).collect();
        let tagged: HashSet<Place> =
            lineage.below(places(surveyed.tags.iter().filter_map(|tag| target(&tag)).collect()), None).into_iter().collect();
        let untagged = (0..lineage.len() as Place).filter(|place| !tagged.contains(place)).map(|place| lineage.name(place));
        let untagged: Vec<Digest> = untagged.filter(is_revision).collect();
        let mut begun: Vec<BegunWith> = Vec::new();
        let mut began: HashMap<Digest, SystemTime> = HashMap::default();
        for one in asked {
            let name = one.begun_name();
            let below = lineage.below(places(one.digest.into_iter().filter(|_| !one.is_gone).collect()), None);
            let mut with: Vec<Digest> = below.into_iter().map(|place| lineage.name(place)).filter(is_revision).collect();
            let before = (self.cut_off)(&surveyed.name, &name).filter(|_| one.tag.as_ref().is_none_or(|tag| self.is_taken(tag)));
            let goes_on = before.is_some();
            if let Some(before) = before {
                began.extend(before.revisions.iter().map(|digest| (*digest, before.began)));
                with.extend(before.revisions);
            }
            begun.push(BegunWith { name, goes_on, revisions: with });
        }
        revisions.extend(survey::untouched_since(surveyed, &untagged, &|digest| began.get(digest).copied())?);
        let kept = surveyed.revisions.iter().map(|revision| revision.digest);
        let kept = kept.filter(|digest| is_revision(digest) && !revisions.contains(digest));
        let roots: Vec<Digest> = staying.iter().filter_map(target).chain(kept).collect();
        let stays: HashSet<Place> = lineage.below(places(roots), None).into_iter().collect();
        for one in present() {
            let Some(digest) = one.digest else { continue };
            let (what, needs) = match one.tag {
                Some(_) => (format!("the image of {}", one.name()), self.referrers(&digest, &staying, &stays)),
                None => (one.name(), self.needs(&digest, &staying, &stays)),
            };
            if !needs.is_empty() {
                refused.push(format!("{what} is needed by {}: give these as well, or leave it", shown(&needs, ", ")));
            }
        }
        let by_digest = present().filter(|one| one.tag.is_none());
        let manifests = by_digest.filter_map(|one| one.digest).collect();
        Ok(RemovedFrom { tags, revisions, manifests, is_whole: false, begun })
    }

    /// All of it.
    fn all(&self) -> RemovedFrom {
        RemovedFrom {
            tags: self.surveyed.tags.iter().map(|tag| (tag.name.clone(), tag.current)).collect(),
            revisions: self.surveyed.revisions.iter().map(|revision| revision.digest).collect(),
            manifests: BTreeSet::new(),
            is_whole: true,
            begun: vec![BegunWith { name: BegunName::Repository, goes_on: true, revisions: Vec::new() }],
        }
    }

    /// What needs a manifest and stays.
    fn needs(&self, digest: &Digest, tags: &[&Tag], stays: &HashSet<Place>) -> Vec<String> {
        let Some(place) = self.lineage.place(digest) else { return Vec::new() };
        let name = &self.surveyed.name;
        let named = tags.iter().filter(|tag| tag.current == LinkContent::Digest(*digest));
        let mut needs: Vec<String> = named.map(|tag| format!("the tag {name}:{}", tag.name)).collect();
        let parents = stays.iter().filter(|parent| self.lineage.children(**parent).contains(&place));
        let mut manifests: Vec<String> =
            parents.map(|parent| format!("the index {name}@{}", self.lineage.name(*parent))).collect();
        manifests.sort_unstable();
        needs.extend(manifests);
        needs.extend(self.referrers(digest, tags, stays));
        needs
    }

    /// What refers to an image that goes, or to a manifest in it, and stays by a tag or an index of its own.
    fn referrers(&self, digest: &Digest, tags: &[&Tag], stays: &HashSet<Place>) -> Vec<String> {
        let Gathering { surveyed, lineage, .. } = self;
        let Some(place) = lineage.place(digest) else { return Vec::new() };
        // Where a manifest stays anyway, they stay because of it; one that is lost they have lost already.
        let goes = |place: &Place| !stays.contains(place) && lineage.is_manifest(*place);
        let content = lineage.content(place).into_iter().filter(goes);
        let of = |subject| lineage.referrers(subject).iter().filter(|referrer| stays.contains(referrer));
        let all: BTreeSet<Digest> = content.flat_map(of).map(|referrer| lineage.name(*referrer)).collect();
        let described = |referrer: &Digest| {
            let holds = |tag: &&&Tag| match tag.current {
                LinkContent::Digest(target) => {
                    let root = lineage.place(&target);
                    root.is_some_and(|root| lineage.content(root).iter().any(|place| lineage.name(*place) == *referrer))
                }
                _ => false,
            };
            let tag = tags.iter().find(holds).map(|tag| format!(" (the tag {}:{})", surveyed.name, tag.name));
            format!("its referrer {}@{referrer}{}", surveyed.name, tag.unwrap_or_default())
        };
        all.iter().map(described).collect()
    }
}

impl Removed {
    /// Looks at what became of it.
    pub(crate) fn note_done(&mut self, store: &dyn Store) {
        for one in self.asked.iter_mut().filter(|one| one.goes) {
            one.is_removed = is_removed(store, one).ok();
        }
    }

    /// Notes what a plan removes of what was asked for, and why the rest stays.
    pub(crate) fn note_planned(&mut self, plan: &SweepPlan, outcomes: &Outcomes<'_>, findings: &[Finding], policy: &Policy) {
        let mut tags: HashMap<(RepositoryName, TagName), bool> = HashMap::default();
        for row in [Kind::Tag, Kind::TagHistory, Kind::EmptyDirectory].into_iter().flat_map(|kind| plan.of_kind(kind)) {
            if let (Some(repository), Some(tag)) = (row.target.repository(), row.target.tag()) {
                let is_tag = Kind::of(&row.target) == Kind::Tag;
                *tags.entry((repository.clone(), tag.clone())).or_default() |= is_tag;
            }
        }
        let emptied: HashSet<RepositoryName> =
            plan.of_kind(Kind::Repository).filter_map(|row| row.target.repository().cloned()).collect();
        let Outcomes { held, stays, restorable, .. } = outcomes;
        let revisions: HashSet<(RepositoryName, Digest)> = plan.revisions().collect();
        for one in &mut self.asked {
            one.directories_go = one.is_repository() && (emptied.contains(&one.repository) || !outcomes.has_directories);
            let digest = one.digest.map(|digest| (one.repository.clone(), digest));
            one.manifest_goes = digest.as_ref().is_some_and(|digest| revisions.contains(digest));
            one.manifest_waits = self.removal.any_of(one, &|digest| restorable.contains(&(one.repository.clone(), *digest)));
            one.goes = match &one.tag {
                // Of a tag that names nothing only the history is left.
                Some(tag) => {
                    let planned = tags.get(&(one.repository.clone(), tag.clone()));
                    planned.is_some_and(|is_tag| *is_tag || one.digest.is_none())
                }
                None if one.is_repository() => {
                    !one.is_gone && !held.contains(&one.repository) && !stays.contains_key(&one.repository)
                }
                None => one.manifest_goes,
            };
            let broken = self.removal.broken_tag(one).filter(|_| outcomes.is_online);
            if let Some(tag) = broken {
                self.stops.push((
                    format!(
                        "the link of {}:{tag} names nothing, and beside a registry that takes pushes only what can be restored is removed",
                        one.repository
                    ),
                    "stop the registry and run without --online (or REGSWEEP_ONLINE), or repair it first (`regsweep repair`)".to_owned(),
                ));
                continue;
            }
            if one.goes || one.is_gone {
                continue;
            }
            let names_nothing = |tag: &TagName| {
                self.removal.0.get(&one.repository).and_then(|from| from.tags.get(tag)) == Some(&LinkContent::Absent)
            };
            // What is left of such a tag, as of a run that was cut off, may be too young: no image depends on when it goes.
            if one.tag.as_ref().is_some_and(names_nothing) && !held.contains(&one.repository) {
                continue;
            }
            let name = one.name();
            if let Some(stop) = stays.get(&one.repository).filter(|_| one.is_repository()).map(|stays| why(&name, stays, policy))
            {
                self.stops.push(stop);
                continue;
            }
            self.stops.push(match held.contains(&one.repository) {
                true if is_under_way(&one.repository, findings) => (
                    format!(
                        "{name} cannot be removed now: a push to {} or a deletion there is under way{}",
                        one.repository,
                        because(&one.repository, findings)
                    ),
                    format!(
                        "try again when it has ended; what is not complete for longer than {} is damage",
                        duration(policy.min_age)
                    ),
                ),
                true => (
                    format!(
                        "{name} cannot be removed: {} cannot be understood{}",
                        one.repository,
                        because(&one.repository, findings)
                    ),
                    "repair that first (`regsweep audit` says more)".to_owned(),
                ),
                false if one.manifest_waits => (format!("{name} stays: what is in quarantine needs it"), PURGE_FIRST.to_owned()),
                false => (
                    format!("{name} stays: it is too young, was restored lately, or what is in quarantine needs it"),
                    format!("wait, or give less than the {} of --min-age", duration(policy.min_age)),
                ),
            });
        }
    }
}

/// Whether nothing is left of what was asked for but directories.
fn is_removed(store: &dyn Store, one: &Asked) -> Result<bool, Error> {
    let repository = store.open(&RepositoryEntry { name: one.repository.clone(), foreign: None })?;
    let is_absent = |states: Vec<FileState>| states.iter().all(|state| *state == FileState::Absent);
    let revisions = LinkDirectory::Revisions(one.repository.clone());
    Ok(match (&one.tag, &one.digest) {
        (Some(tag), _) => repository.stat_tag(tag)? == FileState::Absent,
        (None, Some(digest)) => is_absent(repository.stat_links(&revisions, &[*digest])?),
        (None, None) => {
            let listed = repository.links(&revisions)?.entries;
            let tags = repository.tags()?.entries;
            let tags = tags.iter().map(|tag| repository.stat_tag(tag)).collect::<Result<_, _>>()?;
            is_absent(repository.stat_links(&revisions, &listed)?) && is_absent(tags)
        }
    })
}

/// Why a repository stays that was asked for, and what helps.
fn why(name: &str, stays: &Stays, policy: &Policy) -> (String, String) {
    match stays {
        Stays::Young => (
            format!("{name} stays: something in it is too young, or was restored lately"),
            format!("wait, or give less than the {} of --min-age", duration(policy.min_age)),
        ),
        Stays::Quarantine => (
            format!(
                "{name} stays: images of it were restored lately, or are in quarantine and can only be restored whole while it is there"
            ),
            PURGE_FIRST.to_owned(),
        ),
        Stays::Upload(id) => (
            format!("{name} stays: somebody may be pushing to it, because its upload {id} was begun and not ended"),
            "let it end, or remove it first (`regsweep garbage-collect --uploads-older-than AGE`)".to_owned(),
        ),
    }
}

/// Whether a repository is held for nothing but what somebody writes to just now.
fn is_under_way(repository: &RepositoryName, findings: &[Finding]) -> bool {
    let is_said =
        |code: Code| findings.iter().any(|finding| finding.code == code && finding.repository.as_ref() == Some(repository));
    is_said(Code::WorkUnderWay) && !is_said(Code::HeldRepository)
}

/// What is wrong with a repository that is held.
fn because(repository: &RepositoryName, findings: &[Finding]) -> String {
    let here = |finding: &&Finding| finding.repository.as_ref() == Some(repository) && finding.code != Code::HeldRepository;
    let named = findings.iter().filter(here).map(|finding| {
        let path = finding.path.as_ref().map(|path| format!(" {}", crate::escape::escaped(path)));
        format!("{}{}", finding.code.name(), path.unwrap_or_default())
    });
    let all: Vec<String> = named.collect();
    if all.is_empty() { String::new() } else { format!(" ({})", shown(&all, ", ")) }
}
