//! When the registries of a store were started, as far as this machine shows it.

use std::fmt;
use std::time::Duration;

use super::address::Place;
use super::http::Endpoint;
use super::processes::Sign;
use super::registries::{self, Serves};
use super::{exporters, listeners, processes, view};
use crate::clock::{RecordedTime, RunClock};
use crate::format::duration;
use crate::proc::{may_look_at_all, pids, started};
use crate::registry_config::{DescriptorCache, Listening, RedisServer};
use crate::store::Root;

/// A process that is, or may be, a registry of a store.
struct Registry {
    pid: u32,
    /// How long after the machine it was started.
    started: Duration,
    serves: Serves,
}

impl Registry {
    /// Whether it is one for certain.
    fn is_ours(&self) -> bool {
        matches!(self.serves, Serves::Ours(_))
    }
}

/// The process that was started first of all that are seen to be, or that may be, registries of a store.
#[derive(Clone, Debug)]
pub struct Oldest {
    sign: Sign,
    age: Duration,
    started: RecordedTime,
}

impl Oldest {
    /// Looks for it.
    pub fn of(root: Option<&Root>, clock: &RunClock) -> Option<Oldest> {
        let registry = registries(root?).into_iter().min_by_key(|registry| registry.started)?;
        let age = age(registry.started, clock)?;
        let sign = Sign::Registry { pid: registry.pid, name: processes::name(registry.pid), serves: registry.serves };
        Some(Oldest { sign, age, started: clock.recorded(age)? })
    }

    /// What to do about it where a restart was said that was after all were started.
    pub fn advice(&self) -> &'static str {
        match (&self.sign, may_look_at_all()) {
            // Of which store it is a registry shows only to those who may look at it.
            (Sign::Registry { serves: Serves::Untold, .. }, false) => "run as root, who sees which store it works on",
            _ => "restart it, and give a time before all were started",
        }
    }

    /// Whether it was started before that time, so that it may remember what was there until then.
    pub fn is_older_than(&self, time: &RecordedTime) -> bool {
        self.started.is_surely_before(time)
    }
}

impl fmt::Display for Oldest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; it was started {} ago", self.sign, duration(Duration::from_secs(self.age.as_secs())))
    }
}

/// A time that all registries of a store were started after: that of the first of them. It is known only if nobody else can have the store, if
/// all processes are seen, and if one of them is what answers where the registry is configured to listen.
///
/// # Errors
///
/// In words, why it is not known.
pub fn all_started_after(
    root: Option<&Root>,
    http: &Listening,
    others: &[Endpoint],
    clock: &RunClock,
) -> Result<RecordedTime, String> {
    let root = root.ok_or("the store is in no filesystem of this machine")?;
    if !view::is_local(root.path()) {
        return Err("the store is on a filesystem that other machines may have mounted, too".to_owned());
    }
    if !view::shows_all_processes() || !may_look_at_all() {
        return Err("not all processes of this machine are seen from here".to_owned());
    }
    if let Some(exporter) = exporters::seen() {
        return Err(format!("{exporter} may give the store to other machines"));
    }
    if let Some(other) = others.first() {
        return Err(format!("which process answers at {other} is not looked for"));
    }
    let registries = registries(root);
    let Some(first) = registries.iter().map(|registry| registry.started).min() else {
        return Err("no registry of this store is seen at work".to_owned());
    };
    let Place::Hosts(_, port) = Place::of(http) else {
        return Err("the configuration names no port that the registry listens on".to_owned());
    };
    let listens = |registry: &Registry| {
        let addresses = listeners::of(&processes::directory(registry.pid));
        registry.is_ours() && addresses.iter().any(|address| address.port() == port)
    };
    if !registries.iter().any(listens) {
        return Err(format!("no registry of this store is seen to listen on port {port}, as the configuration says"));
    }
    let ago = age(first, clock).ok_or("the kernel does not say when they were started")?;
    clock.recorded(ago).ok_or_else(|| "they were started before any time that a clock can say".to_owned())
}

/// Why a restart of a store's registries does not show on this machine.
#[derive(Clone, Debug)]
pub struct RestartUnseen {
    /// Why, in words.
    pub why: String,
    /// Whether nothing that is said of it counts either: a registry is seen that only root can tell to work on another store.
    pub is_for_root: bool,
}

/// The same as [`all_started_after`], where only the reason matters.
pub fn restart_unseen(root: Option<&Root>, http: &Listening, others: &[Endpoint], clock: &RunClock) -> Option<RestartUnseen> {
    let why = all_started_after(root, http, others, clock).err()?;
    Some(RestartUnseen { why, is_for_root: root.is_some_and(hides_a_registry) })
}

/// Whether a process is seen to be a registry, and may not be looked at closely enough to tell of which store.
fn hides_a_registry(root: &Root) -> bool {
    !may_look_at_all() && registries(root).iter().any(|registry| matches!(registry.serves, Serves::Untold))
}

/// Where the registries of a store that are at work here remember blobs, whatever the configuration says that was given.
#[derive(Clone, Debug, Default)]
pub struct CachesSeen {
    /// In the memory of one of them, or perhaps there.
    pub in_memory: Option<DescriptorCache>,
    /// In these.
    pub redis: Vec<RedisServer>,
}

/// Looks for them.
pub fn caches_seen(root: Option<&Root>) -> CachesSeen {
    let mut seen = CachesSeen::default();
    let Some(root) = root else { return seen };
    for serves in pids().filter_map(|pid| registries::serves(&processes::directory(pid), root)) {
        let in_memory = match serves {
            Serves::Ours(service) | Serves::Changed(_, service) => {
                seen.redis.extend(service.redis.map(|server| *server));
                // Before it was given a redis it may have been given anything.
                let is_changed = || service.is_changed.then_some(DescriptorCache::Unknown);
                service.cache.filter(|cache| *cache != DescriptorCache::Redis).or_else(is_changed)
            }
            Serves::Untold => Some(DescriptorCache::Unknown),
            Serves::Another => None,
        };
        seen.in_memory = seen.in_memory.max(in_memory);
    }
    seen
}

/// How long ago something was that happened so long after the machine was started.
fn age(started: Duration, clock: &RunClock) -> Option<Duration> {
    clock.since_boot()?.checked_sub(started)
}

/// All processes that may be a registry of a store.
fn registries(root: &Root) -> Vec<Registry> {
    let found = pids().filter(|pid| *pid != std::process::id()).filter_map(|pid| {
        let process = processes::directory(pid);
        let serves = registries::serves(&process, root).filter(|serves| *serves != Serves::Another)?;
        // One that has ended meanwhile remembers nothing.
        Some(Registry { pid, started: started(&process)?, serves })
    });
    found.collect()
}
