//! What the operator wants kept: which revisions are roots, and how young is too young to judge.

use std::time::{Duration, SystemTime};

/// Where marking starts in each repository. Tags are roots under either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootPolicy {
    /// Every revision is a root: only what no revision needs goes.
    AllRevisions,
    /// Revisions that no tag reaches go too, unless they refer to one that is kept (`--delete-untagged`).
    TaggedOnly,
}

/// What to keep, and as of when.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Where marking starts.
    pub roots: RootPolicy,
    /// What is younger than this is never removed (G2).
    pub min_age: Duration,
    /// The moment that ages are counted back from: when the run began.
    pub now: SystemTime,
}

impl Policy {
    /// Whether something modified then is too young to be judged. What lies in the future counts as young: a clock is wrong
    /// somewhere, and nobody can tell which.
    pub fn is_young(&self, modified: SystemTime) -> bool {
        self.now.duration_since(modified).map_or(true, |age| age < self.min_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_future_is_young_whatever_the_minimum_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let policy = |min_age| Policy { roots: RootPolicy::AllRevisions, min_age, now };
        let hour = Duration::from_secs(3600);
        assert!(policy(hour).is_young(now - hour + Duration::from_nanos(1)));
        assert!(!policy(hour).is_young(now - hour));
        assert!(!policy(Duration::ZERO).is_young(now));
        assert!(policy(Duration::ZERO).is_young(now + Duration::from_nanos(1)));
    }
}
