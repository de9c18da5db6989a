//! What people install: what the program writes about itself, the files in `packaging/`, and, in [`artefacts`], what comes of them.

mod artefacts;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use regsweep::cli::Cli;
use serde::Deserialize as _;
use serde_json::Value;

use crate::fixtures::fixture;
use crate::support::*;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    fs::read_to_string(project().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a program of the system and gives what it printed; nothing where there is no such program.
fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) => {
            skipped(&format!("{program}: {error}"));
            None
        }
    }
}

/// Every command, by the words that lead to it.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let mut all = vec![(vec!["regsweep".to_owned()], Cli::command())];
    let mut next = 0;
    while next < all.len() {
        let (words, command) = all[next].clone();
        all.extend(command.get_subcommands().map(|below| ([&words[..], &[below.get_name().to_owned()]].concat(), below.clone())));
        next += 1;
    }
    all
}

#[test]
fn the_version_says_what_a_build_is() {
    let long = Regsweep::new().arg("--version").run().expect_code(0);
    let lines: Vec<&str> = long.stdout.lines().collect();
    let [version, target, features] = &lines[..] else { panic!("{}", long.stdout) };
    assert_eq!(*version, concat!("regsweep ", env!("CARGO_PKG_VERSION")));
    let target = target.strip_prefix("target: ").expect("a target");
    assert!(target.starts_with(std::env::consts::ARCH) && target.contains("linux"), "{target}");
    assert_eq!(features.contains("debug"), cfg!(debug_assertions), "{features}");
    let short = Regsweep::new().arg("-V").run().expect_code(0);
    assert_eq!(short.stdout.trim_end(), *version);
}

#[test]
fn gc_is_short_for_garbage_collect() {
    let (_, root) = fixture("team");
    let report = |word: &str| {
        let run = Regsweep::new().args([word, "--dry-run", "--ignore-birth-time", "--json", "-m", "--root"]).arg(root.path());
        let mut report = run.run().expect_code(0).report();
        for moving in ["started", "elapsed_seconds", "free_disk_bytes"] {
            report[moving] = Value::Null;
        }
        report
    };
    assert_eq!(report("gc"), report("garbage-collect"));
    assert!(Regsweep::new().arg("--help").run().stdout.contains("[alias: gc]"));
}

/// A chart names the registry's own program. It is regsweep in our image.
#[test]
fn it_answers_to_the_registrys_name() {
    let (story, root) = fixture("team");
    let directory = tempfile::tempdir().expect("a directory");
    let (program, config) = (directory.path().join("registry"), directory.path().join("config.yml"));
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_regsweep"), &program).expect("linked");
    let configuration = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /elsewhere\nhttp: {addr: \"127.0.0.1:1\"}\n";
    fs::write(&config, configuration).expect("written");
    // A chart mounts the volume where it likes, and says so by the variable.
    let registry = |flags: &[&str], variables: &[(&str, &str)]| {
        let run = Regsweep::new().program(&program).arg("garbage-collect").args(flags).arg(&config);
        let run = run.env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root.path());
        variables.iter().fold(run, |run, (name, value)| run.env(name, value)).run()
    };
    let (goes, bytes) = story.goes("delete-untagged");
    for flags in [&["--dry-run", "--delete-untagged"][..], &["--dry-run=true", "--delete-untagged=true"], &["-d", "-m"]] {
        let dry = registry(&[flags, &["--json"]].concat(), &[]).expect_code(0).report();
        assert_eq!(
            (&dry["reclaimable"]["blobs"], &dry["reclaimable"]["bytes"]),
            (&goes.len().into(), &bytes.into()),
            "{flags:?}"
        );
    }
    // Beside a registry that takes pushes it stops, unless a variable says how to go on.
    let answer =
        "HTTP/1.1 200 OK\r\nAllow: GET,HEAD,POST\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\n\r\n";
    let address = format!("http://{}", crate::writers::server(Some(answer)));
    let stopped = registry(&["--delete-untagged"], &[("REGSWEEP_REGISTRY", &address)]).expect_code(2);
    assert!(stopped.stderr.contains(&address), "{}", stopped.stderr);
    let unclear = registry(&["--delete-untagged"], &[("REGSWEEP_ONLINE", "perhaps")]).expect_code(2);
    assert!(unclear.stderr.contains("REGSWEEP_ONLINE") && unclear.stderr.contains("true or false"), "{}", unclear.stderr);
    let beside = registry(
        &["--delete-untagged", "--rescue-for=0s", "--json"][..1],
        &[("REGSWEEP_REGISTRY", &address), ("REGSWEEP_ASSUME_OFFLINE", "true")],
    );
    beside.expect_code(0);
    let gone: BTreeSet<String> = snapshot::blobs_on_disk(root.path()).into_keys().collect();
    assert!(gone.is_disjoint(&goes), "the same blobs go");
}

#[test]
fn a_chart_collects_beside_its_registry_by_a_variable() {
    let (story, root) = fixture("team");
    let config = tempfile::NamedTempFile::new().expect("a file");
    let configuration = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp: {{addr: \"127.0.0.1:1\"}}\n",
        root.path().display()
    );
    fs::write(config.path(), configuration).expect("written");
    let run = Regsweep::new().args(["garbage-collect", "-m", "--dry-run", "--json"]).arg(config.path());
    let report = run.env("REGSWEEP_ONLINE", "true").run().expect_code(0).report();
    assert_eq!(report["reclaimable"]["blobs"], story.goes("delete-untagged").0.len());
    // Without the registry's configuration that is refused.
    let refused = Regsweep::new().args(["garbage-collect", "-m", "--root"]).arg(root.path()).env("REGSWEEP_ONLINE", "true");
    assert!(refused.run().expect_code(2).stderr.contains("REGSWEEP_ONLINE"));
}

#[test]
fn shells_complete_what_there_is() {
    let directory = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Regsweep::new().args(["completions", shell]).run().expect_code(0).stdout;
        for (words, command) in commands() {
            assert!(script.contains(words.last().expect("a name")), "{shell}: {words:?}");
            for long in command.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(script.contains(long), "{shell}: {words:?} --{long}");
            }
        }
        let file = directory.path().join(shell);
        fs::write(&file, script).expect("written");
        if ["bash", "zsh", "fish"].contains(&shell) {
            tool(shell, &["-n", file.to_str().expect("UTF-8")]);
        }
    }
    // What a shell makes of it, where there is one.
    let bash = |words: &str, at: usize| {
        let ask = format!(
            "source {}/bash; COMP_WORDS=({words}); COMP_CWORD={at}; _regsweep regsweep \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{}]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            directory.path().display(),
            at - 1
        );
        tool("bash", &["-c", &ask]).unwrap_or_default()
    };
    assert_eq!(bash("regsweep garb", 1).trim(), "garbage-collect");
    assert_eq!(bash("regsweep gc --dry", 2).trim(), "--dry-run");
    assert_eq!(bash("regsweep quarantine pu", 2).trim(), "purge");
    let ask = format!("source {}/fish; complete --do-complete 'regsweep gc --dry'", directory.path().display());
    assert!(tool("fish", &["-c", &ask]).is_none_or(|said| said.starts_with("--dry-run")));
    let wrong = Regsweep::new().args(["completions", "tcsh"]).run().expect_code(2);
    assert!(wrong.stderr.contains("fish"), "{}", wrong.stderr);
}

#[test]
fn each_command_has_a_manual_page() {
    let outer = tempfile::tempdir().expect("a directory");
    let directory = outer.path().join("share/man/man1");
    let write = || Regsweep::new().arg("man").arg(&directory).run().expect_code(0);
    assert!(write().stdout.is_empty());
    let first = snapshot(&directory);
    write();
    assert!(first.keys().eq(snapshot(&directory).keys()), "written again");
    let mut expected = BTreeSet::new();
    for (words, command) in commands() {
        let name = format!("{}.1", words.join("-"));
        let page = fs::read_to_string(directory.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        for section in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(section), "{name} has no {section}");
        }
        for long in command.get_arguments().filter_map(|argument| argument.get_long()) {
            assert!(page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))), "{name}: --{long}");
        }
        assert!(!page.contains("target:"), "the same on all machines");
        // Warnings are not errors; what cannot be rendered is.
        if let Some(shown) = tool("man", &["--warnings", "-l", directory.join(&name).to_str().expect("UTF-8")]) {
            assert!(shown.contains("SYNOPSIS"), "{shown}");
        }
        expected.insert(name);
    }
    let written = fs::read_dir(&directory).expect("made").map(|entry| entry.expect("listable").file_name().into_string());
    assert_eq!(written.collect::<Result<BTreeSet<_>, _>>().expect("UTF-8"), expected);

    let file = outer.path().join("file");
    fs::write(&file, "x").expect("written");
    let refused = Regsweep::new().arg("man").arg(file.join("man1")).run().expect_code(2);
    assert!(refused.stderr.contains(file.to_str().expect("UTF-8")), "{}", refused.stderr);
}

#[test]
fn what_is_printed_to_nobody_is_no_panic() {
    let mut full = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    full.args(["completions", "bash"]).stdout(fs::File::create("/dev/full").expect("there"));
    let output = full.output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"), "{output:?}");
    assert_eq!(output.status.code(), Some(2));
}

/// The instructions of a Dockerfile, with continued lines in one.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines = text.replace("\\\n", " ");
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.trim().to_owned())).expect("words")).collect()
}

#[test]
fn the_dockerfile_makes_the_image_that_the_script_makes() {
    const KNOWN: [&str; 10] = ["FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD", "LABEL", "ARG"];
    let (dockerfile, script) = (text("packaging/Dockerfile"), text("packaging/image"));
    let instructions = instructions(&dockerfile);
    assert!(instructions.iter().all(|(word, _)| KNOWN.contains(&word.as_str())), "{instructions:?}");
    let last = instructions.iter().rposition(|(word, _)| word == "FROM").expect("a stage");
    assert_eq!(instructions[last].1, "scratch");
    let of = |word: &str| instructions[last..].iter().find(|(name, _)| name == word).map(|(_, rest)| rest.as_str());
    let list = |word: &str| serde_json::from_str::<Value>(of(word).expect(word)).expect("a list");
    assert_eq!(list("ENTRYPOINT"), serde_json::json!(["regsweep"]));
    assert!(script.contains(&format!("\"Entrypoint\": {}", of("ENTRYPOINT").expect("one"))), "the script has it, too");
    assert!(script.contains(&format!("\"Cmd\": {}", of("CMD").expect("one"))));
    let user = of("USER").and_then(|user| user.split(':').next()).expect("a user");
    assert!(user != "0" && script.contains(&format!("USER = {user}")), "{user}");
    for label in of("LABEL").expect("labels").split("org.opencontainers.image.").skip(1) {
        let (name, value) = label.split_once('=').expect("a value");
        assert!(script.contains(&format!("\"{name}\": {}", value.trim())), "{label}");
    }
    assert!(dockerfile.contains("ln -s regsweep /out/bin/registry"));
    // What is not sent to the engine is not needed for a build.
    for left_out in text(".dockerignore").lines() {
        assert!(!["src", "Cargo.toml", "Cargo.lock", "build.rs", "benches", "tests", "README.md"].contains(&left_out));
    }
}

#[test]
fn scripts_can_be_read() {
    let mut found = 0;
    for entry in fs::read_dir(project().join("packaging")).expect("there") {
        let path = entry.expect("listable").path();
        let is_script = path.is_file() && fs::read(&path).expect("readable").starts_with(b"#!");
        if !is_script {
            continue;
        }
        let text = fs::read_to_string(&path).expect("UTF-8");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("there").permissions());
        assert!(mode & 0o111 == 0o111, "{} cannot be run", path.display());
        let path = path.to_str().expect("UTF-8");
        match text.lines().next() {
            Some("#!/usr/bin/env bash") => drop(tool("bash", &["-n", path])),
            Some("#!/usr/bin/env python3") => {
                drop(tool("python3", &["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", path]));
            }
            other => panic!("{path}: {other:?}"),
        }
        found += 1;
    }
    assert!(found >= 6, "{found}");
    for script in ["postinst", "postrm"] {
        let path = project().join("packaging/debian").join(script);
        tool("sh", &["-n", path.to_str().expect("UTF-8")]);
    }
}

/// Everything that a workflow runs: that there is such a script, and that no step comes from a place that changes.
#[test]
fn each_page_is_installed() {
    // As the script would copy them: README.md leads to both languages.
    let script = text("packaging/tree");
    let copied: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("install -m 0644 "))
        .flat_map(|line| line.split(' ').filter(|word| !word.starts_with('"')))
        .collect();
    for directory in ["", "docs", "docs/zh-CN"] {
        let listed = fs::read_dir(project().join(directory)).expect("listable").map(|entry| entry.expect("listable").file_name());
        for page in listed.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".md")) {
            let is_for_builders = page == "CONTRIBUTING.md";
            let (whole, all) = (Path::new(directory).join(&page), Path::new(directory).join("*.md"));
            let is_copied = copied.iter().any(|word| [whole.as_path(), all.as_path()].contains(&Path::new(word)));
            assert!(is_copied || is_for_builders, "{}: {copied:?}", whole.display());
        }
    }
    assert!(text("packaging/debian/control").contains("S3"), "what is collected");
}

#[test]
fn workflows_run_what_there_is() {
    for name in ["ci", "release"] {
        let name = format!(".github/workflows/{name}.yml");
        let workflow: Value = Value::deserialize(yaml_serde::Deserializer::from_str(&text(&name))).expect("YAML");
        let jobs = workflow["jobs"].as_object().expect("jobs");
        for (job, about) in jobs {
            assert!(about["runs-on"].is_string(), "{name} {job}");
            let needed = match &about["needs"] {
                Value::Null => Vec::new(),
                Value::String(one) => vec![one.as_str()],
                many => many.as_array().expect("a list").iter().map(|one| one.as_str().expect("a name")).collect(),
            };
            assert!(needed.iter().all(|needed| jobs.contains_key(*needed)), "{name} {job}: {needed:?}");
            for step in about["steps"].as_array().expect("steps") {
                let uses = step["uses"].as_str();
                assert!(uses.is_none_or(|uses| uses.contains("@v") && uses.starts_with("actions/")), "{name}: {uses:?}");
                let run = step["run"].as_str().unwrap_or_default();
                for script in run
                    .split_whitespace()
                    .filter(|word| ["packaging/", ".ci/", "tests/run"].iter().any(|of| word.starts_with(of)))
                {
                    assert!(project().join(script).is_file(), "{name}: {script}");
                }
                assert!(uses.is_some() || !run.is_empty(), "{name} {job}: {step}");
            }
        }
    }
}

#[test]
fn the_required_rust_is_the_one_that_is_checked() {
    let required = env!("CARGO_PKG_RUST_VERSION");
    assert!(text("packaging/msrv").contains("rust-version"), "it is read from Cargo.toml");
    assert!(text("docs/install.md").contains(&format!("Rust {required} ")), "docs/install.md");
}

/// Whoever copies a command line gets this version.
#[test]
fn artefacts_are_named_after_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let files = ["README.md", "docs/install.md", "contrib/README.md", "contrib/kubernetes/cronjob.yaml"];
    let mut found = 0;
    for name in files.into_iter().chain(["contrib/kubernetes/swapped-image.yaml", "contrib/helm/regsweep/values.yaml"]) {
        let text = text(name);
        for (at, named) in text.match_indices("regsweep").filter_map(|(at, word)| Some((at, text.get(at + word.len()..)?))) {
            let Some(number) = named.strip_prefix(['-', '_', ':']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            else {
                continue;
            };
            assert!(number.starts_with(version), "{name}: {}", &text[at..].lines().next().unwrap_or_default());
            found += 1;
        }
    }
    assert!(found >= 8, "{found}");
}

/// Where the artefacts lie, if there are any to try: `packaging/test` makes them and says so.
fn artefacts() -> Option<PathBuf> {
    let directory = std::env::var_os("REGSWEEP_ARTEFACTS").map(PathBuf::from);
    if directory.is_none() {
        skipped("packaging/test makes the artefacts and runs this");
    }
    directory
}
