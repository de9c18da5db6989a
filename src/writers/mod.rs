//! Who else may write to the store while a sweep removes things from it.
//!
//! A registry takes no lock, so nothing proves that none is at work. Several signs are looked for, each of which is enough to stop:
//! a registry that says it takes pushes, a process that has a file of the store open for writing, and a process that sees the store
//! mounted where we do not, as containers do. None of them sees another machine that has the same volume.

mod http;
mod processes;

use std::path::Path;

pub use self::http::{Answer, Endpoint};
pub use self::processes::{OpenFiles, Sign};
use crate::error::Error;
use crate::registry_config::RegistryConfig;

/// What to do about a registry at work.
const WAYS_OUT: &str = "stop it, make it read-only (storage.maintenance.readonly.enabled: true, and restart it), or give --online; \
                        --assume-offline goes on regardless";

/// Makes sure, as far as anybody can, that nobody writes to the store below `root`.
///
/// # Errors
///
/// [`Error::Brake`] when somebody may.
pub fn none_at_work(root: &Path, registry: Option<&RegistryConfig>, urls: &[String]) -> Result<(), Error> {
    let said_read_only = ask(registry, urls)?;
    for sign in processes::signs(root) {
        match &sign {
            // Whoever only looks may have it mounted.
            Sign::Mounted { .. } if said_read_only => tracing::warn!("{sign}, and is taken for the registry that is read-only"),
            _ => return Err(Error::Brake { reason: sign.to_string(), lift: WAYS_OUT.to_owned() }),
        }
    }
    Ok(())
}

/// Asks each registry. Says whether one answered that it is read-only.
fn ask(registry: Option<&RegistryConfig>, urls: &[String]) -> Result<bool, Error> {
    let configured = registry.and_then(|registry| Endpoint::of(&registry.http));
    let given = urls.iter().map(|url| Endpoint::given(url)).collect::<Result<Vec<_>, _>>()?;
    let says_read_only = registry.is_some_and(|registry| registry.read_only);
    let mut read_only = false;
    for endpoint in configured.into_iter().chain(given) {
        let reason = match endpoint.ask() {
            Answer::Down => continue,
            Answer::ReadOnly | Answer::Unknown(_) if registry.is_some_and(|registry| registry.proxy_remote.is_some()) => {
                let reason = format!(
                    "the registry at {endpoint} is a pull-through cache, which writes to its store whenever somebody pulls, read-only or not"
                );
                return Err(Error::Brake { reason, lift: "stop it, or give --assume-offline".to_owned() });
            }
            Answer::ReadOnly => {
                read_only = true;
                continue;
            }
            Answer::Writable => format!("a registry that takes pushes answers at {endpoint}"),
            Answer::Unknown(why) if says_read_only && !matches!(endpoint, Endpoint::Given(_)) => {
                tracing::warn!(
                    "the registry at {endpoint} does not say whether it takes pushes ({why}); its configuration says read-only"
                );
                read_only = true;
                continue;
            }
            Answer::Unknown(why) => format!("what answers at {endpoint} does not say whether it takes pushes ({why})"),
        };
        return Err(Error::Brake { reason, lift: WAYS_OUT.to_owned() });
    }
    Ok(read_only)
}
