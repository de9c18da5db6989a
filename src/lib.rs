//! regsweep: garbage collection for the storage of container registries.
//!
//! Works offline on the tree that a Docker or OCI registry writes below `<root>/docker/registry/v2`: marks every blob
//! that a link reaches, plans the removal of the rest, and executes the plan.
//!
//! # The pipeline
//!
//! ```text
//! argv -> cli -> config -> store -> survey -> mark -> inspect -> decide -> plan -> sweep -> report -> exit code
//!         typed  resolved  access   facts     live    unreached  pure      value   removes  words     number
//! ```
//!
//! Facts and decisions are plain values. A dry run makes the same passes over a [`store::DryRun`] vacuum, which
//! acknowledges each removal and removes nothing. A [`retention`] decides which roots are kept.
//! [`quarantine::Quarantining`] quarantines what another vacuum removes. `verify` and `audit` share the passes up to
//! the marks. Equal stores give equal plans, with any number of threads.
//!
//! # Guarantees
//!
//! - **G1** Nothing reachable is removed: the manifest of each tag, the manifest of each revision (unless
//!   `--delete-untagged` drops the revision), every digest that a manifest kept in a repository names, to any depth, and
//!   every referrer of a kept manifest.
//! - **G2** Nothing younger than the minimum age is removed. A time in the future counts as young.
//! - **G3** Names go before contents: tags, tag history, revisions, layer links, then blobs. Uploads go last, each with
//!   what it is known by first. Wherever a sweep ends, no remaining link names a blob that the sweep removed.
//! - **G4** A repository with an entry that regsweep cannot understand is held: everything that it might reach is kept.
//!   The rest is collected. An entry that cannot be listed or read stops the run before anything is removed.
//! - **G5** A sweep removes the targets of its plan that are still as the plan saw them, and nothing else: exact files,
//!   and empty directories named by a digest, by a tag that names nothing any more, by an upload without files, or by a
//!   repository in which nothing is left. It never removes a directory with content, and never follows a symbolic link.
//! - **G6** Entries that match no rule of the layout are reported and left alone.
//! - **G7** A run after any interruption reaches the same final state. An empty directory that an interruption left is
//!   removed once it is older than the minimum age.
//! - **G8** Every check that can refuse a run comes before its first change, and everything else before anything
//!   irreversible: purging comes last, through one [gate](quarantine). A run that exits with 2 changed neither the store
//!   nor the quarantine nor our records; from the first change on, every run ends with its report.
//! - **G9** Quarantined content can be restored whole: until it is purged, every run keeps its links and the blobs that
//!   they need, and restored content counts as young.
//!
//! The registry takes no lock, and regsweep cannot see a push in progress: [`writers`] looks for signs of one before
//! anything is removed, and [`quarantine`] moves files instead of deleting them, for stores whose registry keeps
//! running.

#[cfg(not(target_os = "linux"))]
compile_error!("regsweep reads directories through Linux system calls; run it where the registry's volume is mounted");

pub mod amount;
mod audit;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
mod dependents;
pub mod descriptor_cache;
pub mod error;
mod escape;
pub mod exit;
pub mod expiry;
pub mod explain;
pub mod finding;
mod findings;
mod format;
pub mod graph;
pub mod inventory;
pub mod layout;
mod lineage;
pub mod mark;
pub mod oci;
pub mod options;
pub mod plan;
pub mod policy;
mod proc;
pub mod progress;
pub mod quarantine;
pub mod records;
pub mod registry_config;
pub mod removal;
mod repair;
mod replacement;
pub mod report;
pub mod retention;
pub mod scope;
pub mod store;
pub mod survey;
pub mod sweep;
mod system_files;
#[cfg(test)]
mod testing;
pub mod usage;
pub mod verify;
pub mod writers;
