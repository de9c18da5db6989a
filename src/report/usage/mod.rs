//! What takes the room of a store.

mod csv;
pub(super) mod html;
mod json;
pub(super) mod page;
mod report;

pub use self::report::UsageReport;
