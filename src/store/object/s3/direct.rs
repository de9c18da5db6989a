//! Requests that the library has no words for, or of whose answers it does not tell enough: signed and sent as its own are.

use std::fmt;
use std::time::SystemTime;

use opendal::{Buffer, Error, ErrorKind, HttpTransporter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, OsEnv, ProvideCredentialChain, Signer};
use reqsign_file_read_tokio::TokioFileRead;
use ureq::http::{HeaderMap, Method, Request, StatusCode, header};

use super::transport::Transport;
use crate::store::object::requests::Request as Kind;
use crate::store::object::settings::BucketSettings;

/// What a path keeps as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What a value of a query keeps as it is.
const VALUE: &AsciiSet = &PATH.add(b'/');

/// Signs requests and sends them.
pub(super) struct Direct {
    signer: Signer<Credential>,
    transport: Transport,
    /// The address of the bucket, without a slash at its end.
    bucket: String,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn etag(&self) -> Option<String> {
        let etag = self.header(header::ETAG)?.trim_matches('"');
        (!etag.is_empty()).then(|| etag.to_owned())
    }

    /// The server's time.
    pub(super) fn date(&self) -> Option<SystemTime> {
        time(self.header(header::DATE)?)
    }

    pub(super) fn modified(&self) -> Option<SystemTime> {
        time(self.header(header::LAST_MODIFIED)?)
    }

    /// Whether the body is as long as the answer says.
    pub(super) fn is_whole(&self) -> bool {
        let length = self.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        length.is_none_or(|length: usize| length == self.body.len())
    }
}

/// Times in headers have the format of mail.
fn time(text: &str) -> Option<SystemTime> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    SystemTime::try_from(time).ok()
}

/// The address of a bucket.
fn address(settings: &BucketSettings) -> String {
    let endpoint = settings.endpoint();
    let endpoint = endpoint.trim_end_matches('/');
    match (settings.is_path_style, endpoint.split_once("://")) {
        (false, Some((scheme, host))) => format!("{scheme}://{}.{host}", settings.bucket),
        _ => format!("{endpoint}/{}", settings.bucket),
    }
}

impl Direct {
    pub(super) fn new(settings: &BucketSettings, transport: Transport) -> Direct {
        // In the order in which the library looks for them.
        let mut credentials = ProvideCredentialChain::new().push(DefaultCredentialProvider::builder().build());
        if let Some(keys) = &settings.keys {
            let given = StaticCredentialProvider::new(&keys.access_key, &keys.secret_key);
            credentials = credentials.push_front(match &keys.session_token {
                Some(token) => given.with_session_token(token),
                None => given,
            });
        }
        let context =
            Context::new().with_file_read(TokioFileRead).with_http_send(HttpTransporter::new(transport.clone())).with_env(OsEnv);
        let signer = Signer::new(context, credentials, RequestSigner::new("s3", &settings.region));
        Direct { signer, transport, bucket: address(settings) }
    }

    /// The address of a key, with a query.
    pub(super) fn of(&self, key: &str, query: &str) -> String {
        format!("{}/{}{query}", self.bucket, utf8_percent_encode(key, PATH))
    }

    /// A value in a query.
    pub(super) fn value(text: &str) -> impl fmt::Display + '_ {
        utf8_percent_encode(text, VALUE)
    }

    /// Sends a request once, and reads the answer to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be signed, or no whole answer comes. It is temporary if nothing is known of the request then.
    pub(super) async fn send(
        &self,
        kind: Kind,
        (method, address): (Method, String),
        headers: &[(header::HeaderName, String)],
        body: Vec<u8>,
    ) -> Result<Answer, Error> {
        let mut request = Request::builder().method(method).uri(address);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))?;
        let (mut parts, ()) = request.into_parts();
        self.signer.sign(&mut parts, None).await.map_err(|error| {
            let text = format!("cannot sign the request: {error}; no credential may be known");
            let signed = Error::new(ErrorKind::PermissionDenied, text);
            if error.is_retryable() { signed.set_temporary() } else { signed }
        })?;
        // The client knows it, as for the requests of the library.
        parts.headers.remove(header::HOST);
        let (parts, body) = self.transport.exchange(kind, Request::from_parts(parts, Buffer::from(body)))?;
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        match answer.is_whole() {
            true => Ok(answer),
            false => Err(Error::new(ErrorKind::Unexpected, "the answer is not as long as it says").set_temporary()),
        }
    }

    /// What a server means by an answer that is no success; nothing if it says that there is no such key.
    pub(super) fn refusal(&self, method: &Method, answer: &Answer) -> Option<Error> {
        self.transport.refusal(method, answer.status, &answer.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_the_path_or_by_the_host() {
        let settings = |endpoint: Option<&str>, is_path_style| BucketSettings {
            bucket: "images".to_owned(),
            prefix: "a/b".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: endpoint.map(str::to_owned),
            is_path_style,
            skip_verify: false,
            ca_bundle: None,
            keys: None,
        };
        assert_eq!(address(&settings(Some("http://s:1/"), true)), "http://s:1/images");
        assert_eq!(address(&settings(None, false)), "https://images.s3.eu-west-1.amazonaws.com");
    }

    #[test]
    fn times_are_read_as_servers_write_them() {
        let expected = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_255_369_650);
        assert_eq!(time("Mon, 12 Oct 2009 17:47:30 GMT"), Some(expected));
        assert_eq!(time("yesterday"), None);
    }
}
