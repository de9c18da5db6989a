//! Changes of a real bucket, each by one request, and what has to be known exactly for them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use opendal::{Error as Failure, ErrorKind};
use ureq::http::{Method, StatusCode, header};

use super::answers::versioning_of;
use super::changes::{Told, can_be_in_xml, content_md5, removal, told};
use super::client::S3;
use super::direct::Answer;
use super::transport::{RIGHTS_TO_CHANGE, passes_by_code, redacted, wait};
use crate::error::Error;
use crate::store::object::requests::{If, Put, Refusal, Request, Seen, Versions};

/// How often what changes nothing is asked again.
const RETRIES: u32 = 5;
/// Waits before a request is sent again, longer each time.
pub(super) fn pause(tries: u32) {
    std::thread::sleep(wait(tries));
}

impl S3 {
    /// The whole key, which must be text: another one that looks the same is another object.
    pub(super) fn exact(&self, key: &Path) -> Result<String, Refusal> {
        let not_text = || Refusal { source: io::Error::other("its name is no text in UTF-8"), passes: false };
        key.to_str().map(|_| self.full(key)).ok_or_else(not_text)
    }

    pub(super) fn refused(&self, failure: &Failure) -> Refusal {
        let source = match failure.kind() {
            ErrorKind::Unsupported => io::Error::new(io::ErrorKind::Unsupported, self.source(failure).to_string()),
            _ => self.source(failure),
        };
        Refusal { source, passes: failure.is_temporary() }
    }

    pub(super) fn send(
        &self,
        kind: Request,
        (method, address): (Method, String),
        headers: &[(header::HeaderName, String)],
        body: Vec<u8>,
    ) -> Result<Answer, Failure> {
        self.runtime.block_on(self.direct.send(kind, (method, address), headers, body))
    }

    /// Asks until there is an answer, because asking changes nothing.
    pub(super) fn ask<T>(&self, mut request: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut tries = 0;
        loop {
            match request() {
                Err(failure) if failure.is_temporary() && tries < RETRIES => {
                    tries += 1;
                    pause(tries);
                }
                answer => return answer,
            }
        }
    }

    pub(super) fn see_object(&self, key: &Path) -> Result<Option<Seen>, Error> {
        let failed = |failure: &Failure| self.error("read", key, failure);
        let see = || {
            let answer = self.send(Request::Get, (Method::GET, self.direct.of(&self.full(key), "")), &[], Vec::new())?;
            if answer.status != StatusCode::OK {
                return match self.direct.refusal(&Method::GET, &answer) {
                    Some(failure) => Err(failure),
                    None => Ok(None),
                };
            }
            match (answer.etag(), answer.modified()) {
                (Some(etag), Some(modified)) => Ok(Some(Seen { now: answer.date(), content: answer.body, etag, modified })),
                _ => Err(Failure::new(ErrorKind::Unexpected, "the answer has no ETag, or no time").set_temporary()),
            }
        };
        self.ask(see).map_err(|failure| failed(&failure))
    }

    pub(super) fn put_object(&self, key: &Path, content: &[u8], condition: If<'_>) -> Result<Put, Refusal> {
        let address = self.direct.of(&self.exact(key)?, "");
        let mut headers = vec![
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::HeaderName::from_static("content-md5"), content_md5(content)),
        ];
        match condition {
            If::Always => {}
            If::Absent => headers.push((header::IF_NONE_MATCH, "*".to_owned())),
            If::Is(etag) => headers.push((header::IF_MATCH, format!("\"{etag}\""))),
        }
        let sent = self.send(Request::Put, (Method::PUT, address), &headers, content.to_owned());
        let answer = sent.map_err(|failure| self.refused(&failure))?;
        match answer.status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(Put::Done(answer.etag())),
            // Another write is under way, or there is nothing to replace.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT if condition != If::Always => Ok(Put::Refused),
            _ => match self.direct.refusal(&Method::PUT, &answer) {
                Some(failure) => Err(self.refused(&failure)),
                None => Ok(Put::Refused),
            },
        }
    }

    pub(super) fn delete_objects(
        &self,
        keys: &[PathBuf],
        may_send: &dyn Fn() -> bool,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let full: Vec<String> = keys.iter().map(|key| self.exact(key)).collect::<Result<_, _>>()?;
        let ended = || Refusal { source: io::Error::other("the lease of the lock has ended; run again"), passes: false };
        let delete = |key: &String| if may_send() { self.delete_object(key) } else { Err(ended()) };
        let one_by_one = || Ok(full.iter().map(delete).collect());
        let is_alone = full.len() == 1 || self.deletes_one_by_one.load(Ordering::Relaxed);
        if is_alone || !full.iter().all(|key| can_be_in_xml(key)) {
            return one_by_one();
        }
        if !may_send() {
            return Err(ended());
        }
        let body = removal(&full);
        let headers = [
            (header::CONTENT_TYPE, "application/xml".to_owned()),
            (header::HeaderName::from_static("content-md5"), content_md5(&body)),
        ];
        let sent = self.send(Request::Delete, (Method::POST, self.direct.of("", "?delete=")), &headers, body);
        let answer = sent.map_err(|failure| self.refused(&failure))?;
        if answer.status != StatusCode::OK {
            let unexpected = || Failure::new(ErrorKind::Unexpected, "the server knows of no such key, or of no bucket");
            let failure = self.direct.refusal(&Method::POST, &answer).unwrap_or_else(unexpected);
            if failure.kind() != ErrorKind::Unsupported && answer.status != StatusCode::METHOD_NOT_ALLOWED {
                return Err(self.refused(&failure));
            }
            self.deletes_one_by_one.store(true, Ordering::Relaxed);
            return one_by_one();
        }
        let Some(told) = told(&answer.body) else {
            let why = "the answer to a removal is no whole one";
            return Err(Refusal { source: io::Error::other(why), passes: true });
        };
        let told: HashMap<String, Told> = told.into_iter().map(|told| (told.key.clone(), told)).collect();
        Ok(full.iter().map(|key| self.judged(told.get(key))).collect())
    }

    /// What an answer says of one key.
    fn judged(&self, told: Option<&Told>) -> Result<(), Refusal> {
        let Some(Told { refused, .. }) = told else {
            return Err(Refusal { source: io::Error::other("the answer does not say that it was removed"), passes: true });
        };
        let Some((code, message)) = refused else { return Ok(()) };
        let next = if code == "AccessDenied" { format!("; {RIGHTS_TO_CHANGE}") } else { String::new() };
        let text = format!("the server answers {code}: {}{next}", message.trim_end_matches('.'));
        Err(Refusal { source: io::Error::other(redacted(&text, &self.secrets)), passes: passes_by_code(code) })
    }

    /// Removes one key. That there is none is no error.
    fn delete_object(&self, full: &str) -> Result<(), Refusal> {
        let sent = self.send(Request::Delete, (Method::DELETE, self.direct.of(full, "")), &[], Vec::new());
        let answer = sent.map_err(|failure| self.refused(&failure))?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(()),
            // Another program may answer so.
            StatusCode::OK if answer.body.is_empty() => Ok(()),
            status if status.is_success() => {
                Err(Refusal { source: io::Error::other("the answer is none to a removal"), passes: true })
            }
            _ => self.direct.refusal(&Method::DELETE, &answer).map_or(Ok(()), |failure| Err(self.refused(&failure))),
        }
    }

    pub(super) fn bucket_versions(&self) -> Versions {
        let ask = || {
            let address = self.direct.of("", "?versioning=");
            let answer = self.send(Request::Settings, (Method::GET, address), &[], Vec::new())?;
            if answer.status != StatusCode::OK {
                let unexpected = || Failure::new(ErrorKind::Unexpected, "it does not know the bucket");
                return Err(self.direct.refusal(&Method::GET, &answer).unwrap_or_else(unexpected));
            }
            let other = || Failure::new(ErrorKind::Unexpected, "what it answers is no versioning").set_temporary();
            versioning_of(&answer.body).ok_or_else(other)
        };
        match self.ask(ask) {
            Ok(status) if status == "Enabled" => Versions::Kept,
            Ok(_) => Versions::None,
            Err(failure) if failure.kind() == ErrorKind::PermissionDenied => {
                Versions::Unknown("the credentials lack s3:GetBucketVersioning".to_owned())
            }
            Err(failure) => Versions::Unknown(self.source(&failure).to_string()),
        }
    }
}
