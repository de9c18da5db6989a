//! The real registry afterwards: its catalogue, its tags, pulls and a push.

use std::fs;

use super::*;
use crate::support::server::RealRegistry;

#[test]
fn a_registry_serves_what_was_mended() {
    let mut registry = RealRegistry::start();
    let client = registry.client();
    client.push_tag(REPOSITORY, "v1", &one());
    client.push_tag(REPOSITORY, "v1", &two());
    client.push_tag(REPOSITORY, "all", &platforms());
    client.push_tag("other", "v1", &one());
    let pulled = |registry: &RealRegistry| {
        let pull = |repository: &str, tag: &str| registry.client().pull(repository, tag).map(|pulled| pulled.digests());
        [pull(REPOSITORY, "v1"), pull(REPOSITORY, "all"), pull("other", "v1")]
    };
    let catalogue = |registry: &RealRegistry| registry.client().send("GET", "/v2/_catalog", &[], &[]).body;
    let before = (pulled(&registry), catalogue(&registry), registry.client().tags(REPOSITORY));
    registry.stop();
    let root = registry.root();
    let whole = contents(&root);
    for (path, damage) in damages().into_iter().filter(|(_, damage)| *damage != Damage::Garbled) {
        let path = root.join(path);
        match damage {
            // With its directory: a copy that missed it has neither.
            Damage::Missing => fs::remove_dir_all(path.parent().expect("in a directory")).expect("removed"),
            _ => fs::write(path, "").expect("emptied"),
        }
    }
    fs::remove_file(root.join(tag_current(REPOSITORY, "all"))).expect("removed");
    registry.restart();
    assert!(pulled(&registry)[..2].iter().all(Result::is_err), "something is wrong");
    registry.stop();

    let run = |words: &[&str]| Regsweep::new().arg("repair").arg(registry.config()).args(words).run();
    let first = run(&[]).expect_code(1);
    assert!(first.stdout.contains("only when it is named"), "{}", first.stdout);
    run(&[&format!("{REPOSITORY}:all")]).expect_code(0);
    run(&[]).expect_code(0);
    assert_eq!(contents(&root), whole);
    registry.restart();
    assert_eq!((pulled(&registry), catalogue(&registry), registry.client().tags(REPOSITORY)), before);
    let more = oci_image("more", &[layer(1), layer(77)]);
    registry.client().push_tag(REPOSITORY, "v2", &more);
    registry.client().pull(REPOSITORY, "v2").expect("a push works");
}
