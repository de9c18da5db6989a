//! Who else than this store's link files may know what is needed, as far as the configuration and the variables tell.
//!
//! | Owner | Sign |
//! | --- | --- |
//! | GitLab | `database.enabled`, in the file or by `REGISTRY_DATABASE_ENABLED`: anything but `false` |
//! | GitLab, unless `filesystem-in-use` is there | `prefer`; or nothing said and another setting that only GitLab's registry has: from version 19 on its database is the default |
//! | OpenShift | an `openshift` section, `auth: openshift`, a middleware of that name, `REGISTRY_OPENSHIFT_*` |
//! | Harbor | its realm in any `auth`; no validation together with `layerinfo: redis` |
//!
//! Variables count with a configuration and without one: `variables.rs`.

use std::ffi::OsString;

use super::environment::is_service_link;
use super::yaml::{self, Map, Node};
use crate::escape::escaped;

/// The sections of the variables that are read here and that the registry itself does not know.
pub(super) const SECTIONS: [&str; 6] = ["DATABASE", "GC", "MIGRATION", "OPENSHIFT", "PROFILING", "RATELIMITER"];

/// The settings that only GitLab's registry has: distribution reads none of them, in version 2 or 3 (source:
/// `configuration/configuration.go` of each).
const GITLAB_SETTINGS: [&str; 18] = [
    "database",
    "gc",
    "migration",
    "profiling",
    "rate_limiter",
    "ratelimiter",
    "health.database",
    "http.debug.pprof",
    "http.debug.tls",
    "log.accesslog.formatter",
    "log.output",
    "redis.cache",
    "redis.loadbalancing",
    "redis.mainname",
    "redis.ratelimiter",
    "reporting.sentry",
    "validation.manifests.payloadsizelimit",
    "validation.manifests.referencelimit",
];

/// The realm in the configuration that Harbor gives its registry.
pub(super) const HARBOR_REALM: &str = "harbor-registry-basic-realm";

/// What speaks for another owner; each sign as a message names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// GitLab's metadata database is on.
    pub gitlab: Option<String>,
    /// It is on unless GitLab's registry found that the link files are in use.
    pub gitlab_by_default: Option<String>,
    /// OpenShift keeps the tags.
    pub openshift: Option<String>,
    /// Harbor does.
    pub harbor: Option<String>,
}

/// What a setting says of GitLab's database.
enum State {
    On,
    Prefer,
    Off,
    NotSaid,
}

impl Owners {
    /// The signs in the settings, and in the variables that the registry does not know.
    pub(super) fn new(settings: &Map, environment: &[(OsString, OsString)]) -> Owners {
        let variables = variables(environment);
        let mut owners = Owners {
            openshift: openshift(settings, &variables, environment),
            harbor: harbor(settings, environment),
            ..Owners::default()
        };
        let (mut is_off, mut prefers) = (false, None);
        for (sign, state) in database_states(settings, &variables) {
            match state {
                State::On => owners.gitlab = owners.gitlab.or(Some(sign)),
                State::Prefer => prefers = prefers.or(Some(sign)),
                State::Off => is_off = true,
                State::NotSaid => {}
            }
        }
        owners.gitlab_by_default = prefers.or_else(|| gitlab_shape(settings, &variables, environment).filter(|_| !is_off));
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
        let is_ours = SECTIONS.contains(&section) && !is_service_link(name, &value);
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
fn gitlab_shape(settings: &Map, variables: &[(String, Node)], environment: &[(OsString, OsString)]) -> Option<String> {
    let has = |path: &str| match path.split_once('.') {
        Some((section, below)) => settings.get(section).is_some_and(|section| leads_on(section, below.split('.'))),
        None => settings.contains_key(path),
    };
    let by_setting = GITLAB_SETTINGS.iter().find(|path| has(path)).map(|path| match path.contains('.') {
        true => format!("the setting {path}{}", from(path, environment)),
        false => format!("the section {path}"),
    });
    let by_auth = || {
        let auth = settings.get("auth").and_then(Node::as_map)?;
        let text = |parameters: &Node, key: &str| parameters.get(key).and_then(Node::as_text).unwrap_or_default().to_owned();
        auth.iter().find_map(|(method, parameters)| {
            let (issuer, realm) = (text(parameters, "issuer"), text(parameters, "realm"));
            if issuer.contains("gitlab-issuer") {
                Some(sign(&format!("auth.{method}.issuer"), &issuer, environment))
            } else {
                realm.ends_with("/jwt/auth").then(|| sign(&format!("auth.{method}.realm"), &realm, environment))
            }
        })
    };
    let by_section = || variables.iter().map(|(name, _)| &**name).find(|name| !name.starts_with("REGISTRY_OPENSHIFT"));
    let by_variable = || by_section().or_else(|| gitlab_variable(environment));
    by_setting.or_else(by_auth).or_else(|| by_variable().map(|name| format!("the variable {}", escaped(name))))
}

/// Whether there is something below a setting.
fn leads_on<'k>(from: &Node, mut keys: impl Iterator<Item = &'k str>) -> bool {
    keys.try_fold(from, |node, key| node.get(key)).is_some()
}

/// The first variable of a setting that only GitLab's registry has: of it, of what is below, or of what is around it.
fn gitlab_variable(environment: &[(OsString, OsString)]) -> Option<&str> {
    let is_gitlabs = |name: &str, value: &OsString| {
        let Some(name) = name.strip_prefix("REGISTRY_") else { return false };
        let said: Vec<&str> = name.split('_').collect();
        GITLAB_SETTINGS.iter().any(|path| {
            let keys: Vec<&str> = path.split('.').collect();
            let is_along = said.iter().zip(&keys).all(|(part, key)| *part == key.to_uppercase());
            let reaches = || {
                yaml::read(value.to_string_lossy().as_bytes())
                    .is_ok_and(|value| leads_on(&value, keys[said.len()..].iter().copied()))
            };
            is_along && (said.len() >= keys.len() || reaches())
        })
    };
    let names = environment.iter().filter_map(|(name, value)| {
        let name = name.to_str()?;
        // A service of Kubernetes may be called so as well.
        (!is_service_link(name, &value.to_string_lossy()) && is_gitlabs(name, value)).then_some(name)
    });
    names.min()
}

/// A setting with its value, and with the variables that have a part in it.
fn sign(key: &str, value: &str, environment: &[(OsString, OsString)]) -> String {
    format!("{}: {}{}", escaped(key), escaped(value), from(key, environment))
}

/// The variables that have a part in a setting, in parentheses.
fn from(key: &str, environment: &[(OsString, OsString)]) -> String {
    let whole = format!("REGISTRY_{}", key.to_uppercase().replace('.', "_"));
    // A section may come from one variable as a whole, or from one for each key.
    let has_part = |name: &str| {
        let (short, long) = if name.len() < whole.len() { (name, &*whole) } else { (&*whole, name) };
        name.starts_with("REGISTRY_") && long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    let names = environment.iter().filter_map(|(name, _)| name.to_str()).filter(|name| has_part(name));
    let mut names: Vec<String> = names.map(escaped).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { String::new() } else { format!(" (from {})", names.join(", ")) }
}

fn harbor(settings: &Map, environment: &[(OsString, OsString)]) -> Option<String> {
    let has_realm = |parameters: &Node| parameters.get("realm").and_then(Node::as_text) == Some(HARBOR_REALM);
    let auth = settings.get("auth").and_then(Node::as_map);
    if let Some((method, _)) = auth.into_iter().flatten().find(|(_, parameters)| has_realm(parameters)) {
        return Some(sign(&format!("auth.{method}.realm"), HARBOR_REALM, environment));
    }
    let unvalidated = settings.get("validation").and_then(|validation| validation.get("disabled")?.as_bool()) == Some(true);
    let layer_info = settings.get("storage").and_then(|storage| storage.get("cache")?.get("layerinfo")?.as_text());
    let shown = |key, value| sign(key, value, environment);
    (unvalidated && layer_info == Some("redis"))
        .then(|| format!("{} and {}", shown("validation.disabled", "true"), shown("storage.cache.layerinfo", "redis")))
}

fn openshift(settings: &Map, variables: &[(String, Node)], environment: &[(OsString, OsString)]) -> Option<String> {
    let is_openshift = |node: &Node| node.as_text() == Some("openshift");
    if settings.contains_key("openshift") {
        return Some("the section openshift".to_owned());
    }
    let auth = settings.get("auth");
    if auth.is_some_and(|auth| is_openshift(auth) || auth.get("openshift").is_some()) {
        return Some(sign("auth", "openshift", environment));
    }
    let kinds = settings.get("middleware").and_then(Node::as_map);
    for (kind, listed) in kinds.into_iter().flatten() {
        let listed = if let Node::List(listed) = listed { listed.as_slice() } else { &[] };
        if listed.iter().any(|one| one.get("name").is_some_and(is_openshift)) {
            return Some(format!("the middleware openshift in middleware.{}", escaped(kind)));
        }
    }
    let ours = variables.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("REGISTRY_OPENSHIFT"));
    let mut names: Vec<&str> = ours.chain(middleware(environment)).collect();
    names.sort_unstable();
    names.first().map(|name| format!("the variable {}", escaped(name)))
}

/// The variables that set a middleware of OpenShift, which its registry reads without a section in the file.
fn middleware(environment: &[(OsString, OsString)]) -> impl Iterator<Item = &str> {
    let is_openshift = |name: &str, value: &str| {
        let Some(rest) = name.strip_prefix("REGISTRY_MIDDLEWARE") else { return false };
        let is_below = rest.is_empty() || rest.starts_with('_');
        let by_name = || rest.split('_').any(|part| part == "OPENSHIFT");
        let by_value = || yaml::read(value.as_bytes()).is_ok_and(|value| names_openshift(&value));
        is_below && !is_service_link(name, value) && (by_name() || by_value())
    };
    environment.iter().filter_map(move |(name, value)| {
        let name = name.to_str()?;
        is_openshift(name, &value.to_string_lossy()).then_some(name)
    })
}

fn names_openshift(node: &Node) -> bool {
    match node {
        Node::List(listed) => listed.iter().any(names_openshift),
        Node::Map(map) => map.get("name").and_then(Node::as_text) == Some("openshift") || map.values().any(names_openshift),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Variables;
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
            "{profiling: {stackdriver: {enabled: true}}}",
            "{reporting: {sentry: {enabled: true}}}",
            "{redis: {cache: {enabled: true}}}",
            "{redis: {addr: 'r:6379', cache: null}}",
            "{redis: {ratelimiter: {}, addr: 'r:6379'}}",
            "{redis: {loadbalancing: {enabled: true}}}",
            "{redis: {addr: 'r:26379', mainname: m}}",
            "{health: {database: {enabled: true}}}",
            "{http: {debug: {pprof: {enabled: true}}}}",
            "{validation: {manifests: {referencelimit: 200}}}",
            "{log: {output: stderr, accesslog: {formatter: json}}}",
        ] {
            let owners = owners(file, &[]);
            assert!(owners.gitlab_by_default.is_some() && owners.gitlab.is_none(), "{file}: {owners:?}");
        }
        for name in ["REGISTRY_DATABASE_HOST", "REGISTRY_GC_DISABLED", "REGISTRY_MIGRATION_ENABLED"] {
            let sign = owners("{}", &[(name, "x")]).gitlab_by_default;
            assert!(sign.is_some_and(|sign| sign.contains(name)), "{name}");
        }
        for (name, value) in [
            ("REGISTRY_PROFILING_STACKDRIVER_ENABLED", "true"),
            ("REGISTRY_REPORTING_SENTRY_ENABLED", "true"),
            ("REGISTRY_REPORTING", "{sentry: {dsn: x}}"),
            ("REGISTRY_REDIS_CACHE", "{enabled: true}"),
            ("REGISTRY_REDIS_CACHE_ENABLED", "true"),
            ("REGISTRY_HTTP_DEBUG_PPROF_ENABLED", "true"),
            ("REGISTRY_LOG", "{level: info, output: stdout}"),
        ] {
            let sign = owners("{}", &[(name, value)]).gitlab_by_default;
            assert!(sign.is_some_and(|sign| sign.contains(name)), "{name}");
        }
        // What distribution reads in version 2 or 3, or what is another's.
        for file in [
            "{}",
            "{auth: {token: {realm: 'https://auth.example/token', issuer: me}}}",
            "{auth: silly}",
            "{reporting: {bugsnag: {apikey: x}, newrelic: {licensekey: x}}}",
            "{redis: {addr: 'r:6379', db: 1, tls: {enabled: true}, pool: {maxidle: 1, maxactive: 2, idletimeout: 3s}}}",
            "{redis: {addrs: ['r:26379'], mastername: m, sentinelusername: u, sentinelpassword: p, tls: {certificate: c}}}",
            "{health: {storagedriver: {enabled: true}, file: [{file: /x}]}}",
            "{http: {debug: {addr: ':5001', prometheus: {enabled: true}}, tls: {certificate: c}}}",
            "{log: {accesslog: {disabled: true}, level: info, formatter: json, fields: {output: x}}}",
            "{validation: {manifests: {urls: {allow: ['.']}, indexes: {platforms: none}}}}",
            "{storage: {cache: {blobdescriptor: redis}}, redis: nonsense, reporting: [sentry]}",
        ] {
            assert_eq!(owners(file, &[]), Owners::default(), "{file}");
        }
        for (name, value) in [
            ("REGISTRY_REPORTING_BUGSNAG_APIKEY", "x"),
            ("REGISTRY_REDIS_CACHE_SERVICE_HOST", "10.0.0.1"),
            ("REGISTRY_LOG_LEVEL", "info"),
            ("REGISTRY_LOG", "{level: info}"),
            ("REGISTRY_HTTP_DEBUG_ADDR", ":5001"),
            ("REGISTRY_REPORTINGS_SENTRY", "x"),
        ] {
            assert_eq!(owners("{}", &[(name, value)]), Owners::default(), "{name}");
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

    #[test]
    fn variables_alone_are_signs() {
        let of = |name: &str, value: &str| Variables::read(&[(name.into(), value.into())]).owners;
        let realm = format!("{{htpasswd: {{realm: {HARBOR_REALM}}}}}");
        for (name, value) in [
            ("REGISTRY_AUTH", "openshift"),
            ("REGISTRY_AUTH", "{openshift: {realm: x}}"),
            ("REGISTRY_AUTH_OPENSHIFT_REALM", "x"),
            ("REGISTRY_MIDDLEWARE_REPOSITORY_OPENSHIFT_ENFORCEQUOTA", "false"),
            ("REGISTRY_MIDDLEWARE_REPOSITORY", "[{name: openshift}]"),
            ("REGISTRY_MIDDLEWARE", "{registry: [{name: openshift}]}"),
        ] {
            let sign = of(name, value).openshift;
            assert!(sign.is_some_and(|sign| sign.contains(name)), "{name}={value}");
        }
        for (name, value) in [
            ("REGISTRY_AUTH_TOKEN_ISSUER", "omnibus-gitlab-issuer"),
            ("REGISTRY_AUTH_TOKEN_REALM", "https://gitlab.example/jwt/auth"),
            ("REGISTRY_AUTH_TOKEN", "{issuer: gitlab-issuer}"),
            ("REGISTRY_AUTH", "{token: {issuer: gitlab-issuer}}"),
        ] {
            let sign = of(name, value).gitlab_by_default;
            assert!(sign.is_some_and(|sign| sign.contains(name)), "{name}={value}");
        }
        for (name, value) in [("REGISTRY_AUTH_HTPASSWD_REALM", HARBOR_REALM), ("REGISTRY_AUTH", &realm)] {
            let sign = of(name, value).harbor;
            assert!(sign.is_some_and(|sign| sign.contains(name)), "{name}={value}");
        }
        let both = [("REGISTRY_STORAGE_CACHE_LAYERINFO", "redis"), ("REGISTRY_VALIDATION_DISABLED", "true")];
        let both = both.map(|(name, value)| (name.into(), value.into()));
        let sign = Variables::read(&both).owners.harbor.expect("both");
        assert!(sign.contains("REGISTRY_VALIDATION_DISABLED") && sign.contains("REGISTRY_STORAGE_CACHE_LAYERINFO"), "{sign}");
        for (name, value) in [
            ("REGISTRY_AUTH", "silly"),
            ("REGISTRY_AUTH", "["),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "openshift"),
            ("REGISTRY_AUTH_TOKEN_REALM", "https://auth.example/token"),
            ("REGISTRY_AUTH_OPENSHIFT_PORT", "tcp://10.0.0.1:80"),
            ("REGISTRY_AUTH_OPENSHIFT_SERVICE_HOST", "10.0.0.1"),
            ("REGISTRY_MIDDLEWARE_OPENSHIFT_SERVICE_HOST", "10.0.0.1"),
            ("REGISTRY_MIDDLEWARE_STORAGE", "[{name: cloudfront}]"),
            ("REGISTRY_AUTHOR", "openshift"),
            ("REGISTRY_STORAGE_CACHE_LAYERINFO", "redis"),
            ("REGISTRY_VALIDATION_DISABLED", "true"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "["),
        ] {
            assert_eq!(of(name, value), Owners::default(), "{name}={value}");
        }
        let shadowed = [("REGISTRY_AUTH", "["), ("REGISTRY_AUTH_TOKEN_ISSUER", "gitlab-issuer")];
        let shadowed = shadowed.map(|(name, value)| (name.into(), value.into()));
        assert!(Variables::read(&shadowed).owners.gitlab_by_default.is_some(), "one that cannot be read hides no other");
    }
}
