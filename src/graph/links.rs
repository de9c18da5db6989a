//! Classifies the content of links.

use crate::error::Error;
use crate::finding::Code;
use crate::layout::LinkDirectory;
use crate::oci::{Algorithm, Digest};
use crate::store::LinkContent;
use crate::survey::Survey;

/// Classifies a repository's layer link of a digest: it may be an alias of a blob (H3).
pub(crate) fn layer_verdict(survey: &Survey<'_>, digest: &Digest) -> Result<LinkVerdict, Error> {
    let content = match survey.layers.binary_search(digest) {
        Ok(_) => survey.repository.read_links(&LinkDirectory::Layers(survey.name.clone()), &[*digest])?[0],
        Err(_) => LinkContent::Absent,
    };
    let moved = || survey.moved_aliases.iter().find(|(alias, _)| alias == digest);
    Ok(match judge_link(digest, content) {
        // What comes back with its image names that still.
        LinkVerdict::Absent => moved().map_or(LinkVerdict::Absent, |(_, canonical)| LinkVerdict::Names(*canonical)),
        verdict => verdict,
    })
}

/// The meaning of a link's content for the digest of its directory.
pub(crate) enum LinkVerdict {
    /// It names this digest: its own, or the one that it is an alias of.
    Names(Digest),
    /// The link does not exist.
    Absent,
    /// The link cannot be understood.
    Faulty(Code),
}

/// Classifies a link in `_layers` or `revisions`.
pub(crate) fn judge_link(directory: &Digest, content: LinkContent) -> LinkVerdict {
    match content {
        LinkContent::Digest(digest) if digest == *directory => LinkVerdict::Names(digest),
        // A blob uploaded under another algorithm is stored under SHA-256, and the links of both names hold the SHA-256
        // digest.
        LinkContent::Digest(digest) if digest.algorithm() == Algorithm::Sha256 && directory.algorithm() != Algorithm::Sha256 => {
            LinkVerdict::Names(digest)
        }
        LinkContent::Digest(_) => LinkVerdict::Faulty(Code::DisagreeingLink),
        LinkContent::Absent => LinkVerdict::Absent,
        LinkContent::Empty => LinkVerdict::Faulty(Code::EmptyLink),
        LinkContent::Garbled => LinkVerdict::Faulty(Code::GarbledLink),
        LinkContent::Irregular => LinkVerdict::Faulty(Code::IrregularLink),
    }
}
