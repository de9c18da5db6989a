//! Configurations as their packages bring them, unchanged, where they have their places: Debian's, and that of the images with the variables that
//! most set-ups add. In a mount namespace made by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::http::Client;
use crate::support::server::registry_command;
use crate::support::*;

/// What `registry:2` and `registry:3` have in their images.
const IMAGES: &str = "version: 0.1\nlog:\n  fields:\n    service: registry\nstorage:\n  cache:\n    blobdescriptor: inmemory\n  \
                      filesystem:\n    rootdirectory: /var/lib/registry\nhttp:\n  addr: :5000\n  headers:\n    \
                      X-Content-Type-Options: [nosniff]\nhealth:\n  storagedriver:\n    enabled: true\n    interval: 10s\n    threshold: 3\n";

/// A namespace in which a script was run. It ends with the value, and so does the registry in it.
struct Namespace {
    holder: Child,
    registry: Option<Child>,
    variables: Vec<(String, String)>,
}

impl Namespace {
    /// Nothing where none can be made, or the script fails.
    fn make(kinds: &[&str], script: &str, words: &[&Path]) -> Option<Namespace> {
        let script = format!("mount --make-rprivate / && {script} && echo made && exec sleep 600");
        let holder =
            Command::new("unshare").args(kinds).args(["sh", "-c", &script, "sh"]).args(words).stdout(Stdio::piped()).spawn();
        let mut holder = holder.ok()?;
        let mut said = [0; 5];
        let made = std::io::Read::read_exact(holder.stdout.as_mut().expect("piped"), &mut said);
        let namespace = Namespace { holder, registry: None, variables: Vec::new() };
        if made.is_err() {
            skipped("no such namespace can be made here");
            return None;
        }
        Some(namespace)
    }

    fn enter(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        ["nsenter", "--target", &holder, "--mount", "--net"].map(str::to_owned).to_vec()
    }

    /// Starts the registry in it, anew if it runs, and waits until a script that asks it succeeds.
    fn restart(&mut self, config: &str, asks: &str) {
        self.stop();
        let words = self.enter();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(registry_command().get_program()).args(["serve", config]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.registry = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"));
        for _ in 0..500 {
            let asked = Command::new(&words[0]).args(&words[1..]).args(["bash", "-c", asks]).stderr(Stdio::null()).status();
            if asked.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the registry does not answer");
    }

    fn stop(&mut self) {
        if let Some(mut registry) = self.registry.take() {
            let _ = registry.kill();
            let _ = registry.wait();
        }
    }

    /// A night as it is advised.
    fn night(&self, config: &str) -> Outcome {
        let run = Regsweep::gc_config(Path::new(config)).args(["--online", "-m", "--rescue-for", "0s", "--quarantine-for", "0s"]);
        let run = self.variables.iter().fold(run, |run, (name, value)| run.env(name, value));
        run.env("REGSWEEP_TEST_CLOCK", "trusted=yes,request=0").under(self.enter()).run().expect_code(0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.stop();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn held(root: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(root.join(".regsweep/quarantine")).into_iter().flatten();
    all.map(walkdir::DirEntry::into_path).filter(|path| path.ends_with("data")).collect()
}

/// Every push gets 401, because the path of its passwords is a directory: what is in such a store came by another way. A night
/// frees room all the same.
#[test]
fn debians_own_configuration_is_collected_by() {
    const CONFIG: &str = "/etc/docker/registry/config.yml";
    if !fs::read_to_string(CONFIG).is_ok_and(|text| text.contains("rootdirectory: /var/lib/docker-registry")) {
        return skipped("Debian's configuration is not here as it comes");
    }
    let store = registry().repo("a").image("stays", &[layer(1)]).tag("v1").stray_blob(&layer(3)).on_disk();
    let script = "mount --bind \"$1\" /var/lib/docker-registry && ip link set lo up";
    let Some(mut namespace) = Namespace::make(&["--mount", "--net"], script, &[store.path()]) else { return };
    let asks = "exec 3<>/dev/tcp/127.0.0.1/5000 && printf 'GET /v2/ HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q 401";
    namespace.restart(CONFIG, asks);
    let first = namespace.night(CONFIG);
    assert_eq!(first.rows_of("blob").len(), 1, "{}", first.stdout);
    assert_eq!(held(store.path()).len(), 1);
    assert!(first.stdout.contains("inmemory"), "it is said what the restart is for: {}", first.stdout);
    namespace.night(CONFIG);
    assert_eq!(held(store.path()).len(), 1, "it may be remembered");
    std::thread::sleep(Duration::from_millis(200));
    namespace.restart(CONFIG, asks);
    namespace.night(CONFIG);
    assert!(held(store.path()).is_empty());
    let audit = Regsweep::audit(store.path()).run();
    audit.expect_code(0);
}

/// The files of the images, with the root, the port and deletions as variables, which both programs are given.
#[test]
fn the_configurations_of_both_images_are_collected_by_with_variables() {
    let directory = tempfile::tempdir().expect("a directory");
    for (number, config) in ["/etc/docker/registry/config.yml", "/etc/distribution/config.yml"].into_iter().enumerate() {
        let parts = ["upper", "work", "data"].map(|part| directory.path().join(number.to_string()).join(part));
        let [upper, work, data] = &parts;
        parts.iter().for_each(|part| fs::create_dir_all(part).expect("made"));
        let place = upper.join(config.trim_start_matches("/etc/"));
        fs::create_dir_all(place.parent().expect("a directory")).expect("made");
        fs::write(&place, IMAGES).expect("written");
        let script = "mount -t overlay -o lowerdir=/etc,upperdir=\"$1\",workdir=\"$2\" overlay /etc";
        let Some(mut namespace) = Namespace::make(&["--mount"], script, &[upper, work]) else { return };
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let variables = [
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", data.display().to_string()),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true".to_owned()),
            ("REGISTRY_HTTP_ADDR", address.clone()),
        ];
        namespace.variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let asks = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        namespace.restart(config, &asks);
        let client = Client::new(&address);
        let (stays, goes) = (oci_image("stays", &[layer(1)]), oci_image("goes", &[layer(2)]));
        client.push_tag("a", "v1", &stays);
        client.push_tag("a", "v2", &goes);
        client.delete_manifest("a", goes.digest());
        age(data);
        let first = namespace.night(config);
        assert_eq!(held(data).len(), goes.reaches().len(), "{config}: {}", first.stdout);
        std::thread::sleep(Duration::from_millis(200));
        namespace.restart(config, &asks);
        namespace.night(config);
        assert!(held(data).is_empty(), "{config}");
        client.pull("a", "v1").expect("it stays");
        client.push_tag("a", "v2", &goes);
        client.pull("a", "v2").expect("pushed again");
    }
}
