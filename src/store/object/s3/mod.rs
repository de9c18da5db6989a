//! A real bucket, asked by the protocol of S3.
//!
//! The library `opendal` knows the protocol: signatures, where credentials come from, which errors pass. It sends what it wants to send by a
//! [`Transport`](transport::Transport) of ours, which speaks HTTP as the rest of the program does, counts requests, and
//! refuses what is no answer to what was asked before anybody takes it for one: [`answers`].
//!
//! What it has no words for, or tells too little of, is signed and sent by [`direct`]: conditional writes with what the answer says of them, and
//! removals, of which only what the answer lists as removed counts.
//!
//! The [`governor`] bounds how many reads and listings are under way, and has fewer of them when the server is busy. These are sent again until a
//! deadline. What changes a bucket, and its lock, never wait for others: a lease may end meanwhile.
//!
//! Calls block, and many threads make them. The futures behind them run on the thread that calls; one more thread keeps the time between tries.

mod answers;
mod changes;
mod client;
mod direct;
mod governor;
mod multipart_pages;
mod multiparts;
mod transport;
mod writes;

pub(super) use self::client::S3;
