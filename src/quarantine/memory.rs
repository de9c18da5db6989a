//! What registries at work remember of what was quarantined, and what ends that.
//!
//! A registry with a cache of blob descriptors believes what it has seen once: it accepts images whose blobs have been quarantined since,
//! also long after every request has ended that began before. So the wait proves nothing for it, and what was quarantined beside one is not
//! purged before no registry can remember it (A3). A cache in the memory of the registry ends with its process: every registry that is in
//! service must have been started after the last thing was moved. Then a request that was answered from such a memory has ended with its
//! process, and what it has acknowledged before that has links that the mark of the purging run sees.
//!
//! A redis outlives them all. It is made to forget what was moved before a run is stamped, and asked once more right before the purge: keys do not
//! go by themselves, so what it does not claim then it has not claimed for the whole wait. What it does claim was set by a request that began
//! before it was made to forget, or came back with a backup or a replica: it is made to forget that again, and its wait begins anew.
//!
//! Asking a registry whether it remembers would prove nothing: a question for a manifest fills the very cache that it asks for, what no
//! repository links cannot be asked for, and an address leads to one registry of several.

use crate::clock::{RecordedTime, RunClock};
use crate::descriptor_cache::RedisCache;

use super::{Run, Wait};

/// What registries may remember.
#[derive(Clone, Debug, PartialEq)]
pub enum Memory {
    /// Nothing: none is at work, or none has been at work since.
    Nothing,
    /// All that was quarantined beside one, but what was there before one of these times.
    UntilRestart {
        /// Every registry that was in service when it was noted had been started after it.
        said: Vec<RecordedTime>,
        /// The same, as this machine shows it now.
        seen: Option<RecordedTime>,
    },
    /// Whatever there is: what they remember outlives them.
    All,
}

/// What has to be so before a run is purged.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// How long it has waited.
    pub wait: Wait,
    /// By which clocks.
    pub clock: &'a RunClock,
    /// What a registry may remember of it.
    pub memory: &'a Memory,
    /// The redis in which registries remember things.
    pub redis: InRedis<'a>,
}

/// The redis in which registries remember things. It outlives them: what it claims of what is purged, they believe when they are started again.
#[derive(Clone, Copy, Debug)]
pub enum InRedis<'a> {
    /// There is none.
    Nowhere,
    /// A registry may be at work: it has to have been made to forget what is in a run before that began to wait.
    Beside(&'a RedisCache),
    /// None is at work: it is made to forget what is purged right before that, and nothing uses what it claims meanwhile.
    Alone(&'a RedisCache),
    /// It cannot be asked, so it may claim anything.
    Unasked,
}

impl<'a> InRedis<'a> {
    /// The one beside a registry at work.
    pub fn beside(self) -> Option<&'a RedisCache> {
        match self {
            InRedis::Beside(redis) => Some(redis),
            InRedis::Nowhere | InRedis::Alone(_) | InRedis::Unasked => None,
        }
    }
}

impl Due<'_> {
    /// Whether a run has waited for long enough, and nobody remembers it.
    pub fn is_due(&self, run: &Run<'_>) -> bool {
        self.has_waited(run) && !run.is_remembered(self.memory) && self.is_forgotten(run)
    }

    /// Whether the redis was made to forget what is in it, or is made to right before the purge.
    pub fn is_forgotten(&self, run: &Run<'_>) -> bool {
        match self.redis {
            InRedis::Nowhere | InRedis::Alone(_) => true,
            InRedis::Beside(redis) => run.is_forgotten_by(redis.place()),
            InRedis::Unasked => false,
        }
    }

    /// Whether every registry that may have remembered what is in it has ended, which another stamp is not to forget.
    pub fn is_past(&self, run: &Run<'_>) -> bool {
        let is_known = matches!(self.memory, Memory::UntilRestart { .. });
        is_known && run.stamp().cache.is_some() && !run.is_remembered(self.memory)
    }

    /// Whether it has waited for long enough.
    pub fn has_waited(&self, run: &Run<'_>) -> bool {
        match self.wait {
            Wait::Lifted => true,
            Wait::AtLeast(wait) => run.has_waited(wait, self.clock),
        }
    }
}
