//! `remove`: what is named goes, with what only it needs, or nothing does; and what nothing names any more: empty repositories, and referrers
//! whose image is gone.

mod command;
mod lost;
mod orphans;
mod real;
mod waiting;
mod whole;

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::tags::*;
use crate::support::*;

/// The images of the tags `v1` to `v3`.
fn image(number: u64) -> Image {
    oci_image(&format!("image {number}"), &[layer(0), layer(number)])
}

/// The image of one platform in the tag `multi`.
fn child() -> Image {
    oci_image("child", &[layer(5)])
}

/// Refers to the image of `v3`, and has a tag of its own.
fn signature() -> Image {
    oci_image("signature", &[layer(6)]).referring_to(&image(3))
}

/// A repository with the tags `v1` to `v3`, an index in the tag `multi`, a signature of `v3` in a tag and an untagged image; and another one
/// that shares a layer with it.
fn store() -> Registry {
    let mut built = registry().repo("team/app");
    for number in 1..=3_u64 {
        built = built.aged(days(5 - number)).pushed(&image(number)).tag(&format!("v{number}"));
    }
    built = built.pushed(&index(&[child()])).tag("multi").pushed(&signature()).tag("signature");
    built = built.pushed(&oci_image("untagged", &[layer(7)]));
    built.repo("team").pushed(&oci_image("other", &[layer(0), layer(8)])).tag("v1")
}

/// The name of an image in the repository of [`store`].
fn by_digest(image: &Image) -> String {
    format!("team/app@{}", image.digest())
}
