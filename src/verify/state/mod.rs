//! Records when each blob was last found good, from run to run.
//!
//! One file holds a head, a sorted table of 36 bytes for each blob, and a journal of the results since the table was
//! written. Lookups read the mapped table in place. The journal grows by appending, and is flushed every few seconds: a
//! crash loses the results since the last flush, and the next run reads those blobs again. A torn entry does not match its
//! checksum; that entry and all entries after it count as not written. The table and the journal become a new table in a
//! new file that replaces the old one as a whole: at the end of a run, at the beginning of a run that finds a journal, and
//! when a journal has become long.
//!
//! A blob is recorded after its last byte is read and its digest matches, with the time when the read began. The record
//! does not cover later writes to the file ([`selection`](super::selection) compares the times). A blob found bad or gone
//! loses its entry.
//!
//! The file belongs to one store: it names the root directory, the filesystem and the directory of blobs on it, and is
//! refused for any other store. A copy of a store is another store: the copy has not been verified. The file is locked
//! while it is open: two runs that share it would each write a table without the results of the other.

mod entries;
mod file;
mod format;
mod identity;
mod lock;
#[cfg(test)]
mod tests;

pub use self::entries::State;
