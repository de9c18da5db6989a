//! What goes, in few bytes: a run may delete many millions of things.
//!
//! A row takes 44 bytes, in memory or, beyond a [`Budget`], in a file. Digests are numbers into the inventory, repositories and tags are
//! numbers into tables, and the first bytes of a row are in the order of removal, so that rows are compared as they are.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::{Deletion, Kind, Reason};
use crate::error::Error;
use crate::inventory::{BlobId, Budget, Inventory, SetAside};
use crate::layout::{LinkDirectory, Target, UploadFile, UploadPart};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::Stat;

/// The bytes of a row.
pub(super) const WIDTH: usize = 44;

/// A deletion in few bytes.
pub(super) type Row = [u8; WIDTH];

// Where the parts of a row are. All numbers are big-endian, so that bytes compare as they do.
const KIND: usize = 0;
const DEPTH: Range<usize> = 1..5;
const SHAPE: usize = 5;
const REPOSITORY: Range<usize> = 6..10;
const TAG: Range<usize> = 10..14;
const NAME: Range<usize> = 14..18;
const ALIAS: Range<usize> = 18..22;
const FLAGS: usize = 22;
const REASON: usize = 23;
const SIZE: Range<usize> = 24..32;
const SECONDS: Range<usize> = 32..40;
const NANOSECONDS: Range<usize> = 40..44;

/// What goes together: the same kind and depth.
pub(super) const STEP: Range<usize> = 0..5;
/// What decides the order, but for the digest.
const PLACE: Range<usize> = 0..14;

/// The digest is not in the inventory, but in a table beside the rows.
const NAME_IS_OTHER: u8 = 1;
/// It is another name of a blob.
const IS_ALIAS: u8 = 2;
/// And that one is not in the inventory either.
const ALIAS_IS_OTHER: u8 = 4;
/// No digest names it: it is an upload in a table beside the rows.
const NAME_IS_UPLOAD: u8 = 8;
/// Nothing but its repository and its tag name it.
const HAS_NO_NAME: u8 = 16;

const KINDS: [Kind; 8] = [
    Kind::Tag,
    Kind::TagHistory,
    Kind::Revision,
    Kind::LayerLink,
    Kind::Blob,
    Kind::Upload,
    Kind::EmptyDirectory,
    Kind::Repository,
];
const REASONS: [Reason; 8] = [
    Reason::Untagged,
    Reason::RevisionGone,
    Reason::Unreferenced,
    Reason::Unlinked,
    Reason::EmptyDirectory,
    Reason::TagDropped,
    Reason::Orphaned,
    Reason::StaleUpload,
];

/// The kinds of targets, in the order of [`Target`] among those of one [`Kind`].
const HISTORY: u8 = 0;
const REVISION: u8 = 1;
const LAYER: u8 = 2;
const BLOB: u8 = 3;
/// Alone in its kind.
const CURRENT: u8 = 4;
const UPLOAD: u8 = 5;
/// Alone in its kind as well.
const REPOSITORY_ITSELF: u8 = 6;

/// An upload, and which of its files; nothing for its directory.
type UploadName = (String, Option<UploadPart>);

fn number(row: &Row, part: Range<usize>) -> u32 {
    u32::from_be_bytes(*row[part].first_chunk().expect("four bytes"))
}

fn long(row: &Row, part: Range<usize>) -> u64 {
    u64::from_be_bytes(*row[part].first_chunk().expect("eight bytes"))
}

fn put(row: &mut Row, part: Range<usize>, value: u32) {
    row[part].copy_from_slice(&value.to_be_bytes());
}

/// The kind of what goes.
pub(super) fn kind(row: &Row) -> Kind {
    KINDS[usize::from(row[KIND])]
}

/// Why it goes.
pub(super) fn reason(row: &Row) -> Reason {
    REASONS[usize::from(row[REASON])]
}

/// Its size in bytes.
pub(super) fn size_bytes(row: &Row) -> u64 {
    long(row, SIZE)
}

/// The number of its repository.
pub(super) fn repository(row: &Row) -> usize {
    number(row, REPOSITORY) as usize
}

/// The blob that its digest names, if the inventory has it.
pub(super) fn blob(row: &Row) -> Option<BlobId> {
    (row[FLAGS] & (NAME_IS_OTHER | NAME_IS_UPLOAD | HAS_NO_NAME) == 0).then(|| BlobId::at(number(row, NAME)))
}

/// The blob that it is another name of, if the inventory has that.
pub(super) fn alias(row: &Row) -> Option<BlobId> {
    (row[FLAGS] & (IS_ALIAS | ALIAS_IS_OTHER) == IS_ALIAS).then(|| BlobId::at(number(row, ALIAS)))
}

/// What goes of one repository, or of the blobs.
#[derive(Debug, Default)]
pub struct Deletions {
    rows: Rows,
    tags: Vec<TagName>,
    /// Digests that the inventory does not have: other names of blobs, and what links lead to that is not there.
    others: Vec<Digest>,
    uploads: Vec<UploadName>,
    /// The blobs of revisions that go.
    manifests: Vec<BlobId>,
}

/// The rows of [`Deletions`], wherever they are.
#[derive(Debug)]
enum Rows {
    Open(Vec<u8>),
    SetAside(SetAside),
}

impl Default for Rows {
    fn default() -> Rows {
        Rows::Open(Vec::new())
    }
}

impl Deletions {
    /// Lets one more go.
    ///
    /// # Panics
    ///
    /// When these were set aside.
    pub fn push(&mut self, inventory: &Inventory, deletion: &Deletion) {
        let mut row: Row = [0; WIDTH];
        let kind = Kind::of(&deletion.target);
        row[KIND] = KINDS.iter().position(|other| *other == kind).expect("all kinds are there") as u8;
        row[REASON] = REASONS.iter().position(|other| *other == deletion.reason).expect("all reasons are there") as u8;
        put(&mut row, DEPTH, deletion.depth);
        row[SHAPE] = match &deletion.target {
            Target::Tag(..) | Target::BrokenTag(..) | Target::EmptyTag(..) => CURRENT,
            Target::Link(directory, _) | Target::EmptyLinkDirectory(directory, _) => match directory {
                LinkDirectory::History(..) => HISTORY,
                LinkDirectory::Revisions(_) => REVISION,
                LinkDirectory::Layers(_) => LAYER,
            },
            Target::Blob(_) | Target::EmptyBlobDirectory(_) => BLOB,
            Target::Upload(_) | Target::EmptyUploadDirectory(..) => UPLOAD,
            Target::EmptyRepository(_) => REPOSITORY_ITSELF,
        };
        if let Some(tag) = deletion.target.tag() {
            // Those of one tag come one after the other.
            if self.tags.last() != Some(tag) {
                self.tags.push(tag.clone());
            }
            put(&mut row, TAG, self.tags.len() as u32 - 1);
        }
        match deletion.target.digest() {
            Some(digest) => {
                let (name, is_other) = self.place(inventory, digest);
                put(&mut row, NAME, name);
                row[FLAGS] |= if is_other { NAME_IS_OTHER } else { 0 };
                if kind == Kind::Revision && !is_other {
                    self.manifests.push(BlobId::at(name));
                }
            }
            None => match upload_name(&deletion.target) {
                Some(upload) => {
                    put(&mut row, NAME, self.uploads.len() as u32);
                    row[FLAGS] |= NAME_IS_UPLOAD;
                    self.uploads.push(upload);
                }
                None => row[FLAGS] |= HAS_NO_NAME,
            },
        }
        if let Some(alias) = &deletion.alias_of {
            let (alias, is_other) = self.place(inventory, alias);
            put(&mut row, ALIAS, alias);
            row[FLAGS] |= IS_ALIAS | if is_other { ALIAS_IS_OTHER } else { 0 };
        }
        let (seconds, nanoseconds) = since_epoch(deletion.stat.modified);
        row[SIZE].copy_from_slice(&deletion.stat.size_bytes.to_be_bytes());
        row[SECONDS].copy_from_slice(&seconds.to_be_bytes());
        put(&mut row, NANOSECONDS, nanoseconds);
        match &mut self.rows {
            Rows::Open(rows) => rows.extend_from_slice(&row),
            Rows::SetAside(_) => panic!("nothing is added to what was set aside"),
        }
    }

    fn place(&mut self, inventory: &Inventory, digest: &Digest) -> (u32, bool) {
        match inventory.find(digest) {
            Some(blob) => (blob.place(), false),
            None => {
                self.others.push(*digest);
                (self.others.len() as u32 - 1, true)
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let bytes = match &self.rows {
            Rows::Open(rows) => rows.len(),
            Rows::SetAside(rows) => rows.len(),
        };
        bytes / WIDTH
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blobs of revisions that go.
    pub fn manifests(&self) -> &[BlobId] {
        &self.manifests
    }

    /// Puts them where they take no memory beyond the budget.
    ///
    /// # Errors
    ///
    /// When there is no room for them.
    pub fn set_aside(&mut self, budget: &Budget) -> Result<(), Error> {
        if let Rows::Open(rows) = &mut self.rows {
            self.rows = Rows::SetAside(budget.set_aside(std::mem::take(rows))?);
        }
        Ok(())
    }
}

/// What the numbers in rows stand for.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) repositories: Vec<RepositoryName>,
    pub(super) tags: Vec<TagName>,
    others: Vec<Digest>,
    uploads: Vec<UploadName>,
}

/// What names a target that no digest does.
fn upload_name(target: &Target) -> Option<UploadName> {
    match target {
        Target::Upload(file) => Some((file.id.clone(), Some(file.part))),
        Target::EmptyUploadDirectory(_, id) => Some((id.clone(), None)),
        _ => None,
    }
}

impl Tables {
    /// Writes the rows of a repository, or of blobs, behind one another into `to`, with numbers that hold for all of them.
    ///
    /// # Errors
    ///
    /// When rows that were set aside cannot be read.
    pub(super) fn take(&mut self, repository: u32, part: Deletions, budget: &Budget, to: &mut [u8]) -> Result<(), Error> {
        match part.rows {
            Rows::Open(rows) => to.copy_from_slice(&rows),
            Rows::SetAside(rows) => budget.read(&rows, to)?,
        }
        let (first_tag, first_other) = (self.tags.len() as u32, self.others.len() as u32);
        let first_upload = self.uploads.len() as u32;
        let (rows, _) = to.as_chunks_mut::<WIDTH>();
        for row in rows {
            if row[SHAPE] != BLOB {
                put(row, REPOSITORY, repository);
            }
            if matches!(row[SHAPE], HISTORY | CURRENT) {
                put(row, TAG, first_tag + number(row, TAG));
            }
            if row[FLAGS] & NAME_IS_OTHER != 0 {
                put(row, NAME, first_other + number(row, NAME));
            }
            if row[FLAGS] & NAME_IS_UPLOAD != 0 {
                put(row, NAME, first_upload + number(row, NAME));
            }
            if row[FLAGS] & ALIAS_IS_OTHER != 0 {
                put(row, ALIAS, first_other + number(row, ALIAS));
            }
        }
        self.tags.extend(part.tags);
        self.others.extend(part.others);
        self.uploads.extend(part.uploads);
        Ok(())
    }

    /// Which of two goes first.
    pub(super) fn compare(&self, inventory: &Inventory, one: &Row, other: &Row) -> std::cmp::Ordering {
        let flags = one[FLAGS] | other[FLAGS];
        one[PLACE].cmp(&other[PLACE]).then_with(|| match flags & (NAME_IS_OTHER | NAME_IS_UPLOAD | HAS_NO_NAME) {
            // There is one of them in its place.
            flags if flags & HAS_NO_NAME != 0 => std::cmp::Ordering::Equal,
            // Blobs are numbered in the order of their digests.
            0 => one[NAME].cmp(&other[NAME]),
            // Those of one place are uploads all or none.
            NAME_IS_UPLOAD => self.upload(one).cmp(self.upload(other)),
            _ => self.digest(inventory, one).cmp(&self.digest(inventory, other)),
        })
    }

    fn named(&self, inventory: &Inventory, place: u32, is_other: bool) -> Digest {
        match is_other {
            true => self.others[place as usize],
            false => inventory.digest(BlobId::at(place)),
        }
    }

    fn upload(&self, row: &Row) -> &UploadName {
        &self.uploads[number(row, NAME) as usize]
    }

    /// The digest that names what goes, which is no upload.
    pub(super) fn digest(&self, inventory: &Inventory, row: &Row) -> Digest {
        self.named(inventory, number(row, NAME), row[FLAGS] & NAME_IS_OTHER != 0)
    }

    fn target(&self, inventory: &Inventory, row: &Row) -> Target {
        let repository = || self.repositories[repository(row)].clone();
        if row[FLAGS] & NAME_IS_UPLOAD != 0 {
            return match self.upload(row).clone() {
                (id, Some(part)) => Target::Upload(Box::new(UploadFile { repository: repository(), id, part })),
                (id, None) => Target::EmptyUploadDirectory(repository(), id),
            };
        }
        if row[FLAGS] & HAS_NO_NAME != 0 {
            let tag = || self.tags[number(row, TAG) as usize].clone();
            return match kind(row) {
                Kind::Tag => Target::BrokenTag(repository(), tag()),
                Kind::EmptyDirectory => Target::EmptyTag(repository(), tag()),
                _ => Target::EmptyRepository(repository()),
            };
        }
        let digest = self.digest(inventory, row);
        let tag = || self.tags[number(row, TAG) as usize].clone();
        let directory = match row[SHAPE] {
            HISTORY => Some(LinkDirectory::History(repository(), tag())),
            REVISION => Some(LinkDirectory::Revisions(repository())),
            LAYER => Some(LinkDirectory::Layers(repository())),
            _ => None,
        };
        match (directory, kind(row)) {
            (Some(directory), Kind::EmptyDirectory) => Target::EmptyLinkDirectory(directory, digest),
            (Some(directory), _) => Target::Link(directory, digest),
            (None, Kind::EmptyDirectory) => Target::EmptyBlobDirectory(digest),
            (None, Kind::Tag) => Target::Tag(repository(), tag(), digest),
            (None, _) => Target::Blob(digest),
        }
    }

    /// The whole of it.
    pub(super) fn deletion(&self, inventory: &Inventory, row: &Row) -> Deletion {
        let alias = || self.named(inventory, number(row, ALIAS), row[FLAGS] & ALIAS_IS_OTHER != 0);
        Deletion {
            target: self.target(inventory, row),
            stat: Stat::new(size_bytes(row), at(long(row, SECONDS) as i64, number(row, NANOSECONDS))),
            alias_of: (row[FLAGS] & IS_ALIAS != 0).then(|| Box::new(alias())),
            reason: reason(row),
            depth: number(row, DEPTH),
        }
    }
}

/// Seconds, which may be before the epoch, and the nanoseconds after them.
fn since_epoch(time: SystemTime) -> (i64, u32) {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => (since.as_secs() as i64, since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (0_i64.wrapping_sub_unsigned(before.as_secs()), 0),
                nanoseconds => (0_i64.wrapping_sub_unsigned(before.as_secs() + 1), 1_000_000_000 - nanoseconds),
            }
        }
    }
}

fn at(seconds: i64, nanoseconds: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds {
        0.. => SystemTime::UNIX_EPOCH + whole,
        _ => SystemTime::UNIX_EPOCH - whole,
    };
    time + Duration::from_nanos(nanoseconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were() {
        for (seconds, nanoseconds) in [
            (0, 0),
            (0, 1),
            (1_700_000_000, 999_999_999),
            (-1, 0),
            (-1, 1),
            (-5_000_000_000, 7),
            (i64::MIN, 0),
            (i64::MIN, 5),
            (i64::MAX, 999_999_999),
        ] {
            let time = at(seconds, nanoseconds);
            assert_eq!(since_epoch(time), (seconds, nanoseconds));
            assert_eq!(at(since_epoch(time).0, since_epoch(time).1), time);
        }
    }
}
