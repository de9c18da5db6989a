//! What the registry's own configuration says: its YAML file with the `REGISTRY_*` variables laid over it.
//!
//! The rules are the registry's, odd ones included, because the root that it resolves is the one that it serves (source:
//! distribution's `configuration/configuration.go` and `configuration/parser.go`; `tests/suite/configuration.rs` compares with
//! the program itself). Only what matters to a collection is read:
//!
//! | Key | Meaning |
//! | --- | --- |
//! | `version` | must be `0.1` |
//! | `storage` | a driver's name, or a map with exactly one driver beside the reserved keys |
//! | `storage.filesystem.rootdirectory` | the root, `/var/lib/registry` if absent; the case of the key matters |
//! | `storage.maintenance.readonly.enabled` | whether the registry takes no pushes |
//! | `storage.cache.blobdescriptor`, or `layerinfo` | whether the registry remembers blobs |
//! | `auth.*.realm`, `validation.disabled` | whether the configuration is Harbor's |

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::escape::escaped;

/// Where the registry keeps its storage if it is not told.
const DEFAULT_ROOT: &str = "/var/lib/registry";
/// Keys of `storage` that are no drivers.
const RESERVED: [&str; 5] = ["maintenance", "cache", "delete", "redirect", "tag"];
/// The sections that are looked into.
const SECTIONS: [&str; 3] = ["storage", "auth", "validation"];
/// The realm in the configuration that Harbor gives its registry.
const HARBOR_REALM: &str = "harbor-registry-basic-realm";

/// What the registry's configuration says that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The root directory, as the registry resolves it; a relative one starts where the registry was started.
    pub root: PathBuf,
    /// Whether the registry takes no pushes.
    pub read_only: bool,
    /// The cache that remembers blobs: `inmemory` or `redis`.
    pub descriptor_cache: Option<String>,
    /// Whether the configuration is one that Harbor writes.
    pub harbor: bool,
    /// What the operator probably means otherwise; a sentence each.
    pub warnings: Vec<String>,
}

/// Why a configuration does not say where the storage is. The message names the file and the key.
#[derive(Debug)]
pub struct ConfigError {
    path: PathBuf,
    problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration {}: {}", escaped(&self.path), self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// Reads a configuration file and lays the environment over it.
///
/// # Errors
///
/// When the file cannot be read, is no configuration, or names another storage than the filesystem.
pub fn load(path: &Path, environment: &[(OsString, OsString)]) -> Result<RegistryConfig, ConfigError> {
    let failed = |problem| ConfigError { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot read it: {error}")))?;
    parse(&text, environment).map_err(failed)
}

/// Reads the text of a configuration.
fn parse(text: &str, environment: &[(OsString, OsString)]) -> Result<RegistryConfig, String> {
    let mut tree = match yaml(text)? {
        Value::Object(tree) => tree,
        _ => return Err("it is not a map of settings; expected the registry's config.yml".into()),
    };
    match tree.get("version").map(scalar) {
        Some(Some(version)) if version == "0.1" => {}
        Some(Some(version)) => return Err(format!("version is {version}, but the registry reads 0.1 only")),
        _ => return Err("version is missing; the registry wants `version: 0.1`".into()),
    }
    // A scalar is short for a driver without parameters.
    if let Some(driver) = tree.get("storage").and_then(Value::as_str) {
        let driver = driver.to_owned();
        tree.insert("storage".into(), driver_alone(&driver));
    }
    let mut warnings = Vec::new();
    overlay(&mut tree, environment, &mut warnings)?;

    let empty = Map::new();
    let storage = match tree.get("storage") {
        Some(Value::Object(storage)) => storage,
        None | Some(Value::Null) => &empty,
        Some(_) => return Err("storage is neither a driver's name nor a map".into()),
    };
    let parameters = filesystem(storage)?;
    let root = root(parameters, &mut warnings)?;
    Ok(RegistryConfig {
        root,
        read_only: storage.get("maintenance").and_then(|maintenance| boolean(maintenance.get("readonly")?.get("enabled")?))
            == Some(true),
        descriptor_cache: descriptor_cache(storage),
        harbor: is_harbor(&tree, storage),
        warnings,
    })
}

/// Reads YAML. Of duplicate keys the last one counts, as the registry has it; merge keys are merged.
fn yaml(text: &str) -> Result<Value, String> {
    let mut value: Value = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
    merge(&mut value);
    Ok(value)
}

/// Replaces `<<` by what it names. Keys that are there already win.
fn merge(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(merge);
            let merged = match map.remove("<<") {
                Some(Value::Array(maps)) => maps,
                Some(one) => vec![one],
                None => return,
            };
            for other in merged {
                if let Value::Object(other) = other {
                    for (key, value) in other {
                        map.entry(key).or_insert(value);
                    }
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(merge),
        _ => {}
    }
}

/// Lays `REGISTRY_*` over the file: sorted by name, one after the other.
fn overlay(
    tree: &mut Map<String, Value>,
    environment: &[(OsString, OsString)],
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let mut variables: Vec<_> = environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value))).collect();
    variables.sort_unstable();
    for (name, value) in variables {
        let Some(path) = name.strip_prefix("REGISTRY_") else { continue };
        let path: Vec<&str> = path.split('_').collect();
        let Some(section) = SECTIONS.into_iter().find(|section| section.to_uppercase() == path[0]) else { continue };
        let text = value.to_str().ok_or_else(|| format!("the environment variable {name} is not UTF-8"))?;
        let value = yaml(text).map_err(|error| format!("the environment variable {name}: {error}"))?;
        if path == ["STORAGE", "MAINTENANCE", "READONLY", "ENABLED"] && !has_read_only(tree) {
            // The registry itself ends with a panic over it. Taking it at its word would make us less careful.
            warnings.push(format!(
                "{name} is ignored, because the registry does not start with it: set \
                 REGISTRY_STORAGE_MAINTENANCE_READONLY={{\"enabled\":true}}"
            ));
            continue;
        }
        match (section, &path[1..], value) {
            ("storage", [], Value::String(driver)) => {
                tree.insert(section.into(), driver_alone(&driver));
            }
            (_, [], value) => {
                tree.insert(section.into(), value);
            }
            (_, below, value) => {
                let entry = tree.entry(section).or_insert(Value::Null);
                if entry.is_null() {
                    *entry = Value::Object(Map::new());
                }
                overwrite(entry, below, value);
            }
        }
    }
    Ok(())
}

/// Sets what a path of upper-case names leads to. A name on the way finds the key that it is the upper case of; the last one
/// is always written in lower case.
fn overwrite(within: &mut Value, path: &[&str], value: Value) {
    // The registry passes over a variable that leads below a scalar.
    let (Value::Object(map), Some((name, below))) = (within, path.split_first()) else { return };
    if below.is_empty() {
        map.insert(name.to_lowercase(), value);
        return;
    }
    let existing = map.iter().find(|(key, value)| key.to_uppercase() == **name && !value.is_null());
    let key = existing.map_or_else(|| name.to_lowercase(), |(key, _)| key.clone());
    let entry = map.entry(key).or_insert(Value::Null);
    if entry.is_null() {
        *entry = Value::Object(Map::new());
    }
    overwrite(entry, below, value);
}

fn driver_alone(driver: &str) -> Value {
    Value::Object(Map::from_iter([(driver.to_owned(), Value::Null)]))
}

fn has_read_only(tree: &Map<String, Value>) -> bool {
    let read_only = || tree.get("storage")?.get("maintenance")?.get("readonly");
    read_only().is_some_and(Value::is_object)
}

/// The parameters of the filesystem driver, if that is the one driver.
fn filesystem(storage: &Map<String, Value>) -> Result<Option<&Map<String, Value>>, String> {
    let drivers: Vec<&String> = storage.keys().filter(|key| !RESERVED.contains(&key.as_str())).collect();
    match drivers.as_slice() {
        [] => Err("storage names no driver; the registry needs one, such as storage.filesystem".into()),
        [driver] if *driver == "filesystem" => match &storage["filesystem"] {
            Value::Object(parameters) => Ok(Some(parameters)),
            Value::Null => Ok(None),
            _ => Err("storage.filesystem is not a map".into()),
        },
        [driver] => Err(format!(
            "storage driver {driver} is not supported, only filesystem is; if the data is on this machine after all, give --root DIR"
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            Err(format!("storage must name exactly one driver, and names {}", names.join(", ")))
        }
    }
}

fn root(parameters: Option<&Map<String, Value>>, warnings: &mut Vec<String>) -> Result<PathBuf, String> {
    let key = "storage.filesystem.rootdirectory";
    let empty = Map::new();
    let parameters = parameters.unwrap_or(&empty);
    let root = match parameters.get("rootdirectory").map(scalar) {
        None => DEFAULT_ROOT.to_owned(),
        Some(Some(root)) if !root.is_empty() => root,
        Some(_) => return Err(format!("{key} is not a path")),
    };
    for other in parameters.keys().filter(|other| *other != "rootdirectory" && other.eq_ignore_ascii_case("rootdirectory")) {
        warnings.push(format!(
            "storage.filesystem.{other} is not read by the registry, which reads {key} in lower case and so uses {root}"
        ));
    }
    Ok(PathBuf::from(root))
}

fn descriptor_cache(storage: &Map<String, Value>) -> Option<String> {
    let cache = storage.get("cache")?;
    let name = cache.get("blobdescriptor").or_else(|| cache.get("layerinfo"))?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn is_harbor(tree: &Map<String, Value>, storage: &Map<String, Value>) -> bool {
    let realm = |parameters: &Value| parameters.get("realm").and_then(Value::as_str) == Some(HARBOR_REALM);
    let by_realm = tree.get("auth").and_then(Value::as_object).is_some_and(|auth| auth.values().any(realm));
    let unvalidated = tree.get("validation").and_then(|validation| boolean(validation.get("disabled")?)) == Some(true);
    let layer_info = storage.get("cache").and_then(|cache| cache.get("layerinfo")?.as_str()) == Some("redis");
    by_realm || (unvalidated && layer_info)
}

/// A scalar as the registry prints it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// A boolean in YAML 1.1, which the registry reads: `yes` and `on` are true.
fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::String(text) => match text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, variables: &[(&str, &str)]) -> Result<RegistryConfig, String> {
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        parse(text, &environment)
    }

    fn root_of(text: &str, variables: &[(&str, &str)]) -> String {
        with(text, variables).expect("a configuration").root.display().to_string()
    }

    const FILE: &str = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /data\n";

    #[test]
    fn reads_the_root() {
        assert_eq!(root_of(FILE, &[]), "/data");
        assert_eq!(root_of("version: 0.1\nstorage: filesystem\n", &[]), DEFAULT_ROOT);
        assert_eq!(root_of("version: 0.1\nstorage: {filesystem: null, delete: {enabled: true}}\n", &[]), DEFAULT_ROOT);
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
        assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /inline}}")]), "/inline");
        assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: /params}")]), "/params");
        assert_eq!(root_of(FILE, &[("registry_storage_filesystem_rootdirectory", "/env")]), "/data");
        assert_eq!(root_of("version: 0.1\nstorage: {filesystem: null}\n", &[root]), "/env");
    }

    #[test]
    fn a_key_in_the_wrong_case_is_named() {
        let config = with("version: 0.1\nstorage: {filesystem: {rootDirectory: /data}}\n", &[]).expect("a configuration");
        assert_eq!(config.root, Path::new(DEFAULT_ROOT));
        assert!(config.warnings[0].contains("rootDirectory") && config.warnings[0].contains(DEFAULT_ROOT));
    }

    #[test]
    fn other_drivers_are_named() {
        let error = with("version: 0.1\nstorage: {s3: {bucket: x}}\n", &[]).expect_err("not ours");
        assert!(error.contains("s3"), "{error}");
        let error = with(FILE, &[("REGISTRY_STORAGE_S3_BUCKET", "x")]).expect_err("two drivers");
        assert!(error.contains("filesystem, s3"), "{error}");
        for text in [
            "version: 0.1\n",
            "version: 0.1\nstorage: {delete: {enabled: true}}\n",
            "storage: filesystem\n",
            "version: 0.2\n",
            "[]",
            "a: [",
            "version: 0.1\nstorage: {filesystem: {rootdirectory: null}}\n",
        ] {
            assert!(with(text, &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn read_only_is_believed_only_as_the_registry_does() {
        let read_only = |text: &str, variables: &[_]| with(text, variables).expect("a configuration").read_only;
        let file = |enabled: &str| {
            format!("version: 0.1\nstorage: {{filesystem: {{}}, maintenance: {{readonly: {{enabled: {enabled}}}}}}}\n")
        };
        assert!(read_only(&file("true"), &[]));
        assert!(read_only(&file("yes"), &[]));
        assert!(!read_only(&file("false"), &[]));
        assert!(!read_only(&file("'true'").replace("'true'", "1"), &[]));
        assert!(read_only(&file("false"), &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")]));
        assert!(read_only(FILE, &[("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\":true}")]));
        let ignored = with(FILE, &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")]).expect("a configuration");
        assert!(!ignored.read_only && ignored.warnings.len() == 1);
    }

    #[test]
    fn caches_and_harbor_are_noticed() {
        let config =
            with("version: 0.1\nstorage: {filesystem: {}, cache: {layerinfo: redis}}\nvalidation: {disabled: true}\n", &[])
                .expect("a configuration");
        assert_eq!(config.descriptor_cache.as_deref(), Some("redis"));
        assert!(config.harbor);
        let realm = format!("{FILE}auth: {{htpasswd: {{realm: {HARBOR_REALM}, path: /x}}}}\n");
        assert!(with(&realm, &[]).expect("a configuration").harbor);
        let plain = with(&format!("{FILE}auth: {{htpasswd: {{realm: basic}}}}\n"), &[]).expect("a configuration");
        assert!(!plain.harbor && plain.descriptor_cache.is_none());
        let cached = with(FILE, &[("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")]).expect("a configuration");
        assert_eq!(cached.descriptor_cache.as_deref(), Some("inmemory"));
    }
}
