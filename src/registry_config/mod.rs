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
//! | `storage.s3` | a bucket; its keys are in `s3.rs` |
//! | `storage.maintenance.readonly.enabled` | whether the registry takes no pushes |
//! | `storage.cache.blobdescriptor`, or `layerinfo` | whether the registry remembers blobs |
//! | `redis` | where it remembers them, if it is in a redis |
//! | `proxy.remoteurl` | whether the registry is a pull-through cache |
//! | `auth.*.realm`, `validation.disabled` | whether the configuration is Harbor's |
//! | `database`, `openshift` and others, see `owners.rs` | whether another program's database says what is needed |
//! | `http.addr`, `http.net`, `http.tls`, `http.prefix` | where the registry can be asked whether it takes pushes |
//!
//! Where the registry takes something that nobody can have meant (a root of `null`, which it makes a directory `<nil>`), this refuses
//! it. Where its server does not start but its collector would, the setting counts as not made, with a warning.

mod blame;
mod cache;
mod descriptors;
mod environment;
mod load;
mod owners;
mod problem;
mod redis;
mod s3;
mod server;
mod storage;
#[cfg(test)]
mod tests;
mod variables;
mod yaml;

pub use self::blame::Blame;
pub use self::cache::CacheSign;
pub use self::descriptors::DescriptorCache;
pub use self::environment::CONFIGURATION_PATH;
pub use self::load::{RegistryConfig, load, load_text};
pub use self::owners::Owners;
pub use self::problem::{ConfigError, Problem};
pub use self::redis::{Login, RedisServer};
pub(crate) use self::s3::{ca_bundle, clean_prefix, with_scheme};
pub use self::server::Listening;
pub use self::variables::Variables;
