//! Other writers to the store during a sweep.
//!
//! A registry takes no lock, so nothing proves that none is writing. Each of these signs is enough to stop: a registry
//! that takes pushes, or gives an unclear answer; a process that is a registry of this store; a process with a file of
//! the store open for writing; a mount namespace that shows the store at another place than ours, as containers do; and
//! a store that changes while it is read. Only the last detects a registry on another machine with the same volume, once it
//! writes.

mod address;
mod answers;
mod by_socket;
mod cache_sign;
mod changes;
mod credentials;
mod exporters;
mod http;
mod listeners;
mod looks;
mod notices;
mod open_files;
mod outer_store;
mod processes;
mod reach;
mod registries;
mod restart;
mod view;

pub use self::answers::{Answers, Question, ask, vouch};
pub use self::changes::Changes;
pub use self::credentials::Credentials;
pub use self::http::{Answer, Endpoint};
pub use self::open_files::OpenFiles;
pub use self::outer_store::outer_store;
pub use self::restart::{CachesSeen, Oldest, RestartUnseen, all_started_after, caches_seen, restart_unseen};
