//! What the entries of a directory are, for stores that have all of their paths in memory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::oci::{Algorithm, Digest};
use crate::store::{Listing, Stray, StrayKind};
use crate::system_files::is_system_file;

/// The entries of a directory, and whether each is a directory.
pub(in crate::store) type Entries = Vec<(PathBuf, bool)>;

/// The directories among some entries that `accept` takes, and what else there is.
pub(in crate::store) fn list<T: Ord>(entries: Entries, accept: impl Fn(&OsStr) -> Option<T>) -> Listing<T> {
    let mut listing = Listing::default();
    for (path, is_directory) in entries {
        let name = path.file_name().expect("entries have names");
        match accept(name) {
            _ if is_system_file(name.as_encoded_bytes(), is_directory) => {
                listing.strays.push(Stray { path, kind: StrayKind::SystemFile });
            }
            Some(entry) if is_directory => listing.entries.push(entry),
            _ => listing.strays.push(Stray { path, kind: StrayKind::Unrecognised }),
        }
    }
    listing.sorted()
}

/// `<directory>/<algorithm>/<hex>`.
pub(in crate::store) fn list_digests(directory: &Path, entries: &dyn Fn(&Path) -> Entries) -> Listing<Digest> {
    let algorithms = list(entries(directory), |name| Algorithm::from_name(name.as_encoded_bytes()));
    let mut all = Listing { entries: Vec::new(), strays: algorithms.strays };
    for algorithm in algorithms.entries {
        let named = entries(&directory.join(algorithm.name()));
        let digests = list(named, |hex| Digest::from_hex(algorithm, hex.as_encoded_bytes()));
        all.entries.extend(digests.entries);
        all.strays.extend(digests.strays);
    }
    all.sorted()
}
