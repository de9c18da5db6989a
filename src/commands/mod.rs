//! What can be asked for. Each command wires the passes together and returns a report.

mod assess;
pub mod audit;
mod brakes;
mod caches;
pub mod explain;
pub mod garbage_collect;
pub mod list;
pub mod opening;
mod owners;
pub mod quarantine;
mod reading;
mod reconcile;
pub mod repair;
pub mod report;
mod session;
mod stops;
#[cfg(test)]
mod tests;
pub mod usage;
pub mod verify;
mod watched;
