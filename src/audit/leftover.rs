//! Entries beside the files of the layout.

use super::ages::Ages;
use crate::finding::{Code, Finding};
use crate::format::size;
use crate::store::{FileState, Leftover};
use crate::system_files::is_system_file;

/// Suffix of a file that the registry has not finished writing.
const UNFINISHED: &[u8] = b".tmp";

/// The finding about an entry beside a file of the layout.
pub(crate) fn leftover(leftover: &Leftover, ages: &Ages) -> Option<Finding> {
    let name = leftover.path.file_name().unwrap_or_default().as_encoded_bytes();
    match leftover.state {
        FileState::File(_) | FileState::Irregular if is_system_file(name, leftover.state == FileState::Irregular) => {
            Some(Finding::new(Code::SystemFile).path(&leftover.path))
        }
        FileState::File(stat) if is_unfinished(leftover) => ages.is_past(stat.modified, ages.min_age).then(|| {
            let detail = format!("{} {} in it.", Code::LeftoverFile.meaning(), size(stat.size_bytes));
            Finding::new(Code::LeftoverFile).path(&leftover.path).detail(detail)
        }),
        FileState::Absent => None,
        FileState::File(_) | FileState::Irregular => Some(Finding::new(Code::UnrecognisedEntry).path(&leftover.path)),
    }
}

/// Whether an entry has the name of a file that the registry has not finished writing.
pub(super) fn is_unfinished(leftover: &Leftover) -> bool {
    leftover.path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(UNFINISHED))
}
