//! What the registry stores, as values: digests, names, and what a manifest's bytes refer to.
//!
//! Everything here is pure: bytes in, values out, no input or output.

pub mod digest;
pub mod manifest;
pub mod name;
pub mod reference;

pub use digest::{Algorithm, Digest};
pub use manifest::{Descriptor, DescriptorKind, References};
pub use name::{RepositoryName, TagName};
pub use reference::Reference;
