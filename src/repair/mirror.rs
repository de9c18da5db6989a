//! Another store, from which lost blobs are copied.
//!
//! What it holds is believed in nothing: whatever is wrong with one blob there is said of that blob alone.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::number;
use crate::layout::Shard;
use crate::oci::{Digest, manifest};
use crate::store::{BlobContent, FileState, ManifestContent, Store};

/// A store that may have what another one has lost. It is read and never changed.
#[derive(Clone, Copy)]
pub(crate) struct Mirror<'a> {
    store: &'a dyn Store,
    /// How many bytes are free where blobs are copied to, if that is known.
    free_bytes: Option<u64>,
}

/// Why a blob cannot come from a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lacks {
    /// It is not there.
    Absent,
    /// What is there cannot be used. Says why.
    Unusable(String),
}

impl Lacks {
    /// The reason, as a sentence.
    pub(crate) fn reason(&self) -> String {
        match self {
            Lacks::Absent => "Not mended: the store that --from names does not have it either.".to_owned(),
            Lacks::Unusable(why) => format!("Not mended: the store that --from names cannot give it: {why}."),
        }
    }
}

impl<'a> Mirror<'a> {
    /// Takes a store for a mirror.
    pub(crate) fn new(store: &'a dyn Store, free_bytes: Option<u64>) -> Mirror<'a> {
        Mirror { store, free_bytes }
    }

    /// The size of a blob, which has to be the one that is stated.
    pub(crate) fn blob(&self, digest: &Digest, stated: Option<u64>) -> Result<u64, Lacks> {
        let states = self.store.stat_blobs(Shard::of(digest), &[*digest]);
        let size = match states.map_err(|error| Lacks::Unusable(error.to_string()))?[..] {
            [FileState::File(stat)] => stat.size_bytes,
            [FileState::Irregular] => return Err(Lacks::Unusable(NO_FILE.to_owned())),
            _ => return Err(Lacks::Absent),
        };
        let why = match stated {
            Some(stated) if stated != size => {
                format!("it has {} bytes there, and what names it states {}", number(size), number(stated))
            }
            None if self.free_bytes.is_some_and(|free| size > free) => {
                format!("it has {} bytes there, more than are free here", number(size))
            }
            _ => return Ok(size),
        };
        Err(Lacks::Unusable(why))
    }

    /// What a manifest names, and its size, if its bytes match its digest.
    pub(crate) fn manifest(&self, digest: &Digest) -> Result<(u64, manifest::References), Lacks> {
        let mut read = None;
        let content = self.store.manifest(digest, &mut |bytes| read = Some((bytes.len() as u64, manifest::references(bytes))));
        let why = match (content, read) {
            (Ok(ManifestContent::Verified), Some((size, Ok(references)))) => return Ok((size, references)),
            (Ok(ManifestContent::Verified), Some((_, Err(error)))) => format!("it cannot be read as a manifest: {error}"),
            (Ok(ManifestContent::Absent | ManifestContent::Verified), _) => return Err(Lacks::Absent),
            (Ok(ManifestContent::Corrupt), _) => "its bytes do not match its digest".to_owned(),
            (Ok(ManifestContent::TooLarge), _) => "it has more than 16 MiB there, and no manifest has".to_owned(),
            (Ok(ManifestContent::Irregular), _) => NO_FILE.to_owned(),
            (Err(error), _) => error.to_string(),
        };
        Err(Lacks::Unusable(why))
    }

    /// Copies the bytes of a blob of a size, whatever they are. Ends early when `stop` becomes true. The inner result is that of writing.
    pub(crate) fn copy(
        &self,
        digest: &Digest,
        size_bytes: u64,
        out: &mut dyn io::Write,
        stop: &AtomicBool,
    ) -> Result<io::Result<()>, Lacks> {
        let (mut written, mut copied) = (Ok(()), 0);
        let content = self.store.read_blob(digest, &mut |part| {
            copied += part.len() as u64;
            written = match stop.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::Interrupted.into()),
                // It may grow for ever.
                false if copied > size_bytes => return ControlFlow::Break(()),
                false => out.write_all(part),
            };
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match content {
            _ if written.is_err() => Ok(written),
            BlobContent::Whole(_) => Ok(written),
            BlobContent::Abandoned => Err(Lacks::Unusable("it has grown there since it was looked at".to_owned())),
            BlobContent::Failed { source, .. } => Err(Lacks::Unusable(format!("it cannot be read there: {source}"))),
            BlobContent::Irregular => Err(Lacks::Unusable(NO_FILE.to_owned())),
            BlobContent::Absent => Err(Lacks::Unusable("it is not there any more".to_owned())),
        }
    }
}

/// Why something is not copied that is a directory, a symbolic link or the like.
const NO_FILE: &str = "what is in its place there is not a file";
