//! The blobs that an interrupted sweep was about to remove.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead as _};

use crate::oci::{Digest, RepositoryName};

/// Blobs that a sweep was about to remove after their links.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// The repositories that had the links.
    pub(super) names: Vec<String>,
    /// For each blob, the indices of its repositories in `names`.
    pub(super) blobs: HashMap<Digest, Vec<u32>>,
}

/// The prefix of a line that names the repository of the blobs on the next lines.
const IN: &str = "in ";

impl Unfinished {
    pub(super) fn parsed(text: &[u8]) -> Unfinished {
        let mut all = Unfinished::default();
        // The last line may be partial. Earlier versions recorded no repositories: their blobs are ignored.
        for line in text.lines().map_while(Result::ok) {
            match (line.strip_prefix(IN), line.parse::<Digest>()) {
                (Some(name), _) => all.names.push(name.to_owned()),
                (None, Ok(digest)) if !all.names.is_empty() => {
                    all.blobs.entry(digest).or_default().push(all.names.len() as u32 - 1);
                }
                _ => {}
            }
        }
        all
    }

    /// Writes these blobs after those that a sweep is about to remove now.
    pub(super) fn write_after<'n>(
        &self,
        links: impl Iterator<Item = (&'n RepositoryName, Digest)>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let mut here = None;
        for (name, digest) in links {
            // Blobs of one repository are usually adjacent.
            if here != Some(name) {
                writeln!(out, "{IN}{name}")?;
                here = Some(name);
            }
            writeln!(out, "{digest}")?;
        }
        let mut by_name: BTreeMap<u32, Vec<&Digest>> = BTreeMap::new();
        for (digest, names) in &self.blobs {
            names.iter().for_each(|name| by_name.entry(*name).or_default().push(digest));
        }
        for (name, digests) in by_name {
            writeln!(out, "{IN}{}", self.names[name as usize])?;
            digests.into_iter().try_for_each(|digest| writeln!(out, "{digest}"))?;
        }
        Ok(())
    }
}
