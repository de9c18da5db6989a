//! What an audit found.

pub(super) mod html;
mod json;
pub(super) mod page;
mod report;

pub use self::report::{AuditReport, Collection, Figures};
