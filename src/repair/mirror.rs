//! Another store, from which lost blobs are copied.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::layout::Shard;
use crate::oci::{Digest, manifest};
use crate::store::{BlobContent, FileState, ManifestContent, Store};

/// A store that may have what another one has lost. It is read and never changed.
#[derive(Clone, Copy)]
pub(crate) struct Mirror<'a> {
    store: &'a dyn Store,
}

impl<'a> Mirror<'a> {
    /// Takes a store for a mirror.
    pub(crate) fn new(store: &'a dyn Store) -> Mirror<'a> {
        Mirror { store }
    }

    /// The size of a blob; nothing if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be looked at.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(match self.store.stat_blobs(Shard::of(digest), &[*digest])?[..] {
            [FileState::File(stat)] => Some(stat.size_bytes),
            _ => None,
        })
    }

    /// Whether a blob is a manifest whose bytes match its digest.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub(crate) fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let mut reads = false;
        let content = self.store.manifest(digest, &mut |bytes| reads = manifest::references(bytes).is_ok())?;
        Ok(content == ManifestContent::Verified && reads)
    }

    /// Copies the bytes of a blob, whatever they are. Ends early when `stop` becomes true.
    ///
    /// # Errors
    ///
    /// When they cannot be read or written to their end.
    pub(crate) fn copy(&self, digest: &Digest, out: &mut dyn io::Write, stop: &AtomicBool) -> io::Result<()> {
        let mut failed = None;
        let content = self.store.read_blob(digest, &mut |part| {
            let written = match stop.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => out.write_all(part),
            };
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        match (failed, content) {
            (Some(error), _) => Err(error),
            (None, BlobContent::Whole(_)) => Ok(()),
            (None, BlobContent::Failed { source, .. }) => Err(source),
            (None, _) => Err(io::Error::new(io::ErrorKind::NotFound, "the store that --from names does not have it any more")),
        }
    }
}
