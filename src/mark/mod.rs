//! Decides what is live: roots and manifests in, marks on the inventory out (G1).
//!
//! Repositories are marked one by one, many at a time, in any order: a mark is a bit that is only ever set. What stays for the
//! whole run is the [`Inventory`] (39 bytes for a stored blob), a cache of manifests of fixed size, and what the plan will
//! hold. What is known of one repository is dropped when it is done: 150 bytes for each of its directories, and what its manifests
//! name, 8 bytes for what is stored and a hundred for what is not, 32 MiB of it at most: what is beyond is read again.

mod arrivals;
pub mod blobs;
mod links;
mod reach;
mod repositories;
mod waiting;

use std::path::PathBuf;

use foldhash::HashSet;
use rayon::prelude::*;

pub use self::arrivals::arrivals;
use self::reach::{Reach, Role};
pub use self::repositories::{hold_shared, interrupted, planned, repositories};
pub use self::waiting::Waiting;
use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::graph::{Context, Held, LinkVerdict, Manifests, Reading, judge_link};
use crate::inventory::{Inventory, MarkFlags};
use crate::layout::{self, LinkDirectory};
use crate::oci::{DescriptorKind, Digest, RepositoryName};
use crate::plan::Deletions;
use crate::policy::RootPolicy;
use crate::store::{FileState, LinkContent, Store, StrayKind};
use crate::survey::Survey;

/// What marking found out about one repository.
#[derive(Debug)]
pub struct Marks {
    /// The repository.
    pub repository: RepositoryName,
    /// Whether everything in it is kept because something in it cannot be understood.
    pub held: bool,
    /// Whether it links layers and has no revision, be it deleted, that could need them. So is one that nothing but layers was pushed to, and
    /// one whose revisions are lost, be its tags lost with them or not.
    pub has_no_revisions: bool,
    /// What in it is not live, and old enough.
    pub deletions: Deletions,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Symbolic links in the place of directories.
    pub symlinks: Vec<PathBuf>,
    /// What was looked at.
    pub counts: Counts,
    /// What is kept here for nothing but its age.
    pub waiting: Waiting,
    /// Of what the survey was asked about, what is needed here; all of it where everything is kept.
    pub needed: Vec<Digest>,
}

/// How much of what one repository, or many, hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tags.
    pub tags: u64,
    /// Revisions: directories with a link, whatever it says.
    pub revisions: u64,
    /// Directories in tag histories.
    pub history_entries: u64,
    /// Directories in `_layers`.
    pub layer_links: u64,
    /// Revisions that are no roots but too young to drop.
    pub young_revisions: u64,
    /// Layer links that nothing needs but that are too young to drop.
    pub young_layer_links: u64,
    /// Repositories with a revision that is not young; counted with [`RootPolicy::TaggedOnly`] only.
    pub with_old_revisions: u64,
    /// Those of them that have no tag.
    pub untagged_repositories: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.tags += other.tags;
        self.revisions += other.revisions;
        self.history_entries += other.history_entries;
        self.layer_links += other.layer_links;
        self.young_revisions += other.young_revisions;
        self.young_layer_links += other.young_layer_links;
        self.with_old_revisions += other.with_old_revisions;
        self.untagged_repositories += other.untagged_repositories;
    }
}

/// Marks what one repository keeps.
///
/// # Errors
///
/// When a link or manifest that is there cannot be read: what it keeps is then unknown, and nothing must be removed anywhere.
pub fn mark(survey: &Survey, context: &Context<'_>) -> Result<Marks, Error> {
    let mut findings = Vec::new();
    let mut held = oddities(survey, &mut findings);
    let mut roots = Roots::of(survey, &mut held, &mut findings);

    let readings: Vec<Held<'_>> = survey
        .revisions
        .par_iter()
        .with_min_len(64)
        .map(|revision| {
            Ok(context.manifests.hold(match revision.link {
                LinkContent::Absent => Reading::Absent,
                _ => context.manifests.read_revision(&revision.digest)?,
            }))
        })
        .collect::<Result<_, Error>>()?;
    let mut reach = Reach::new(context, survey, &readings)?;
    let mut counts = Counts {
        tags: survey.tags.len() as u64,
        revisions: survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent).count() as u64,
        history_entries: survey.tags.iter().map(|tag| tag.history.len() as u64).sum(),
        layer_links: survey.layers.len() as u64,
        ..Counts::default()
    };

    // Whether `--delete-untagged` holds the repository, given or not.
    let held_untagged;
    let mut candidates = Vec::new();
    let mut seen_history = Vec::new();
    let mut waiting = Waiting::default();
    match context.policy.roots {
        RootPolicy::AllRevisions => {
            reach.walk(std::mem::take(&mut roots.tags), MarkFlags::LIVE.and(MarkFlags::TAGGED))?;
            held_untagged = held || reach.fault || reach.tag_target_absent;
            let flags = if held_untagged { MarkFlags::LIVE.and(MarkFlags::TAGGED) } else { MarkFlags::LIVE };
            if !held_untagged {
                // What `--delete-untagged` would keep for being young is none of what it would free.
                let (untagged, _) = links::untagged_revisions(survey, context, &reach)?;
                let young = untagged.iter().filter(|candidate| candidate.age.is_young());
                reach.walk(
                    young.map(|candidate| (candidate.digest, Role::Revision)).collect(),
                    MarkFlags::LIVE.and(MarkFlags::TAGGED),
                )?;
            }
            reach.walk(std::mem::take(&mut roots.revisions), flags)?;
            reach.walk(protected(survey), MarkFlags::YOUNG)?;
            if held_untagged {
                links::mark_all_names(survey, context, MarkFlags::TAGGED);
            }
        }
        RootPolicy::TaggedOnly => {
            reach.walk(std::mem::take(&mut roots.tags), MarkFlags::LIVE)?;
            held_untagged = reach.tag_target_absent;
            if !(held || held_untagged || reach.fault) {
                (candidates, seen_history) = links::untagged_revisions(survey, context, &reach)?;
                // The registry follows a symbolic link and serves what is behind it. What that refers to is not known here.
                reach.walk(reach.always_kept(), MarkFlags::LIVE)?;
                let (young, old): (Vec<_>, Vec<_>) = candidates
                    .into_iter()
                    .partition(|candidate| candidate.age.is_young() || survey.protected.contains(&candidate.digest));
                reach.walk(young.iter().map(|candidate| (candidate.digest, Role::Revision)).collect(), MarkFlags::YOUNG)?;
                reach.walk(protected(survey), MarkFlags::YOUNG)?;
                counts.young_revisions = young.len() as u64;
                let directory = LinkDirectory::Revisions(survey.name.clone());
                for candidate in &young {
                    waiting.note(candidate.age, || directory.link(&candidate.digest));
                }
                candidates = old;
                candidates.retain(|candidate| !reach.has_descended(&candidate.digest));
            }
            held |= held_untagged;
        }
    }
    held |= reach.fault;

    let mut deletions = Deletions::default();
    let mut flags = if held_untagged { MarkFlags::LIVE.and(MarkFlags::TAGGED) } else { MarkFlags::LIVE };
    if !held {
        let unreached = links::unreached(survey, context, &mut reach, &candidates, &seen_history, &readings)?;
        if unreached.fault {
            held = true;
            flags = MarkFlags::LIVE.and(MarkFlags::TAGGED);
        }
        counts.young_layer_links = unreached.young_layer_links;
        waiting += unreached.waiting;
        findings.extend(unreached.findings);
        deletions = unreached.deletions;
    }
    if held {
        waiting = Waiting::default();
        deletions = Deletions::default();
        reach.forget();
        reach.walk(Roots::everything(survey), flags)?;
        reach.walk(protected(survey), MarkFlags::YOUNG)?;
        links::mark_held_layers(survey, context, &mut reach, flags)?;
        findings
            .push(Finding::new(Code::HeldRepository).repository(&survey.name).path(layout::repository_directory(&survey.name)));
    }
    if context.policy.roots == RootPolicy::TaggedOnly && has_old_revision(survey, context)? {
        counts.with_old_revisions = 1;
        counts.untagged_repositories = u64::from(survey.tags.is_empty());
    }
    let is_needed = |digest: &&Digest| held || reach.has_reached(digest, context.inventory.find(digest));
    let needed = survey.queried.iter().filter(is_needed).copied().collect();
    findings.extend(reach.into_findings());
    findings.extend(waiting.finding().map(|finding| finding.repository(&survey.name)));
    let symlinks = survey.strays.iter().filter(|stray| stray.kind == StrayKind::Symlink).map(|stray| stray.path.clone());
    Ok(Marks {
        repository: survey.name.clone(),
        held,
        has_no_revisions: !survey.layers.is_empty() && survey.revisions.is_empty(),
        deletions,
        findings,
        symlinks: symlinks.collect(),
        counts,
        waiting,
        needed,
    })
}

/// Every digest that a repository's links name, by directory and by content, and that the manifests among them name to any depth.
///
/// # Errors
///
/// When a link or a manifest that is there cannot be read.
pub fn everything_named(store: &dyn Store, inventory: &Inventory, survey: &Survey) -> Result<Vec<Digest>, Error> {
    let manifests = Manifests::new(store, inventory);
    let directory = LinkDirectory::Layers(survey.name.clone());
    let layers = crate::survey::read_links(store, &directory, &survey.layers)?;
    let aliases = layers.iter().filter_map(|content| match content {
        LinkContent::Digest(digest) => Some(*digest),
        _ => None,
    });
    let mut named: HashSet<Digest> = survey.layers.iter().copied().chain(aliases).collect();
    let mut waiting: Vec<Digest> = Roots::everything(survey).into_iter().map(|(digest, _)| digest).collect();
    named.extend(&waiting);
    while let Some(digest) = waiting.pop() {
        let reading = match survey.revision(&digest) {
            Some(_) => manifests.read_revision(&digest)?,
            None => manifests.read(&digest)?,
        };
        let Reading::Read(edges) = reading else { continue };
        let stored = edges.stored.iter().map(|edge| (inventory.digest(edge.blob), edge.kind));
        let unresolved = edges.unresolved.iter().map(|descriptor| (descriptor.digest, descriptor.kind));
        for (digest, kind) in stored.chain(unresolved) {
            if named.insert(digest) && (kind != DescriptorKind::Blob || survey.revision(&digest).is_some()) {
                waiting.push(digest);
            }
        }
    }
    Ok(named.into_iter().collect())
}

/// Reports what is not as the layout has it; says whether the repository has to be held for it.
fn oddities(survey: &Survey, findings: &mut Vec<Finding>) -> bool {
    let mut held = false;
    let here = |code| Finding::new(code).repository(&survey.name);
    if !survey.name.is_valid() {
        held = true;
        findings.push(here(Code::InvalidName).path(layout::repository_directory(&survey.name)));
    }
    if let Some(why) = survey.set_apart {
        held = true;
        findings.push(here(Code::of_stray(why)).path(layout::repository_directory(&survey.name)));
    }
    for stray in &survey.strays {
        held |= stray.kind.sets_apart();
        findings.push(here(Code::of_stray(stray.kind)).path(&stray.path));
    }
    held
}

/// Where marking starts in one repository.
struct Roots {
    tags: Vec<(Digest, Role)>,
    revisions: Vec<(Digest, Role)>,
}

impl Roots {
    fn of(survey: &Survey, held: &mut bool, findings: &mut Vec<Finding>) -> Roots {
        let mut roots = Roots { tags: Vec::new(), revisions: Vec::new() };
        let directory = LinkDirectory::Revisions(survey.name.clone());
        for revision in &survey.revisions {
            match judge_revision(&revision.digest, revision.link) {
                LinkVerdict::Names(digest) => roots.revisions.push((digest, Role::Revision)),
                LinkVerdict::Absent => {}
                LinkVerdict::Faulty(code) => {
                    *held = true;
                    let finding = Finding::new(code).repository(&survey.name).digest(&revision.digest);
                    findings.push(finding.path(directory.link(&revision.digest)));
                }
            }
        }
        for tag in &survey.tags {
            let here = |code| {
                let path = layout::current_link(&survey.name, &tag.name);
                Finding::new(code).repository(&survey.name).tag(&tag.name).path(path)
            };
            let code = match tag.current {
                LinkContent::Digest(digest) => {
                    roots.tags.push((digest, Role::TagTarget(tag.name.clone())));
                    continue;
                }
                LinkContent::Absent => {
                    findings.push(here(Code::TagWithoutCurrent));
                    continue;
                }
                LinkContent::Empty => Code::EmptyLink,
                LinkContent::Garbled => Code::GarbledLink,
                LinkContent::Irregular => Code::IrregularLink,
            };
            *held = true;
            findings.push(here(code));
        }
        roots
    }

    /// All that a held repository's links name.
    fn everything(survey: &Survey) -> Vec<(Digest, Role)> {
        // Taken from the end: history comes last, when the same digest was met under a name that promises more.
        let mut roots: Vec<(Digest, Role)> = links::history_roots(survey).collect();
        for revision in &survey.revisions {
            match revision.link {
                LinkContent::Absent => continue,
                LinkContent::Digest(digest) if digest != revision.digest => roots.push((digest, Role::Revision)),
                _ => {}
            }
            roots.push((revision.digest, Role::Revision));
        }
        for tag in &survey.tags {
            if let LinkContent::Digest(digest) = tag.current {
                roots.push((digest, Role::TagTarget(tag.name.clone())));
            }
        }
        roots
    }
}

/// Whether a revision here is not young. Looks until it finds one, which is mostly the first.
fn has_old_revision(survey: &Survey, context: &Context<'_>) -> Result<bool, Error> {
    let directory = LinkDirectory::Revisions(survey.name.clone());
    for revision in survey.revisions.iter().filter(|revision| revision.link != LinkContent::Absent) {
        let leaves = context.store.stat_links(&directory, &[revision.digest])?;
        if leaves.iter().any(|leaf| matches!(leaf, FileState::File(stat) if !context.policy.is_young(stat))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Manifests that may be linked here again: what they name stays for them.
fn protected(survey: &Survey) -> Vec<(Digest, Role)> {
    survey.protected.iter().map(|digest| (*digest, Role::Optional)).collect()
}

/// Judges a revision's link: unlike a layer link it cannot be an alias.
fn judge_revision(directory: &Digest, content: LinkContent) -> LinkVerdict {
    match judge_link(directory, content) {
        LinkVerdict::Names(digest) if digest != *directory => LinkVerdict::Faulty(Code::DisagreeingLink),
        verdict => verdict,
    }
}

impl Code {
    /// The finding for a stray entry.
    pub fn of_stray(kind: StrayKind) -> Code {
        match kind {
            StrayKind::Symlink => Code::BehindSymlink,
            StrayKind::Mount => Code::BehindMount,
            StrayKind::SystemFile => Code::SystemFile,
            StrayKind::Unrecognised => Code::UnrecognisedEntry,
        }
    }
}
