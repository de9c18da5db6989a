//! The page around the data, as one file.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::data::Data;
use crate::error::{Context as _, Error};
use crate::replacement::{Replacement, ensure_outside_storage, ensure_replaceable};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In the order in which one uses what others define.
const SCRIPTS: [&str; 6] = [
    include_str!("text.js"),
    include_str!("squares.js"),
    include_str!("map.js"),
    include_str!("table.js"),
    include_str!("sections.js"),
    include_str!("main.js"),
];

/// As a report that is printed into a file mostly is.
const FILE_MODE: u32 = 0o644;

/// A report as a page.
pub struct Page {
    data: Data,
}

impl Page {
    pub(in crate::report) fn new(data: Data) -> Page {
        Page { data }
    }

    /// The whole page. `complete` is given the data as JSON, to complete the commands in it.
    pub fn render(&self, complete: &dyn Fn(&str) -> String) -> String {
        let data = complete(&serde_json::to_string(&self.data).expect("a page is made of strings and numbers"));
        let script = SCRIPTS.concat();
        let policy = policy(STYLE, &script);
        let mut page = String::with_capacity(TEMPLATE.len() + STYLE.len() + script.len() + data.len() * 2);
        let mut rest = TEMPLATE;
        for (mark, content) in
            [("{policy}", &*policy), ("{style}", STYLE), ("{data}", &*inside_script(&data)), ("{script}", &*script)]
        {
            let (before, behind) = rest.split_once(mark).expect("the template has all of them, in this order");
            page.push_str(before);
            page.push_str(content);
            rest = behind;
        }
        page + rest
    }

    /// Writes the page to a file that is there as a whole or not at all.
    ///
    /// # Errors
    ///
    /// When the file or its directory cannot be written to.
    pub fn write(&self, path: &Path, complete: &dyn Fn(&str) -> String) -> Result<(), Error> {
        let mut file = Page::begin(path)?;
        file.file().write_all(self.render(complete).as_bytes()).context("write", path)?;
        file.file().set_permissions(Permissions::from_mode(FILE_MODE)).context("write", path)?;
        file.finish().map(drop)
    }

    /// Makes sure that a page can be written there: makes the file that would replace it, and removes it again.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub(crate) fn ensure_writable(path: &Path) -> Result<(), Error> {
        Page::begin(path).map(drop)
    }

    fn begin(path: &Path) -> Result<Replacement, Error> {
        if path == Path::new("-") {
            return Err(Error::Usage("--html wants a file; for one that is called `-`, give --html ./-".to_owned()));
        }
        ensure_replaceable("--html", path)?;
        ensure_outside_storage("--html", path)?;
        Replacement::begin(path, ".regsweep-page-")
    }
}

/// Allows the style and the script of the page, and nothing else: no request, no other script, no markup from text.
fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash(style),
        hash(script)
    )
}

/// JSON that nothing in it can end: outside of texts it has none of these characters.
fn inside_script(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out
}

/// How much of a page a value takes, in bytes.
pub(super) fn size_in_page(value: &impl Serialize) -> usize {
    inside_script(&serde_json::to_string(value).expect("it is made of strings and numbers")).len()
}
