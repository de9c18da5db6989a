//! What takes the room of a store.

mod csv;
mod json;
mod page;
mod report;

pub use self::report::UsageReport;
