//! Arguments of `usage`.

use std::path::PathBuf;

use clap::Args;

use super::common::{OUTPUT, OutputArguments, SHOWN, StoreArguments};
use super::reading::{AgeArguments, ReadingArguments};
use super::values::text_json_or_csv;
use crate::options::{UsageBy, UsageSort};

/// Arguments of `usage`.
#[derive(Args, Debug)]
#[command(mut_arg("format", |format| format.value_parser(text_json_or_csv).help("Report format: text, json or csv [default: text]")))]
pub struct Usage {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,

    /// What makes a row [default: repository]
    ///
    /// What makes a row: repository (if nothing is given); namespace: the first part of a repository's name; tag;
    /// media-type: what an image is; or age: when a tag was last pushed.
    #[arg(help_heading = SHOWN, long, value_enum, default_value_t = UsageBy::Repository, hide_default_value = true, hide_possible_values = true)]
    pub by: UsageBy,

    /// Show so many rows [default: 20]
    ///
    /// Show so many rows; 0 shows all. Without it the text report shows 20, json and csv have all rows.
    #[arg(help_heading = SHOWN, long, value_name = "N")]
    pub top: Option<usize>,

    /// Order: unique, total, tags, pushed
    ///
    /// Order of the rows, the largest, the most or the latest first: unique (if nothing is given), total, tags or pushed.
    #[arg(help_heading = SHOWN, long, value_enum, default_value_t = UsageSort::Unique, hide_default_value = true, hide_possible_values = true)]
    pub sort: UsageSort,

    /// Where the report goes.
    #[command(flatten)]
    pub output: OutputArguments,

    /// Also write a page for a browser
    ///
    /// Also write the report as one page for a browser to this file. The page needs no network.
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// What is too young.
    #[command(flatten)]
    pub ages: AgeArguments,

    /// How it is read.
    #[command(flatten)]
    pub reading: ReadingArguments,
}
