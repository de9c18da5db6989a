//! The real registry afterwards: its catalogue, its tags, pulls and a push.

use std::fs;

use super::*;
use crate::support::layout::blob_directory;
use crate::support::server::RealRegistry;
use crate::support::skopeo;

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

/// By skopeo, each platform and all at once. The mirror is a copy of the storage from before; of the last platform it has nothing either.
#[test]
fn a_registry_serves_platforms_that_a_mirror_had() {
    let layers: Vec<Content> = (1..5).map(tar_layer).collect();
    let image = |name: &str, place: usize| oci_image(name, &[layers[0].clone(), layers[place].clone()]);
    let all = index(&[image("amd64", 1), image("arm64", 2), image("ppc64le", 3)]);
    let layout = tempfile::tempdir().expect("a directory");
    skopeo::write_oci_layout(layout.path(), &[("all", &all)]);
    let mut registry = RealRegistry::start();
    skopeo::push(layout.path(), "all", registry.address(), "team/app:all", &[]);
    let platforms = |registry: &RealRegistry| {
        let pull = |architecture| skopeo::pull_platform(registry.address(), "team/app:all", architecture);
        ["amd64", "arm64", "ppc64le"].map(|architecture| pull(architecture).is_ok())
    };
    let whole = skopeo::pull(registry.address(), "team/app:all").expect("all of it");
    registry.stop();
    let root = registry.root();
    let lose = |root: &Path, child: &Image| {
        let own = child.blobs.iter().filter(|blob| **blob != layers[0]).map(|blob| &blob.digest);
        for digest in own.chain([&child.manifest.digest]) {
            fs::remove_dir_all(root.join(blob_directory(digest))).expect("there");
            for link in [layer_link(REPOSITORY, digest), revision_link(REPOSITORY, digest)].map(|link| root.join(link)) {
                let _one_of_two = fs::remove_dir_all(link.parent().expect("in a directory"));
            }
        }
    };
    let [mirror, sparse] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    for copy in [&mirror, &sparse] {
        let copied = std::process::Command::new("cp").arg("-a").arg(root.join("docker")).arg(copy.path()).status();
        assert!(copied.expect("cp is there").success());
    }
    lose(sparse.path(), &all.children[2]);
    all.children[1..].iter().for_each(|child| lose(&root, child));
    registry.restart();
    assert_eq!(platforms(&registry), [true, false, false]);
    skopeo::pull(registry.address(), "team/app:all").expect_err("two platforms are lost");
    registry.stop();

    let config = registry.config();
    let run = |from: &Path| Regsweep::new().arg("repair").arg(&config).arg("--from").arg(from).run().expect_code(0);
    run(sparse.path());
    registry.restart();
    assert_eq!(platforms(&registry), [true, true, false], "as far as the mirror has it");
    registry.stop();
    run(mirror.path());
    registry.restart();
    assert_eq!(platforms(&registry), [true; 3]);
    assert_eq!(skopeo::pull(registry.address(), "team/app:all").expect("all of it"), whole);
}
