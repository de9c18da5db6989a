//! Writes the seeds of the fuzz targets to `fuzz/corpus`: the cases by hand that are small, and a few by number.

use std::fs;
use std::path::Path;

use regsweep_fuzz::cases::{self, Names};
use regsweep_fuzz::{mangle, manifests};

/// Nobody needs megabytes of seeds.
const LARGEST_BYTES: usize = 2_000;

fn main() -> std::io::Result<()> {
    let [config, layer] = ["c0", "1a"].map(|byte| format!("sha256:{}", byte.repeat(32)));
    let names = Names { config, layer, layer_sha512: format!("sha512:{}", "1a".repeat(64)) };
    let by_hand = cases::manifests(&names).into_iter().map(|case| (case.name, case.manifest));
    write("references", by_hand, |number| manifests::manifest(0, number))?;
    let by_hand = cases::links(&names).into_iter().map(|(name, link, _)| (name, link));
    write("link", by_hand, |number| mangle::link(0, number))?;
    let by_hand = mangle::CONFIGURATIONS.into_iter().zip('a'..).map(|(text, letter)| (letter, text.as_bytes().to_vec()));
    write("configuration", by_hand, |number| mangle::configuration(0, number))
}

fn write<N: ToString>(
    target: &str,
    by_hand: impl Iterator<Item = (N, Vec<u8>)>,
    by_number: fn(u64) -> Vec<u8>,
) -> std::io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory)?;
    let by_hand = by_hand.map(|(name, seed)| (file_name(&name.to_string()), seed));
    let by_number = (0..8).map(|number| (format!("number-{number}"), by_number(number)));
    for (name, seed) in by_hand.chain(by_number).filter(|(_, seed)| seed.len() <= LARGEST_BYTES) {
        fs::write(directory.join(name), seed)?;
    }
    Ok(())
}

/// The name of a case with what is no letter or digit left out.
fn file_name(name: &str) -> String {
    name.split(|character: char| !character.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
