//! Keys that nobody should write: no path stands for them, or none of the layout.

use super::*;
use crate::support::bucket::Moto;

#[test]
fn odd_keys_are_reported_and_change_nothing() {
    let Some(moto) = Moto::start() else { return };
    let tree = tree();
    moto.fill("clean", "", &tree);
    moto.fill("odd", "", &tree);
    let data = layout::blob_data(&layer(1).digest);
    let (shard, name) = data.strip_suffix("/data").and_then(|path| path.rsplit_once('/')).expect("a blob");
    let repositories = "docker/registry/v2/repositories";
    let odd = [
        // Of these, paths would make keys that are there.
        format!("{shard}/{name}//data"),
        format!("{shard}/./{name}/data"),
        format!("{repositories}/team/app/_manifests/tags//v1/current/link"),
        format!("{repositories}/team/app/_layers/./x/link"),
        format!("{repositories}/team//app/_layers/x"),
        format!("{shard}/{name}/data/"),
        format!("{repositories}/team/app/_manifests/revisions/"),
        format!("{repositories}/team/app/_manifests/%01"),
        "docker/registry/v2/blobs/sha256/".to_owned(),
    ];
    for key in &odd {
        moto.put_object("odd", key, b"x");
    }
    let run = |bucket: &str, line: &str| on(&moto.config(&format!("{bucket}.yml"), moto.address(), bucket, ""), line).run();
    let clean = run("clean", DRY).expect_code(0).report();
    let outcome = run("odd", DRY);
    assert_eq!(outcome.code, Some(0), "what is not known is a note: {}{}", outcome.stdout, outcome.stderr);
    let report = outcome.report();
    for field in ["live", "reclaimable"] {
        assert_eq!(report[field], clean[field], "{field}");
    }
    let codes: BTreeSet<String> = found(&report).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, BTreeSet::from(["unrecognised-entry".to_owned()]));
    let paths: BTreeSet<String> = found(&report).into_iter().map(|(_, path)| path).collect();
    // Some of them are the same to whoever compares paths: a report has one of these.
    let blob = ["//data", "/./", "/data/"];
    assert!(paths.iter().any(|path| blob.iter().any(|part| path.contains(part))), "{paths:?}");
    for shown in ["tags//v1", "_layers/./x", "_manifests/revisions/", "_manifests/\\u{1}", "repositories/team/"] {
        assert!(paths.iter().any(|path| path.contains(shown)), "{shown}: {paths:?}");
    }
    let audit = run("odd", "audit --json").report();
    assert!(found(&audit).iter().all(|(code, _)| !code.contains("missing") && !code.contains("broken")), "{:?}", found(&audit));
}
