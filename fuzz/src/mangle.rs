//! Odd links and configurations by number: one that is in order, with scraps put in, taken out and doubled.

use super::random::Random;

const OF_LINKS: [&[u8]; 24] = [
    b"sha256",
    b"sha384",
    b"sha512",
    b"SHA256",
    b"sha256:",
    b":",
    b"::",
    b"+",
    b"\n",
    b"\r\n",
    b" ",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"a",
    b"A",
    b"g",
    b"0",
    b"/",
    b"..",
    b"../",
    b"-",
    b"blake3:",
    b"md5:",
];

const OF_CONFIGURATIONS: [&[u8]; 57] = [
    b": ",
    b":",
    b"\n",
    b"\n  ",
    b"\n    ",
    b"- ",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"<<",
    b"{",
    b"}",
    b"[",
    b"]",
    b"!x ",
    b"!!str ",
    b"!!binary ",
    b"'",
    b"\"",
    b"|\n",
    b">-\n",
    b"? ",
    b"# ",
    b"---\n",
    b"...\n",
    b"\t",
    b", ",
    b"~",
    b"null",
    b"true",
    b"yes",
    b"0.1",
    b"0.10",
    b"1e999",
    b"07",
    b"%YAML 1.1\n",
    b"version",
    b"storage",
    b"filesystem",
    b"rootdirectory",
    b"/data",
    b"maintenance",
    b"readonly",
    b"enabled",
    b"cache",
    b"s3",
    b"delete",
    b"\0REGISTRY_STORAGE=",
    b"\0REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=",
    b"\0REGISTRY_STORAGE_MAINTENANCE_READONLY={enabled: true}",
    b"\0REGISTRY_STORAGE_S3_BUCKET=x",
    b"\0REGISTRY__=",
    b"\0=",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\x1b",
];

/// Configurations to begin with; behind each NUL is a variable.
pub const CONFIGURATIONS: [&str; 10] = [
    "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /data\n",
    "version: 0.1\nlog: {level: debug}\nstorage:\n  filesystem: {rootdirectory: /data}\n  delete: {enabled: true}\n  cache:\n    \
     blobdescriptor: inmemory\n  maintenance:\n    readonly:\n      enabled: true\nhttp:\n  addr: :5000\n",
    "version: 0.1\nstorage: filesystem\n\0REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/data",
    "version: \"0.1\"\nx: &fs {rootdirectory: /a, maxthreads: 7}\nstorage:\n  filesystem: {<<: *fs, maxthreads: 9}\n",
    "version: 0.1\nstorage: {s3: {region: x, bucket: y}}\n\0REGISTRY_STORAGE={filesystem: {rootdirectory: /data}}",
    "version: 0.1\nstorage: {filesystem: {}, cache: {layerinfo: redis}}\nvalidation: {disabled: true}\n",
    "version: 0.1\nproxy: {remoteurl: \"https://mirror.example\"}\nstorage: {filesystem: null}\n\0REGISTRY_PROXY_REMOTEURL=",
    "version: 0.1\nauth: {htpasswd: {realm: basic, path: /x}}\nstorage: {filesystem: {rootDirectory: /data}}\n",
    "version: 0.1\nstorage: {filesystem: {rootdirectory: /data, rootdirectory: /other}}\n---\nversion: 0.2\n",
    "version: 0.1\nstorage: {filesystem: {rootdirectory: 07}}\n\0REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED=true\0REGISTRY_PORT=[",
];

/// The link of a number. One in three is a digest.
pub fn link(seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed, number);
    let (algorithm, length) = random.pick(&[("sha256", 64), ("sha384", 96), ("sha512", 128), ("sha256", 63), ("sha512", 64)]);
    let mut text = format!("{algorithm}:").into_bytes();
    text.extend((0..length).map(|_| random.pick(b"0123456789abcdef")));
    let changes = random.below(3);
    mangle(&mut text, &OF_LINKS, changes, &mut random);
    text
}

/// The configuration of a number.
pub fn configuration(seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::new(seed, number);
    let mut text = random.pick(&CONFIGURATIONS).as_bytes().to_vec();
    let changes = random.below(8);
    mangle(&mut text, &OF_CONFIGURATIONS, changes, &mut random);
    text
}

fn mangle(text: &mut Vec<u8>, scraps: &[&[u8]], changes: usize, random: &mut Random) {
    for _ in 0..changes {
        if text.is_empty() {
            return;
        }
        let from = random.below(text.len());
        let to = (from + random.below(12)).min(text.len());
        match random.below(10) {
            0 => text.truncate(from),
            1 | 2 => drop(text.drain(from..to)),
            3 => text[from] ^= 1 << random.below(8),
            4 => {
                let part = text[from..to].to_vec();
                let at = random.below(text.len());
                drop(text.splice(at..at, part));
            }
            5 => text.extend(random.pick(scraps)),
            6 => drop(text.splice(from..to, random.pick(scraps).iter().copied())),
            _ => drop(text.splice(from..from, random.pick(scraps).iter().copied())),
        }
    }
}
