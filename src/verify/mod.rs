//! Reads blobs and compares them with their digests: jobs in, outcomes out.
//!
//! As many threads as there are processors take the blobs as they come, the largest first. More threads help where small files wait for
//! the disk, but where nothing waits they would only take turns with whoever hashes a large blob, and it would come last after all. So
//! the others read small blobs only, and with the lowest priority: what they get is what the processors have to spare.

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
