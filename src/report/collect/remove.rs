//! What became of what was asked for by name.

use serde::Serialize;

use crate::config::{Disposal, Mode};
use crate::format::plural;
use crate::removal::{Asked, Removed};
use crate::report::document::Document;
use crate::store::LinkContent;

/// What is named in the report for people.
const SHOWN: usize = 20;

/// Of the repositories in another one that stay, so many are named.
const NESTED: usize = 3;

/// What becomes of a repository whose directories do not go.
const LISTED_ONLINE: &str =
    "all that is in it; the registry goes on to list it until a run without --online has removed its directories";
const LISTED: &str = "all that a registry put there; the rest is named below, and a registry may go on to list it";

/// What is said of a tag whose manifest goes later.
const WAITS: &str = "the tag goes; its manifest is needed by what is in quarantine: run this again once that is purged";
const GONE_AND_WAITS: &str =
    "is not there any more; its manifest is needed by what is in quarantine: run this again once that is purged";

/// What is said of a tag that names nothing, where the rest can be restored.
const NOT_RESTORED: &str = "the tag named nothing: what its history held can be restored, and no more";
const WOULD_NOT_BE_RESTORED: &str = "would go; it names nothing: what its history holds can be restored, and no more";

/// Whether a run removed a tag that names nothing, of which a restoration brings back nothing but history.
pub(super) fn has_broken_tags(removed: &Removed) -> bool {
    let tags = removed.removal.0.values().flat_map(|from| from.tags.values());
    tags.into_iter().any(|content| !matches!(content, LinkContent::Digest(_)))
}

/// Says what becomes of it.
pub(super) fn asked(page: &mut Document, removed: &Removed, mode: Mode, disposal: Disposal) {
    page.blank();
    page.line("asked for (all of it with --json)");
    let goes = match (mode, disposal) {
        (Mode::DryRun, _) => "would go",
        (Mode::Execute, Disposal::Remove) => "gone",
        (Mode::Execute, Disposal::Quarantine | Disposal::Online) => "in quarantine",
    };
    for one in removed.asked.iter().take(SHOWN) {
        let what = match one {
            Asked { is_gone: true, manifest_waits: true, .. } => GONE_AND_WAITS,
            Asked { is_gone: true, .. } => "is not there any more",
            Asked { is_removed: Some(false), .. } => "is still there",
            Asked { goes: true, is_removed: None, .. } if mode == Mode::Execute => "was to go",
            Asked { goes: true, directories_go: false, tag: None, digest: None, .. } if disposal == Disposal::Online => {
                LISTED_ONLINE
            }
            Asked { goes: true, directories_go: false, tag: None, digest: None, .. } => LISTED,
            Asked { goes: false, tag: Some(_), digest: None, .. } => {
                "names nothing any more; what is left of it stays until it is older"
            }
            Asked { goes: false, .. } => "stays",
            Asked { tag: Some(_), digest: None, .. } if disposal != Disposal::Remove => match mode {
                Mode::DryRun => WOULD_NOT_BE_RESTORED,
                Mode::Execute => NOT_RESTORED,
            },
            Asked { tag: None, .. } | Asked { digest: None, .. } | Asked { manifest_goes: true, .. } => goes,
            Asked { manifest_waits: true, .. } => WAITS,
            _ => "the tag goes; its manifest is needed otherwise, or not stored",
        };
        page.line(&format!("  {}: {what}", one.name()));
        if one.goes && !one.nested.is_empty() {
            let names: Vec<String> = one.nested.iter().take(NESTED).map(ToString::to_string).collect();
            let more = if one.nested.len() > NESTED { ", ..." } else { "" };
            let stay = plural(one.nested.len() as u64, "repository in it stays", "repositories in it stay");
            page.line(&format!("    {stay}: {}{more}", names.join(", ")));
        }
    }
    let more = removed.asked.len().saturating_sub(SHOWN);
    if more > 0 {
        page.line(&format!("  and {more} more"));
    }
}

#[derive(Serialize)]
pub(super) struct Item {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    /// Whether it goes, or went, in this run.
    goes: bool,
    /// Whether its manifest goes.
    manifest_goes: bool,
    /// Whether a manifest that goes with it stays until what is in quarantine is purged.
    manifest_waits: bool,
    /// Of a repository, whether its directories go.
    directories_go: bool,
    /// Repositories in its directory, which stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nested: Vec<String>,
    /// After a run that was to remove it, whether it is not there any more; nothing where that was not seen.
    removed: Option<bool>,
    /// Whether an earlier run has removed it.
    already_gone: bool,
}

pub(super) fn items(removed: &Removed) -> Vec<Item> {
    let item = |one: &Asked| Item {
        repository: one.repository.to_string(),
        tag: one.tag.as_ref().map(ToString::to_string),
        digest: one.digest.as_ref().map(ToString::to_string),
        goes: one.goes,
        manifest_goes: one.manifest_goes,
        manifest_waits: one.manifest_waits,
        directories_go: one.directories_go,
        nested: one.nested.iter().map(ToString::to_string).collect(),
        removed: one.is_removed,
        already_gone: one.is_gone,
    };
    removed.asked.iter().map(item).collect()
}
