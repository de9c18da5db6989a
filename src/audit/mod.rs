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
use crate::store::{Extra, Leaf};
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
pub fn extra(extra: &Extra, ages: &Ages) -> Option<Finding> {
    let name = extra.path.file_name().unwrap_or_default().as_encoded_bytes();
    match extra.leaf {
        Leaf::File(_) | Leaf::Irregular if is_system_file(name, extra.leaf == Leaf::Irregular) => {
            Some(Finding::new(Code::SystemFile).path(&extra.path))
        }
        Leaf::File(stat) if is_unfinished(extra) => ages.is_past(stat.modified, ages.min_age).then(|| {
            let detail = format!("{} {} in it.", Code::LeftoverFile.meaning(), size(stat.size_bytes));
            Finding::new(Code::LeftoverFile).path(&extra.path).detail(detail)
        }),
        Leaf::Absent => None,
        Leaf::File(_) | Leaf::Irregular => Some(Finding::new(Code::UnrecognisedEntry).path(&extra.path)),
    }
}

/// Whether something has the name of a file that the registry has not finished writing.
fn is_unfinished(extra: &Extra) -> bool {
    extra.path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(UNFINISHED))
}
