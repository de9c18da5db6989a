//! What everybody needs who follows links and manifests.

use super::Manifests;
use crate::inventory::Inventory;
use crate::policy::Policy;
use crate::retention::Retention;
use crate::store::Store;

/// What it takes to look at a repository, beside its survey.
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
    /// What is too young to be judged.
    pub policy: Policy,
}
