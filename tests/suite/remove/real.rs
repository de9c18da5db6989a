//! Against the real registry: its list of tags, pulls and pushes after a run.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::*;
use crate::support::run::patience;
use crate::support::server::RealRegistry;

/// Pushes three tags, each of its own image.
fn filled() -> (RealRegistry, Vec<Image>) {
    let mut real = RealRegistry::start();
    let images: Vec<Image> = (1..=3).map(|number| oci_image(&format!("{number}"), &[tar_layer(0), tar_layer(number)])).collect();
    for (number, image) in (1..).zip(&images) {
        real.client().push_tag("team/app", &format!("v{number}"), image);
    }
    real.client().push_tag("team", "v1", &images[0]);
    real.stop();
    crate::support::tree::age(&real.root());
    (real, images)
}

#[test]
fn the_registry_serves_the_rest_and_takes_pushes_and_restore_brings_tags_back() {
    for flags in [&[][..], &["--quarantine"]] {
        let (mut real, images) = filled();
        let outcome = Regsweep::remove_config(&real.config()).arg("team/app:v2").args(flags).run().expect_code(0);
        assert_eq!(tags(&outcome), names(&["team/app:v2"]));
        real.restart();
        assert_eq!(real.client().tags("team/app"), names(&["v1", "v3"]));
        for (repository, tag) in [("team/app", "v1"), ("team/app", "v3"), ("team", "v1")] {
            real.client().pull(repository, tag).unwrap_or_else(|error| panic!("{repository}:{tag}: {error}"));
        }
        real.client().get_manifest("team/app", images[1].digest()).expect_status(404);
        if flags.is_empty() {
            real.client().push_tag("team/app", "v2", &images[1]);
        } else {
            real.stop();
            Regsweep::new().arg("restore").arg(real.config()).run().expect_code(0);
            real.restart();
        }
        real.client().pull("team/app", "v2").expect("it is back");
        assert_eq!(real.client().tags("team/app"), names(&["v1", "v2", "v3"]));
    }
}

/// What is left of a tag beside a running registry is nothing that the next nights complain of, and the first run without a registry takes it, also
/// while the tag is in quarantine. It can be restored all the same.
#[test]
fn emptied_tags_are_a_note_and_go_with_the_first_run_beside_no_registry() {
    let (mut real, _) = filled();
    real.restart();
    let online = ["--online", "--rescue-for", "0s"];
    Regsweep::remove_config(&real.config()).arg("team/app:v2").args(online).run().expect_code(0);
    let is_listed = |real: &RealRegistry| real.client().tags("team/app").contains("v2");
    assert!(is_listed(&real));
    for flags in [&[][..], &["-m"]] {
        let night = Regsweep::gc_config(&real.config()).args(online).args(flags).json().run().expect_code(0);
        assert_eq!(night.finding_codes(), ["empty-tag"], "a note");
    }
    assert!(is_listed(&real), "beside a registry no directory goes");
    real.stop();
    crate::support::tree::age(&real.root());
    let foreseen = Regsweep::gc_config(&real.config()).arg("--ignore-birth-time").dry().run().expect_code(0);
    let done = Regsweep::gc_config(&real.config()).arg("--ignore-birth-time").run().expect_code(0);
    assert_eq!(done.rows(), foreseen.rows());
    real.restart();
    assert!(!is_listed(&real), "{}", done.stdout);
    real.stop();
    Regsweep::new().arg("restore").arg(real.config()).args(["--all"]).run().expect_code(0);
    real.restart();
    real.client().pull("team/app", "v2").expect("restored");
}

/// Beside a registry that takes pushes the tag answers 404 at once, and a push brings it back.
#[test]
fn beside_a_running_registry_what_is_pushed_again_is_served() {
    let (mut real, images) = filled();
    real.restart();
    let online = ["team/app:v2", "--online", "--rescue-for", "1s"];
    Regsweep::remove_config(&real.config()).args(online).run().expect_code(0);
    let client = real.client();
    client.get_manifest("team/app", "v2").expect_status(404);
    client.pull("team/app", "v1").expect("kept");
    client.push_tag("team/app", "v2", &images[1]);
    client.pull("team/app", "v2").expect("pushed again");
}

/// What is pushed again before the run ends was not removed.
#[test]
fn a_tag_that_is_back_when_the_run_ends_was_not_removed() {
    let (mut real, images) = filled();
    real.restart();
    let client = real.client();
    let run = Regsweep::remove_config(&real.config()).args(["team/app:v2", "team/app:v1", "--online", "--rescue-for", "10s"]);
    let running = run.json().start();
    let until = Instant::now() + patience();
    while client.get_manifest("team/app", "v2").status != 404 {
        assert!(Instant::now() < until, "it does not go");
        sleep(Duration::from_millis(50));
    }
    client.push_tag("team/app", "v2", &images[1]);
    let report = running.wait().expect_code(0).report();
    let removed = |tag: &str| {
        let asked = report["remove"].as_array().expect("a list").iter().find(|one| one["tag"] == tag);
        asked.expect("asked for")["removed"].clone()
    };
    assert_eq!([removed("v1"), removed("v2")], [true, false].map(serde_json::Value::from));
    client.pull("team/app", "v2").expect("pushed again");
}
