//! Which part of a store a collection was about.

use serde::Serialize;

use super::CollectReport;
use crate::escape::escaped;
use crate::format::{number, plural};
use crate::report::document::Document;

/// What came of a plan that was given, for programs.
#[derive(Serialize)]
pub(super) struct Plan {
    rows: u64,
    skipped: u64,
    /// The paths of the first of these.
    first_skipped: Vec<String>,
}

impl Plan {
    pub(super) fn of(report: &CollectReport) -> Option<Plan> {
        let carried = report.carried.as_ref()?;
        let first_skipped = carried.first_skipped.iter().map(escaped).collect();
        Some(Plan { rows: carried.rows, skipped: carried.skipped, first_skipped })
    }
}

/// Adds what the run was limited to.
pub(super) fn items(page: &mut Document, report: &CollectReport) {
    let patterns = report.scope.patterns();
    if !patterns.is_empty() {
        page.item("only in", &format!("repositories {}, and nothing that others need", escaped(patterns.join(", "))));
    }
    let Some(carried) = &report.carried else { return };
    let all = carried.rows + carried.skipped;
    page.item("plan", &format!("{} of {} of --plan", number(carried.rows), plural(all, "row", "rows")));
    if carried.skipped > 0 {
        page.item(
            "",
            &format!(
                "{} skipped: gone, changed, needed or too young by now, or part of an upload that is not in it whole, such as",
                number(carried.skipped)
            ),
        );
    }
    carried.first_skipped.iter().for_each(|path| page.item("", &escaped(path)));
}
