//! Commands that messages name, completed so that they can be run as they stand.

use std::ffi::{OsStr, OsString};

use super::StoreArguments;

/// How messages begin a command that they name, in backticks.
const BEGIN: &str = "`regsweep ";

/// The store of this run, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    arguments: String,
}

impl Hints {
    /// With what was typed. The variable that stands for a configuration goes on standing for it.
    pub fn new(store: &StoreArguments) -> Hints {
        let quoted = |path: &OsStr| quoted(&path.to_string_lossy());
        let arguments = match (&store.config, &store.root) {
            (Some(config), _) => format!(" {}", quoted(config.as_os_str())),
            (None, Some(root)) => format!(" --root {}", quoted(root.as_os_str())),
            (None, None) => String::new(),
        };
        Hints { arguments }
    }

    /// Gives each command in a text the store.
    pub fn complete(&self, text: &str) -> String {
        self.insert(text, &self.arguments)
    }

    /// The same for a text that is JSON.
    pub fn complete_json(&self, text: &str) -> String {
        let escaped = serde_json::to_string(&self.arguments).expect("text is JSON");
        self.insert(text, escaped.trim_matches('"'))
    }

    fn insert(&self, text: &str, arguments: &str) -> String {
        let mut parts = text.split(BEGIN);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            whole.push_str(BEGIN);
            match part.split_once('`') {
                // What was typed has the store already.
                Some((command, rest)) if arguments.is_empty() || command.contains(arguments) => {
                    whole.extend([command, "`", rest]);
                }
                Some((command, rest)) => whole.extend([command, arguments, "`", rest]),
                None => whole.push_str(part),
            }
        }
        whole
    }
}

/// A command line without `--dry-run`, as a shell takes it.
pub fn without_dry_run(arguments: &[OsString]) -> String {
    let mut words = vec!["regsweep".to_owned()];
    for argument in arguments.iter().skip(1) {
        let word = argument.to_string_lossy();
        match word.strip_prefix('-') {
            Some("-dry-run") => {}
            // Short flags may stand together; none of them takes a value.
            Some(flags) if !flags.starts_with('-') && flags.contains('d') => {
                let rest = flags.replace('d', "");
                words.extend((!rest.is_empty()).then(|| format!("-{rest}")));
            }
            _ => words.push(quoted(&word)),
        }
    }
    words.join(" ")
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let word = crate::escape::escaped(word).to_string();
    shlex::try_quote(&word).map(std::borrow::Cow::into_owned).unwrap_or(word.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_followed_by_the_same_without() {
        let of = |line: &str| without_dry_run(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("/usr/bin/regsweep garbage-collect --dry-run -m --root /x"), "regsweep garbage-collect -m --root /x");
        assert_eq!(of("regsweep garbage-collect -dm c.yml"), "regsweep garbage-collect -m c.yml");
        assert_eq!(of("regsweep garbage-collect -d c.yml"), "regsweep garbage-collect c.yml");
        assert_eq!(of("regsweep garbage-collect -d --root $(x)"), "regsweep garbage-collect --root '$(x)'");
    }

    #[test]
    fn a_command_carries_the_store() {
        let of = |config: Option<&str>, root: Option<&str>| {
            Hints::new(&StoreArguments { config: config.map(Into::into), root: root.map(Into::into) })
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
    }
}
