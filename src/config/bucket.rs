//! A bucket that is named by its address, with what the environment says of it, as the tools of Amazon read it.

use std::ffi::OsString;
use std::path::Path;

use crate::error::Error;
use crate::escape::escaped;
use crate::registry_config::{ca_bundle, clean_prefix, with_scheme};
use crate::store::BucketSettings;

/// The region of servers that have none.
const DEFAULT_REGION: &str = "us-east-1";
/// Addresses of stores that cannot be read yet.
const OTHERS: [&str; 5] = ["gs://", "gcs://", "azblob://", "az://", "swift://"];

/// The bucket that an address names; nothing for what is no address of one.
///
/// # Errors
///
/// When it is the address of a bucket, and of none that can be asked; when a server is named for a directory.
pub(super) fn of_address(
    root: &Path,
    endpoint: Option<&str>,
    environment: &[(OsString, OsString)],
) -> Result<Option<BucketSettings>, Error> {
    let text = root.to_string_lossy();
    if let Some(scheme) = OTHERS.into_iter().find(|scheme| text.starts_with(scheme)) {
        return Err(Error::Usage(format!("--root {}: buckets of {scheme} cannot be read, only those of s3://", escaped(root))));
    }
    let Some(address) = text.strip_prefix("s3://") else {
        return match endpoint {
            None => Ok(None),
            Some(_) => Err(Error::Usage(format!(
                "--endpoint says where a bucket is, and --root {} is a directory; give --root s3://BUCKET/PREFIX",
                escaped(root)
            ))),
        };
    };
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    let prefix = clean_prefix(prefix).filter(|_| !bucket.is_empty()).ok_or_else(|| {
        Error::Usage(format!(
            "--root {} names no bucket, or a prefix that no key has; give --root s3://BUCKET/PREFIX",
            escaped(root)
        ))
    })?;
    let variable = |names: &[&str]| {
        let value = |name: &&str| environment.iter().find(|(known, value)| known == *name && !value.is_empty());
        names.iter().find_map(value).map(|(_, value)| value.to_string_lossy().into_owned())
    };
    let endpoint = endpoint.map(str::to_owned).or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    Ok(Some(BucketSettings {
        bucket: bucket.to_owned(),
        prefix,
        region: variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        endpoint: endpoint.map(|endpoint| with_scheme(&endpoint, "https")),
        is_path_style: true,
        skip_verify: false,
        ca_bundle: ca_bundle(environment),
        keys: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(root: &str, endpoint: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<BucketSettings>, String> {
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        of_address(Path::new(root), endpoint, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_names_a_bucket_and_what_keys_begin_with() {
        for (root, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/p", "b", "p"),
            ("s3://b//p/q/", "b", "p/q"),
            ("s3://b.c/p", "b.c", "p"),
        ] {
            let settings = of(root, None, &[]).expect(root).expect("a bucket");
            assert_eq!((&*settings.bucket, &*settings.prefix), (bucket, prefix), "{root}");
            assert_eq!((&*settings.region, settings.endpoint), ("us-east-1", None));
        }
        assert_eq!(of("/var/lib/registry", None, &[]), Ok(None));
        for root in ["s3://", "s3:///p", "s3://b/p//q", "s3://b/../q", "gs://b", "azblob://c"] {
            assert!(of(root, None, &[]).expect_err(root).contains("s3://"), "{root}");
        }
        assert!(of("/data", Some("http://s"), &[]).expect_err("a directory").contains("--endpoint"));
    }

    #[test]
    fn the_environment_says_where_it_is() {
        let variables = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", "http://a:1/")];
        let settings = of("s3://b", None, &variables).expect("settings").expect("a bucket");
        assert_eq!((&*settings.region, settings.endpoint.as_deref()), ("eu-west-1", Some("http://a:1")));
        let settings = of("s3://b", Some("c:2"), &variables).expect("settings").expect("a bucket");
        assert_eq!(settings.endpoint.as_deref(), Some("https://c:2"));
    }
}
