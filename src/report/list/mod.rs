//! What is in a store.

mod json;
mod page;
mod report;

pub use self::report::{ListReport, Listed};
