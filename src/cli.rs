//! What was typed: arguments and help text. What they mean is decided in [`config`](crate::config).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{SignedDuration, Span, SpanRelativeTo};

/// Garbage collection for container-registry storage
///
/// Works on the files that a Docker or OCI registry (registry:2, registry:3, and what builds on them) keeps under
/// docker/registry/v2, while the registry is stopped or read-only.
#[derive(Debug, Parser)]
#[command(name = "regsweep", version, max_term_width = 120)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Remove blobs that no image needs, and links that lead nowhere
    ///
    /// Run it while the registry is stopped or read-only, first with --dry-run. Restart a registry that has
    /// storage.cache.blobdescriptor set afterwards: its cache remembers what is gone.
    ///
    /// Exit codes: 0 done and nothing wrong found; 1 done, with findings about the store; 2 stopped before anything was
    /// removed; 3 a sweep began and did not finish cleanly, run it again; 130 interrupted.
    GarbageCollect(GarbageCollect),
}

/// Arguments of `garbage-collect`.
#[derive(Args, Debug)]
pub struct GarbageCollect {
    /// The registry's config.yml [default: $REGISTRY_CONFIGURATION_PATH]
    pub config: Option<PathBuf>,

    /// The registry's root directory (the one that holds docker/registry/v2), in place of CONFIG
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub root: Option<PathBuf>,

    /// Also drop revisions that no tag names; children of multi-arch images and referrers of kept ones stay
    #[arg(short = 'm', long)]
    pub delete_untagged: bool,

    /// Report what would go and touch nothing
    #[arg(short, long)]
    pub dry_run: bool,

    /// Print no progress and no text report
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print a line for each target, and log what is being done
    #[arg(short, long)]
    pub verbose: bool,

    /// Keep what is younger, such as 30m, 24h or 7d [default: 1h; 0s when the configuration says read-only]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_age: Option<std::time::Duration>,

    /// Stop before anything is removed if more than this would go, such as 50GiB or 30% of what is stored
    #[arg(long, value_name = "SIZE|PERCENT", value_parser = limit)]
    pub max_reclaim: Option<Limit>,

    /// Go on although the store has blobs and nothing that needs any, or images and no blobs
    #[arg(long)]
    pub allow_empty: bool,

    /// Go on although another program's database (GitLab's, Harbor's) says what is needed
    #[arg(long)]
    pub allow_foreign_owner: bool,

    /// How many threads read and remove [default: 8 for each processor, 16 to 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,

    /// Stay within about so much memory: what the table of blobs (39 bytes each) takes beyond it goes to a file in $TMPDIR or /var/tmp
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,

    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,

    /// Write each target as a line of JSON to this file
    #[arg(long, value_name = "FILE")]
    pub plan_out: Option<PathBuf>,

    /// Wait so long for another regsweep on this store [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait_lock: Option<std::time::Duration>,
}

/// How to print a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one document
    Json,
}

/// How much may go at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many bytes.
    SizeBytes(u64),
    /// So many percent of the bytes stored.
    Percent(f64),
}

/// Reads `90s`, `1h30m`, `168h`, `7d`, `2 weeks`. A number without a unit is refused: nobody can tell what it means.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(std::time::Duration::ZERO);
    }
    let parsed = trimmed.parse::<SignedDuration>().or_else(|_| {
        let span = trimmed.parse::<Span>()?;
        span.to_duration(SpanRelativeTo::days_are_24_hours())
    });
    parsed
        .ok()
        .and_then(|duration| std::time::Duration::try_from(duration).ok())
        .ok_or_else(|| "expected a duration with its unit, such as 30m, 24h or 7d".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    parse_size::parse_size(text).map_err(|_| "expected a size such as 512MiB".to_owned())
}

fn limit(text: &str) -> Result<Limit, String> {
    let expected = || "expected a size such as 50GiB, or a percentage such as 30%".to_owned();
    if let Some(number) = text.trim().strip_suffix('%') {
        let percent: f64 = number.trim().parse().map_err(|_| expected())?;
        return match (0.0..=100.0).contains(&percent) {
            true => Ok(Limit::Percent(percent)),
            false => Err("expected a percentage from 0% to 100%".to_owned()),
        };
    }
    parse_size::parse_size(text).map(Limit::SizeBytes).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory as _;

        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        let hour = Duration::from_secs(3600);
        for (text, expected) in [
            ("1h", hour),
            ("0s", Duration::ZERO),
            ("0", Duration::ZERO),
            ("90m", hour + hour / 2),
            ("1h30m", hour + hour / 2),
            ("168h", 168 * hour),
            ("7d", 7 * 24 * hour),
            ("2 weeks", 14 * 24 * hour),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "10", "-1h", "1 month", "yesterday", "1x"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_sizes_or_percentages() {
        assert_eq!(limit("10GiB"), Ok(Limit::SizeBytes(10 << 30)));
        assert_eq!(limit("1.5 kB"), Ok(Limit::SizeBytes(1500)));
        assert_eq!(limit("0"), Ok(Limit::SizeBytes(0)));
        assert_eq!(limit("12.5%"), Ok(Limit::Percent(12.5)));
        for text in ["", "%", "101%", "-1%", "-5", "NaN%", "much"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
