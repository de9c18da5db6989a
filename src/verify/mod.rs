//! Reads blobs and compares them with their digests: jobs in, outcomes out.
//!
//! One thread for each processor takes blobs in order, the largest first. More threads help while small files wait for the
//! disk. Where nothing waits, they would only take time from the thread that hashes a large blob, and that blob would
//! finish last. So additional threads read small blobs only, at the lowest priority: they use spare processor time.

pub mod consolidate;
pub mod damage;
pub mod jobs;
pub mod lenient;
mod pass;
pub mod rate;
pub mod selection;
pub mod state;

pub use self::damage::{Damage, DamagedBlob};
pub use self::pass::{Outcome, Pass, deadline};
