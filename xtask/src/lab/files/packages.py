"""Writes the lab's package mirrors (pip, npm, cargo, go), one tiny package each, below the directory in argv[1]."""

import base64
import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(sys.argv[1])
GREETING = "hello from the lab"


def write(path: str, content: bytes | str) -> None:
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def tarred(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(buffer.getvalue(), mtime=0)


def pip(host: str) -> None:
    info = "lab_hello-1.0.0.dist-info"
    wheel = zipped({
        "lab_hello.py": f"GREETING = {GREETING!r}\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: lab-hello\nVersion: 1.0.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"lab_hello.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    })
    name = "lab_hello-1.0.0-py3-none-any.whl"
    digest = hashlib.sha256(wheel).hexdigest()
    write(f"{host}/files/{name}", wheel)
    write(f"{host}/simple/lab-hello/index.html",
          f'<!doctype html><html><body><a href="/files/{name}#sha256={digest}">{name}</a></body></html>\n')


def npm(host: str) -> None:
    manifest = {"name": "lab-hello", "version": "1.0.0", "main": "index.js", "license": "MIT"}
    tarball = tarred({
        "package/package.json": json.dumps(manifest),
        "package/index.js": f"module.exports = {GREETING!r};\n",
    })
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    dist = {"tarball": f"https://{host}/lab-hello/-/lab-hello-1.0.0.tgz", "integrity": integrity,
            "shasum": hashlib.sha1(tarball).hexdigest()}
    write(f"{host}/lab-hello/-/lab-hello-1.0.0.tgz", tarball)
    write(f"{host}/lab-hello/index.json", json.dumps({
        "name": "lab-hello", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": manifest | {"dist": dist}}}))


def cargo(host: str) -> None:
    crate = tarred({
        "lab-hello-1.0.0/Cargo.toml": '[package]\nname = "lab-hello"\nversion = "1.0.0"\nedition = "2021"\n',
        "lab-hello-1.0.0/src/lib.rs": f'pub const GREETING: &str = "{GREETING}";\n',
    })
    write(f"{host}/config.json", json.dumps({"dl": f"https://{host}/dl", "api": f"https://{host}"}))
    write(f"{host}/la/b-/lab-hello", json.dumps({
        "name": "lab-hello", "vers": "1.0.0", "deps": [], "features": {}, "yanked": False,
        "cksum": hashlib.sha256(crate).hexdigest()}) + "\n")
    write(f"{host}/dl/lab-hello/1.0.0/download", crate)


def go(host: str) -> None:
    module, version = "lab.test/hello", "v1.0.0"
    mod = f"module {module}\n\ngo 1.19\n"
    source = f'package hello\n\n// Greeting is all there is.\nconst Greeting = "{GREETING}"\n'
    info = json.dumps({"Version": version, "Time": "2026-01-01T00:00:00Z"})
    base = f"{host}/{module}"
    write(f"{base}/@v/list", f"{version}\n")
    write(f"{base}/@v/{version}.info", info)
    write(f"{base}/@latest", info)
    write(f"{base}/@v/{version}.mod", mod)
    write(f"{base}/@v/{version}.zip", zipped({
        f"{module}@{version}/go.mod": mod, f"{module}@{version}/hello.go": source}))


pip("pypi.lab.test")
npm("npm.lab.test")
cargo("crates.lab.test")
go("goproxy.lab.test")
