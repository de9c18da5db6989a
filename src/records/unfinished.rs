//! What a sweep was about to remove when it was cut off.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead as _};

use crate::oci::{Digest, RepositoryName};

/// Blobs that a sweep was to remove after their links.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// The repositories that had the links.
    pub(super) names: Vec<String>,
    /// For each blob, which of them.
    pub(super) blobs: HashMap<Digest, Vec<u32>>,
}

/// What stands before the name of the repository that linked the blobs on the lines that follow.
const IN: &str = "in ";

impl Unfinished {
    pub(super) fn parsed(text: &[u8]) -> Unfinished {
        let mut all = Unfinished::default();
        // The last line may be half of one. Earlier versions did not say where the links had been: those count for nothing.
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

    /// Writes it after what a sweep is about to remove now.
    pub(super) fn write_after<'n>(
        &self,
        links: impl Iterator<Item = (&'n RepositoryName, Digest)>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let mut here = None;
        for (name, digest) in links {
            // Those of one repository mostly come one after the other.
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
