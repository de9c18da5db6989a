//! Keep or delete, and why: facts of one name in, a decision out. Pure.
//!
//! One match for each kind of target, each in the order of precedence: what comes first is the reason that is given. The passes that
//! walk and inspect gather the facts; what is reached is mostly never asked about, because nothing is inspected that something needs.

use super::Reason;
use crate::finding::Code;
use crate::inventory::MarkFlags;
use crate::policy::{Age, Policy};
use crate::store::FileState;

/// What becomes of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It stays.
    Keep(KeepReason),
    /// It goes.
    Delete(Reason),
}

/// Why something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// The retention keeps the tag.
    Tag,
    /// The retention keeps the revision, whether a tag reaches it or not.
    Revision,
    /// Something that is kept reaches it: a tag, a revision, a manifest that names it, or the subject that it refers to.
    Reached,
    /// The same, but only by what is young.
    ReachedByYoung,
    /// An entry in the history of a tag, whose revision stays.
    RevisionStays,
    /// An entry in the history of a tag, whose revision is lost while a tag still names it: it can be repaired.
    TagTarget,
    /// What it refers to cannot be known, or it cannot go itself: it stays whatever keeps its subjects.
    AlwaysRoot,
    /// It is too young to be judged.
    Young(Age),
    /// What is in quarantine can only be restored whole while it stays.
    Protected,
    /// It lies, or leads, behind a symbolic link or a mount, where nothing goes.
    Foreign,
    /// It cannot be understood, for which its repository is held.
    Unclear(Code),
    /// Something else in its repository cannot be understood.
    Held,
    /// It is in quarantine and nowhere else.
    Quarantined,
    /// There is nothing in its place; its directory is judged on its own.
    Absent,
    /// Something that is no regular file is in its place.
    Irregular,
    /// A directory that something is in.
    NotEmpty,
    /// A concurrent writer changed it between two looks; left to the next run.
    ConcurrentWriter,
    /// Nothing keeps it as far as names go, and it was not inspected: what was not seen stays.
    NotInspected,
}

/// What an inspection of a file showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inspected {
    /// It was not inspected.
    Not,
    /// It is a regular file, so old.
    File(Age),
    /// It is not there.
    Absent,
    /// It is no regular file.
    Irregular,
}

impl Inspected {
    /// What the state of a file shows, as of the policy's moment.
    pub(crate) fn new(state: &FileState, policy: &Policy) -> Inspected {
        match state {
            FileState::File(stat) => Inspected::File(policy.age(stat)),
            FileState::Absent => Inspected::Absent,
            FileState::Irregular => Inspected::Irregular,
        }
    }
}

/// What a [`Retention`](crate::retention::Retention) says of a tag or a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootChoice {
    /// It is a root.
    Root(KeepReason),
    /// It is none. Something else may keep it.
    Dropped(Reason),
}

/// What is known of a tag's `current/link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagFacts {
    /// What the retention says.
    pub(crate) choice: RootChoice,
    /// What is in its place.
    pub(crate) inspected: Inspected,
    /// Whether its repository is held.
    pub(crate) held: bool,
}

/// What is known of a revision whose link names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RevisionFacts {
    /// Whether something that is kept reaches it.
    pub(crate) reached: bool,
    /// What the retention says, should no tag reach it.
    pub(crate) choice: RootChoice,
    /// Whether it could be needed by what may be restored.
    pub(crate) protected: bool,
    /// Whether it is a root whatever keeps its subjects.
    pub(crate) always_root: bool,
    /// What is in its place. Its age is that of the youngest entry in the history of tags, too: it cannot go before those.
    pub(crate) inspected: Inspected,
    /// Whether its repository is held.
    pub(crate) held: bool,
}

/// What becomes of the revision that an entry in the history of a tag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryRevision {
    /// It stays, or may be restored.
    Stays,
    /// It goes in this run.
    Goes(Reason),
    /// It is gone.
    Gone,
}

/// What is known of an entry in the history of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryFacts {
    /// Why its tag goes, if it does.
    pub(crate) tag_goes: Option<Reason>,
    /// What becomes of its revision.
    pub(crate) revision: HistoryRevision,
    /// Whether the blob that it names lies where nothing goes.
    pub(crate) foreign: bool,
    /// Whether a tag that stays names the same.
    pub(crate) tag_target: bool,
    /// What is in its place.
    pub(crate) inspected: Inspected,
    /// Whether its repository is held.
    pub(crate) held: bool,
}

/// What a layer link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkSays {
    /// A digest that it may name.
    Digest,
    /// Nothing: it is not there.
    Absent,
    /// What cannot be understood.
    Unclear(Code),
}

/// What is known of a layer link that was not reached by its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerFacts {
    /// What it says.
    pub(crate) says: LinkSays,
    /// Whether a blob in quarantine, or one that was restored lately, needs it.
    pub(crate) protected: bool,
    /// Whether it is reached by any of its names, now that all young links of its repository are marked.
    pub(crate) reached: bool,
    /// Whether the blob that it leads to lies where nothing goes.
    pub(crate) foreign: bool,
    /// What is in its place.
    pub(crate) inspected: Inspected,
    /// Whether its repository is held.
    pub(crate) held: bool,
}

/// What is known of a directory that is named by a digest and has no link, or no data, in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryFacts {
    /// Its age, if it is empty.
    pub(crate) empty: Option<Age>,
    /// Whether its repository is held.
    pub(crate) held: bool,
}

/// What is known of a blob once all repositories are marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobFacts {
    /// What it was marked as.
    pub(crate) flags: MarkFlags,
    /// Whether it is the manifest of a revision that goes.
    pub(crate) of_dropped_revision: bool,
    /// What is in the place of its data.
    pub(crate) inspected: Inspected,
}

/// Judges a tag's `current/link`.
pub(crate) fn tag(facts: &TagFacts) -> Decision {
    let reason = match facts.choice {
        RootChoice::Root(reason) => return Decision::Keep(reason),
        RootChoice::Dropped(reason) => reason,
    };
    match facts.inspected {
        Inspected::Not => Decision::Keep(KeepReason::NotInspected),
        Inspected::Absent => Decision::Keep(KeepReason::Absent),
        Inspected::Irregular => Decision::Keep(KeepReason::ConcurrentWriter),
        Inspected::File(age) if age.is_young() => Decision::Keep(KeepReason::Young(age)),
        Inspected::File(_) if facts.held => Decision::Keep(KeepReason::Held),
        Inspected::File(_) => Decision::Delete(reason),
    }
}

/// Judges a revision whose link names it.
pub(crate) fn revision(facts: &RevisionFacts) -> Decision {
    let reason = match facts.choice {
        _ if facts.reached => return Decision::Keep(KeepReason::Reached),
        RootChoice::Root(reason) => return Decision::Keep(reason),
        RootChoice::Dropped(reason) => reason,
    };
    match facts.inspected {
        Inspected::Not => Decision::Keep(KeepReason::NotInspected),
        // It was there when it was read.
        Inspected::Absent | Inspected::Irregular => Decision::Keep(KeepReason::ConcurrentWriter),
        Inspected::File(_) if facts.protected => Decision::Keep(KeepReason::Protected),
        Inspected::File(age) if age.is_young() => Decision::Keep(KeepReason::Young(age)),
        Inspected::File(_) if facts.always_root => Decision::Keep(KeepReason::AlwaysRoot),
        Inspected::File(_) if facts.held => Decision::Keep(KeepReason::Held),
        Inspected::File(_) => Decision::Delete(reason),
    }
}

/// Judges an entry in the history of a tag.
pub(crate) fn history(facts: &HistoryFacts) -> Decision {
    let reason = match (facts.tag_goes, facts.revision) {
        (Some(reason), _) | (None, HistoryRevision::Goes(reason)) => reason,
        (None, _) if facts.foreign => return Decision::Keep(KeepReason::Foreign),
        (None, HistoryRevision::Stays) => return Decision::Keep(KeepReason::RevisionStays),
        (None, HistoryRevision::Gone) if facts.tag_target => return Decision::Keep(KeepReason::TagTarget),
        (None, HistoryRevision::Gone) => Reason::RevisionGone,
    };
    match facts.inspected {
        Inspected::Not => Decision::Keep(KeepReason::NotInspected),
        Inspected::Absent => Decision::Keep(KeepReason::Absent),
        Inspected::Irregular => Decision::Keep(KeepReason::Unclear(Code::IrregularLink)),
        Inspected::File(age) if age.is_young() => Decision::Keep(KeepReason::Young(age)),
        Inspected::File(_) if facts.held => Decision::Keep(KeepReason::Held),
        Inspected::File(_) => Decision::Delete(reason),
    }
}

/// Judges a layer link that was not reached by its own name.
pub(crate) fn layer(facts: &LayerFacts) -> Decision {
    match (facts.says, facts.inspected) {
        (LinkSays::Absent, _) => Decision::Keep(KeepReason::Absent),
        (LinkSays::Unclear(code), _) => Decision::Keep(KeepReason::Unclear(code)),
        (LinkSays::Digest, Inspected::Not) => Decision::Keep(KeepReason::NotInspected),
        (LinkSays::Digest, Inspected::Absent) => Decision::Keep(KeepReason::ConcurrentWriter),
        (LinkSays::Digest, Inspected::Irregular) => Decision::Keep(KeepReason::Unclear(Code::IrregularLink)),
        (LinkSays::Digest, Inspected::File(_)) if facts.protected => Decision::Keep(KeepReason::Protected),
        (LinkSays::Digest, Inspected::File(age)) if age.is_young() => Decision::Keep(KeepReason::Young(age)),
        (LinkSays::Digest, Inspected::File(_)) if facts.reached => Decision::Keep(KeepReason::Reached),
        // What cannot go is served while it is linked: names and contents stay in step.
        (LinkSays::Digest, Inspected::File(_)) if facts.foreign => Decision::Keep(KeepReason::Foreign),
        (LinkSays::Digest, Inspected::File(_)) if facts.held => Decision::Keep(KeepReason::Held),
        (LinkSays::Digest, Inspected::File(_)) => Decision::Delete(Reason::Unreferenced),
    }
}

/// Judges a directory that is named by a digest and has no link, or no data, in it.
pub(crate) fn directory(facts: &DirectoryFacts) -> Decision {
    match facts.empty {
        None => Decision::Keep(KeepReason::NotEmpty),
        Some(age) if age.is_young() => Decision::Keep(KeepReason::Young(age)),
        Some(_) if facts.held => Decision::Keep(KeepReason::Held),
        Some(_) => Decision::Delete(Reason::EmptyDirectory),
    }
}

/// Judges a blob.
pub(crate) fn blob(facts: &BlobFacts) -> Decision {
    match facts.inspected {
        _ if facts.flags.contains(MarkFlags::FOREIGN) => Decision::Keep(KeepReason::Foreign),
        _ if facts.flags.contains(MarkFlags::LIVE) => Decision::Keep(KeepReason::Reached),
        _ if facts.flags.contains(MarkFlags::YOUNG) => Decision::Keep(KeepReason::ReachedByYoung),
        _ if facts.flags.contains(MarkFlags::RESTORABLE) => Decision::Keep(KeepReason::Protected),
        Inspected::Not => Decision::Keep(KeepReason::NotInspected),
        Inspected::Irregular => Decision::Keep(KeepReason::Irregular),
        Inspected::Absent if facts.flags.contains(MarkFlags::QUARANTINED) => Decision::Keep(KeepReason::Quarantined),
        Inspected::Absent => Decision::Keep(KeepReason::Absent),
        Inspected::File(age) if age.is_young() => Decision::Keep(KeepReason::Young(age)),
        Inspected::File(_) if facts.of_dropped_revision => Decision::Delete(Reason::Untagged),
        Inspected::File(_) if facts.flags.contains(MarkFlags::LINK_DROPPED) => Decision::Delete(Reason::Unreferenced),
        Inspected::File(_) => Decision::Delete(Reason::Unlinked),
    }
}

#[cfg(test)]
mod tests;
