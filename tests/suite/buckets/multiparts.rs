//! Multipart uploads that were begun and not ended: no listing of keys has them.

use super::*;
use crate::support::bucket::{BucketRegistry, Moto};
use crate::support::proxy::Proxy;

const REAL: &str = "garbage-collect --assume-offline --min-age 0s --allow-unlinked 100% --json --uploads-older-than";
const UPLOADS: &str = "docker/registry/v2/repositories/team/app/_uploads";

/// A bucket in which two uploads of one repository were begun, and two multipart uploads that are no registry's.
fn fill(moto: &Moto, bucket: &str) {
    moto.fill(bucket, "", &tree());
    let upload = |id: &str| format!("{UPLOADS}/{id}");
    moto.put_object(bucket, &format!("{}/startedat", upload("one")), b"2020-01-01T00:00:00Z");
    moto.begin_multipart(bucket, &format!("{}/data", upload("one")), &[b"12345", b"678"]);
    moto.begin_multipart(bucket, &format!("{}/data", upload("two")), &[b"12"]);
    moto.begin_multipart(bucket, &format!("{}/other", upload("two")), &[b"1"]);
    moto.begin_multipart(bucket, "docker/registry/v2/blobs/sha256/aa/data", &[b"1"]);
    moto.begin_multipart(bucket, "elsewhere", &[b"1"]);
}

/// The findings of a code.
fn of_code(report: &Value, code: &str) -> Vec<Value> {
    report["findings"].as_array().into_iter().flatten().filter(|finding| finding["code"] == code).cloned().collect()
}

#[test]
fn a_push_that_was_stopped_half_way_is_one_upload_with_its_bytes_and_goes() {
    let Some(moto) = Moto::start() else { return };
    moto.make("half");
    let mut registry = BucketRegistry::start(&moto, "half", ", rootdirectory: /some/where");
    let client = registry.client();
    let image = oci_image("one", &[layer(1), layer(2)]);
    client.push_tag("team/app", "v1", &image);
    let place = client.begin_upload("team/app");
    let sent = vec![7; 300_000];
    let headers = [("Content-Type", "application/octet-stream"), ("Content-Range", "0-299999")];
    client.send("PATCH", &place, &headers, &sent).expect_status(202);
    registry.stop();
    let config = registry.config().to_owned();
    let [begun] = &moto.multiparts("half")[..] else { panic!("one upload") };
    assert!(
        begun.starts_with("some/where/docker/registry/v2/repositories/team/app/_uploads/") && begun.ends_with("/data"),
        "{begun}"
    );
    assert!(!moto.keys("half").contains(begun), "no listing of keys has it");

    let usage = on(&config, "usage --min-age 0s --json").run().expect_code(0).report();
    assert_eq!((&usage["uploads"]["uploads"], &usage["uploads"]["bytes"]), (&1.into(), &300_000.into()), "{usage}");
    let audit = on(&config, "audit --min-age 0s --json").run().expect_code(0).report();
    assert_eq!((&audit["scanned"]["uploads"], &audit["scanned"]["upload_bytes"]), (&1.into(), &300_000.into()), "{audit}");

    // Its youngest part was sent just now.
    let young = on(&config, &format!("{REAL} 1h")).run().expect_code(0).report();
    assert_eq!((&young["removed"]["upload_files"], &young["reclaimable"]["upload_files"]), (&0.into(), &0.into()), "{young}");
    assert_eq!(moto.multiparts("half").len(), 1);
    let foreseen = on(&config, &format!("{DRY} --uploads-older-than 0s")).run().expect_code(0).report();
    assert_eq!(moto.multiparts("half").len(), 1, "a dry run changes nothing");
    let done = on(&config, &format!("{REAL} 0s")).run().expect_code(0).report();
    assert_eq!((&done["removed"], &done["scanned"]["upload_bytes"]), (&foreseen["reclaimable"], &300_000.into()), "{done}");
    assert_eq!((moto.multiparts("half").len(), moto.keys("half").iter().any(|key| key.contains("_uploads"))), (0, false));
    registry.restart();
    registry.client().pull("team/app", "v1").expect("nothing else went");
    registry.client().push_tag("team/app", "v2", &oci_image("two", &[layer(3)]));
}

#[test]
fn what_is_left_of_an_upload_whose_keys_are_gone_is_as_old_as_its_youngest_part() {
    let Some(moto) = Moto::start() else { return };
    moto.make("left");
    // The repository has nothing else.
    moto.begin_multipart("left", "docker/registry/v2/repositories/gone/_uploads/lost/data", &[b"12345"]);
    let config = moto.config("c.yml", moto.address(), "left", "");
    moto.put_object("left", "docker/registry/v2/blobs/sha256/aa/x", b"x");
    let young = on(&config, &format!("{REAL} 1h --allow-empty")).run();
    assert_eq!(moto.multiparts("left").len(), 1, "{}{}", young.stdout, young.stderr);
    let done = on(&config, &format!("{REAL} 0s")).run();
    assert_eq!(moto.multiparts("left").len(), 0, "{}{}", done.stdout, done.stderr);
}

#[test]
fn others_are_counted_in_a_note_and_left() {
    let Some(moto) = Moto::start() else { return };
    fill(&moto, "others");
    let config = moto.config("c.yml", moto.address(), "others", "");
    for line in
        [format!("{DRY} --uploads-older-than 0s"), format!("{REAL} 0s"), "audit --json".to_owned(), "usage --json".to_owned()]
    {
        let report = on(&config, &line).run().report();
        let [note] = &of_code(&report, "other-multipart-uploads")[..] else { panic!("{line}: {report}") };
        assert_eq!((&note["count"], &note["severity"]), (&2.into(), &"note".into()));
    }
    let left: BTreeSet<String> = moto.multiparts("others").into_iter().collect();
    let others = [format!("{UPLOADS}/two/other"), "docker/registry/v2/blobs/sha256/aa/data".to_owned(), "elsewhere".to_owned()];
    assert_eq!(left, BTreeSet::from(others));
}

fn page(more: &str) -> String {
    format!("<ListMultipartUploadsResult><Bucket>b</Bucket>{more}</ListMultipartUploadsResult>")
}

fn begun(key: &str, id: &str) -> String {
    format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>2010-11-10T20:48:33Z</Initiated></Upload>")
}

fn error(code: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>no</Message></Error>")
}

#[test]
fn a_server_that_does_not_tell_of_them_is_asked_once_and_the_rest_goes_on() {
    let Some(moto) = Moto::start() else { return };
    fill(&moto, "untold");
    let whole = on(&moto.config("whole.yml", moto.address(), "untold", ""), DRY).run().expect_code(0).report();
    assert!(of_code(&whole, "unseen-uploads").is_empty());
    assert_eq!(whole["scanned"]["upload_bytes"], 10);
    let data = format!("{UPLOADS}/two/data");
    let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>";
    let circle = page(&format!("{more}{data}</NextKeyMarker>{}", begun(&data, "1")));
    let mut number = 0;
    type Answer = Box<dyn FnMut(&str) -> (u16, String) + Send>;
    let endless: Answer = Box::new(move |_| {
        number += 1;
        (200, page(&format!("{more}{data}{number}</NextKeyMarker>{}", begun(&data, &number.to_string()))))
    });
    let always = |status: u16, body: String| -> Answer { Box::new(move |_| (status, body.clone())) };
    let answers: [(&str, Answer, &str); 9] = [
        ("uploads=", always(501, error("NotImplemented")), "the server has no request for that"),
        ("uploads=", always(405, error("MethodNotAllowed")), "the server has no request for that"),
        ("uploads=", always(400, String::new()), "the server has no request for that"),
        ("uploads=", always(403, error("AccessDenied")), "the credentials lack s3:ListBucketMultipartUploads"),
        ("uploadId=", always(403, error("AccessDenied")), "the credentials lack s3:ListMultipartUploadParts"),
        ("uploads=", always(200, "<html></html>".to_owned()), "no whole listing"),
        ("uploads=", always(200, page(&format!("<IsTruncated>false</IsTruncated>{}", begun("other", "1")))), "no whole listing"),
        ("uploads=", always(200, circle), "no whole listing"),
        ("uploads=", endless, "no whole listing"),
    ];
    std::thread::scope(|scope| {
        for (number, (part, answer, why)) in answers.into_iter().enumerate() {
            let (moto, whole) = (&moto, &whole);
            scope.spawn(move || {
                let proxy = Proxy::start(moto.address());
                proxy.answer(part, answer);
                let config = moto.config(&format!("{number}.yml"), proxy.address(), "untold", "");
                let outcome = on(&config, DRY).run();
                assert_eq!(outcome.code, Some(0), "{number}: {}{}", outcome.stdout, outcome.stderr);
                let report = outcome.report();
                let [note] = &of_code(&report, "unseen-uploads")[..] else { panic!("{number}: {report}") };
                assert!(note["message"].as_str().is_some_and(|message| message.contains(why)), "{number}: {note}");
                for field in ["live", "reclaimable"] {
                    assert_eq!(report[field], whole[field], "{number}: {field}");
                }
                assert_eq!(report["scanned"]["upload_bytes"], 0, "{number}: {}", report["scanned"]);
                let log = proxy.log();
                let asked = log.iter().filter(|(_, path)| path.contains(part)).count();
                assert!(asked <= 600, "{number}: {asked}");
            });
        }
    });
}

#[test]
fn a_right_to_end_them_that_is_missing_is_a_finding_and_the_rest_goes() {
    let Some(moto) = Moto::start() else { return };
    fill(&moto, "denied");
    let proxy = Proxy::start(moto.address());
    let config = moto.config("c.yml", proxy.address(), "denied", "");
    proxy.answer_to("DELETE", "uploadId=", |_| (403, error("AccessDenied")));
    let report = on(&config, &format!("{REAL} 0s")).run().expect_code(3).report();
    let failed = of_code(&report, "failed-removal");
    assert_eq!(failed.len(), 2, "{report}");
    assert!(
        failed.iter().all(|finding| finding["message"].as_str().is_some_and(|text| text.contains("s3:AbortMultipartUpload"))),
        "{failed:?}"
    );
    assert_eq!(report["removed"]["upload_files"], 1, "{report}");
    let again = on(&moto.config("again.yml", moto.address(), "denied", ""), &format!("{REAL} 0s")).run().expect_code(0).report();
    assert_eq!(again["removed"]["upload_files"], 2, "{again}");
    assert!(!moto.multiparts("denied").iter().any(|key| key.ends_with("/data") && key.contains("_uploads")));
}
