//! Finds damage and waste: facts in, findings out.
//!
//! A collection reads as little as it can. An audit reads every link and stats every blob; it reads no layer and changes
//! nothing. [`facts`], [`needed`] and [`recheck`] read the store; the other modules turn facts into findings.

mod ages;
pub(crate) mod damage;
pub(crate) mod facts;
mod leftover;
pub(crate) mod needed;
pub(crate) mod owners;
pub(crate) mod recheck;
pub(crate) mod tolerant;
pub(crate) mod uploads;
pub(crate) mod waste;

pub(crate) use self::ages::Ages;
pub(crate) use self::leftover::leftover;
