//! Looks at the repositories that rules name, and chooses what goes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use foldhash::{HashMap, HashSet};

use super::chosen::{Chosen, DroppedIn};
use super::judge::{Fate, Kept, TagFacts, judge};
use super::protect::{ProtectList, Protected};
use super::rules::{Rule, Rules};
use crate::error::Error;
use crate::graph::Context;
use crate::layout::LinkDirectory;
use crate::lineage::{Lineage, Place, pushes};
use crate::mark::interrupted;
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{Kind, SweepPlan};
use crate::progress::{Phase, Progress};
use crate::records::{Begun, BegunName, BegunWith};
use crate::store::{FileState, LinkContent, RepositoryEntry, TagContent};
use crate::survey::{self, Survey};

/// What a policy comes to in a store.
#[derive(Debug, Default)]
pub struct Expired {
    /// What goes.
    pub chosen: Chosen,
    /// Every tag in the repositories that rules name, in order.
    pub verdicts: Vec<Verdict>,
    /// Repositories that rules name.
    pub repositories: u64,
    /// Those of which every tag would go.
    pub losing_all: Vec<RepositoryName>,
    /// What matched nothing, or was refused.
    pub notes: Vec<Note>,
    /// References of the list of what is in use that match something; nothing without a list.
    pub protecting: Option<u64>,
}

/// What becomes of one tag.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Its repository.
    pub repository: RepositoryName,
    /// Its name.
    pub tag: TagName,
    /// What it names.
    pub digest: Digest,
    /// When it was pushed, if that is known.
    pub pushed: Option<SystemTime>,
    /// What the policy says.
    pub fate: Fate,
    /// Whether it goes in this run: what is young, was restored lately or lies in a repository that is held does not.
    pub goes: bool,
}

/// Something about a policy that its author has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A rule names no repository in the store.
    NoRepository(usize),
    /// A rule names repositories, and there is no tag in them that it is about.
    NoTag(usize),
    /// A reference to what is in use is to nothing in the store.
    NothingProtected(String),
    /// A rule goes by time, and most tags of the repository share a push time.
    SharedTime(RepositoryName),
}

/// The tags of a repository that a run which was cut off had begun to remove.
pub(crate) type CutOff<'a> = &'a (dyn Fn(&RepositoryName) -> Vec<(TagName, Begun)> + Sync);

/// Chooses what goes of a store by a policy. `cut_off` says which tags of a repository a run that was cut off had begun to remove: it may have come
/// as far as these.
///
/// # Errors
///
/// When something that is there cannot be read, or nothing of what is in use is in the store.
pub(crate) fn gather(
    context: &Context<'_>,
    repositories: &[RepositoryEntry],
    (rules, protect): (&Rules, Option<&ProtectList>),
    cut_off: CutOff<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Expired, Error> {
    let protected = match protect {
        Some(list) => Some(in_store(context, repositories, list)?),
        None => None,
    };
    let named: Vec<RepositoryEntry> =
        repositories.iter().filter(|entry| rules.rules.iter().any(|rule| rule.names(&entry.name))).cloned().collect();
    progress.begin(Phase::Choosing, Some(named.len() as u64));
    let uses: Vec<[AtomicU64; 2]> = rules.rules.iter().map(|_| Default::default()).collect();
    let none = Protected::default();
    let gathering = Gathering { context, rules, protected: protected.as_ref().unwrap_or(&none), uses: &uses, cut_off };
    let all = survey::each(&named, |entry| {
        interrupted(stop)?;
        let one = gathering.of(&survey::survey(context.store, entry)?)?;
        progress.advance(1, 0);
        Ok(one)
    })?;
    let mut expired = Expired { repositories: named.len() as u64, ..Expired::default() };
    for (place, [repositories, tags]) in uses.iter().enumerate() {
        match [repositories, tags].map(|count| count.load(Ordering::Relaxed)) {
            [0, _] => expired.notes.push(Note::NoRepository(place)),
            [_, 0] if rules.rules[place].is_about_tags() => expired.notes.push(Note::NoTag(place)),
            _ => {}
        }
    }
    for (entry, of) in named.into_iter().zip(all) {
        expired.chosen.0.insert(entry.name.clone(), of.dropped);
        if of.shares_a_time {
            expired.notes.push(Note::SharedTime(entry.name.clone()));
        }
        if of.loses_all {
            expired.losing_all.push(entry.name);
        }
        expired.verdicts.extend(of.verdicts);
    }
    if let Some(protected) = protected {
        expired.protecting = Some(protected.matched);
        expired.notes.extend(protected.unmatched.into_iter().map(Note::NothingProtected));
    }
    Ok(expired)
}

impl Expired {
    /// Notes which of the chosen tags a plan removes.
    pub(crate) fn note_planned(&mut self, plan: &SweepPlan) {
        let planned: HashSet<(RepositoryName, TagName)> = plan
            .of_kind(Kind::Tag)
            .filter_map(|row| Some((row.target.repository()?.clone(), row.target.tag()?.clone())))
            .collect();
        for verdict in self.verdicts.iter_mut().filter(|verdict| matches!(verdict.fate, Fate::Dropped(_))) {
            verdict.goes = planned.contains(&(verdict.repository.clone(), verdict.tag.clone()));
        }
    }

    /// How many tags stay, by why.
    pub fn kept(&self) -> BTreeMap<Kept, u64> {
        let mut counts = BTreeMap::new();
        for verdict in &self.verdicts {
            if let Fate::Kept(why, _) = verdict.fate {
                *counts.entry(why).or_default() += 1;
            }
        }
        counts
    }
}

/// What of a list of what is in use is in the store.
fn in_store(context: &Context<'_>, repositories: &[RepositoryEntry], list: &ProtectList) -> Result<Protected, Error> {
    let (names, wanted) = (list.names(), list.tags());
    let mut tags: HashMap<(RepositoryName, TagName), Vec<Digest>> = HashMap::default();
    for entry in repositories.iter().filter(|entry| names.contains(&entry.name)) {
        let repository = context.store.open(entry)?;
        for tag in repository.tags()?.entries.into_iter().filter(|tag| wanted.contains(tag)) {
            let TagContent { current, history } = repository.tag(&tag)?;
            let named = match current {
                LinkContent::Absent if history.entries.is_empty() => continue,
                LinkContent::Absent => history.entries,
                _ => Vec::new(),
            };
            tags.insert((entry.name.clone(), tag), named);
        }
    }
    let of_tag = |name: &RepositoryName, tag: &TagName| tags.get(&(name.clone(), tag.clone())).cloned();
    let protected = list.matched(&of_tag, &|digest| context.inventory.find(digest).is_some());
    match protected.matched {
        0 => Err(Error::Usage(format!(
            "none of {} in the list of what is in use is in this store, such as {}: the list is of another registry, or this is not the store",
            crate::format::plural(protected.unmatched.len() as u64, "reference", "references"),
            protected.unmatched[0]
        ))),
        _ => Ok(protected),
    }
}

struct Gathering<'a> {
    context: &'a Context<'a>,
    rules: &'a Rules,
    protected: &'a Protected,
    /// For each rule, how many repositories it names, and how many tags in them it is about.
    uses: &'a [[AtomicU64; 2]],
    cut_off: CutOff<'a>,
}

/// Judges the tags of a repository. Signatures and the like take no image's place, and go with what they belong to unless a rule keeps them by
/// their own names or times.
fn judged(facts: &[TagFacts], rules: &[(usize, &Rule)], now: SystemTime) -> (Vec<Fate>, bool) {
    let is_companion = |tag: &&TagFacts| tag.name.subject().is_some();
    let (companions, images): (Vec<&TagFacts>, Vec<&TagFacts>) = facts.iter().partition(is_companion);
    let judged = |some: Vec<&TagFacts>| judge(&some.into_iter().cloned().collect::<Vec<_>>(), rules, now);
    let ((of_images, shares_a_time), (of_companions, _)) = (judged(images), judged(companions));
    let with_subject = |fate| match fate {
        Fate::Kept(Kept::Pattern | Kept::Younger | Kept::NoPushTime, _) => fate,
        _ => Fate::Kept(Kept::Companion, None),
    };
    let (mut of_images, mut of_companions) = (of_images.into_iter(), of_companions.into_iter().map(with_subject));
    let next = |tag: &TagFacts| if is_companion(&tag) { of_companions.next() } else { of_images.next() };
    (facts.iter().filter_map(next).collect(), shares_a_time)
}

/// What goes of one repository.
struct OfRepository {
    dropped: DroppedIn,
    verdicts: Vec<Verdict>,
    shares_a_time: bool,
    loses_all: bool,
}

impl Gathering<'_> {
    fn of(&self, surveyed: &Survey<'_>) -> Result<OfRepository, Error> {
        let now = self.context.policy.now;
        let named = self.rules.rules.iter().enumerate().filter(|(_, rule)| rule.names(&surveyed.name));
        let rules: Vec<(usize, &Rule)> = named.collect();
        let tags = surveyed.tags.iter().zip(pushes(surveyed)?).filter_map(|(tag, pushed)| match tag.current {
            LinkContent::Digest(digest) if tag.is_tag() => Some((TagFacts { name: tag.name.clone(), pushed }, digest)),
            _ => None,
        });
        let (facts, digests): (Vec<TagFacts>, Vec<Digest>) = tags.unzip();
        for (place, rule) in &rules {
            let [repositories, tags] = &self.uses[*place];
            repositories.fetch_add(1, Ordering::Relaxed);
            let about = facts.iter().filter(|tag| rule.is_about(&tag.name)).count();
            tags.fetch_add(about as u64, Ordering::Relaxed);
        }
        let (mut fates, shares_a_time) = judged(&facts, &rules, now);
        let untagged_age = rules.iter().filter_map(|(_, rule)| rule.untagged_older_than).max();
        let mut dropped = DroppedIn::default();
        let goes = |fates: &[Fate]| fates.iter().any(|fate| matches!(fate, Fate::Dropped(_)));
        let mut unfinished = (self.cut_off)(&surveyed.name);
        // One that is there was pushed again, or is not gone yet: its own target is what goes with it.
        let there: HashSet<&TagName> =
            surveyed.tags.iter().filter(|tag| tag.current != LinkContent::Absent).map(|tag| &tag.name).collect();
        unfinished.retain(|(tag, _)| !there.contains(tag) && rules.iter().any(|(_, rule)| rule.is_about(tag)));
        let begun_tags: HashSet<TagName> = unfinished.iter().map(|(tag, _)| tag.clone()).collect();
        if goes(&fates) || untagged_age.is_some() || !unfinished.is_empty() {
            let lineage = Lineage::read(self.context, surveyed)?;
            let protected = self.protecting(&lineage);
            for ((fate, facts), digest) in fates.iter_mut().zip(&facts).zip(&digests) {
                if let (Fate::Dropped(_), Some(why)) = (*fate, self.protects(surveyed, facts, digest, &lineage, &protected)) {
                    *fate = Fate::Kept(why, None);
                }
            }
            let dropping = fates.iter().zip(&digests).filter(|(fate, _)| matches!(fate, Fate::Dropped(_)));
            let freed = lineage.below(dropping.filter_map(|(_, digest)| lineage.place(digest)), None);
            let mut going: BTreeSet<Digest> = self.revisions(surveyed, &lineage, freed, &protected).collect();
            let untagged = self.untagged(surveyed, &lineage, &digests, &protected);
            let began: HashMap<Digest, SystemTime> =
                unfinished.iter().flat_map(|(_, begun)| begun.revisions.iter().map(|digest| (*digest, begun.began))).collect();
            going.extend(survey::untouched_since(surveyed, &untagged, &|digest| began.get(digest).copied())?);
            if let Some(age) = untagged_age {
                going.extend(self.old(surveyed, untagged, age)?);
            }
            self.add_companions(surveyed, (&facts, &digests), &mut fates, &mut going, (&lineage, &protected));
            let dropping = fates.iter().zip(&facts).zip(&digests).filter(|((fate, _), _)| matches!(fate, Fate::Dropped(_)));
            let with = dropping.map(|((_, tag), digest)| BegunWith {
                name: BegunName::Tag(tag.name.clone()),
                goes_on: false,
                revisions: self.revisions(surveyed, &lineage, lineage.below(lineage.place(digest), None), &protected).collect(),
            });
            let before = unfinished.into_iter().map(|(tag, begun)| BegunWith {
                name: BegunName::Tag(tag),
                goes_on: true,
                revisions: begun.revisions,
            });
            dropped.begun = with.chain(before).collect();
            dropped.revisions = going;
        }
        let dropping = fates.iter().zip(&facts).zip(&digests).filter(|((fate, _), _)| matches!(fate, Fate::Dropped(_)));
        dropped.tags = dropping.map(|((_, facts), digest)| (facts.name.clone(), LinkContent::Digest(*digest))).collect();
        let is_image = |name: &TagName| name.subject().is_none();
        let all_images = surveyed.tags.iter().filter(|tag| tag.is_tag() && is_image(&tag.name)).count();
        let loses_all = !dropped.tags.is_empty() && dropped.tags.keys().filter(|name| is_image(name)).count() == all_images;
        // Of a tag whose link a run that was cut off has removed the history goes, too.
        let rests = surveyed.tags.iter().filter(|tag| tag.current == LinkContent::Absent && begun_tags.contains(&tag.name));
        dropped.tags.extend(rests.map(|tag| (tag.name.clone(), LinkContent::Absent)));
        let verdicts = facts.into_iter().zip(digests).zip(fates).map(|((facts, digest), fate)| Verdict {
            repository: surveyed.name.clone(),
            tag: facts.name,
            digest,
            pushed: facts.pushed,
            fate,
            goes: false,
        });
        Ok(OfRepository { dropped, verdicts: verdicts.collect(), shares_a_time, loses_all })
    }

    /// Drops tags of signatures and the like whose subjects go and are reached by nothing that stays, and what belongs to these in turn.
    fn add_companions(
        &self,
        surveyed: &Survey<'_>,
        (facts, digests): (&[TagFacts], &[Digest]),
        fates: &mut [Fate],
        going: &mut BTreeSet<Digest>,
        (lineage, protected): (&Lineage, &[bool]),
    ) {
        let by_rule = fates.iter().find_map(|fate| if let Fate::Dropped(place) = fate { Some(*place) } else { None });
        loop {
            let kept = fates.iter().zip(digests).filter(|(fate, _)| matches!(fate, Fate::Kept(..))).map(|(_, digest)| *digest);
            let revisions = surveyed.revisions.iter().map(|revision| revision.digest).filter(|digest| !going.contains(digest));
            let roots: Vec<Place> = kept.chain(revisions).filter_map(|digest| lineage.place(&digest)).collect();
            let stays: HashSet<Place> = lineage.below(roots, None).into_iter().collect();
            let goes =
                |digest: &Digest| going.contains(digest) && lineage.place(digest).is_some_and(|place| !stays.contains(&place));
            let is_next = |index: &usize| {
                let is_kept = matches!(fates[*index], Fate::Kept(Kept::Companion, _));
                is_kept
                    && facts[*index].name.subject().is_some_and(|subject| goes(&subject))
                    && self.protects(surveyed, &facts[*index], &digests[*index], lineage, protected).is_none()
            };
            let next: Vec<usize> = (0..facts.len()).filter(is_next).collect();
            if next.is_empty() {
                return;
            }
            let places: Vec<Place> = next.iter().filter_map(|index| lineage.place(&digests[*index])).collect();
            next.iter().for_each(|index| fates[*index] = Fate::Dropped(by_rule.unwrap_or_default()));
            going.extend(self.revisions(surveyed, lineage, lineage.below(places, None), protected));
        }
    }

    /// The manifests that are in use, or have something in use in them: by place.
    fn protecting(&self, lineage: &Lineage) -> Vec<bool> {
        let mut protected = vec![false; lineage.len()];
        if self.protected.digests.is_empty() {
            return protected;
        }
        let blobs: HashSet<_> = self.protected.digests.iter().filter_map(|digest| self.context.inventory.find(digest)).collect();
        let mut above: Vec<Vec<Place>> = vec![Vec::new(); lineage.len()];
        let mut queue: Vec<Place> = Vec::new();
        for place in 0..lineage.len() as Place {
            lineage.children(place).iter().for_each(|child| above[*child as usize].push(place));
            let is_itself = self.protected.digests.contains(&lineage.name(place));
            if is_itself || lineage.blobs(place).iter().any(|blob| blobs.contains(blob)) {
                queue.push(place);
            }
        }
        while let Some(place) = queue.pop() {
            if !std::mem::replace(&mut protected[place as usize], true) {
                queue.extend(&above[place as usize]);
            }
        }
        protected
    }

    /// Why a tag stays for what is in use.
    fn protects(
        &self,
        surveyed: &Survey<'_>,
        tag: &TagFacts,
        digest: &Digest,
        lineage: &Lineage,
        protected: &[bool],
    ) -> Option<Kept> {
        let place = lineage.place(digest);
        let is_named = self.protected.tags.contains(&(surveyed.name.clone(), tag.name.clone()));
        if is_named || place.is_some_and(|place| protected[place as usize]) {
            return Some(Kept::Protected);
        }
        let is_read = place.is_some_and(|place| lineage.is_manifest(place));
        (!self.protected.digests.is_empty() && !is_read).then_some(Kept::Unreadable)
    }

    /// Those of some manifests that are revisions here and not in use.
    fn revisions<'l>(
        &self,
        surveyed: &'l Survey<'_>,
        lineage: &'l Lineage,
        places: Vec<Place>,
        protected: &'l [bool],
    ) -> impl Iterator<Item = Digest> + use<'l> {
        let places = places.into_iter().filter(|place| !protected[*place as usize]);
        places.map(|place| lineage.name(place)).filter(|digest| surveyed.revision(digest).is_some())
    }

    /// Revisions that no tag leads to, not even one that goes, and that are not in use.
    fn untagged(&self, surveyed: &Survey<'_>, lineage: &Lineage, targets: &[Digest], protected: &[bool]) -> Vec<Digest> {
        let targets = targets.iter().filter_map(|digest| lineage.place(digest));
        let tagged: HashSet<Place> = lineage.below(targets, None).into_iter().collect();
        let untagged = (0..lineage.len() as Place).filter(|place| !tagged.contains(place)).collect();
        self.revisions(surveyed, lineage, untagged, protected).collect()
    }

    /// Those of some revisions that were pushed so long ago.
    fn old(&self, surveyed: &Survey<'_>, revisions: Vec<Digest>, age: Duration) -> Result<Vec<Digest>, Error> {
        let directory = LinkDirectory::Revisions(surveyed.name.clone());
        let states = survey::in_chunks(&revisions, |some| surveyed.repository.stat_links(&directory, some))?;
        let now = self.context.policy.now;
        let is_old = |state: &FileState| match state {
            FileState::File(stat) => now.duration_since(stat.modified).is_ok_and(|old| old > age),
            FileState::Absent | FileState::Irregular => false,
        };
        Ok(revisions.into_iter().zip(states).filter(|(_, state)| is_old(state)).map(|(digest, _)| digest).collect())
    }
}
