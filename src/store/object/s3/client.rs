//! Asks a real bucket.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use opendal::layers::RetryLayer;
use opendal::services::S3 as Builder;
use opendal::{ErrorKind, HttpTransporter, Metadata, Operator};
use tokio::runtime::Runtime;

use super::direct::Direct;
use super::transport::{Counts, Transport, is_broken_off, redacted, tls};
use super::writes::pause;
use crate::error::{Context as _, Error};
use crate::escape::escaped;
use crate::store::object::requests::{
    If, Level, Listed, Multipart, Object, Put, Refusal, RequestCounts, Requests, Seen, Sent, Told, Versions,
};
use crate::store::object::settings::BucketSettings;
use crate::store::{BlobContent, Stat};

/// How often a request is sent again whose failure may pass: waiting 0.2 s first and twice as long each time, or up to twice that, some ten
/// seconds in all. Servers ask for that when they are busy; what lasts longer is for the next run.
const RETRIES: usize = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often reading goes on where it broke off, without a byte in between.
const RESUMPTIONS: u32 = 3;

/// A bucket on a server that speaks S3.
pub(in crate::store) struct S3 {
    operator: Operator,
    pub(super) direct: Direct,
    pub(super) runtime: Runtime,
    /// Whether the server removes no keys in batches, as far as is known.
    pub(super) deletes_one_by_one: AtomicBool,
    counts: Arc<Counts>,
    /// What all keys begin with: empty, or with a slash at its end.
    pub(super) base: String,
    place: PathBuf,
    endpoint: String,
    pub(super) secrets: Vec<String>,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("place", &self.place).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl S3 {
    /// Prepares to ask a bucket with up to `jobs` requests at once. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// When the settings are none, or the certificates that they name cannot be read.
    pub(in crate::store) fn new(settings: &BucketSettings, jobs: usize) -> Result<S3, Error> {
        let place = settings.place();
        let unusable = |why: String| Error::Usage(format!("cannot use {}: {why}", escaped(&place)));
        let endpoint = settings.endpoint();
        let mut builder = Builder::default().bucket(&settings.bucket).region(&settings.region).endpoint(&endpoint);
        if let Some(keys) = &settings.keys {
            builder = builder.access_key_id(&keys.access_key).secret_access_key(&keys.secret_key);
            if let Some(token) = &keys.session_token {
                builder = builder.session_token(token);
            }
        }
        if !settings.is_path_style {
            builder = builder.enable_virtual_host_style();
        }
        let tls = match &settings.ca_bundle {
            bundle @ Some(path) => {
                tls(settings.skip_verify, bundle.as_deref()).context("read the certificates that AWS_CA_BUNDLE names,", path)?
            }
            None => tls(settings.skip_verify, None).context("prepare", &place)?,
        };
        let counts = Arc::new(Counts::default());
        let secrets = settings.secrets();
        let transport = Transport::new(tls, jobs, Arc::clone(&counts), secrets.clone());
        let operator = Operator::new(builder).map_err(|error| unusable(redacted(error.message(), &secrets)))?;
        let context = operator.context().with_http_transport(HttpTransporter::new(transport.clone()));
        let retry = RetryLayer::new()
            .with_jitter()
            .with_max_times(RETRIES)
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_notify(|_: opendal::layers::RetryEvent<'_>| tracing::info!("a request failed and is sent again"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        Ok(S3 {
            operator: operator.with_context(context).layer(retry),
            direct: Direct::new(settings, transport),
            deletes_one_by_one: AtomicBool::new(false),
            runtime: runtime.context("start a thread for", &place)?,
            counts,
            base: if settings.prefix.is_empty() { String::new() } else { format!("{}/", settings.prefix) },
            place,
            endpoint,
            secrets,
        })
    }

    /// How many requests were sent so far.
    pub(in crate::store) fn counts(&self) -> RequestCounts {
        self.counts.now()
    }

    pub(in crate::store) fn place(&self) -> &Path {
        &self.place
    }

    pub(in crate::store) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn full(&self, key: &Path) -> String {
        format!("{}{}", self.base, key.to_string_lossy())
    }

    /// What went wrong, in words.
    pub(super) fn source(&self, error: &opendal::Error) -> io::Error {
        let mut text = error.message().to_owned();
        // What our transport says is complete; what the library says may have its reason behind it.
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        if text.contains("credential") && !text.contains("s3:GetObject") {
            text.push_str("; give accesskey and secretkey in the configuration, or the AWS_ variables");
        }
        let text = redacted(&text, &self.secrets);
        match error.kind() {
            ErrorKind::PermissionDenied => io::Error::new(io::ErrorKind::PermissionDenied, text),
            _ => io::Error::other(text),
        }
    }

    pub(super) fn error(&self, operation: &'static str, key: &Path, error: &opendal::Error) -> Error {
        Error::Io { operation, path: self.place_of(key), source: self.source(error) }
    }

    /// Calls `each` with the full keys of a listing, and what it tells of them.
    fn entries(
        &self,
        prefix: &str,
        is_deep: bool,
        each: &mut dyn FnMut(&str, &Metadata) -> Result<(), opendal::Error>,
    ) -> Result<(), Error> {
        let full = format!("{}{prefix}", self.base);
        let list = async {
            let mut lister = self.operator.lister_with(&full).recursive(is_deep).await?;
            while let Some(entry) = lister.next().await {
                let entry = entry?;
                if !entry.path().starts_with(&full) {
                    let why = format!("the listing has {}, which was not asked for", escaped(entry.path()));
                    return Err(opendal::Error::new(ErrorKind::Unexpected, why));
                }
                each(entry.path(), entry.metadata())?;
            }
            Ok(())
        };
        self.runtime.block_on(list).map_err(|error| self.error("list", Path::new(prefix), &error))
    }

    pub(super) fn relative(&self, full: &str) -> PathBuf {
        PathBuf::from(full.strip_prefix(&self.base).unwrap_or(full))
    }

    /// Reads what lies under a key from an offset on, and remembers of the first time what it was. False if `each` broke off.
    async fn stream(
        &self,
        key: &Path,
        offset: u64,
        first: &mut Option<Metadata>,
        each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<bool, opendal::Error> {
        let full = self.full(key);
        let reader = self.operator.reader_with(&full);
        // What is read on must be of the same content.
        let reader = match first.as_ref().and_then(Metadata::etag).filter(|_| offset > 0) {
            Some(etag) => reader.if_match(etag).await?,
            None => reader.await?,
        };
        let mut stream = reader.into_stream(offset..).await?;
        let metadata = stream.metadata().await?;
        if offset == 0 {
            *first = Some(metadata);
        }
        while let Some(buffer) = stream.next().await {
            for part in buffer? {
                if each(&part).is_break() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// A time in whole seconds: a listing may say it more finely than an answer's header can, and they are compared.
pub(super) fn in_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// When something was written.
fn modified(metadata: &Metadata) -> SystemTime {
    in_seconds(metadata.last_modified().map_or(SystemTime::UNIX_EPOCH, SystemTime::from))
}

fn listed(key: PathBuf, metadata: &Metadata) -> Listed {
    Listed {
        key,
        size_bytes: metadata.content_length(),
        modified: modified(metadata),
        etag: metadata.etag().unwrap_or_default().trim_matches('"').to_owned(),
    }
}

impl Requests for S3 {
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed)) -> Result<(), Error> {
        self.entries(prefix, true, &mut |full, metadata| {
            each(listed(self.relative(full), metadata));
            Ok(())
        })
    }

    fn list_level(&self, prefix: &str) -> Result<Level, Error> {
        let (mut level, mut seen) = (Level::default(), HashSet::new());
        let itself = format!("{}{prefix}", self.base);
        self.entries(prefix, false, &mut |full, _| {
            if !seen.insert(full.to_owned()) {
                let why = format!("the listing has {} twice: the server, or a proxy before it, repeats pages", escaped(full));
                return Err(opendal::Error::new(ErrorKind::Unexpected, why));
            }
            match full.strip_suffix('/') {
                // A key that stands for the directory.
                _ if full == itself => {}
                Some(directory) => level.prefixes.push(self.relative(directory)),
                None => level.keys.push(self.relative(full)),
            }
            Ok(())
        })?;
        Ok(level)
    }

    fn head(&self, key: &Path) -> Result<Option<Listed>, Error> {
        match self.runtime.block_on(async { self.operator.stat(&self.full(key)).await }) {
            Ok(metadata) => Ok(Some(listed(key.to_owned(), &metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("look at", key, &error)),
        }
    }

    fn get(&self, key: &Path, most: u64) -> Result<Option<Object>, Error> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut tries = 0;
        loop {
            let (mut content, mut first) = (Vec::new(), None);
            let read = self.runtime.block_on(self.stream(key, 0, &mut first, &mut |part| {
                content.extend_from_slice(&part[..part.len().min(most - content.len())]);
                if content.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }));
            match read {
                Ok(_) => {
                    // An answer in chunks does not say at first how long it is, and ends with what says that it was whole.
                    let told = first.as_ref().map_or(0, Metadata::content_length);
                    let size_bytes = told.max(content.len() as u64);
                    let told = first.map(|first| listed(key.to_owned(), &first));
                    let (modified, etag) =
                        told.map_or((SystemTime::UNIX_EPOCH, String::new()), |told| (told.modified, told.etag));
                    return Ok(Some(Object { content, size_bytes, modified, etag }));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                // What broke off on the way; what could not even begin was tried again already.
                Err(error) if is_broken_off(&error) && tries < RESUMPTIONS => {
                    tries += 1;
                    std::thread::sleep(FIRST_WAIT * tries);
                }
                Err(error) => return Err(self.error("read", key, &error)),
            }
        }
    }

    /// Goes on where it broke off, if what lies there is still the same.
    fn read(&self, key: &Path, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> BlobContent {
        let (mut offset, mut tries, mut first) = (0_u64, 0, None);
        loop {
            let begun_at = offset;
            let read = self.runtime.block_on(self.stream(key, offset, &mut first, &mut |part| {
                offset += part.len() as u64;
                each(part)
            }));
            let size_bytes = first.as_ref().map_or(0, Metadata::content_length);
            let written = first.as_ref().map_or(SystemTime::UNIX_EPOCH, modified);
            tries = if offset > begun_at { 0 } else { tries };
            match read {
                Ok(false) => return BlobContent::Abandoned,
                Ok(true) if offset == size_bytes || size_bytes == 0 => return BlobContent::Whole(Stat::new(offset, written)),
                Ok(true) => {
                    let why = format!("{offset} bytes came of {size_bytes}; run again, and if that stays so ask past any proxy");
                    return BlobContent::Failed { offset, source: io::Error::other(why) };
                }
                Err(error) if error.kind() == ErrorKind::NotFound && offset == 0 => return BlobContent::Absent,
                Err(error) if is_broken_off(&error) && tries < RESUMPTIONS => {
                    tries += 1;
                    std::thread::sleep(FIRST_WAIT * tries);
                }
                Err(error) => return BlobContent::Failed { offset, source: self.source(&error) },
            }
        }
    }

    fn see(&self, key: &Path) -> Result<Option<Seen>, Error> {
        self.see_object(key)
    }

    fn put(&self, key: &Path, content: &[u8], condition: If<'_>) -> Result<Put, Refusal> {
        self.put_object(key, content, condition)
    }

    fn delete(&self, keys: &[PathBuf], may_send: &dyn Fn() -> bool) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        self.delete_objects(keys, may_send)
    }

    fn multiparts(&self, prefix: &str) -> Result<Told<Vec<Multipart>>, Error> {
        self.list_multiparts(prefix)
    }

    fn sent(&self, multipart: &Multipart) -> Result<Told<Option<Sent>>, Error> {
        self.list_parts(multipart)
    }

    fn abort(&self, multipart: &Multipart) -> Result<(), Refusal> {
        self.abort_multipart(multipart)
    }

    fn versions(&self) -> Versions {
        self.bucket_versions()
    }

    fn pause(&self, tries: u32) {
        pause(tries);
    }

    fn place_of(&self, key: &Path) -> PathBuf {
        self.place.join(key)
    }
}
