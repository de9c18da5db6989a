//! What a collection found and did.

mod figures;
pub(super) mod html;
pub mod json;
pub(super) mod page;
mod report;

pub use self::figures::{Figures, QuarantineFigures, RescueEnd};
pub use self::report::{CollectReport, Outcome};
