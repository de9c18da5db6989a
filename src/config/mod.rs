//! From what was typed, the registry's configuration, the environment and the clock to settings: the only reader of the last two.

mod audit;
mod bucket;
mod collect;
mod common;
mod environment;
mod expire;
mod location;
mod quarantine;
mod reading;
mod remove;
mod repair;
mod report;
mod threads;
mod verify;

pub use self::audit::AuditSettings;
pub use self::collect::{CollectSettings, Disposal, Mode};
pub use self::common::{Output, Settings};
pub use self::environment::now;
pub use self::expire::ExpireSettings;
pub use self::location::{Location, Place};
pub use self::quarantine::{QuarantineSettings, Wanted};
pub use self::reading::{ExplainSettings, ListSettings, ReadingSettings, UsageSettings};
pub use self::remove::RemoveSettings;
pub use self::repair::RepairSettings;
pub use self::report::ReportSettings;
pub use self::verify::{Selection, VerifySettings};
