//! What Kubernetes is given by Kustomize, by Helm, and by a chart of the registry with another image.

use std::path::Path;
use std::process::Command;

use regsweep::cli;
use serde::Deserialize as _;
use serde_json::Value;

use super::{collects_online, parsed, path, says_restarted, text};

fn documents(text: &str) -> Vec<Value> {
    yaml_serde::Deserializer::from_str(text).map(|document| Value::deserialize(document).expect("YAML")).collect()
}

/// The pod of a job.
fn pod(job: &Value) -> &Value {
    assert_eq!(job["kind"], "CronJob");
    &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
}

/// The words that a container is run with; the image's entry point in the place of no command.
fn words(container: &Value) -> Vec<String> {
    let of = |key: &str| -> Vec<String> {
        let list = container[key].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    let command = of("command");
    [if command.is_empty() { vec!["regsweep".to_owned()] } else { command }, of("args")].concat()
}

/// What is mounted is there, and the configuration is among it.
fn mounts_what_it_reads(pod: &Value, config: &Path) {
    let volumes = pod["volumes"].as_array().expect("a list");
    let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("a list");
    for mount in mounts {
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
    }
    let is_mounted = |path: &Path| mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().expect("a path")));
    assert!(is_mounted(config) && is_mounted(Path::new("/var/lib/registry")));
}

#[test]
fn an_overlay_says_what_differs() {
    // Each file that is named is there.
    for directory in ["kubernetes", "kubernetes-overlay"] {
        let kustomization = &documents(&text(&format!("{directory}/kustomization.yaml")))[0];
        assert_eq!(kustomization["kind"], "Kustomization");
        for resource in kustomization["resources"].as_array().expect("a list") {
            assert!(path(directory).join(resource.as_str().expect("a path")).exists(), "{resource}");
        }
    }
    let overlay = &documents(&text("kubernetes-overlay/kustomization.yaml"))[0];
    // Each place that is patched is one.
    let base = documents(&text("kubernetes/cronjob.yaml"));
    for patch in overlay["patches"].as_array().expect("a list") {
        let (kind, name) = (&patch["target"]["kind"], patch["target"]["name"].as_str().expect("a name"));
        let target =
            base.iter().find(|document| document["kind"] == *kind && document["metadata"]["name"] == name.trim_end_matches(".*"));
        let target = target.expect("a target");
        for operation in documents(patch["patch"].as_str().expect("text"))[0].as_array().expect("a list") {
            let place = operation["path"].as_str().expect("a path");
            assert!(operation["op"] == "replace" && target.pointer(place).is_some(), "{place}");
        }
    }
    let image = base[0].pointer("/spec/jobTemplate/spec/template/spec/containers/0/image").expect("an image");
    let replaced = overlay["images"][0]["name"].as_str().expect("a name");
    assert!(image.as_str().expect("text").starts_with(&format!("{replaced}:")), "{image}");

    let Ok(output) = Command::new("kubectl").arg("kustomize").arg(path("kubernetes-overlay")).output() else {
        crate::support::skipped("no kubectl");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = documents(&String::from_utf8(output.stdout).expect("UTF-8"));
    let named = |name: &str| made.iter().find(|document| document["metadata"]["name"] == name).expect("a job");
    assert_eq!(named("regsweep")["spec"]["schedule"], "15 2 * * *");
    assert_eq!(made.len(), 2, "nothing of the registry's is replaced");
    // The job that says what was restarted is on the same volume, as the same user.
    for job in [named("regsweep"), named("regsweep-restarted")] {
        assert_eq!(job["metadata"]["namespace"], "registry");
        assert_eq!(pod(job)["securityContext"]["runAsUser"], 1000);
        assert_eq!(pod(job)["containers"][0]["image"], "registry.example/platform/regsweep:0.1.0");
        assert_eq!(pod(job)["volumes"][0]["persistentVolumeClaim"]["claimName"], "registry-data");
    }
}

/// The text between a line with this action and the line of its `end`, and what is around it.
fn block<'a>(template: &'a str, action: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = template.split_once(&format!("{{{{- {action} }}}}"))?;
    let (inside, behind) = rest.split_once("{{- end }}").expect("it ends");
    Some((before.trim_end(), inside.trim_end(), behind))
}

/// What Helm makes of a template, as far as ours go: a job that is asked for, a list, values, quoted or not, and mappings with an indent.
fn rendered(template: &str, values: &Value) -> String {
    let mut rendered = template.to_owned();
    if let Some((before, inside, behind)) = block(template, "if .Values.restarted") {
        let inside = if values["restarted"] == true { inside } else { "" };
        rendered = format!("{before}{inside}{behind}");
    }
    if let Some((before, inside, behind)) = block(&rendered, "range .Values.options") {
        let options = values["options"].as_array().expect("a list").iter();
        let inside: String = options.map(|option| inside.replace("{{ . | quote }}", &option.to_string())).collect();
        rendered = format!("{before}{inside}{behind}");
    }
    while let Some((before, rest)) = rendered.split_once("{{") {
        let (inside, behind) = rest.split_once("}}").expect("it ends");
        let (before, inside) = match inside.strip_prefix('-') {
            Some(inside) => (before.trim_end(), inside),
            None => (before, inside),
        };
        let words: Vec<&str> = inside.split_whitespace().collect();
        let value = |name: &str| {
            let place = name.strip_prefix(".Values").expect("a value").replace('.', "/");
            values.pointer(&place).unwrap_or_else(|| panic!("values.yaml has no {name}"))
        };
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = match words[..] {
            [".Release.Name"] => "regsweep".to_owned(),
            [name] => plain(value(name)),
            [name, "|", "quote"] => format!("\"{}\"", plain(value(name))),
            ["toYaml", name, "|", "nindent", width] => {
                let indent = " ".repeat(width.parse().expect("a number"));
                let lines = yaml_serde::to_string(value(name)).expect("YAML");
                lines.lines().map(|line| format!("\n{indent}{line}")).collect()
            }
            _ => panic!("nothing that ours have: {inside}"),
        };
        rendered = format!("{before}{text}{behind}");
    }
    rendered
}

#[test]
fn a_chart_collects_as_its_values_say() {
    let chart = &documents(&text("helm/regsweep/Chart.yaml"))[0];
    assert_eq!(chart["apiVersion"], "v2");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let mut values = documents(&text("helm/regsweep/values.yaml")).remove(0);
    let template = text("helm/regsweep/templates/cronjob.yaml");
    let restarted = text("helm/regsweep/templates/restarted.yaml");
    for name in values.as_object().expect("a mapping").keys() {
        assert!([&template, &restarted].iter().any(|text| text.contains(&format!(".Values.{name}"))), "{name} is of no use");
    }
    values["claim"] = "another: \u{fc}".into();
    values["user"] = 1000.into();
    let made = documents(&rendered(&template, &values));
    let [job] = &made[..] else { panic!("not one document") };
    let pod = pod(job);
    assert_eq!(pod["securityContext"]["runAsUser"], 1000);
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "another: \u{fc}");
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "512Mi");
    let words = words(&pod["containers"][0]);
    let collect = collects_online(parsed(words.iter().map(String::as_str)));
    assert!(collect.delete_untagged && collect.collect.output.json);
    mounts_what_it_reads(pod, &collect.store.config.expect("--online wants it"));
    // The image that is the default is the one that is described.
    let image = format!("registry.example/tools/regsweep:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod["containers"][0]["image"], image);

    // Without options it is a plain collection.
    values["options"] = Value::Array(Vec::new());
    let made = documents(&rendered(&template, &values));
    assert_eq!(
        made[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn a_chart_says_what_was_restarted_when_it_is_asked_for() {
    let mut values = documents(&text("helm/regsweep/values.yaml")).remove(0);
    let [template, nightly] = ["restarted", "cronjob"].map(|name| text(&format!("helm/regsweep/templates/{name}.yaml")));
    assert_eq!(rendered(&template, &values).trim(), "");
    values["restarted"] = true.into();
    values["claim"] = "another".into();
    values["user"] = 1000.into();
    let (made, nightly) = (documents(&rendered(&template, &values)), documents(&rendered(&nightly, &values)));
    let [job] = &made[..] else { panic!("not one document") };
    assert_eq!((&job["metadata"]["name"], &job["spec"]["suspend"]), (&"regsweep-restarted".into(), &true.into()));
    // The same as the nightly job, but for its words.
    let (mut pod, mut nightly) = (pod(job).clone(), pod(&nightly[0]).clone());
    let words = words(&pod["containers"][0]);
    for pod in [&mut pod, &mut nightly] {
        pod["containers"][0]["args"] = Value::Null;
    }
    assert_eq!(pod, nightly);
    says_restarted(words.iter().map(String::as_str));
}

#[test]
fn a_chart_of_the_registry_only_swaps_its_image() {
    let made = documents(&text("kubernetes/swapped-image.yaml"));
    let pod = pod(&made[0]);
    let container = &pod["containers"][0];
    let words = words(container);
    // The very command line that the registry's own collector has, its booleans with it.
    assert_eq!(words, ["/bin/registry", "garbage-collect", "--delete-untagged=true", "/etc/docker/registry/config.yml"]);
    let plain = cli::plain(words.iter().map(Into::into));
    let cli::Command::GarbageCollect(collect) = cli::parse(&plain).expect("taken").command else { panic!("{words:?}") };
    assert!(collect.delete_untagged && !collect.collect.online);
    mounts_what_it_reads(pod, &collect.store.config.expect("it names one"));
    let variables = container["env"].as_array().expect("a list");
    let online = variables.iter().find(|variable| variable["name"] == "REGSWEEP_ONLINE").expect("a variable");
    assert_eq!(online["value"], "true");
}
