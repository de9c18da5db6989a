//! Everything that is wrong or wasteful, out of what was seen: facts in, findings out.
//!
//! A collection looks at as little as it may; an audit opens every link and looks at every blob, reads no layer, and changes nothing.
//! [`facts`], [`needed`] and [`recheck`] look, the rest judges what they saw.

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
