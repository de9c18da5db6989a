//! What can be asked for. Each command wires the passes together and returns a report.

pub mod garbage_collect;
