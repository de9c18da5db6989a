//! The operator's policy: which revisions are roots, and what is too young to remove.

use std::time::{Duration, SystemTime};

use crate::store::{Arrival, Stat};

/// Where marking starts in each repository. Tags are roots under either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootPolicy {
    /// Every revision is a root: only content that no revision needs is removed.
    AllRevisions,
    /// Revisions that no tag reaches are removed too, unless they refer to a kept one (`--delete-untagged`).
    TaggedOnly,
}

/// What becomes of uploads that were begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploads {
    /// They are not looked at.
    Ignored,
    /// They are counted.
    Counted,
    /// Those that nobody has continued for so long go.
    OlderThan(Duration),
}

/// How long a file counts as young after its creation, whatever its modification time: copying and linking one image
/// takes no longer. A shorter minimum age replaces it.
const JUST_MADE: Duration = Duration::from_secs(3600);

/// A time this far ahead of the clock is wrong; two machines' clocks do not differ by that much.
const AHEAD: Duration = Duration::from_secs(600);

/// Which files count as young because they were just created in place: `cp -a` and `tar -x` keep old modification
/// times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// None.
    Ignored,
    /// Files whose creation time the filesystem reports.
    Born,
    /// Also files without a creation time, by their change time.
    BornOrChanged,
}

/// The age rules, and the time that they refer to.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Anything younger is never removed (G2).
    pub min_age: Duration,
    /// What else counts as young.
    pub arrivals: Arrivals,
    /// When the run began; ages are relative to it.
    pub now: SystemTime,
    /// Whether just created files are kept although the minimum age keeps nothing: a registry that takes no pushes does
    /// not exclude a copy into its store.
    pub keeps_arrivals: bool,
    /// What becomes of uploads.
    pub uploads: Uploads,
    /// Whether repositories go in which nothing is left.
    pub prunes_empty: bool,
    /// Whether referrers go whose subject is not stored, and tags that are named after it.
    pub drops_orphans: bool,
}

/// How old something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Old enough.
    Old,
    /// Too young until this time.
    Young(SystemTime),
    /// Too young until this time only because of its creation; the modification time is old.
    JustMade(SystemTime),
    /// Its time lies in the future, beyond any minimum age.
    Future,
}

impl Age {
    /// Whether it is too young to remove.
    pub fn is_young(self) -> bool {
        self != Age::Old
    }

    /// When it is old enough, if it is not and that is known.
    pub fn until(self) -> Option<SystemTime> {
        match self {
            Age::Young(until) | Age::JustMade(until) => Some(until),
            Age::Old | Age::Future => None,
        }
    }

    /// The combined age of two things that are removed only together.
    pub fn and(self, other: Age) -> Age {
        match (self, other) {
            (Age::Old, age) | (age, Age::Old) => age,
            (Age::Future, _) | (_, Age::Future) => Age::Future,
            (one, two) => {
                if one.until() < two.until() {
                    two
                } else {
                    one
                }
            }
        }
    }
}

/// Whether a time lies further ahead of `now` than two clocks differ.
pub fn is_ahead(time: SystemTime, now: SystemTime) -> bool {
    time.duration_since(now).is_ok_and(|ahead| ahead > AHEAD)
}

impl Policy {
    /// These age rules, for whoever looks at no uploads.
    pub fn new(min_age: Duration, arrivals: Arrivals, now: SystemTime) -> Policy {
        Policy {
            min_age,
            arrivals,
            now,
            keeps_arrivals: false,
            uploads: Uploads::Ignored,
            prunes_empty: false,
            drops_orphans: false,
        }
    }

    /// The age of a file. A time in the future counts as young: some clock is wrong, and it is unknown which one.
    pub fn age(&self, stat: &Stat) -> Age {
        match self.now.duration_since(stat.modified) {
            Err(_) if is_ahead(stat.modified, self.now) => return Age::Future,
            Ok(age) if age >= self.min_age => {}
            _ => return stat.modified.checked_add(self.min_age).map_or(Age::Future, Age::Young),
        }
        match stat.arrived {
            Some(arrival) if self.has_just_arrived(&arrival) => {
                let (Arrival::Born(time) | Arrival::Changed(time)) = arrival;
                time.checked_add(self.arrival_window()).map_or(Age::Old, Age::JustMade)
            }
            _ => Age::Old,
        }
    }

    /// Whether a file was just created in its place.
    pub fn has_just_arrived(&self, arrival: &Arrival) -> bool {
        let time = match (self.arrivals, arrival) {
            (Arrivals::Born, Arrival::Changed(_)) => return false,
            (_, Arrival::Born(time) | Arrival::Changed(time)) => *time,
        };
        let window = self.arrival_window();
        // A creation time in the future counts as young too, unless the window is zero.
        !window.is_zero() && self.now.duration_since(time).map_or(true, |age| age < window)
    }

    /// Whether a file is too young to remove.
    pub fn is_young(&self, stat: &Stat) -> bool {
        self.age(stat).is_young()
    }

    /// How long restored content counts as young: as long as after a push or a copy into place.
    pub fn restored_window(&self) -> Duration {
        if self.keeps_arrivals { self.min_age.max(JUST_MADE) } else { self.min_age }
    }

    /// The same for brakes, which ask what was there before a part of the store may have been lost: what is younger than an hour proves
    /// nothing, however short the minimum age is.
    pub fn of_evidence(self) -> Policy {
        let min_age = self.min_age.max(JUST_MADE);
        // With a shorter one, what was copied into place since is as old as its modification time says.
        let arrivals = if self.arrival_window() < JUST_MADE { Arrivals::Ignored } else { self.arrivals };
        Policy { min_age, arrivals, ..self }
    }

    /// How long something counts as young after it was made.
    pub fn arrival_window(&self) -> Duration {
        match self.arrivals {
            Arrivals::Ignored => Duration::ZERO,
            Arrivals::Born | Arrivals::BornOrChanged if self.keeps_arrivals => JUST_MADE,
            Arrivals::Born | Arrivals::BornOrChanged => self.min_age.min(JUST_MADE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn policy(min_age: Duration, arrivals: Arrivals) -> Policy {
        Policy::new(min_age, arrivals, now())
    }

    #[test]
    fn the_future_is_young_whatever_the_minimum_age() {
        let policy = |min_age| policy(min_age, Arrivals::Ignored);
        let at = |modified| Stat::new(1, modified);
        assert!(policy(HOUR).is_young(&at(now() - HOUR + Duration::from_nanos(1))));
        assert!(!policy(HOUR).is_young(&at(now() - HOUR)));
        assert!(!policy(Duration::ZERO).is_young(&at(now())));
        assert_eq!(policy(Duration::ZERO).age(&at(now() + AHEAD)), Age::Young(now() + AHEAD));
        assert_eq!(policy(Duration::ZERO).age(&at(now() + AHEAD + Duration::from_nanos(1))), Age::Future);
    }

    #[test]
    fn what_is_younger_than_an_hour_is_no_evidence() {
        let pushed = |ago: Duration| Stat::new(1, now() - ago);
        let copied = Stat { arrived: Some(Arrival::Born(now())), ..pushed(1000 * HOUR) };
        for min_age in [Duration::ZERO, HOUR / 2, HOUR, 24 * HOUR] {
            let policy = policy(min_age, Arrivals::Born).of_evidence();
            assert!(policy.is_young(&pushed(HOUR.max(min_age) - Duration::from_secs(1))), "{min_age:?}");
            assert!(!policy.is_young(&pushed(HOUR.max(min_age))), "{min_age:?}");
            assert_eq!(policy.is_young(&copied), min_age >= HOUR, "{min_age:?}");
        }
        // A registry that is read-only.
        let read_only = Policy { keeps_arrivals: true, ..policy(Duration::ZERO, Arrivals::Born) }.of_evidence();
        assert!(read_only.is_young(&copied) && read_only.is_young(&pushed(HOUR / 2)));
        let ignoring = Policy { keeps_arrivals: true, ..policy(Duration::ZERO, Arrivals::Ignored) }.of_evidence();
        assert!(!ignoring.is_young(&copied) && ignoring.is_young(&pushed(HOUR / 2)));
    }

    #[test]
    fn what_was_just_made_is_young_for_an_hour_or_the_minimum_age() {
        let old = now() - 1000 * HOUR;
        let made = |ago: Duration| Stat { arrived: Some(Arrival::Born(now() - ago)), ..Stat::new(1, old) };
        let changed = |ago: Duration| Stat { arrived: Some(Arrival::Changed(now() - ago)), ..Stat::new(1, old) };
        let minute = Duration::from_secs(60);
        for (min_age, ago, young) in [
            (HOUR, minute, true),
            (HOUR, HOUR, false),
            (24 * HOUR, 59 * minute, true),
            (24 * HOUR, HOUR, false),
            (minute, Duration::from_secs(59), true),
            (minute, minute, false),
            (Duration::ZERO, Duration::ZERO, false),
        ] {
            let age = policy(min_age, Arrivals::Born).age(&made(ago));
            assert_eq!(matches!(age, Age::JustMade(_)), young, "{min_age:?} {ago:?}");
            assert_eq!(policy(min_age, Arrivals::Born).age(&changed(ago)), Age::Old);
            assert_eq!(policy(min_age, Arrivals::BornOrChanged).is_young(&changed(ago)), young);
            assert_eq!(policy(min_age, Arrivals::Ignored).age(&made(ago)), Age::Old);
        }
        // The clock was set back.
        let ahead = Stat { arrived: Some(Arrival::Born(now() + minute)), ..Stat::new(1, old) };
        assert!(policy(HOUR, Arrivals::Born).is_young(&ahead) && !policy(Duration::ZERO, Arrivals::Born).is_young(&ahead));
    }
}
