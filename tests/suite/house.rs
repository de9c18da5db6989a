//! How the code is laid out: which module may lean on which, what a `mod.rs` is for, and how long files and functions are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// No file of the program is longer.
const LONGEST_FILE: usize = 500;
/// No function is longer.
const LONGEST_FUNCTION: usize = 80;

/// A file of the program, by its path from the directory of the package.
struct Source {
    path: String,
    lines: Vec<String>,
}

impl Source {
    fn is_test(&self) -> bool {
        ["/tests.rs", "/tests/", "/testing.rs", "/conformance/"].iter().any(|name| self.path.contains(name))
    }

    /// The module right below the crate that it is in; nothing for the crate's own file and the program's.
    fn module(&self) -> Option<&str> {
        let name = self.path.strip_prefix("src/")?;
        let module = name.split_once('/').map_or_else(|| name.trim_end_matches(".rs"), |(directory, _)| directory);
        (!["lib", "main"].contains(&module)).then_some(module)
    }

    /// How many modules its own is below the crate.
    fn depth(&self) -> usize {
        self.path.matches('/').count() - usize::from(self.path.ends_with("/mod.rs"))
    }

    /// The lines of code that are no test, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let before_tests = self.lines.iter().take_while(|line| !line.starts_with("mod tests {"));
        let lines = before_tests.zip(1..).map(|(line, number)| (number, line.trim()));
        lines.filter(|(_, line)| !line.starts_with("//"))
    }

    /// The modules right below the crate that a line names.
    fn named<'a>(&self, line: &'a str) -> Vec<&'a str> {
        let mut paths: Vec<&str> = line.split("crate::").skip(1).collect();
        let above = "super::".repeat(self.depth());
        paths.extend(line.split(above.as_str()).skip(1).filter(|rest| !rest.starts_with("super::")));
        paths.into_iter().map(word).filter(|word| !word.is_empty()).collect()
    }
}

/// What a text begins with that can be a name.
fn word(text: &str) -> &str {
    &text[..text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len())]
}

fn sources() -> Vec<Source> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut directories = vec![package.join("src")];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("listable") {
            let path = entry.expect("listable").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let read = |file: &PathBuf| Source {
        path: file.strip_prefix(package).expect("below").to_str().expect("a path in UTF-8").to_owned(),
        lines: fs::read_to_string(file).expect("readable").lines().map(str::to_owned).collect(),
    };
    files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")).map(read).collect()
}

/// Which module leans on which, with a place where it does.
fn arrows(sources: &[Source]) -> BTreeMap<&str, BTreeMap<&str, String>> {
    let modules: BTreeSet<&str> = sources.iter().filter_map(Source::module).collect();
    let mut arrows: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let Some(module) = source.module() else { continue };
        for (number, line) in source.code() {
            assert!(!line.contains("crate::{"), "{}:{number}: a line for each module, which this test reads", source.path);
            for named in source.named(line).into_iter().filter(|named| modules.contains(named) && *named != module) {
                arrows.entry(module).or_default().entry(named).or_insert_with(|| format!("{}:{number}", source.path));
            }
        }
    }
    arrows
}

#[test]
fn arrows_between_modules_point_one_way() {
    let sources = sources();
    let mut arrows = arrows(&sources);
    assert!(arrows["sweep"].contains_key("plan"), "the arrows are found");
    // What leans on nothing that is left cannot be part of a cycle.
    loop {
        let left: BTreeSet<&str> = arrows.keys().copied().collect();
        let before = left.len();
        for to in arrows.values_mut() {
            to.retain(|module, _| left.contains(module));
        }
        arrows.retain(|_, to| !to.is_empty());
        if arrows.len() == before {
            break;
        }
    }
    assert!(arrows.is_empty(), "modules that lean on each other, or on such: {arrows:#?}");
}

#[test]
fn only_settings_know_the_command_line() {
    let sources = sources();
    let arrows = arrows(&sources);
    let know: Vec<_> = arrows.iter().filter_map(|(module, to)| Some((*module, to.get("cli")?))).collect();
    assert!(know.iter().all(|(module, _)| *module == "config"), "values that more modules need are in `options`: {know:#?}");
}

#[test]
fn a_mod_rs_says_what_its_directory_is_for_and_re_exports() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path.ends_with("/mod.rs")) {
        let works = |line: &str| line.split_whitespace().any(|word| ["fn", "impl", "struct", "enum", "trait"].contains(&word));
        found.extend(
            source.code().filter(|(_, line)| works(line)).map(|(number, line)| format!("{}:{number}: {line}", source.path)),
        );
        assert!(source.lines.first().is_some_and(|line| line.starts_with("//! ")), "{} does not say what it is for", source.path);
    }
    assert!(found.is_empty(), "work belongs into a file that is named for it: {found:#?}");
}

#[test]
fn files_and_functions_are_short() {
    let mut found = Vec::new();
    for source in &sources() {
        let length = source.lines.len();
        if length > LONGEST_FILE {
            found.push(format!("{} has {length} lines", source.path));
        }
        let mut begun: Option<(usize, usize)> = None;
        for (line, number) in source.lines.iter().zip(1..) {
            let text = line.trim_start();
            if begun.is_none() && text.split('(').next().is_some_and(|head| head.split_whitespace().any(|word| word == "fn")) {
                let is_whole = text.starts_with("//") || text.ends_with([';', '}']);
                begun = (!is_whole).then_some((number, line.len() - text.len()));
            } else if let Some((first, indent)) = begun
                && line.len() - text.len() == indent
                // Its end, or that of a declaration.
                && (text == "}" || (text.starts_with(')') && text.ends_with(';')))
            {
                if number - first >= LONGEST_FUNCTION {
                    found.push(format!("{}:{first}: a function of {} lines", source.path, number - first + 1));
                }
                begun = None;
            }
        }
    }
    assert!(found.is_empty(), "longer than a page: {found:#?}");
}
