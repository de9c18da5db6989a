//! Odd manifests and links by hand, with what each reader makes of them. `fuzz/README.md` shows the table.
//!
//! `differential` compares the column of Go's decoder with Go, and `tests/suite/fuzz.rs` the others with a real registry and with us.

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The digests that the manifests name: two blobs, the second of them also by sha512.
#[derive(Clone, Debug)]
pub struct Names {
    /// A configuration.
    pub config: String,
    /// A layer.
    pub layer: String,
    /// The same layer by sha512.
    pub layer_sha512: String,
}

/// What is read in a manifest, of the layer and the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// It is no manifest to that reader: none of the structs takes it, or the repository is held.
    Refuses,
    /// Neither.
    Nothing,
    /// The configuration and not the layer.
    Config,
    /// The layer and not the configuration.
    Layer,
    /// Both.
    Both,
}

/// A manifest and what is made of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is odd about it, in a few words.
    pub name: &'static str,
    /// The media type that it is pushed as.
    pub media_type: &'static str,
    /// The bytes.
    pub manifest: Vec<u8>,
    /// What Go's decoder reads, in whichever of the registry's structs.
    pub go: Reads,
    /// What the collector of 2.8.2 marks for it once it was pushed, or the status with which the registry refuses it.
    pub registry: Result<Reads, u16>,
    /// What we read.
    pub ours: Reads,
}

/// The odd manifests.
pub fn manifests(names: &Names) -> Vec<Case> {
    use Reads::{Both, Config, Nothing, Refuses};
    let Names { config, layer, layer_sha512 } = names;
    let image = |config_key: &str, layer_key: &str, more: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,{config_key}:"{config}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":9,{layer_key}:"{layer}"}}]{more}}}"#
        )
        .into_bytes()
    };
    let plain = r#""digest""#;
    let with = |more: &str| image(plain, plain, more);
    let replaced = |from: &str, to: &str| {
        let text = String::from_utf8(with("")).expect("written above");
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let layers = format!(r#"[{{"digest":"{layer}"}}]"#);
    let no_layers = |more: &str| {
        replaced(
            &format!(r#""layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":9,"digest":"{layer}"}}]"#),
            more,
        )
    };
    let deep = |levels: usize| with(&format!(r#","x":{}1{}"#, "[".repeat(levels), "]".repeat(levels)));
    let padded = |bytes: usize| with(&format!(r#","x":"{}""#, "x".repeat(bytes)));
    let case = |name, go, registry, ours, manifest| Case { name, media_type: OCI, manifest, go, registry, ours };
    let docker = |case: Case| {
        let manifest = String::from_utf8(case.manifest).expect("text").replace(OCI, DOCKER).into_bytes();
        Case { media_type: DOCKER, manifest, ..case }
    };
    vec![
        case("nothing odd", Both, Ok(Both), Both, with("")),
        case("`DIGEST`", Both, Ok(Both), Both, image(plain, r#""DIGEST""#, "")),
        case("`LAYERS`", Both, Ok(Both), Both, replaced("layers", "LAYERS")),
        case("`digeſt`", Both, Ok(Both), Both, image(plain, "\"dige\u{17f}t\"", "")),
        case("`dige\\u017ft`", Both, Ok(Both), Both, image(plain, r#""dige\u017ft""#, "")),
        case("`\\u0064igest`", Both, Ok(Both), Both, image(plain, r#""\u0064igest""#, "")),
        case("`dıgest`", Config, Err(400), Config, image(plain, "\"d\u{131}gest\"", "")),
        case("`digest` with a NUL behind it", Config, Err(400), Config, image(plain, r#""digest\u0000""#, "")),
        case("an escape in the digest", Both, Ok(Both), Both, replaced(layer, &layer.replacen(':', r"\u003a", 1))),
        case("half a surrogate in the digest", Config, Err(500), Refuses, replaced(layer, &format!(r"{layer}\ud800"))),
        case("half a surrogate elsewhere", Both, Ok(Both), Refuses, with(r#","x":"\ud800""#)),
        case(
            "`digest` twice, the last one empty",
            Config,
            Err(400),
            Both,
            replaced(&format!(r#""{layer}""#), &format!(r#""{layer}","digest":"""#)),
        ),
        case(
            "`digest` twice, the first one empty",
            Both,
            Ok(Both),
            Both,
            replaced(&format!(r#""{layer}""#), &format!(r#""","digest":"{layer}""#)),
        ),
        case(
            "`digest` and then null",
            Both,
            Ok(Both),
            Both,
            replaced(&format!(r#""{layer}""#), &format!(r#""{layer}","digest":null"#)),
        ),
        case(
            "`digest` and then a number",
            Nothing,
            Err(400),
            Both,
            replaced(&format!(r#""{layer}""#), &format!(r#""{layer}","digest":7"#)),
        ),
        case("`layers` and then an empty one", Config, Ok(Config), Both, with(r#","layers":[]"#)),
        case("`layers` and then null", Config, Ok(Config), Both, with(r#","layers":null"#)),
        case("`layers` and then one that leaves the digest out", Both, Ok(Both), Both, with(r#","layers":[{"size":9}]"#)),
        case("`layers` and then `Layers`", Both, Ok(Both), Both, no_layers(&format!(r#""layers":[],"Layers":{layers}"#))),
        case("`config` and then null", Both, Ok(Both), Both, with(r#","config":null"#)),
        case("a layer in a list in the list", Nothing, Err(400), Both, no_layers(&format!(r#""layers":[{layers}]"#))),
        case("a layer that is no list", Nothing, Err(400), Both, no_layers(&format!(r#""layers":{{"digest":"{layer}"}}"#))),
        docker(case(
            "layers under `annotations`, as Docker's manifest",
            Config,
            Ok(Config),
            Config,
            no_layers(&format!(r#""layers":[],"annotations":{{"layers":{layers}}}"#)),
        )),
        docker(case("`digeſt`, in Docker's manifest", Both, Ok(Both), Both, image(plain, "\"dige\u{17f}t\"", ""))),
        case(
            "`subject`",
            Config,
            Ok(Config),
            Config,
            no_layers(&format!(
                r#""layers":[],"subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":9,"digest":"{layer}"}}"#
            )),
        ),
        case(
            "`Subject` with layers in it",
            Config,
            Ok(Config),
            Config,
            no_layers(&format!(r#""layers":[],"Subject":{{"layers":{layers}}}"#)),
        ),
        case(
            "`subject` in a layer",
            Config,
            Ok(Config),
            Both,
            no_layers(&format!(r#""layers":[{{"digest":"{config}","subject":{{"digest":"{layer}"}}}}]"#)),
        ),
        case(
            "layers under `annotations`",
            Config,
            Err(400),
            Config,
            no_layers(&format!(r#""layers":[],"annotations":{{"layers":{layers}}}"#)),
        ),
        case(
            "a digest as an annotation",
            Config,
            Ok(Config),
            Config,
            no_layers(&format!(r#""layers":[],"annotations":{{"digest":"{layer}"}}"#)),
        ),
        case(
            "a digest under `Annotations`",
            Config,
            Ok(Config),
            Both,
            no_layers(&format!(r#""layers":[],"Annotations":{{"digest":"{layer}"}}"#)),
        ),
        case(
            "a digest among the `urls`",
            Config,
            Ok(Config),
            Config,
            no_layers(&format!(r#""layers":[{{"digest":"{config}","urls":["{layer}"]}}]"#)),
        ),
        case("`data` that is not base64", Both, Ok(Both), Both, with(r#","x":{"data":"!"},"layers":[{"data":"!"}]"#)),
        case("`blobs`", Both, Ok(Config), Both, no_layers(&format!(r#""layers":[],"blobs":{layers}"#))),
        case("`blobs` of blobs", Config, Ok(Config), Both, no_layers(&format!(r#""layers":[],"blobs":[[{layers}]]"#))),
        case("`manifests` beside `layers`", Both, Err(400), Both, with(r#","manifests":[]"#)),
        case("`manifests` of null beside `layers`", Both, Ok(Both), Both, with(r#","manifests":null"#)),
        case(
            "`fsLayers` beside `layers`",
            Both,
            Ok(Config),
            Both,
            no_layers(&format!(r#""layers":[],"fsLayers":[{{"blobSum":"{layer}"}}]"#)),
        ),
        case("bytes that are no UTF-8 in a text", Both, Ok(Both), Both, invalid(with(r#","x":"?""#))),
        case("bytes that are no UTF-8 in a key", Both, Ok(Both), Both, invalid(with(r#","?":1"#))),
        case("bytes that are no UTF-8 between the keys", Refuses, Err(400), Refuses, invalid(with(r#","x":?"#))),
        case("the number 1e999", Both, Ok(Both), Both, with(r#","x":1e999"#)),
        case("the size 1e999", Nothing, Err(400), Both, replaced(r#""size":9"#, r#""size":1e999"#)),
        case("the size -0", Both, Ok(Both), Both, replaced(r#""size":9"#, r#""size":-0"#)),
        case("a size beyond 64 bits", Nothing, Err(400), Both, replaced(r#""size":9"#, r#""size":99999999999999999999"#)),
        case("the number 01", Refuses, Err(400), Refuses, with(r#","x":01"#)),
        case(
            "a key that our JSON library keeps for itself",
            Both,
            Ok(Both),
            Both,
            replaced(r#""size":9"#, r#""$serde_json::private::Number":"9""#),
        ),
        case("the same at the top", Both, Ok(Both), Refuses, with(r#","$serde_json::private::Number":"9""#)),
        case("nested 5,000 times", Both, Ok(Both), Both, deep(5_000)),
        case("nested 9,999 times", Both, Ok(Both), Both, deep(9_999)),
        case("nested 10,000 times", Refuses, Err(400), Refuses, deep(10_000)),
        case("nested 20,000 times", Refuses, Err(400), Refuses, deep(20_000)),
        case("a mark of the byte order in front", Refuses, Err(400), Refuses, ["\u{feff}".as_bytes(), &with("")].concat()),
        case("a comment", Refuses, Err(400), Refuses, with("/* x */")),
        case("a comma too many", Refuses, Err(400), Refuses, with(r#","x":[1,]"#)),
        case("a NUL behind it", Refuses, Err(400), Refuses, [&with("")[..], b"\0"].concat()),
        case("a line break behind it", Both, Ok(Both), Both, [&with("")[..], b"\r\n"].concat()),
        case("a second manifest behind it", Refuses, Err(400), Refuses, [with(""), with("")].concat()),
        case("a line break in a text", Refuses, Err(400), Refuses, with(",\"x\":\"\n\"")),
        case("3.9 MiB", Both, Ok(Both), Both, padded(3_900 << 10)),
        case("5 MiB", Both, Err(400), Both, padded(5 << 20)),
        case(
            "20,000 layers",
            Both,
            Ok(Both),
            Both,
            no_layers(&format!(r#""layers":[{}{{"digest":"{config}"}}]"#, format!(r#"{{"digest":"{layer}"}},"#).repeat(19_999))),
        ),
        case("no media type", Both, Ok(Both), Both, replaced(&format!(r#""mediaType":"{OCI}","#), "")),
        case("a media type that nobody knows", Both, Err(400), Both, replaced("image.manifest", "image.nobody")),
        case(
            "a media type that is no text",
            Nothing,
            Err(400),
            Both,
            replaced(r#""mediaType":"application/vnd.oci.image.layer.v1.tar""#, r#""mediaType":[]"#),
        ),
        case("a digest in upper case", Config, Err(400), Config, replaced(layer, &layer.to_uppercase().replace("SHA", "sha"))),
        case("a line break behind the digest", Config, Err(500), Config, replaced(layer, &format!(r"{layer}\n"))),
        case("sha512", Both, Ok(Both), Both, replaced(layer, layer_sha512)),
        case("neither", Nothing, Err(400), Nothing, format!(r#"{{"schemaVersion":2,"x":"{layer}"}}"#).into_bytes()),
        case("null", Nothing, Err(500), Refuses, b"null".to_vec()),
        case("a list of manifests", Refuses, Err(400), Refuses, [b"[", &with("")[..], b"]"].concat()),
    ]
}

/// Puts a byte that no character has in place of each question mark.
fn invalid(mut bytes: Vec<u8>) -> Vec<u8> {
    for byte in bytes.iter_mut().filter(|byte| **byte == b'?') {
        *byte = 0xff;
    }
    bytes
}

/// Contents of a link to this digest, and whether the registry takes each for a digest.
pub fn links(names: &Names) -> Vec<(&'static str, Vec<u8>, bool)> {
    let digest = &names.layer;
    let hex = &digest[7..];
    let case = |name, text: &str, taken| (name, text.as_bytes().to_vec(), taken);
    vec![
        case("the digest", digest, true),
        case("by sha512", &names.layer_sha512, true),
        case("by sha384", &format!("sha384:{}{}", hex, &hex[..32]), true),
        case("another digest", &names.config, true),
        case("nothing", "", false),
        case("one byte", "s", false),
        case("a line break behind it", &format!("{digest}\n"), false),
        case("a space before it", &format!(" {digest}"), false),
        case("a NUL in it", &format!("{}\0{}", &digest[..20], &digest[21..]), false),
        case("a NUL behind it", &format!("{digest}\0"), false),
        case("in upper case", &digest.to_uppercase(), false),
        case("its hex in upper case", &format!("sha256:{}", hex.to_uppercase()), false),
        case("one digit short", &digest[..digest.len() - 1], false),
        case("one digit long", &format!("{digest}0"), false),
        case("without the algorithm", hex, false),
        case("another algorithm", &format!("blake3:{hex}"), false),
        case("two algorithms", &format!("sha256+b64:{hex}"), false),
        case("the wrong algorithm", &format!("sha512:{hex}"), false),
        case("a path", &format!("sha256:{}etc/passwd", "../".repeat(18)), false),
        case("a mark of the byte order in front", &format!("\u{feff}{digest}"), false),
        case("twice", &format!("{digest}{digest}"), false),
    ]
}
