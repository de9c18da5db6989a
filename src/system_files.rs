//! Names that other programs create in any directory: a NAS, NFS, a snapshot, a desktop. They are no part of the store.
//!
//! None of them is valid as a tag or as part of a repository's name, except those that count as files only.

/// Exact names.
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
    b"Network Trash Directory",
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

/// Names that are valid as tags.
const FILES: [&[u8]; 4] = [b"Thumbs.db", b"ehthumbs.db", b"ehthumbs_vista.db", b"desktop.ini"];

/// Prefixes: files that NFS, SMB or a FUSE filesystem keeps for a client although they were removed, macOS metadata
/// beside a file, and a desktop's trash.
const BEGINNINGS: [&[u8]; 5] = [b".nfs", b".smbdelete", b".fuse_hidden", b"._", b".Trash-"];

/// Whether another program created an entry of a directory.
pub(crate) fn is_system_file(name: &[u8], is_directory: bool) -> bool {
    NAMES.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin)) || (!is_directory && FILES.contains(&name))
}

/// Whether a directory beside `_layers` and `_manifests`, or among the tags, is one that some registry forks create
/// there, without content of ours.
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
