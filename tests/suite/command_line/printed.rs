//! Commands in messages can be run as printed, whatever the names in the store are.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::layout::{layer_link, tag_current};
use crate::support::*;

/// What a shell makes something of. The last one begins like an option.
const NAMES: [&str; 6] = ["$(touch pwned)", "a`touch pwned`b", "q'x; touch pwned", "a b", "\"; touch pwned; \"", "-rf"];

/// A repository of each name with the tags `v1`, whose layer link is lost, and one of the name itself, without `current`.
fn store() -> Tree {
    let mut tree = registry().into_tree();
    for name in NAMES {
        let image = oci_image(name, &[layer(1)]);
        tree.push(name, &image).tag(name, "v1", image.digest()).tag(name, name, image.digest());
        tree.remove(&layer_link(name, &layer(1).digest)).remove(&tag_current(name, name));
        tree.push(name, &oci_image(&format!("{name}, untagged"), &[layer(2)]));
    }
    tree
}

/// The commands in a text, without their backticks, of which names may have some, too.
fn printed(text: &str) -> Vec<String> {
    let begun = text.split("`regsweep ").skip(1);
    let ended = begun.filter_map(|rest| {
        let ends = rest.match_indices('`').map(|(place, _)| &rest[..place]);
        ends.into_iter().find(|command| shlex::split(command).is_some())
    });
    ended.map(|command| format!("regsweep {command}")).collect()
}

#[test]
fn printed_commands_are_safe_to_run_with_any_name() {
    let tree = store();
    let directory = tempfile::tempdir().expect("a directory");
    let stand_in = directory.path().join("regsweep");
    fs::write(&stand_in, "#!/bin/sh\nprintf '%s\\n' \"$@\" > words\n").expect("written");
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).expect("ours");
    let (mut ran, mut named) = (0, Vec::new());
    for name in NAMES {
        let root = tree.on_disk();
        let (tag, other, own) = (format!("{name}:v1"), format!("{name}:nosuch"), format!("{name}:{name}"));
        let digest = format!("{name}@sha256:{}", "0".repeat(64));
        for (command, flags) in
            [("list", &[][..]), ("explain", &[]), ("repair", &["--dry-run"]), ("remove", &["--dry-run"]), ("audit", &[])]
        {
            let references: &[&str] = if command == "audit" { &[] } else { &[name, &tag, &other, &own, &digest] };
            for reference in references.iter().map(Some).chain([None]) {
                let run = Regsweep::new().arg(command).args(flags).arg("--root").arg(root.path());
                let run = reference.into_iter().fold(run, |run, reference| run.args(["--", reference])).run();
                for line in printed(&format!("{}\n{}", run.stdout, run.stderr)) {
                    let words = by_a_shell(&line, directory.path());
                    assert_eq!(words.first().map(String::as_str), line.split(' ').nth(1), "{line}");
                    if let Some(place) = words.iter().position(|word| word == name || *word == own) {
                        named.push(line.clone());
                        // What it names is there, and the program takes the command.
                        let again = Regsweep::new().args(&words[..place]).args(&words[place..]).run();
                        assert!(matches!(again.code, Some(0 | 1)), "{line}: {}", again.stderr);
                    }
                    ran += 1;
                }
            }
        }
    }
    assert!(ran > 5 * NAMES.len() && named.len() >= 2 * NAMES.len(), "{ran} commands, {named:#?}");
}

/// Runs a command by a shell, and returns the words that the program got.
fn by_a_shell(line: &str, directory: &Path) -> Vec<String> {
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let status = Command::new("/bin/sh").args(["-c", line]).current_dir(directory).env("PATH", path).status().expect("a shell");
    assert!(status.success(), "{line}");
    assert!(!directory.join("pwned").exists(), "{line}");
    let words = fs::read_to_string(directory.join("words")).expect("written");
    words.lines().map(str::to_owned).collect()
}
