//! What became of what was asked for by name.

use serde::Serialize;

use crate::config::Mode;
use crate::removal::{Asked, Removed};
use crate::report::document::Document;

/// What is named in the report for people.
const SHOWN: usize = 20;

/// Says what becomes of it.
pub(super) fn asked(page: &mut Document, removed: &Removed, mode: Mode) {
    page.blank();
    page.line("asked for (all of it with --json)");
    let goes = if mode == Mode::DryRun { "would go" } else { "planned to go" };
    for one in removed.asked.iter().take(SHOWN) {
        let what = match one {
            Asked { is_gone: true, .. } => "is not there any more",
            Asked { goes: false, tag: Some(_), digest: None, .. } => {
                "names nothing any more; what is left of it stays until it is older"
            }
            Asked { goes: false, .. } => "stays",
            Asked { tag: None, .. } | Asked { digest: None, .. } | Asked { manifest_goes: true, .. } => goes,
            _ => "the tag goes; its manifest is needed otherwise, or not stored",
        };
        page.line(&format!("  {}: {what}", one.name()));
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
        already_gone: one.is_gone,
    };
    removed.asked.iter().map(item).collect()
}
