//! What everybody needs who follows links and manifests.

use super::{Manifests, Reading};
use crate::error::Error;
use crate::inventory::Inventory;
use crate::oci::Digest;
use crate::policy::Policy;
use crate::store::Store;
use crate::survey::Survey;

/// What it takes to look at a repository, beside its survey.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where links and manifests are read.
    pub store: &'a dyn Store,
    /// Where blobs are marked.
    pub inventory: &'a Inventory,
    /// The manifests read so far.
    pub manifests: &'a Manifests<'a>,
    /// What to keep.
    pub policy: Policy,
}

impl Context<'_> {
    /// Reads a manifest as a revision, if the repository has one of that name.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read from the disk.
    pub(crate) fn revision(&self, survey: &Survey, digest: &Digest) -> Result<Option<Reading>, Error> {
        survey.revision(digest).map(|_| self.manifests.read_revision(digest)).transpose()
    }
}
