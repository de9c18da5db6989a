//! Mends damaged and missing links, and lost blobs that a mirror has: which of them can be made again without inventing anything.
//!
//! A link below a digest's own directory can hold nothing but that digest, so its place says its content. `decide` is pure; the facts are an
//! audit's. What writes is [`Repair`](crate::store::Repair).

mod contents;
mod decide;
mod mirror;
mod repository;
mod sizes;
mod tag;

pub(crate) use self::contents::{contents, target};
pub(crate) use self::mirror::Mirror;
pub(crate) use self::repository::{Looking, Mend, Mends, links};
pub(crate) use self::sizes::{of_copies, sizes};
pub(crate) use self::tag::tag;
