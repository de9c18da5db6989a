//! What the registry's own configuration says: its YAML file with the `REGISTRY_*` variables laid over it.
//!
//! The rules are the registry's, odd ones included, because the root that it resolves is the one that it serves. They are those
//! of distribution's `configuration/configuration.go` (what `storage` may be), `configuration/parser.go` (variables),
//! `registry/storage/driver/filesystem/driver.go` (the root) and `registry/handlers/app.go` (what the server makes of the rest);
//! `tests/suite/configuration.rs` compares with the program itself. Only what matters to a collection is read:
//!
//! | Key | Meaning |
//! | --- | --- |
//! | `version` | must be `0.1`, to the letter |
//! | `storage` | a driver's name, or a map with exactly one driver beside the reserved keys |
//! | `storage.filesystem.rootdirectory` | the root, `/var/lib/registry` if absent; the case of the key matters |
//! | `storage.maintenance.readonly.enabled` | whether the registry takes no pushes |
//! | `storage.cache.blobdescriptor`, or `layerinfo` | whether the registry remembers blobs |
//! | `proxy.remoteurl` | whether the registry is a pull-through cache |
//! | `auth.*.realm`, `validation.disabled` | whether the configuration is Harbor's |
//! | `database`, `openshift` and others, see `owners.rs` | whether another program's database says what is needed |
//! | `http.addr`, `http.net`, `http.tls`, `http.prefix` | where the registry can be asked whether it takes pushes |
//!
//! Where the registry takes something that nobody can have meant (a root of `null`, which it makes a directory `<nil>`), this refuses
//! it. Where its server does not start but its collector would, the setting counts as not made, with a warning.

mod cache;
mod environment;
mod owners;
mod problem;
mod variables;
mod yaml;

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use self::cache::CacheSign;
pub use self::environment::CONFIGURATION_PATH;
pub use self::owners::Owners;
pub use self::problem::{ConfigError, Problem};
pub use self::variables::Variables;
use crate::escape::escaped;
use yaml::{Map, Node};

/// Larger than any configuration by far.
const MAX_BYTES: u64 = 16 << 20;

/// Where the registry keeps its storage if it is not told.
const DEFAULT_ROOT: &str = "/var/lib/registry";
/// The key of the root.
const ROOT_KEY: &str = "storage.filesystem.rootdirectory";
/// Keys of `storage` that are no drivers. The last one is so since version 3 only.
const RESERVED: [&str; 5] = ["maintenance", "cache", "delete", "redirect", "tag"];

/// What the registry's configuration says that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The root directory, as the registry resolves it; a relative one starts where the registry was started.
    pub root: PathBuf,
    /// Whether the registry takes no pushes. False where that is in doubt.
    pub read_only: bool,
    /// The cache that remembers blobs: `inmemory` or `redis`. The registry does without one if it is told another name.
    pub descriptor_cache: Option<String>,
    /// The registry that this one is a pull-through cache of.
    pub proxy_remote: Option<String>,
    /// What speaks for other owners.
    pub owners: Owners,
    /// Where the registry listens.
    pub http: Listening,
    /// What the operator probably means otherwise; a sentence each, which names the key or the variable.
    pub warnings: Vec<String>,
}

/// Where a registry listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// `host:port`, or the path of a socket.
    pub address: Option<String>,
    /// What kind of address that is, `http.net`: `tcp` if it is not said.
    pub net: Option<String>,
    /// Whether it speaks TLS.
    pub has_tls: bool,
    /// What every path begins with.
    pub prefix: String,
}

/// Reads a configuration file and lays the environment over it: all of its variables, of which those count that begin with
/// `REGISTRY_`.
///
/// # Errors
///
/// When the file cannot be read, is no configuration, names another storage than the filesystem, or a variable that matters
/// cannot be understood. What is in other sections, such as `log`, is not looked at.
pub fn load(path: &Path, environment: &[(OsString, OsString)]) -> Result<RegistryConfig, ConfigError> {
    let read = || parse(&read_text(path).map_err(Problem::Unreadable)?, environment);
    read().map_err(|problem| ConfigError { path: path.to_owned(), problem })
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
    parse(text, environment).map_err(|problem| ConfigError { path: path.to_owned(), problem })
}

/// Reads the text of a configuration. Problems name the variables that have a part in them.
fn parse(text: &[u8], environment: &[(OsString, OsString)]) -> Result<RegistryConfig, Problem> {
    understand(text, environment).map_err(|mut problem| {
        match &mut problem {
            Problem::NotAMap { key, variables } if !key.is_empty() => *variables = environment::variables_of(key, environment),
            Problem::SeveralDrivers { drivers, variables } => {
                let keys = drivers.iter().map(|driver| format!("storage.{driver}"));
                *variables = keys.flat_map(|key| environment::variables_of(&key, environment)).collect();
            }
            _ => {}
        }
        problem
    })
}

fn understand(text: &[u8], environment: &[(OsString, OsString)]) -> Result<RegistryConfig, Problem> {
    let mut settings = match yaml::read(text).map_err(Problem::Syntax)? {
        Node::Map(settings) => settings,
        Node::Null => return Err(Problem::Version { found: None }),
        _ => return Err(Problem::NotAMap { key: String::new(), variables: Vec::new() }),
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
    let root = root(driver_parameters(&storage)?, &mut warnings)?;
    Ok(RegistryConfig {
        root,
        read_only: is_read_only(&storage, &mut warnings),
        descriptor_cache: descriptor_cache(&storage),
        proxy_remote: proxy_remote(&settings),
        owners: Owners::new(&settings, environment),
        http: listening(&settings),
        warnings,
    })
}

/// A storage section as a map, or null. A scalar is short for a driver without parameters.
fn storage_section(written: Node) -> Result<Node, Problem> {
    if let Some(driver) = written.scalar() {
        return Ok(Node::Map(Map::from([(driver, Node::Map(Map::new()))])));
    }
    match written {
        Node::Map(storage) => {
            if let Some((key, _)) = storage.iter().find(|(_, value)| !matches!(value, Node::Map(_) | Node::Null)) {
                return Err(Problem::NotAMap { key: format!("storage.{key}"), variables: Vec::new() });
            }
            match drivers(&storage) {
                several if several.len() > 1 => Err(Problem::SeveralDrivers { drivers: several, variables: Vec::new() }),
                _ => Ok(Node::Map(storage)),
            }
        }
        Node::Null => Ok(Node::Null),
        _ => Err(Problem::NotAMap { key: "storage".into(), variables: Vec::new() }),
    }
}

fn drivers(storage: &Map) -> Vec<String> {
    storage.keys().filter(|key| !RESERVED.contains(&key.as_str())).cloned().collect()
}

/// The parameters of the filesystem driver, if that is the one driver.
fn driver_parameters(storage: &Map) -> Result<Option<&Map>, Problem> {
    match drivers(storage).pop() {
        Some(driver) if driver == "filesystem" => Ok(storage["filesystem"].as_map()),
        Some(driver) if !driver.is_empty() => Err(Problem::OtherDriver { driver }),
        _ => Err(Problem::NoDriver),
    }
}

fn root(parameters: Option<&Map>, warnings: &mut Vec<String>) -> Result<PathBuf, Problem> {
    let root = match parameters.and_then(|parameters| parameters.get("rootdirectory")) {
        None => DEFAULT_ROOT,
        Some(Node::Text(text)) if !text.is_empty() && !is_ambiguous(text) => text,
        Some(other) => return Err(Problem::NotAPath { found: other.scalar() }),
    };
    let keys = parameters.into_iter().flat_map(Map::keys);
    for other in keys.filter(|key| *key != "rootdirectory" && means_the_root(key)) {
        warnings.push(format!(
            "storage.filesystem.{} is not read by the registry, which reads {ROOT_KEY}, in lower case and one word, and so uses {}",
            escaped(other),
            escaped(root)
        ));
    }
    Ok(clean(root))
}

/// Whether whoever wrote this key of the driver probably meant its root.
fn means_the_root(key: &str) -> bool {
    let key = key.to_lowercase();
    ["root", "dir", "path"].iter().any(|part| key.contains(part))
}

/// The shortest name of a path, as Go's `path.Clean` finds it: by its text alone, so that `x/link/../y` is `x/y` wherever `link` leads.
fn clean(path: &str) -> PathBuf {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    let cleaned = format!("{root}{}", parts.join("/"));
    PathBuf::from(if cleaned.is_empty() { "." } else { &cleaned })
}

/// Whether this may be no text to the registry when it is not quoted: yaml.v2 reads `yes` as `true`, `07` as 7, `2024-01-01` as a
/// time, and the registry then takes what Go prints for that.
fn is_ambiguous(text: &str) -> bool {
    let is_numeric = text.trim_start_matches(['+', '-', '.']).starts_with(|first: char| first.is_ascii_digit());
    !text.contains('/') && (is_numeric || Node::Text(text.to_owned()).as_bool().is_some())
}

/// Whether the server takes no pushes. With what it does not start with, it is not read-only.
fn is_read_only(storage: &Map, warnings: &mut Vec<String>) -> bool {
    let key = "storage.maintenance.readonly";
    let Some(read_only) = storage.get("maintenance").and_then(|maintenance| maintenance.get("readonly")) else { return false };
    let enabled = match read_only {
        Node::Map(map) => map.get("enabled").map_or(Some(false), Node::as_bool),
        _ => None,
    };
    if enabled.is_none() {
        warnings.push(format!(
            "{key} is not taken for read-only, because the registry does not start with it: write {key}.enabled: true in the file, \
             or set REGISTRY_STORAGE_MAINTENANCE_READONLY={{\"enabled\":true}}, as one variable"
        ));
    }
    enabled == Some(true)
}

fn descriptor_cache(storage: &Map) -> Option<String> {
    let cache = storage.get("cache")?.as_map()?;
    // The old key counts only where the new one is not even there.
    let name = cache.get("blobdescriptor").or_else(|| cache.get("layerinfo"))?.as_text()?;
    ["inmemory", "redis"].contains(&name).then(|| name.to_owned())
}

fn listening(settings: &Map) -> Listening {
    let Some(http) = settings.get("http") else { return Listening::default() };
    let given = |node: &Node| node.scalar().filter(|text| !text.is_empty());
    let tls = http.get("tls");
    Listening {
        address: http.get("addr").and_then(given),
        net: http.get("net").and_then(given),
        has_tls: tls.is_some_and(has_tls),
        prefix: http.get("prefix").and_then(given).unwrap_or_default(),
    }
}

/// Whether the server speaks TLS: with a certificate, or with a file for those that it is given.
fn has_tls(tls: &Node) -> bool {
    let is_given = |node: Option<&Node>| node.and_then(Node::scalar).is_some_and(|text| !text.is_empty());
    is_given(tls.get("certificate")) || is_given(tls.get("letsencrypt").and_then(|letsencrypt| letsencrypt.get("cachefile")))
}

fn proxy_remote(settings: &Map) -> Option<String> {
    settings.get("proxy")?.get("remoteurl")?.scalar().filter(|remote| !remote.is_empty())
}

#[cfg(test)]
mod tests;
