//! What has to hold of any bytes. Each check panics where it does not.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use regsweep::oci::manifest::{self, References, Unreadable};
use regsweep::oci::{Algorithm, DescriptorKind, Digest};
use regsweep::registry_config;

use super::model::{self, Reading, Role};

/// Longer than a configuration of any size that is tried here takes, by far.
const HANGS: Duration = Duration::from_secs(5);

/// Bytes as a manifest: what the model of Go reads is found, or the repository is held.
pub fn references(bytes: &[u8]) {
    let ours = manifest::references(bytes);
    for reading in model::readings(bytes).into_iter().flatten() {
        assert!(finds(&ours, &reading), "{reading:?} is not found in {}", String::from_utf8_lossy(bytes));
    }
}

/// Whether a reading is found, or need not be: the repository is held, or it is no digest, which nobody can be served by.
pub fn finds(ours: &Result<References, Unreadable>, reading: &Reading) -> bool {
    let (Ok(found), Some(digest)) = (ours, Digest::parse(reading.digest.as_bytes())) else { return true };
    let mut named = found.descriptors.iter().filter(|descriptor| descriptor.digest == digest);
    match reading.role {
        Role::Blob => named.next().is_some(),
        // What an index lists has to be followed, too.
        Role::Child => named.any(|descriptor| descriptor.kind != DescriptorKind::Blob),
        Role::Subject => found.subjects.contains(&digest),
    }
}

/// Bytes as the content of a link: taken exactly if they are a digest, and printed as they were read.
pub fn link(bytes: &[u8]) {
    let read = Digest::parse(bytes);
    assert_eq!(read.is_some(), is_digest(bytes), "{}", bytes.escape_ascii());
    let Some(digest) = read else { return };
    assert_eq!(digest.to_string().as_bytes(), bytes);
    assert_eq!(Digest::from_hex(digest.algorithm(), digest.hex().as_bytes()), Some(digest));
    assert_eq!(Digest::from_bytes(digest.algorithm(), digest.bytes()), digest);
}

/// `^sha256:[0-9a-f]{64}$|^sha384:[0-9a-f]{96}$|^sha512:[0-9a-f]{128}$`, which is what go-digest's rules come to.
fn is_digest(bytes: &[u8]) -> bool {
    Algorithm::ALL.into_iter().any(|algorithm| {
        let hex = bytes.strip_prefix(algorithm.name().as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
        hex.is_some_and(|hex| {
            hex.len() == 2 * algorithm.len_bytes() && hex.iter().all(|digit| b"0123456789abcdef".contains(digit))
        })
    })
}

/// Bytes as a configuration, and behind each NUL a variable `NAME=VALUE`: read in time, and taken only if it names a root.
pub fn configuration(bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == 0);
    let file = in_memory(parts.next().unwrap_or_default());
    let environment: Vec<_> = parts.map(variable).collect();
    let begun = Instant::now();
    let read = registry_config::load(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())), &environment);
    assert!(begun.elapsed() < HANGS, "it took {:?}", begun.elapsed());
    match read {
        Ok(config) => {
            assert!(!config.root.as_os_str().is_empty(), "{config:?}");
            assert!(config.warnings.iter().all(|warning| !warning.contains('\n')), "{config:?}");
        }
        Err(error) => assert!(error.to_string().len() > "configuration /proc/self/fd/0: ".len(), "{error}"),
    }
}

/// A file without a name, so that nothing is left behind whatever happens.
fn in_memory(content: &[u8]) -> File {
    let file = rustix::fs::memfd_create("configuration", rustix::fs::MemfdFlags::CLOEXEC).expect("there is memory");
    let mut file = File::from(file);
    file.write_all(content).expect("there is memory");
    file
}

fn variable(bytes: &[u8]) -> (std::ffi::OsString, std::ffi::OsString) {
    use std::os::unix::ffi::OsStrExt as _;
    let end = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
    let text = |bytes| std::ffi::OsStr::from_bytes(bytes).to_owned();
    (text(&bytes[..end]), text(bytes.get(end + 1..).unwrap_or_default()))
}
