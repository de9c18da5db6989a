//! Sends requests, counts them, and tells what went wrong in words.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opendal::raw::Operation;
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use ureq::http::{Method, Request, Response, StatusCode, response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, BodyReader};

use super::answers;
use super::governor::{Governor, Permit};
use crate::store::object::requests::{Request as Kind, RequestCounts};

/// How long it may take to reach the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may say nothing.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be busy before that is an error.
const BUSY_FOR: Duration = Duration::from_secs(30);
/// How long to wait before asking a server again that was busy: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// As much is read of a body in one go.
const CHUNK_BYTES: usize = 128 << 10;
/// No error is longer, and no page of 1,000 keys of 1,024 bytes each.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

const RIGHTS: &str = "the credentials need s3:ListBucket on the bucket and s3:GetObject on its objects";
pub(super) const RIGHTS_TO_CHANGE: &str = "the credentials need s3:PutObject and s3:DeleteObject on its objects";
const KEYS: &str = "check accesskey and secretkey in the configuration, or what the AWS_ variables and the profile come to";
const PLACE: &str = "check the bucket's name, the region and the endpoint";
const REACH: &str = "check the endpoint, and that it can be reached from here";
const LATER: &str = "the server may be busy: run again later";

/// Requests that were sent, by kind.
#[derive(Debug, Default)]
pub(super) struct Counts {
    list: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    other: AtomicU64,
}

impl Counts {
    fn add(&self, kind: Kind) {
        let count = match kind {
            Kind::List => &self.list,
            Kind::Get => &self.get,
            Kind::Head => &self.head,
            Kind::Put | Kind::Delete | Kind::Settings => &self.other,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> RequestCounts {
        let [list, get, head, other] =
            [&self.list, &self.get, &self.head, &self.other].map(|count| count.load(Ordering::Relaxed));
        RequestCounts { list, get, head, other }
    }
}

/// Sends requests over HTTP, on the thread that asks.
#[derive(Clone)]
pub(super) struct Transport {
    agent: Agent,
    counts: Arc<Counts>,
    governor: Arc<Governor>,
    busy_for: Duration,
    secrets: Vec<String>,
}

/// Whether a server says by a status that it is busy.
pub(super) fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// Notes how a request was answered. Says whether the server is busy.
fn note(permit: &Permit, status: StatusCode) -> bool {
    match is_busy(status) {
        true => permit.refused(),
        false => permit.answered(),
    }
    is_busy(status)
}

/// How long to wait before the same is sent again for the `tries`th time. Between a half and all of what doubles each time, so that those who were
/// refused together do not come back together.
pub(super) fn wait(tries: u32) -> Duration {
    let whole = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tries.min(16))).min(LONGEST_WAIT);
    let random = RandomState::new().hash_one(tries) % 1024;
    whole / 2 + whole / 2048 * u32::try_from(random).unwrap_or_default()
}

/// How certificates are judged.
///
/// # Errors
///
/// When the bundle cannot be read.
pub(super) fn tls(skip_verify: bool, bundle: Option<&std::path::Path>) -> io::Result<TlsConfig> {
    let tls = TlsConfig::builder().disable_verification(skip_verify);
    let Some(bundle) = bundle else { return Ok(tls.build()) };
    let pem = std::fs::read(bundle)?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(io::Error::other("there is no certificate in it"));
    }
    Ok(tls.root_certs(RootCerts::new_with_certs(&certificates)).build())
}

impl Transport {
    pub(super) fn new(tls: TlsConfig, jobs: usize, counts: Arc<Counts>, secrets: Vec<String>) -> Transport {
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // To another region is an answer, and what was signed for one host is not for another.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .timeout_per_write(Some(SILENCE_TIMEOUT))
            .max_idle_connections(jobs)
            .max_idle_connections_per_host(jobs)
            .user_agent(concat!("regsweep/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Transport { agent, counts, governor: Governor::new(jobs), busy_for: BUSY_FOR, secrets }
    }

    fn send(&self, request: Request<Buffer>) -> Result<Response<ureq::Body>, Error> {
        let (parts, body) = request.into_parts();
        let sent = match body.is_empty() {
            true => self.agent.run(Request::from_parts(parts, ())),
            false => self.agent.run(Request::from_parts(parts, body.to_vec())),
        };
        sent.map_err(|error| {
            let is_for_good = match &error {
                ureq::Error::Io(source) => source.kind() == io::ErrorKind::InvalidData,
                ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => false,
                _ => true,
            };
            let error = self.error(ErrorKind::Unexpected, &error.to_string(), REACH);
            if is_for_good { error } else { error.set_temporary() }
        })
    }

    /// Sends a request that changes nothing as soon as it may be under way, and again while the server is busy.
    fn send_in_turn(&self, kind: Kind, request: &Request<Buffer>) -> Result<(Response<ureq::Body>, Permit), Error> {
        let (begun, mut tries) = (Instant::now(), 0);
        loop {
            let permit = self.governor.begin();
            self.counts.add(kind);
            let answer = self.send(request.clone())?;
            if !note(&permit, answer.status()) {
                return Ok((answer, permit));
            }
            tries += 1;
            let wait = wait(tries);
            if begun.elapsed() + wait > self.busy_for {
                return Ok((answer, permit));
            }
            // Others may go on meanwhile.
            drop((answer, permit));
            tracing::info!("the server is busy, and is asked again");
            std::thread::sleep(wait);
        }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// When there is none. It is temporary if nothing is known of the request then.
    pub(super) fn exchange(&self, kind: Kind, request: Request<Buffer>) -> Result<(response::Parts, Vec<u8>), Error> {
        let (sent, _permit) = match kind {
            Kind::List => self.send_in_turn(kind, &request)?,
            _ => {
                let permit = self.governor.begin_at_once();
                self.counts.add(kind);
                let sent = self.send(request)?;
                note(&permit, sent.status());
                (sent, permit)
            }
        };
        let (parts, body) = sent.into_parts();
        let mut answer = Vec::new();
        let read = body.into_reader().take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
        read.map_err(|error| self.error(ErrorKind::Unexpected, &format!("{BROKEN}: {error}"), REACH).set_temporary())?;
        Ok((parts, answer))
    }

    /// An error without anything secret in it.
    fn error(&self, kind: ErrorKind, what: &str, next: &str) -> Error {
        Error::new(kind, redacted(&format!("{what}; {next}"), &self.secrets))
    }

    /// What a server means by a status; nothing if it says that there is no such key.
    pub(super) fn refusal(&self, method: &Method, status: StatusCode, xml: &[u8]) -> Option<Error> {
        let (code, message) = answers::error_of(xml);
        let is_absence = match code.as_str() {
            "NoSuchKey" => true,
            // An answer to HEAD has no body.
            "" => *method == Method::HEAD && status == StatusCode::NOT_FOUND,
            _ => false,
        };
        if is_absence {
            return None;
        }
        let what = match (code.is_empty(), message.is_empty()) {
            (true, _) => format!("the server answers {status}"),
            (false, true) => format!("the server answers {code} ({status})"),
            (false, false) => format!("the server answers {code}: {} ({status})", message.trim_end_matches('.')),
        };
        let passes = (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
            || status == StatusCode::TOO_MANY_REQUESTS
            || passes_by_code(&code);
        let (kind, next) = match (code.as_str(), status) {
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken", _) => {
                (ErrorKind::PermissionDenied, KEYS)
            }
            ("NoSuchBucket" | "PermanentRedirect" | "AuthorizationHeaderMalformed" | "InvalidBucketName", _) => {
                (ErrorKind::ConfigInvalid, PLACE)
            }
            (_, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) if *method == Method::GET || *method == Method::HEAD => {
                (ErrorKind::PermissionDenied, RIGHTS)
            }
            (_, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => (ErrorKind::PermissionDenied, RIGHTS_TO_CHANGE),
            ("NotImplemented" | "MethodNotAllowed", _) => (ErrorKind::Unsupported, PLACE),
            _ if passes => (ErrorKind::RateLimited, LATER),
            _ => (ErrorKind::Unexpected, PLACE),
        };
        let error = self.error(kind, &what, next);
        Some(if passes { error.set_temporary() } else { error })
    }
}

/// Whether what a server calls so may succeed later.
pub(super) fn passes_by_code(code: &str) -> bool {
    matches!(code, "SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable" | "OperationAborted")
}

/// A text without what must not be seen.
pub(super) fn redacted(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "..."))
}

/// The parts of a body, as they come.
struct Parts {
    reader: Mutex<BodyReader<'static>>,
    /// How many bytes have yet to come, if that was said.
    left: Option<u64>,
    is_broken: bool,
    /// It is under way until all of it has come.
    _permit: Option<Permit>,
}

/// What begins the message of a body that ended before it was whole.
const BROKEN: &str = "the answer breaks off";

/// Whether reading on may help. Such an error is not called temporary: then the same body would be read on, whose rest is lost.
pub(super) fn is_broken_off(error: &Error) -> bool {
    error.message().starts_with(BROKEN)
}

fn broken_off(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unexpected, format!("{BROKEN}: {why}; {REACH}"))
}

impl Iterator for Parts {
    type Item = Result<Buffer, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return Some(Err(broken_off("nothing more came")));
        }
        let mut part = vec![0; CHUNK_BYTES];
        let read = self.reader.get_mut().unwrap_or_else(PoisonError::into_inner).read(&mut part);
        let count = match read {
            Ok(count) => count,
            Err(error) => {
                self.is_broken = true;
                return Some(Err(broken_off(error)));
            }
        };
        let come = self.left.map(|left| left.checked_sub(count as u64));
        if matches!(come, Some(None)) || (count == 0 && come.flatten().is_some_and(|left| left > 0)) {
            self.is_broken = true;
            return Some(Err(broken_off("it is not as long as it says")));
        }
        self.left = come.flatten();
        part.truncate(count);
        (count > 0).then(|| Ok(Buffer::from(part)))
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>, Error> {
        let operation = request.extensions().get::<Operation>().copied();
        let (method, query) = (request.method().clone(), request.uri().query().unwrap_or_default().to_owned());
        let kind = operation.map(|operation| match operation {
            Operation::List => Kind::List,
            Operation::Read => Kind::Get,
            Operation::Stat => Kind::Head,
            _ => Kind::Put,
        });
        let (sent, permit) = match kind {
            Some(kind @ (Kind::List | Kind::Get | Kind::Head)) => {
                let (sent, permit) = self.send_in_turn(kind, &request)?;
                (sent, Some(permit))
            }
            kind => {
                kind.into_iter().for_each(|kind| self.counts.add(kind));
                (self.send(request)?, None)
            }
        };
        let (parts, body) = sent.into_parts();
        let size = body.content_length();
        let is_refused = operation.is_some() && !parts.status.is_success();
        if !is_refused && operation != Some(Operation::List) {
            let is_head = method == Method::HEAD;
            if operation == Some(Operation::Read) && size.is_none() && !parts.headers.contains_key("transfer-encoding") {
                return Err(self.error(ErrorKind::Unexpected, "the answer does not say how long it is", REACH));
            }
            // An answer to HEAD is as long as it says without being sent. Lengths are compared here and not once more in the library, which
            // would read on where nothing is left.
            let reader = Mutex::new(body.into_reader());
            let parts_of_it = Parts { reader, left: size.filter(|_| !is_head), is_broken: false, _permit: permit };
            return Ok(Response::from_parts(parts, HttpBody::new(futures_util::stream::iter(parts_of_it), None)));
        }
        let mut answer = Vec::new();
        if method != Method::HEAD {
            let read = body.into_reader().take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
            let broken = |error: io::Error| {
                self.error(ErrorKind::Unexpected, &format!("the answer breaks off: {error}"), REACH).set_temporary()
            };
            read.map_err(broken)?;
        }
        match is_refused {
            // What was busy until the deadline is not asked for the same again.
            true => {
                let refusal = self.refusal(&method, parts.status, &answer);
                refusal.map_or(Ok(()), |refusal| Err(if is_busy(parts.status) { refusal.set_persistent() } else { refusal }))?;
            }
            false => answers::ensure_page(&query, &answer)?,
        }
        let size = Some(answer.len() as u64);
        let whole = futures_util::stream::iter([Ok(Buffer::from(answer))]);
        Ok(Response::from_parts(parts, HttpBody::new(whole, size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport() -> Transport {
        Transport::new(TlsConfig::builder().build(), 1, Arc::default(), vec!["hush".to_owned()])
    }

    #[test]
    fn a_status_says_what_to_do_and_whether_it_passes() {
        let error = |code: &str| format!("<Error><Code>{code}</Code><Message>no.</Message></Error>");
        for (status, xml, passes, words) in [
            (403, error("AccessDenied"), false, "AccessDenied: no (403 Forbidden); the credentials need s3:ListBucket"),
            (403, String::new(), false, "answers 403 Forbidden; the credentials need"),
            (403, error("SignatureDoesNotMatch"), false, "check accesskey and secretkey"),
            (404, error("NoSuchBucket"), false, "check the bucket's name"),
            (404, "<html></html>".to_owned(), false, "404 Not Found"),
            (301, error("PermanentRedirect"), false, "the region and the endpoint"),
            (503, error("SlowDown"), true, "run again later"),
            (500, String::new(), true, "run again later"),
            (429, String::new(), true, "run again later"),
            (403, error("hush"), false, "answers ...: no"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = transport().refusal(&Method::GET, status, xml.as_bytes()).expect("an error");
            assert_eq!(error.is_temporary(), passes, "{error}");
            assert!(error.message().contains(words), "{}", error.message());
        }
    }

    #[test]
    fn a_server_that_stays_busy_is_asked_until_the_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}/", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let _ = client.read(&mut [0; 4096]);
                let answer = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = io::Write::write_all(&mut client, answer.as_bytes());
            }
        });
        let transport = Transport { busy_for: Duration::from_millis(700), governor: Governor::new(8), ..transport() };
        let request = || Request::get(&address).body(Buffer::new()).expect("a request");
        let (parts, _) = transport.exchange(Kind::List, request()).expect("an answer");
        assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
        let asked = transport.counts.now().list;
        assert!((2..5).contains(&asked), "{asked}");
        // What changes something is for its caller to send again.
        transport.exchange(Kind::Put, request()).expect("an answer");
        assert_eq!(transport.counts.now().other, 1);
        // And that it was refused counts as well.
        let transport = Transport { governor: Governor::new(2), ..transport };
        transport.exchange(Kind::Delete, request()).expect("an answer");
        let _all = transport.governor.begin();
        assert!(transport.governor.is_full());
    }

    #[test]
    fn waits_grow_up_to_a_limit_and_differ() {
        for (tries, whole) in [(1, 400), (2, 800), (9, 5000), (u32::MAX, 5000)] {
            let waits: Vec<Duration> = (0..20).map(|_| wait(tries)).collect();
            let whole = Duration::from_millis(whole);
            assert!(waits.iter().all(|wait| (whole / 2..=whole).contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }

    #[test]
    fn only_the_server_says_that_a_key_is_not_there() {
        let missing = b"<Error><Code>NoSuchKey</Code></Error>";
        assert!(transport().refusal(&Method::GET, StatusCode::NOT_FOUND, missing).is_none());
        assert!(transport().refusal(&Method::GET, StatusCode::NOT_FOUND, b"not here").is_some());
        assert!(transport().refusal(&Method::HEAD, StatusCode::NOT_FOUND, b"").is_none());
        assert!(transport().refusal(&Method::HEAD, StatusCode::FORBIDDEN, b"").is_some());
    }
}
