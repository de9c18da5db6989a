//! Options of all commands: the store, and the report.

use std::path::PathBuf;

use clap::Args;

use super::values::text_or_json;
use crate::options::Format;

/// Groups of options in help texts.
pub(super) const KEEP: &str = "What to keep";
pub(super) const SHOWN: &str = "What to show";
pub(super) const SELECTION: &str = "What to read";
pub(super) const SAFETY: &str = "Safety";
pub(super) const OUTPUT: &str = "Output";
pub(super) const PERFORMANCE: &str = "Performance";

/// Which store.
#[derive(Args, Debug)]
pub struct StoreArguments {
    /// The registry's config.yml [default: $REGISTRY_CONFIGURATION_PATH]
    pub config: Option<PathBuf>,

    /// The registry's root directory, not CONFIG
    ///
    /// The directory that holds docker/registry/v2, or what is mounted of it, in place of the registry's configuration. For a bucket
    /// s3://BUCKET/PREFIX, with credentials as for the tools of Amazon.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub root: Option<PathBuf>,

    /// The server of a bucket in --root
    ///
    /// The server of a bucket in --root, such as http://localhost:9000 [default: $AWS_ENDPOINT_URL, or Amazon's for $AWS_REGION]
    #[arg(long, value_name = "URL", requires = "root")]
    pub endpoint: Option<String>,
}

/// What is kept from run to run.
#[derive(Args, Debug, Default)]
pub struct CacheArguments {
    /// Keep manifests in this directory
    ///
    /// Keep manifests in this directory, so that the next run does not read them again. The default is $XDG_CACHE_HOME/regsweep or
    /// ~/.cache/regsweep for a bucket, and nowhere for a directory, where it pays on NFS.
    #[arg(help_heading = PERFORMANCE, long, value_name = "DIR", conflicts_with = "no_cache")]
    pub cache: Option<PathBuf>,

    /// Read every manifest
    ///
    /// Read every manifest, and keep none for the next run.
    #[arg(help_heading = PERFORMANCE, long)]
    pub no_cache: bool,
}

/// Where the report goes.
#[derive(Args, Debug)]
pub struct OutputArguments {
    /// Print no progress and no text report
    #[arg(help_heading = OUTPUT, short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Log what is done
    ///
    /// Log what is done; garbage-collect also prints a line for each target.
    #[arg(help_heading = OUTPUT, short, long)]
    pub verbose: bool,

    /// Report format: text or json [default: text]
    #[arg(help_heading = OUTPUT, long, value_parser = text_or_json, default_value = "text", hide_default_value = true)]
    pub format: Format,

    /// Same as --format json
    #[arg(help_heading = OUTPUT, long, conflicts_with = "format")]
    pub json: bool,

    /// Write figures for Prometheus
    ///
    /// Write figures for Prometheus to this file, such as one in the textfile directory of the node exporter.
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
}

impl OutputArguments {
    /// The report format, from either option.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}
