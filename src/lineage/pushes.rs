//! When tags were last pushed.

use std::time::SystemTime;

use rayon::prelude::*;

use crate::error::Error;
use crate::store::FileState;
use crate::survey::Survey;

/// Tags that one task stats at least.
const TAGS_AT_ONCE: usize = 8;

/// When each tag was last pushed, in the survey's order: the modification time of its `current/link`. `None` for a tag
/// without one.
///
/// # Errors
///
/// When a link cannot be read.
pub(crate) fn pushes(surveyed: &Survey<'_>) -> Result<Vec<Option<SystemTime>>, Error> {
    let push = |tag: &crate::survey::Tag| {
        Ok(match surveyed.repository.stat_tag(&tag.name)? {
            FileState::File(stat) => Some(stat.modified),
            FileState::Absent | FileState::Irregular => None,
        })
    };
    surveyed.tags.par_iter().with_min_len(TAGS_AT_ONCE).map(push).collect()
}
