//! `[CONFIG] [REFERENCE]`: a store, and a reference into it.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use super::common::StoreArguments;
use crate::oci::Reference;

/// A store, and optionally a reference into it.
///
/// With `--root` the only word is the reference. Without it, the first of two words is the configuration; a single word
/// is one if a file of that name exists, or if it has the extension of a configuration.
#[derive(Debug)]
pub struct NamedArguments {
    /// The store.
    pub store: StoreArguments,
    /// The reference.
    pub reference: Option<Reference>,
}

pub(super) const CONFIG: &str = "config";
pub(super) const REFERENCE: &str = "reference";
/// The reference of a command that takes no digests, in its help.
pub(super) const WITHOUT_DIGESTS: &str = "REPOSITORY or REPOSITORY:TAG";
pub(super) const ROOT: &str = "root";
pub(super) const ENDPOINT: &str = "endpoint";

impl Args for NamedArguments {
    fn augment_args(command: Command) -> Command {
        let [config, root, endpoint] = store_arguments();
        let reference =
            Arg::new(REFERENCE).value_name("REFERENCE").help("REPOSITORY, REPOSITORY:TAG, REPOSITORY@DIGEST or DIGEST");
        command.arg(config).arg(reference).arg(root).arg(endpoint)
    }

    fn augment_args_for_update(command: Command) -> Command {
        NamedArguments::augment_args(command)
    }
}

impl FromArgMatches for NamedArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<NamedArguments, clap::Error> {
        let first = matches.get_one::<PathBuf>(CONFIG).cloned();
        let second = matches.get_one::<String>(REFERENCE).cloned();
        let root = matches.get_one::<PathBuf>(ROOT).cloned();
        let endpoint = matches.get_one::<String>(ENDPOINT).cloned();
        let (config, reference) = match (first, second) {
            (Some(_), Some(_)) if root.is_some() => {
                let message = "--root DIR and CONFIG both name the store: give one of them, and one REFERENCE\n";
                return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
            }
            (Some(word), None) if root.is_some() || !is_config(&word) => (None, Some(word.to_string_lossy().into_owned())),
            (config, reference) => (config, reference),
        };
        let reference = reference.map(|text| text.parse::<Reference>().map_err(|error| (text, error))).transpose();
        let reference = reference.map_err(|(text, error)| {
            clap::Error::raw(
                ErrorKind::ValueValidation,
                format!("invalid REFERENCE '{}': {error}\n", crate::escape::escaped(text)),
            )
        })?;
        Ok(NamedArguments { store: StoreArguments { config, root, endpoint }, reference })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = NamedArguments::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The options that name a store: the configuration, the root, and its server.
pub(super) fn store_arguments() -> [Arg; 3] {
    let config = Arg::new(CONFIG)
        .value_name("CONFIG")
        .value_parser(value_parser!(PathBuf))
        .help("The registry's config.yml [default: $REGISTRY_CONFIGURATION_PATH]");
    let root = Arg::new(ROOT)
        .long("root")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("The registry's root directory, not CONFIG")
        .long_help(
            "The directory that holds docker/registry/v2, or what is mounted of it, in place of the registry's configuration. For a \
             bucket s3://BUCKET/PREFIX, with credentials as for the tools of Amazon.",
        );
    let endpoint =
        Arg::new(ENDPOINT).long("endpoint").value_name("URL").requires(ROOT).help("The server of a bucket in --root").long_help(
            "The server of a bucket in --root, such as http://localhost:9000 [default: $AWS_ENDPOINT_URL, or Amazon's for $AWS_REGION]",
        );
    [config, root, endpoint]
}

/// Whether a word names a configuration file.
pub(super) fn is_config(word: &Path) -> bool {
    word.is_file() || word.extension().is_some_and(|extension| ["yml", "yaml"].iter().any(|name| extension == *name))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        named: NamedArguments,
    }

    #[test]
    fn the_words_mean_a_store_and_something_in_it() {
        let parsed = |line: &str| {
            let line = Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace()))?;
            let NamedArguments { store, reference } = line.named;
            let path = |path: Option<PathBuf>| path.map_or("-".into(), |path| path.display().to_string());
            let reference = reference.map_or("-".to_owned(), |reference| reference.to_string());
            Ok::<_, clap::Error>([path(store.config), path(store.root), reference].join(" "))
        };
        for (line, expected) in [
            ("", "- - -"),
            ("config.yml", "config.yml - -"),
            ("/etc/passwd", "/etc/passwd - -"),
            ("team/api:1", "- - team/api:1"),
            ("config.yml team/api", "config.yml - team/api"),
            ("odd team/api", "odd - team/api"),
            ("--root /srv", "- /srv -"),
            ("--root /srv team/api", "- /srv team/api"),
            ("team/api --root /srv", "- /srv team/api"),
        ] {
            assert_eq!(parsed(line).expect(line), expected, "{line}");
        }
        for line in ["config.yml team/api --root /srv", "config.yml sha256:short", "a b c"] {
            parsed(line).expect_err(line);
        }
    }
}
