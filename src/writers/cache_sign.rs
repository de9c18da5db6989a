//! Pull-through caches, which write to their store whenever somebody pulls.

use crate::error::Error;
use crate::registry_config::CacheSign;

/// To make one read-only, or to collect beside it, is no way out.
pub(super) fn brake_of(sign: &CacheSign, reason: String) -> Error {
    let unless = if sign.is_doubtful() { ", also if it is no such cache any more" } else { "" };
    Error::Brake { reason, lift: format!("stop it, or give --assume-offline{unless}") }
}
