//! An account, an audit and a dry run of one store, as one report.

mod html;
mod json;
mod page;
mod report;

pub use self::report::OverviewReport;
