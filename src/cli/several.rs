//! `[CONFIG] NAME...`: a store, and references into it.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::common::StoreArguments;
use super::named::{CONFIG, ENDPOINT, ROOT, is_config, store_arguments};
use crate::escape::escaped;
use crate::oci::Reference;

/// A store, and repositories, tags or manifests in it.
///
/// With `--root` every word is a reference. Without it, the first is the configuration if a file of that name exists, or if it has the
/// extension of one.
#[derive(Debug)]
pub struct SeveralArguments {
    /// The store.
    pub store: StoreArguments,
    /// The references, at least one.
    pub references: Vec<Reference>,
}

const REFERENCES: &str = "reference";

impl Args for SeveralArguments {
    fn augment_args(command: Command) -> Command {
        let [config, root, endpoint] = store_arguments();
        let references = Arg::new(REFERENCES)
            .value_name("NAME")
            .num_args(0..)
            .help("What goes: REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST");
        command.arg(config).arg(references).arg(root).arg(endpoint)
    }

    fn augment_args_for_update(command: Command) -> Command {
        SeveralArguments::augment_args(command)
    }
}

impl FromArgMatches for SeveralArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SeveralArguments, clap::Error> {
        let first = matches.get_one::<PathBuf>(CONFIG).cloned();
        let mut words: Vec<String> = matches.get_many::<String>(REFERENCES).into_iter().flatten().cloned().collect();
        let root = matches.get_one::<PathBuf>(ROOT).cloned();
        let endpoint = matches.get_one::<String>(ENDPOINT).cloned();
        let config = match first {
            Some(word) if root.is_some() || !is_config(&word) => {
                words.insert(0, word.to_string_lossy().into_owned());
                None
            }
            config => config,
        };
        let references = words.iter().map(|word| reference(word)).collect::<Result<Vec<_>, _>>()?;
        if references.is_empty() {
            let message = "nothing to remove is named: give REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST\n";
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message));
        }
        Ok(SeveralArguments { store: StoreArguments { config, root, endpoint }, references })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SeveralArguments::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Reads what is to go. A tag beside a digest is refused: which of both is meant would be a guess.
fn reference(word: &str) -> Result<Reference, clap::Error> {
    let refused = |why: &str| clap::Error::raw(ErrorKind::ValueValidation, format!("invalid NAME '{}': {why}\n", escaped(word)));
    match word.parse::<Reference>().map_err(|why| refused(&why))? {
        Reference::Digest(_) => Err(refused("it names no repository: give REPOSITORY@DIGEST")),
        Reference::Manifest(name, _) if !word.starts_with(&format!("{name}@")) => {
            Err(refused("it names a tag and a digest: give one of them"))
        }
        reference => Ok(reference),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        several: SeveralArguments,
    }

    #[test]
    fn the_first_word_may_be_the_configuration_and_the_others_are_references() {
        let parsed = |line: &str| {
            let line = Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace()))?;
            let SeveralArguments { store, references } = line.several;
            let path = |path: Option<PathBuf>| path.map_or("-".into(), |path| path.display().to_string());
            let words = [path(store.config), path(store.root)].into_iter().chain(references.iter().map(ToString::to_string));
            Ok::<_, clap::Error>(words.collect::<Vec<_>>().join(" "))
        };
        for (line, expected) in [
            ("team/api:1", "- - team/api:1"),
            ("config.yml team/api:1 lib:2", "config.yml - team/api:1 lib:2"),
            ("team/api:1 lib:2", "- - team/api:1 lib:2"),
            ("--root /srv config.yml:1 lib:2", "- /srv config.yml:1 lib:2"),
            ("team/api:1 --root /srv", "- /srv team/api:1"),
            ("team/api lib:2", "- - team/api lib:2"),
        ] {
            assert_eq!(parsed(line).expect(line), expected, "{line}");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        for line in ["", "config.yml", "--root /srv", &digest, &format!("a:1@{digest}")] {
            parsed(line).expect_err(line);
        }
    }
}
