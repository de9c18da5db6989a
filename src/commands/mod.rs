//! What can be asked for. Each command wires the passes together and returns a report.

mod assess;
pub mod audit;
mod brakes;
pub mod garbage_collect;
mod owners;
pub mod quarantine;
mod reconcile;
mod session;
#[cfg(test)]
mod tests;
pub mod verify;
