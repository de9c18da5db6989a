//! Escapes names for safe display.
//!
//! Names in the store are bytes chosen by any program that can write to the disk: they may hold terminal control sequences
//! or invalid UTF-8. Reports and findings show them through [`escaped`], which is reversible.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

/// Renders bytes as text: printable UTF-8 as it is, everything else as `\xNN` for bytes and `\u{N}` for characters,
/// a backslash doubled.
pub(crate) fn escaped<'a>(name: impl AsRef<OsStr> + 'a) -> String {
    escaped_bytes(name.as_ref().as_bytes()).into_owned()
}

/// One word of a command line that a message prints, quoted for a shell. Single quotes, between which a shell reads nothing.
pub(crate) fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = escaped(word.as_ref());
    match shlex::try_quote(&word) {
        Ok(Cow::Borrowed(plain)) => plain.to_owned(),
        _ => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A name as the last word of a command that a message prints: quoted, and no option whatever it begins with.
pub(crate) fn operand(name: impl AsRef<OsStr>) -> String {
    let word = quoted(name.as_ref());
    if name.as_ref().as_bytes().starts_with(b"-") { format!("-- {word}") } else { word }
}

/// As [`escaped`], for plain bytes.
pub(crate) fn escaped_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(is_plain)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                plain if is_plain(plain) => out.push(plain),
                other => write!(out, "\\u{{{:x}}}", u32::from(other)).expect("writing to a String cannot fail"),
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("writing to a String cannot fail");
        }
    }
    Cow::Owned(out)
}

/// Whether a character is shown as it is: neither a backslash, nor a control character, nor one that changes the direction
/// of the text around it.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && character != '\\'
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_control_bytes_and_broken_utf8_without_sending_them() {
        assert_eq!(escaped("team/app"), "team/app");
        assert_eq!(escaped("a\u{1b}[2J"), r"a\u{1b}[2J");
        assert_eq!(escaped(OsStr::new("C:\\x")), r"C:\\x");
        assert_eq!(escaped_bytes(b"a\nb"), "a\\u{a}b");
        assert_eq!(escaped_bytes(b"a\xff\xfeb"), "a\\xff\\xfeb");
        assert_eq!(escaped_bytes("\u{202e}txt".as_bytes()), "\\u{202e}txt");
        assert_eq!(escaped_bytes("größe".as_bytes()), "größe");
    }

    #[test]
    fn a_shell_reads_a_printed_name_as_one_word() {
        for (name, expected) in [
            ("team/app:v1", "team/app:v1"),
            ("$(x)", "'$(x)'"),
            ("a`b", "'a`b'"),
            ("q'x", r"'q'\''x'"),
            ("a\nb", r"'a\u{a}b'"),
            ("", "''"),
            ("-rf", "-- -rf"),
            ("-r f", "-- '-r f'"),
        ] {
            assert_eq!(operand(name), expected);
        }
    }
}
