//! The section `storage`: the driver and its root, maintenance, cache.

use std::path::PathBuf;

use super::problem::Problem;
use super::s3::DRIVERS;
use super::yaml::{Map, Node};
use crate::escape::escaped;

/// Where the registry keeps its storage if it is not told.
pub(super) const DEFAULT_ROOT: &str = "/var/lib/registry";
/// The key of the root.
pub(super) const ROOT_KEY: &str = "storage.filesystem.rootdirectory";
/// Keys of `storage` that are no drivers. The last one is so since version 3 only.
const RESERVED: [&str; 5] = ["maintenance", "cache", "delete", "redirect", "tag"];

/// A storage section as a map, or null. A scalar is short for a driver without parameters.
pub(super) fn storage_section(written: Node) -> Result<Node, Problem> {
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

/// A driver, and its parameters.
pub(super) enum Driver<'m> {
    Filesystem(Option<&'m Map>),
    S3(&'static str, Option<&'m Map>),
}

/// The one driver.
pub(super) fn driver(storage: &Map) -> Result<Driver<'_>, Problem> {
    let driver = drivers(storage).pop();
    if let Some(name) = DRIVERS.into_iter().find(|name| driver.as_deref() == Some(name)) {
        return Ok(Driver::S3(name, storage[name].as_map()));
    }
    match driver {
        Some(driver) if driver == "filesystem" => Ok(Driver::Filesystem(storage["filesystem"].as_map())),
        Some(driver) if !driver.is_empty() => Err(Problem::OtherDriver { driver }),
        _ => Err(Problem::NoDriver),
    }
}

pub(super) fn root(parameters: Option<&Map>, warnings: &mut Vec<String>) -> Result<PathBuf, Problem> {
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
pub(super) fn clean(path: &str) -> PathBuf {
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
pub(super) fn is_read_only(storage: &Map, warnings: &mut Vec<String>) -> bool {
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
