//! How counts and sizes read, wherever a person reads them.

/// A size in the largest unit of 1,024s that fits.
pub fn size(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY)
}

/// A count with its thousands apart.
pub fn number(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// A count of something.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}
