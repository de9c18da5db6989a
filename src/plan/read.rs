//! Reads a plan back that was written for programs. Pure but for the file.
//!
//! Whoever can write the file must not be able to have anything removed that no plan could list: a row says what it is about by kind,
//! repository, tag and digest, and its target is made from these. The path is compared with the target's and never used. What else a
//! deletion carries, its depth and the name of which it is an alias, is found anew when a row is validated against the store.

use std::ffi::OsStr;
use std::io::{BufRead, Read as _};
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;

use super::{Kind, PlanLine, Reason};
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::layout::{LinkDirectory, Target, UploadFile, UploadPart, upload_id};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::store::Stat;

/// Longer than any line that is written: names have 255 bytes at most, and the path has them once more.
const MAX_LINE_BYTES: u64 = 16 << 10;

/// The longest name that a directory has.
const MAX_NAME_BYTES: usize = 255;

/// A row of a plan: what was to go, what was seen of it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRow {
    /// What.
    pub target: Target,
    /// Its size and age as they were planned.
    pub stat: Stat,
    /// Why.
    pub reason: Reason,
}

/// Reads the rows of a plan, in its order. `path` is where they come from.
///
/// Ends with the first row that is none, or is not where a plan has it.
pub fn read(from: impl BufRead, path: &Path) -> impl Iterator<Item = Result<PlannedRow, Error>> {
    let mut rows = Rows { from, path, number: 0, last: Kind::Tag };
    let mut has_failed = false;
    std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        let row = rows.next_row().transpose()?;
        has_failed = row.is_err();
        Some(row)
    })
}

/// The rows of a plan that are left to be read.
struct Rows<'a, R> {
    from: R,
    path: &'a Path,
    /// How many were read.
    number: u64,
    /// The kind of the last one.
    last: Kind,
}

impl<R: BufRead> Rows<'_, R> {
    fn next_row(&mut self) -> Result<Option<PlannedRow>, Error> {
        let mut line = Vec::new();
        let read = self.from.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line).context("read", self.path)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let row = match line.split_last() {
            Some((b'\n', line)) => self.row(line),
            _ if line.len() as u64 > MAX_LINE_BYTES => Err(format!("it has more than {MAX_LINE_BYTES} bytes")),
            _ => Err("it has no end: the plan was cut off".to_owned()),
        };
        row.map(Some)
            .map_err(|why| Error::Usage(format!("line {} of {} is no row of a plan: {why}", self.number, escaped(self.path))))
    }

    fn row(&mut self, line: &[u8]) -> Result<PlannedRow, String> {
        let line: PlanLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let row = PlannedRow::try_from(&line)?;
        // Names go before contents (G3).
        if line.kind < self.last {
            return Err(format!("a {} does not go after a {}", line.kind.name(), self.last.name()));
        }
        self.last = line.kind;
        Ok(row)
    }
}

impl TryFrom<&PlanLine> for PlannedRow {
    type Error = String;

    fn try_from(line: &PlanLine) -> Result<PlannedRow, String> {
        let parsed = |digest: &str| Digest::parse(digest.as_bytes()).ok_or("its digest is none");
        let digest = line.digest.as_deref().map(parsed).transpose()?;
        let repository = line.repository.as_deref().map(repository).transpose()?;
        let tag = line.tag.as_deref().map(tag).transpose()?;
        let targets = match (digest, &line.upload) {
            (Some(digest), None) => targets(line.kind, repository, tag, digest),
            (None, Some(upload)) => of_upload(line.kind, repository.filter(|_| tag.is_none()), upload).map(|target| vec![target]),
            (None, None) => unnamed(line.kind, repository, tag).map(|target| vec![target]),
            (Some(_), Some(_)) => None,
        };
        let targets = targets.ok_or("what it names is not of its kind")?;
        let target = targets.into_iter().find(|target| escaped(target.path()) == line.path);
        let target = target.ok_or("its path is not that of what it names")?;
        if !fits(line.kind, line.reason) {
            return Err("its reason is none for its kind".to_owned());
        }
        Ok(PlannedRow { target, stat: Stat::new(line.bytes, modified(&line.modified)?), reason: line.reason })
    }
}

/// Nothing goes of a repository whose name the registry would not accept.
fn repository(name: &str) -> Result<RepositoryName, String> {
    let name = RepositoryName::new(name);
    name.is_valid().then_some(name).ok_or_else(|| "its repository is none".to_owned())
}

/// A tag may be called as no registry would call it, but never as what is not one directory.
fn tag(name: &str) -> Result<TagName, String> {
    let is_one = !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && !name.contains('/');
    (is_one && escaped(name) == name).then(|| TagName::new(name)).ok_or_else(|| "its tag is none".to_owned())
}

/// A time, written as it is written in plans.
fn modified(text: &str) -> Result<SystemTime, String> {
    let time: Option<Timestamp> = text.parse().ok().filter(|time: &Timestamp| time.to_string() == text);
    time.and_then(|time| SystemTime::try_from(time).ok()).ok_or_else(|| "its time is none".to_owned())
}

/// What a row may be about. An empty directory of links may be one of two.
fn targets(kind: Kind, repository: Option<RepositoryName>, tag: Option<TagName>, digest: Digest) -> Option<Vec<Target>> {
    Some(match (kind, repository, tag) {
        (Kind::Tag, Some(repository), Some(tag)) => vec![Target::Tag(repository, tag, digest)],
        (Kind::TagHistory, Some(repository), Some(tag)) => vec![Target::Link(LinkDirectory::History(repository, tag), digest)],
        (Kind::Revision, Some(repository), None) => vec![Target::Link(LinkDirectory::Revisions(repository), digest)],
        (Kind::LayerLink, Some(repository), None) => vec![Target::Link(LinkDirectory::Layers(repository), digest)],
        (Kind::Blob, None, None) => vec![Target::Blob(digest)],
        (Kind::EmptyDirectory, Some(repository), Some(tag)) => {
            vec![Target::EmptyLinkDirectory(LinkDirectory::History(repository, tag), digest)]
        }
        (Kind::EmptyDirectory, Some(repository), None) => [LinkDirectory::Revisions, LinkDirectory::Layers]
            .map(|directory| Target::EmptyLinkDirectory(directory(repository.clone()), digest))
            .into(),
        (Kind::EmptyDirectory, None, None) => vec![Target::EmptyBlobDirectory(digest)],
        (
            Kind::Tag
            | Kind::TagHistory
            | Kind::Revision
            | Kind::LayerLink
            | Kind::Blob
            | Kind::Upload
            | Kind::EmptyDirectory
            | Kind::Repository,
            ..,
        ) => return None,
    })
}

/// What a row may be about that neither a digest nor an upload names.
fn unnamed(kind: Kind, repository: Option<RepositoryName>, tag: Option<TagName>) -> Option<Target> {
    match (kind, repository?, tag) {
        (Kind::Tag, repository, Some(tag)) => Some(Target::BrokenTag(repository, tag)),
        (Kind::EmptyDirectory, repository, Some(tag)) => Some(Target::EmptyTag(repository, tag)),
        (Kind::Repository, repository, None) => Some(Target::EmptyRepository(repository)),
        _ => None,
    }
}

/// What of an upload a row may be about.
fn of_upload(kind: Kind, repository: Option<RepositoryName>, upload: &str) -> Option<Target> {
    let (id, part) = upload.split_once('/').map_or((upload, None), |(id, part)| (id, Some(part)));
    let id = upload_id(OsStr::new(id))?.to_owned();
    match (kind, repository?, part) {
        (Kind::Upload, repository, Some(part)) => {
            let part = UploadPart::of_relative(Path::new(part))?;
            Some(Target::Upload(Box::new(UploadFile { repository, id, part })))
        }
        (Kind::EmptyDirectory, repository, None) => Some(Target::EmptyUploadDirectory(repository, id)),
        _ => None,
    }
}

/// Whether something of that kind goes for that reason.
fn fits(kind: Kind, reason: Reason) -> bool {
    match reason {
        Reason::TagDropped => matches!(kind, Kind::Tag | Kind::TagHistory),
        Reason::Untagged => matches!(kind, Kind::TagHistory | Kind::Revision | Kind::Blob),
        Reason::Orphaned => matches!(kind, Kind::Tag | Kind::TagHistory | Kind::Revision),
        Reason::RevisionGone => kind == Kind::TagHistory,
        Reason::Unreferenced => matches!(kind, Kind::LayerLink | Kind::Blob),
        Reason::Unlinked => kind == Kind::Blob,
        Reason::EmptyDirectory => matches!(kind, Kind::EmptyDirectory | Kind::Repository),
        Reason::StaleUpload => kind == Kind::Upload,
    }
}

#[cfg(test)]
mod tests;
