//! The values that every pass over links and manifests needs.

use super::Manifests;
use crate::inventory::Inventory;
use crate::policy::Policy;
use crate::retention::Retention;
use crate::store::Store;

/// The values needed to inspect a repository, beside its survey.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where links and manifests are read.
    pub store: &'a dyn Store,
    /// Where blobs are marked.
    pub inventory: &'a Inventory,
    /// The manifests read so far.
    pub manifests: &'a Manifests<'a>,
    /// Which tags and revisions are roots.
    pub retention: &'a dyn Retention,
    /// The minimum age rules.
    pub policy: Policy,
}
