//! Digests in their written form, `<algorithm>:<hex>`.

use sha2::{Digest as _, Sha256, Sha512};

/// `sha256:<64 hex>` of the bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// `sha512:<128 hex>` of the bytes.
pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

/// Takes a digest apart into algorithm and hex.
///
/// # Panics
///
/// When there is no colon: a test that wants such a thing writes the path itself.
pub(crate) fn parts(digest: &str) -> (&str, &str) {
    digest.split_once(':').expect("a digest reads <algorithm>:<hex>")
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}
