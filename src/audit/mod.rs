//! Everything that is wrong or wasteful, out of what was seen: facts in, findings out.
//!
//! A collection looks at as little as it may; an audit opens every link and looks at every blob, reads no layer, and changes nothing.
//! [`facts`], [`needed`] and [`recheck`] look, the rest judges what they saw.

pub mod damage;
pub mod facts;
pub mod needed;
pub mod owners;
pub mod recheck;
pub mod tolerant;
pub mod uploads;
pub mod waste;

use std::time::{Duration, SystemTime};

use crate::finding::{Code, Finding};
use crate::format::size;
use crate::store::{FileState, Leftover};
use crate::system_files::is_system_file;

/// How the registry calls a file that it has not finished writing.
const UNFINISHED: &[u8] = b".tmp";

/// How old things are before they are reported.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// What is younger may still be at work.
    pub min_age: Duration,
    /// An upload that nobody has continued for so long is stale.
    pub upload_age: Duration,
    /// The moment that ages are counted back from.
    pub now: SystemTime,
}

impl Ages {
    /// Whether something was last touched so long ago. What lies in the future was not.
    fn is_past(&self, modified: SystemTime, age: Duration) -> bool {
        self.now.duration_since(modified).is_ok_and(|since| since >= age)
    }
}

/// Judges what lies beside a file that the layout knows.
pub fn leftover(leftover: &Leftover, ages: &Ages) -> Option<Finding> {
    let name = leftover.path.file_name().unwrap_or_default().as_encoded_bytes();
    match leftover.leaf {
        FileState::File(_) | FileState::Irregular if is_system_file(name, leftover.leaf == FileState::Irregular) => {
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

/// Whether something has the name of a file that the registry has not finished writing.
fn is_unfinished(leftover: &Leftover) -> bool {
    leftover.path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(UNFINISHED))
}
