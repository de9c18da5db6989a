//! Errors about what a variable set name the variable: whoever reads only the file would look in vain.

use std::fs;
use std::path::Path;

use crate::support::*;

const ROOT: &str = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY";

fn refused(config: Option<&Path>, variables: &[(&str, &str)]) -> String {
    let run = Regsweep::new().args(["garbage-collect", "--dry-run"]).args(config);
    let run = variables.iter().fold(run, |run, (name, value)| run.env(name, value));
    run.run().expect_code(2).stderr
}

#[test]
fn a_root_that_is_not_there_is_told_with_where_it_comes_from() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("config.yml");
    let here = directory.path().display().to_string();
    fs::write(&config, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {here}/by-file}}}}\n")).expect("written");
    let says = format!("comes to, whatever {here}/config.yml says");
    let section = format!("{{rootdirectory: {here}/by-variable}}");
    let whole = format!("{{filesystem: {section}}}");
    let by_variable = format!("{here}/by-variable");
    for (variables, root, named) in [
        (vec![], "by-file", format!("which storage.filesystem.rootdirectory in {here}/config.yml comes to")),
        (vec![(ROOT, &*by_variable)], "by-variable", format!("which {ROOT} {says}")),
        (vec![("REGISTRY_STORAGE_FILESYSTEM", &*section)], "by-variable", format!("which REGISTRY_STORAGE_FILESYSTEM {says}")),
        (vec![("REGISTRY_STORAGE", &*whole)], "by-variable", format!("which REGISTRY_STORAGE {says}")),
        (vec![("REGISTRY_STORAGE", "filesystem"), (ROOT, &*by_variable)], "by-variable", format!("which {ROOT} {says}")),
        // It changes nothing about the root.
        (vec![("REGISTRY_STORAGE_DELETE_ENABLED", "true")], "by-file", "which storage.filesystem.rootdirectory in".to_owned()),
    ] {
        let stderr = refused(Some(&config), &variables);
        let expected = format!("cannot open the root directory {here}/{root}, {named}");
        assert!(stderr.contains(&expected), "{variables:?}: {stderr}");
        fs::write(directory.path().join(root), "").expect("written");
        let stderr = refused(Some(&config), &variables);
        let named = named.strip_prefix("which ").expect("so it begins");
        assert!(stderr.contains(&format!("it is not a directory, and is what {named}")), "{variables:?}: {stderr}");
        fs::remove_file(directory.path().join(root)).expect("removed");
    }
}

#[test]
fn a_configuration_that_a_variable_names_is_told_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (absent, broken) = (directory.path().join("absent.yml"), directory.path().join("broken.yml"));
    fs::write(&broken, "version: 0.1\nstorage: gcs\n").expect("written");
    for config in [&absent, &broken] {
        let path = config.display().to_string();
        let by_variable = refused(None, &[("REGISTRY_CONFIGURATION_PATH", &*path)]);
        assert!(by_variable.contains("; REGISTRY_CONFIGURATION_PATH names this file"), "{by_variable}");
        // The argument counts.
        let by_argument = refused(Some(config), &[("REGISTRY_CONFIGURATION_PATH", "/no/such/file")]);
        assert!(!by_argument.contains("REGISTRY_CONFIGURATION_PATH"), "{by_argument}");
    }
}

#[test]
fn certificates_that_cannot_be_read_are_told_with_their_variable() {
    let directory = tempfile::tempdir().expect("a directory");
    let broken = directory.path().join("ca.pem");
    fs::write(&broken, "nonsense").expect("written");
    for bundle in ["/no/such/file", &*broken.display().to_string()] {
        let run =
            Regsweep::new().args(["garbage-collect", "--dry-run", "--root", "s3://bucket", "--endpoint", "http://127.0.0.1:9"]);
        let run = run.env("AWS_CA_BUNDLE", bundle).env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
        let stderr = run.run().expect_code(2).stderr;
        assert!(stderr.contains(&format!("the certificates that AWS_CA_BUNDLE names, {bundle}: ")), "{stderr}");
    }
}

#[test]
fn an_address_that_cannot_be_asked_is_told_with_its_variable() {
    let root = registry().stray_blob(&layer(9)).repo("a").image("x", &[layer(1)]).tag("v1").into_tree().on_disk();
    let config = root.path().join("config.yml");
    let text = format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n", root.path().display());
    let by_file = format!("{text}http: {{addr: ':no-such-port'}}\n");
    for (file, variables, named) in [
        (&by_file, &[][..], "what answers at http.addr :no-such-port does not say"),
        (&by_file, &[("REGISTRY_HTTP_ADDR", ":5x")], "what answers at REGISTRY_HTTP_ADDR :5x does not say"),
        (&text, &[("REGISTRY_HTTP", "{addr: ':5x'}")], "what answers at REGISTRY_HTTP :5x does not say"),
        (
            &text,
            &[("REGISTRY_HTTP", "{addr: ':1'}"), ("REGISTRY_HTTP_ADDR", ":5x")],
            "what answers at REGISTRY_HTTP_ADDR :5x does not",
        ),
        (&by_file, &[("REGISTRY_HTTP_NET", "udp")], "pushes (REGISTRY_HTTP_NET is udp, and the registry knows tcp and unix)"),
        (&by_file, &[("REGISTRY_HTTP_PREFIX", "/x/")], "what answers at http.addr :no-such-port does not say"),
    ] {
        fs::write(&config, file).expect("written");
        let run = variables.iter().fold(Regsweep::gc_config(&config), |run, (name, value)| run.env(name, value));
        let stderr = run.run().expect_code(2).stderr;
        assert!(stderr.contains(named), "{variables:?}: {stderr}");
        if file == &text {
            // The variables of its container are there without its file, too.
            let run = variables.iter().fold(Regsweep::gc(root.path()), |run, (name, value)| run.env(name, value));
            let stderr = run.run().expect_code(2).stderr;
            assert!(stderr.contains(named), "{variables:?}: {stderr}");
        }
    }
}
