//! Where other filesystems are mounted inside the store.
//!
//! What lies on them is somebody's decision that the layout knows nothing of, and flushing the store does not flush them. They are
//! read like the rest, and nothing on them is removed (I9).

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Where the kernel lists what this process sees mounted.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The mount points below some folder, relative to it.
///
/// Without `/proc` there are none: removal looks again, at every step, whether it would leave the filesystem.
pub(super) fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(mountinfo) = std::fs::read(MOUNTINFO) else { return Vec::new() };
    mount_points(&mountinfo)
        .filter_map(|point| Some(point.strip_prefix(folder).ok()?.to_owned()))
        .filter(|point| point != Path::new(""))
        .collect()
}

/// The fifth field of every line; see proc_pid_mountinfo(5).
fn mount_points(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let point = line.split(|&byte| byte == b' ').nth(4)?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(unescaped(point))))
    })
}

/// Space, tab, newline and backslash are written in octal, as in `\040`.
fn unescaped(mut field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    while let Some((&byte, rest)) = field.split_first() {
        let octal = rest.get(..3).filter(|_| byte == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::ffi::OsStr::from_bytes(digits).to_str()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        field = if code.is_some() { &rest[3..] } else { rest };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_as_the_kernel_writes_them() {
        let mountinfo = b"36 35 98:0 /mnt1 /mnt/a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            40 36 0:30 / /mnt rw - tmpfs tmpfs rw\n\n";
        let points: Vec<PathBuf> = mount_points(mountinfo).collect();
        assert_eq!(points, [Path::new("/mnt/a b\\c"), Path::new("/mnt")]);
        assert_eq!(unescaped(b"\\9\\04"), b"\\9\\04");
    }
}
