//! Typed arguments and help texts. [`config`](crate::config) resolves them.

mod audit;
mod booleans;
mod command;
mod common;
mod expire;
mod explain;
mod garbage_collect;
mod generate;
mod hints;
mod list;
mod named;
mod quarantine;
mod reading;
mod refusal;
mod report;
mod usage;
mod values;
mod verify;

pub use self::audit::Audit;
pub use self::booleans::{boolean, plain};
pub use self::command::{Cli, Command};
pub use self::common::{OutputArguments, StoreArguments};
pub use self::expire::Expire;
pub use self::explain::Explain;
pub use self::garbage_collect::{CollectArguments, GarbageCollect};
pub use self::generate::{Completions, ManPages};
pub use self::hints::{Hints, without_dry_run};
pub use self::list::List;
pub use self::named::NamedArguments;
pub use self::quarantine::{Quarantine, QuarantineList, QuarantinePurge, QuarantineRestarted, Restore};
pub use self::reading::{AgeArguments, ReadingArguments};
pub use self::refusal::{Refusal, parse};
pub use self::report::Report;
pub use self::usage::Usage;
pub use self::values::Since;
pub use self::verify::Verify;
