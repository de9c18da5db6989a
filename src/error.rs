//! Why the job could not be done. What is wrong with the *store* is no error but a [finding](crate::finding).

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::escape::escaped;

/// The code of what the arguments or the configuration lack.
pub(crate) const USAGE: &str = "usage";

/// What programs know errors by. More may come; none is called otherwise without a new major version.
pub const CODES: [&str; 15] = [
    USAGE,
    "not-a-store",
    "not-found",
    "permission-denied",
    "read-only",
    "no-space",
    "device",
    "io",
    "unresolved-symlink",
    "empty-symlink",
    "locked",
    "redis",
    "brake",
    "metrics",
    "interrupted",
];

/// A job that could not be done. Unless it says otherwise, nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file or directory failed.
    Io {
        /// What was tried, as in "cannot *read* ...".
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A symbolic link in the store leads nowhere: what it stands for may hold what keeps images alive.
    UnresolvedSymlink {
        /// The symbolic link.
        path: PathBuf,
    },
    /// A symbolic link in the place of a directory leads to one with nothing in it: most likely what belongs there is not mounted.
    EmptySymlink {
        /// The link.
        path: PathBuf,
    },
    /// The arguments or the configuration do not say what to do.
    Usage(String),
    /// The figures could not be written at the end.
    Metrics(String),
    /// The directory does not look like a registry's root directory.
    NotAStore {
        /// The directory.
        root: PathBuf,
        /// What is missing, and what to give instead.
        hint: String,
    },
    /// Another regsweep works on this store.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as they have told.
        holder: String,
    },
    /// The redis in which the registry remembers blobs cannot be asked.
    Redis {
        /// Which one.
        server: String,
        /// Why not.
        reason: String,
    },
    /// The store is in a state in which a collection would do harm more likely than good.
    Brake {
        /// What was seen.
        reason: String,
        /// What to do, and the flag that lifts the brake.
        lift: String,
    },
    /// A signal asked us to end.
    Interrupted,
}

/// What kind of trouble an operation met, for those who act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What it was about is not there.
    NotFound,
    /// We may not.
    Denied,
    /// Nobody may write there.
    ReadOnly,
    /// There is no room, or no more than our share.
    Full,
    /// The device or the server fails: the next operation will not fare better.
    Broken,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The kind of an error of the system.
    fn of(source: &io::Error) -> ErrorKind {
        match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            io::ErrorKind::StaleNetworkFileHandle => ErrorKind::Broken,
            _ if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => ErrorKind::Broken,
            _ => ErrorKind::Other,
        }
    }
}

impl Error {
    /// What kind of trouble an operation on the store met; nothing for what is no such trouble.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Error::Io { source, .. } => Some(ErrorKind::of(source)),
            _ => None,
        }
    }

    /// What programs know it by: one of [`CODES`].
    pub fn code(&self) -> &'static str {
        match self {
            Error::Io { source, .. } => match ErrorKind::of(source) {
                ErrorKind::NotFound => "not-found",
                ErrorKind::Denied => "permission-denied",
                ErrorKind::ReadOnly => "read-only",
                ErrorKind::Full => "no-space",
                ErrorKind::Broken => "device",
                ErrorKind::Other => "io",
            },
            Error::UnresolvedSymlink { .. } => "unresolved-symlink",
            Error::EmptySymlink { .. } => "empty-symlink",
            Error::Usage(_) => USAGE,
            Error::Metrics(_) => "metrics",
            Error::NotAStore { .. } => "not-a-store",
            Error::Locked { .. } => "locked",
            Error::Redis { .. } => "redis",
            Error::Brake { .. } => "brake",
            Error::Interrupted => "interrupted",
        }
    }

    /// The file or directory that it is about, if it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Error::Io { path, .. }
            | Error::UnresolvedSymlink { path }
            | Error::EmptySymlink { path }
            | Error::Locked { path, .. } => Some(path),
            Error::NotAStore { root, .. } => Some(root),
            Error::Usage(_) | Error::Metrics(_) | Error::Redis { .. } | Error::Brake { .. } | Error::Interrupted => None,
        }
    }

    /// Whether something had gone between being listed and being opened: somebody else is at work.
    pub fn is_vanished(&self) -> bool {
        self.kind() == Some(ErrorKind::NotFound)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}{}", escaped(path), WhoMay::of(path, source))
            }
            Error::UnresolvedSymlink { path } => write!(
                f,
                "cannot follow the symbolic link {}: it leads nowhere; mount what it points to, or remove it if nothing is behind it",
                escaped(path)
            ),
            Error::EmptySymlink { path } => write!(
                f,
                "the symbolic link {} leads to an empty directory; mount what belongs there, or remove the link if nothing does",
                escaped(path)
            ),
            Error::Usage(message) | Error::Metrics(message) => f.write_str(message),
            Error::NotAStore { root, hint } => write!(f, "no registry storage in {}: {hint}", escaped(root)),
            Error::Locked { path, holder } => write!(
                f,
                "another regsweep works on this store ({holder}; lock {}); wait for it, or give --wait-lock",
                escaped(path)
            ),
            Error::Redis { server, reason } => write!(
                f,
                "cannot ask the registry's redis {} what it remembers: {reason}; start it, or correct the section redis of the registry's \
                 configuration",
                escaped(server)
            ),
            Error::Brake { reason, lift } => write!(f, "{reason}; {lift}"),
            Error::Interrupted => f.write_str("interrupted before anything was removed"),
        }
    }
}

/// Who may do what was denied, as far as the owner of the first thing on the way says that can be seen.
struct WhoMay(Option<u32>);

impl WhoMay {
    fn of(path: &Path, source: &io::Error) -> WhoMay {
        let owner = |path: &Path| path.symlink_metadata().map(|metadata| metadata.uid()).ok();
        let is_denied = ErrorKind::of(source) == ErrorKind::Denied;
        WhoMay(is_denied.then(|| path.ancestors().find_map(owner)).flatten())
    }
}

impl fmt::Display for WhoMay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(0) => f.write_str("; it is root's: run as root"),
            Some(user) => write!(f, "; it belongs to user {user}: run as that user, or as root"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Gives an I/O result its operation and path.
pub trait Context<T> {
    /// Turns the error into [`Error::Io`].
    ///
    /// # Errors
    ///
    /// When `self` is one.
    fn context(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;

    /// The same for a path that is only put together for an error.
    ///
    /// # Errors
    ///
    /// When `self` is one.
    fn context_with(self, operation: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.context_with(operation, || path.as_ref().to_owned())
    }

    fn context_with(self, operation: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, Error> {
        self.map_err(|error| Error::Io { operation, path: path(), source: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_one_of_those_that_are_promised() {
        use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull, TimedOut};
        let path = PathBuf::from("/x");
        let kinds = [NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull, StaleNetworkFileHandle, TimedOut];
        let mut errors: Vec<Error> =
            kinds.map(|kind| Error::Io { operation: "read", path: path.clone(), source: kind.into() }).into();
        errors.extend([
            Error::UnresolvedSymlink { path: path.clone() },
            Error::EmptySymlink { path: path.clone() },
            Error::Usage(String::new()),
            Error::Metrics(String::new()),
            Error::NotAStore { root: path.clone(), hint: String::new() },
            Error::Locked { path: path.clone(), holder: String::new() },
            Error::Redis { server: String::new(), reason: String::new() },
            Error::Brake { reason: String::new(), lift: String::new() },
            Error::Interrupted,
        ]);
        let codes: BTreeSet<&str> = errors.iter().map(Error::code).collect();
        assert_eq!(codes, BTreeSet::from(CODES));
    }
}
