//! The files in `contrib/`: whether they can be read, and whether the program understands each command line in them.

mod charts;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser as _;
use regsweep::cli::{self, Cli};
use serde::Deserialize as _;
use serde_json::Value;

use crate::support::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A unit file: section and key to the values given, in order.
fn unit(name: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut unit: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text(name).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => name.clone_into(&mut section),
            None => {
                let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: no key: {line}"));
                unit.entry((section.clone(), key.to_owned())).or_default().push(value.to_owned());
            }
        }
    }
    unit
}

fn value<'a>(unit: &'a BTreeMap<(String, String), Vec<String>>, section: &str, key: &str) -> &'a str {
    match unit.get(&(section.to_owned(), key.to_owned())).map(Vec::as_slice) {
        Some([value]) => value,
        other => panic!("{section} {key}: {other:?}"),
    }
}

/// Parses a command line as the program does. What it runs has to be `regsweep`.
#[track_caller]
fn parsed<'a>(words: impl IntoIterator<Item = &'a str>) -> cli::Command {
    let words: Vec<&str> = words.into_iter().collect();
    assert!(words[0] == "regsweep" || words[0].ends_with("/regsweep"), "{words:?}");
    Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}")).command
}

/// Whether words say that the registry was restarted, once a time is put in them, and not before.
#[track_caller]
fn says_restarted<'a>(words: impl IntoIterator<Item = &'a str>) {
    let words: Vec<&str> = words.into_iter().collect();
    assert!(Cli::try_parse_from(&words).is_err(), "a time that is written down in advance: {words:?}");
    let words: Vec<String> = words.iter().map(|word| word.replace("RESTART_BEGAN", "2026-11-24T02:30:00Z")).collect();
    match parsed(words.iter().map(String::as_str)) {
        cli::Command::Quarantine(cli::Quarantine::Restarted(arguments)) => assert!(arguments.since.is_some()),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn collects_online(command: cli::Command) -> cli::GarbageCollect {
    match command {
        cli::Command::GarbageCollect(arguments) if arguments.collect.online && !arguments.collect.dry_run => arguments,
        other => panic!("{other:?}"),
    }
}

#[test]
fn units_run_what_there_is() {
    let (service, timer) = (unit("regsweep.service"), unit("regsweep.timer"));
    // As it comes it writes no metrics: most have no exporter, and a run that cannot write its metrics ends with 2.
    let start = value(&service, "Service", "ExecStart");
    assert_eq!(value(&service, "Service", "Environment"), "METRICS=");
    let collect = collects_online(parsed(start.split(' ').filter(|word| *word != "$METRICS")));
    assert!(collect.collect.output.metrics.is_none());
    // With the other line it does, where it may.
    let text = text("regsweep.service");
    let other = text.lines().find_map(|line| line.strip_prefix("#Environment=\"METRICS=")).expect("a line to take");
    let with_metrics = start.replace("$METRICS", other.trim_end_matches('"'));
    let metrics = collects_online(parsed(with_metrics.split(' '))).collect.output.metrics.expect("alerts want them");
    let may_write = &service[&("Service".to_owned(), "ReadWritePaths".to_owned())];
    let may_write = |path: &Path| may_write.iter().any(|directory| path.starts_with(directory.trim_start_matches('-')));
    assert!(may_write(&metrics), "{}", metrics.display());
    let config = collect.store.config.expect("--online wants it");
    assert_eq!(Path::new(value(&service, "Unit", "ConditionPathExists")), config);
    for key in ["ProtectProc", "ProcSubset", "PrivatePIDs", "PrivateMounts"] {
        assert!(!service.contains_key(&("Service".to_owned(), key.to_owned())), "{key} would hide who is at work");
    }
    assert_eq!(value(&timer, "Timer", "Unit"), "regsweep.service");
    assert_eq!(value(&timer, "Timer", "Persistent"), "true");
    assert!(timer.contains_key(&("Timer".to_owned(), "RandomizedDelaySec".to_owned())));
    assert_eq!(value(&timer, "Install", "WantedBy"), "timers.target");
}

#[test]
fn systemd_takes_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        skipped("no systemd-analyze");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["regsweep.service", "regsweep.timer"] {
        // It wants the program to be there.
        let text = text(name).replace("/usr/local/bin/regsweep", env!("CARGO_BIN_EXE_regsweep"));
        fs::write(directory.path().join(name), text).expect("written");
    }
    let units = ["regsweep.service", "regsweep.timer"].map(|name| directory.path().join(name));
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output().expect("it is there");
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("regsweep.")).collect();
    assert!(output.status.success() && about_ours.is_empty(), "{said}");
}

#[test]
fn the_cron_job_runs_what_there_is() {
    let text = text("kubernetes/cronjob.yaml");
    let documents: Vec<Value> =
        yaml_serde::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML")).collect();
    // No ConfigMap: applying one would replace the registry's own.
    let [job, restarted] = &documents[..] else { panic!("not two documents") };
    assert_eq!((&job["kind"], &restarted["kind"]), (&"CronJob".into(), &"CronJob".into()));
    assert_eq!(job["spec"]["concurrencyPolicy"], "Forbid");
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    let container = &pod["containers"][0];
    let words = |key: &str| container[key].as_array().expect("a list").iter().map(|word| word.as_str().expect("a word"));
    let collect = collects_online(parsed(words("command").chain(words("args"))));

    // What it reads and writes is mounted.
    let config = collect.store.config.expect("--online wants it");
    let mounts = container["volumeMounts"].as_array().expect("a list");
    let shown = |path: &Path| mounts.iter().find(|mount| path.starts_with(mount["mountPath"].as_str().expect("a path")));
    assert_eq!(shown(&config).expect("mounted")["name"], "config");
    let root = "/var/lib/registry";
    assert_eq!(shown(Path::new(root)).expect("mounted")["name"], "storage");
    let volumes = pod["volumes"].as_array().expect("a list");
    for mount in mounts {
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
    }
    assert_eq!(volumes[1]["configMap"]["name"], "registry-config");

    // A restart is said from the same place, by hand.
    assert_eq!(restarted["spec"]["suspend"], true);
    let said = &restarted["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!((&said["volumes"], &said["affinity"]), (&pod["volumes"], &pod["affinity"]));
    let said = &said["containers"][0];
    assert_eq!((&said["image"], &said["volumeMounts"]), (&container["image"], &container["volumeMounts"]));
    let words = |key: &str| said[key].as_array().expect("a list").iter().map(|word| word.as_str().expect("a word"));
    says_restarted(words("command").chain(words("args")));
}

#[test]
fn the_readme_says_what_there_is() {
    let text = text("README.md");
    let mut commands = 0;
    let blocks =
        text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n").or(block.trim().strip_prefix("sh\n")));
    for line in blocks.flat_map(str::lines).map(str::trim).filter(|line| line.starts_with("regsweep ")) {
        parsed(line.split(' '));
        commands += 1;
    }
    // Also those within sentences.
    for quoted in text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("regsweep ") && !quoted.contains('<')) {
        parsed(quoted.split_whitespace().chain(["--root", "/srv/registry"]).take_while(|word| *word != "#"));
        commands += 1;
    }
    assert!(commands >= 3, "{commands}");
    let metrics = tempfile::tempdir().expect("a directory");
    let metrics = metrics.path().join("regsweep.prom");
    let store = registry().repo("a").image("x", &[layer(1)]).tag("v1").on_disk();
    Regsweep::gc(store.path()).arg("--metrics").arg(&metrics).run().expect_code(0);
    let metrics = fs::read_to_string(metrics).expect("written");
    let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
    for name in
        text.match_indices("regsweep_").map(|(at, _)| text[at..].split(|character| !is_name(character)).next().expect("a name"))
    {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// The template of a job cannot be changed, so one name would serve for one restart.
#[test]
fn each_restart_has_a_job_of_its_own() {
    for document in ["README.md", "../docs/containers.md"] {
        let lines: Vec<String> = text(document)
            .lines()
            .filter(|line| line.contains("create job --from=cronjob/regsweep-restarted"))
            .map(str::to_owned)
            .collect();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.contains("\"regsweep-restarted-$(date +%s)\"")),
            "{document}: {lines:?}"
        );
    }
    for file in ["kubernetes/cronjob.yaml", "helm/regsweep/templates/restarted.yaml"] {
        let text = text(file);
        let (_, second) = text.split_once("RESTART_BEGAN has to").unwrap_or_else(|| panic!("{file}"));
        assert!(second.contains("ttlSecondsAfterFinished: "), "{file}: they would pile up");
    }
}

/// Of a registry that runs with the file of its image another one says something else.
#[test]
fn composed_services_have_one_configuration() {
    let text = text("../docs/containers.md");
    let block = text.split("```yaml\n").skip(1).find(|block| block.starts_with("services:")).expect("a recipe");
    let recipe: Value = yaml_serde::from_str(block.split("```").next().expect("its end")).expect("YAML");
    let services = recipe["services"].as_object().expect("services");
    let of = |key: &str| services.values().map(|service| service[key].clone()).collect::<Vec<_>>();
    for key in ["environment", "volumes"] {
        let of = of(key);
        assert!(of.len() == 2 && of[0] == of[1] && !of[0].is_null(), "{key}: {of:?}");
    }
    assert!(of("volumes")[0].to_string().contains(":/etc/docker/registry/config.yml:ro"), "{recipe}");
}
