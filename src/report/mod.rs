//! What commands found and did, as values that can be put into words. Nothing else formats.

pub mod audit;
pub mod collect;
mod contract;
pub(crate) mod document;
mod failure;
mod json;
pub mod metrics;
pub mod quarantine;
pub mod text;
pub mod unused;
pub mod verify;

pub use self::contract::Report;
pub use self::document::Document;
pub use self::failure::Failure;
pub use self::metrics::Metrics;
