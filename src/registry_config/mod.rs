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
//! Where the registry takes something that nobody can have meant (a root of `null`, which it makes a folder `<nil>`), this refuses
//! it. Where its server does not start but its collector would, the setting counts as not made, with a warning.

mod environment;
mod owners;
mod yaml;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use self::environment::CONFIGURATION_PATH;
pub use self::owners::Owners;
use crate::escape::escaped;
use yaml::{Map, Node};

/// Where the registry keeps its storage if it is not told.
const DEFAULT_ROOT: &str = "/var/lib/registry";
/// The key of the root.
const ROOT_KEY: &str = "storage.filesystem.rootdirectory";
/// Keys of `storage` that are no drivers. The last one is so since version 3 only.
const RESERVED: [&str; 5] = ["maintenance", "cache", "delete", "redirect", "tag"];
/// The realm in the configuration that Harbor gives its registry.
const HARBOR_REALM: &str = "harbor-registry-basic-realm";

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
    /// Whether the configuration is one that Harbor writes: its realm, or no validation and `layerinfo: redis`.
    pub harbor: bool,
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

/// Why a configuration does not say where the storage is.
#[derive(Debug)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is the matter with it, or with a variable that overrides it.
    pub problem: Problem,
}

/// What can be the matter with a configuration. Its text names the key or the variable, and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    Unreadable(io::Error),
    /// The file is not YAML.
    Syntax(yaml_serde::Error),
    /// The value of a variable is not YAML.
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with the value.
        source: yaml_serde::Error,
    },
    /// The value of a variable is not UTF-8.
    VariableNotUtf8 {
        /// Its name.
        name: String,
    },
    /// `version` is not the one that the registry reads.
    Version {
        /// What it is instead, if it is there.
        found: Option<String>,
    },
    /// There has to be a map.
    NotAMap {
        /// Where; empty for the file itself.
        key: String,
    },
    /// `storage` names no driver.
    NoDriver,
    /// `storage` names several drivers, in the file or by variables.
    SeveralDrivers {
        /// Their names, sorted.
        drivers: Vec<String>,
    },
    /// The storage is not in a filesystem.
    OtherDriver {
        /// The name of its driver.
        driver: String,
    },
    /// The root is no path, or one that YAML may read as something else.
    NotAPath {
        /// What is written, if that is a scalar.
        found: Option<String>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration {}: {}", escaped(&self.path), self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(source) => write!(f, "cannot read it: {source}; give the registry's config.yml, or --root DIR"),
            Problem::Syntax(source) => write!(f, "it is not YAML, or not all of it: {source}"),
            Problem::Variable { name, source } => {
                write!(f, "the value of the variable {} is not YAML: {source}; correct or unset it", escaped(name))
            }
            Problem::VariableNotUtf8 { name } => {
                write!(
                    f,
                    "the value of the variable {} is not UTF-8, which the registry needs; correct or unset it",
                    escaped(name)
                )
            }
            Problem::Version { found: Some(found) } => {
                write!(f, "version is {}, but the registry reads 0.1 only; write `version: 0.1`", escaped(found))
            }
            Problem::Version { found: None } => {
                f.write_str("version is missing, so this is hardly the registry's file; it has `version: 0.1`")
            }
            Problem::NotAMap { key } if key.is_empty() => {
                f.write_str("it is not a map of settings; give the registry's config.yml")
            }
            Problem::NotAMap { key } => {
                write!(f, "{} is not a map, in the file or by a REGISTRY_ variable; the registry needs one there", escaped(key))
            }
            Problem::NoDriver => {
                write!(f, "storage names no driver, in the file or by REGISTRY_STORAGE; write {ROOT_KEY}, or give --root DIR")
            }
            Problem::SeveralDrivers { drivers } => write!(
                f,
                "storage must name exactly one driver, and the file and the REGISTRY_STORAGE_ variables name {}; \
                 leave the one that the registry runs with",
                escaped(drivers.join(", "))
            ),
            Problem::OtherDriver { driver } => write!(
                f,
                "the storage driver {} is not supported, only storage.filesystem is; \
                 if the data is on this machine after all, give --root DIR",
                escaped(driver)
            ),
            Problem::NotAPath { found: Some(found) } if !found.is_empty() => write!(
                f,
                "{ROOT_KEY} is {found}, which YAML may take for a number, a date or a boolean; write ./{found}, or give --root DIR",
                found = escaped(found)
            ),
            Problem::NotAPath { .. } => {
                write!(f, "{ROOT_KEY} is empty or no text; write a path, or remove it for {DEFAULT_ROOT}")
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(source) => Some(source),
            Problem::Syntax(source) | Problem::Variable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Reads a configuration file and lays the environment over it: all of its variables, of which those count that begin with
/// `REGISTRY_`.
///
/// # Errors
///
/// When the file cannot be read, is no configuration, names another storage than the filesystem, or a variable that matters
/// cannot be understood. What is in other sections, such as `log`, is not looked at.
pub fn load(path: &Path, environment: &[(OsString, OsString)]) -> Result<RegistryConfig, ConfigError> {
    let read = || parse(&std::fs::read(path).map_err(Problem::Unreadable)?, environment);
    read().map_err(|problem| ConfigError { path: path.to_owned(), problem })
}

/// Reads the text of a configuration.
fn parse(text: &[u8], environment: &[(OsString, OsString)]) -> Result<RegistryConfig, Problem> {
    let mut settings = match yaml::read(text).map_err(Problem::Syntax)? {
        Node::Map(settings) => settings,
        Node::Null => return Err(Problem::Version { found: None }),
        _ => return Err(Problem::NotAMap { key: String::new() }),
    };
    match settings.get("version").and_then(Node::scalar) {
        Some(version) if version == "0.1" => {}
        found => return Err(Problem::Version { found }),
    }
    // Two drivers in the file are refused even if a variable replaces the section.
    if let Some(written) = settings.remove("storage") {
        settings.insert("storage".into(), storage_section(written)?);
    }
    let mut warnings = Vec::new();
    environment::apply(&mut settings, environment, &mut warnings)?;

    let storage = match storage_section(settings.remove("storage").unwrap_or(Node::Null))? {
        Node::Map(storage) => storage,
        _ => return Err(Problem::NoDriver),
    };
    let root = root(driver_parameters(&storage)?, &mut warnings)?;
    Ok(RegistryConfig {
        root,
        read_only: is_read_only(&storage, &mut warnings),
        descriptor_cache: descriptor_cache(&storage),
        proxy_remote: proxy_remote(&settings),
        harbor: is_harbor(&settings, &storage),
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
                return Err(Problem::NotAMap { key: format!("storage.{key}") });
            }
            match drivers(&storage) {
                several if several.len() > 1 => Err(Problem::SeveralDrivers { drivers: several }),
                _ => Ok(Node::Map(storage)),
            }
        }
        Node::Null => Ok(Node::Null),
        _ => Err(Problem::NotAMap { key: "storage".into() }),
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
            "storage.filesystem.{other} is not read by the registry, which reads {ROOT_KEY}, in lower case and one word, and so uses {}",
            escaped(root)
        ));
    }
    Ok(clean(root))
}

/// Whether whoever wrote this key of the driver probably meant its root.
fn means_the_root(key: &str) -> bool {
    let key = key.to_lowercase().replace(['_', '-', ' '], "");
    ["rootdirectory", "rootdir", "root", "directory", "path"].contains(&key.as_str())
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

fn is_harbor(settings: &Map, storage: &Map) -> bool {
    let realm = |parameters: &Node| parameters.get("realm").and_then(Node::as_text) == Some(HARBOR_REALM);
    let by_realm = settings.get("auth").and_then(Node::as_map).is_some_and(|auth| auth.values().any(realm));
    let unvalidated = settings.get("validation").and_then(|validation| validation.get("disabled")?.as_bool()) == Some(true);
    let layer_info = storage.get("cache").and_then(|cache| cache.get("layerinfo")?.as_text()) == Some("redis");
    by_realm || (unvalidated && layer_info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, variables: &[(&str, &str)]) -> Result<RegistryConfig, Problem> {
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        parse(text.as_bytes(), &environment)
    }

    fn config(text: &str, variables: &[(&str, &str)]) -> RegistryConfig {
        with(text, variables).expect("a configuration")
    }

    fn root_of(text: &str, variables: &[(&str, &str)]) -> String {
        config(text, variables).root.display().to_string()
    }

    const FILE: &str = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /data\n";
    const READ_ONLY: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY";
    const READ_ONLY_ENABLED: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";

    #[test]
    fn reads_the_root() {
        assert_eq!(root_of(FILE, &[]), "/data");
        assert_eq!(root_of("version: 0.1\nstorage: filesystem\n", &[]), DEFAULT_ROOT);
        assert_eq!(root_of("version: 0.1\nstorage: {filesystem: null, delete: {enabled: true}}\n", &[]), DEFAULT_ROOT);
        assert_eq!(root_of("version: 0.1\nstorage: {filesystem: {rootdirectory: ../data}}\n", &[]), "../data");
        let merged =
            "version: 0.1\nx: &fs {rootdirectory: /a, maxthreads: 7}\nstorage:\n  filesystem: {<<: *fs, maxthreads: 9}\n";
        assert_eq!(root_of(merged, &[]), "/a");
        let twice = "version: 0.1\nstorage: {filesystem: {rootdirectory: /a, rootdirectory: /b}}\n";
        assert_eq!(root_of(twice, &[]), "/b");
    }

    #[test]
    fn variables_overwrite_the_file_as_in_the_registry() {
        let root = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/env");
        assert_eq!(root_of(FILE, &[root]), "/env");
        assert_eq!(root_of("version: 0.1\n", &[root]), "/env");
        assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE", "filesystem")]), DEFAULT_ROOT);
        assert_eq!(root_of(FILE, &[root, ("REGISTRY_STORAGE", "filesystem")]), "/env");
        assert_eq!(root_of(FILE, &[root, ("REGISTRY_STORAGE", "")]), "/env");
        assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /inline}}")]), "/inline");
        assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: /params}")]), "/params");
        assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE_FILESYSTEM", "")]), DEFAULT_ROOT);
        assert_eq!(root_of(FILE, &[("registry_storage_filesystem_rootdirectory", "/env")]), "/data");
        assert_eq!(root_of("version: 0.1\nstorage: {filesystem: null}\n", &[root]), "/env");
    }

    #[test]
    fn the_root_is_cleaned_as_go_cleans_it() {
        for (written, cleaned) in [
            ("/x/link/../y", "/x/y"),
            ("/x//y/./z/", "/x/y/z"),
            ("/../x", "/x"),
            ("/..", "/"),
            ("/", "/"),
            (".", "."),
            ("a/..", "."),
            ("a/../..", ".."),
            ("../../x", "../../x"),
            ("x/../../y", "../y"),
            ("./x", "x"),
        ] {
            assert_eq!(clean(written), Path::new(cleaned), "{written}");
            assert_eq!(clean(written).as_os_str(), cleaned, "{written}");
        }
    }

    #[test]
    fn a_key_that_is_not_the_roots_is_named() {
        for key in ["rootDirectory", "root_directory", "root-directory", "RootDir", "path", "directory"] {
            let config = config(&format!("version: 0.1\nstorage: {{filesystem: {{{key}: /data}}}}\n"), &[]);
            assert_eq!(config.root, Path::new(DEFAULT_ROOT));
            assert!(config.warnings[0].contains(key) && config.warnings[0].contains(DEFAULT_ROOT), "{:?}", config.warnings);
        }
        assert!(config("version: 0.1\nstorage: {filesystem: {maxthreads: 9}}\n", &[]).warnings.is_empty());
    }

    #[test]
    fn other_drivers_are_named() {
        for driver in ["s3", "inmemory", "Filesystem", "true"] {
            for text in [driver.to_owned(), format!("{{{driver}: {{bucket: x}}, delete: {{enabled: true}}}}")] {
                let problem = with(&format!("version: 0.1\nstorage: {text}\n"), &[]).expect_err("not ours");
                assert!(matches!(&problem, Problem::OtherDriver { driver: named } if named == driver), "{text}: {problem}");
            }
        }
        let both = |problem: &Problem| matches!(problem, Problem::SeveralDrivers { drivers } if *drivers == ["filesystem", "s3"]);
        assert!(both(&with(FILE, &[("REGISTRY_STORAGE_S3_BUCKET", "x")]).expect_err("two drivers")));
        let file = "version: 0.1\nstorage: {filesystem: {rootdirectory: /data}, s3: null}\n";
        assert!(both(&with(file, &[]).expect_err("two drivers")));
        assert!(both(&with(file, &[("REGISTRY_STORAGE", "filesystem")]).expect_err("two drivers")));
        assert!(both(&with(FILE, &[("REGISTRY_STORAGE", "{filesystem: {}, s3: {}}")]).expect_err("two drivers")));
    }

    #[test]
    fn what_says_nothing_about_the_storage_is_refused_by_key() {
        for (text, named) in [
            ("", "version"),
            ("[]", "a map of settings"),
            ("a: [", "YAML"),
            ("storage: filesystem\n", "version"),
            ("version: 0.2\n", "version is 0.2"),
            ("version: 0.10\nstorage: filesystem\n", "version is 0.10"),
            ("version: 0.1\n", "storage names no driver"),
            ("version: 0.1\nStorage: filesystem\n", "storage names no driver"),
            ("version: 0.1\nstorage: {delete: {enabled: true}}\n", "storage names no driver"),
            ("version: 0.1\nstorage: ''\n", "storage names no driver"),
            ("version: 0.1\nstorage: maintenance\n", "storage names no driver"),
            ("version: 0.1\nstorage: [filesystem]\n", "storage is not a map"),
            ("version: 0.1\nstorage: {filesystem: /data}\n", "storage.filesystem is not a map"),
            ("version: 0.1\nstorage: {filesystem: {}, delete: true}\n", "storage.delete is not a map"),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: null}}\n", ROOT_KEY),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: ''}}\n", ROOT_KEY),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: [/data]}}\n", ROOT_KEY),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: yes}}\n", "write ./yes"),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: true}}\n", "write ./true"),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: 07}}\n", "write ./07"),
            ("version: 0.1\nstorage: {filesystem: {rootdirectory: 7}}\n", "write ./7"),
        ] {
            let problem = with(text, &[]).expect_err(text).to_string();
            assert!(problem.contains(named), "{text}: {problem}");
        }
        let below = with("version: 0.1\nstorage: filesystem\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY_X", "y")]);
        assert!(matches!(below, Err(Problem::NotAPath { found: None })), "{below:?}");
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.yml");
        let missing = load(&path, &[]).expect_err("no file");
        assert!(matches!(missing.problem, Problem::Unreadable(_)));
        assert!(missing.to_string().contains("config.yml: cannot read it"), "{missing}");
        std::fs::write(&path, FILE).expect("written");
        assert_eq!(load(&path, &[]).expect("a configuration").root, Path::new("/data"));
    }

    #[test]
    fn read_only_is_believed_only_as_the_registry_does() {
        let file =
            |read_only: &str| format!("version: 0.1\nstorage: {{filesystem: {{}}, maintenance: {{readonly: {read_only}}}}}\n");
        for enabled in ["true", "yes", "on", "Y"] {
            assert!(config(&file(&format!("{{enabled: {enabled}}}")), &[]).read_only, "{enabled}");
        }
        for read_only in ["{enabled: false}", "{enabled: off}", "{Enabled: true}", "{}"] {
            let config = config(&file(read_only), &[]);
            assert!(!config.read_only && config.warnings.is_empty(), "{read_only}: {config:?}");
        }
        for read_only in ["{enabled: 1}", "{enabled: 'true'}", "{enabled: null}", "true", "null"] {
            let config = config(&file(read_only), &[]);
            assert!(!config.read_only && config.warnings[0].contains("storage.maintenance.readonly"), "{read_only}: {config:?}");
        }
        assert!(config(FILE, &[(READ_ONLY, "{\"enabled\":true}")]).read_only);
        assert!(config(FILE, &[("REGISTRY_STORAGE_MAINTENANCE", "{readonly: {enabled: true}}")]).read_only);
    }

    /// The registry goes on taking pushes then, and a collection without a minimum age would take them away again.
    #[test]
    fn a_variable_does_not_make_read_only_what_the_registry_leaves_writable() {
        let written = "version: 0.1\nstorage: {filesystem: {}, maintenance: {readonly: {enabled: false}}}\n";
        for text in [FILE, written] {
            let config = config(text, &[(READ_ONLY_ENABLED, "true")]);
            assert!(!config.read_only && config.warnings.len() == 1, "{config:?}");
        }
        let kept = config(FILE, &[(READ_ONLY, "{enabled: true}"), (READ_ONLY_ENABLED, "false")]);
        assert!(kept.read_only && kept.warnings[0].contains(READ_ONLY_ENABLED), "{kept:?}");
    }

    #[test]
    fn caches_proxies_and_harbor_are_noticed() {
        let harbor = "version: 0.1\nstorage: {filesystem: {}, cache: {layerinfo: redis}}\nvalidation: {disabled: true}\n";
        let noticed = config(harbor, &[]);
        assert!(noticed.harbor && noticed.descriptor_cache.as_deref() == Some("redis"), "{noticed:?}");
        assert!(!config(harbor, &[("REGISTRY_VALIDATION_DISABLED", "false")]).harbor);
        let realm = format!("{FILE}auth: {{htpasswd: {{realm: {HARBOR_REALM}, path: /x}}}}\n");
        assert!(config(&realm, &[]).harbor);
        assert!(config(FILE, &[("REGISTRY_AUTH_HTPASSWD_REALM", HARBOR_REALM)]).harbor);
        let plain = config(&format!("{FILE}auth: {{htpasswd: {{realm: basic}}}}\n"), &[]);
        assert!(!plain.harbor && plain.descriptor_cache.is_none() && plain.proxy_remote.is_none());
        let cached = config(FILE, &[("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")]);
        assert_eq!(cached.descriptor_cache.as_deref(), Some("inmemory"));
        for none in ["{blobdescriptor: InMemory}", "{blobdescriptor: null, layerinfo: redis}", "{blobdescriptor: ''}"] {
            let text = format!("version: 0.1\nstorage: {{filesystem: {{}}, cache: {none}}}\n");
            assert_eq!(config(&text, &[]).descriptor_cache, None, "{none}");
        }
        let proxy = format!("{FILE}proxy: {{remoteurl: \"https://mirror.example\"}}\n");
        assert_eq!(config(&proxy, &[]).proxy_remote.as_deref(), Some("https://mirror.example"));
        assert_eq!(config(&proxy, &[("REGISTRY_PROXY_REMOTEURL", "")]).proxy_remote, None);
    }

    #[test]
    fn where_it_listens() {
        let plain =
            config(&format!("{FILE}http: {{addr: ':5000', prefix: /r/}}\n"), &[("REGISTRY_HTTP_ADDR", "127.0.0.1:6000")]).http;
        assert_eq!((plain.address.as_deref(), plain.net.as_deref(), plain.has_tls), (Some("127.0.0.1:6000"), None, false));
        assert_eq!(plain.prefix, "/r/");
        let secure = config(&format!("{FILE}http: {{addr: 'x:443', tls: {{certificate: /c, key: /k}}}}\n"), &[]).http;
        assert!(secure.has_tls);
        for (name, expected) in
            [("CERTIFICATE", true), ("LETSENCRYPT_CACHEFILE", true), ("LETSENCRYPT_EMAIL", false), ("KEY", false)]
        {
            let http = config(FILE, &[(&format!("REGISTRY_HTTP_TLS_{name}"), "/x")]).http;
            assert_eq!(http.has_tls, expected, "{name}");
        }
        assert!(!config(&format!("{FILE}http: {{tls: {{letsencrypt: {{}}}}}}\n"), &[]).http.has_tls);
        let socket = config(&format!("{FILE}http: {{addr: /run/r.sock, net: unix}}\n"), &[]).http;
        assert_eq!(socket.net.as_deref(), Some("unix"));
        assert_eq!(config(FILE, &[]).http, Listening::default());
    }
}
