"""A registry's storage for the browser to look at: a few teams, and names that nobody should write."""

import hashlib
import json
import os
from pathlib import Path

# Repositories, as bytes: what a page shows of them is never more than text.
HOSTILE = [
    b"<script>window.owned=1<",
    b"<img src=x onerror=window.owned=1>",
    b"\"quoted'`${window.owned=1}`",
    "שלום/עולם".encode(),
    "\u202eesrever".encode(),
    b"bytes\xff\xfe",
    b"long/" + b"n" * 230 + b"/" + b"m" * 230,
    b"{data}{script}",
    b"__proto__",
]
PLAIN = [b"base", b"team/api", b"team/web/frontend", b"team/web/backend", b"team/tools/ci", b"library/nginx", b"library/redis"]
OLD = 1_700_000_000


def build(root: Path) -> None:
    """Writes the storage; every repository has a tag, some of them one that nobody should write, and every other one an image without."""
    v2 = os.fsencode(root) + b"/docker/registry/v2/"

    def write(path: bytes, content: bytes) -> None:
        os.makedirs(os.path.dirname(v2 + path), exist_ok=True)
        with open(v2 + path, "wb") as file:
            file.write(content)
        os.utime(v2 + path, (OLD, OLD))

    def blob(content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        write(f"blobs/sha256/{digest[:2]}/{digest}/data".encode(), content)
        return digest

    def link(repository: bytes, kind: str, digest: str) -> None:
        write(b"repositories/" + repository + f"/{kind}/sha256/{digest}/link".encode(), f"sha256:{digest}".encode())

    def image(repository: bytes, number: int, tag: bytes | None) -> list[str]:
        base = b"shared layer " * 4000
        config, own = json.dumps({"os": "linux", "n": number}).encode(), os.urandom(8) * (number * 900)
        layers = [{"digest": f"sha256:{blob(part)}", "size": len(part), "mediaType": "<b>layer"} for part in (base, own)]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/<script>window.owned=1</script>",
                "config": {"digest": f"sha256:{blob(config)}", "size": len(config), "mediaType": "<i>config"},
                "layers": layers,
            }
        ).encode()
        digest = blob(manifest)
        link(repository, "_manifests/revisions", digest)
        for named in [hashlib.sha256(config).hexdigest(), *(layer["digest"][7:] for layer in layers)]:
            link(repository, "_layers", named)
        if tag is not None:
            write(b"repositories/" + repository + b"/_manifests/tags/" + tag + b"/current/link", f"sha256:{digest}".encode())
            write(
                b"repositories/" + repository + b"/_manifests/tags/" + tag + f"/index/sha256/{digest}/link".encode(),
                f"sha256:{digest}".encode(),
            )
        return [layer["digest"][7:] for layer in layers]

    for number, repository in enumerate(PLAIN + HOSTILE, 1):
        layers = image(repository, number, b"v1" if repository in PLAIN else b"<b>v1")
        if number % 2:
            image(repository, 40 + number, None)
        if repository == b"library/redis":
            lost = layers[1]
            os.remove(v2 + f"blobs/sha256/{lost[:2]}/{lost}/data".encode())
    blob(b"linked by nothing")
