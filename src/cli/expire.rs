//! Arguments of `expire`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use globset::Glob;

use super::common::{KEEP, OutputArguments, SAFETY, StoreArguments};
use super::garbage_collect::CollectArguments;
use super::values::glob;

/// Arguments of `expire`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("rules").required(true).args(["policy", "keep_last"]))]
pub struct Expire {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// Rules: which tags stay
    ///
    /// A file of rules in TOML: which tags stay, of which repositories. docs/expire.md has all that it may say.
    #[arg(help_heading = KEEP, long, value_name = "FILE")]
    pub policy: Option<PathBuf>,

    /// Keep the newest tags of each repository
    ///
    /// Keep so many of the newest tags of each repository, by when they were pushed, and drop the others.
    #[arg(help_heading = KEEP, long, value_name = "N")]
    pub keep_last: Option<usize>,

    /// Only in repositories like these
    ///
    /// With --keep-last, only in repositories that match a pattern, such as 'team/*' or 'team/**'. May be repeated.
    #[arg(help_heading = KEEP, long, value_name = "GLOB", value_parser = glob, requires = "keep_last")]
    pub repository: Vec<Glob>,

    /// Keep what is in use
    ///
    /// Keep what this file lists, or - for standard input: image references or digests, as `kubectl get pods` prints them, with the registry's
    /// address or without. May be repeated.
    #[arg(help_heading = KEEP, long, value_name = "FILE")]
    pub protect: Vec<PathBuf>,

    /// Go on: a repository loses all its tags
    ///
    /// Go on although the rules drop every tag of a repository.
    #[arg(help_heading = SAFETY, long)]
    pub allow_all_tags: bool,

    /// What it has in common with others.
    #[command(flatten)]
    pub collect: CollectArguments,
}

impl Expire {
    /// Where the report goes.
    pub fn output(&self) -> &OutputArguments {
        &self.collect.output
    }
}
