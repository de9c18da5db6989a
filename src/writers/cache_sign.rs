//! Pull-through caches, which write to their store on every pull.

use crate::error::Error;
use crate::registry_config::CacheSign;

/// Read-only mode and `--online` do not help: the lift names neither.
pub(super) fn brake_of(sign: &CacheSign, reason: String) -> Error {
    let unless = if sign.is_doubtful() { ", also if it is no such cache any more" } else { "" };
    Error::Brake { reason, lift: format!("stop it, or give --assume-offline{unless}") }
}
