//! Which variables have a part in what a configuration comes to: a file that looks right is read in vain.

use std::ffi::OsString;
use std::fmt;

use super::environment::{NO_SERVICE_LINKS, is_service_link, sorted};
use super::storage::ROOT_KEY;
use crate::escape::escaped;

/// The variables that have a part in a setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// Those that set it, or something below it.
    set_by: Vec<String>,
    /// Those that replace a whole section that it is in.
    replaced_by: Vec<String>,
    /// One of them that Kubernetes seems to have set for a service.
    service_link: Option<String>,
}

/// How much of the configuration a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// One key.
    Key,
    /// One key, and what is below it.
    Below,
}

impl Blame {
    /// Finds the variables for some keys.
    pub(super) fn of(keys: &[String], reach: Reach, environment: &[(OsString, OsString)]) -> Blame {
        let mut blame = Blame::default();
        let variables = sorted(environment);
        for key in keys {
            let whole = variable(key);
            let is_set = variables.iter().any(|(name, _)| *name == whole);
            for (name, value) in &variables {
                let is_below = reach == Reach::Below && is_within(name, &whole);
                let names = if *name == whole || is_below {
                    &mut blame.set_by
                } else if !is_set && name.starts_with("REGISTRY_") && is_within(&whole, name) {
                    &mut blame.replaced_by
                } else {
                    continue;
                };
                if !names.contains(name) {
                    names.push(name.clone());
                }
                if is_service_link(name, &value.to_string_lossy()) {
                    blame.service_link.get_or_insert_with(|| name.clone());
                }
            }
        }
        blame
    }

    /// Finds those that the root directory comes of.
    pub fn for_root(environment: &[(OsString, OsString)]) -> Blame {
        Blame::of(&[ROOT_KEY.to_owned()], Reach::Below, environment)
    }

    /// The names of all of them.
    pub fn names(&self) -> Vec<&str> {
        self.set_by.iter().chain(&self.replaced_by).map(String::as_str).collect()
    }
}

/// The variables that set something at or below a key of the configuration.
pub(super) fn variables_of(key: &str, environment: &[(OsString, OsString)]) -> Vec<String> {
    Blame::of(&[key.to_owned()], Reach::Below, environment).set_by
}

fn variable(key: &str) -> String {
    format!("REGISTRY_{}", key.to_uppercase().replace('.', "_"))
}

/// Whether a variable sets something below what another one sets.
fn is_within(name: &str, whole: &str) -> bool {
    name.strip_prefix(whole).is_some_and(|rest| rest.starts_with('_'))
}

/// Goes on from a sentence without its end.
impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.set_by.is_empty() {
            write!(f, "; set by {}", escaped(self.set_by.join(", ")))?;
        }
        if !self.replaced_by.is_empty() {
            let one = self.replaced_by.len() == 1;
            let replaces = if one { "replaces" } else { "replace" };
            write!(f, "; {} {replaces} what the file has there", escaped(self.replaced_by.join(", ")))?;
        }
        match &self.service_link {
            Some(link) => write!(f, "; {} looks like a service link of Kubernetes: {NO_SERVICE_LINKS}", escaped(link)),
            None => Ok(()),
        }
    }
}
