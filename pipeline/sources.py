"""Files from where the catalogue says: a URL, a Python package that is not installed, one's own disk. Nothing fetched is run.

Every fetched file is written beside its place, its hash compared, then renamed; what does not match is deleted. A mirror in
`UNROLL_MIRROR`, with a folder per corpus, is looked in first; its files are checked all the same.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.archives import unpack
from pipeline.config import PathSource, Source, UrlFile, UrlSource, WheelSource
from pipeline.digest import file_sha256
from pipeline.downloads import downloaded
from pipeline.errors import DataError, InfrastructureError, IntegrityError, ParamsError
from pipeline.layout import WORK_DIR
from pipeline.names import is_plain
from pipeline.places import PACKAGE

_MOST_WHEEL_BYTES = 8 << 30
"""Longer wheels are not fetched."""


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
            if not is_plain(file_name):
                raise ParamsError(f"corpora.yaml: {name}: {file_name!r} is no name of a file; fix: name it without a path")
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
    beside = target.with_name(target.name + ".partial")
    mirrored = _mirrored(name, target.name)
    try:
        if mirrored is not None:
            shutil.copyfile(mirrored, beside)
            _check(beside, expected.sha256, str(mirrored))
        else:
            with downloaded(url, expected, WORK_DIR / "downloads") as file:
                _check(file, expected.sha256, url)
                shutil.move(file, beside)
        beside.rename(target)
    finally:
        beside.unlink(missing_ok=True)


def _fetch_wheel(source: WheelSource, name: str, out_dir: Path) -> None:
    if not PACKAGE.fullmatch(source.package):
        raise ParamsError(f"corpora.yaml: {name}: package is {source.package!r}; fix: write it as name==version")
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".wheel-") as folder:
        wheel = _find_wheel(source, name) or _download_wheel(source, Path(folder))
        _check(wheel, source.sha256, str(wheel.name))
        unpack(wheel, source.members, out_dir)


def _find_wheel(source: WheelSource, name: str) -> Path | None:
    mirror = os.environ.get("UNROLL_MIRROR")
    package, _, version = source.package.partition("==")
    found = sorted((Path(mirror) / name).glob(f"{package.replace('-', '_')}-{version}-*.whl")) if mirror else []
    return found[0] if found else None


def _download_wheel(source: WheelSource, folder: Path) -> Path:
    """Have pip fetch one wheel, without what it needs and without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", source.package],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_limit_files,
    )
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise InfrastructureError(
            f"{source.package}: pip can not fetch it; {reason}; fix: try again, or put it into UNROLL_MIRROR"
        )
    return found[0]


def _limit_files() -> None:
    """Let this process write no file that is longer than a wheel may be."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    most = _MOST_WHEEL_BYTES if hard == resource.RLIM_INFINITY else min(hard, _MOST_WHEEL_BYTES)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


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
        size = path.stat().st_size
        raise IntegrityError(
            f"{where}: is not the file of corpora.yaml; its {size:,} bytes have sha256 {found}, expected {expected}; fix: "
            "fetch again, and where it stays so, do not use it"
        )
