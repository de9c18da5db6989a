//! The way back out of the quarantine.

use super::{Moved, Purpose, Quarantine, Run};
use crate::layout::{LinkDirectory, Target};
use crate::store::{Held, Return, Vacuum};

/// What happens to something whose place in the store is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It goes if it is a copy of what is there.
    Drop,
    /// It may be something else: it stays in quarantine.
    Keep,
}

/// Restores what `chosen` names: contents before names, so that no link is ever there before what it names. Calls `restored` with what is
/// back. What could not be moved is in the answer; no link is restored if a blob could not be. What `verify` took for corrupt comes last: of
/// several copies those of collections are whole.
pub fn restore(
    store: &dyn Vacuum,
    quarantine: &Quarantine<'_>,
    replaced: Replaced,
    chosen: &dyn Fn(&Run<'_>, &Target) -> bool,
    restored: &mut dyn FnMut(&Target),
) -> Moved {
    let mut moved = Moved::default();
    let (whole, corrupt): (Vec<&Run<'_>>, Vec<&Run<'_>>) =
        quarantine.runs.iter().partition(|run| run.stamp().purpose.is_of_collection());
    let mut last = None;
    // Of all runs: what a tag names may be in another one.
    for turn in [Turn::Blobs, Turn::Layers, Turn::Revisions, Turn::Names] {
        for run in whole.iter().chain(&corrupt) {
            // The other way round than they went.
            let held = run.held().iter().rev().filter(|held| Turn::of(&held.target) == turn);
            for held in held.filter(|held| chosen(run, &held.target)) {
                if one(run, held, replaced, &mut moved) {
                    restored(&held.target);
                    last = Some(&held.target);
                }
            }
        }
        // On the disk before what names it, and before anything else goes.
        if matches!(turn, Turn::Blobs | Turn::Names)
            && let Some(target) = last.take()
            && let Err(error) = store.barrier()
        {
            moved.failed.push((target.clone(), error.to_string()));
        }
        if turn == Turn::Blobs && !moved.failed.is_empty() {
            break;
        }
    }
    moved
}

/// What comes back together: contents before names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Blobs,
    Layers,
    Revisions,
    /// Tags, their history, and all else.
    Names,
}

impl Turn {
    fn of(target: &Target) -> Turn {
        match target {
            Target::Blob(_) => Turn::Blobs,
            Target::Link(LinkDirectory::Layers(_), _) => Turn::Layers,
            Target::Link(LinkDirectory::Revisions(_), _) => Turn::Revisions,
            _ => Turn::Names,
        }
    }
}

/// Says whether it is back.
fn one(run: &Run<'_>, held: &Held, replaced: Replaced, moved: &mut Moved) -> bool {
    let mut fail = |error: crate::error::Error| moved.failed.push((held.target.clone(), error.to_string()));
    match run.restore(&held.target) {
        Ok(Return::Back) => {
            moved.add(held);
            if let (Purpose::Expire, Target::Tag(repository, tag, _)) = (run.stamp().purpose, &held.target) {
                moved.tags_of_rules.push((repository.clone(), tag.clone()));
            }
            return true;
        }
        Ok(Return::Replaced) => {
            if replaced == Replaced::Drop
                && let Err(error) = run.drop_copy(&held.target)
            {
                fail(error);
            }
            moved.replaced += 1;
        }
        Ok(Return::Absent) => {}
        Err(error) => fail(error),
    }
    false
}
