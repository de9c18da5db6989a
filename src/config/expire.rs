//! Settings of `expire`, beside those of a collection: its rules, and what is in use.

use std::io::{self, Read as _};
use std::path::Path;

use super::collect::CollectSettings;
use crate::cli;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::expiry::{ProtectList, Rules};
use crate::policy::RootPolicy;

/// More than any policy, or list of what a cluster runs, has.
const MAX_BYTES: u64 = 256 << 20;

/// Which tags go.
#[derive(Clone, Debug)]
pub struct ExpireSettings {
    /// The rules.
    pub rules: Rules,
    /// What is in use; nothing if nobody lists it.
    pub protect: Option<ProtectList>,
    /// Lifts the brake for repositories that would lose all their tags.
    pub allow_all_tags: bool,
}

impl CollectSettings {
    /// Resolves the arguments of `expire`. `rerun` is the command line that does the same without `--dry-run`.
    ///
    /// # Errors
    ///
    /// When no store is named, the configuration cannot be read, what it names is not there, or the rules or what is in use cannot be
    /// understood.
    pub fn resolve_expire(arguments: cli::Expire, rerun: String) -> Result<CollectSettings, Error> {
        let cli::Expire { store, policy, keep_last, repository, protect, allow_all_tags, collect } = arguments;
        let rules = match (policy, keep_last) {
            (Some(path), _) => Rules::from_toml(&read(&path)?, &path),
            (None, count) => {
                let patterns: Vec<String> = repository.iter().map(|glob| glob.glob().to_owned()).collect();
                Rules::keep_last(count.unwrap_or(usize::MAX), &patterns)
            }
        };
        let mut list: Option<ProtectList> = None;
        for path in &protect {
            let source = if is_standard_input(path) { "--protect -".to_owned() } else { format!("--protect {}", escaped(path)) };
            let one = ProtectList::parse(read(path)?.trim_start_matches('\u{feff}'), &source).map_err(Error::Usage)?;
            match &mut list {
                Some(list) => list.extend(one),
                none => *none = Some(one),
            }
        }
        let expire = ExpireSettings { rules: rules.map_err(Error::Usage)?, protect: list, allow_all_tags };
        let settings = CollectSettings::of_command("expire", &store, collect, RootPolicy::AllRevisions, rerun)?;
        Ok(CollectSettings { expire: Some(expire), ..settings })
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Reads a file of text, or standard input for `-`.
fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = match is_standard_input(path) {
        true => io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)),
    };
    match read.context("read", path)? as u64 {
        MAX_BYTES => Err(io::Error::other("it is too large")).context("read", path),
        _ => Ok(text),
    }
}
