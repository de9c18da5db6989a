//! Listings of multipart uploads and of their parts, looked at before they are believed.
//!
//! Little rests on them: what they leave out is not counted and stays. But what another program answers is no empty listing, and a server that
//! turns in a circle is not followed.

use std::time::SystemTime;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

/// The texts of elements by their names.
type Fields = Vec<(String, String)>;

/// A page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    fields: Fields,
    /// Its entries, each with its fields.
    entries: Vec<Fields>,
}

fn field<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    fields.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_str())
}

impl Page {
    /// Reads a page with one of these roots and such entries; nothing if it is no whole one.
    fn read(xml: &[u8], roots: &[&str], entry: &str) -> Option<Page> {
        let mut reader = Reader::from_reader(xml);
        let (mut page, mut path, mut is_closed) = (Page::default(), Vec::new(), false);
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    page.open(&path, name.clone(), (roots, entry)).filter(|()| !is_closed)?;
                    path.push(name);
                }
                Event::Empty(empty) => {
                    let name = empty.local_name().as_ref().to_owned();
                    page.open(&path, name, (roots, entry)).filter(|()| !is_closed)?;
                    is_closed |= path.is_empty();
                }
                Event::End(_) => {
                    path.pop()?;
                    is_closed |= path.is_empty();
                }
                Event::Text(text) => page.add(&path, entry, &text),
                Event::CData(text) => page.add(&path, entry, &text),
                Event::GeneralRef(reference) => {
                    let name: &str = &reference;
                    page.add(&path, entry, &unescape(&format!("&{name};")).ok()?);
                }
                Event::Eof => return (is_closed && path.is_empty()).then_some(page),
                _ => {}
            }
        }
    }

    /// Notes that an element begins; nothing if it is another root.
    fn open(&mut self, path: &[String], name: String, (roots, entry): (&[&str], &str)) -> Option<()> {
        match path {
            [] => return roots.contains(&name.as_str()).then_some(()),
            [_] if name == entry => self.entries.push(Fields::new()),
            [_] => self.fields.push((name, String::new())),
            [_, above] if above == entry => self.entries.last_mut()?.push((name, String::new())),
            _ => {}
        }
        Some(())
    }

    fn add(&mut self, path: &[String], entry: &str, text: &str) {
        let fields = match path {
            [_, name] if name != entry => Some(&mut self.fields),
            [_, above, _] if above == entry => self.entries.last_mut(),
            _ => None,
        };
        if let Some((_, field)) = fields.and_then(|fields| fields.last_mut()) {
            field.push_str(text);
        }
    }

    /// Whether more follows; nothing if it does not say.
    fn is_truncated(&self) -> Option<bool> {
        field(&self.fields, "IsTruncated")?.trim().parse().ok()
    }

    /// Whether a field says what was asked for, or nothing.
    fn repeats(&self, name: &str, asked: &str) -> bool {
        field(&self.fields, name).is_none_or(|told| told.is_empty() || told == asked)
    }
}

fn time(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(text.trim().parse::<jiff::Timestamp>().ok()?).ok()
}

/// Where a listing of multipart uploads goes on: behind a key, and an upload of it.
pub(super) type Marker = (String, String);

/// A multipart upload, as a listing has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) key: String,
    pub(super) id: String,
    pub(super) initiated: SystemTime,
}

/// Reads a page of multipart uploads, and where it goes on. Nothing if it is none, or another than what was asked for.
pub(super) fn uploads(xml: &[u8], prefix: &str, (key, id): &Marker) -> Option<(Vec<Begun>, Option<Marker>)> {
    let page = Page::read(xml, &["ListMultipartUploadsResult"], "Upload")?;
    let is_asked_for = page.repeats("Prefix", prefix) && page.repeats("KeyMarker", key) && page.repeats("UploadIdMarker", id);
    let begun = |fields: &Fields| {
        let key = field(fields, "Key").filter(|key| key.starts_with(prefix))?.to_owned();
        let id = field(fields, "UploadId").filter(|id| !id.is_empty())?.to_owned();
        Some(Begun { key, id, initiated: time(field(fields, "Initiated")?)? })
    };
    let all: Vec<Begun> = page.entries.iter().map(begun).collect::<Option<_>>().filter(|_| is_asked_for)?;
    if !page.is_truncated()? {
        return Some((all, None));
    }
    let text = |name| field(&page.fields, name).unwrap_or_default().to_owned();
    let next = (text("NextKeyMarker"), text("NextUploadIdMarker"));
    // One without a marker, or with the same, begins again; one without uploads leads nowhere.
    let goes_on = !next.0.is_empty() && next != (key.clone(), id.clone()) && !all.is_empty();
    goes_on.then_some((all, Some(next)))
}

/// A part of a multipart upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) size_bytes: u64,
    pub(super) modified: SystemTime,
}

/// Reads a page of the parts behind one of that number, and the number behind which it goes on. Nothing if it is none, or another one.
pub(super) fn parts(xml: &[u8], (key, id): (&str, &str), behind: u64) -> Option<(Vec<Part>, Option<u64>)> {
    // The server of the tests calls it otherwise.
    let page = Page::read(xml, &["ListPartsResult", "ListPartsResponse"], "Part")?;
    let part = |fields: &Fields| {
        let number = |name| field(fields, name)?.trim().parse().ok();
        Some(Part { number: number("PartNumber")?, size_bytes: number("Size")?, modified: time(field(fields, "LastModified")?)? })
    };
    let is_asked_for = page.repeats("Key", key) && page.repeats("UploadId", id);
    let all: Vec<Part> = page.entries.iter().map(part).collect::<Option<_>>().filter(|_| is_asked_for)?;
    let numbers = std::iter::once(behind).chain(all.iter().map(|part| part.number));
    let (is_rising, last) = (numbers.is_sorted_by(|one, other| one < other), all.last().map(|part| part.number));
    match (is_rising, page.is_truncated()?, last) {
        (true, false, _) => Some((all, None)),
        (true, true, Some(last)) => Some((all, Some(last))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOADS: &str = "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>a/c</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>\
        <IsTruncated>true</IsTruncated><Upload><Key>a/b&amp;c</Key><UploadId>1</UploadId><Initiator><ID>me</ID></Initiator>\
        <Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload><Upload><Key>a/c</Key><UploadId>2</UploadId>\
        <Initiated>2010-11-10T20:48:34Z</Initiated></Upload></ListMultipartUploadsResult>";
    const PARTS: &str = "<ListPartsResult><Key>a/c</Key><UploadId>2</UploadId><IsTruncated>true</IsTruncated>\
        <NextPartNumberMarker>7</NextPartNumberMarker><Part><PartNumber>3</PartNumber><LastModified>2010-11-10T20:48:34.000Z\
        </LastModified><Size>5</Size></Part><Part><PartNumber>7</PartNumber><LastModified>2010-11-10T20:48:35Z</LastModified>\
        <ETag>\"x\"</ETag><Size>6</Size></Part></ListPartsResult>";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_289_422_113 + seconds)
    }

    fn first() -> Marker {
        Marker::default()
    }

    #[test]
    fn multipart_uploads_are_read_and_where_more_of_them_are() {
        let (all, next) = uploads(UPLOADS.as_bytes(), "a/", &first()).expect("a page");
        let begun = |key: &str, id: &str, seconds| Begun { key: key.to_owned(), id: id.to_owned(), initiated: at(seconds) };
        assert_eq!(all, [begun("a/b&c", "1", 0), begun("a/c", "2", 1)]);
        assert_eq!(next, Some(("a/c".to_owned(), "2".to_owned())));
        let last = UPLOADS.replace(">true<", ">false<");
        assert_eq!(uploads(last.as_bytes(), "a/", &first()).expect("the last page").1, None);
        let empty = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        assert_eq!(uploads(empty.as_bytes(), "a/", &first()), Some((vec![], None)));
    }

    #[test]
    fn pages_that_turn_in_a_circle_or_are_others_are_none() {
        let refused = |xml: &str, marker: &Marker| assert_eq!(uploads(xml.as_bytes(), "a/", marker), None, "{xml}");
        refused(UPLOADS, &("a/c".to_owned(), "2".to_owned()));
        refused(&UPLOADS.replace("<Key>a/c", "<Key>b/c"), &first());
        refused(&UPLOADS.replace("<KeyMarker>", "<KeyMarker>z"), &first());
        refused(&UPLOADS.replace("<Bucket>", "<Prefix>b/</Prefix><Bucket>"), &first());
        refused(&UPLOADS.replace("<NextKeyMarker>a/c", "<NextKeyMarker>"), &first());
        refused(&UPLOADS.replace(">true<", "><"), &first());
        refused(&UPLOADS.replace("<UploadId>2", "<UploadId>"), &first());
        refused(&UPLOADS.replace("2010-", ""), &first());
        let empty = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker></ListMultipartUploadsResult>";
        refused(empty, &first());
        for other in ["<html/>", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", "{}", ""] {
            refused(other, &first());
        }
        (0..UPLOADS.len()).for_each(|cut| refused(&UPLOADS[..cut], &first()));
    }

    #[test]
    fn parts_are_read_in_the_order_of_their_numbers() {
        let of = |xml: &str, behind| parts(xml.as_bytes(), ("a/c", "2"), behind);
        let (all, next) = of(PARTS, 0).expect("a page");
        let part = |number, size_bytes, seconds| Part { number, size_bytes, modified: at(seconds) };
        assert_eq!((all, next), (vec![part(3, 5, 1), part(7, 6, 2)], Some(7)));
        assert_eq!(of(&PARTS.replace(">true<", ">false<"), 2).expect("the last page").1, None);
        assert_eq!(of(PARTS, 7), None, "the same again");
        assert_eq!(of(&PARTS.replace("<PartNumber>7", "<PartNumber>3"), 0), None);
        assert_eq!(of(&PARTS.replace("<Key>a/c", "<Key>a/d"), 0), None, "of another key");
        assert_eq!(of(&PARTS.replace("<UploadId>2", "<UploadId>3"), 0), None, "of another upload");
        assert_eq!(of(&PARTS.replace("<Size>5", "<Size>-5"), 0), None);
        let endless = "<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>";
        assert_eq!(of(endless, 0), None, "more follows nothing");
        (0..PARTS.len()).for_each(|cut| assert_eq!(of(&PARTS[..cut], 0), None));
    }
}
