//! What the `REGISTRY_*` variables alone say, where no configuration is named.
//!
//! With `--root` the registry's environment may be there all the same: in its container it is. What it says is a sign that makes a run more
//! careful, and never less: that the registry is read-only, or keeps its storage elsewhere, is not believed without its file.
//!
//! | Variables | Meaning |
//! | --- | --- |
//! | those in `owners.rs` | another program's database says what is needed |
//! | `REGISTRY_PROXY`, `REGISTRY_PROXY_REMOTEURL` | the registry is a pull-through cache |
//! | `REGISTRY_STORAGE_CACHE` and what is below | the registry remembers blobs |
//! | `REGISTRY_HTTP_ADDR`, `_NET`, `_PREFIX`, `_TLS_*`, or `REGISTRY_HTTP` | where it can be asked whether it takes pushes |

use std::ffi::OsString;

use super::blame::variables_of;
use super::descriptors::DescriptorCache;
use super::environment::{self, is_service_link};
use super::redis::RedisServer;
use super::server::{listening, proxy_remote};
use super::yaml::{self, Map, Node};
use super::{Listening, Owners};

/// The variables that are laid over nothing, because a sign may be in them.
const SIGNS: [&str; 6] =
    ["REGISTRY_AUTH", "REGISTRY_HTTP", "REGISTRY_PROXY", "REGISTRY_REDIS", "REGISTRY_STORAGE_CACHE", "REGISTRY_VALIDATION"];

/// What the variables alone say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// What speaks for other owners.
    pub owners: Owners,
    /// The variables that make the registry a pull-through cache, if any do.
    pub proxy: Option<String>,
    /// The cache that remembers blobs.
    pub descriptor_cache: Option<DescriptorCache>,
    /// The server of that cache, if it is a redis.
    pub redis: Option<RedisServer>,
    /// Where the registry listens.
    pub http: Listening,
}

impl Variables {
    /// Reads the signs in the variables.
    pub fn read(environment: &[(OsString, OsString)]) -> Variables {
        let is_sign = |name: &str| {
            let rest = SIGNS.iter().find_map(|sign| name.strip_prefix(*sign));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        // The registry starts with none of those that are no YAML.
        let signs = environment.iter().filter(|(name, value)| {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            is_sign(&name) && !is_service_link(&name, &value) && yaml::read(value.as_bytes()).is_ok()
        });
        let signs: Vec<_> = signs.cloned().collect();
        let mut settings = Map::new();
        // What cannot be laid over is no sign that the registry would see.
        let _no_sign = environment::apply(&mut settings, &signs, &mut Vec::new());
        let proxies = || variables_of("proxy", &signs).join(", ");
        let descriptor_cache = settings.get("storage").and_then(Node::as_map).and_then(DescriptorCache::of);
        Variables {
            proxy: proxy_remote(&settings).map(|_| proxies()),
            redis: (descriptor_cache == Some(DescriptorCache::Redis)).then(|| RedisServer::of(&settings)),
            descriptor_cache,
            http: listening(&settings, &signs),
            owners: Owners::new(&settings, environment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Variables {
        Variables::read(&variables.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>())
    }

    #[test]
    fn a_remote_makes_a_pull_through_cache() {
        for (name, value) in [("REGISTRY_PROXY_REMOTEURL", "https://x"), ("REGISTRY_PROXY", "{remoteurl: 'https://x'}")] {
            assert_eq!(of(&[(name, value)]).proxy.as_deref(), Some(name), "{value}");
        }
        for (name, value) in [
            ("REGISTRY_PROXY_REMOTEURL", ""),
            ("REGISTRY_PROXY_REMOTEURL", "["),
            ("REGISTRY_PROXY_USERNAME", "x"),
            ("REGISTRY_PROXY", "x"),
            ("REGISTRY_PROXY_PORT", "tcp://10.0.0.1:80"),
            ("REGISTRY_PROXY_SERVICE_HOST", "10.0.0.1"),
            ("REGISTRY_PROXIES", "{remoteurl: x}"),
            ("registry_proxy_remoteurl", "https://x"),
        ] {
            assert_eq!(of(&[(name, value)]), Variables::default(), "{name}={value}");
        }
    }

    #[test]
    fn a_cache_of_descriptors_and_an_address_are_seen() {
        for (name, value, cache) in [
            ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory", Some(DescriptorCache::InMemory)),
            ("REGISTRY_STORAGE_CACHE_LAYERINFO", "redis", Some(DescriptorCache::Redis)),
            ("REGISTRY_STORAGE_CACHE", "{blobdescriptor: redis}", Some(DescriptorCache::Redis)),
            ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "nonsense", None),
        ] {
            assert_eq!(of(&[(name, value)]).descriptor_cache, cache, "{name}={value}");
        }
        let http =
            of(&[("REGISTRY_HTTP_ADDR", ":5001"), ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c"), ("REGISTRY_HTTP_PREFIX", "/p/")]).http;
        assert_eq!((http.address.as_deref(), http.has_tls, &*http.prefix), (Some(":5001"), true, "/p/"));
        assert_eq!(of(&[("REGISTRY_HTTP", "{addr: ':5001'}")]).http.address.as_deref(), Some(":5001"));
        assert_eq!(of(&[("REGISTRY_HTTP_PORT", "tcp://10.0.0.1:80")]), Variables::default(), "a service called registry-http");
    }

    #[test]
    fn nothing_in_them_makes_a_run_less_careful() {
        for (name, value) in [
            ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"),
            ("REGISTRY_STORAGE_MAINTENANCE", "{readonly: {enabled: true}}"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/elsewhere"),
            ("REGISTRY_STORAGE", "s3"),
        ] {
            assert_eq!(of(&[(name, value)]), Variables::default(), "{name}={value}");
        }
    }
}
