//! What `packaging/` made, put where people put it and run there. `packaging/test` makes it and sets `REGSWEEP_ARTEFACTS`.
//!
//! Each place is a bare directory that a program is locked into with `chroot`: no library, no shell, no `/proc`, no `/dev`. What it does to
//! a fixture has to be what the fixture's story says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use walkdir::WalkDir;

use super::{artefacts, project};
use crate::fixtures::fixture;
use crate::support::*;

/// The store, in a bare root.
const STORE: &str = "/var/lib/registry";
/// The user of the image.
const USER: u32 = 65532;
/// Runs a program of that architecture on another one.
const QEMU: &str = "/usr/bin/qemu-aarch64-static";

/// The architectures whose programs were made.
fn architectures(artefacts: &Path) -> Vec<&'static str> {
    let made: Vec<_> = ["x86_64", "aarch64"].into_iter().filter(|name| artefacts.join(name).join("regsweep").exists()).collect();
    assert!(!made.is_empty(), "packaging/static has made nothing");
    made
}

fn is_foreign(architecture: &str) -> bool {
    architecture != std::env::consts::ARCH
}

fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A root directory with a store in it.
struct Bare {
    root: PathBuf,
    user: u32,
    emulator: Option<&'static str>,
    _directory: Option<TempDir>,
}

impl Bare {
    fn new() -> Bare {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        Bare { root: directory.path().to_owned(), user: 0, emulator: None, _directory: Some(directory) }
    }

    /// Nothing if there is nothing to emulate it with.
    fn of(mut self, architecture: &str) -> Option<Bare> {
        if is_foreign(architecture) {
            if architecture != "aarch64" || !Path::new(QEMU).exists() {
                skipped(&format!("nothing runs programs for {architecture} here (qemu-user-static)"));
                return None;
            }
            fs::copy(QEMU, self.root.join("emulator")).expect("copied");
            self.emulator = Some("/emulator");
        }
        Some(self)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A fixture in the place of the store, and a configuration that names it.
    fn with_store(&self, name: &str, user: u32) {
        let store = self.at(STORE);
        let _is_first = fs::remove_dir_all(&store);
        fs::create_dir_all(&store).expect("made");
        succeeded(Command::new("tar").arg("-xf").arg(project().join(format!("fixtures/{name}.tar"))).arg("-C").arg(&store));
        for entry in WalkDir::new(&store) {
            chown(entry.expect("listable").path(), Some(user), Some(user)).expect("packaging/test runs as root");
        }
        fs::create_dir_all(self.at("/etc/docker/registry")).expect("made");
        let config =
            format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {STORE}}}}}\nhttp: {{addr: \"127.0.0.1:1\"}}\n");
        fs::write(self.at("/etc/docker/registry/config.yml"), config).expect("written");
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={0}:{0}", self.user)).arg(&self.root).args(self.emulator).args(words);
        command.env_clear().env("PATH", "/bin:/usr/bin:/usr/local/bin:/usr/sbin").output().expect("packaging/test runs as root")
    }

    #[track_caller]
    fn report(&self, words: &[&str], code: i32) -> Value {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }

    /// Looks at both fixtures and collects them, with what runs a `garbage-collect`.
    #[track_caller]
    fn collects(&self, collector: &[&str]) {
        for name in ["team", "legacy"] {
            for (mode, flags) in [("default", &[][..]), ("delete-untagged", &["--delete-untagged"])] {
                let (story, _) = fixture(name);
                let (goes, bytes) = story.goes(mode);
                self.with_store(name, self.user);
                let always =
                    ["garbage-collect", "--ignore-birth-time", "--allow-unlinked=100%", "--assume-offline", "--format=json"];
                let config = ["/etc/docker/registry/config.yml"];
                let words = [collector, &always, flags, &config].concat();
                let dry = self.report(&[&words[..], &["--dry-run"]].concat(), 0);
                assert_eq!(dry["reclaimable"]["blobs"], goes.len(), "{name} {mode}");
                assert_eq!(dry["reclaimable"]["bytes"], bytes, "{name} {mode}");
                let before = snapshot::blobs_on_disk(&self.at(STORE));
                assert_eq!(self.report(&words, 0)["reclaimed"]["bytes"], bytes, "{name} {mode}");
                let after = snapshot::blobs_on_disk(&self.at(STORE));
                assert!(before.into_keys().filter(|digest| !after.contains_key(digest)).eq(goes), "{name} {mode}");
                let verified = self.report(&[collector, &["verify", "--json", "--root", STORE]].concat(), 0);
                assert_eq!(verified["findings"], json!([]), "{name} {mode}");
            }
        }
    }
}

#[test]
fn the_static_program_runs_in_a_bare_root() {
    let Some(artefacts) = artefacts() else { return };
    for architecture in architectures(&artefacts) {
        let Some(bare) = Bare::new().of(architecture) else { continue };
        fs::copy(artefacts.join(architecture).join("regsweep"), bare.at("/regsweep")).expect("copied");
        let version = String::from_utf8(bare.run(&["/regsweep", "--version"]).stdout).expect("UTF-8");
        assert!(version.contains(&format!("{architecture}-unknown-linux-musl")) && version.contains("static"), "{version}");
        bare.collects(&["/regsweep"]);
        // Not where it is, but nothing else either: a program of the system does not run there.
        assert!(!bare.at("/lib").exists() && !bare.at("/lib64").exists() && !bare.at("/proc").exists());
        // What it looks for and does not find is said, in this place as in others.
        let refused = bare.report(&["/regsweep", "audit", "--json", "--root", "/nowhere"], 2);
        assert_eq!(refused["error"]["code"], "not-found");
        println!("run: the static program for {architecture}");
    }
}

fn skopeo(words: &[&str]) {
    let memory = tempfile::tempdir().expect("a directory");
    succeeded(
        Command::new("skopeo")
            .arg("--insecure-policy")
            .args(words)
            .env("XDG_DATA_HOME", memory.path())
            .env("HOME", memory.path()),
    );
}

fn parsed(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

/// What a descriptor leads to, in an OCI layout.
fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().expect("a digest");
    let path = layout.join("blobs").join(digest.replace(':', "/"));
    let bytes = fs::read(&path).expect("stored");
    assert_eq!((digest, descriptor["size"].as_u64()), (&*sha256(&bytes), Some(bytes.len() as u64)));
    path
}

#[test]
fn the_image_is_pushed_pulled_and_run() {
    let Some(artefacts) = artefacts() else { return };
    let layout = artefacts.join("image");
    if !layout.exists() {
        return skipped("no image was made");
    }
    let version = env!("CARGO_PKG_VERSION");
    let registry = server::RealRegistry::start();
    let name = format!("docker://{}/tools/regsweep:{version}", registry.address());
    skopeo(&["copy", "-q", "--all", "--dest-tls-verify=false", &format!("oci:{}:{version}", layout.display()), &name]);
    let pulled = tempfile::tempdir().expect("a directory");
    let pulled = pulled.path();
    skopeo(&["copy", "-q", "--all", "--src-tls-verify=false", &name, &format!("oci:{}:pulled", pulled.display())]);

    let index = parsed(&blob(pulled, &parsed(&pulled.join("index.json"))["manifests"][0]));
    let images = index["manifests"].as_array().expect("images");
    assert_eq!(images.len(), architectures(&artefacts).len());
    let names = BTreeMap::from([("amd64", "x86_64"), ("arm64", "aarch64")]);
    for image in images {
        let architecture = names[image["platform"]["architecture"].as_str().expect("one")];
        let manifest = parsed(&blob(pulled, image));
        let configuration = parsed(&blob(pulled, &manifest["config"]));
        assert_eq!(configuration["architecture"], image["platform"]["architecture"]);
        let config = &configuration["config"];
        assert_eq!((&config["Entrypoint"], &config["User"]), (&json!(["regsweep"]), &format!("{USER}:{USER}").into()));
        for (label, text) in [("title", "regsweep"), ("version", version), ("licenses", "Apache-2.0 OR MIT")] {
            assert_eq!(config["Labels"][format!("org.opencontainers.image.{label}")], text);
        }
        let Some(mut bare) = Bare::new().of(architecture) else { continue };
        for layer in manifest["layers"].as_array().expect("layers") {
            succeeded(Command::new("tar").arg("-xzpf").arg(blob(pulled, layer)).arg("-C").arg(&bare.root));
        }
        // As the image says: by its entry point, as its user, on a volume that is this user's.
        bare.user = USER;
        let entry = format!("/bin/{}", config["Entrypoint"][0].as_str().expect("a name"));
        bare.collects(&[&entry]);
        // As a chart has it that knows the registry's own program.
        bare.with_store("team", USER);
        let (story, _) = fixture("team");
        let chart = ["/bin/registry", "garbage-collect", "--dry-run", "--delete-untagged=true", "--ignore-birth-time", "--json"];
        let dry = bare.report(&[&chart[..], &["/etc/docker/registry/config.yml"]].concat(), 0);
        assert_eq!(dry["reclaimable"]["bytes"], story.goes("delete-untagged").1);
        // On a volume that is root's it may look, and says as whom to change anything.
        bare.with_store("team", 0);
        let words = [&entry, "garbage-collect", "--ignore-birth-time", "--assume-offline", "--json", "--root", STORE];
        bare.report(&[&words[..], &["--dry-run"]].concat(), 0);
        let refused = bare.report(&words, 2);
        assert_eq!(refused["error"]["code"], "permission-denied");
        assert!(refused["error"]["message"].as_str().expect("text").contains("run as root"), "{refused}");
        println!("run: the image for {architecture}");
    }
}

/// The one file of the artefacts that ends so.
fn made(artefacts: &Path, end: &str) -> Option<PathBuf> {
    let name = format!("regsweep{}{end}", if end.ends_with(".deb") { "_" } else { "-" }.to_owned() + env!("CARGO_PKG_VERSION"));
    let path = artefacts.join(name);
    if !path.exists() {
        skipped(&format!("there is no {}", path.display()));
    }
    path.exists().then_some(path)
}

/// What both the archive and the package bring, below a prefix.
fn is_all_there(prefix: &Path) {
    for name in ["bin/regsweep", "share/bash-completion/completions/regsweep", "share/fish/vendor_completions.d/regsweep.fish"] {
        assert!(prefix.join(name).is_file(), "{name}");
    }
    for page in ["regsweep.1.gz", "regsweep-garbage-collect.1.gz", "regsweep-quarantine-list.1.gz"] {
        let page = succeeded(Command::new("gzip").arg("-dc").arg(prefix.join("share/man/man1").join(page)));
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    let documents = prefix.join("share/doc/regsweep");
    for name in ["README.md", "README.zh-CN.md", "docs/reference.md", "docs/full-disk.md", "docs/zh-CN/space.md"] {
        assert!(documents.join(name).is_file(), "{name}");
    }
    for entry in WalkDir::new(prefix) {
        let entry = entry.expect("listable");
        let mode = entry.metadata().expect("there").permissions().mode() & 0o7777;
        assert!(entry.path_is_symlink() || [0o755, 0o644].contains(&mode), "{}: {mode:o}", entry.path().display());
    }
}

#[test]
fn the_archive_is_unpacked_into_a_prefix() {
    let Some(artefacts) = artefacts() else { return };
    for architecture in architectures(&artefacts) {
        let Some(archive) = made(&artefacts, &format!("-{architecture}-linux.tar.gz")) else { continue };
        let Some(bare) = Bare::new().of(architecture) else { continue };
        let prefix = bare.at("/usr/local");
        fs::create_dir_all(&prefix).expect("made");
        succeeded(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&prefix).arg("--strip-components=1"));
        is_all_there(&prefix);
        assert!(prefix.join("share/zsh/site-functions/_regsweep").is_file());
        bare.collects(&["/usr/local/bin/regsweep"]);
        println!("run: the archive for {architecture}");
    }
}

#[test]
fn the_package_is_installed_and_removed() {
    let Some(artefacts) = artefacts() else { return };
    for (architecture, debian) in [("x86_64", "amd64"), ("aarch64", "arm64")] {
        let Some(package) = made(&artefacts, &format!("_{debian}.deb")) else { continue };
        let field = |name: &str| succeeded(Command::new("dpkg-deb").arg("-f").arg(&package).arg(name)).trim().to_owned();
        assert_eq!((field("Package").as_str(), field("Architecture").as_str()), ("regsweep", debian));
        assert_eq!((field("Version").as_str(), field("Depends").as_str()), (env!("CARGO_PKG_VERSION"), ""));
        let Some(bare) = Bare::new().of(architecture) else { continue };
        for directory in ["info", "updates", "triggers"] {
            fs::create_dir_all(bare.at("/var/lib/dpkg").join(directory)).expect("made");
        }
        fs::write(bare.at("/var/lib/dpkg/status"), "").expect("written");
        // Nothing of the machine that runs this is touched: not its database, and no script runs elsewhere.
        let dpkg = |words: &[&str]| {
            let mut command = Command::new("dpkg");
            let root = format!("--root={}", bare.root.display());
            command.args([&root, "--force-script-chrootless", "--force-architecture", "--log=/dev/null"]).args(words);
            succeeded(&mut command)
        };
        dpkg(&["-i", package.to_str().expect("UTF-8")]);
        assert!(dpkg(&["--verify", "regsweep"]).is_empty(), "as it was packed");
        is_all_there(&bare.at("/usr"));
        assert!(bare.at("/usr/share/zsh/vendor-completions/_regsweep").is_file());
        for name in [
            "copyright",
            "changelog.gz",
            "README.Debian",
            "examples/kubernetes/cronjob.yaml",
            "examples/helm/regsweep/Chart.yaml",
        ] {
            assert!(bare.at("/usr/share/doc/regsweep").join(name).is_file(), "{name}");
        }
        let unit = |name: &str| fs::read_to_string(bare.at("/usr/lib/systemd/system").join(name)).expect(name);
        let line = unit("regsweep.service").lines().find_map(|line| line.strip_prefix("ExecStart=").map(str::to_owned));
        let line = line.expect("a command");
        let program = line.split(' ').next().expect("a program");
        assert!(bare.at(program).is_file() && unit("regsweep.timer").contains("regsweep.service"), "{line}");
        bare.collects(&[program]);
        dpkg(&["--purge", "regsweep"]);
        let left = WalkDir::new(bare.at("/usr")).into_iter().filter_map(Result::ok).filter(|entry| entry.path().is_file());
        assert_eq!(left.count(), 0);
        println!("run: the package for {architecture}");
    }
}
