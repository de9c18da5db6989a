//! Where a registry puts things, relative to its root directory.
//!
//! Written a second time on purpose: were these the product's own functions, a mistake in them would go unseen.

use super::digest::parts;

/// Everything a registry writes is below this.
pub(crate) const BASE: &str = "docker/registry/v2";

/// The directory of a blob, named by its hex.
pub(crate) fn blob_directory(digest: &str) -> String {
    let (algorithm, hex) = parts(digest);
    format!("{BASE}/blobs/{algorithm}/{}/{hex}", &hex[..2])
}

/// The bytes of a blob.
pub(crate) fn blob_data(digest: &str) -> String {
    format!("{}/data", blob_directory(digest))
}

/// The directory of a repository.
pub(crate) fn repository(name: &str) -> String {
    format!("{BASE}/repositories/{name}")
}

/// The link that lets a repository serve a layer or a config.
pub(crate) fn layer_link(repository: &str, digest: &str) -> String {
    let (algorithm, hex) = parts(digest);
    format!("{BASE}/repositories/{repository}/_layers/{algorithm}/{hex}/link")
}

/// The link that lets a repository serve a manifest.
pub(crate) fn revision_link(repository: &str, digest: &str) -> String {
    let (algorithm, hex) = parts(digest);
    format!("{BASE}/repositories/{repository}/_manifests/revisions/{algorithm}/{hex}/link")
}

/// The directory of all tags of a repository.
pub(crate) fn tags(repository: &str) -> String {
    format!("{BASE}/repositories/{repository}/_manifests/tags")
}

/// The directory of a tag.
pub(crate) fn tag(repository: &str, tag: &str) -> String {
    format!("{}/{tag}", tags(repository))
}

/// The link that says what a tag names now.
pub(crate) fn tag_current(repository: &str, name: &str) -> String {
    format!("{}/current/link", tag(repository, name))
}

/// The link that says a tag names, or once named, a manifest.
pub(crate) fn tag_history(repository: &str, name: &str, digest: &str) -> String {
    let (algorithm, hex) = parts(digest);
    format!("{}/index/{algorithm}/{hex}/link", tag(repository, name))
}

/// The directory of an upload.
pub(crate) fn upload(repository: &str, id: &str) -> String {
    format!("{BASE}/repositories/{repository}/_uploads/{id}")
}

/// The directory that holds a path; the empty string at the top.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
