//! Signs that a registry is a pull-through cache, which writes to its store whenever somebody pulls.

use std::fmt;

use crate::error::Error;
use crate::layout;

/// What says that a registry is a pull-through cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheSign {
    /// Its configuration.
    Configured,
    /// The file in which such a one keeps what it has cached. It may be left from before.
    State,
}

impl fmt::Display for CacheSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheSign::Configured => f.write_str("is a pull-through cache"),
            CacheSign::State => write!(f, "may be a pull-through cache ({} is there)", layout::PROXY_STATE),
        }
    }
}

impl CacheSign {
    /// To make a pull-through cache read-only, or to collect beside it, is no way out.
    pub(super) fn brake(self, reason: String) -> Error {
        let unless = if self == CacheSign::State { ", also if it is no such cache any more" } else { "" };
        Error::Brake { reason, lift: format!("stop it, or give --assume-offline{unless}") }
    }
}
