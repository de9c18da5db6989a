//! Who holds the lock of a bucket, as the lock itself says.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::requests::Seen;
use crate::clock::boot_id;
use crate::escape::escaped;
use crate::proc;

/// How long a lock is held without being renewed.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// The content of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// Distinguishes it from every other.
    nonce: String,
    /// How often it was renewed: each renewal has another ETag.
    renewals: u64,
    lease_seconds: u64,
    host: String,
    since: String,
    process: Process,
}

/// A process, as another one of the same machine can identify it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    pid: u32,
    /// When it was started, in milliseconds since the boot.
    started: Option<u64>,
    /// The boot of its machine.
    boot: Option<String>,
    /// The namespace of its number.
    namespace: Option<String>,
}

impl Process {
    fn this() -> Process {
        let pid = std::process::id();
        Process { pid, started: started("self"), boot: boot_id(), namespace: namespace() }
    }

    /// Whether it is one of this machine that has ended: nothing that it has yet to do follows.
    fn has_ended(&self) -> bool {
        let is_of_here =
            self.boot.is_some() && self.boot == boot_id() && self.namespace.is_some() && self.namespace == namespace();
        is_of_here && self.started.is_some() && started(&self.pid.to_string()) != self.started
    }
}

fn started(process: &str) -> Option<u64> {
    let since_boot = proc::started(&Path::new("/proc").join(process))?;
    u64::try_from(since_boot.as_millis()).ok()
}

fn namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

impl Holder {
    /// This process, from now on.
    pub(super) fn new(now: Timestamp) -> Holder {
        let random = [(); 2].map(|()| RandomState::new().hash_one(std::process::id()));
        Holder {
            nonce: format!("{:016x}{:016x}", random[0], random[1]),
            renewals: 0,
            lease_seconds: LEASE.as_secs(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            since: format!("{now:.0}"),
            process: Process::this(),
        }
    }

    /// The same once more.
    pub(super) fn renewed(&self) -> Holder {
        Holder { renewals: self.renewals + 1, ..self.clone() }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers")
    }

    fn parse(content: &[u8]) -> Option<Holder> {
        serde_json::from_slice(content).ok()
    }

    /// Whether this content is of the same holder, however often it was renewed.
    pub(super) fn wrote(&self, content: &[u8]) -> bool {
        Holder::parse(content).is_some_and(|other| other.nonce == self.nonce)
    }
}

/// Whether a lock may be taken over: twice its lease has passed by the server's clock, or its process has ended. What is sent
/// last before a lease ends has another lease's time to arrive.
pub(super) fn is_stale(seen: &Seen) -> bool {
    let holder = Holder::parse(&seen.content);
    if holder.as_ref().is_some_and(|holder| holder.process.has_ended()) {
        return true;
    }
    let lease = holder.map_or(LEASE, |holder| Duration::from_secs(holder.lease_seconds.min(LEASE.as_secs())));
    let age = |now: SystemTime| now.duration_since(seen.modified).unwrap_or_default();
    seen.now.is_some_and(|now| age(now) > lease * 2)
}

/// Who holds a lock, for people.
pub(super) fn described(content: &[u8]) -> String {
    match Holder::parse(content) {
        Some(Holder { host, since, process, .. }) => escaped(format!("process {} on {host}, since {since}", process.pid)),
        None => "which has not said who it is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(content: Vec<u8>, age: u64) -> Seen {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Seen { content, etag: "x".to_owned(), modified, now: Some(modified + Duration::from_secs(age)) }
    }

    #[test]
    fn a_lock_is_stale_by_the_clock_of_its_server() {
        let holder = Holder::new(Timestamp::UNIX_EPOCH);
        assert!(!is_stale(&seen(holder.text(), 120)) && is_stale(&seen(holder.text(), 121)));
        let short = Holder { lease_seconds: 1, ..holder.clone() };
        assert!(!is_stale(&seen(short.text(), 2)) && is_stale(&seen(short.text(), 3)));
        // What another program wrote, or none, has waited as long.
        assert!(!is_stale(&seen(Vec::new(), 120)) && is_stale(&seen(b"{}".to_vec(), 121)));
        assert!(!is_stale(&Seen { now: None, ..seen(holder.text(), 1_000) }), "without its clock it is held");
        let long = Holder { lease_seconds: u64::MAX, ..holder };
        assert!(is_stale(&seen(long.text(), 121)), "no other lease is longer than ours");
    }

    #[test]
    fn the_lock_of_a_process_that_has_ended_is_stale_on_its_machine_alone() {
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = child.id();
        let process = Process { pid, started: started(&pid.to_string()), ..Process::this() };
        child.wait().expect("ours");
        let ended = Holder { process, ..Holder::new(Timestamp::UNIX_EPOCH) };
        assert!(is_stale(&seen(ended.text(), 0)));
        for process in [
            Process { boot: Some("another".to_owned()), ..ended.process.clone() },
            Process { namespace: Some("pid:[1]".to_owned()), ..ended.process.clone() },
            Process { started: None, ..ended.process.clone() },
            Process { boot: None, ..ended.process.clone() },
            Process::this(),
        ] {
            assert!(!is_stale(&seen(Holder { process: process.clone(), ..ended.clone() }.text(), 0)), "{process:?}");
        }
    }

    #[test]
    fn a_holder_knows_its_own_text() {
        let [one, other] = [(); 2].map(|()| Holder::new(Timestamp::UNIX_EPOCH));
        assert!(one.wrote(&one.renewed().text()) && !one.wrote(&other.text()) && !one.wrote(b"x"));
        assert_ne!(one.text(), one.renewed().text(), "each renewal has another ETag");
        assert!(described(&one.text()).starts_with(&format!("process {} on ", std::process::id())));
        assert_eq!(described(b""), "which has not said who it is");
    }
}
