//! Stores that another program's database owns: each sign alone stops a collection, and names itself.

use std::path::PathBuf;

use crate::support::*;

/// A store with an untagged image, a configuration of it, and the directory that both are in.
struct Store {
    directory: tempfile::TempDir,
}

impl Store {
    fn new() -> Store {
        let tree = registry().stray_blob(&layer(7)).repo("a").image("untagged", &[layer(1)]);
        let tree = tree.repo("b").image("x", &[layer(2)]).tag("v1").into_tree();
        Store { directory: tree.on_disk() }
    }

    fn config(&self, storage: &str, more: &str) -> PathBuf {
        let path = self.directory.path().join("config.yml");
        let root = self.directory.path().display();
        std::fs::write(&path, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}{storage}}}\n{more}"))
            .expect("written");
        path
    }

    fn lockfile(&self, name: &str) {
        let lockfiles = self.directory.path().join("docker/registry/lockfiles");
        std::fs::create_dir_all(&lockfiles).expect("made");
        std::fs::write(lockfiles.join(name), "{\"version\":1}").expect("written");
    }
}

/// Every kind of run is refused with a message that names the sign and the flag, and the flag lifts it.
#[track_caller]
fn is_refused(run: impl Fn() -> Regsweep, sign: &str, owner: &str) {
    for dry in [true, false] {
        let run = || if dry { run().dry() } else { run() };
        let refused = run().run().expect_code(2);
        // A dry run says what stops the real one, and what it would do all the same.
        assert_eq!(refused.stdout.contains("a real run would stop"), dry, "{}", refused.stdout);
        assert_eq!(refused.stdout.contains("would stop  ") && refused.stdout.contains(sign), dry, "{}", refused.stdout);
        for said in [sign, owner, "--allow-foreign-owner"] {
            assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
        }
    }
    run().arg("--allow-foreign-owner").dry().run().expect_code(0);
}

/// A section of the file, variables, and what of it the message names; nothing if it goes on.
type Case = (&'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

const GITLAB: &[Case] = &[
    ("database: {enabled: true}\n", &[], Some("database.enabled: true")),
    ("database: {enabled: \"true\"}\n", &[], Some("database.enabled: true")),
    ("database: {enabled: yes}\n", &[], Some("database.enabled: yes")),
    ("database: {enabled: prefer}\n", &[], Some("database.enabled: prefer")),
    ("database: {enabled: true, host: db}\n", &[("REGISTRY_DATABASE_ENABLED", "false")], Some("database.enabled: true")),
    ("", &[("REGISTRY_DATABASE_ENABLED", "true")], Some("REGISTRY_DATABASE_ENABLED")),
    ("", &[("REGISTRY_DATABASE_ENABLED", "prefer")], Some("REGISTRY_DATABASE_ENABLED")),
    ("", &[("REGISTRY_DATABASE", "{enabled: true}")], Some("REGISTRY_DATABASE")),
    // What only GitLab's registry has, whose default is `prefer`.
    ("database: {host: db}\n", &[], Some("the section database")),
    ("gc: {disabled: true}\n", &[], Some("the section gc")),
    ("auth: {token: {issuer: omnibus-gitlab-issuer, realm: x}}\n", &[], Some("auth.token.issuer")),
    ("auth: {token: {issuer: x, realm: \"https://gitlab.example/jwt/auth\"}}\n", &[], Some("auth.token.realm")),
    ("", &[("REGISTRY_DATABASE_HOST", "db")], Some("REGISTRY_DATABASE_HOST")),
    ("", &[("REGISTRY_AUTH_TOKEN_ISSUER", "gitlab-issuer")], Some("auth.token.issuer")),
    ("profiling: {stackdriver: {enabled: false}}\n", &[], Some("the section profiling")),
    ("reporting: {sentry: {enabled: true}}\n", &[], Some("the setting reporting.sentry")),
    ("redis: {cache: {enabled: true, addr: \"r:6379\"}}\n", &[], Some("the setting redis.cache")),
    ("", &[("REGISTRY_REDIS_CACHE_ENABLED", "true")], Some("the setting redis.cache (from REGISTRY_REDIS_CACHE_ENABLED)")),
    ("", &[("REGISTRY_PROFILING_STACKDRIVER_ENABLED", "true")], Some("REGISTRY_PROFILING_STACKDRIVER_ENABLED")),
    ("", &[("REGISTRY_REPORTING_SENTRY_ENABLED", "true")], Some("REGISTRY_REPORTING_SENTRY_ENABLED")),
    // Said to be off, or anybody's.
    ("redis: {cache: {enabled: true}}\ndatabase: {enabled: false}\n", &[], None),
    ("reporting: {bugsnag: {apikey: x}}\nredis: {addr: \"r:6379\", sentinelpassword: x, tls: {enabled: true}}\n", &[], None),
    ("database: {enabled: false}\ngc: {}\n", &[], None),
    ("gc: {}\n", &[("REGISTRY_DATABASE_ENABLED", "false")], None),
    ("auth: {token: {issuer: x, realm: \"https://auth.example/token\"}}\n", &[], None),
    ("", &[("REGISTRY_DATABASE_SERVICE_HOST", "10.0.0.1"), ("REGISTRY_DATABASE_PORT", "tcp://10.0.0.1:5432")], None),
];

fn with(run: Regsweep, variables: &[(&str, &str)]) -> Regsweep {
    variables.iter().fold(run, |run, (name, value)| run.env(name, value))
}

#[test]
fn a3_any_sign_of_gitlabs_database_stops_the_run() {
    for (more, variables, sign) in GITLAB {
        let store = Store::new();
        let config = store.config("", more);
        let run = || with(Regsweep::gc_config(&config), variables);
        match sign {
            // Whoever looks for it must look in the right place.
            Some(sign) if sign.starts_with("REGISTRY_") => {
                is_refused(run, &format!("the environment has the variable {sign}"), "GitLab")
            }
            Some(sign) => is_refused(run, sign, "GitLab"),
            None => drop(run().dry().run().expect_code(0)),
        }
        let audit = with(Regsweep::new().arg("audit").arg(&config).json(), variables).run();
        assert_eq!(audit.finding_codes().contains(&"gitlab-database".to_owned()), sign.is_some(), "{more} {variables:?}");
        assert!(!audit.stderr.contains("no setting of the registry is behind REGISTRY_DATABASE"), "{}", audit.stderr);
    }
}

#[test]
fn a3_the_file_of_gitlabs_registry_decides_where_its_database_is_only_preferred() {
    let store = Store::new();
    store.lockfile("filesystem-in-use");
    for (more, goes_on) in [("database: {enabled: prefer}\n", true), ("gc: {}\n", true), ("database: {enabled: true}\n", false)] {
        let config = store.config("", more);
        Regsweep::gc_config(&config).dry().run().expect_code(if goes_on { 0 } else { 2 });
    }
    store.lockfile("database-in-use");
    let config = store.config("", "");
    is_refused(|| Regsweep::gc_config(&config), "docker/registry/lockfiles/database-in-use", "GitLab");
}

#[test]
fn a3_the_variable_counts_without_a_configuration() {
    let store = Store::new();
    let root = store.directory.path();
    is_refused(
        || Regsweep::gc(root).env("REGISTRY_DATABASE_ENABLED", "true"),
        "the environment has the variable REGISTRY_DATABASE_ENABLED",
        "GitLab",
    );
    Regsweep::gc(root).env("REGISTRY_DATABASE_ENABLED", "false").dry().run().expect_code(0);
}

/// What waits in quarantine is as much theirs.
#[test]
fn a_purge_is_stopped_like_a_collection() {
    let store = Store::new();
    Regsweep::gc(store.directory.path()).any_age().arg("--quarantine").run().expect_code(0);
    let quarantine = || snapshot(&store.directory.path().join(".regsweep/quarantine"));
    let before = quarantine();
    let purge = || Regsweep::new().args(["quarantine", "purge", "--root"]).arg(store.directory.path());
    store.lockfile("database-in-use");
    let refused = purge().run().expect_code(2);
    assert!(refused.stderr.contains("--allow-foreign-owner"), "{}", refused.stderr);
    std::fs::remove_dir_all(store.directory.path().join("docker/registry/lockfiles")).expect("removed");
    let blobs = store.directory.path().join("docker/registry/v2/blobs");
    let elsewhere = store.directory.path().join("elsewhere");
    std::fs::rename(&blobs, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &blobs).expect("made");
    let refused = purge().run().expect_code(2);
    assert!(refused.stderr.contains("--allow-shared-blobs"), "{}", refused.stderr);
    assert_eq!(quarantine(), before);
    let purged = purge().arg("--allow-shared-blobs").run().expect_code(0);
    assert!(purged.stdout.contains("purged"), "{}", purged.stdout);
}

#[test]
fn a3_openshift_keeps_its_tags_elsewhere() {
    let store = Store::new();
    for (more, variables, sign) in [
        ("openshift: {version: 1.0}\n", &[][..], "the section openshift"),
        ("auth: openshift\n", &[], "auth: openshift"),
        ("auth: {openshift: {realm: openshift}}\n", &[], "auth: openshift"),
        ("middleware: {registry: [{name: openshift}]}\n", &[], "middleware.registry"),
        ("", &[("REGISTRY_OPENSHIFT_SERVER_ADDR", "x:5000")], "REGISTRY_OPENSHIFT_SERVER_ADDR"),
        ("", &[("REGISTRY_AUTH", "openshift")], "auth: openshift"),
    ] {
        let config = store.config("", more);
        is_refused(|| with(Regsweep::gc_config(&config), variables).delete_untagged(), sign, "OpenShift");
        with(Regsweep::gc_config(&config), variables).dry().run().expect_code(0);
    }
}

/// Where no configuration is named, the registry's variables may be there all the same.
#[test]
fn a3_the_variables_of_every_owner_count_without_a_configuration() {
    let store = Store::new();
    let root = store.directory.path();
    for (name, value, owner) in [
        ("REGISTRY_AUTH", "openshift", "OpenShift"),
        ("REGISTRY_AUTH_OPENSHIFT_REALM", "openshift", "OpenShift"),
        ("REGISTRY_MIDDLEWARE_REPOSITORY_OPENSHIFT_ENFORCEQUOTA", "false", "OpenShift"),
        ("REGISTRY_OPENSHIFT_SERVER_ADDR", "x:5000", "OpenShift"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "harbor-registry-basic-realm", "Harbor"),
        ("REGISTRY_AUTH_TOKEN_ISSUER", "omnibus-gitlab-issuer", "GitLab"),
        ("REGISTRY_AUTH_TOKEN_REALM", "https://gitlab.example/jwt/auth", "GitLab"),
    ] {
        let config = store.config("", "");
        is_refused(|| Regsweep::gc(root).env(name, value).delete_untagged(), name, owner);
        is_refused(|| Regsweep::gc_config(&config).env(name, value).delete_untagged(), name, owner);
        let is_gitlabs = owner == "GitLab";
        Regsweep::gc(root).env(name, value).dry().run().expect_code(if is_gitlabs { 2 } else { 0 });
        let audit = Regsweep::audit(root).env(name, value).json().run();
        let found = audit.finding_codes();
        assert_eq!(found.contains(&"gitlab-database".to_owned()), is_gitlabs, "{name}: {found:?}");
        assert_eq!(found.contains(&"harbor-database".to_owned()), owner == "Harbor", "{name}: {found:?}");
    }
    for (name, value) in [("REGISTRY_AUTH_OPENSHIFT_PORT", "tcp://10.0.0.1:80"), ("REGISTRY_AUTH", "{htpasswd: {realm: x}}")] {
        Regsweep::gc(root).env(name, value).delete_untagged().dry().run().expect_code(0);
    }
}

#[test]
fn a11_blobs_that_another_store_may_have_stop_the_run() {
    let (ours, theirs) = (Store::new(), Store::new());
    let blobs = |store: &Store| store.directory.path().join("docker/registry/v2/blobs");
    let needed = snapshot(&blobs(&theirs));
    std::fs::remove_dir_all(blobs(&ours)).expect("removed");
    std::os::unix::fs::symlink(blobs(&theirs), blobs(&ours)).expect("made");
    let run = || Regsweep::gc(ours.directory.path()).any_age();
    let refused = run().run().expect_code(2);
    for said in ["is a symbolic link to", "another store may need what is in it", "--allow-shared-blobs"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    assert_eq!(snapshot(&blobs(&theirs)), needed, "nothing was touched");
    let dry = run().dry().run().expect_code(2);
    assert!(dry.stdout.contains("a real run would stop") && dry.stdout.contains("is a symbolic link to"), "{}", dry.stdout);
    assert!(!dry.rows().is_empty(), "all the same it says what would go");
    std::fs::remove_file(blobs(&ours)).expect("removed");
    std::fs::create_dir(blobs(&ours)).expect("made");
    if rustix::process::geteuid().is_root() {
        let mount = format!("mount --bind '{}' '{}' && exec \"$0\" \"$@\"", blobs(&theirs).display(), blobs(&ours).display());
        let refused = run().under(["unshare", "-m", "sh", "-ec", &mount]).run().expect_code(2);
        assert!(refused.stderr.contains("what is mounted at"), "{}", refused.stderr);
        // And the other side of the same mount, seen from where it is mounted and from elsewhere.
        let other = || Regsweep::gc(theirs.directory.path()).any_age();
        let refused = other().under(["unshare", "-m", "sh", "-ec", &mount]).run().expect_code(2);
        assert!(refused.stderr.contains("is mounted at") && refused.stderr.contains("as well"), "{}", refused.stderr);
        let held =
            format!("mount --bind '{}' '{}' && echo ready && exec sleep 60", blobs(&theirs).display(), blobs(&ours).display());
        let mut holder = std::process::Command::new("unshare")
            .args(["-m", "sh", "-c", &held])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("starts");
        let mut ready = [0; 5];
        std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut ready).expect("it says so");
        let refused = other().run();
        holder.kill().expect("it runs");
        holder.wait().expect("it ends");
        let refused = refused.expect_code(2);
        assert!(refused.stderr.contains("as well") && refused.stderr.contains("--allow-shared-blobs"), "{}", refused.stderr);
        assert_eq!(snapshot(&blobs(&theirs)), needed, "nothing was touched");
    }
    std::fs::remove_dir(blobs(&ours)).expect("removed");
    std::os::unix::fs::symlink(blobs(&theirs), blobs(&ours)).expect("made");
    run().arg("--allow-shared-blobs").run().expect_code(0);
}

/// The links of another store, beside blobs of our own: what these lack goes from that store.
#[test]
fn a11_links_that_another_store_may_have_stop_the_run() {
    let (ours, theirs) = (Store::new(), Store::new());
    let repositories = |store: &Store| store.directory.path().join("docker/registry/v2/repositories");
    let needed = snapshot(&repositories(&theirs));
    std::fs::remove_dir_all(repositories(&ours)).expect("removed");
    std::os::unix::fs::symlink(repositories(&theirs), repositories(&ours)).expect("made");
    let run = || Regsweep::gc(ours.directory.path()).any_age();
    for flags in [&[][..], &["-m"], &["--quarantine"]] {
        let refused = run().args(flags).run().expect_code(2);
        for said in ["repositories is a symbolic link to", "another store may need what is in it", "--allow-shared-blobs"] {
            assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
        }
    }
    std::fs::remove_file(repositories(&ours)).expect("removed");
    std::fs::create_dir(repositories(&ours)).expect("made");
    if rustix::process::geteuid().is_root() {
        let (there, here) = (repositories(&theirs), repositories(&ours));
        let mount = format!("mount --bind '{}' '{}' && exec \"$0\" \"$@\"", there.display(), here.display());
        let refused = run().under(["unshare", "-m", "sh", "-ec", &mount]).run().expect_code(2);
        assert!(refused.stderr.contains("repositories is"), "{}", refused.stderr);
    }
    assert_eq!(snapshot(&repositories(&theirs)), needed, "nothing was touched");
}

/// One store under two roots has two locks, two quarantines and two records: neither run knows what the other has quarantined.
#[test]
fn a11_a_store_under_two_roots_stops_the_run() {
    for place in ["docker", "docker/registry", "docker/registry/v2"] {
        let theirs = Store::new();
        let ours = tempfile::tempdir().expect("a directory");
        let (there, here) = (theirs.directory.path().join(place), ours.path().join(place));
        std::fs::create_dir_all(here.parent().expect("below the root")).expect("made");
        std::os::unix::fs::symlink(&there, &here).expect("made");
        let run = |flags: &[&str]| Regsweep::gc(ours.path()).any_age().args(flags);
        for flags in [&[][..], &["--quarantine"], &["--dry-run"]] {
            let refused = run(flags).run().expect_code(2);
            assert!(refused.stderr.contains("is a symbolic link to"), "{place}: {}", refused.stderr);
            assert!(refused.stderr.contains("--allow-shared-blobs"), "{}", refused.stderr);
        }
        run(&["--dry-run", "--allow-shared-blobs"]).run().expect_code(0);
        if rustix::process::geteuid().is_root() {
            std::fs::remove_file(&here).expect("removed");
            std::fs::create_dir(&here).expect("made");
            let mount = format!("mount --bind '{}' '{}' && exec \"$0\" \"$@\"", there.display(), here.display());
            let refused = run(&[]).under(["unshare", "-m", "sh", "-ec", &mount]).run().expect_code(2);
            assert!(refused.stderr.contains("as well"), "{place}: {}", refused.stderr);
            // By what is mounted, as a root of its own.
            let inner = Regsweep::gc(&here).any_age();
            let refused = inner.under(["unshare", "-m", "sh", "-ec", &mount]).run().expect_code(2);
            assert!(refused.stderr.contains("as well"), "{place}: {}", refused.stderr);
        }
    }
}
