//! Whether change times show when files came to their place, on filesystems without creation times.
//!
//! A change time is that of the last write, rename, link or change of owner. Where one command has touched the whole
//! store (`chown -R`, a backup by hard links, a restore) it is meaningless for a single file.

use crate::error::Error;
use crate::finding::{Code, Finding};
use crate::inventory::{Inventory, MarkFlags};
use crate::policy::{Arrivals, Policy};
use crate::store::{Arrival, FileState, Store};

/// Adapts the policy to the store, and returns a finding about it if needed. Calls `stat` on one blob of each shard.
///
/// # Errors
///
/// When `stat` fails for a blob.
pub fn arrivals(store: &dyn Store, inventory: &Inventory, policy: Policy) -> Result<(Policy, Option<Finding>), Error> {
    if policy.arrival_window().is_zero() {
        return Ok((policy, None));
    }
    let samples = inventory.map_shards(|shard, blobs| {
        // A blob that is only in quarantine is not in the store.
        let first: Vec<_> = blobs.filter(|(blob, _)| !inventory.has_any(*blob, MarkFlags::QUARANTINED)).take(1).collect();
        let states = inventory.states(store, shard, &first)?;
        Ok(states.into_iter().find_map(|state| match state {
            FileState::File(stat) => stat.arrived,
            FileState::Absent | FileState::Irregular => None,
        }))
    })?;
    Ok(judge(&samples.into_iter().flatten().collect::<Vec<_>>(), policy))
}

fn judge(samples: &[Arrival], policy: Policy) -> (Policy, Option<Finding>) {
    let changed: Vec<_> = samples.iter().filter(|sample| matches!(sample, Arrival::Changed(_))).collect();
    let recent = changed.iter().filter(|sample| policy.has_just_arrived(sample)).count();
    match 2 * recent > changed.len() {
        true => (Policy { arrivals: Arrivals::Born, ..policy }, Some(Finding::new(Code::RecentChanges))),
        false => (policy, None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn change_times_of_the_whole_store_say_nothing() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
        let policy = Policy::new(hour, Arrivals::BornOrChanged, now);
        let mixed = |recent: usize, old: usize| {
            let mut samples = vec![Arrival::Changed(now - minute); recent];
            samples.extend(vec![Arrival::Changed(now - 2 * hour); old]);
            samples.extend(vec![Arrival::Born(now - minute); 10]);
            judge(&samples, policy)
        };
        for (recent, old, expected) in [
            (0, 0, Arrivals::BornOrChanged),
            (3, 4, Arrivals::BornOrChanged),
            (4, 4, Arrivals::BornOrChanged),
            (5, 4, Arrivals::Born),
            (1, 0, Arrivals::Born),
        ] {
            let (policy, said) = mixed(recent, old);
            assert_eq!((policy.arrivals, said.is_some()), (expected, expected == Arrivals::Born), "{recent} of {}", recent + old);
        }
    }
}
