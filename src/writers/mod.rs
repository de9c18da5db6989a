//! Who else may write to the store while a sweep removes things from it.
//!
//! A registry takes no lock, so nothing proves that none is at work. Several signs are looked for, each of which is enough to stop:
//! a registry that says it takes pushes, or answers and does not say; a process that is a registry of this store; one that has a file of
//! the store open for writing; and one that sees the store mounted where we do not, as containers do. None of them sees another machine
//! that has the same volume.

mod address;
mod answers;
mod cache_sign;
mod credentials;
mod http;
mod listeners;
mod open_files;
mod outer_store;
mod processes;
mod reach;
mod registries;
mod restart;
mod view;

pub use self::answers::{Answers, Question, ask, date_elsewhere};
pub use self::credentials::Credentials;
pub use self::http::{Answer, Endpoint};
pub use self::open_files::OpenFiles;
pub use self::outer_store::outer_store;
pub use self::restart::{CachesSeen, all_started_after, caches_seen, started_before};
