//! What a verification found.

mod json;
mod page;
mod report;

pub use self::report::{Extent, VerifyReport};
