//! From a file and the environment to what matters of them.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::descriptors::DescriptorCache;
use super::owners::Owners;
use super::problem::{ConfigError, Problem};
use super::redis::RedisServer;
use super::server::{Listening, listening, proxy_remote};
use super::storage::{Driver, driver, is_read_only, root, storage_section};
use super::yaml::{self, Node};
use super::{environment, problem, s3};
use crate::store::BucketSettings;

/// Larger than any configuration by far.
const MAX_BYTES: u64 = 16 << 20;

/// What the registry's configuration says that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The root directory, as the registry resolves it; a relative one starts where the registry was started. For a bucket its address.
    pub root: PathBuf,
    /// The bucket that it is in, if it is in one.
    pub bucket: Option<BucketSettings>,
    /// Whether the registry takes no pushes. False where that is in doubt.
    pub read_only: bool,
    /// The cache that remembers blobs: `inmemory` or `redis`. The registry does without one if it is told another name.
    pub descriptor_cache: Option<DescriptorCache>,
    /// The server of that cache, if it is a redis.
    pub redis: Option<RedisServer>,
    /// The registry that this one is a pull-through cache of.
    pub proxy_remote: Option<String>,
    /// What speaks for other owners.
    pub owners: Owners,
    /// Where the registry listens.
    pub http: Listening,
    /// What the operator probably means otherwise; a sentence each, which names the key or the variable.
    pub warnings: Vec<String>,
}

/// Reads a configuration file and lays the environment over it: all of its variables, of which those count that begin with
/// `REGISTRY_`.
///
/// # Errors
///
/// When the file cannot be read, is no configuration, names another storage than the filesystem or a bucket of S3, or a variable that matters
/// cannot be understood. What is in other sections, such as `log`, is not looked at.
pub fn load(path: &Path, environment: &[(OsString, OsString)]) -> Result<RegistryConfig, ConfigError> {
    let text = read_text(path).map_err(|error| ConfigError::new(path, Problem::Unreadable(error), &[]))?;
    load_text(path, &text, environment)
}

/// Reads a file, or what a pipe brings, and no more of it than any configuration has.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES { Err(io::Error::other("it is too large for a configuration")) } else { Ok(text) }
}

/// The same with the text of the file.
///
/// # Errors
///
/// As for [`load`].
pub fn load_text(path: &Path, text: &[u8], environment: &[(OsString, OsString)]) -> Result<RegistryConfig, ConfigError> {
    parse(text, environment).map_err(|problem| ConfigError::new(path, problem, environment))
}

/// Reads the text of a configuration.
pub(super) fn parse(text: &[u8], environment: &[(OsString, OsString)]) -> Result<RegistryConfig, Problem> {
    let mut settings = match yaml::read(text).map_err(Problem::Syntax)? {
        Node::Map(settings) => settings,
        Node::Null => return Err(Problem::Version { found: None }),
        _ => return Err(Problem::NotAMap { key: String::new() }),
    };
    match settings.get("version").and_then(Node::scalar) {
        Some(version) if version == "0.1" => {}
        found => return Err(problem::foreign_file(&settings).unwrap_or(Problem::Version { found })),
    }
    // Two drivers in the file are refused even if a variable replaces the section.
    if let Some(written) = settings.remove("storage") {
        settings.insert("storage".into(), storage_section(written)?);
    }
    let mut warnings = Vec::new();
    environment::apply(&mut settings, environment, &mut warnings)?;

    let storage = match storage_section(settings.get("storage").cloned().unwrap_or(Node::Null))? {
        Node::Map(storage) => storage,
        _ => return Err(Problem::NoDriver),
    };
    let (root, bucket) = match driver(&storage)? {
        Driver::Filesystem(parameters) => (root(parameters, &mut warnings)?, None),
        Driver::S3(name, parameters) => {
            let bucket = s3::bucket(name, parameters, environment, &mut warnings)?;
            (bucket.place(), Some(bucket))
        }
    };
    let descriptor_cache = DescriptorCache::of(&storage);
    Ok(RegistryConfig {
        root,
        bucket,
        read_only: is_read_only(&storage, &mut warnings),
        redis: (descriptor_cache == Some(DescriptorCache::Redis)).then(|| RedisServer::of(&settings)),
        descriptor_cache,
        proxy_remote: proxy_remote(&settings),
        owners: Owners::new(&settings, environment),
        http: listening(&settings, environment),
        warnings,
    })
}
