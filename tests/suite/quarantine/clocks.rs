//! Which clocks end a wait.

use super::refusing::{DAY, due};
use super::*;

/// Which clocks end a wait: the boot-time clock of the same boot; the wall clock only where something vouches for it.
#[test]
fn a_clock_that_nothing_vouches_for_ends_no_wait() {
    let purged = |root: &Path, clock: &str| {
        let run = Regsweep::gc(root).arg("--quarantine").env("REGSWEEP_TEST_CLOCK", clock);
        moved(&run.json().run().expect_code(0), "purged").blobs > 0
    };
    for (clock, is_purged) in [
        (format!("shift={DAY},trusted=no"), true),
        (format!("shift={DAY},trusted=yes"), true),
        ("shift=3600,trusted=yes".to_owned(), false),
        (format!("shift={DAY},boot=other,trusted=yes"), true),
        ("shift=3600,boot=other,trusted=yes".to_owned(), false),
        (format!("shift={DAY},boot=other,trusted=no"), false),
    ] {
        let root = due();
        assert_eq!(purged(root.path(), &clock), is_purged, "{clock}");
    }
    // The wait begins again at the first look of that boot, and ends.
    let root = due();
    let root = root.path();
    let first = list(root).runs[0].run.clone();
    let is_there = || list(root).runs.iter().any(|run| run.run == first);
    for (hours, is_purged) in [(25, false), (26, false), (48, false), (50, true)] {
        let clock = format!("shift={},boot=other,trusted=no", hours * 3600);
        purged(root, &clock);
        assert_eq!(!is_there(), is_purged, "{hours} h");
    }
    // Who names the run is told why it is not purged.
    let root = due();
    let run = list(root.path()).runs[0].run.clone();
    let purge = Regsweep::new().args(["quarantine", "purge", "--older-than", "24h", "--run", &run, "--root"]).arg(root.path());
    let refused = purge.env("REGSWEEP_TEST_CLOCK", format!("shift={DAY},boot=other,trusted=no")).run().expect_code(2);
    assert!(refused.stderr.contains("nothing tells how long"), "{}", refused.stderr);
}

/// A registry on another machine, whose clock is so many seconds ahead, and then a command beside it.
const ELSEWHERE: &str = r#"
import os, socket, subprocess, sys, time
SERVER = """
import http.server, sys, time
from email.utils import formatdate
class Registry(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.end_headers()
    def date_time_string(self, timestamp=None):
        return formatdate(time.time() + int(sys.argv[1]), usegmt=True)
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("", 5000), Registry).serve_forever()
"""
# In a network of its own: what answers at an address of this one is here, and has its clock.
server = subprocess.Popen(["unshare", "-n", sys.executable, "-c", SERVER, sys.argv[1]])
network = lambda pid: os.readlink(f"/proc/{pid}/ns/net")
while network(server.pid) == network("self"):
    time.sleep(0.01)
there = ["nsenter", "-n", "-t", str(server.pid)]
for words in [
    ["ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(server.pid)],
    ["ip", "address", "add", "198.51.100.2/24", "dev", "here"],
    ["ip", "link", "set", "here", "up"],
    there + ["ip", "address", "add", "198.51.100.1/24", "dev", "there"],
    there + ["ip", "link", "set", "there", "up"],
]:
    subprocess.run(words, check=True)
for _ in range(500):
    try:
        socket.create_connection(("198.51.100.1", 5000), 1).close()
        break
    except OSError:
        time.sleep(0.02)
code = subprocess.run(sys.argv[2:]).returncode
server.kill()
sys.exit(code)
"#;

/// A registry on another machine vouches for the wall clock where it agrees with it.
#[test]
fn a_registry_elsewhere_vouches_for_the_clock_that_it_agrees_with() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root makes a network of its own");
        return;
    }
    if std::process::Command::new("ip").arg("-V").output().is_err() {
        skipped("there is no `ip` to make a network with");
        return;
    }
    let beside = |ahead: u64, words: &[&str]| {
        let root = due();
        let config = tempfile::NamedTempFile::new().expect("a file");
        let storage = format!("storage: {{filesystem: {{rootdirectory: {}}}}}", root.path().display());
        fs::write(config.path(), format!("version: 0.1\n{storage}\nhttp: {{addr: '198.51.100.1:5000'}}\n")).expect("written");
        let first = list(root.path()).runs[0].run.clone();
        let ahead = ahead.to_string();
        let run = Regsweep::new().args(words).arg(config.path()).under(["unshare", "-n", "python3", "-c", ELSEWHERE, &ahead]);
        let ran = run.env("REGSWEEP_TEST_CLOCK", format!("shift={DAY},boot=other,trusted=no")).run();
        assert!(matches!(ran.code, Some(0)), "{words:?}: {}", ran.stderr);
        !list(root.path()).runs.iter().any(|run| run.run == first)
    };
    for words in [
        &["garbage-collect", "--online", "-m", "--rescue-for", "0s", "--allow-unlinked", "100%"][..],
        &["quarantine", "purge", "--older-than", "24h"],
    ] {
        assert!(beside(DAY, words), "{words:?}: it agrees");
        assert!(!beside(0, words), "{words:?}: it is a day behind");
    }
}
