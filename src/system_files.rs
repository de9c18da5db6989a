//! Names that other programs leave in any directory: a NAS, NFS, a snapshot, a desktop. They are no part of the store.
//!
//! None of them can be a tag or a part of a repository's name, but for some that can: those count as files only.

/// Names as they are.
const NAMES: [&[u8]; 41] = [
    b"@eaDir",
    b".@__thumb",
    b"@tmp",
    b"#recycle",
    b".recycle",
    b"@Recycle",
    b"@Recently-Snapshot",
    b".@upload_cache",
    b".streams",
    b".DS_Store",
    b".AppleDB",
    b".AppleDesktop",
    b".AppleDouble",
    b".DocumentRevisions-V100",
    b".Spotlight-V100",
    b".TemporaryItems",
    b".VolumeIcon.icns",
    b".apdisk",
    b".fseventsd",
    b".localized",
    b".metadata_never_index",
    b"Network Trash Folder",
    b"Temporary Items",
    b".Trash",
    b".Trashes",
    b".stfolder",
    b".stignore",
    b".stversions",
    b".directory",
    b"lost+found",
    b".snap",
    b".snapshot",
    b".snapshots",
    b"#snapshot",
    b"~snapshot",
    b".zfs",
    b".ckpt",
    b".glusterfs",
    b".gvfs",
    b"$RECYCLE.BIN",
    b"System Volume Information",
];

/// Names that a tag may have.
const FILES: [&[u8]; 4] = [b"Thumbs.db", b"ehthumbs.db", b"ehthumbs_vista.db", b"desktop.ini"];

/// What others begin with: files that are open on a client of NFS or SMB or in a FUSE filesystem though they were removed, what macOS keeps
/// beside a file, and a desktop's bin.
const BEGINNINGS: [&[u8]; 5] = [b".nfs", b".smbdelete", b".fuse_hidden", b"._", b".Trash-"];

/// Whether an entry of a directory is what another program leaves there.
pub(crate) fn is_system_file(name: &[u8], is_directory: bool) -> bool {
    NAMES.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin)) || (!is_directory && FILES.contains(&name))
}

/// Whether a directory beside `_layers` and `_manifests`, or among the tags, is one that some registries keep there, with nothing of ours in it.
pub(crate) fn is_of_a_fork(name: &[u8]) -> bool {
    matches!(name, b"_refs" | b"_blobs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{RepositoryName, TagName};

    #[test]
    fn none_of_them_can_be_pulled() {
        let begun = BEGINNINGS.iter().map(|begin| [begin, &b"0001"[..]].concat());
        for name in NAMES.iter().map(|name| name.to_vec()).chain(begun) {
            let text = String::from_utf8(name.clone()).expect("text");
            assert!(!TagName::new(&text).is_valid() && !RepositoryName::new(&text).is_valid(), "{text}");
            assert!(is_system_file(&name, true) && is_system_file(&name, false), "{text}");
        }
        for name in FILES {
            assert!(is_system_file(name, false) && !is_system_file(name, true));
        }
        for name in [&b"v1"[..], b"_layers", b"nfs", b"thumbs.db", b"_refs"] {
            assert!(!is_system_file(name, false));
        }
    }
}
