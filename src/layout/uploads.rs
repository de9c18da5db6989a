//! Paths of uploads: `_uploads/<id>/{startedat,data,hashstates/<algorithm>/<offset>}`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::uploads_directory;
use crate::oci::{Algorithm, RepositoryName};

/// A file that the registry keeps for an upload, in the order in which they are removed: without `startedat` the registry does not know the
/// upload, so a run that is cut off after it leaves something that every registry answers as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UploadPart {
    /// `startedat`.
    StartedAt,
    /// `data`: what was sent so far.
    Data,
    /// `hashstates/<algorithm>/<offset>`: the state of the hash at that offset.
    HashState(Algorithm, u64),
}

impl UploadPart {
    /// The path in the directory of the upload.
    pub fn relative(self) -> String {
        match self {
            UploadPart::StartedAt => "startedat".to_owned(),
            UploadPart::Data => "data".to_owned(),
            UploadPart::HashState(algorithm, offset) => format!("hashstates/{}/{offset}", algorithm.name()),
        }
    }

    /// Reads such a path back.
    pub fn of_relative(path: &Path) -> Option<UploadPart> {
        let parts: Vec<&OsStr> = path.iter().collect();
        match parts[..] {
            [name] if name == "startedat" => Some(UploadPart::StartedAt),
            [name] if name == "data" => Some(UploadPart::Data),
            [states, algorithm, offset] if states == "hashstates" => {
                let number: u64 = offset.to_str()?.parse().ok()?;
                let is_canonical = offset == OsStr::new(&number.to_string());
                let algorithm = Algorithm::from_name(algorithm.as_bytes()).filter(|_| is_canonical)?;
                Some(UploadPart::HashState(algorithm, number))
            }
            _ => None,
        }
    }

    /// Whether such a path is that of a directory in which some of them lie.
    pub fn is_directory(path: &Path) -> bool {
        let parts: Vec<&OsStr> = path.iter().collect();
        match parts[..] {
            [states] => states == "hashstates",
            [states, algorithm] => states == "hashstates" && Algorithm::from_name(algorithm.as_bytes()).is_some(),
            _ => false,
        }
    }
}

/// A file of an upload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadFile {
    /// The repository.
    pub repository: RepositoryName,
    /// The name of the upload's directory.
    pub id: String,
    /// Which of its files.
    pub part: UploadPart,
}

impl UploadFile {
    /// Its path.
    pub fn path(&self) -> PathBuf {
        upload_directory(&self.repository, &self.id).join(self.part.relative())
    }
}

/// The name of an upload, if a registry may have given it: UUIDs so far.
pub fn upload_id(name: &OsStr) -> Option<&str> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.to_str().filter(|name| !name.is_empty() && name.bytes().all(is_known))
}

/// The directory of an upload.
pub fn upload_directory(repository: &RepositoryName, id: &str) -> PathBuf {
    uploads_directory(repository).join(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Target;

    #[test]
    fn paths_of_uploads_are_read_back_and_others_are_none() {
        let parts = [UploadPart::StartedAt, UploadPart::Data, UploadPart::HashState(Algorithm::Sha512, u64::MAX)];
        for part in parts {
            assert_eq!(UploadPart::of_relative(Path::new(&part.relative())), Some(part));
            let file = UploadFile { repository: RepositoryName::new("team/app"), id: "0c-9F".to_owned(), part };
            let path = file.path();
            assert!(path.starts_with("docker/registry/v2/repositories/team/app/_uploads/0c-9F"), "{path:?}");
            assert_eq!(Target::of_path(&path), Some(Target::Upload(Box::new(file))));
            assert_eq!(Target::of_path(&path.join("deeper")), None);
        }
        for other in
            ["", "x", "hashstates", "hashstates/sha256", "hashstates/md5/0", "hashstates/sha256/01", "hashstates/sha256/-1"]
        {
            assert_eq!(UploadPart::of_relative(Path::new(other)), None, "{other}");
        }
        assert!(UploadPart::is_directory(Path::new("hashstates/sha256")) && !UploadPart::is_directory(Path::new("hashstates/x")));
        for other in ["", ".", "..", "a b", "a\n", "ä"] {
            assert_eq!(upload_id(OsStr::new(other)), None, "{other:?}");
        }
        let base = "docker/registry/v2/repositories";
        for other in ["_uploads/a/data", "a/_uploads/../data", "a/_uploads/data", "a/_layers/_uploads/b/data"] {
            assert_eq!(Target::of_path(&Path::new(base).join(other)), None, "{other}");
        }
    }
}
