//! What says that a registry is a pull-through cache: one judgement for all commands.

use std::fmt;

use super::{RegistryConfig, Variables};
use crate::escape::escaped;
use crate::layout;
use crate::store::Root;

/// What says that a registry is a pull-through cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSign {
    /// Its configuration.
    Configured,
    /// Variables, where there is no configuration. They may be another registry's.
    Variables(String),
    /// The file in which such a one keeps what it has cached. It may be left from before.
    State,
}

impl CacheSign {
    /// The first sign, if there is any.
    pub fn find(registry: Option<&RegistryConfig>, variables: &Variables, root: Option<&Root>) -> Option<CacheSign> {
        if registry.is_some_and(|registry| registry.proxy_remote.is_some()) {
            return Some(CacheSign::Configured);
        }
        let by_variable = variables.proxy.clone().map(CacheSign::Variables);
        by_variable.or_else(|| root.is_some_and(Root::has_cache_state).then_some(CacheSign::State))
    }

    /// Whether it may be a sign of something else.
    pub fn is_doubtful(&self) -> bool {
        *self != CacheSign::Configured
    }
}

impl fmt::Display for CacheSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheSign::Configured => f.write_str("is a pull-through cache"),
            CacheSign::Variables(names) => write!(f, "may be a pull-through cache ({} set)", escaped(names)),
            CacheSign::State => write!(f, "may be a pull-through cache ({} is there)", layout::PROXY_STATE),
        }
    }
}
