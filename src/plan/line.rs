//! One target as a line of a plan, for programs. [`read`](super::read) takes it back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Deletion, Kind, Reason};
use crate::escape::escaped;
use crate::layout::Target;

/// One target, as a line of a plan. It is named by kind, repository, tag and digest, or by kind, repository and upload; the path follows from
/// these.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanLine {
    pub(super) kind: Kind,
    pub(super) repository: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
    /// The upload, and which of its files: the path below `_uploads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<String>,
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) modified: String,
    pub(super) reason: Reason,
}

impl PlanLine {
    /// Describes a target.
    pub fn new(deletion: &Deletion) -> PlanLine {
        let Deletion { target, stat, reason, .. } = deletion;
        PlanLine {
            kind: Kind::of(target),
            repository: target.repository().map(ToString::to_string),
            tag: target.tag().map(ToString::to_string),
            digest: target.digest().map(ToString::to_string),
            upload: match target {
                Target::Upload(file) => Some(format!("{}/{}", file.id, file.part.relative())),
                Target::EmptyUploadDirectory(_, id) => Some(id.clone()),
                _ => None,
            },
            path: escaped(target.path()),
            bytes: stat.size_bytes,
            // Times before the year -9999 or after 9999 are only found on disks that lie; they print as the epoch.
            modified: Timestamp::try_from(stat.modified).unwrap_or_default().to_string(),
            reason: *reason,
        }
    }
}
