//! `verify` beside `sha256sum`, and beside two floors: a loop that hashes as many bytes and reads no file, and one that opens, reads,
//! hashes and closes every blob and does nothing else.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::measure::{Contender, median, rounds};
use super::support::image::{Image, OCI_LAYER, OCI_MANIFEST};
use super::support::{Content, Tree, layout, sha256};

/// As much as verify reads at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Layers of one image in these stores.
const LAYERS: usize = 100;

/// So many blobs of so many bytes each.
type Sizes = &'static [(usize, usize)];

const STORES: [(&str, Sizes); 3] =
    [("large", &[(4, 128 << 20)]), ("small", &[(30_000, 4 << 10)]), ("one huge", &[(1, 512 << 20), (20_000, 4 << 10)])];

/// Makes the stores, runs everything in turn, and prints a table.
pub(crate) fn compare(directory: &Path, count: usize) {
    println!("\n| verify, warm cache | Contender | Median s | Ratio to verify | Processor s | Ratio to verify |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, sizes) in STORES {
        let root = make(directory, name, sizes);
        let this = || std::env::current_exe().expect("this program has a path");
        let root_text = root.to_str().expect("a path in UTF-8");
        let blobs = format!("{root_text}/{}/blobs", layout::BASE);
        let contenders = [
            Contender::new("regsweep verify", super::REGSWEEP, ["verify", "--quiet", "--root", root_text]),
            Contender::new("hash alone", this(), ["floor-verify-hash", name]),
            Contender::new("open, read, hash, close", this(), ["floor-verify-read", root_text]),
            Contender::new(
                "xargs -P2 sha256sum",
                "sh",
                ["-c", &format!("find '{blobs}' -name data -print0 | xargs -0 -n 64 -P2 sha256sum")],
            ),
        ];
        let times = rounds(&contenders, count);
        let own = median(&times[0]).as_secs_f64();
        let work: Vec<f64> = contenders.iter().map(|contender| processor_seconds(contender, count)).collect();
        let what: Vec<String> = sizes.iter().map(|(count, bytes)| format!("{count} x {} KiB", bytes >> 10)).collect();
        for ((contender, times), work_of) in contenders.iter().zip(&times).zip(&work) {
            let time = median(times).as_secs_f64();
            println!(
                "| {name}: {} | {} | {time:.3} | {:.2} | {work_of:.2} | {:.2} |",
                what.join(", "),
                contender.name,
                time / own,
                work_of / work[0]
            );
        }
    }
}

/// What one run costs in time of processors, which says more on a machine that is not idle. The kernel counts it in hundredths of a
/// second, so several runs are taken together.
pub(crate) fn processor_seconds(contender: &Contender, count: usize) -> f64 {
    let ticks = || -> u64 {
        let stat = fs::read_to_string("/proc/self/stat").expect("Linux says");
        let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // cutime and cstime, the 16th and 17th of all: what children took that have ended.
        fields[13..15].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
    };
    let before = ticks();
    for _ in 0..count {
        contender.run();
    }
    (ticks() - before) as f64 / 100.0 / count as f64
}

/// Writes a store unless it is there.
fn make(directory: &Path, name: &str, sizes: Sizes) -> PathBuf {
    let root = directory.join(format!("verify-{}", name.replace(' ', "-")));
    if root.exists() {
        return root;
    }
    let unfinished = root.with_extension("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    let mut seed = 1;
    let mut descriptors = Vec::new();
    for (count, length) in sizes {
        for _ in 0..*count {
            let bytes = noise(&mut seed, *length);
            let digest = sha256(&bytes);
            let path = unfinished.join(layout::blob_data(&digest));
            fs::create_dir_all(path.parent().expect("in a directory")).expect("made");
            fs::write(path, &bytes).expect("written");
            descriptors.push((digest, *length));
        }
    }
    let mut tree = Tree::new();
    for (number, layers) in descriptors.chunks(LAYERS).enumerate() {
        let config = Content::new(format!("{{\"number\":{number}}}"));
        let layers: Vec<_> = layers
            .iter()
            .map(|(digest, length)| {
                tree.layer_link("app", digest);
                json!({ "mediaType": OCI_LAYER, "digest": digest, "size": length })
            })
            .collect();
        let config_descriptor = config.descriptor("application/vnd.oci.image.config.v1+json");
        let json = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config_descriptor, "layers": layers });
        let image = Image::from_json(OCI_MANIFEST, json, vec![config], Vec::new());
        tree.push("app", &image).tag("app", &format!("v{number}"), image.digest());
    }
    tree.write_to(&unfinished);
    fs::rename(&unfinished, &root).expect("the finished store can be named");
    root
}

fn noise(seed: &mut u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((*seed ^ (*seed >> 29)).to_le_bytes());
    }
    bytes
}

/// Calls `each` with every index below `count`, from as many threads as there are processors.
fn on_all_processors(count: usize, each: impl Fn(usize, &mut [u8]) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![1; BUFFER_BYTES];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            each(index, &mut buffer);
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(work))));
}

/// Hashes as many bytes as a store's blobs have, each by itself, the largest first.
pub(crate) fn hash_alone(name: &str) {
    let (_, sizes) = STORES.iter().find(|(store, _)| *store == name).expect("one of the stores");
    let lengths: Vec<usize> = sizes.iter().flat_map(|(count, length)| std::iter::repeat_n(*length, *count)).collect();
    on_all_processors(lengths.len(), |index, buffer| {
        let mut hasher = Sha256::new();
        let mut left = lengths[index];
        while left > 0 {
            let part = left.min(buffer.len());
            hasher.update(&buffer[..part]);
            left -= part;
        }
        std::hint::black_box(hasher.finalize());
    });
}

/// Opens, reads, hashes and closes every blob, in the order in which the directories list them, and compares nothing.
pub(crate) fn read(root: &Path) {
    let mut files = Vec::new();
    for shard in fs::read_dir(root.join(layout::BASE).join("blobs/sha256")).expect("a store") {
        for blob in fs::read_dir(shard.expect("listable").path()).expect("a shard") {
            files.push(blob.expect("listable").path().join("data"));
        }
    }
    on_all_processors(files.len(), |index, buffer| {
        let mut file = fs::File::open(&files[index]).expect("the store is healthy");
        let mut hasher = Sha256::new();
        loop {
            let length = file.read(buffer).expect("the store is healthy");
            hasher.update(&buffer[..length]);
            // Less than there was room for is the end of a file, and asking again would be a call more.
            if length < buffer.len() {
                break;
            }
        }
        std::hint::black_box(hasher.finalize());
    });
}
