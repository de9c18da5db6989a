//! Who else than this store's link files may know what is needed, as far as the configuration and the variables tell.
//!
//! | Owner | Sign |
//! | --- | --- |
//! | GitLab | `database.enabled`, in the file or by `REGISTRY_DATABASE_ENABLED`: anything but `false` |
//! | GitLab, unless `filesystem-in-use` is there | `prefer`; or nothing said and another setting that only GitLab's registry has: from version 19 on its database is the default |
//! | OpenShift | an `openshift` section, `auth: openshift`, a middleware of that name, `REGISTRY_OPENSHIFT_*` |
//!
//! Harbor's signs are in the registry's own sections and are read with them.

use std::ffi::OsString;

use super::yaml::{self, Map, Node};
use crate::escape::escaped;

/// The sections of the variables that are read here and that the registry itself does not know.
pub(super) const SECTIONS: [&str; 5] = ["DATABASE", "GC", "MIGRATION", "OPENSHIFT", "RATELIMITER"];

/// The sections that only GitLab's registry has.
const GITLAB_SECTIONS: [&str; 5] = ["database", "gc", "migration", "rate_limiter", "ratelimiter"];

/// What speaks for another owner; each sign as a message names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// GitLab's metadata database is on.
    pub gitlab: Option<String>,
    /// It is on unless GitLab's registry found that the link files are in use.
    pub gitlab_by_default: Option<String>,
    /// OpenShift keeps the tags.
    pub openshift: Option<String>,
}

/// What a setting says of GitLab's database.
enum State {
    On,
    Prefer,
    Off,
    NotSaid,
}

impl Owners {
    /// The signs in the variables alone, where there is no configuration.
    pub fn of_environment(environment: &[(OsString, OsString)]) -> Owners {
        Owners::new(&Map::new(), environment)
    }

    /// The signs in the settings, and in the variables that the registry does not know.
    pub(super) fn new(settings: &Map, environment: &[(OsString, OsString)]) -> Owners {
        let variables = variables(environment);
        let mut owners = Owners { openshift: openshift(settings, &variables), ..Owners::default() };
        let (mut is_off, mut prefers) = (false, None);
        for (sign, state) in database_states(settings, &variables) {
            match state {
                State::On => owners.gitlab = owners.gitlab.or(Some(sign)),
                State::Prefer => prefers = prefers.or(Some(sign)),
                State::Off => is_off = true,
                State::NotSaid => {}
            }
        }
        owners.gitlab_by_default = prefers.or_else(|| gitlab_shape(settings, &variables).filter(|_| !is_off));
        owners
    }
}

/// The variables of the sections in [`SECTIONS`] by name. A value that is no YAML counts as set to something.
fn variables(environment: &[(OsString, OsString)]) -> Vec<(String, Node)> {
    let ours = environment.iter().filter_map(|(name, value)| {
        let name = name.to_str()?;
        let section = name.strip_prefix("REGISTRY_")?.split('_').next()?;
        let value = value.to_string_lossy();
        // A service of Kubernetes may be called so as well.
        let is_ours = SECTIONS.contains(&section) && !super::environment::is_service_link(name, &value);
        is_ours.then(|| (name.to_owned(), yaml::read(value.as_bytes()).unwrap_or_else(|_| Node::Text(value.into_owned()))))
    });
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by(|(left, _), (right, _)| left.cmp(right));
    ours
}

/// Everything that says whether GitLab's database is on. The registry lets a variable overwrite the file, but each counts: whose
/// environment this is, is not known.
fn database_states(settings: &Map, variables: &[(String, Node)]) -> Vec<(String, State)> {
    let mut said = Vec::new();
    if let Some(enabled) = settings.get("database").and_then(|database| database.get("enabled")) {
        said.push((format!("database.enabled: {}", shown(enabled)), state(enabled)));
    }
    for (name, value) in variables {
        let enabled = match name.as_str() {
            "REGISTRY_DATABASE_ENABLED" => Some(value),
            "REGISTRY_DATABASE" => value.get("enabled"),
            _ => None,
        };
        said.extend(enabled.map(|enabled| (format!("the variable {name}, {}", shown(enabled)), state(enabled))));
    }
    said
}

fn state(enabled: &Node) -> State {
    match enabled {
        Node::Null => State::NotSaid,
        Node::Text(text) if text.trim().is_empty() => State::NotSaid,
        Node::Text(text) if text.trim().eq_ignore_ascii_case("prefer") => State::Prefer,
        Node::Text(text) if text.trim().eq_ignore_ascii_case("false") => State::Off,
        other if other.as_bool() == Some(false) => State::Off,
        _ => State::On,
    }
}

fn shown(value: &Node) -> String {
    escaped(value.scalar().unwrap_or_else(|| "which is no plain value".to_owned()))
}

/// A setting that only GitLab's registry has.
fn gitlab_shape(settings: &Map, variables: &[(String, Node)]) -> Option<String> {
    let section = GITLAB_SECTIONS.iter().find(|section| settings.contains_key(**section));
    let by_section = section.map(|section| format!("the section {section}"));
    let by_auth = || {
        let auth = settings.get("auth").and_then(Node::as_map)?;
        let text = |parameters: &Node, key: &str| parameters.get(key).and_then(Node::as_text).unwrap_or_default().to_owned();
        auth.iter().find_map(|(method, parameters)| {
            let (issuer, realm) = (text(parameters, "issuer"), text(parameters, "realm"));
            if issuer.contains("gitlab-issuer") {
                Some(format!("auth.{}.issuer: {}", escaped(method), escaped(&issuer)))
            } else {
                realm.ends_with("/jwt/auth").then(|| format!("auth.{}.realm: {}", escaped(method), escaped(&realm)))
            }
        })
    };
    let by_variable = || variables.iter().map(|(name, _)| name).find(|name| !name.starts_with("REGISTRY_OPENSHIFT"));
    by_section.or_else(by_auth).or_else(|| by_variable().map(|name| format!("the variable {}", escaped(name))))
}

fn openshift(settings: &Map, variables: &[(String, Node)]) -> Option<String> {
    let is_openshift = |node: &Node| node.as_text() == Some("openshift");
    if settings.contains_key("openshift") {
        return Some("the section openshift".to_owned());
    }
    let auth = settings.get("auth");
    if auth.is_some_and(|auth| is_openshift(auth) || auth.get("openshift").is_some()) {
        return Some("auth: openshift".to_owned());
    }
    let kinds = settings.get("middleware").and_then(Node::as_map);
    for (kind, listed) in kinds.into_iter().flatten() {
        let listed = if let Node::List(listed) = listed { listed.as_slice() } else { &[] };
        if listed.iter().any(|one| one.get("name").is_some_and(is_openshift)) {
            return Some(format!("the middleware openshift in middleware.{}", escaped(kind)));
        }
    }
    let variable = variables.iter().map(|(name, _)| name).find(|name| name.starts_with("REGISTRY_OPENSHIFT"));
    variable.map(|name| format!("the variable {}", escaped(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(file: &str, variables: &[(&str, &str)]) -> Owners {
        let Node::Map(settings) = yaml::read(file.as_bytes()).expect("YAML") else { panic!("not a map: {file}") };
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Owners::new(&settings, &environment)
    }

    #[test]
    fn gitlabs_database_is_on_by_any_word_but_false() {
        for enabled in ["true", "'true'", "yes", "1", "TRUE", "on", "[x]"] {
            let sign = owners(&format!("{{database: {{enabled: {enabled}}}}}"), &[]).gitlab;
            assert!(sign.is_some_and(|sign| sign.starts_with("database.enabled")), "{enabled}");
        }
        for value in ["true", "\"true\"", "1", "{"] {
            let sign = owners("{}", &[("REGISTRY_DATABASE_ENABLED", value)]).gitlab;
            assert!(sign.is_some_and(|sign| sign.contains("REGISTRY_DATABASE_ENABLED")), "{value}");
        }
        assert!(owners("{}", &[("REGISTRY_DATABASE", "{enabled: true}")]).gitlab.is_some());
        // Each sign counts, whichever the registry would take.
        assert!(owners("{database: {enabled: true}}", &[("REGISTRY_DATABASE_ENABLED", "false")]).gitlab.is_some());
        assert!(owners("{database: {enabled: false}}", &[("REGISTRY_DATABASE_ENABLED", "true")]).gitlab.is_some());
        for off in ["false", "'false'", "no", "off"] {
            assert_eq!(owners(&format!("{{database: {{enabled: {off}}}}}"), &[]), Owners::default(), "{off}");
        }
        assert_eq!(owners("{gc: {}}", &[("REGISTRY_DATABASE_ENABLED", "false")]), Owners::default());
    }

    #[test]
    fn gitlabs_database_is_the_default_of_gitlabs_registry() {
        for file in [
            "{database: {enabled: prefer}}",
            "{database: {enabled: 'Prefer'}}",
            "{database: {enabled: null}}",
            "{database: {host: x}}",
            "{database: null}",
            "{gc: {disabled: true}}",
            "{migration: {}}",
            "{auth: {token: {issuer: omnibus-gitlab-issuer}}}",
            "{auth: {token: {issuer: gitlab-issuer}}}",
            "{auth: {token: {realm: 'https://gitlab.example/jwt/auth'}}}",
        ] {
            let owners = owners(file, &[]);
            assert!(owners.gitlab_by_default.is_some() && owners.gitlab.is_none(), "{file}: {owners:?}");
        }
        for name in ["REGISTRY_DATABASE_HOST", "REGISTRY_GC_DISABLED", "REGISTRY_MIGRATION_ENABLED"] {
            let sign = owners("{}", &[(name, "x")]).gitlab_by_default;
            assert!(sign.is_some_and(|sign| sign.contains(name)), "{name}");
        }
        for file in ["{}", "{auth: {token: {realm: 'https://auth.example/token', issuer: me}}}", "{auth: silly}"] {
            assert_eq!(owners(file, &[]), Owners::default(), "{file}");
        }
        // A service of Kubernetes of that name.
        for (name, value) in [("REGISTRY_DATABASE_PORT", "tcp://10.0.0.1:5432"), ("REGISTRY_DATABASE_SERVICE_HOST", "10.0.0.1")] {
            assert_eq!(owners("{}", &[(name, value)]), Owners::default(), "{name}");
        }
    }

    #[test]
    fn openshift_is_known_by_its_section_its_auth_and_its_middleware() {
        for file in [
            "{openshift: {version: 1.0}}",
            "{auth: openshift}",
            "{auth: {openshift: {realm: openshift}}}",
            "{middleware: {registry: [{name: openshift}]}}",
            "{middleware: {storage: [{name: other}, {name: openshift, options: {}}]}}",
        ] {
            assert!(owners(file, &[]).openshift.is_some(), "{file}");
        }
        assert!(owners("{}", &[("REGISTRY_OPENSHIFT_SERVER_ADDR", "x:5000")]).openshift.is_some());
        assert_eq!(owners("{auth: {htpasswd: {realm: openshift}}, middleware: {storage: openshift}}", &[]), Owners::default());
    }
}
