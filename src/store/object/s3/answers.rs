//! What a server answers, looked at before it is believed.
//!
//! Whoever parses a listing leniently takes a page of another program, or the first half of a page, for an empty bucket. So a page has to be
//! one: a whole `ListBucketResult` for the prefix and the token that were asked for, which says whether more follows, and how to ask for that.

use std::borrow::Cow;

use opendal::{Error, ErrorKind};
use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::Event;

/// The root of a listing's answer.
const LISTING: &str = "ListBucketResult";

/// Texts of the elements right below the root of an answer.
struct Answer {
    root: String,
    /// Names and texts, in order.
    fields: Vec<(String, String)>,
}

impl Answer {
    /// Reads an answer to its end; nothing if it is no whole XML.
    fn read(xml: &[u8]) -> Option<Answer> {
        let mut reader = Reader::from_reader(xml);
        let mut answer = Answer { root: String::new(), fields: Vec::new() };
        let (mut depth, mut is_closed) = (0_usize, false);
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    match depth {
                        0 => answer.root = name,
                        1 => answer.fields.push((name, String::new())),
                        _ => {}
                    }
                    depth += 1;
                }
                Event::Empty(empty) if depth == 1 => {
                    answer.fields.push((empty.local_name().as_ref().to_owned(), String::new()));
                }
                Event::Empty(empty) if depth == 0 => {
                    answer.root = empty.local_name().as_ref().to_owned();
                    is_closed = true;
                }
                Event::End(_) => {
                    depth = depth.checked_sub(1)?;
                    is_closed |= depth == 0;
                }
                Event::Text(text) if depth == 2 => {
                    answer.fields.last_mut()?.1.push_str(&text);
                }
                Event::GeneralRef(reference) if depth == 2 => {
                    let name: &str = &reference;
                    let text = quick_xml::escape::unescape(&format!("&{name};")).map(Cow::into_owned).ok()?;
                    answer.fields.last_mut()?.1.push_str(&text);
                }
                Event::CData(text) if depth == 2 => {
                    answer.fields.last_mut()?.1.push_str(&text);
                }
                Event::Eof => return (is_closed && depth == 0).then_some(answer),
                _ => {}
            }
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_str())
    }
}

/// The code and the message of an error, as far as the server gave them.
pub(super) fn error_of(xml: &[u8]) -> (String, String) {
    let Some(answer) = Answer::read(xml).filter(|answer| answer.root == "Error") else { return Default::default() };
    let field = |name| answer.field(name).unwrap_or_default().to_owned();
    (field("Code"), field("Message"))
}

/// What a bucket says of its versions; nothing if that is no answer to it.
pub(super) fn versioning_of(xml: &[u8]) -> Option<String> {
    // The server of the tests calls it otherwise.
    let roots = ["VersioningConfiguration", "GetBucketVersioningResponse"];
    let answer = Answer::read(xml).filter(|answer| roots.contains(&answer.root.as_str()))?;
    Some(answer.field("Status").unwrap_or_default().trim().to_owned())
}

/// A value of a query, decoded.
fn asked(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// Makes sure that an answer is the page that a query asked for.
///
/// # Errors
///
/// When it is not. It may be the next time, so these errors are temporary.
pub(super) fn ensure_page(query: &str, xml: &[u8]) -> Result<(), Error> {
    let is_page = || -> Result<(), String> {
        let answer = Answer::read(xml).ok_or("the listing is no whole XML: it was cut short, or is something else")?;
        if answer.root != LISTING {
            return Err(format!("what was answered is no listing but <{}>", answer.root));
        }
        if answer.field("EncodingType").is_some_and(|encoding| !encoding.is_empty()) {
            return Err("the listing has its keys encoded, which was not asked for".to_owned());
        }
        for (parameter, field) in [("prefix", "Prefix"), ("continuation-token", "ContinuationToken")] {
            let (wanted, told) = (asked(query, parameter).unwrap_or_default(), answer.field(field));
            if told.is_some_and(|told| !told.is_empty() && told != wanted) {
                return Err(format!("the page is another than the one that was asked for: its {field} differs"));
            }
        }
        let next = answer.field("NextContinuationToken").filter(|token| !token.is_empty());
        match (answer.field("IsTruncated").map(str::trim), next) {
            (Some("false"), _) => Ok(()),
            (Some("true"), None) => Err("more follows the page, and it does not say how to ask for that".to_owned()),
            (Some("true"), Some(next)) if asked(query, "continuation-token").as_deref() == Some(next) => {
                Err("the page that follows is the same again".to_owned())
            }
            (Some("true"), Some(_)) => Ok(()),
            _ => Err("the page does not say whether more follows".to_owned()),
        }
    };
    is_page().map_err(|why| Error::new(ErrorKind::Unexpected, why).set_temporary())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
        <Prefix>a&amp;b/</Prefix><KeyCount>1</KeyCount><IsTruncated>true</IsTruncated><NextContinuationToken>t 2</NextContinuationToken>\
        <Contents><Key>a&amp;b/c</Key><Size>1</Size></Contents></ListBucketResult>";

    fn refused(query: &str, xml: &str) -> String {
        let error = ensure_page(query, xml.as_bytes()).expect_err(xml);
        assert!(error.is_temporary(), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn a_page_is_the_one_that_was_asked_for_and_whole() {
        let query = "list-type=2&prefix=a%26b/";
        ensure_page(query, PAGE.as_bytes()).expect("a page");
        ensure_page(&format!("{query}&continuation-token=t%201"), PAGE.as_bytes()).expect("another page");
        let last = PAGE.replace(">true<", ">false<");
        ensure_page(query, last.as_bytes()).expect("the last page");
        assert!(refused("list-type=2&prefix=b/", PAGE).contains("its Prefix differs"));
        assert!(refused(&format!("{query}&continuation-token=t%202"), PAGE).contains("same again"));
        let echoed = PAGE.replace("<KeyCount>", "<ContinuationToken>t 0</ContinuationToken><KeyCount>");
        assert!(refused(&format!("{query}&continuation-token=t%201"), &echoed).contains("its ContinuationToken differs"));
        for cut in 0..PAGE.len() {
            refused(query, &PAGE[..cut]);
        }
    }

    #[test]
    fn what_is_no_listing_is_no_empty_bucket() {
        let query = "list-type=2";
        for (xml, why) in [
            ("<html><body/></html>", "no listing but <html>"),
            ("<Error><Code>AccessDenied</Code></Error>", "no listing but <Error>"),
            ("<ListBucketResult/>", "whether more follows"),
            ("<ListBucketResult></ListBucketResult>", "whether more follows"),
            ("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "how to ask"),
            ("<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType></ListBucketResult>", "encoded"),
            ("", "no whole XML"),
            ("{}", "no whole XML"),
        ] {
            assert!(refused(query, xml).contains(why), "{xml}: {}", refused(query, xml));
        }
    }

    #[test]
    fn a_bucket_says_whether_it_keeps_versions() {
        let of = |xml: &str| versioning_of(xml.as_bytes());
        assert_eq!(of("<VersioningConfiguration/>"), Some(String::new()));
        assert_eq!(of("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").as_deref(), Some("Enabled"));
        assert_eq!(of("<VersioningConfiguration><Status>Enabled</Status>"), None);
        assert_eq!(of("<html></html>"), None);
    }

    #[test]
    fn an_error_has_a_code_and_a_message() {
        let xml =
            b"<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>not &lt;there&gt;</Message><Key>x</Key></Error>";
        assert_eq!(error_of(xml), ("NoSuchKey".to_owned(), "not <there>".to_owned()));
        assert_eq!(error_of(b"<html><Code>x</Code></html>"), Default::default());
        assert_eq!(error_of(b""), Default::default());
    }
}
