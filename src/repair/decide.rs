//! One decision from the facts of one link.

use crate::oci::{Algorithm, Digest};
use crate::store::LinkContent;

/// What kind of link it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Layer,
    Revision,
    History,
}

/// What the store has of the content that a link's place names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Absent,
    /// Bytes that do not read as a manifest.
    Blob,
    Manifest,
}

/// What becomes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing is wrong with it.
    Sound,
    /// It is made again with the digest of its place.
    Mend,
    CannotMend(CannotMend),
}

/// Why a link cannot be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotMend {
    Alias,
    Disagrees,
    Irregular,
    NotStored,
    TargetNotStored,
    NoManifest,
    Uncertain,
    Foreign,
    Apart,
    NoHistory,
    LongHistory,
    HistoryUnsure,
    HistoryGone,
    NotNamed,
}

impl CannotMend {
    /// The reason, as a sentence.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            CannotMend::Alias => "Not mended: it may be an alias, and then its place does not say its content.",
            CannotMend::Disagrees => {
                "Not mended: it names another digest than its place, and which of them is right is not known."
            }
            CannotMend::Irregular => "Not mended: what is in its place is not a file, and may be somebody's.",
            CannotMend::NotStored => {
                "Not mended: the blob that it would name is not stored, and its repository keeps all that it links as long as it is damaged."
            }
            CannotMend::TargetNotStored => {
                "Not mended: the manifest that the history of the tag names is not stored; --from can bring it from another store."
            }
            CannotMend::NoManifest => "Not mended: the blob that it would name cannot be read as a manifest.",
            CannotMend::Uncertain => "Not mended: an index names it, and whether as a manifest or as a layer is not known.",
            CannotMend::Foreign => {
                "Not mended: its repository lies behind a symbolic link or a mount, and nothing is written there."
            }
            CannotMend::Apart => {
                "Not mended: it may be somebody's, and its repository keeps all that it links as long as it is there."
            }
            CannotMend::NoHistory => "Not mended: the tag has no history that says what it named.",
            CannotMend::LongHistory => {
                "Not mended: the history of the tag names several manifests, and which of them was the last is not known."
            }
            CannotMend::HistoryUnsure => {
                "Not mended: the one link in the history of the tag is damaged too, and cannot be mended."
            }
            CannotMend::HistoryGone => {
                "Not mended: no link is left in the history of the tag, only directories, as its removal leaves them beside a registry. While it is in quarantine `regsweep restore` brings it back; named to `regsweep remove` it goes."
            }
            CannotMend::NotNamed => "Not mended: the tag may be half deleted, so it is mended only when it is named.",
        }
    }
}

/// Decides about a link in a digest's own directory. `content` is what the link holds; an absent one is decided about only if something that
/// is kept needs it.
pub(crate) fn decide(part: Part, digest: &Digest, content: LinkContent, named: Named, is_foreign: bool) -> Decision {
    let can = |why: Option<CannotMend>| why.map_or(Decision::Mend, Decision::CannotMend);
    match content {
        LinkContent::Digest(says) if says == *digest || is_alias(part, digest, &says) => return Decision::Sound,
        LinkContent::Digest(_) => return can(Some(CannotMend::Disagrees)),
        LinkContent::Irregular => return can(Some(CannotMend::Irregular)),
        _ if is_foreign => return can(Some(CannotMend::Foreign)),
        // What a missing link is to name is stored under this very digest, or it would not be missing.
        LinkContent::Absent => {}
        LinkContent::Empty | LinkContent::Garbled if digest.algorithm() != Algorithm::Sha256 => {
            return can(Some(CannotMend::Alias));
        }
        LinkContent::Empty | LinkContent::Garbled => {}
    }
    can(match (part, named) {
        // History outlives what it names, also where nothing is wrong.
        (Part::History, _) => None,
        (_, Named::Absent) => Some(CannotMend::NotStored),
        (Part::Revision, Named::Blob) => Some(CannotMend::NoManifest),
        (Part::Layer, _) | (Part::Revision, Named::Manifest) => None,
    })
}

/// A layer that was uploaded by another algorithm has links under both digests that name the one of SHA-256.
fn is_alias(part: Part, digest: &Digest, says: &Digest) -> bool {
    part == Part::Layer && says.algorithm() == Algorithm::Sha256 && digest.algorithm() != Algorithm::Sha256
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written from the rules: every kind of link, content, algorithm and state of what it names.
    #[test]
    fn only_what_the_place_says_is_written() {
        let [one, other] = [b"one", b"two"].map(|text| Digest::of(Algorithm::Sha256, text));
        let long = Digest::of(Algorithm::Sha512, b"one");
        let contents =
            [LinkContent::Absent, LinkContent::Empty, LinkContent::Garbled, LinkContent::Irregular, LinkContent::Digest(other)];
        let mut mended = 0;
        for part in [Part::Layer, Part::Revision, Part::History] {
            for digest in [one, long] {
                assert_eq!(decide(part, &digest, LinkContent::Digest(digest), Named::Absent, true), Decision::Sound);
                for named in [Named::Absent, Named::Blob, Named::Manifest] {
                    for content in contents {
                        let decision = decide(part, &digest, content, named, false);
                        let is_damaged = matches!(content, LinkContent::Absent | LinkContent::Empty | LinkContent::Garbled);
                        let says_its_content = content == LinkContent::Absent || digest == one;
                        let leads_somewhere = match part {
                            Part::Layer => named != Named::Absent,
                            Part::Revision => named == Named::Manifest,
                            Part::History => true,
                        };
                        let expected = is_damaged && says_its_content && leads_somewhere;
                        assert_eq!(decision == Decision::Mend, expected, "{part:?} {digest} {content:?} {named:?}");
                        mended += u32::from(expected);
                        let apart = decide(part, &digest, content, named, true);
                        assert_ne!(apart, Decision::Mend, "nothing is written behind a symbolic link");
                    }
                }
            }
        }
        assert_eq!(mended, 8 + 4 + 12, "of each kind some");
    }

    #[test]
    fn an_alias_is_sound_among_layers_alone() {
        let (short, long) = (Digest::of(Algorithm::Sha256, b"x"), Digest::of(Algorithm::Sha512, b"x"));
        for (part, sound) in [(Part::Layer, true), (Part::Revision, false), (Part::History, false)] {
            let decision = decide(part, &long, LinkContent::Digest(short), Named::Manifest, false);
            assert_eq!(decision == Decision::Sound, sound, "{part:?}");
        }
    }
}
