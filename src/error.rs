//! Errors: why a job could not be done. Faults of the *store* are not errors but [findings](crate::finding).

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::escape::escaped;

/// Between the reasons of a message that has several.
pub(crate) const ALSO: &str = "; also: ";

/// The code of errors in the arguments or the configuration.
pub(crate) const USAGE: &str = "usage";

/// Stable codes of errors, for programs. New codes may appear; existing ones change only with a new major version.
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

/// Why a job could not be done. Nothing was changed, unless the message states otherwise.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file or directory failed.
    Io {
        /// The operation, as in "cannot *read* ...".
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A symbolic link in the store leads nowhere: what belongs there may keep images alive.
    UnresolvedSymlink {
        /// The symbolic link.
        path: PathBuf,
        /// The symbolic link that led out of the store to it, if one did.
        way_out: Option<PathBuf>,
    },
    /// A symbolic link in the place of a directory leads to an empty directory: most likely a filesystem is not mounted.
    EmptySymlink {
        /// The symbolic link.
        path: PathBuf,
        /// The symbolic link that led out of the store to it, if one did.
        way_out: Option<PathBuf>,
    },
    /// The arguments or the configuration are invalid or incomplete.
    Usage(String),
    /// The metrics could not be written at the end.
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
        /// The holder, as far as the lock file names it.
        holder: String,
    },
    /// The redis in which the registry remembers blobs cannot be asked.
    Redis {
        /// Which one.
        server: String,
        /// Why not.
        reason: String,
        /// What is in the way.
        obstacle: RedisObstacle,
    },
    /// The store is in a state in which a collection is more likely to do harm than good.
    Brake {
        /// The reason to stop.
        reason: String,
        /// What to do, and the flag that lifts the brake.
        lift: String,
    },
    /// A signal ended the run.
    Interrupted,
}

/// The kind of failure of an operation, for callers that act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file or directory does not exist.
    NotFound,
    /// Permission is denied.
    Denied,
    /// The filesystem is read-only.
    ReadOnly,
    /// The filesystem is full, or a quota is exhausted.
    Full,
    /// The device or the server fails: the next operation will fail as well.
    Broken,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The kind of a system error.
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
    /// The kind of failure of an operation on the store; `None` for other errors.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Error::Io { source, .. } => Some(ErrorKind::of(source)),
            _ => None,
        }
    }

    /// The stable code: one of [`CODES`].
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

    /// The file or directory that it is about, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Error::Io { path, .. }
            | Error::UnresolvedSymlink { path, .. }
            | Error::EmptySymlink { path, .. }
            | Error::Locked { path, .. } => Some(path),
            Error::NotAStore { root, .. } => Some(root),
            Error::Usage(_) | Error::Metrics(_) | Error::Redis { .. } | Error::Brake { .. } | Error::Interrupted => None,
        }
    }

    /// Whether an entry vanished between listing and opening: removed by a concurrent writer.
    pub fn is_vanished(&self) -> bool {
        self.kind() == Some(ErrorKind::NotFound)
    }
}

/// What is in the way of making a redis forget things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisObstacle {
    /// It does not answer, or not as the configuration says.
    Unreachable,
    /// The user of the configuration may not send it a command, or not for the registry's keys.
    Forbidden,
    /// It takes no changes: it is a replica, or has no room.
    ReadOnly,
    /// It is a part of a Redis Cluster.
    Cluster,
}

impl RedisObstacle {
    fn lift(self) -> &'static str {
        match self {
            RedisObstacle::Unreachable => "start it, or correct the section redis of the registry's configuration",
            RedisObstacle::Forbidden => {
                "give the user of the section redis the commands PING, SELECT, SCAN, SSCAN, EXISTS, SISMEMBER, HGET, SCARD, DEL and SREM, \
                 and the keys blobs::* and repository::*, or collect with a configuration that names one who has them"
            }
            RedisObstacle::ReadOnly => {
                "name the server in the section redis that takes changes, as the registry needs it as well"
            }
            RedisObstacle::Cluster => {
                "a Redis Cluster is not supported: let the registry remember in its memory (storage.cache.blobdescriptor: inmemory) and \
                 restart it, or stop it, collect without --online and --flush-redis, and empty the cluster before it is started"
            }
        }
    }
}

/// In a container, an address of the registry's own machine is another one.
const LOOPBACK_ADVICE: &str =
    "; in a container that address is the container's own: run in the registry's network (docker run --network container:NAME)";

/// Whether a server is named by an address that each machine, and each container, has for itself.
fn is_loopback(server: &str) -> bool {
    ["//127.", "//localhost", "//[::1]", "//::1"].iter().any(|own| server.contains(own))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}{}", escaped(path), UserAdvice::of(path, source))
            }
            Error::UnresolvedSymlink { path, way_out } => write!(
                f,
                "cannot follow the symbolic link {}: it leads nowhere; mount what it points to, or remove it if nothing is behind it{}",
                escaped(path),
                WayOut(way_out.as_deref())
            ),
            Error::EmptySymlink { path, way_out } => write!(
                f,
                "the symbolic link {} leads to an empty directory; mount what belongs there, or remove the link if nothing does{}",
                escaped(path),
                WayOut(way_out.as_deref())
            ),
            Error::Usage(message) | Error::Metrics(message) => f.write_str(message),
            Error::NotAStore { root, hint } => write!(f, "no registry storage in {}: {hint}", escaped(root)),
            Error::Locked { path, holder } => write!(
                f,
                "another regsweep works on this store ({holder}; lock {}); wait for it, or give --wait-lock",
                escaped(path)
            ),
            Error::Redis { server, reason, obstacle } => write!(
                f,
                "cannot make the registry's redis {} forget what it remembers: {reason}; {}{}",
                escaped(server),
                obstacle.lift(),
                if *obstacle == RedisObstacle::Unreachable && is_loopback(server) { LOOPBACK_ADVICE } else { "" }
            ),
            Error::Brake { reason, lift } => write!(f, "{reason}; {lift}"),
            Error::Interrupted => f.write_str("interrupted before anything was removed"),
        }
    }
}

/// What else may help with a link that another one leads to.
struct WayOut<'a>(Option<&'a Path>);

impl fmt::Display for WayOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |link| write!(f, "; or remove {}, which leads there, if no images are behind it", escaped(link)))
    }
}

/// What may help where permission is denied.
enum UserAdvice {
    /// Nothing is known that would.
    None,
    /// Another user: the owner of the nearest ancestor that can be seen.
    Owner(u32),
    /// Nobody may, whoever it is: a flag of the file's.
    Immutable,
    /// Root may not, which is not for the permissions of the file to say.
    NotEvenRoot,
}

impl UserAdvice {
    fn of(path: &Path, source: &io::Error) -> UserAdvice {
        let owner = |path: &Path| path.symlink_metadata().map(|metadata| metadata.uid()).ok();
        let is_root = rustix::process::geteuid().is_root();
        match ErrorKind::of(source) {
            ErrorKind::Denied if is_root && source.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {
                UserAdvice::Immutable
            }
            ErrorKind::Denied if is_root => UserAdvice::NotEvenRoot,
            ErrorKind::Denied => path.ancestors().find_map(owner).map_or(UserAdvice::None, UserAdvice::Owner),
            _ => UserAdvice::None,
        }
    }
}

impl fmt::Display for UserAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserAdvice::None => Ok(()),
            UserAdvice::Owner(0) => f.write_str("; it is root's: run as root"),
            UserAdvice::Owner(user) => write!(f, "; it belongs to user {user}: run as that user, or as root"),
            UserAdvice::Immutable => {
                f.write_str("; it may be immutable or append-only: `lsattr` shows that, `chattr -ia` ends it")
            }
            UserAdvice::NotEvenRoot => {
                f.write_str("; root may not either, as on NFS with root_squash: run as the user whose files these are")
            }
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

/// Adds the operation and the path to an I/O result.
pub trait Context<T> {
    /// Turns the error into [`Error::Io`].
    ///
    /// # Errors
    ///
    /// When `self` is an error.
    fn context(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;

    /// The same, with a path that is built only for an error.
    ///
    /// # Errors
    ///
    /// When `self` is an error.
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
    fn errors_have_exactly_the_listed_codes() {
        use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull, TimedOut};
        let path = PathBuf::from("/x");
        let kinds = [NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull, StaleNetworkFileHandle, TimedOut];
        let mut errors: Vec<Error> =
            kinds.map(|kind| Error::Io { operation: "read", path: path.clone(), source: kind.into() }).into();
        errors.extend([
            Error::UnresolvedSymlink { path: path.clone(), way_out: None },
            Error::EmptySymlink { path: path.clone(), way_out: None },
            Error::Usage(String::new()),
            Error::Metrics(String::new()),
            Error::NotAStore { root: path.clone(), hint: String::new() },
            Error::Locked { path: path.clone(), holder: String::new() },
            Error::Redis { server: String::new(), reason: String::new(), obstacle: RedisObstacle::Unreachable },
            Error::Brake { reason: String::new(), lift: String::new() },
            Error::Interrupted,
        ]);
        let codes: BTreeSet<&str> = errors.iter().map(Error::code).collect();
        assert_eq!(codes, BTreeSet::from(CODES));
    }
}
