//! Which store is meant: from a configuration file or a directory to the root directory.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::bucket;
use super::environment::{cache_directory, environment};
use crate::cli::{CacheArguments, StoreArguments};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout;
use crate::registry_config::{
    self, Blame, CONFIGURATION_PATH, CacheSign, DescriptorCache, Listening, Owners, RedisServer, RegistryConfig, Variables,
};
use crate::replacement::ensure_outside_storage;
use crate::store::{BucketSettings, Root};

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Place {
    /// The registry's root directory, or what is mounted of it.
    Directory(Root),
    /// A bucket.
    Bucket(BucketSettings),
}

impl Place {
    /// The directory, if it is one.
    pub fn directory(&self) -> Option<&Root> {
        match self {
            Place::Directory(root) => Some(root),
            Place::Bucket(_) => None,
        }
    }

    /// Where it is, for people.
    pub fn path(&self) -> PathBuf {
        match self {
            Place::Directory(root) => root.path().to_owned(),
            Place::Bucket(bucket) => bucket.place(),
        }
    }
}

/// A store, and what its registry's configuration says.
#[derive(Clone, Debug)]
pub struct Location {
    /// Where it is.
    pub place: Place,
    /// The configuration file that names it, if it was not given itself.
    pub config_path: Option<PathBuf>,
    /// What the configuration says beside.
    pub registry: Option<RegistryConfig>,
    /// What the environment says where there is no configuration.
    variables: Variables,
    /// The directory in which manifests are kept from run to run, if they are.
    pub cache: Option<PathBuf>,
}

impl Location {
    /// What speaks for another owner than the link files.
    pub fn owners(&self) -> &Owners {
        self.registry.as_ref().map_or(&self.variables.owners, |registry| &registry.owners)
    }

    /// Whether the registry is a pull-through cache.
    pub fn is_proxy(&self) -> bool {
        self.cache_sign().is_some()
    }

    /// What says that it is one.
    pub fn cache_sign(&self) -> Option<CacheSign> {
        CacheSign::find(self.registry.as_ref(), &self.variables, self.place.directory())
    }

    /// Where the registry listens, as far as that is said.
    pub fn http(&self) -> &Listening {
        self.registry.as_ref().map_or(&self.variables.http, |registry| &registry.http)
    }

    /// The cache in which the registry remembers blobs.
    pub fn descriptor_cache(&self) -> Option<DescriptorCache> {
        self.registry.as_ref().map_or(self.variables.descriptor_cache, |registry| registry.descriptor_cache)
    }

    /// The same as the configuration says by now, and its server if it is a redis; not known where it cannot be read any more.
    pub fn descriptor_cache_now(&self) -> (Option<DescriptorCache>, Option<RedisServer>) {
        match &self.config_path {
            Some(path) => match registry_config::load(path, &environment()) {
                Ok(registry) => (registry.descriptor_cache, registry.redis),
                Err(_) => (Some(DescriptorCache::Unknown), None),
            },
            None => (self.descriptor_cache(), self.redis().cloned()),
        }
    }

    /// The server of that cache, if it is a redis.
    pub fn redis(&self) -> Option<&RedisServer> {
        self.registry.as_ref().map_or(&self.variables.redis, |registry| &registry.redis).as_ref()
    }

    /// Finds the store that the arguments name.
    pub(super) fn resolve(arguments: &StoreArguments, environment: &[(OsString, OsString)]) -> Result<Location, Error> {
        if let Some(root) = &arguments.root {
            let variables = Variables::read(environment);
            let place = match bucket::of_address(root, arguments.endpoint.as_deref(), environment)? {
                Some(bucket) => Place::Bucket(bucket),
                None => Place::Directory(find_root(root)?),
            };
            return Ok(Location { place, config_path: None, registry: None, variables, cache: None });
        }
        let path = config_path(arguments.config.as_deref(), environment)?;
        let registry = registry_config::load(&path, environment).map_err(|error| {
            let by_variable = arguments.config.is_none();
            let which = if by_variable { format!("; {CONFIGURATION_PATH} names this file") } else { String::new() };
            Error::Usage(format!("{error}{which}"))
        })?;
        let place = match &registry.bucket {
            Some(bucket) => Place::Bucket(bucket.clone()),
            None => Place::Directory(existing_root(&registry, &path, environment)?),
        };
        let variables = Variables::default();
        Ok(Location { place, config_path: Some(path), registry: Some(registry), variables, cache: None })
    }

    /// The same with manifests kept from run to run: where the arguments say, or for a bucket where the environment says.
    ///
    /// # Errors
    ///
    /// When that is in a registry's storage.
    pub(super) fn with_cache(self, arguments: CacheArguments, environment: &[(OsString, OsString)]) -> Result<Location, Error> {
        if let Some(directory) = &arguments.cache {
            let directory = std::path::absolute(directory).context("open", directory)?;
            ensure_outside(&directory)?;
        }
        let default = || {
            let directory = cache_directory(environment).filter(|_| self.place.directory().is_none())?;
            let outside = ensure_outside(&directory);
            outside.inspect_err(|error| tracing::warn!("manifests are not kept for the next run: {error}")).ok()?;
            Some(directory)
        };
        let cache = if arguments.no_cache { None } else { arguments.cache.or_else(default) };
        Ok(Location { cache, ..self })
    }
}

/// Makes sure that a directory for what is kept is not in a registry's storage, and would not be once it is made.
fn ensure_outside(cache: &Path) -> Result<(), Error> {
    let Some(there) = cache.ancestors().find(|ancestor| ancestor.exists()) else { return Ok(()) };
    let is_up = |part: std::path::Component<'_>| part == std::path::Component::ParentDir;
    if cache.strip_prefix(there).is_ok_and(|missing| missing.components().any(is_up)) {
        return Err(Error::Usage(format!(
            "--cache {}: `..` of a directory that is not there; give a path without it",
            escaped(cache)
        )));
    }
    ensure_outside_storage("--cache", &there.join("manifests"))
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
fn existing_root(registry: &RegistryConfig, config: &Path, environment: &[(OsString, OsString)]) -> Result<Root, Error> {
    let root = &registry.root;
    let blame = Blame::for_root(environment);
    let source = match &*blame.names() {
        [] => format!("storage.filesystem.rootdirectory in {} comes to", escaped(config)),
        names => format!("{} comes to, whatever {} says", escaped(names.join(", ")), escaped(config)),
    };
    let metadata = std::fs::metadata(root).map_err(|error| {
        let way_out = if error.kind() == io::ErrorKind::PermissionDenied {
            "run as root, or as the user that the registry runs as"
        } else {
            "run where the registry's volume is mounted; if it is mounted elsewhere here, set REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY to \
             that directory, or, without --online, give --root DIR"
        };
        // A key that was meant for the root is mostly why it is not there.
        let why: String = registry.warnings.iter().map(|warning| format!("; {warning}")).collect();
        Error::Usage(format!("cannot open the root directory {}, which {source}: {error}; {way_out}{why}", escaped(root)))
    })?;
    if !metadata.is_dir() {
        let hint = format!("it is not a directory, and is what {source}");
        return Err(Error::NotAStore { root: root.clone(), hint });
    }
    let root = Root::whole(root);
    ensure_readable(&root)?;
    Ok(root)
}

/// The root directory that somebody meant who named it, a directory on the way down from it, or the content of one of these.
fn find_root(given: &Path) -> Result<Root, Error> {
    let path = std::path::absolute(given).context("open the root directory", given)?;
    let metadata = std::fs::metadata(&path).context("open the root directory", given)?;
    if !metadata.is_dir() {
        return Err(Error::NotAStore { root: path, hint: "it is not a directory; give the registry's root directory".into() });
    }
    ensure_readable(&Root::whole(&path))?;
    if path.join(layout::V2).is_dir() {
        return Ok(Root::whole(&path));
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
                return Ok(Root::whole(root));
            }
        }
    }
    if let Some(root) = Root::with_content(&path) {
        tracing::warn!(
            "{} is taken for what the registry has at {}: what lies beside that there, such as the signs of GitLab's database or of a \
             pull-through cache, is not seen",
            escaped(&path),
            root.stands_for().unwrap_or("its root")
        );
        return Ok(root);
    }
    if Root::whole(&path).is_unused()? {
        return Ok(Root::whole(&path));
    }
    let below = std::fs::read_dir(&path)
        .context("list", &path)?
        .flatten()
        .map(|entry| entry.path())
        .find(|directory| directory.join(layout::V2).is_dir());
    let hint = match below {
        Some(directory) => format!("but there is in {}: give --root {}", escaped(&directory), escaped(&directory)),
        None => format!("there is no {} in it; give the directory that holds it", layout::V2),
    };
    Err(Error::NotAStore { root: path, hint })
}

/// Makes sure that what cannot be read is not taken for what is not there.
///
/// # Errors
///
/// When a directory on the way down to the blobs may not be entered.
fn ensure_readable(root: &Root) -> Result<(), Error> {
    for place in ["docker", "docker/registry", layout::V2, layout::BLOBS] {
        let directory = root.at(place);
        match directory.metadata() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => break,
            Err(error) => return Err(error).context("open", directory),
            Ok(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_root_from_any_directory_on_the_way_down() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("data");
        std::fs::create_dir_all(root.join(layout::BLOBS)).expect("made");
        for inside in ["", "docker", "docker/registry", layout::V2, layout::BLOBS] {
            assert_eq!(find_root(&root.join(inside)).expect("a store"), Root::whole(&root), "{inside}");
        }
        let hint = find_root(dir.path()).expect_err("one too far up").to_string();
        assert!(hint.contains(&format!("give --root {}", root.display())), "{hint}");
        let other = dir.path().join("other");
        std::fs::create_dir_all(&other).expect("made");
        assert!(find_root(&other).expect("a new one").is_unused().expect("listed"));
        std::fs::create_dir_all(other.join("something")).expect("made");
        find_root(&other).expect_err("no store");
    }
}
