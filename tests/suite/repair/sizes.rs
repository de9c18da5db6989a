//! Sizes that manifests state: what is wrong with them is said by the run that copies, and the next one says the same.

use serde_json::json;

use super::*;
use crate::support::layout::blob_directory;

/// What is lost, in words; the store before; what is lost of it; the code that is left, and of which digest.
type Stated = (&'static str, Tree, Vec<String>, &'static str, String);

fn stated() -> Vec<Stated> {
    let child = oci_image("child", &[layer(5)]);
    let wrong = |image: Image, at: &'static str| image.edit(|json| *json.pointer_mut(at).expect("a size") = json!(999));
    let long = wrong(index(std::slice::from_ref(&child)), "/manifests/0/size");
    let image = |size: u64| one().edit(|json| json["layers"][0]["size"] = json!(size));
    let two_say = || registry().repo("a").pushed(&one()).tag("v1").repo("b").pushed(&image(999)).tag("v1").into_tree();
    let alone = || registry().repo("a").pushed(&image(999)).tag("v1").into_tree();
    let platform = || registry().repo("a").pushed(&long).tag("v1").into_tree();
    let digest = |image: &Image| image.digest().to_owned();
    let size = "size-mismatch";
    vec![
        ("a platform", platform(), vec![digest(&child)], size, digest(&child)),
        ("an index", platform(), vec![digest(&long)], size, digest(&child)),
        ("an index and its platform", platform(), vec![digest(&long), digest(&child)], size, digest(&child)),
        ("a layer of two sizes", two_say(), vec![layer(1).digest], size, layer(1).digest),
        ("an image that states a wrong size", two_say(), vec![digest(&image(999))], size, layer(1).digest),
        ("a layer of a wrong size", alone(), vec![layer(1).digest], "missing-blob", layer(1).digest),
    ]
}

#[test]
fn a_wrong_size_is_said_at_once_and_again() {
    for (name, tree, lost, code, digest) in stated() {
        let mirror = tree.on_disk();
        for keeps_directory in [true, false] {
            let mut damaged = tree.clone();
            for digest in &lost {
                damaged.remove(&blob_directory(digest));
                if keeps_directory {
                    damaged.directory(blob_directory(digest));
                }
            }
            let root = damaged.on_disk();
            let run = |words: &[&str]| repair(root.path(), words).arg("--from").arg(mirror.path()).json().run().expect_code(1);
            let said = |outcome: &Outcome| {
                let findings = outcome.findings().into_iter();
                findings.map(|finding| (finding.code, finding.digest, finding.message)).collect::<Vec<_>>()
            };
            let dry = run(&["--dry-run"]);
            let [first, second] = [run(&[]), run(&[])];
            assert_eq!(said(&first), said(&dry), "{name}");
            assert_eq!(said(&first), said(&second), "{name}");
            let [(said, of, _)] = &said(&first)[..] else { panic!("{name}: {}", first.stdout) };
            assert_eq!((&**said, of.as_deref()), (code, Some(&*digest)), "{name}");
            assert_eq!(second.report()["blobs"], json!([]), "{name}");
            let copied = first.report()["copied"]["blobs"].as_u64();
            assert_eq!(copied, Some(if code == "missing-blob" { 0 } else { lost.len() as u64 }), "{name}");
        }
    }
}
