//! What can be wrong with a stored blob, and how that is reported.

use std::io;

use crate::finding::{Code, Finding};
use crate::format::size;
use crate::layout;
use crate::oci::Digest;
use crate::store::Stat;

/// A blob that is not what its digest promises.
#[derive(Debug)]
pub struct DamagedBlob {
    /// Which.
    pub digest: Digest,
    /// What is wrong.
    pub damage: Damage,
    /// What its file was when it was read, if there is a file: what a removal has to find again.
    pub stat: Option<Stat>,
    /// The size that it was selected with.
    pub job_bytes: u64,
}

/// What is wrong with a blob.
#[derive(Debug)]
pub enum Damage {
    /// Its bytes do not come to its digest.
    Corrupt {
        /// How many there are.
        stored_bytes: u64,
        /// How many there should be, if anything states it.
        stated_bytes: Option<u64>,
    },
    /// It could not be read to its end.
    Unreadable {
        /// How many bytes were read before.
        offset: u64,
        /// Why it ended there.
        source: io::Error,
    },
    /// It is no regular file.
    Irregular,
    /// Something needs it, and its directory has no data.
    Missing,
    /// Nothing needs it, and its directory has no data but something else.
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

    /// What in particular, where the code does not say it.
    fn detail(&self) -> Option<String> {
        match self {
            Damage::Corrupt { stored_bytes, stated_bytes } => Some(compare(*stored_bytes, *stated_bytes)),
            Damage::Unreadable { offset, source } => Some(format!("It could not be read beyond {}: {source}", bytes(*offset))),
            Damage::Missing => Some("A blob that something needs has a directory and no data in it".into()),
            Damage::Irregular | Damage::NoData => None,
        }
    }

    /// Whether what is wrong are its bytes, as far as they can be read.
    pub fn is_of_bytes(&self) -> bool {
        matches!(self, Damage::Corrupt { .. } | Damage::Unreadable { .. })
    }

    /// Whether its data are bytes that somebody could serve and nobody should.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Damage::Corrupt { .. })
    }
}

/// What is stored against what should be.
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

/// To the byte, because that is what people compare.
fn bytes(count: u64) -> String {
    match count {
        1 => "1 byte".into(),
        0..1024 => format!("{count} bytes"),
        _ => format!("{count} bytes ({})", size(count)),
    }
}

impl DamagedBlob {
    /// The finding that tells of it.
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
    fn sizes_tell_one_damage_from_another() {
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
