//! A bucket says what a directory says that holds the same.

use super::*;
use crate::support::bucket::{BucketRegistry, Moto};
use crate::support::server::RealRegistry;

const COMMANDS: [&str; 9] = [
    "garbage-collect --dry-run --assume-offline --min-age 0s --allow-unlinked 100% --allow-untagged-repositories",
    "garbage-collect --dry-run -m --assume-offline --min-age 0s --allow-unlinked 100% --allow-untagged-repositories",
    "audit --min-age 0s",
    "usage --min-age 0s",
    "usage --by tag --min-age 0s",
    "list",
    "list team/app",
    "explain team/app:v1 --min-age 0s",
    "verify",
];

fn ensure_same(by_directory: &Path, by_bucket: &Path) {
    let mut all = Vec::new();
    for line in COMMANDS {
        let [expected, told] = [by_directory, by_bucket].map(|config| {
            let outcome = on(config, line).json().run();
            assert!(matches!(outcome.code, Some(0 | 1)), "{}: {:?}\n{}", outcome.line, outcome.code, outcome.stderr);
            (outcome.code, outcome.report())
        });
        all.extend(differences(line, &facts(&told.1), &facts(&expected.1)));
        assert_eq!(told.0, expected.0, "{line}: {all:#?}");
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn every_reading_command_says_the_same_of_what_a_registry_pushed() {
    let Some(moto) = Moto::start() else { return };
    moto.make("pushed");
    let mut local = RealRegistry::start();
    let mut remote = BucketRegistry::start(&moto, "pushed", ", rootdirectory: /some/where");
    let both = index(&[oci_image("amd64", &[layer(6)]), oci_image("arm64", &[layer(7)])]);
    for client in [local.client(), remote.client()] {
        client.push_tag("team/app", "v1", &oci_image("one", &[layer(1), layer(2)]));
        client.push_tag("team/app", "v1", &oci_image("two", &[layer(1), layer(3)]));
        client.push_tag("multi", "all", &both);
        client.push_tag("gone", "v1", &oci_image("gone", &[layer(9)]));
        client.delete_manifest("gone", oci_image("gone", &[layer(9)]).digest());
        client.put_blob("team/app", &layer(4));
    }
    remote.stop();
    local.stop();
    ensure_same(&local.config(), remote.config());
}

#[test]
fn every_reading_command_says_the_same_of_a_tree() {
    let Some(moto) = Moto::start() else { return };
    let mut tree = tree();
    // Damage that findings name: a layer without its blob, and a manifest with another content.
    let lost = layout::blob_data(&layer(5).digest);
    tree.remove(&lost);
    tree.file(layout::blob_data(oci_image("one", &[layer(1), layer(2)]).digest()), "{}");
    moto.fill("damaged", "", &tree);
    let directory = tree.on_disk();
    let config = directory.path().join("of-the-directory.yml");
    std::fs::write(
        &config,
        format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", directory.path().display()),
    )
    .expect("written");
    ensure_same(&config, &moto.config("c.yml", moto.address(), "damaged", ""));
}

#[test]
fn an_address_and_the_environment_are_as_good_as_a_configuration() {
    let Some(moto) = Moto::start() else { return };
    moto.fill("plain", "in/here/", &tree());
    let endpoint = format!("http://{}", moto.address());
    let list = |root: &str, endpoint_by_flag: bool| {
        let run = Regsweep::new().args(["list", "--root", root]).json();
        let run = run.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y").env("AWS_EC2_METADATA_DISABLED", "true");
        if endpoint_by_flag { run.args(["--endpoint", &endpoint]).run() } else { run.env("AWS_ENDPOINT_URL", &endpoint).run() }
    };
    let expected =
        facts(&on(&moto.config("c.yml", moto.address(), "plain", ", rootdirectory: in/here"), "list --json").run().report());
    for by_flag in [true, false] {
        let told = list("s3://plain/in/here", by_flag).expect_code(0).report();
        assert_eq!(facts(&told), expected);
        assert_eq!(told["root"], "s3://plain/in/here");
    }
    let elsewhere = list("s3://plain/in", true).expect_code(2);
    assert!(elsewhere.stderr.contains("no registry storage in s3://plain/in: "), "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("there is here;"), "{}", elsewhere.stderr);
    list("s3://plain/in/here/nothing", true).expect_code(0);
}
