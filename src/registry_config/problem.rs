//! Why a configuration does not say where the storage is, in words that name the key or the variable, and what to do.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::blame::{Blame, Reach};
use super::storage::{DEFAULT_ROOT, ROOT_KEY};
use super::yaml::Map;
use crate::escape::escaped;

/// Why a configuration does not say where the storage is.
#[derive(Debug)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is the matter with it, or with a variable that overrides it.
    pub problem: Problem,
    /// The variables that have a part in that.
    pub blame: Box<Blame>,
}

impl ConfigError {
    pub(super) fn new(path: &Path, problem: Problem, environment: &[(OsString, OsString)]) -> ConfigError {
        let (keys, reach) = problem.keys();
        let blame = Blame::of(&keys, reach, environment);
        ConfigError { path: path.to_owned(), problem, blame: Box::new(blame) }
    }
}

/// What can be the matter with a configuration. Its text names the key, or the variable that nothing but it can be in, and what to do.
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
    /// It is the file of another program.
    Foreign {
        /// What kind of file it is, and where the registry's own is.
        kind: &'static str,
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
    /// A parameter of the bucket is missing, or is none.
    Bucket {
        /// Its key.
        key: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The storage is neither in a filesystem nor in a bucket of S3.
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
        write!(f, "configuration {}: {}{}", escaped(&self.path), self.problem, self.blame)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(source) => {
                write!(f, "cannot read it: {source}; give the registry's config.yml, or, without --online, --root DIR")
            }
            Problem::Syntax(source) => write!(f, "it is not YAML, or not all of it can be read: {source}"),
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
            Problem::Foreign { kind } => write!(f, "it is {kind}; give that, or --root DIR"),
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
                "the storage driver {} is not supported, only storage.filesystem and storage.s3 are; \
                 if the data is on this machine after all, give --root DIR",
                escaped(driver)
            ),
            Problem::Bucket { key, why } => write!(f, "{} {why}", escaped(key)),
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

impl Problem {
    /// The keys that it is about, and how much of them. None where a variable has no part in it, or is named already.
    fn keys(&self) -> (Vec<String>, Reach) {
        let one = |key: &str, reach| (vec![key.to_owned()], reach);
        match self {
            Problem::NotAMap { key } if !key.is_empty() => one(key, Reach::Key),
            Problem::NoDriver => one("storage", Reach::Key),
            Problem::SeveralDrivers { drivers } => {
                (drivers.iter().map(|driver| format!("storage.{driver}")).collect(), Reach::Below)
            }
            Problem::OtherDriver { driver } => one(&format!("storage.{driver}"), Reach::Below),
            Problem::Bucket { key, .. } => one(key, Reach::Below),
            Problem::NotAPath { .. } => one(ROOT_KEY, Reach::Below),
            _ => (Vec::new(), Reach::Key),
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

const HARBOR_CHART: &str =
    "values of Harbor's chart; the registry's configuration is the config.yml in the ConfigMap of its registry";
const CHART: &str =
    "values of a chart; the registry's configuration is the config.yml that the chart makes of them, in its ConfigMap or Secret";

/// The files that people have at hand who run a registry and that are not its configuration: keys that they have, and what they are.
const FOREIGN_FILES: [(&[&str], &str); 14] = [
    (
        &["services"],
        "a compose file; the registry's configuration is the config.yml that its service mounts at /etc/docker/registry or \
         /etc/distribution, or comes in the image",
    ),
    (
        &["apiVersion", "kind"],
        "a manifest of Kubernetes; the registry's configuration is the config.yml in the ConfigMap or Secret that its pod mounts",
    ),
    (
        &["hostname", "harbor_admin_password"],
        "the configuration of Harbor's installer; the registry's is common/config/registry/config.yml beside it",
    ),
    (&["expose", "externalURL"], HARBOR_CHART),
    (&["expose", "persistence"], HARBOR_CHART),
    (&["expose", "harborAdminPassword"], HARBOR_CHART),
    (&["harborAdminPassword"], HARBOR_CHART),
    (&["image", "persistence"], CHART),
    (&["image", "service"], CHART),
    (&["image", "configData"], CHART),
    (&["image", "replicaCount"], CHART),
    (&["image", "ingress"], CHART),
    (&["replicaCount", "configData"], CHART),
    (&["insecure-registries"], "the configuration of a Docker daemon; the registry's is a config.yml of its own"),
];

/// What kind of file this is, if it is another program's.
pub(super) fn foreign_file(settings: &Map) -> Option<Problem> {
    let has_all = |keys: &[&str]| keys.iter().all(|key| settings.contains_key(*key));
    FOREIGN_FILES.iter().find(|(keys, _)| has_all(keys)).map(|(_, kind)| Problem::Foreign { kind })
}
