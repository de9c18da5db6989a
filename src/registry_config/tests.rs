//! What configurations come to.

use std::path::Path;

use super::load::parse;
use super::owners::HARBOR_REALM;
use super::storage::{DEFAULT_ROOT, ROOT_KEY, clean};
use super::*;

fn with(text: &str, variables: &[(&str, &str)]) -> Result<RegistryConfig, Problem> {
    let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    parse(text.as_bytes(), &environment)
}

fn config(text: &str, variables: &[(&str, &str)]) -> RegistryConfig {
    with(text, variables).expect("a configuration")
}

fn root_of(text: &str, variables: &[(&str, &str)]) -> String {
    config(text, variables).root.display().to_string()
}

const FILE: &str = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /data\n";
const READ_ONLY: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY";
const READ_ONLY_ENABLED: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED";

#[test]
fn reads_the_root() {
    assert_eq!(root_of(FILE, &[]), "/data");
    assert_eq!(root_of("version: 0.1\nstorage: filesystem\n", &[]), DEFAULT_ROOT);
    assert_eq!(root_of("version: 0.1\nstorage: {filesystem: null, delete: {enabled: true}}\n", &[]), DEFAULT_ROOT);
    assert_eq!(root_of("version: 0.1\nstorage: {filesystem: {rootdirectory: ../data}}\n", &[]), "../data");
    let merged = "version: 0.1\nx: &fs {rootdirectory: /a, maxthreads: 7}\nstorage:\n  filesystem: {<<: *fs, maxthreads: 9}\n";
    assert_eq!(root_of(merged, &[]), "/a");
    let twice = "version: 0.1\nstorage: {filesystem: {rootdirectory: /a, rootdirectory: /b}}\n";
    assert_eq!(root_of(twice, &[]), "/b");
}

#[test]
fn variables_overwrite_the_file_as_in_the_registry() {
    let root = ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/env");
    assert_eq!(root_of(FILE, &[root]), "/env");
    assert_eq!(root_of("version: 0.1\n", &[root]), "/env");
    assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE", "filesystem")]), DEFAULT_ROOT);
    assert_eq!(root_of(FILE, &[root, ("REGISTRY_STORAGE", "filesystem")]), "/env");
    assert_eq!(root_of(FILE, &[root, ("REGISTRY_STORAGE", "")]), "/env");
    assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE", "{filesystem: {rootdirectory: /inline}}")]), "/inline");
    assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: /params}")]), "/params");
    assert_eq!(root_of(FILE, &[("REGISTRY_STORAGE_FILESYSTEM", "")]), DEFAULT_ROOT);
    assert_eq!(root_of(FILE, &[("registry_storage_filesystem_rootdirectory", "/env")]), "/data");
    assert_eq!(root_of("version: 0.1\nstorage: {filesystem: null}\n", &[root]), "/env");
}

#[test]
fn the_root_is_cleaned_as_go_cleans_it() {
    for (written, cleaned) in [
        ("/x/link/../y", "/x/y"),
        ("/x//y/./z/", "/x/y/z"),
        ("/../x", "/x"),
        ("/..", "/"),
        ("/", "/"),
        (".", "."),
        ("a/..", "."),
        ("a/../..", ".."),
        ("../../x", "../../x"),
        ("x/../../y", "../y"),
        ("./x", "x"),
    ] {
        assert_eq!(clean(written), Path::new(cleaned), "{written}");
        assert_eq!(clean(written).as_os_str(), cleaned, "{written}");
    }
}

#[test]
fn a_key_that_is_not_the_roots_is_named() {
    for key in ["rootDirectory", "root_directory", "root-directory", "RootDir", "path", "directory", "key path", "datadir"] {
        let config = config(&format!("version: 0.1\nstorage: {{filesystem: {{{key}: /data}}}}\n"), &[]);
        assert_eq!(config.root, Path::new(DEFAULT_ROOT));
        assert!(config.warnings[0].contains(key) && config.warnings[0].contains(DEFAULT_ROOT), "{:?}", config.warnings);
    }
    assert!(config("version: 0.1\nstorage: {filesystem: {maxthreads: 9}}\n", &[]).warnings.is_empty());
}

#[test]
fn other_drivers_are_named() {
    for driver in ["gcs", "inmemory", "Filesystem", "true"] {
        for text in [driver.to_owned(), format!("{{{driver}: {{bucket: x}}, delete: {{enabled: true}}}}")] {
            let problem = with(&format!("version: 0.1\nstorage: {text}\n"), &[]).expect_err("not ours");
            assert!(matches!(&problem, Problem::OtherDriver { driver: named } if named == driver), "{text}: {problem}");
        }
    }
    let both = |problem: &Problem| matches!(problem, Problem::SeveralDrivers { drivers, .. } if *drivers == ["filesystem", "s3"]);
    assert!(both(&with(FILE, &[("REGISTRY_STORAGE_S3_BUCKET", "x")]).expect_err("two drivers")));
    let file = "version: 0.1\nstorage: {filesystem: {rootdirectory: /data}, s3: null}\n";
    assert!(both(&with(file, &[]).expect_err("two drivers")));
    assert!(both(&with(file, &[("REGISTRY_STORAGE", "filesystem")]).expect_err("two drivers")));
    assert!(both(&with(FILE, &[("REGISTRY_STORAGE", "{filesystem: {}, s3: {}}")]).expect_err("two drivers")));
}

#[test]
fn what_says_nothing_about_the_storage_is_refused_by_key() {
    for (text, named) in [
        ("", "version"),
        ("[]", "a map of settings"),
        ("a: [", "YAML"),
        ("storage: filesystem\n", "version"),
        ("version: 0.2\n", "version is 0.2"),
        ("version: 0.10\nstorage: filesystem\n", "version is 0.10"),
        ("version: 0.1\n", "storage names no driver"),
        ("version: 0.1\nStorage: filesystem\n", "storage names no driver"),
        ("version: 0.1\nstorage: {delete: {enabled: true}}\n", "storage names no driver"),
        ("version: 0.1\nstorage: ''\n", "storage names no driver"),
        ("version: 0.1\nstorage: maintenance\n", "storage names no driver"),
        ("version: 0.1\nstorage: [filesystem]\n", "storage is not a map"),
        ("version: 0.1\nstorage: {filesystem: /data}\n", "storage.filesystem is not a map"),
        ("version: 0.1\nstorage: {filesystem: {}, delete: true}\n", "storage.delete is not a map"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: null}}\n", ROOT_KEY),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: ''}}\n", ROOT_KEY),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: [/data]}}\n", ROOT_KEY),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: yes}}\n", "write ./yes"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: true}}\n", "write ./true"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: 07}}\n", "write ./07"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: 7}}\n", "write ./7"),
    ] {
        let problem = with(text, &[]).expect_err(text).to_string();
        assert!(problem.contains(named), "{text}: {problem}");
    }
    let below = with("version: 0.1\nstorage: filesystem\n", &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY_X", "y")]);
    assert!(matches!(below, Err(Problem::NotAPath { found: None })), "{below:?}");
}

#[test]
fn what_variables_break_names_them() {
    const PORT: &str = "; set by REGISTRY_STORAGE_PORT; REGISTRY_STORAGE_PORT looks like a service link of Kubernetes: ";
    for (variables, named) in [
        (&[("REGISTRY_STORAGE_S3_BUCKET", "x")][..], "runs with; set by REGISTRY_STORAGE_S3_BUCKET"),
        (&[("REGISTRY_STORAGE", "{s3: {}, gcs: {}}")], "runs with; REGISTRY_STORAGE replaces what the file has there"),
        (
            &[("REGISTRY_STORAGE", "filesystem"), ("REGISTRY_STORAGE_S3_REGION", "x"), ("REGISTRY_STORAGE_S3_BUCKET", "x")],
            "set by REGISTRY_STORAGE_S3_BUCKET, REGISTRY_STORAGE_S3_REGION; REGISTRY_STORAGE replaces what the file has there",
        ),
        (&[("REGISTRY_STORAGE_PORT", "tcp://10.0.0.1:80")], PORT),
        (&[("REGISTRY_STORAGE", "[1]"), ("REGISTRY_STORAGE_DELETE_ENABLED", "true")], "needs one there; set by REGISTRY_STORAGE"),
        (&[("REGISTRY_STORAGE", "")], "or give --root DIR; set by REGISTRY_STORAGE"),
        (&[("REGISTRY_STORAGE", "gcs")], "give --root DIR; REGISTRY_STORAGE replaces what the file has there"),
        (
            &[("REGISTRY_STORAGE", "{gcs: {bucket: x}}"), ("REGISTRY_STORAGE_GCS_BUCKET", "y")],
            "give --root DIR; set by REGISTRY_STORAGE_GCS_BUCKET; REGISTRY_STORAGE replaces what the file has there",
        ),
        (&[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "")], "set by REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"),
        (&[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "07")], "--root DIR; set by REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"),
        (
            &[("REGISTRY_STORAGE_FILESYSTEM", "{rootdirectory: 7}")],
            "--root DIR; REGISTRY_STORAGE_FILESYSTEM replaces what the file has there",
        ),
        (
            &[("REGISTRY_STORAGE", "filesystem"), ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "yes")],
            "--root DIR; set by REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY",
        ),
        (
            &[("REGISTRY_STORAGE", "{s3: {bucket: x, region: r}}"), ("REGISTRY_STORAGE_S3_SECURE", "perhaps")],
            "storage.s3.secure is neither true nor false; write one of these; set by REGISTRY_STORAGE_S3_SECURE",
        ),
        (&[("REGISTRY_STORAGE", "{s3: {bucket: x}}")], "s3://BUCKET/PREFIX; REGISTRY_STORAGE replaces what the file has there"),
        // Neither has a part in it.
        (
            &[("REGISTRY_STORAGES", "x"), ("REGISTRY_STORAGE_FILESYSTEM_ROOT", "x"), ("REGISTRY_STORAGE_MAINTENANCE", "x")],
            "needs one there; set by REGISTRY_STORAGE_MAINTENANCE",
        ),
    ] {
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let error = load_text("config.yml".as_ref(), FILE.as_bytes(), &environment).expect_err(named).to_string();
        // It is all that is said of variables at the end.
        let is_end = error.ends_with(named) || named == PORT && error.contains(PORT);
        assert!(is_end, "{variables:?}: {error}");
    }
    let two = with("version: 0.1\nstorage: {s3: {}, filesystem: {}}\n", &[]).expect_err("two drivers").to_string();
    assert!(two.ends_with("name filesystem, s3; leave the one that the registry runs with"), "{two}");
    let links = [("REGISTRY_PORT", "tcp://10.0.0.1:5000"), ("REGISTRY_SERVICE_HOST", "10.0.0.1"), ("REGISTRY_TYPO", "x")];
    let warnings = config(FILE, &links).warnings;
    assert!(
        warnings[0].contains("service links of Kubernetes, which the registry ignores: REGISTRY_PORT, REGISTRY_SERVICE_HOST;")
    );
    assert!(warnings[1].contains("behind REGISTRY_TYPO:"), "{warnings:?}");
    let auth = config(FILE, &[("REGISTRY_AUTH_PORT", "tcp://10.0.0.1:5000")]).warnings;
    assert!(auth[0].starts_with("REGISTRY_AUTH_PORT looks like a service link of Kubernetes"), "{auth:?}");
}

#[test]
fn the_file_of_another_program_is_said_to_be_that() {
    for (text, named) in [
        ("version: \"3.8\"\nservices: {registry: {image: registry:2}}\n", "a compose file"),
        ("services: {registry: {image: registry:2}}\n", "a compose file"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {config.yml: x}\n", "a manifest of Kubernetes"),
        ("replicaCount: 1\nimage: {repository: registry}\npersistence: {enabled: true}\n", "values of a chart"),
        ("replicaCount: 1\nimage: {repository: registry}\nconfigData: {version: 0.1}\n", "values of a chart"),
        ("image: {tag: 2.8.1}\nconfigData: {version: 0.1}\n", "values of a chart"),
        ("image: {tag: 2.8.1}\nservice: {port: 5000}\n", "values of a chart"),
        ("image: {tag: 2.8.1}\ningress: {enabled: false}\n", "values of a chart"),
        ("replicaCount: 2\nimage: {tag: 2.8.1}\n", "values of a chart"),
        ("replicaCount: 2\nconfigData: {version: 0.1}\n", "values of a chart"),
        ("expose: {type: ingress}\npersistence: {}\n", "Harbor's chart"),
        ("harborAdminPassword: x\nregistry: {}\n", "Harbor's chart"),
        ("expose: {type: ingress}\nexternalURL: https://harbor\npersistence: {}\n", "Harbor's chart"),
        ("hostname: reg\nharbor_admin_password: x\ndata_volume: /data\n", "Harbor's installer"),
        ("{\"insecure-registries\": []}", "a Docker daemon"),
    ] {
        let problem = with(text, &[]).expect_err(text).to_string();
        assert!(problem.contains(named) && problem.contains("config.yml"), "{text}: {problem}");
    }
    let ours = "version: 0.1\nstorage: filesystem\nservices: {}\n";
    assert_eq!(root_of(ours, &[]), DEFAULT_ROOT, "the registry takes no notice of other keys");
}

#[test]
fn an_error_names_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.yml");
    let missing = load(&path, &[]).expect_err("no file");
    assert!(matches!(missing.problem, Problem::Unreadable(_)));
    assert!(missing.to_string().contains("config.yml: cannot read it"), "{missing}");
    let endless = load(Path::new("/dev/zero"), &[]).expect_err("no configuration").to_string();
    assert!(endless.contains("too large"), "{endless}");
    std::fs::write(&path, FILE).expect("written");
    assert_eq!(load(&path, &[]).expect("a configuration").root, Path::new("/data"));
}

#[test]
fn read_only_is_believed_only_as_the_registry_does() {
    let file = |read_only: &str| format!("version: 0.1\nstorage: {{filesystem: {{}}, maintenance: {{readonly: {read_only}}}}}\n");
    for enabled in ["true", "yes", "on", "Y"] {
        assert!(config(&file(&format!("{{enabled: {enabled}}}")), &[]).read_only, "{enabled}");
    }
    for read_only in ["{enabled: false}", "{enabled: off}", "{Enabled: true}", "{}"] {
        let config = config(&file(read_only), &[]);
        assert!(!config.read_only && config.warnings.is_empty(), "{read_only}: {config:?}");
    }
    for read_only in ["{enabled: 1}", "{enabled: 'true'}", "{enabled: null}", "true", "null"] {
        let config = config(&file(read_only), &[]);
        assert!(!config.read_only && config.warnings[0].contains("storage.maintenance.readonly"), "{read_only}: {config:?}");
    }
    assert!(config(FILE, &[(READ_ONLY, "{\"enabled\":true}")]).read_only);
    assert!(config(FILE, &[("REGISTRY_STORAGE_MAINTENANCE", "{readonly: {enabled: true}}")]).read_only);
}

/// The registry goes on taking pushes then, and a collection without a minimum age would take them away again.
#[test]
fn a_variable_does_not_make_read_only_what_the_registry_leaves_writable() {
    let written = "version: 0.1\nstorage: {filesystem: {}, maintenance: {readonly: {enabled: false}}}\n";
    for text in [FILE, written] {
        let config = config(text, &[(READ_ONLY_ENABLED, "true")]);
        assert!(!config.read_only && config.warnings.len() == 1, "{config:?}");
    }
    let kept = config(FILE, &[(READ_ONLY, "{enabled: true}"), (READ_ONLY_ENABLED, "false")]);
    assert!(kept.read_only && kept.warnings[0].contains(READ_ONLY_ENABLED), "{kept:?}");
}

#[test]
fn caches_proxies_and_harbor_are_noticed() {
    let harbor = "version: 0.1\nstorage: {filesystem: {}, cache: {layerinfo: redis}}\nvalidation: {disabled: true}\n";
    let noticed = config(harbor, &[]);
    assert!(noticed.owners.harbor.is_some() && noticed.descriptor_cache == Some(DescriptorCache::Redis), "{noticed:?}");
    assert!(config(harbor, &[("REGISTRY_VALIDATION_DISABLED", "false")]).owners.harbor.is_none());
    let realm = format!("{FILE}auth: {{htpasswd: {{realm: {HARBOR_REALM}, path: /x}}}}\n");
    assert!(config(&realm, &[]).owners.harbor.is_some());
    assert!(config(FILE, &[("REGISTRY_AUTH_HTPASSWD_REALM", HARBOR_REALM)]).owners.harbor.is_some());
    let plain = config(&format!("{FILE}auth: {{htpasswd: {{realm: basic}}}}\n"), &[]);
    assert!(plain.owners.harbor.is_none() && plain.descriptor_cache.is_none() && plain.proxy_remote.is_none());
    let cached = config(FILE, &[("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")]);
    assert_eq!(cached.descriptor_cache, Some(DescriptorCache::InMemory));
    for none in ["{blobdescriptor: InMemory}", "{blobdescriptor: null, layerinfo: redis}", "{blobdescriptor: ''}"] {
        let text = format!("version: 0.1\nstorage: {{filesystem: {{}}, cache: {none}}}\n");
        assert_eq!(config(&text, &[]).descriptor_cache, None, "{none}");
    }
    let proxy = format!("{FILE}proxy: {{remoteurl: \"https://mirror.example\"}}\n");
    assert_eq!(config(&proxy, &[]).proxy_remote.as_deref(), Some("https://mirror.example"));
    assert_eq!(config(&proxy, &[("REGISTRY_PROXY_REMOTEURL", "")]).proxy_remote, None);
}

#[test]
fn where_it_listens() {
    let plain =
        config(&format!("{FILE}http: {{addr: ':5000', prefix: /r/}}\n"), &[("REGISTRY_HTTP_ADDR", "127.0.0.1:6000")]).http;
    assert_eq!((plain.address.as_deref(), plain.net.as_deref(), plain.has_tls), (Some("127.0.0.1:6000"), None, false));
    assert_eq!(plain.prefix, "/r/");
    let secure = config(&format!("{FILE}http: {{addr: 'x:443', tls: {{certificate: /c, key: /k}}}}\n"), &[]).http;
    assert!(secure.has_tls);
    for (name, expected) in [("CERTIFICATE", true), ("LETSENCRYPT_CACHEFILE", true), ("LETSENCRYPT_EMAIL", false), ("KEY", false)]
    {
        let http = config(FILE, &[(&format!("REGISTRY_HTTP_TLS_{name}"), "/x")]).http;
        assert_eq!(http.has_tls, expected, "{name}");
    }
    assert!(!config(&format!("{FILE}http: {{tls: {{letsencrypt: {{}}}}}}\n"), &[]).http.has_tls);
    let socket = config(&format!("{FILE}http: {{addr: /run/r.sock, net: unix}}\n"), &[]).http;
    assert_eq!(socket.net.as_deref(), Some("unix"));
    assert_eq!(config(FILE, &[]).http, Listening::default());
}
