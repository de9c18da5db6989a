//! Settings of `remove`, beside those of a collection: what goes.

use super::collect::CollectSettings;
use crate::cli;
use crate::error::Error;
use crate::oci::Reference;
use crate::policy::RootPolicy;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct RemoveSettings {
    /// Tags and manifests.
    pub references: Vec<Reference>,
    /// Whether blobs are left to a later collection.
    pub leaves_blobs: bool,
}

impl CollectSettings {
    /// Resolves the arguments of `remove`. `rerun` is the command line that does the same without `--dry-run`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, or what it names is not there.
    pub fn resolve_remove(arguments: cli::Remove, rerun: String) -> Result<CollectSettings, Error> {
        let cli::Remove { several: cli::SeveralArguments { store, references }, no_collect, collect } = arguments;
        let settings = CollectSettings::of_command("remove", &store, collect, RootPolicy::AllRevisions, rerun)?;
        Ok(CollectSettings { remove: Some(RemoveSettings { references, leaves_blobs: no_collect }), ..settings })
    }

    /// Whether blobs stay that nothing needs.
    pub fn leaves_blobs(&self) -> bool {
        self.remove.as_ref().is_some_and(|remove| remove.leaves_blobs)
    }

    /// Whether it drops tags: then it drops what they keep.
    pub fn drops_tags(&self) -> bool {
        self.expire.is_some() || self.remove.is_some()
    }
}
