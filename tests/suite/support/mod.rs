//! The words tests are written in: storage as a registry writes it, the binary under test, the real registry.
//!
//! Nothing here depends on the rest of the suite, so a bench can take it in with `#[path]`.
//!
//! | File | What it gives |
//! | --- | --- |
//! | `digest` | names for bytes |
//! | `image` | layers, configs, manifests of every kind |
//! | `layout` | where the registry puts things |
//! | `tree` | a registry's storage as a value, written to disk when wanted |
//! | `registry` | the fluent form: `registry().repo("a").image("x", &[layer(1)]).tag("latest")` |
//! | `run` | the binary under test, its output and its plan |
//! | `held` | a run between plan and sweep |
//! | `snapshot` | a directory as it is on disk, to compare |
//! | `tags` | tags in plans and in directories, and runs that drop some and are killed |
//! | `redis_server` | a redis for a registry to remember blobs in |
//! | `server`, `http`, `skopeo` | the real registry and its clients |
//! | `bucket`, `proxy` | a server that speaks S3, and what comes between |

// Each binary that takes this in uses its own part of the vocabulary.
#![allow(dead_code, unused_imports)]
// Servers that do not start say so.
#![allow(clippy::print_stderr)]
// It makes storage as of now, and deletes what it made.
#![allow(clippy::disallowed_methods)]

/// Says why a part of a test did not run: past the test runner, which shows nothing of tests that pass.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // Whether anybody reads it is not for a test to fail over.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped, in {test}: {why}\n").as_bytes());
}

/// Whether `strace` is here; says so if not.
pub(crate) fn has_strace() -> bool {
    let is_here = std::process::Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if !is_here {
        skipped("strace is not installed");
    }
    is_here
}

pub(crate) mod bucket;
pub(crate) mod digest;
pub(crate) mod held;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod layout;
pub(crate) mod proxy;
pub(crate) mod redis_server;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod skopeo;
pub(crate) mod snapshot;
pub(crate) mod tags;
pub(crate) mod tree;

pub(crate) use digest::{sha256, sha512};
pub(crate) use image::{
    Content, Image, artifact_manifest, docker_image, index, layer, manifest_list, oci_image, schema1_image, tar_layer,
};
pub(crate) use registry::{Registry, registry};
pub(crate) use run::{Finding, Need, Outcome, Regsweep, Row, SomebodyElse, patience};
pub(crate) use snapshot::{Snapshot, snapshot};
pub(crate) use tree::{Tree, age, days, hours, minutes};
