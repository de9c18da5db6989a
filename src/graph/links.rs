//! What a link says.

use crate::error::Error;
use crate::finding::Code;
use crate::layout::LinkDirectory;
use crate::oci::{Algorithm, Digest};
use crate::store::LinkContent;
use crate::survey::Survey;

/// Judges what a repository's layer link says of a digest: it may be another name of a blob (H3).
pub(crate) fn layer_verdict(survey: &Survey<'_>, digest: &Digest) -> Result<LinkVerdict, Error> {
    if survey.layers.binary_search(digest).is_err() {
        return Ok(LinkVerdict::Absent);
    }
    let content = survey.repository.read_links(&LinkDirectory::Layers(survey.name.clone()), &[*digest])?[0];
    Ok(judge_link(digest, content))
}

/// What a link says about the digest that its directory is named by.
pub(crate) enum LinkVerdict {
    /// It names this digest: its own, or one of another algorithm of which it is an alias.
    Names(Digest),
    /// It is not there.
    Absent,
    /// It cannot be understood.
    Faulty(Code),
}

/// Judges a link in `_layers` or `revisions`.
pub(crate) fn judge_link(directory: &Digest, content: LinkContent) -> LinkVerdict {
    match content {
        LinkContent::Digest(digest) if digest == *directory => LinkVerdict::Names(digest),
        // A blob uploaded under another algorithm is stored under SHA-256, and the link of either name says that.
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
