//! regsweep: garbage collection for the storage of container registries.
//!
//! Works offline on the tree that a Docker or OCI registry writes below `<root>/docker/registry/v2`: marks every blob that a
//! link reaches, plans the removal of the rest, and carries the plan out.
//!
//! # The pipeline
//!
//! ```text
//! argv -> cli -> config -> store -> survey -> mark -> inspect -> decide -> plan -> sweep -> report -> exit code
//!         typed  resolved  access   facts     live    unreached  pure      value   removes  words     number
//! ```
//!
//! Facts and decisions are plain values. A dry run is the same passes over a [`store::DryRun`] vacuum, which acknowledges and
//! removes nothing; a [`retention`] is all that tells which roots to keep; [`quarantine::Quarantining`] quarantines what another would remove. `verify` and `audit` share the passes up to the marks. Whatever the number of threads, equal stores give equal plans.
//!
//! # Guarantees
//!
//! - **G1** Nothing reachable is removed: what a tag names, what a revision names (unless `--delete-untagged` drops it), every
//!   digest that manifests kept in a repository name, to any depth, and what refers to a kept manifest.
//! - **G2** Nothing younger than the minimum age is removed. An age that lies in the future counts as young.
//! - **G3** Names go before contents: tags, tag history, revisions, layer links, then blobs. Wherever a sweep ends, no link that is left
//!   leads to a blob that it took.
//! - **G4** What cannot be understood keeps everything that it might reach: its repository is held, the rest is collected. What
//!   cannot be listed or read stops the run before anything is removed.
//! - **G5** A sweep removes what its plan lists and is still as the plan saw it, and nothing else: exact files, and directories that
//!   are named by a digest, or by a tag that names nothing any more, and empty. Never a directory with something in it, never through a
//!   symbolic link.
//! - **G6** Entries that match no rule of the layout are reported and left alone.
//! - **G7** Running again after any interruption comes to the same end. An empty directory that an interruption left goes when it is older
//!   than the minimum age.
//!
//! - **G8** Nothing is changed before everything that can refuse has been asked, and nothing irreversible before everything else: purging comes
//!   last, through one [gate](quarantine). A run that ends with 2 changed nothing in the store and nothing in quarantine; from the first change
//!   on nothing ends a run without its report.
//! - **G9** What is in quarantine can be restored whole: until it is purged, every kind of run keeps its links and what it needs, and what was
//!   restored counts as young.
//!
//! The registry itself takes no lock, and nothing here can see a push that is under way: [`writers`] looks for signs of one before anything
//! is removed, and [`quarantine`] moves things away instead, for stores whose registry goes on.

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
mod replacement;
pub mod report;
pub mod retention;
pub mod store;
pub mod survey;
pub mod sweep;
mod system_files;
#[cfg(test)]
mod testing;
pub mod usage;
pub mod verify;
pub mod writers;
