//! The rows of a plan that was read, in few bytes: whoever writes the file decides how many there are.
//!
//! A row takes 40 bytes, in memory or, beyond a [`Budget`], in a file. It is found by a hash of what it names.

use std::io::{Read as _, Seek as _, Write as _};
use std::time::SystemTime;

use super::Kind;
use super::read::PlannedRow;
use crate::error::{Context as _, Error};
use crate::inventory::{Budget, Room};
use crate::layout::Target;
use crate::oci::Algorithm;
use crate::oci::digest::Hasher;
use crate::store::Stat;

/// The bytes of the hash that a row is found by.
const NAME_BYTES: usize = 16;
/// The bytes of a row.
const WIDTH: usize = 40;
/// So many bytes are held before they are written to a file.
const STAGED_BYTES: usize = 1 << 20;

/// What a row names, then its size and its time.
type SeenRow = [u8; WIDTH];

/// Rows in the order of their hashes, each name once.
#[derive(Debug)]
pub(super) struct SeenRows {
    bytes: Room,
    count: usize,
}

impl SeenRows {
    /// Reads all rows.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or there is no room for them.
    pub(super) fn collect(rows: impl Iterator<Item = Result<PlannedRow, Error>>, budget: &Budget) -> Result<SeenRows, Error> {
        let (mut staged, mut written, mut file) = (Vec::new(), 0, None);
        for row in rows {
            let row = row?;
            staged.extend(packed(&row.target, &row.stat));
            if staged.len() >= STAGED_BYTES {
                if file.is_none() {
                    file = budget.staging()?;
                }
                if let Some(file) = &mut file {
                    file.write_all(&staged).context("write for --max-memory in", budget.directory())?;
                    written += staged.len();
                    staged.clear();
                }
            }
        }
        let mut bytes = budget.room(written + staged.len())?;
        if let Some(mut file) = file {
            let read = file.rewind().and_then(|()| file.read_exact(&mut bytes[..written]));
            read.context("read for --max-memory in", budget.directory())?;
        }
        bytes[written..].copy_from_slice(&staged);
        let (rows, _) = bytes.as_chunks_mut::<WIDTH>();
        rows.sort_unstable();
        let count = without_repetitions(rows);
        Ok(SeenRows { bytes, count })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How much of the heap they take, with what says of each whether it is carried out.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.bytes.heap_bytes() + self.count as u64
    }

    fn rows(&self) -> &[SeenRow] {
        &self.bytes.as_chunks::<WIDTH>().0[..self.count]
    }

    /// The place of what names this target.
    pub(super) fn place(&self, target: &Target) -> Option<usize> {
        let name = name(target);
        self.rows().binary_search_by(|row| row[..NAME_BYTES].cmp(&name)).ok()
    }

    /// Whether a target was seen as it is now.
    pub(super) fn is(&self, place: usize, stat: &Stat) -> bool {
        self.rows()[place][NAME_BYTES..] == state(stat)
    }
}

/// Leaves the first of those that name the same, and says how many are left.
fn without_repetitions(rows: &mut [SeenRow]) -> usize {
    let mut count = 0;
    for place in 0..rows.len() {
        if count == 0 || rows[count - 1][..NAME_BYTES] != rows[place][..NAME_BYTES] {
            rows[count] = rows[place];
            count += 1;
        }
    }
    count
}

fn packed(target: &Target, stat: &Stat) -> SeenRow {
    let mut row = [0; WIDTH];
    row[..NAME_BYTES].copy_from_slice(&name(target));
    row[NAME_BYTES..].copy_from_slice(&state(stat));
    row
}

/// Kind, path and digest: the link of a tag has one path whatever it names.
fn name(target: &Target) -> [u8; NAME_BYTES] {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(Kind::of(target).name().as_bytes());
    hasher.update(b"\0");
    hasher.update(target.path().as_os_str().as_encoded_bytes());
    hasher.update(b"\0");
    if let Some(digest) = target.digest() {
        hasher.update(digest.to_string().as_bytes());
    }
    *hasher.finish().bytes().first_chunk().expect("a digest has more bytes")
}

/// The size, and the nanoseconds since the epoch.
fn state(stat: &Stat) -> [u8; WIDTH - NAME_BYTES] {
    let nanoseconds = match stat.modified.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    let mut state = [0; WIDTH - NAME_BYTES];
    state[..8].copy_from_slice(&stat.size_bytes.to_be_bytes());
    state[8..].copy_from_slice(&nanoseconds.to_be_bytes());
    state
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::layout::LinkDirectory;
    use crate::oci::{Digest, RepositoryName, TagName};
    use crate::plan::Reason;

    fn row(number: u32) -> PlannedRow {
        let (name, digest) = (RepositoryName::new("a"), Digest::of(Algorithm::Sha256, &number.to_be_bytes()));
        let target = match number % 4 {
            0 => Target::Blob(digest),
            1 => Target::Link(LinkDirectory::Layers(name), digest),
            2 => Target::Tag(name, TagName::new("v1"), digest),
            _ => Target::BrokenTag(name, TagName::new(format!("v{number}"))),
        };
        let modified = SystemTime::UNIX_EPOCH + Duration::new(u64::from(number), number) - Duration::from_secs(100);
        PlannedRow { target, stat: Stat::new(u64::from(number), modified), reason: Reason::Unlinked }
    }

    /// In memory, and in files of ours: what is read is found as it was, and nothing else.
    #[test]
    fn rows_beyond_the_budget_are_found_all_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        const COUNT: u32 = 60_000;
        for (budget, is_on_heap) in [
            (Budget::unlimited(), true),
            (Budget::of(u64::from(COUNT) * WIDTH as u64, directory.path()), true),
            (Budget::of(1000, directory.path()), false),
        ] {
            // Some of them twice.
            let rows = (0..COUNT).chain(0..5).map(|number| Ok(row(number)));
            let seen = SeenRows::collect(rows.take(if is_on_heap { COUNT as usize } else { usize::MAX }), &budget).expect("room");
            assert_eq!(seen.len(), COUNT as usize);
            let most = if is_on_heap { u64::from(COUNT) * (WIDTH as u64 + 1) } else { u64::from(COUNT) };
            assert_eq!(seen.memory_bytes(), most);
            for number in (0..COUNT).step_by(97) {
                let PlannedRow { target, stat, .. } = row(number);
                let place = seen.place(&target).expect("it was read");
                assert!(seen.is(place, &stat));
                assert!(!seen.is(place, &Stat::new(stat.size_bytes + 1, stat.modified)));
                assert!(!seen.is(place, &Stat::new(stat.size_bytes, stat.modified + Duration::from_nanos(1))));
            }
            assert!((COUNT..COUNT + 100).all(|number| seen.place(&row(number).target).is_none()));
            assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0, "the files have no names");
        }
        let none = SeenRows::collect(std::iter::empty(), &Budget::of(0, directory.path())).expect("empty");
        assert_eq!((none.len(), none.place(&row(0).target)), (0, None));
    }
}
