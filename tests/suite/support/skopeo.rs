//! skopeo, a client people use, with nothing remembered between calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::digest::parts;
use super::image::Image;

/// Writes images as an OCI layout: a directory skopeo can push from, each image by its name there.
pub(crate) fn write_oci_layout(directory: &Path, images: &[(&str, &Image)]) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory can be made");
    let mut manifests = Vec::<Value>::new();
    for (name, image) in images {
        write_blobs(&blobs, image);
        let mut descriptor = image.manifest.descriptor(image.media_type);
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        manifests.push(descriptor);
    }
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    fs::write(directory.join("index.json"), index.to_string()).expect("a file can be written");
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file can be written");
}

fn write_blobs(directory: &Path, image: &Image) {
    for content in image.blobs.iter().chain([&image.manifest]) {
        let (_, hex) = parts(&content.digest);
        fs::write(directory.join(hex), &content.bytes).expect("a file can be written");
    }
    for child in &image.children {
        write_blobs(directory, child);
    }
}

/// Pushes an image of an OCI layout, every platform of it, to `name:tag` at an address.
#[track_caller]
pub(crate) fn push(layout: &Path, image: &str, address: &str, to: &str, flags: &[&str]) {
    let from = format!("oci:{}:{image}", layout.display());
    run(Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--all", "-q"])
        .arg("--dest-tls-verify=false")
        .args(flags)
        .arg(from)
        .arg(format!("docker://{address}/{to}")))
    .unwrap_or_else(|error| panic!("push to {to}: {error}"));
}

/// Pulls `name:tag` or `name@digest`, every platform of it: each file that comes, by name.
///
/// # Errors
///
/// What skopeo said.
pub(crate) fn pull(address: &str, from: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    pulled(address, from, &["copy", "--all", "-q"])
}

/// Pulls one platform of `name:tag`: each file that comes, by name.
///
/// # Errors
///
/// What skopeo said.
pub(crate) fn pull_platform(address: &str, from: &str, architecture: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    pulled(address, from, &["--override-os=linux", "--override-arch", architecture, "copy", "-q"])
}

fn pulled(address: &str, from: &str, words: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    run(Command::new("skopeo")
        .arg("--insecure-policy")
        .args(words)
        .arg("--src-tls-verify=false")
        .arg(format!("docker://{address}/{from}"))
        .arg(format!("dir:{}", directory.path().display())))?;
    let files = fs::read_dir(directory.path()).expect("skopeo made the directory");
    Ok(files
        .map(|file| {
            let file = file.expect("a directory can be listed");
            let name = file.file_name().to_string_lossy().into_owned();
            let bytes = fs::read(file.path()).expect("a file can be read");
            (name, bytes)
        })
        .collect())
}

/// Deletes an image through the API.
#[track_caller]
pub(crate) fn delete(address: &str, image: &str) {
    run(Command::new("skopeo")
        .args(["--insecure-policy", "delete", "--tls-verify=false"])
        .arg(format!("docker://{address}/{image}")))
    .unwrap_or_else(|error| panic!("delete {image}: {error}"));
}

fn run(command: &mut Command) -> Result<(), String> {
    // skopeo remembers which registry holds which blob and then mounts instead of uploading, or takes for there what
    // a collection removed. An empty memory for each call; the variable makes it look there even as root.
    let memory = tempfile::tempdir().expect("a temporary directory can be made");
    let output = command
        .env("XDG_DATA_HOME", memory.path())
        .env("HOME", memory.path())
        .env("_CONTAINERS_ROOTLESS_UID", "1000")
        .output()
        .map_err(|error| format!("skopeo does not run (tests/run installs it): {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
