//! What was typed: arguments and help text. What they mean is decided in [`config`](crate::config).

mod audit;
mod booleans;
mod command;
mod common;
mod garbage_collect;
mod generate;
mod hints;
mod quarantine;
mod refusal;
mod values;
mod verify;

pub use self::audit::Audit;
pub use self::booleans::{boolean, plain};
pub use self::command::{Cli, Command};
pub use self::common::{OutputArguments, StoreArguments};
pub use self::garbage_collect::GarbageCollect;
pub use self::generate::{Completions, ManPages};
pub use self::hints::{Hints, without_dry_run};
pub use self::quarantine::{Quarantine, QuarantineList, QuarantinePurge, QuarantineRestarted, Restore};
pub use self::refusal::{Refusal, parse};
pub use self::values::Since;
pub use self::verify::Verify;
