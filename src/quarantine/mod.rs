//! What was quarantined instead of being removed: `<root>/.regsweep/quarantine/<run>/`, a mirror of `docker/registry/v2` for each run.
//!
//! A run's directory is all that there is to know of it: what lies in it at `blobs/...` or `repositories/...` was at that place below
//! `docker/registry/v2`, and moving it there by hand undoes the run. `run.json` says who moved it and when. Nothing in there is ever
//! replaced. The quarantine shares the filesystem of what it takes in: a rename is atomic and needs no room, a copy is neither. What a store
//! does with such a directory is [`Shelf`](crate::store::Shelf); here is what is asked of it, and when.
//!
//! # The protocol
//!
//! A collection with a quarantine goes through these steps. Nothing is changed before all that can refuse has been asked.
//!
//! 1. **Read.** [`needed()`] marks the store together with the quarantine and says what of it something needs by now. The plan of the
//!    collection is made over the same view: what is in quarantine keeps its links and what it needs, so that it can be restored whole.
//! 2. **Refuse.** Brakes, limits, room, outputs, clocks.
//! 3. **Restore** what is needed. What comes back counts as young from then on ([`records`](crate::records)), and what it comes back into is no
//!    part of the plan: a run does not trip over what it restored itself.
//! 4. **Quarantine** what the plan lists.
//! 5. **Rescue.** Beside a registry at work, look at once, a little later and once more for pushes that need what has just gone.
//! 6. **Purge** what has waited long enough, through one [`Gate`]. It comes last, and only if everything before it went well.
//!
//! # The gate
//!
//! Nothing is purged but through [`purge()`], which asks of everything: has it waited ([`Wait`], [`Run::has_waited`]); may a registry
//! remember it in a cache of descriptors, in its memory ([`Memory`]) or in a redis, which is asked right before the purge; does a complete mark that was made in this run, under the lock, need it, or does what stays in quarantine, which
//! needs links of its own repository alone, and of which what this very run has moved is no part (all that this needs was restored before); does a process of this machine have it open for
//! writing; has it changed since it was quarantined. No flag skips the last three, nor the second one beside a registry at work. What this machine cannot see (other nodes, processes of
//! others) is covered by the last one: a file that somebody still wrote to has another modification time, and one that was touched in any
//! other way is hashed.

mod check;
mod memory;
mod moved;
mod named;
mod needed;
mod overlay;
mod purge;
mod restorable;
mod restore;
mod run;
mod runs;
mod stamp;
mod vacuum;

pub use self::check::{check, suspects};
pub use self::memory::{Due, InRedis, Memory};
pub use self::moved::Moved;
pub use self::named::{Named, following, named_by};
pub use self::needed::{Needed, Reader, by_name, needed};
pub use self::overlay::Overlay;
pub use self::purge::{Gate, Proof, Purgeable, Purged, Wait, Withheld, purge};
pub use self::restorable::{as_restorable, waiting};
pub use self::restore::{Replaced, restore};
pub use self::run::Run;
pub use self::runs::{Quarantine, begin, begin_naming};
pub use self::stamp::{Purpose, Stamp};
pub use self::vacuum::Quarantining;
