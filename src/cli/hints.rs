//! Completes the commands in messages, so that they can be run as printed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::common::StoreArguments;
use crate::escape;

/// The start of a command in a message, in backticks.
const BEGIN: &str = "`regsweep ";
/// The one option whose value may be a password.
const REGISTRY_AUTH: &str = "--registry-auth";
/// A page is made of a dry run only.
const HTML: &str = "--html";

/// Options of commands that only read, which decide what their figures are: a command that is to be run next has them, too.
const READING: [&str; 2] = ["--min-age", "--max-memory"];
const IGNORE_BIRTH_TIME: &str = "--ignore-birth-time";
/// The commands that have these options.
const READERS: [&str; 3] = ["usage", "audit", "report"];
/// The commands that take names in the store.
const NAMING: [&str; 4] = ["list", "explain", "repair", "remove"];

/// The store of this run, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    arguments: String,
    /// What was given to count ages, for the commands that are to be run next.
    reading: String,
    /// The complete command line, which already names the store.
    rerun: String,
    /// How it is shown.
    shown: String,
}

impl Hints {
    /// From the store's arguments and the command line. A configuration from the environment stays there.
    pub fn new(store: &StoreArguments, rerun: &str) -> Hints {
        let quoted = |path: &OsStr| quoted(&path.to_string_lossy());
        let arguments = match (&store.config, &store.root) {
            (Some(config), _) => format!(" {}", quoted(config.as_os_str())),
            (None, Some(root)) => {
                let endpoint = store.endpoint.iter().map(|endpoint| format!(" --endpoint {}", quoted(OsStr::new(endpoint))));
                format!(" --root {}{}", quoted(root.as_os_str()), endpoint.collect::<String>())
            }
            (None, None) => String::new(),
        };
        let rerun = rerun.trim_start_matches("regsweep ").to_owned();
        Hints { arguments, reading: String::new(), shown: rerun.clone(), rerun }
    }

    /// With what was given to `command` to count ages, if it is one that only reads.
    #[must_use]
    pub fn reading(self, command: &str, arguments: &[OsString]) -> Hints {
        if READERS.contains(&command) { Hints { reading: reading_options(arguments), ..self } } else { self }
    }

    /// For a page, which is read elsewhere: the same, with absolute paths of the store.
    #[must_use]
    pub fn on_page(&self, store: &StoreArguments, arguments: &[OsString]) -> Hints {
        let given: Vec<PathBuf> = [&store.config, &store.root].into_iter().flatten().cloned().collect();
        let store = StoreArguments {
            config: store.config.as_deref().map(absolute),
            root: store.root.as_deref().map(absolute),
            endpoint: store.endpoint.clone(),
        };
        let word = |word: &OsString| -> OsString {
            let value = word.to_str().and_then(|word| word.strip_prefix("--root="));
            match value {
                Some(value) => format!("--root={}", absolute(Path::new(value)).display()).into(),
                None if given.iter().any(|given| given.as_os_str() == word) => absolute(Path::new(word)).into(),
                None => word.clone(),
            }
        };
        let words: Vec<OsString> = arguments.iter().map(word).collect();
        let shown = without_dry_run(&words);
        Hints {
            shown: shown.trim_start_matches("regsweep ").to_owned(),
            arguments: Hints::new(&store, "").arguments,
            ..self.clone()
        }
    }

    /// Adds the store to each command in a text.
    pub fn complete(&self, text: &str) -> String {
        self.insert(text, &str::to_owned)
    }

    /// [`Hints::complete`] for a JSON text.
    pub fn complete_json(&self, text: &str) -> String {
        self.insert(text, &in_json)
    }

    /// Adds the arguments to each command in a text except the complete one.
    fn insert(&self, text: &str, written: &dyn Fn(&str) -> String) -> String {
        let [arguments, reading, complete, shown] =
            [&self.arguments, &self.reading, &self.rerun, &self.shown].map(|text| written(text));
        let mut parts = text.split(BEGIN);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            whole.push_str(BEGIN);
            // The command line may contain backticks.
            let typed = part.strip_prefix(&*complete).filter(|rest| !complete.is_empty() && rest.starts_with('`'));
            match (typed, ended(part)) {
                (Some(rest), _) => whole.extend([&*shown, rest]),
                (None, Some((command, rest))) => {
                    let reading = if counts_ages(command) { &*reading } else { "" };
                    let (options, name) = command.split_at(name_begins(command));
                    whole.extend([options, reading, &*arguments, name, "`", rest]);
                }
                (None, None) => whole.push_str(part),
            }
        }
        whole
    }
}

/// Splits a text at the backtick that ends the command it begins with. Between quotes it is part of a name.
fn ended(text: &str) -> Option<(&str, &str)> {
    let (mut is_quoted, mut last) = (false, ' ');
    let end = text.char_indices().find(|(_, character)| {
        // In single quotes a backslash means nothing, and outside of them it comes before a quote only.
        is_quoted ^= *character == '\'' && (is_quoted || last != '\\');
        last = *character;
        *character == '`' && !is_quoted
    });
    match end {
        Some((place, _)) => Some((&text[..place], &text[place + 1..])),
        None => text.split_once('`'),
    }
}

/// Where the name begins that a command in a message ends with: a configuration is typed before it.
fn name_begins(command: &str) -> usize {
    let (first, rest) = command.split_once(' ').unwrap_or((command, ""));
    let is_name = !rest.is_empty() && (!rest.starts_with('-') || rest.starts_with("-- "));
    if NAMING.contains(&first) && is_name { first.len() } else { command.len() }
}

/// Whether a command in a message counts ages as the run that names it: those that show the same figures, and the collection that they are of.
/// What mends a finding counts ages by its own rules.
fn counts_ages(command: &str) -> bool {
    let name = command.split(' ').next().unwrap_or_default();
    command == "garbage-collect" || command.starts_with("garbage-collect --dry-run") || READERS.contains(&name)
}

/// The options of a command line that decide what is young, and how much memory it may take, quoted for a shell.
fn reading_options(arguments: &[OsString]) -> String {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).take_while(|word| word != "--").collect();
    let mut given = String::new();
    for (place, word) in words.iter().enumerate() {
        let name = word.split('=').next().unwrap_or_default();
        if word == IGNORE_BIRTH_TIME || (READING.contains(&name) && word.contains('=')) {
            given.extend([" ", &quoted(word)]);
        } else if READING.contains(&name)
            && let Some(value) = words.get(place + 1)
        {
            given.extend([" ", name, " ", &quoted(value)]);
        }
    }
    given
}

/// The same path from anywhere. A bucket has no other name.
fn absolute(path: &Path) -> PathBuf {
    match path.to_string_lossy().starts_with("s3://") {
        true => path.to_owned(),
        false => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

/// A text as the content of a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("text is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

/// The command line without `--dry-run`, `--html` and passwords, quoted for a shell.
pub fn without_dry_run(arguments: &[OsString]) -> String {
    let mut words = vec!["regsweep".to_owned()];
    let mut arguments = arguments.iter().skip(1).map(|argument| argument.to_string_lossy());
    while let Some(word) = arguments.next() {
        if word == "--" {
            words.push(word.into_owned());
            words.extend(arguments.by_ref().map(|word| quoted(&word)));
        } else if word == REGISTRY_AUTH {
            words.push(word.into_owned());
            words.extend(arguments.next().map(|value| quoted(shown_auth(&value))));
        } else if let Some(value) = word.strip_prefix(REGISTRY_AUTH).and_then(|rest| rest.strip_prefix('=')) {
            words.push(quoted(&format!("{REGISTRY_AUTH}={}", shown_auth(value))));
        } else if word == HTML {
            arguments.next();
        } else if word.strip_prefix(HTML).is_some_and(|rest| rest.starts_with('=')) {
            // Its value goes with it.
        } else if let Some(flags) = word.strip_prefix('-').filter(|flags| !flags.starts_with('-') && flags.contains('d')) {
            // Short flags may be combined; none of them takes a value.
            let rest = flags.replace('d', "");
            words.extend((!rest.is_empty()).then(|| format!("-{rest}")));
        } else if word != "--dry-run" {
            words.push(quoted(&word));
        }
    }
    words.join(" ")
}

/// Credentials for a report: the name of a file is no secret.
fn shown_auth(value: &str) -> &str {
    if value.starts_with('@') { value } else { "USER:PASSWORD" }
}

fn quoted(word: &str) -> String {
    escape::quoted(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rerun(line: &str) -> String {
        without_dry_run(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_dry_run_is_followed_by_the_same_without() {
        for (typed, expected) in [
            ("/usr/bin/regsweep garbage-collect --dry-run -m --root /x", "regsweep garbage-collect -m --root /x"),
            ("regsweep garbage-collect -dm c.yml", "regsweep garbage-collect -m c.yml"),
            ("regsweep garbage-collect -d c.yml", "regsweep garbage-collect c.yml"),
            ("regsweep garbage-collect -d --html x.html -m c.yml", "regsweep garbage-collect -m c.yml"),
            ("regsweep garbage-collect -d --html=x.html c.yml", "regsweep garbage-collect c.yml"),
            ("regsweep garbage-collect -d --root $(x)", "regsweep garbage-collect --root '$(x)'"),
            ("regsweep garbage-collect -d --root=$(x)", "regsweep garbage-collect '--root=$(x)'"),
            ("regsweep garbage-collect -d -- -d.yml", "regsweep garbage-collect -- -d.yml"),
        ] {
            assert_eq!(rerun(typed), expected, "{typed}");
        }
    }

    #[test]
    fn a_password_stays_out_of_it() {
        for (typed, expected) in [
            ("--registry-auth u:secret", "--registry-auth USER:PASSWORD"),
            ("--registry-auth=u:secret", "'--registry-auth=USER:PASSWORD'"),
            ("--registry-auth secret", "--registry-auth USER:PASSWORD"),
            ("--registry-auth @/etc/auth", "--registry-auth @/etc/auth"),
            ("--registry-auth=@/etc/auth", "'--registry-auth=@/etc/auth'"),
        ] {
            let whole = rerun(&format!("regsweep garbage-collect -d {typed} --root /x"));
            assert_eq!(whole, format!("regsweep garbage-collect {expected} --root /x"));
        }
    }

    #[test]
    fn a_command_carries_the_store() {
        let of = |config: Option<&str>, root: Option<&str>| {
            Hints::new(&StoreArguments { config: config.map(Into::into), root: root.map(Into::into), endpoint: None }, "")
        };
        let text = "x `regsweep restore --run R` undoes it; `--root` is no command; `regsweep verify` reads";
        assert_eq!(
            of(None, Some("/my data")).complete(text),
            "x `regsweep restore --run R --root '/my data'` undoes it; `--root` is no command; `regsweep verify --root '/my data'` reads"
        );
        assert!(of(Some("/etc/c.yml"), None).complete(text).contains("`regsweep restore --run R /etc/c.yml`"));
        assert_eq!(of(None, None).complete(text), text);
        assert_eq!(of(None, Some("/a\"b")).complete_json("\"`regsweep verify`\""), r#""`regsweep verify --root '/a\"b'`""#);
        assert_eq!(of(None, Some("/a")).complete("cut off `regsweep verify"), "cut off `regsweep verify");
        let root = of(None, Some("/x"));
        for (name, expected) in [
            ("team", "`regsweep list --root /x team` x"),
            ("a`b", "`regsweep list --root /x 'a`b'` x"),
            ("q'`x", r"`regsweep list --root /x 'q'\''`x'` x"),
            ("-rf", "`regsweep list --root /x -- -rf` x"),
            ("$(x)\u{1b}", r"`regsweep list --root /x '$(x)\u{1b}'` x"),
        ] {
            let text = format!("`regsweep list {}` x", crate::escape::operand(name));
            assert_eq!(root.complete(&text), expected);
            let in_json = |text: &str| serde_json::to_string(text).expect("text is JSON");
            assert_eq!(root.complete_json(&in_json(&text)), in_json(expected));
        }
        assert_eq!(of(Some("c.yml"), None).complete("`regsweep list a:b`"), "`regsweep list c.yml a:b`");
        let restored = of(Some("list"), None).complete("`regsweep quarantine list`");
        assert_eq!(restored, "`regsweep quarantine list list`", "a configuration of that name");
    }

    #[test]
    fn what_is_run_next_counts_ages_as_this_run_did() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let store = StoreArguments { config: None, root: Some("x".into()), endpoint: None };
        let typed = words("regsweep usage --min-age 0s --ignore-birth-time --max-memory=64M --root x --html y");
        let of = |command: &str| Hints::new(&store, "").reading(command, &typed);
        let text =
            "`regsweep garbage-collect --dry-run` or `regsweep restore` or `regsweep garbage-collect --uploads-older-than 7d`";
        assert_eq!(
            of("usage").complete(text),
            "`regsweep garbage-collect --dry-run --min-age 0s --ignore-birth-time '--max-memory=64M' --root x` or `regsweep restore --root x` \
             or `regsweep garbage-collect --uploads-older-than 7d --root x`"
        );
        assert!(!of("verify").complete(text).contains("--min-age"));
    }

    #[test]
    fn a_page_names_the_store_from_anywhere() {
        let here = std::env::current_dir().expect("a directory");
        let whole = here.join("x").display().to_string();
        for typed in ["regsweep gc -d --root x", "regsweep gc -d --root=x", "regsweep gc -d x"] {
            let words: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
            let rerun = without_dry_run(&words);
            let is_root = typed.contains("--root");
            let place = Some(PathBuf::from("x"));
            let (config, root) = if is_root { (None, place) } else { (place, None) };
            let store = StoreArguments { config, root, endpoint: None };
            let page = Hints::new(&store, &rerun).on_page(&store, &words);
            let shown = page.complete(&format!("`{rerun}`, `regsweep verify`"));
            assert_eq!(shown.matches(&whole).count(), 2, "{shown}");
        }
        let bucket = StoreArguments { config: None, root: Some("s3://b/p".into()), endpoint: None };
        assert!(Hints::new(&bucket, "").on_page(&bucket, &[]).complete("`regsweep audit`").ends_with(" --root s3://b/p`"));
    }

    #[test]
    fn what_was_typed_has_the_store_however_it_was_typed() {
        for (typed, config, root) in [
            ("--root /x", None, Some("/x")),
            ("--root=/x", None, Some("/x")),
            ("--root=./x", None, Some("./x")),
            ("--root=a\"b", None, Some("a\"b")),
            ("--root=a`b", None, Some("a`b")),
            ("c.yml", Some("c.yml"), None),
            ("-- c.yml", Some("c.yml"), None),
            ("-m", None, None),
        ] {
            let rerun = rerun(&format!("regsweep garbage-collect -d {typed}"));
            let hints = Hints::new(
                &StoreArguments { config: config.map(Into::into), root: root.map(Into::into), endpoint: None },
                &rerun,
            );
            let next = format!("next `{rerun}`");
            assert_eq!(hints.complete(&next), next);
            let next = serde_json::to_string(&next).expect("text is JSON");
            assert_eq!(hints.complete_json(&next), next);
        }
    }
}
