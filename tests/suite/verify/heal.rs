//! `verify --quarantine`: what is corrupt moves aside, and the next push heals the image (H24).

use std::fs;

use super::*;

/// An image that the real registry was given, and whose first layer rots.
fn rotten(registry: &server::RealRegistry) -> (Image, String) {
    let image = oci_image("rots", &[layer(1), layer(2)]);
    registry.client().push_tag("team/app", "v1", &image);
    let data = layout::blob_data(&layer(1).digest);
    fs::write(registry.root().join(&data), "rotten\n!").expect("damaged");
    (image, data)
}

fn pulls(registry: &server::RealRegistry) -> bool {
    registry.client().pull("team/app", "v1").is_ok()
}

fn verify_aside(registry: &server::RealRegistry) -> Outcome {
    Regsweep::new().args(["verify", "--quarantine", "--min-age", "0s", "--format", "json", "--root"]).arg(registry.root()).run()
}

#[test]
fn a_push_heals_what_was_moved_aside_and_not_before() {
    let registry = server::RealRegistry::start();
    let (image, data) = rotten(&registry);
    assert!(!pulls(&registry));
    registry.client().push_tag("team/app", "v1", &image);
    assert!(!pulls(&registry), "the registry takes what exists for good");

    let report = verify_aside(&registry).expect_code(1).report();
    assert_eq!(report["quarantined"]["blobs"], 1);
    let run = report["quarantine_run"].as_str().expect("a run").to_owned();
    assert!(!registry.root().join(&data).exists());
    registry.client().push_tag("team/app", "v1", &image);
    assert!(pulls(&registry), "healed");
    verify_aside(&registry).expect_code(0);

    // What was pushed stands; the old bytes stay where they are.
    let whole = fs::read(registry.root().join(&data)).expect("there again");
    let restored = Regsweep::new().args(["restore", "--run", &run, "--root"]).arg(registry.root()).run().expect_code(1);
    assert!(restored.stdout.contains("1 thing in quarantine"), "{}", restored.stdout);
    assert_eq!(fs::read(registry.root().join(&data)).expect("there"), whole);
    Regsweep::new()
        .args(["quarantine", "purge", "--assume-offline", "--run", &run, "--root"])
        .arg(registry.root())
        .run()
        .expect_code(0);
    let list = Regsweep::new().args(["quarantine", "list", "--root"]).arg(registry.root()).run().expect_code(0);
    assert!(list.stdout.contains("nothing is in quarantine"), "{}", list.stdout);
    assert!(pulls(&registry));
}

#[test]
fn restore_puts_back_exactly_what_was_there() {
    let registry = server::RealRegistry::start();
    let (_, data) = rotten(&registry);
    let before = snapshot(&registry.root().join("docker"));
    verify_aside(&registry).expect_code(1);
    assert!(!registry.root().join(&data).exists());
    // A collection takes no corrupt blob for needed, and leaves it where it is.
    Regsweep::gc(&registry.root()).args(["--assume-offline", "--quarantine", "--quarantine-for", "0s"]).run();
    Regsweep::new().args(["restore", "--root"]).arg(registry.root()).run().expect_code(1);
    let after = snapshot(&registry.root().join("docker"));
    let files = |tree: &Snapshot| -> Vec<(String, String)> {
        tree.iter().map(|(path, seen)| (path.clone(), format!("{:?}", seen.kind))).collect()
    };
    assert_eq!(files(&before), files(&after));
    assert_eq!(before[data.strip_prefix("docker/").expect("below it")], after[data.strip_prefix("docker/").expect("below it")]);
}

#[test]
fn nothing_moves_from_a_healthy_store_and_nobody_else_is_at_work_meanwhile() {
    let registry = server::RealRegistry::start();
    registry.client().push_tag("a", "v1", &oci_image("x", &[layer(1)]));
    let report = verify_aside(&registry).expect_code(0).report();
    assert_eq!((&report["quarantined"]["blobs"], &report["quarantine_run"]), (&0.into(), &serde_json::Value::Null));
    assert!(!registry.root().join(".regsweep/quarantine").exists());
}
