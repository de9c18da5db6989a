//! What a bucket with versions means for what a collection frees.

use super::CollectReport;
use crate::store::Versions;

/// The stable name.
pub(super) fn name(report: &CollectReport) -> Option<&'static str> {
    Some(match report.versions.as_ref()? {
        Versions::None => "none",
        Versions::Kept => "kept",
        Versions::Unknown(_) => "unknown",
    })
}

/// Why the bytes may not be free; nothing if they are.
pub(super) fn advice(report: &CollectReport) -> Option<String> {
    match report.versions.as_ref()? {
        Versions::None => None,
        Versions::Kept => Some(
            "the bucket keeps what is removed as noncurrent versions: its bytes are free once a lifecycle rule, or you, removes these"
                .to_owned(),
        ),
        Versions::Unknown(why) => Some(format!(
            "whether the bucket keeps what is removed is not known ({why}): with versions the bytes are free once these are removed"
        )),
    }
}
