//! Every combination of facts against the order of precedence, written down as a list of rules of which the first that holds counts.

use std::time::SystemTime;

use super::Decision::{Delete, Keep};
use super::*;

const BOTH: [bool; 2] = [false, true];

const LATER: SystemTime = SystemTime::UNIX_EPOCH;

/// All that an inspection may show.
const INSPECTED: [Inspected; 7] = [
    Inspected::Not,
    Inspected::File(Age::Old),
    Inspected::File(Age::Young(LATER)),
    Inspected::File(Age::JustMade(LATER)),
    Inspected::File(Age::Future),
    Inspected::Absent,
    Inspected::Irregular,
];

const CHOICES: [RootChoice; 4] = [
    RootChoice::Root(KeepReason::Tag),
    RootChoice::Root(KeepReason::Revision),
    RootChoice::Dropped(Reason::Untagged),
    RootChoice::Dropped(Reason::TagDropped),
];

type Rule = (bool, Decision);

/// The first rule that holds; the last one always does.
fn first(rules: &[Rule]) -> Decision {
    rules.iter().find(|(holds, _)| *holds).expect("the last rule always holds").1
}

fn is(inspected: Inspected, wanted: Inspected, decision: KeepReason) -> Rule {
    (inspected == wanted, Keep(decision))
}

fn is_young(inspected: Inspected) -> Rule {
    match inspected {
        Inspected::File(age) => (age != Age::Old, Keep(KeepReason::Young(age))),
        _ => (false, Keep(KeepReason::NotInspected)),
    }
}

fn is_root(choice: RootChoice) -> Rule {
    match choice {
        RootChoice::Root(reason) => (true, Keep(reason)),
        RootChoice::Dropped(_) => (false, Keep(KeepReason::NotInspected)),
    }
}

fn reason(choice: RootChoice) -> Rule {
    match choice {
        RootChoice::Dropped(reason) => (true, Delete(reason)),
        RootChoice::Root(_) => (false, Keep(KeepReason::NotInspected)),
    }
}

#[test]
fn tags() {
    let mut deleted = 0;
    for choice in CHOICES {
        for inspected in INSPECTED {
            for held in BOTH {
                let facts = TagFacts { choice, inspected, held };
                let expected = first(&[
                    is_root(choice),
                    is(inspected, Inspected::Not, KeepReason::NotInspected),
                    is(inspected, Inspected::Absent, KeepReason::Absent),
                    is(inspected, Inspected::Irregular, KeepReason::ConcurrentWriter),
                    is_young(inspected),
                    (held, Keep(KeepReason::Held)),
                    reason(choice),
                ]);
                assert_eq!(tag(&facts), expected, "{facts:?}");
                deleted += u32::from(matches!(expected, Delete(_)));
            }
        }
    }
    assert_eq!(deleted, 2, "dropped for either reason, and nothing else about it");
}

#[test]
fn revisions() {
    let mut deleted = 0;
    for (choice, inspected) in CHOICES.into_iter().flat_map(|choice| INSPECTED.map(|inspected| (choice, inspected))) {
        for [reached, protected, always_root, held] in combinations() {
            let facts = RevisionFacts { reached, choice, protected, always_root, inspected, held };
            let expected = first(&[
                (reached, Keep(KeepReason::Reached)),
                is_root(choice),
                is(inspected, Inspected::Not, KeepReason::NotInspected),
                is(inspected, Inspected::Absent, KeepReason::ConcurrentWriter),
                is(inspected, Inspected::Irregular, KeepReason::ConcurrentWriter),
                (protected, Keep(KeepReason::Protected)),
                is_young(inspected),
                (always_root, Keep(KeepReason::AlwaysRoot)),
                (held, Keep(KeepReason::Held)),
                reason(choice),
            ]);
            assert_eq!(revision(&facts), expected, "{facts:?}");
            deleted += u32::from(matches!(expected, Delete(_)));
        }
    }
    assert_eq!(deleted, 2);
}

#[test]
fn history_entries() {
    let fates = [HistoryRevision::Stays, HistoryRevision::Goes(Reason::Untagged), HistoryRevision::Gone];
    let mut deleted = 0;
    for (tag_goes, revision) in [None, Some(Reason::TagDropped)].into_iter().flat_map(|tag| fates.map(|fate| (tag, fate))) {
        for inspected in INSPECTED {
            for [foreign, tag_target, held, _] in combinations() {
                let facts = HistoryFacts { tag_goes, revision, foreign, tag_target, inspected, held };
                let goes = tag_goes.is_some() || revision == HistoryRevision::Goes(Reason::Untagged);
                let expected = first(&[
                    (!goes && foreign, Keep(KeepReason::Foreign)),
                    (!goes && revision == HistoryRevision::Stays, Keep(KeepReason::RevisionStays)),
                    (!goes && tag_target, Keep(KeepReason::TagTarget)),
                    is(inspected, Inspected::Not, KeepReason::NotInspected),
                    is(inspected, Inspected::Absent, KeepReason::Absent),
                    is(inspected, Inspected::Irregular, KeepReason::Unclear(Code::IrregularLink)),
                    is_young(inspected),
                    (held, Keep(KeepReason::Held)),
                    (tag_goes.is_some(), Delete(Reason::TagDropped)),
                    (goes, Delete(Reason::Untagged)),
                    (true, Delete(Reason::RevisionGone)),
                ]);
                assert_eq!(history(&facts), expected, "{facts:?}");
                deleted += u32::from(matches!(expected, Delete(_)));
            }
        }
    }
    // Whatever else holds where the tag or the revision goes, and nothing where the revision is gone; each twice for the unused fact.
    assert_eq!(deleted, 2 * (3 * 4 + 4 + 1));
}

#[test]
fn layers() {
    let says = [LinkSays::Digest, LinkSays::Absent, LinkSays::Unclear(Code::EmptyLink), LinkSays::Unclear(Code::DisagreeingLink)];
    let mut deleted = 0;
    for (says, inspected) in says.into_iter().flat_map(|says| INSPECTED.map(|inspected| (says, inspected))) {
        for [protected, reached, foreign, held] in combinations() {
            let facts = LayerFacts { says, protected, reached, foreign, inspected, held };
            let unclear = |code| (says == LinkSays::Unclear(code), Keep(KeepReason::Unclear(code)));
            let expected = first(&[
                (says == LinkSays::Absent, Keep(KeepReason::Absent)),
                unclear(Code::EmptyLink),
                unclear(Code::DisagreeingLink),
                is(inspected, Inspected::Not, KeepReason::NotInspected),
                is(inspected, Inspected::Absent, KeepReason::ConcurrentWriter),
                is(inspected, Inspected::Irregular, KeepReason::Unclear(Code::IrregularLink)),
                (protected, Keep(KeepReason::Protected)),
                is_young(inspected),
                (reached, Keep(KeepReason::Reached)),
                (foreign, Keep(KeepReason::Foreign)),
                (held, Keep(KeepReason::Held)),
                (true, Delete(Reason::Unreferenced)),
            ]);
            assert_eq!(layer(&facts), expected, "{facts:?}");
            deleted += u32::from(matches!(expected, Delete(_)));
        }
    }
    assert_eq!(deleted, 1);
}

#[test]
fn directories() {
    for (empty, held) in [None, Some(Age::Old), Some(Age::Young(LATER)), Some(Age::Future)]
        .into_iter()
        .flat_map(|empty| BOTH.map(|held| (empty, held)))
    {
        let young = empty.unwrap_or(Age::Old);
        let expected = first(&[
            (empty.is_none(), Keep(KeepReason::NotEmpty)),
            (young != Age::Old, Keep(KeepReason::Young(young))),
            (held, Keep(KeepReason::Held)),
            (true, Delete(Reason::EmptyDirectory)),
        ]);
        assert_eq!(directory(&DirectoryFacts { empty, held }), expected, "{empty:?} {held}");
    }
}

#[test]
fn blobs() {
    let mut deleted = 0;
    let all: Vec<MarkFlags> =
        MarkFlags::all().iter_names().map(|(_, flag)| flag).filter(|flag| *flag != MarkFlags::KEPT).collect();
    for bits in 0..1_u32 << all.len() {
        let chosen = all.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
        let flags = chosen.fold(MarkFlags::empty(), |flags, (_, flag)| flags | *flag);
        for (inspected, of_dropped_revision) in INSPECTED.into_iter().flat_map(|some| BOTH.map(|dropped| (some, dropped))) {
            let facts = BlobFacts { flags, of_dropped_revision, inspected };
            let has = |flag| flags.contains(flag);
            let expected = first(&[
                (has(MarkFlags::FOREIGN), Keep(KeepReason::Foreign)),
                (has(MarkFlags::LIVE), Keep(KeepReason::Reached)),
                (has(MarkFlags::YOUNG), Keep(KeepReason::ReachedByYoung)),
                (has(MarkFlags::RESTORABLE), Keep(KeepReason::Protected)),
                is(inspected, Inspected::Not, KeepReason::NotInspected),
                is(inspected, Inspected::Irregular, KeepReason::Irregular),
                (inspected == Inspected::Absent && has(MarkFlags::QUARANTINED), Keep(KeepReason::Quarantined)),
                is(inspected, Inspected::Absent, KeepReason::Absent),
                is_young(inspected),
                (of_dropped_revision, Delete(Reason::Untagged)),
                (has(MarkFlags::LINK_DROPPED), Delete(Reason::Unreferenced)),
                (true, Delete(Reason::Unlinked)),
            ]);
            assert_eq!(blob(&facts), expected, "{facts:?}");
            deleted += u32::from(matches!(expected, Delete(_)));
        }
    }
    assert_eq!(all.len(), 10);
    // Six of the flags keep nothing that is old and there.
    assert_eq!(deleted, 2 << 6);
}

/// All combinations of four things that hold or do not.
fn combinations() -> impl Iterator<Item = [bool; 4]> {
    (0..16).map(|bits| [0, 1, 2, 3].map(|place| bits & (1 << place) != 0))
}
