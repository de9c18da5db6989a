//! Content digests: `<algorithm>:<lower-case hex>`, the name of every blob.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A digest algorithm that the registry accepts.
///
/// These three are the ones that go-digest registers; a directory or a reference that names any other cannot be
/// served by the registry (source: opencontainers/go-digest, `algorithm.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, under which the registry stores every new blob.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All algorithms, in the order in which digests sort.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    /// The name in digests and in directory names.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Length of a digest in bytes; its hex form is twice as long.
    pub const fn len_bytes(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 => 64,
        }
    }

    /// The algorithm with that exact name.
    pub fn from_name(name: &[u8]) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }
}

/// The digest of a blob. Fixed size and `Copy`, ordered by algorithm and then by bytes.
///
/// Reads only the spelling that the registry accepts: known algorithm, lower-case hex, full length.
///
/// ```
/// use regsweep::oci::Digest;
///
/// let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// let digest: Digest = empty.parse().unwrap();
/// assert_eq!(digest.to_string(), empty);
/// assert!(empty.to_uppercase().parse::<Digest>().is_err());
/// assert!(format!("{empty}\n").parse::<Digest>().is_err());
/// assert!("sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709".parse::<Digest>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    // Unused trailing bytes are zero, so that the derived comparisons hold.
    bytes: [u8; 64],
}

impl Digest {
    /// Computes the digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Digest {
        match algorithm {
            Algorithm::Sha256 => Digest::from_bytes(algorithm, &Sha256::digest(content)),
            Algorithm::Sha384 => Digest::from_bytes(algorithm, &Sha384::digest(content)),
            Algorithm::Sha512 => Digest::from_bytes(algorithm, &Sha512::digest(content)),
        }
    }

    /// Creates a digest from its raw bytes.
    ///
    /// # Panics
    ///
    /// When `bytes` has another length than the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut all = [0; 64];
        all[..algorithm.len_bytes()].copy_from_slice(bytes);
        Digest { algorithm, bytes: all }
    }

    /// Reads the hex part of a digest, as directory names carry it.
    pub fn from_hex(algorithm: Algorithm, hex: &[u8]) -> Option<Digest> {
        if hex.len() != 2 * algorithm.len_bytes() {
            return None;
        }
        let mut bytes = [0; 64];
        // Checks all digits at once: a store has a name like this for every link and blob.
        let mut all = 0;
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (DIGIT_VALUES[usize::from(pair[0])], DIGIT_VALUES[usize::from(pair[1])]);
            all |= high | low;
            *byte = high << 4 | low;
        }
        (all < 16).then_some(Digest { algorithm, bytes })
    }

    /// Reads a whole digest, `<algorithm>:<hex>`, and nothing around it.
    pub fn parse(text: &[u8]) -> Option<Digest> {
        let colon = text.iter().position(|&byte| byte == b':')?;
        let algorithm = Algorithm::from_name(&text[..colon])?;
        Digest::from_hex(algorithm, &text[colon + 1..])
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw bytes, as many as the algorithm has.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len_bytes()]
    }

    /// The first byte, which names the shard that holds the blob.
    pub fn shard(&self) -> u8 {
        self.bytes[0]
    }

    /// The hex part.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(2 * self.algorithm.len_bytes());
        self.push_hex(&mut text);
        text
    }

    /// Appends the hex part, for paths built in one go.
    pub fn push_hex(&self, text: &mut String) {
        let mut hex = [0; 128];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.bytes()) {
            pair.copy_from_slice(&hex_pair(*byte));
        }
        let hex = &hex[..2 * self.algorithm.len_bytes()];
        text.push_str(std::str::from_utf8(hex).expect("hex digits are ASCII"));
    }
}

/// Reads two lower-case hex digits.
pub fn hex_byte(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let (high, low) = (DIGIT_VALUES[usize::from(high)], DIGIT_VALUES[usize::from(low)]);
    ((high | low) < 16).then_some(high << 4 | low)
}

/// Two lower-case hex digits for a byte.
pub fn hex_pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// The value of each lower-case hex digit, and 255 for every other byte.
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

impl Ord for Digest {
    fn cmp(&self, other: &Digest) -> Ordering {
        // Eight bytes tell nearly all digests apart, and are compared at once.
        let head = |digest: &Digest| {
            let [a, b, c, d, e, f, g, h, ..] = digest.bytes;
            (digest.algorithm, u64::from_be_bytes([a, b, c, d, e, f, g, h]))
        };
        head(self).cmp(&head(other)).then_with(|| self.bytes.cmp(&other.bytes))
    }
}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Digest) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a digest of content that comes in parts.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// A SHA-256 hasher.
    Sha256(Sha256),
    /// A SHA-384 hasher.
    Sha384(Sha384),
    /// A SHA-512 hasher.
    Sha512(Sha512),
}

impl Hasher {
    /// A hasher without content.
    pub fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// Adds content.
    pub fn update(&mut self, part: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(part),
            Hasher::Sha384(hasher) => hasher.update(part),
            Hasher::Sha512(hasher) => hasher.update(part),
        }
    }

    /// The digest of all parts.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hasher) => Digest::from_bytes(Algorithm::Sha256, &hasher.finalize()),
            Hasher::Sha384(hasher) => Digest::from_bytes(Algorithm::Sha384, &hasher.finalize()),
            Hasher::Sha512(hasher) => Digest::from_bytes(Algorithm::Sha512, &hasher.finalize()),
        }
    }
}

/// Text that is not a digest as the registry writes it.
#[derive(Debug)]
pub struct InvalidDigest;

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a digest: expected <algorithm>:<lower-case hex>, such as sha256:e3b0...")
    }
}

impl std::error::Error for InvalidDigest {}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Digest, InvalidDigest> {
        Digest::parse(text.as_bytes()).ok_or(InvalidDigest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints_for_every_algorithm() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"content");
            assert_eq!(Digest::parse(digest.to_string().as_bytes()), Some(digest));
            assert_eq!(Digest::from_bytes(algorithm, digest.bytes()), digest);
        }
    }

    #[test]
    fn parts_come_to_the_digest_of_the_whole() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            for part in ["con", "", "tent"] {
                hasher.update(part.as_bytes());
            }
            assert_eq!(hasher.finish(), Digest::of(algorithm, b"content"));
        }
    }

    #[test]
    fn refuses_what_the_registry_refuses() {
        let hex = Digest::of(Algorithm::Sha256, b"").hex();
        for text in [
            String::new(),
            "sha256:".into(),
            hex.clone(),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!(" sha256:{hex}"),
            format!("sha256:{hex}\n"),
            format!("SHA256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}"),
            format!("sha256:{}..", &hex[2..]),
            "sha256:../../../../../../../../../../../../../../../../../../../../etc".into(),
        ] {
            assert_eq!(Digest::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
