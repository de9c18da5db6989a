//! A report as one page for a browser: typed data, the page around it, and how much of it fits.
//!
//! The page is one file that makes no request. All that comes from a store is data in it, never markup: the script puts it into text nodes. Its
//! style and script are the files beside this one, and the policy in its head allows nothing else.

mod data;
mod findings;
mod page;
mod rows;
#[cfg(test)]
mod tests;

pub(super) use self::data::{Cell, Collection, CollectionRow, Column, Data, Heading, Part};
pub use self::page::Page;
pub(super) use self::rows::Rows;
