//! Which store is meant: from a configuration file or a folder to the root directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cli::StoreArguments;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout;
use crate::registry_config::{self, CONFIGURATION_PATH, Owners, RegistryConfig};

/// A store, and what its registry's configuration says.
#[derive(Clone, Debug)]
pub struct Location {
    /// The registry's root directory.
    pub root: PathBuf,
    /// The configuration file that names it, if it was not given itself.
    pub config_path: Option<PathBuf>,
    /// What the configuration says beside.
    pub registry: Option<RegistryConfig>,
    /// What the environment says of other owners where there is no configuration.
    owners: Owners,
}

impl Location {
    /// What speaks for another owner than the link files.
    pub fn owners(&self) -> &Owners {
        self.registry.as_ref().map_or(&self.owners, |registry| &registry.owners)
    }

    /// Whether the registry is a pull-through cache.
    pub fn is_proxy(&self) -> bool {
        let configured = self.registry.as_ref().is_some_and(|registry| registry.proxy_remote.is_some());
        configured || self.root.join(layout::PROXY_STATE).symlink_metadata().is_ok()
    }

    /// Finds the store that the arguments name.
    pub(super) fn resolve(arguments: &StoreArguments, environment: &[(OsString, OsString)]) -> Result<Location, Error> {
        if let Some(root) = &arguments.root {
            let owners = Owners::of_environment(environment);
            return Ok(Location { root: find_root(root)?, config_path: None, registry: None, owners });
        }
        let path = config_path(arguments.config.as_deref(), environment)?;
        let registry = registry_config::load(&path, environment).map_err(|error| Error::Usage(error.to_string()))?;
        let root = existing_root(&registry.root, &path)?;
        Ok(Location { root, config_path: Some(path), registry: Some(registry), owners: Owners::default() })
    }
}

fn config_path(given: Option<&Path>, environment: &[(OsString, OsString)]) -> Result<PathBuf, Error> {
    let variable = || {
        environment
            .iter()
            .find(|(name, value)| name == CONFIGURATION_PATH && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    given.map(Path::to_owned).or_else(variable).ok_or_else(|| {
        let message = format!("no store named: give the registry's config.yml, set {CONFIGURATION_PATH}, or give --root DIR");
        Error::Usage(message)
    })
}

/// The root that a configuration names.
fn existing_root(root: &Path, config: &Path) -> Result<PathBuf, Error> {
    let metadata = std::fs::metadata(root).map_err(|error| {
        Error::Usage(format!(
            "cannot open the root directory {}, which storage.filesystem.rootdirectory in {} and the environment come to: {error}; \
             run where the registry's volume is mounted, or give --root DIR",
            escaped(root),
            escaped(config)
        ))
    })?;
    match metadata.is_dir() {
        true => Ok(root.to_owned()),
        false => Err(Error::NotAStore { root: root.to_owned(), hint: "it is not a folder".into() }),
    }
}

/// The root directory that somebody meant who named it, or a folder on the way down from it.
fn find_root(given: &Path) -> Result<PathBuf, Error> {
    let path = std::path::absolute(given).context("open the root directory", given)?;
    let metadata = std::fs::metadata(&path).context("open the root directory", given)?;
    if !metadata.is_dir() {
        return Err(Error::NotAStore { root: path, hint: "it is not a folder; give the registry's root directory".into() });
    }
    if path.join(layout::V2).is_dir() {
        return Ok(path);
    }
    // As it was given first, then as it really is: `..` and links in it hide where it lies.
    let real = std::fs::canonicalize(&path).context("open the root directory", given)?;
    for path in [&path, &real] {
        for inside in [layout::BLOBS, layout::REPOSITORIES, layout::V2, "docker/registry", "docker"] {
            let depth = Path::new(inside).components().count();
            if let Some(root) = path.ancestors().nth(depth)
                && path.ends_with(inside)
                && root.join(layout::V2).is_dir()
            {
                return Ok(root.to_owned());
            }
        }
    }
    let below = std::fs::read_dir(&path)
        .context("list", &path)?
        .flatten()
        .map(|entry| entry.path())
        .find(|folder| folder.join(layout::V2).is_dir());
    let hint = match below {
        Some(folder) => format!("but there is in {}: give --root {}", escaped(&folder), escaped(&folder)),
        None => format!("there is no {} in it; give the folder that holds it", layout::V2),
    };
    Err(Error::NotAStore { root: path, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_root_from_any_folder_on_the_way_down() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("data");
        std::fs::create_dir_all(root.join(layout::BLOBS)).expect("made");
        for inside in ["", "docker", "docker/registry", layout::V2, layout::BLOBS] {
            assert_eq!(find_root(&root.join(inside)).expect("a store"), root, "{inside}");
        }
        let hint = find_root(dir.path()).expect_err("one too far up").to_string();
        assert!(hint.contains(&format!("give --root {}", root.display())), "{hint}");
        std::fs::create_dir_all(dir.path().join("other")).expect("made");
        assert!(find_root(&dir.path().join("other")).is_err());
    }
}
