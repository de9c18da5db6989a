//! Requests that change a bucket, and what their answers say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

/// The root of the answer to a removal.
const REMOVED: &str = "DeleteResult";

/// The MD5 of a body, as its header has it.
pub(super) fn content_md5(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

/// The body of a request that removes keys. All of them are to be in the answer.
pub(super) fn removal(keys: &[String]) -> Vec<u8> {
    let objects: String = keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", escape(key.as_str()))).collect();
    let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Delete xmlns=\"{namespace}\"><Quiet>false</Quiet>{objects}</Delete>")
        .into_bytes()
}

/// Whether a key can be in XML: most control characters cannot, and the ends of lines become others.
pub(super) fn can_be_in_xml(key: &str) -> bool {
    !key.chars().any(|character| character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}'))
}

/// What an answer says of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) key: String,
    /// Why it was not removed: a code and a message.
    pub(super) refused: Option<(String, String)>,
}

/// What the answer to a removal says of each key; nothing if it is no whole one.
pub(super) fn told(xml: &[u8]) -> Option<Vec<Told>> {
    let mut reader = Reader::from_reader(xml);
    let mut all: Vec<Told> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut is_closed = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                match (path.len(), name.as_str()) {
                    (0, root) if is_closed || root != REMOVED => return None,
                    (1, "Deleted") => all.push(Told::default()),
                    (1, "Error") => all.push(Told { refused: Some(Default::default()), ..Told::default() }),
                    _ => {}
                }
                path.push(name);
            }
            Event::Empty(empty) if path.is_empty() => {
                if is_closed || empty.local_name().as_ref() != REMOVED {
                    return None;
                }
                is_closed = true;
            }
            Event::End(_) => {
                path.pop()?;
                is_closed |= path.is_empty();
            }
            Event::Text(text) => add(&path, &mut all, &text),
            Event::CData(text) => add(&path, &mut all, &text),
            Event::GeneralRef(reference) => {
                let name: &str = &reference;
                add(&path, &mut all, &quick_xml::escape::unescape(&format!("&{name};")).ok()?);
            }
            Event::Eof => return (is_closed && path.is_empty()).then_some(all),
            _ => {}
        }
    }
}

fn add(path: &[String], all: &mut [Told], text: &str) {
    let [_, element, field] = path else { return };
    let Some(last) = all.last_mut().filter(|_| element == "Deleted" || element == "Error") else { return };
    match (field.as_str(), &mut last.refused) {
        ("Key", _) => last.key.push_str(text),
        ("Code", Some((code, _))) => code.push_str(text),
        ("Message", Some((_, message))) => message.push_str(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "<?xml version=\"1.0\"?><DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Deleted><Key>a&amp;b/c</Key><DeleteMarker>true</DeleteMarker></Deleted>\
        <Error><Key>d</Key><Code>AccessDenied</Code><Message>not &lt;you&gt;</Message></Error></DeleteResult>";

    #[test]
    fn an_answer_names_what_was_removed_and_what_was_not() {
        let all = told(ANSWER.as_bytes()).expect("whole");
        assert_eq!(all[0], Told { key: "a&b/c".to_owned(), refused: None });
        assert_eq!(all[1].key, "d");
        assert_eq!(all[1].refused, Some(("AccessDenied".to_owned(), "not <you>".to_owned())));
        assert_eq!(all.len(), 2);
        assert_eq!(told(b"<DeleteResult/>"), Some(vec![]));
    }

    #[test]
    fn an_answer_that_is_cut_short_or_another_says_nothing() {
        for cut in 0..ANSWER.len() {
            assert_eq!(told(&ANSWER.as_bytes()[..cut]), None, "{}", &ANSWER[..cut]);
        }
        for other in ["<html><body/></html>", "<Error><Code>SlowDown</Code></Error>", "<ListBucketResult/>", "{}"] {
            assert_eq!(told(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_request_names_its_keys() {
        let body = removal(&["a&b".to_owned(), "c".to_owned()]);
        let text = String::from_utf8(body.clone()).expect("text");
        assert!(text.contains("<Quiet>false</Quiet><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key></Object>"), "{text}");
        assert_eq!(content_md5(b""), "1B2M2Y8AsgTpgAmY7PhCfg==");
        assert!(can_be_in_xml("a/b c\u{e9}") && !can_be_in_xml("a\u{1}") && !can_be_in_xml("a\r"));
    }
}
