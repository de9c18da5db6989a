//! Everything that is wrong or wasteful, out of what was seen: facts in, findings out.
//!
//! A collection looks at as little as it may; an audit opens every link and looks at every blob, reads no layer, and changes nothing.
//! [`facts`], [`needed`] and [`recheck`] look, the rest judges what they saw.

mod ages;
pub mod damage;
pub mod facts;
mod leftover;
pub mod needed;
pub mod owners;
pub mod recheck;
pub mod tolerant;
pub mod uploads;
pub mod waste;

pub use self::ages::Ages;
pub use self::leftover::leftover;
