//! What a collection found and did.

mod expire;
mod figures;
pub(super) mod html;
pub mod json;
pub(super) mod page;
mod part;
mod remove;
mod report;
pub(super) mod rows;
mod uploads;
mod versions;

pub use self::expire::ExpireFigures;
pub use self::figures::{Figures, QuarantineFigures, RedisUnasked, RescueEnd};
pub use self::report::{CollectReport, Outcome};
