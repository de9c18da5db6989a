//! What is asked of a server, as the server sees it.

use super::*;
use crate::support::bucket::Moto;
use crate::support::proxy::Proxy;

#[test]
fn a_dry_run_costs_its_listings_and_a_read_of_each_manifest() {
    let Some(moto) = Moto::start() else { return };
    let tree = tree();
    moto.fill("counted", "p/", &tree);
    let proxy = Proxy::start(moto.address());
    let config = moto.config("c.yml", proxy.address(), "counted", ", rootdirectory: /p");
    for line in [DRY.to_owned(), format!("{DRY} -m")] {
        proxy.begin(None);
        let report = on(&config, &line).run().expect_code(0).report();
        let log = proxy.log();
        let is_listing = |path: &str| path.contains("list-type=2") || path.contains("?uploads");
        let (lists, reads): (Vec<_>, Vec<_>) =
            log.iter().filter(|(method, _)| method == "GET").partition(|(_, path)| is_listing(path));
        let reads: BTreeSet<&str> = reads
            .iter()
            .map(|(_, path)| path.as_str())
            .filter(|path| !path.contains(".regsweep") && !path.contains("?versioning"))
            .collect();
        assert!(reads.iter().all(|path| path.ends_with("/data")), "no link is read: {reads:?}");
        let is_manifest = |content: &[u8]| {
            let json: Option<Value> = serde_json::from_slice(content).ok();
            json.is_some_and(|json| json["layers"].is_array() || json["manifests"].is_array())
        };
        let manifests = tree.files().filter(|(path, content, _)| path.ends_with("/data") && is_manifest(content)).count();
        assert_eq!(reads.len(), manifests, "{reads:?}");
        // What is there at all, unfinished uploads, GitLab's marker, the levels down to each repository, the repositories, the algorithms, the shards, and the blobs
        // by their first digit.
        let digits: BTreeSet<&str> = tree.files().filter_map(|(path, ..)| Some(&path.split_once("/sha256/")?.1[..1])).collect();
        assert!(lists.len() <= 1 + 1 + 1 + 5 + 3 + 2 + digits.len(), "{lists:?}");
        // What the report counts is what came, but for the look whether there is anything at all.
        let told = |kind: &str| report["requests"][kind].as_u64().expect("a number") as usize;
        assert_eq!(told("list") + 1, lists.len());
        assert_eq!(told("list") + told("get") + told("head") + told("other") + 1, log.len());
        assert!(report["free_disk_bytes"]["before"].is_null());
    }
}

#[test]
fn listings_of_several_pages_are_read_to_their_end() {
    let Some(moto) = Moto::start() else { return };
    let mut store = registry().repo("large");
    for number in 0..1100 {
        store = store.upload_layer(&layer(number));
    }
    let tree = store.into_tree();
    moto.make("large");
    // The links alone: the blobs would be as many again.
    for (path, content, _) in tree.files().filter(|(path, ..)| path.contains("repositories")) {
        moto.put_object("large", path, content);
    }
    let proxy = Proxy::start(moto.address());
    let config = moto.config("c.yml", proxy.address(), "large", "");
    let audit = on(&config, "audit --json").run().expect_code(0).report();
    assert_eq!(audit["scanned"]["layer_links"], 1100);
    assert!(proxy.log().iter().any(|(_, path)| path.contains("continuation-token=")));
}
