//! Multipart uploads that were begun and not ended: listed, measured and aborted.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use opendal::{Error as Failure, ErrorKind};
use ureq::http::{Method, StatusCode};

use super::answers::error_of;
use super::client::{S3, in_seconds};
use super::direct::{Answer, Direct};
use super::multipart_pages::{Marker, parts, uploads};
use super::transport::is_busy;
use crate::error::Error;
use crate::store::Unseen;
use crate::store::object::requests::{Multipart, Refusal, Request, Sent, Told};

/// Pages of one listing that are read, each of up to a thousand multipart uploads. A server that never comes to an end has to be left somewhere.
const MOST_PAGES: usize = 10_000;
/// As many of them may be short; servers fill all but the last.
const MOST_SHORT_PAGES: usize = 500;
/// A page with fewer is a short one.
const SHORT: usize = 100;
/// Parts of one upload have numbers up to 10,000, a thousand on a page; some servers send fewer at once.
const MOST_PAGES_OF_PARTS: usize = 1_000;

const LISTING_RIGHT: &str = "s3:ListBucketMultipartUploads";
const PARTS_RIGHT: &str = "s3:ListMultipartUploadParts";
const ABORTING_RIGHT: &str = "s3:AbortMultipartUpload";

/// What came of asking for a page.
enum Asked<T> {
    Page(T),
    /// The multipart upload is not there.
    Gone,
    Unseen(Unseen),
}

impl S3 {
    /// Asks for a page until there is one, or it is known why there is none.
    fn page<T>(
        &self,
        (about, address): (&Path, String),
        right: &'static str,
        read: &dyn Fn(&[u8]) -> Option<T>,
    ) -> Result<Asked<T>, Error> {
        let mut unseen = None;
        let ask = || {
            unseen = None;
            let answer = self.send(Request::List, (Method::GET, address.clone()), &[], Vec::new())?;
            if is_gone(&answer) {
                return Ok(Asked::Gone);
            }
            if answer.status == StatusCode::OK {
                unseen = Some(Unseen::NoAnswer);
                let other = || Failure::new(ErrorKind::Unexpected, "the answer is no such listing").set_temporary();
                return read(&answer.body).map(Asked::Page).ok_or_else(other);
            }
            let failure = self.failure(&Method::GET, &answer);
            if !failure.is_temporary() {
                let is_denied = matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
                unseen = Some(if is_denied { Unseen::Denied(right) } else { Unseen::Unsupported });
            }
            // It was sent again until the deadline.
            Err(if is_busy(answer.status) { failure.set_persistent() } else { failure })
        };
        match self.ask(ask) {
            Ok(asked) => Ok(asked),
            Err(failure) => match unseen {
                Some(why) => {
                    tracing::info!("multipart uploads are not seen: {}", self.source(&failure));
                    Ok(Asked::Unseen(why))
                }
                None => Err(self.error("list multipart uploads of", about, &failure)),
            },
        }
    }

    /// What an answer that is no success says.
    fn failure(&self, method: &Method, answer: &Answer) -> Failure {
        let absent = || Failure::new(ErrorKind::Unexpected, "the server knows of no such key");
        self.direct.refusal(method, answer).unwrap_or_else(absent)
    }

    pub(super) fn list_multiparts(&self, prefix: &str) -> Result<Told<Vec<Multipart>>, Error> {
        let full = format!("{}{prefix}", self.base);
        let (mut all, mut seen, mut marker, mut short) = (Vec::new(), HashSet::new(), Marker::default(), 0);
        for _ in 0..MOST_PAGES {
            let mut query = format!("?uploads=&prefix={}", Direct::value(&full));
            for (name, value) in [("key-marker", &marker.0), ("upload-id-marker", &marker.1)] {
                if !value.is_empty() {
                    query.push_str(&format!("&{name}={}", Direct::value(value)));
                }
            }
            let page = self.page((Path::new(prefix), self.direct.of("", &query)), LISTING_RIGHT, &|xml| {
                let page = uploads(xml, &full, &marker)?;
                let is_new = |begun: &super::multipart_pages::Begun| !seen.contains(&(begun.key.clone(), begun.id.clone()));
                page.0.iter().all(is_new).then_some(page)
            })?;
            let (begun, next) = match page {
                Asked::Page(page) => page,
                Asked::Gone => return Ok(Err(Unseen::NoAnswer)),
                Asked::Unseen(why) => return Ok(Err(why)),
            };
            short += usize::from(begun.len() < SHORT);
            if short > MOST_SHORT_PAGES {
                break;
            }
            for one in begun {
                // Twice on one page is as wrong as on two.
                if !seen.insert((one.key.clone(), one.id.clone())) {
                    return Ok(Err(Unseen::NoAnswer));
                }
                all.push(Multipart { key: self.relative(&one.key), id: one.id, initiated: in_seconds(one.initiated) });
            }
            match next {
                Some(next) => marker = next,
                None => return Ok(Ok(all)),
            }
        }
        Ok(Err(Unseen::NoAnswer))
    }

    pub(super) fn list_parts(&self, multipart: &Multipart) -> Result<Told<Option<Sent>>, Error> {
        let key = self.full(&multipart.key);
        let (mut sent, mut behind) = (Sent::default(), 0);
        for _ in 0..MOST_PAGES_OF_PARTS {
            let mut query = format!("?uploadId={}", Direct::value(&multipart.id));
            if behind > 0 {
                query.push_str(&format!("&part-number-marker={behind}"));
            }
            let about = (multipart.key.as_path(), self.direct.of(&key, &query));
            let page = self.page(about, PARTS_RIGHT, &|xml| parts(xml, (&key, &multipart.id), behind))?;
            let (all, next) = match page {
                Asked::Page(page) => page,
                Asked::Gone => return Ok(Ok(None)),
                Asked::Unseen(why) => return Ok(Err(why)),
            };
            for part in all {
                sent.size_bytes = sent.size_bytes.saturating_add(part.size_bytes);
                sent.modified = sent.modified.max(Some(in_seconds(part.modified)));
            }
            match next {
                Some(next) => behind = next,
                None => return Ok(Ok(Some(sent))),
            }
        }
        Ok(Err(Unseen::NoAnswer))
    }

    pub(super) fn abort_multipart(&self, multipart: &Multipart) -> Result<(), Refusal> {
        let key = self.exact(&multipart.key)?;
        let address = self.direct.of(&key, &format!("?uploadId={}", Direct::value(&multipart.id)));
        let sent = self.send(Request::Delete, (Method::DELETE, address), &[], Vec::new());
        let answer = sent.map_err(|failure| self.refused(&failure))?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(()),
            // Another program may answer so.
            StatusCode::OK if answer.body.is_empty() => Ok(()),
            _ if is_gone(&answer) => Ok(()),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                let (code, _) = error_of(&answer.body);
                let why = format!("the server answers {code}; the credentials need {ABORTING_RIGHT} on its objects");
                Err(Refusal { source: io::Error::new(io::ErrorKind::PermissionDenied, why), passes: false })
            }
            status if status.is_success() => {
                let why = "the answer is none to the end of a multipart upload";
                Err(Refusal { source: io::Error::other(why), passes: true })
            }
            _ => Err(self.refused(&self.failure(&Method::DELETE, &answer))),
        }
    }
}

/// Whether the server says that a multipart upload is not there.
fn is_gone(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && error_of(&answer.body).0 == "NoSuchUpload"
}
