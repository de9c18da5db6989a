//! What commands found and did, as values that can be put into words. Nothing else formats.

pub mod audit;
pub mod collect;
mod contract;
pub(crate) mod document;
pub mod explain;
mod failure;
mod grid;
mod html;
mod json;
pub mod list;
pub mod metrics;
pub mod overview;
pub mod quarantine;
pub mod repair;
pub mod text;
pub mod unused;
pub mod usage;
pub mod verify;

pub use self::contract::Report;
pub use self::document::Document;
pub use self::failure::Failure;
pub use self::html::Page;
pub use self::metrics::Metrics;
