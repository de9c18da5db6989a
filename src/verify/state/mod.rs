//! Remembers when each blob was last found good, from run to run.
//!
//! One file: a head, a sorted table of 36 bytes for each blob, and a journal of what was found since the table was written. The table
//! is mapped and looked up where it lies. The journal grows by appending, and is flushed every few seconds: a crash costs what was
//! noted since, which is then read again. An entry that was torn does not match its checksum, and it and what follows count as not
//! written. At the end of a run, at the beginning of one that finds a journal, and when a journal has become long, both become a new
//! table, in a new file that takes the place of the old one as a whole.
//!
//! A blob is noted after its last byte was read and its digest matched, as of when its reading began; what was written to its file since
//! is not covered ([`selection`](super::selection) compares). One found bad or gone is noted too, and has no entry any more.
//!
//! The file belongs to one store: it names the root directory, the filesystem and the directory of blobs on it, and is refused for any other.
//! A copy of a store is another store: nobody has read the copy. It is locked for as long as it is open: two runs that share
//! it would each write a table without what the other found.

mod entries;
mod file;
mod format;
mod identity;
mod lock;
#[cfg(test)]
mod tests;

pub use self::entries::State;
