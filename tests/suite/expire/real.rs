//! Against the real registry: its catalogue, its list of tags, pulls and pushes after a run.

use super::*;
use crate::support::server::RealRegistry;

/// Pushes four tags, each of its own image, and sets their times, as if a day lay between them.
fn filled() -> (RealRegistry, Vec<Image>) {
    let mut real = RealRegistry::start();
    let images: Vec<Image> = (1..=4).map(|number| oci_image(&format!("{number}"), &[tar_layer(0), tar_layer(number)])).collect();
    for (number, image) in (1..).zip(&images) {
        real.client().push_tag("team/app", &format!("v{number}"), image);
    }
    real.client().push_tag("lib", "only", &images[0]);
    real.stop();
    crate::support::tree::age(&real.root());
    for number in 1..=4_u64 {
        let link = real.root().join(crate::support::layout::tag_current("team/app", &format!("v{number}")));
        let then = std::time::SystemTime::now() - days(5 - number);
        fs::File::options().append(true).open(link).and_then(|file| file.set_modified(then)).expect("aged");
    }
    (real, images)
}

fn catalogue(real: &RealRegistry) -> Value {
    serde_json::from_slice(&real.client().send("GET", "/v2/_catalog", &[], b"").body).expect("JSON")
}

fn expire(real: &RealRegistry, flags: &[&str]) -> Outcome {
    Regsweep::expire_config(&real.config()).args(["--keep-last", "2"]).args(flags).run().expect_code(0)
}

#[test]
fn the_registry_lists_and_serves_what_was_kept_and_takes_pushes() {
    for flags in [&[][..], &["--quarantine"]] {
        let (mut real, images) = filled();
        let outcome = expire(&real, flags);
        assert_eq!(tags(&outcome), names(&["team/app:v1", "team/app:v2"]));
        real.restart();
        let client = real.client();
        assert_eq!(client.tags("team/app"), names(&["v3", "v4"]));
        assert_eq!(catalogue(&real)["repositories"], serde_json::json!(["lib", "team/app"]));
        for (repository, tag) in [("team/app", "v3"), ("team/app", "v4"), ("lib", "only")] {
            client.pull(repository, tag).unwrap_or_else(|error| panic!("{repository}:{tag}: {error}"));
        }
        client.get_manifest("team/app", "v1").expect_status(404);
        client.get_manifest("team/app", images[1].digest()).expect_status(404);
        // What went can be pushed again.
        client.push_tag("team/app", "v2", &images[1]);
        client.pull("team/app", "v2").expect("pushed again");
        assert_eq!(client.tags("team/app"), names(&["v2", "v3", "v4"]));
    }
}

#[test]
fn restored_tags_are_listed_and_served() {
    let (mut real, images) = filled();
    expire(&real, &["--quarantine"]);
    Regsweep::new().arg("restore").arg(real.config()).run().expect_code(0);
    real.restart();
    let client = real.client();
    assert_eq!(client.tags("team/app"), names(&["v1", "v2", "v3", "v4"]));
    for (number, image) in (1..).zip(&images) {
        client.pull("team/app", &format!("v{number}")).expect("restored");
        client.pull("team/app", image.digest()).expect("restored");
    }
}

/// Beside a registry that takes pushes: links go, what is pushed is served, and directories wait for a run without it.
#[test]
fn beside_a_running_registry_nothing_that_is_kept_or_pushed_is_lost() {
    let (mut real, images) = filled();
    real.restart();
    let outcome = expire(&real, &["--online", "--rescue-for", "1s"]);
    assert_eq!(tags(&outcome), names(&["team/app:v1", "team/app:v2"]));
    let client = real.client();
    client.get_manifest("team/app", "v1").expect_status(404);
    for tag in ["v3", "v4"] {
        client.pull("team/app", tag).expect("kept");
    }
    client.push_tag("team/app", "v1", &images[0]);
    client.pull("team/app", "v1").expect("pushed again");
    real.stop();
    Regsweep::new().arg("restore").arg(real.config()).run();
    real.restart();
    let client = real.client();
    for tag in ["v1", "v2", "v3", "v4"] {
        client.pull("team/app", tag).unwrap_or_else(|error| panic!("{tag}: {error}"));
    }
}
