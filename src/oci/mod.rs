//! Values that the registry stores: digests, names, and the references of a manifest.
//!
//! Everything here is pure: bytes in, values out, no I/O.

pub mod digest;
pub mod manifest;
pub mod name;
pub mod reference;

pub use digest::{Algorithm, Digest};
pub use manifest::{Descriptor, DescriptorKind, References};
pub use name::{RepositoryName, TagName};
pub use reference::Reference;
