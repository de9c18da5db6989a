//! A store that nothing else should be at work on, watched from before it is read until right before its first change.

use crate::error::Error;
use crate::oci::RepositoryName;
use crate::quarantine::Reader;
use crate::writers::Changes;

/// What others write to a store meanwhile: whether or not a registry could be asked, and whatever the operator knows of it.
pub(super) struct Watched<'a>(Option<Changes<'a>>);

impl<'a> Watched<'a> {
    /// Begins to notice changes, where the store lies on this machine.
    pub(super) fn begin(reader: &Reader<'a>) -> Watched<'a> {
        let watch = |root| {
            // What cannot be listed is for those who read the store to say.
            let repositories = reader.store().repositories().map(|listed| listed.entries).unwrap_or_default();
            let names: Vec<RepositoryName> = repositories.into_iter().map(|entry| entry.name).collect();
            Changes::watch(root, &names, reader.stop)
        };
        Watched(reader.backend.root().map(watch))
    }

    /// Notices nothing, beside a registry at work.
    pub(super) fn nothing() -> Watched<'a> {
        Watched(None)
    }

    /// Makes sure that nothing has changed.
    ///
    /// # Errors
    ///
    /// When something has.
    pub(super) fn ensure_unchanged(self, offers_online: bool) -> Result<(), Error> {
        self.0.map_or(Ok(()), |changes| changes.ensure_none(offers_online))
    }
}
