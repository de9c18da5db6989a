//! What goes, why, and in which order: values that are printed, counted and handed to the sweep.

mod approved;
pub(crate) mod decide;
mod deletion;
mod line;
pub mod read;
mod rows;
mod seen_rows;
mod sweep_plan;
mod totals;

pub use self::approved::{Approved, Carried};
pub(crate) use self::decide::{
    BlobFacts, Decision, DirectoryFacts, HistoryFacts, HistoryRevision, Inspected, LayerFacts, LinkSays, RevisionFacts, TagFacts,
};
pub use self::decide::{KeepReason, RootChoice};
pub use self::deletion::{Deletion, Kind, Reason};
pub use self::line::PlanLine;
pub use self::read::PlannedRow;
pub use self::rows::Deletions;
pub use self::sweep_plan::SweepPlan;
pub use self::totals::{RepositoryShare, Totals};
