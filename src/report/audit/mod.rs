//! What an audit found.

mod json;
mod page;
mod report;

pub use self::report::{AuditReport, Collection, Figures};
