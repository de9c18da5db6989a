//! What the fuzz targets check, on as many cases as take a few seconds, and the table of odd manifests beside the real registry.
//!
//! `REGSWEEP_FUZZ=10000000 cargo test --release --test suite fuzz::odd` tries so many. The cases have numbers and are the same
//! each time; `fuzz/README.md` says how to fuzz with libFuzzer and how to compare with Go.

#[path = "../../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "it is a library of the fuzz targets' own")]
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regsweep::oci::{Digest, manifest};

use crate::support::server::RealRegistry;
use crate::support::*;
use shared::cases::{self, Case, Names, Reads};
use shared::{checks, mangle, manifests, model};

const SEED: u64 = 20_261_124;

/// How many cases are tried: so many, or what `REGSWEEP_FUZZ` says.
fn numbers(few: u64) -> std::ops::Range<u64> {
    0..std::env::var("REGSWEEP_FUZZ").map_or(few, |text| text.parse().expect("REGSWEEP_FUZZ is a number"))
}

#[test]
fn odd_manifests_hide_nothing_that_go_would_read() {
    let (mut read, mut naming) = (0_u64, 0_u64);
    let numbers = numbers(20_000);
    for number in numbers.clone() {
        let manifest = manifests::manifest(SEED, number);
        checks::references(&manifest);
        read += u64::from(manifest::references(&manifest).is_ok());
        let readings = model::readings(&manifest).unwrap_or_default();
        naming += u64::from(readings.iter().any(|reading| Digest::parse(reading.digest.as_bytes()).is_some()));
    }
    assert!(read > numbers.end / 2 && naming > numbers.end / 4, "too odd to tell anything: {read} read, {naming} name something");
}

#[test]
fn odd_links_are_taken_exactly_if_they_are_digests() {
    let mut taken = 0;
    let numbers = numbers(200_000);
    for number in numbers.clone() {
        let link = mangle::link(SEED, number);
        checks::link(&link);
        taken += u64::from(Digest::parse(&link).is_some());
    }
    assert!((numbers.end / 10..numbers.end / 2).contains(&taken), "{taken} taken");
}

#[test]
fn odd_configurations_are_read_in_time_and_name_a_root() {
    for number in numbers(5_000) {
        checks::configuration(&mangle::configuration(SEED, number));
    }
}

/// The seeds of the fuzz targets, among them what they have found.
#[test]
fn the_corpus_holds() {
    for (target, check) in
        [("references", checks::references as fn(&[u8])), ("link", checks::link), ("configuration", checks::configuration)]
    {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut count = 0;
        for seed in fs::read_dir(directory).expect("seeds are there") {
            check(&fs::read(seed.expect("listed").path()).expect("a file"));
            count += 1;
        }
        assert!(count > 5, "{target}: {count}");
    }
}

fn config() -> Content {
    Content::new("{}")
}

fn names() -> Names {
    Names { config: config().digest, layer: layer(1).digest, layer_sha512: layer(1).sha512() }
}

fn reads(digests: &BTreeSet<String>) -> Reads {
    let Names { config, layer, layer_sha512 } = names();
    match (digests.contains(&config), digests.contains(&layer) || digests.contains(&layer_sha512)) {
        (false, false) => Reads::Nothing,
        (true, false) => Reads::Config,
        (false, true) => Reads::Layer,
        (true, true) => Reads::Both,
    }
}

#[test]
fn we_read_what_the_table_says() {
    for Case { name, manifest, go, registry, ours, .. } in cases::manifests(&names()) {
        let found = manifest::references(&manifest).map_or(Reads::Refuses, |found| {
            reads(&found.descriptors.iter().map(|descriptor| descriptor.digest.to_string()).collect())
        });
        assert_eq!(found, ours, "{name}");
        for theirs in [go, registry.unwrap_or(Reads::Nothing)] {
            let none = [Reads::Refuses, Reads::Nothing].contains(&theirs);
            assert!(none || [theirs, Reads::Both, Reads::Refuses].contains(&ours), "{name}: they read {theirs:?}");
        }
    }
    for (name, link, taken) in cases::links(&names()) {
        assert_eq!(Digest::parse(&link).is_some(), taken, "{name}");
    }
}

/// `fuzz/README.md` shows the tables to those who do not read tests.
#[test]
fn the_tables_are_shown_as_they_are() {
    let shown = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/README.md")).expect("there");
    let shown: BTreeSet<&str> = shown.lines().collect();
    let manifests = cases::manifests(&names()).into_iter().map(|case| {
        let registry = case.registry.map_or_else(|status| status.to_string(), |reads| format!("201, {}", words(reads)));
        let ours = if case.ours == Reads::Refuses { "holds" } else { words(case.ours) };
        format!("| {} | {} | {registry} | {ours} |", case.name, words(case.go))
    });
    let links =
        cases::links(&names()).into_iter().map(|(name, _, taken)| format!("| {name} | {} |", if taken { "yes" } else { "no" }));
    let missing: Vec<String> = manifests.chain(links).filter(|row| !shown.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "not in fuzz/README.md:\n{}", missing.join("\n"));
}

fn words(reads: Reads) -> &'static str {
    match reads {
        Reads::Refuses => "refuses",
        Reads::Nothing => "nothing",
        Reads::Config => "config",
        Reads::Layer => "layer",
        Reads::Both => "config, layer",
    }
}

/// Goal: the table says what the registry reads. Method: each manifest is pushed to a repository of its own, and the registry's
/// collector prints what it marks there.
#[test]
fn the_registry_reads_what_the_table_says() {
    let cases = cases::manifests(&names());
    let mut registry = RealRegistry::start();
    let client = registry.client();
    let mut answers = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let repository = format!("case{number}");
        client.put_blob(&repository, &config());
        client.put_blob(&repository, &layer(1));
        client.put_blob_as(&repository, &layer(1).sha512(), &layer(1).bytes);
        let path = format!("/v2/{repository}/manifests/odd");
        // To one that is too large it may hang up before its answer is read.
        let answer = client.try_send("PUT", &path, &[("Content-Type", case.media_type)], &case.manifest);
        answers.push(answer.map_or(400, |answer| answer.status));
    }
    registry.stop();
    let collected = registry.garbage_collect(&["--dry-run"]);
    let output = String::from_utf8_lossy(&collected.stdout).into_owned();
    assert!(collected.status.success(), "{output}");
    let marked = marked(&output);
    let mut wrong = Vec::new();
    for (number, Case { name, registry, .. }) in cases.iter().enumerate() {
        let none = BTreeSet::new();
        let marked = marked.get(&format!("case{number}")).unwrap_or(&none);
        let found = if answers[number] == 201 { Ok(reads(marked)) } else { Err(answers[number]) };
        if found != *registry {
            wrong.push(format!("{name}: {found:?} {marked:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The blobs that the registry's collector says it marks, by repository.
fn marked(output: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut marked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in output.lines() {
        if let Some((repository, digest)) = line.split_once(": marking blob ") {
            marked.entry(repository.to_owned()).or_default().insert(digest.trim().to_owned());
        }
    }
    marked
}
