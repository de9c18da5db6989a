//! A client of the registry's API that does nothing on its own: no cache, no retry, no conversion.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderValue, Request};

use super::digest::sha256;
use super::image::{Content, DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, Image, OCI_INDEX, OCI_MANIFEST};

/// An answer: status, headers by lower-case name, body.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Asserts the status.
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Self {
        assert!(self.status == status, "expected {status}, got {}: {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }
}

/// All that a pull of one reference brings: every manifest and blob by digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulled {
    /// Digest of the manifest that was asked for.
    pub(crate) digest: String,
    /// Manifests, the one asked for and those below it.
    pub(crate) manifests: BTreeMap<String, Vec<u8>>,
    /// Configs and layers.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

impl Pulled {
    /// Digests of all of it.
    pub(crate) fn digests(&self) -> BTreeSet<String> {
        self.manifests.keys().chain(self.blobs.keys()).cloned().collect()
    }
}

/// A client of the registry at an address such as `127.0.0.1:5000`.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: String,
    agent: Agent,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        let agent = Agent::config_builder()
            .timeout_per_read(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .proxy(None)
            .build();
        Self { address: address.to_owned(), agent: agent.into() }
    }

    /// Uploads a blob in one go, under its sha256.
    #[track_caller]
    pub(crate) fn put_blob(&self, repository: &str, content: &Content) {
        self.put_blob_as(repository, &content.digest, &content.bytes);
    }

    /// Uploads bytes under any digest of theirs.
    #[track_caller]
    pub(crate) fn put_blob_as(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let place = self.begin_upload(repository);
        let joint = if place.contains('?') { '&' } else { '?' };
        self.send("PUT", &format!("{place}{joint}digest={digest}"), &[("Content-Type", "application/octet-stream")], bytes)
            .expect_status(201);
    }

    /// Begins an upload; gives the path where it goes on.
    #[track_caller]
    pub(crate) fn begin_upload(&self, repository: &str) -> String {
        let begun = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], &[]).expect_status(202);
        let place = &begun.headers["location"];
        let path = place.split_once("//").map_or(place.as_str(), |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
        path.to_owned()
    }

    /// Lets a repository serve a blob of another one's without sending it.
    #[track_caller]
    pub(crate) fn mount(&self, repository: &str, digest: &str, from: &str) {
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
        self.send("POST", &path, &[], &[]).expect_status(201);
    }

    /// Puts a manifest under a tag or its own digest. What it names must be there.
    #[track_caller]
    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, image: &Image) {
        self.send(
            "PUT",
            &format!("/v2/{repository}/manifests/{reference}"),
            &[("Content-Type", image.media_type)],
            &image.manifest.bytes,
        )
        .expect_status(201);
    }

    /// Pushes an image with all that belongs to it, by digest.
    #[track_caller]
    pub(crate) fn push(&self, repository: &str, image: &Image) {
        self.push_as(repository, image.digest(), image);
    }

    /// Pushes an image under a tag.
    #[track_caller]
    pub(crate) fn push_tag(&self, repository: &str, tag: &str, image: &Image) {
        self.push_as(repository, tag, image);
    }

    #[track_caller]
    fn push_as(&self, repository: &str, reference: &str, image: &Image) {
        for blob in &image.blobs {
            if image.by_sha512 {
                self.put_blob_as(repository, &blob.sha512(), &blob.bytes);
            } else {
                self.put_blob(repository, blob);
            }
        }
        for child in &image.children {
            self.push(repository, child);
        }
        self.put_manifest(repository, reference, image);
    }

    pub(crate) fn get_manifest(&self, repository: &str, reference: &str) -> Response {
        let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, DOCKER_SCHEMA1].join(", ");
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.send("GET", &path, &[("Accept", &accept)], &[])
    }

    /// Whether the registry says that a repository has a blob.
    pub(crate) fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.send("HEAD", &format!("/v2/{repository}/blobs/{digest}"), &[], &[]).status == 200
    }

    pub(crate) fn get_blob(&self, repository: &str, digest: &str) -> Response {
        self.send("GET", &format!("/v2/{repository}/blobs/{digest}"), &[], &[])
    }

    /// Deletes a manifest by digest.
    #[track_caller]
    pub(crate) fn delete_manifest(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        self.send("DELETE", &path, &[], &[]).expect_status(202);
    }

    /// Deletes a repository's link to a layer.
    #[track_caller]
    pub(crate) fn delete_blob(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.send("DELETE", &path, &[], &[]).expect_status(202);
    }

    /// Names of a repository's tags, sorted; none when the registry does not know the repository.
    pub(crate) fn tags(&self, repository: &str) -> BTreeSet<String> {
        let list = self.send("GET", &format!("/v2/{repository}/tags/list"), &[], &[]);
        let list: Value = serde_json::from_slice(&list.body).unwrap_or_default();
        let tags = list["tags"].as_array().into_iter().flatten();
        tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
    }

    /// The repositories that it lists.
    pub(crate) fn catalog(&self) -> BTreeSet<String> {
        let list = self.send("GET", "/v2/_catalog", &[], &[]);
        let list: Value = serde_json::from_slice(&list.body).unwrap_or_default();
        let names = list["repositories"].as_array().into_iter().flatten();
        names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// Pulls a reference with all below it, every byte checked against its digest.
    ///
    /// # Errors
    ///
    /// Says what could not be had.
    pub(crate) fn pull(&self, repository: &str, reference: &str) -> Result<Pulled, String> {
        let mut pulled = Pulled::default();
        pulled.digest = self.pull_into(&mut pulled, repository, reference)?;
        Ok(pulled)
    }

    fn pull_into(&self, pulled: &mut Pulled, repository: &str, reference: &str) -> Result<String, String> {
        let answer = self.get_manifest(repository, reference);
        if answer.status != 200 {
            return Err(format!("{repository}@{reference}: {}", answer.status));
        }
        let digest = sha256(&answer.body);
        if reference.contains(':') && reference != digest {
            return Err(format!("{repository}@{reference}: got {digest}"));
        }
        let manifest: Value =
            serde_json::from_slice(&answer.body).map_err(|error| format!("{repository}@{reference}: {error}"))?;
        for child in manifest["manifests"].as_array().into_iter().flatten() {
            self.pull_into(pulled, repository, text(&child["digest"])?)?;
        }
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let config = manifest.get("config").into_iter();
        for descriptor in config.chain(layers) {
            let name = text(&descriptor["digest"])?;
            // A registry that remembers a blob which is gone says how long it is, and then nothing.
            let blob = self.try_send("GET", &format!("/v2/{repository}/blobs/{name}"), &[], &[]);
            let blob = blob.map_err(|error| format!("{repository}@{name}: {error}"))?;
            if blob.status != 200 {
                return Err(format!("{repository}@{name}: {}", blob.status));
            }
            if sha256(&blob.body) != name {
                return Err(format!("{repository}@{name}: other bytes than its digest says"));
            }
            pulled.blobs.insert(name.to_owned(), blob.body);
        }
        pulled.manifests.insert(digest.clone(), answer.body);
        Ok(digest)
    }

    /// Sends one request on a connection of its own.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.try_send(method, path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The same for a server that may not be there.
    ///
    /// # Errors
    ///
    /// When no whole answer comes.
    pub(crate) fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Response> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        // What has no body has no length either.
        let answer = match method {
            "GET" | "HEAD" | "DELETE" => self.agent.run(request.body(()).map_err(std::io::Error::other)?),
            _ => self.agent.run(request.body(body).map_err(std::io::Error::other)?),
        };
        let mut answer = answer.map_err(ureq::Error::into_io)?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(Response {
            status: answer.status().as_u16(),
            headers: answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            // A body cut short does not pass for the whole.
            body: answer.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(ureq::Error::into_io)?,
        })
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("no digest: {value}"))
}
