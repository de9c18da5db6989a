//! `REGISTRY_*` variables laid over the file, by the rules of distribution's `configuration/parser.go`.
//!
//! Variables are applied in the order of their names, so that `REGISTRY_STORAGE` comes before what is below it. A name is split
//! at each `_`; its parts are upper case, and find the key that they are the upper case of. The last part is set in lower case,
//! whatever is there; so is a part on the way that finds nothing, or null. Values are YAML.
//!
//! One rule surprises: what a *nested* map of the file holds cannot be changed. Settings are typed two levels down
//! (`storage`, `storage.maintenance`); a map further below (`storage.maintenance.readonly`) has keys of any type in the
//! registry, which passes over variables for such a map with a warning.

use std::ffi::{OsStr, OsString};

use super::problem::Problem;
use super::storage::storage_section;
use super::yaml::{Map, Node};
use super::{owners, yaml};
use crate::escape::escaped;

/// Where the registry looks for its file; no setting of its own.
pub const CONFIGURATION_PATH: &str = "REGISTRY_CONFIGURATION_PATH";

/// The sections that are looked into, and how many levels below them may be changed: a `storage.filesystem` has typed keys; a
/// `validation` is typed down to its leaves.
const READ: [(&str, usize); 6] =
    [("auth", 1), ("http", usize::MAX), ("proxy", usize::MAX), ("redis", usize::MAX), ("storage", 1), ("validation", usize::MAX)];

/// Of `http`, what says where the registry listens: there are secrets beside it, which are nobody's business here.
const READ_OF_HTTP: [&str; 4] = ["ADDR", "NET", "PREFIX", "TLS"];

/// The sections that the registry knows beside, in version 2 or 3.
const KNOWN: [&str; 10] =
    ["CATALOG", "COMPATIBILITY", "HEALTH", "LOG", "LOGLEVEL", "MIDDLEWARE", "NOTIFICATIONS", "POLICY", "REPORTING", "VERSION"];

/// What keeps Kubernetes from setting variables that look like the registry's.
pub(super) const NO_SERVICE_LINKS: &str = "give its pod enableServiceLinks: false, or call the service something else";

/// Lays the variables over the settings.
pub(super) fn apply(settings: &mut Map, environment: &[(OsString, OsString)], warnings: &mut Vec<String>) -> Result<(), Problem> {
    let (mut unknown, mut links) = (Vec::new(), Vec::new());
    for (name, value) in sorted(environment) {
        let Some(path) = name.strip_prefix("REGISTRY_") else { continue };
        let path: Vec<&str> = path.split('_').collect();
        let Some((key, typed)) = READ.into_iter().find(|(key, _)| key.to_uppercase() == path[0]) else {
            let is_known = KNOWN.contains(&path[0]) || owners::SECTIONS.contains(&path[0]);
            if is_service_link(&name, &value.to_string_lossy()) {
                links.push(name);
            } else if !is_known && name != CONFIGURATION_PATH {
                unknown.push(name);
            }
            continue;
        };
        if key == "http" && path.get(1).is_some_and(|key| !READ_OF_HTTP.contains(key)) {
            continue;
        }
        // What Kubernetes sets for a service that is called `registry-redis` names no setting of it.
        if key == "redis" && is_service_link(&name, &value.to_string_lossy()) {
            links.push(name);
            continue;
        }
        if is_service_link(&name, &value.to_string_lossy()) {
            warnings.push(format!(
                "{} looks like a service link of Kubernetes, and the registry takes it for a setting of {key}: {NO_SERVICE_LINKS}",
                escaped(&name)
            ));
        }
        let value = read(&name, value)?;
        if path.len() == 1 {
            settings.insert(key.into(), if key == "storage" { storage_section(value)? } else { value });
            continue;
        }
        let within = settings.entry(key.into()).or_insert(Node::Null);
        if within.as_map().is_none() {
            // Null, or the name of an authorization without parameters.
            *within = Node::Map(Map::new());
        }
        if let Node::Map(map) = within
            && !set(map, &path[1..], value, typed)
        {
            let whole = path[..path.len().min(4) - 1].join("_");
            warnings.push(format!(
                "{} changes nothing, in the registry neither: it does not look for variables of what is inside REGISTRY_{}, \
                 which can only be set as a whole",
                escaped(&name),
                escaped(&whole)
            ));
        }
    }
    if !links.is_empty() {
        let links = escaped(links.join(", "));
        warnings.push(format!("service links of Kubernetes, which the registry ignores: {links}; {NO_SERVICE_LINKS}"));
    }
    if !unknown.is_empty() {
        let unknown = escaped(unknown.join(", "));
        warnings.push(format!("no setting of the registry is behind {unknown}: ignored, as the registry ignores it"));
    }
    Ok(())
}

/// Whether Kubernetes sets such a variable for a service, such as one called `registry-auth`.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let after_port = |name: &str| {
        let (_, rest) = name.split_once("_PORT_")?;
        let mut parts = rest.split('_');
        let is_port = parts.next()?.bytes().all(|byte| byte.is_ascii_digit());
        (is_port && ["TCP", "UDP", "SCTP"].contains(&parts.next()?)).then_some(())
    };
    let is_of_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    (name.ends_with("_PORT") && is_url) || is_of_service || after_port(name).is_some()
}

/// The variables by name. Of equal names the first counts, as in Go.
pub(super) fn sorted(environment: &[(OsString, OsString)]) -> Vec<(String, &OsStr)> {
    let mut variables: Vec<_> =
        environment.iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value.as_os_str())).collect();
    variables.sort_by(|(left, _), (right, _)| left.cmp(right));
    variables.dedup_by(|(later, _), (earlier, _)| later == earlier);
    variables
}

fn read(name: &str, value: &OsStr) -> Result<Node, Problem> {
    let text = value.to_str().ok_or_else(|| Problem::VariableNotUtf8 { name: name.to_owned() })?;
    yaml::read(text.as_bytes()).map_err(|source| Problem::Variable { name: name.to_owned(), source })
}

/// Sets what a path leads to. `typed` says how many levels of maps below this one may be changed; false if one of those below
/// had to be.
fn set(map: &mut Map, path: &[&str], value: Node, typed: usize) -> bool {
    let (name, below) = (path[0], &path[1..]);
    if below.is_empty() {
        map.insert(name.to_lowercase(), value);
        return true;
    }
    match map.iter_mut().find(|(key, node)| key.to_uppercase() == name && **node != Node::Null) {
        Some((_, Node::Map(inner))) => typed > 0 && set(inner, below, value, typed - 1),
        Some((_, Node::Made(inner))) => set(inner, below, value, 0),
        Some(_) => false,
        None => {
            let mut inner = Map::new();
            set(&mut inner, below, value, typed.saturating_sub(1));
            map.insert(name.to_lowercase(), if typed > 0 { Node::Map(inner) } else { Node::Made(inner) });
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn overlaid(file: &str, variables: &[(&str, &str)]) -> (Node, Vec<String>) {
        let Node::Map(mut settings) = yaml::read(file.as_bytes()).expect("YAML") else { panic!("not a map: {file}") };
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut warnings = Vec::new();
        apply(&mut settings, &environment, &mut warnings).expect("values");
        (Node::Map(settings), warnings)
    }

    #[test]
    fn finds_keys_by_their_upper_case_and_makes_them_in_lower_case() {
        for (file, name, expected) in [
            ("{storage: {a: {b: 1}}}", "STORAGE_A_B", "{storage: {a: {b: x}}}"),
            ("{storage: {a: {b: {}}}}", "STORAGE_A_B", "{storage: {a: {b: x}}}"),
            ("{storage: {A: {B: 1}}}", "STORAGE_A_B", "{storage: {A: {B: 1, b: x}}}"),
            ("{storage: {A: null}}", "STORAGE_A_B", "{storage: {A: null, a: {b: x}}}"),
            ("{storage: {a: {c: 1}}}", "STORAGE_a_b", "{storage: {a: {b: x}}}"),
            ("{storage: null}", "STORAGE_A_B", "{storage: {a: {b: x}}}"),
            ("{}", "STORAGE_A_B", "{storage: {a: {b: x}}}"),
            ("{}", "STORAGE_", "{storage: {'': x}}"),
            ("{}", "VALIDATION_DISABLED", "{validation: {disabled: x}}"),
            ("{}", "STORAGE", "{storage: {x: {}}}"),
            ("{auth: a}", "AUTH_A_B", "{auth: {a: {b: x}}}"),
            ("{a: b}", "HTTP_ADDR", "{a: b, http: {addr: x}}"),
            ("{a: b}", "HTTP_SECRET", "{a: b}"),
            ("{a: b}", "LOG_LEVEL", "{a: b}"),
        ] {
            let (settings, warnings) = overlaid(file, &[(&format!("REGISTRY_{name}"), "x")]);
            assert_eq!(settings, yaml::read(expected.as_bytes()).expect("YAML"), "{file} {name}");
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }

    #[test]
    fn changes_nothing_in_nested_maps_of_the_file_and_says_so() {
        for file in ["{storage: {a: {b: {c: 1}}}}", "{storage: {a: {b: {}}}}", "{storage: {a: {b: 1}}}"] {
            let (settings, warnings) = overlaid(file, &[("REGISTRY_STORAGE_A_B_C", "x")]);
            assert_eq!(settings, yaml::read(file.as_bytes()).expect("YAML"));
            assert!(warnings[0].starts_with("REGISTRY_STORAGE_A_B_C changes nothing"), "{warnings:?}");
        }
        let (settings, warnings) = overlaid("{}", &[("REGISTRY_STORAGE_A_B_C", "1"), ("REGISTRY_STORAGE_A_B_D", "2")]);
        let (nested, silent) = overlaid("{validation: {a: {b: {}}}}", &[("REGISTRY_VALIDATION_A_B_C", "1")]);
        assert_eq!(nested, yaml::read(b"{validation: {a: {b: {c: 1}}}}").expect("YAML"));
        assert!(silent.is_empty());
        let made = settings.get("storage").and_then(|storage| storage.get("a")?.get("b"));
        assert!(matches!(made, Some(Node::Made(map)) if map.len() == 2), "{settings:?}");
        assert!(warnings.is_empty());
    }

    #[test]
    fn applies_in_the_order_of_names_and_takes_the_first_of_equal_ones() {
        let below = ("REGISTRY_STORAGE_A_B", "1");
        let (settings, _) = overlaid("{storage: {z: {}}}", &[below, ("REGISTRY_STORAGE_A_B", "2"), ("REGISTRY_STORAGE", "a")]);
        assert_eq!(settings, yaml::read(b"{storage: {a: {b: 1}}}").expect("YAML"));
    }

    #[test]
    fn names_the_variables_that_mean_nothing() {
        let variables =
            [("REGISTRY_PORT", "["), ("REGISTRY_storage_X", "1"), ("REGISTRY_CONFIGURATION_PATH", "/c"), ("registry_x", "1")];
        let (settings, warnings) = overlaid("{}", &variables);
        assert_eq!(settings, Node::Map(Map::new()));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("behind REGISTRY_PORT, REGISTRY_storage_X:"), "{warnings:?}");
    }

    #[test]
    fn names_the_service_links_of_kubernetes() {
        for (name, value) in [
            ("REGISTRY_AUTH_PORT", "tcp://10.0.0.1:5001"),
            ("REGISTRY_AUTH_SERVICE_HOST", "10.0.0.1"),
            ("REGISTRY_AUTH_PORT_5001_TCP_ADDR", "10.0.0.1"),
            ("REGISTRY_PROXY_SERVICE_PORT_HTTP", "80"),
        ] {
            let (_, warnings) = overlaid("{}", &[(name, value)]);
            assert!(
                warnings.iter().any(|warning| warning.starts_with(&format!("{name} looks like a service link"))),
                "{warnings:?}"
            );
        }
        let (_, warnings) = overlaid("{}", &[("REGISTRY_AUTH_HTPASSWD_PATH", "/x"), ("REGISTRY_PROXY_REMOTEURL", "https://x")]);
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn names_the_variable_that_cannot_be_read() {
        let broken = |name: &str, value: OsString| apply(&mut Map::new(), &[(name.into(), value)], &mut Vec::new());
        let latin = || OsString::from_vec(vec![b'/', 0xe9]);
        let problem = broken("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", latin()).expect_err("not UTF-8");
        assert!(problem.to_string().contains("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"), "{problem}");
        let problem = broken("REGISTRY_STORAGE_DELETE", "[".into()).expect_err("not YAML");
        assert!(problem.to_string().contains("REGISTRY_STORAGE_DELETE"), "{problem}");
        broken("REGISTRY_HTTP_SECRET", latin()).expect("not looked into");
    }
}
