//! Damage to stored blobs, and its findings.

use std::io;

use crate::finding::{Code, Finding};
use crate::format::size;
use crate::layout;
use crate::oci::Digest;
use crate::store::Stat;

/// A damaged blob.
#[derive(Debug)]
pub struct DamagedBlob {
    /// The digest.
    pub digest: Digest,
    /// The damage.
    pub damage: Damage,
    /// Metadata of the file as read, if there is a file. A removal requires that it is unchanged.
    pub stat: Option<Stat>,
    /// The size that the job stated.
    pub job_bytes: u64,
}

/// Damage to a blob.
#[derive(Debug)]
pub enum Damage {
    /// The bytes do not match the digest.
    Corrupt {
        /// Number of bytes in the file.
        stored_bytes: u64,
        /// Number of bytes that a descriptor states, if one does.
        stated_bytes: Option<u64>,
    },
    /// The file could not be read to its end.
    Unreadable {
        /// Number of bytes read before the error.
        offset: u64,
        /// The error.
        source: io::Error,
    },
    /// It is not a regular file.
    Irregular,
    /// Something needs it, and its directory has no data.
    Missing,
    /// Nothing needs it, and its directory holds something other than data.
    NoData,
}

impl Damage {
    fn code(&self) -> Code {
        match self {
            Damage::Corrupt { stored_bytes: 0, .. } => Code::EmptyBlob,
            Damage::Corrupt { stored_bytes, stated_bytes: Some(stated) } if stored_bytes < stated => Code::TruncatedBlob,
            Damage::Corrupt { stored_bytes, stated_bytes: Some(stated) } if stored_bytes > stated => Code::OverlongBlob,
            Damage::Corrupt { .. } => Code::CorruptBlob,
            Damage::Unreadable { .. } => Code::UnreadableBlob,
            Damage::Irregular => Code::IrregularData,
            Damage::Missing => Code::MissingBlob,
            Damage::NoData => Code::MissingData,
        }
    }

    /// Details that the code does not give.
    fn detail(&self) -> Option<String> {
        match self {
            Damage::Corrupt { stored_bytes, stated_bytes } => Some(compare(*stored_bytes, *stated_bytes)),
            Damage::Unreadable { offset, source } => Some(format!("It could not be read beyond {}: {source}", bytes(*offset))),
            Damage::Missing => Some("A blob that something needs has a directory and no data in it".into()),
            Damage::Irregular | Damage::NoData => None,
        }
    }

    /// Whether the damage is in the bytes: they are wrong, or cannot be read to the end.
    pub fn is_of_bytes(&self) -> bool {
        matches!(self, Damage::Corrupt { .. } | Damage::Unreadable { .. })
    }

    /// Whether the registry can serve its wrong bytes.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Damage::Corrupt { .. })
    }
}

/// Compares the stored size with the stated one.
fn compare(stored: u64, stated: Option<u64>) -> String {
    match (stored, stated) {
        (0, Some(stated)) => format!("Empty: 0 of {}", bytes(stated)),
        (0, None) => "Empty, and not the digest of nothing".into(),
        (_, Some(stated)) if stored < stated => format!("Cut short: {stored} of {}", bytes(stated)),
        (_, Some(stated)) if stored > stated => format!("Too long: {}, {} more than stated", bytes(stored), stored - stated),
        (_, Some(_)) => format!("The size stated, {}, and other content", bytes(stored)),
        (_, None) => format!("{} of other content; nothing states how many there should be", bytes(stored)),
    }
}

/// Exact, because operators compare sizes to the byte.
fn bytes(count: u64) -> String {
    match count {
        1 => "1 byte".into(),
        0..1024 => format!("{count} bytes"),
        _ => format!("{count} bytes ({})", size(count)),
    }
}

impl DamagedBlob {
    /// The finding about it.
    pub fn finding(&self) -> Finding {
        let finding = Finding::new(self.damage.code()).digest(&self.digest).path(layout::blob_data(&self.digest));
        match self.damage.detail() {
            Some(detail) => finding.detail(detail),
            None => finding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_determine_the_kind_of_damage() {
        for (stored_bytes, stated_bytes, code, detail) in [
            (0, Some(10), Code::EmptyBlob, "Empty: 0 of 10 bytes"),
            (0, None, Code::EmptyBlob, "Empty, and not the digest of nothing"),
            (5, Some(10), Code::TruncatedBlob, "Cut short: 5 of 10 bytes"),
            (11, Some(10), Code::OverlongBlob, "Too long: 11 bytes, 1 more than stated"),
            (10, Some(10), Code::CorruptBlob, "The size stated, 10 bytes, and other content"),
            (1, None, Code::CorruptBlob, "1 byte of other content; nothing states how many there should be"),
        ] {
            let damage = Damage::Corrupt { stored_bytes, stated_bytes };
            assert_eq!((damage.code(), damage.detail().as_deref()), (code, Some(detail)));
        }
    }
}
