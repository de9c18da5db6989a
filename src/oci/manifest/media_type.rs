//! Classifies media types.

/// What a media type states about content.
#[derive(Clone, Copy)]
pub(super) struct MediaType {
    pub(super) empty: bool,
    pub(super) manifest: bool,
    /// Whether it is that of an index.
    pub(super) index: bool,
    pub(super) foreign: bool,
}

impl MediaType {
    pub(super) fn of(text: &str) -> MediaType {
        if ORDINARY.contains(&text) {
            return MediaType { empty: false, manifest: false, index: false, foreign: false };
        }
        let index = text.contains(".index.") || text.contains(".manifest.list.");
        MediaType { empty: text.is_empty(), manifest: is_manifest(text), index, foreign: is_foreign(text) }
    }
}

/// The types of nearly all descriptors, neither a manifest's nor foreign. Comparing them first saves time.
pub(super) const ORDINARY: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];

/// Media types of manifests: OCI's manifest, index and artifact manifest, Docker's schema 1, schema 2 and list.
pub(super) fn is_manifest(media_type: &str) -> bool {
    const PAIRS: [[&str; 2]; 4] =
        [["image", "index"], ["image", "manifest"], ["distribution", "manifest"], ["artifact", "manifest"]];
    let mut before: &[u8] = b"";
    media_type.as_bytes().split(|&byte| byte == b'.').any(|part| {
        let first = std::mem::replace(&mut before, part);
        PAIRS.iter().any(|[a, b]| part.eq_ignore_ascii_case(b.as_bytes()) && first.eq_ignore_ascii_case(a.as_bytes()))
    })
}

pub(super) fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}
