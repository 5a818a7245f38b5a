"""Where a training keeps its checkpoints: a folder of folders, on a disk or in an object store, each whole or not there.

On a disk a folder is written beside its place, flushed, and renamed. An object store knows no renaming: there a folder's
manifest goes up last. In both a folder's manifest is the first to go, and what has none is not there. The address says which
store it is: `s3://bucket/prefix`, or a path.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import InfrastructureError, UnrollError
from pipeline.failpoints import reach
from pipeline.manifest import MANIFEST

_PARTIAL = ".partial"
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 3, "read_timeout": 20, "retries": {"mode": "standard", "total_max_attempts": 4}}},
}
"""Of a kind of object store. S3's: seconds, and tries with up to 1, 2, 4 s between them: where nothing answers, that is told
after some seconds, not minutes."""
_TRIES = 2
"""How often s3fs itself tries what came to nothing for all of those tries, or broke off on its way here; otherwise 5 times."""


class Store(Protocol):
    """Folders by their names, and small files of text beside them."""

    def names(self) -> list[str]:
        """Give the names of the folders that are there, in order."""

    def writing(self, name: str, num_bytes: int = 0) -> Any:
        """Give, as a context, an empty folder to write into; at its end it stands whole under a name, in place of another.

        Args:
            name: that it gets.
            num_bytes: that will be written, or more; told where there is no room for them.
        """

    def reading(self, name: str) -> Any:
        """Give, as a context, a folder with the files that stand under a name."""

    def remove(self, name: str = "") -> None:
        """Remove a folder, or all there is."""

    def clean(self) -> None:
        """Remove what a writing that was broken off left."""

    def read_text(self, name: str) -> str | None:
        """Give a small file's text; None where it is not there."""

    def write_text(self, name: str, text: str) -> None:
        """Write a small file."""

    def remove_text(self, name: str) -> None:
        """Remove a small file."""


def open_store(address: str | Path) -> Store:
    """Give the store at a path or a URL; nothing is made yet."""
    text = str(address)
    if "://" not in text:
        return DiskStore(Path(text))
    return ObjectStore(text)


def reading(address: str | Path) -> Any:
    """Give, as a context, a folder with the files that stand at an address."""
    parent, _, name = str(address).rpartition("/")
    return open_store(parent).reading(name)


def join(address: str | Path, *names: str) -> str:
    """Give the address of what lies in a store."""
    return "/".join([str(address).rstrip("/"), *names])


class DiskStore:
    """A folder on a disk, which may be one that many machines see.

    Args:
        folder: made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        found = (path.parent for path in self.folder.glob(f"*/{MANIFEST}"))
        return sorted(folder.name for folder in found if folder.suffix != _PARTIAL)

    @contextmanager
    def writing(self, name: str, num_bytes: int = 0) -> Iterator[Path]:
        partial = self.folder / (name + _PARTIAL)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            for path in [*partial.rglob("*"), partial]:
                _flush(path)
            reach("checkpoint: flushed")
            self.remove(name)
            reach("checkpoint: old one removed")
            partial.rename(self.folder / name)
            reach("checkpoint: renamed")
            _flush(self.folder)
        except OSError as error:
            needed = max(num_bytes, _size(partial))
            shutil.rmtree(partial, ignore_errors=True)
            raise _disk_error(self.folder / name, needed, error) from error

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        yield self.folder / name

    def remove(self, name: str = "") -> None:
        for path in (self.folder / name).rglob(MANIFEST):
            with suppress(OSError):
                path.unlink()  # first, so that what is left half removed is not there
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def clean(self) -> None:
        for path in self.folder.glob(f"*{_PARTIAL}"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def read_text(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def write_text(self, name: str, text: str) -> None:
        path = self.folder / name
        beside = path.with_name(path.name + _PARTIAL)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(text, encoding="utf-8")
            beside.rename(path)
        except OSError as error:
            raise _disk_error(path, len(text), error) from error

    def remove_text(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)


class ObjectStore:
    """A prefix in an object store, through fsspec.

    Args:
        url: such as `s3://bucket/prefix`.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        kind, _, place = url.partition("://")
        if not place.strip("/"):
            raise InfrastructureError(f"{url}: names no bucket; fix: write it as {kind}://bucket/prefix")
        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False, **_OPTIONS.get(kind, {}))
        except (ImportError, ValueError) as error:
            raise InfrastructureError(f"{url}: no such storage; {error}; fix: `pip install unroll[s3]` for s3://") from error
        self._files.retries = _TRIES

    def names(self) -> list[str]:
        parts = [path.split("/") for path in self._find()]
        return sorted(each[0] for each in parts if each[1:] == [MANIFEST])

    @contextmanager
    def writing(self, name: str, num_bytes: int = 0) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="unroll-") as scratch:
            folder = Path(scratch)
            try:
                yield folder
            except OSError as error:
                raise _disk_error(folder, max(num_bytes, _size(folder)), error) from error
            self._send(folder, name)

    def _send(self, folder: Path, name: str) -> None:
        """Put files in place of what stands there, which is no longer there from the first to the last of them."""
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        before, manifest = self._find(name), paths.pop(MANIFEST, None)
        if MANIFEST in before:
            self._remove(f"{name}/{MANIFEST}")
        with self._at_work():
            for place, path in paths.items():
                self._files.put_file(str(path), self._path(f"{name}/{place}"))
                reach("checkpoint: file sent")
        self._remove(*(f"{name}/{place}" for place in before if place not in paths and place != MANIFEST))
        if manifest is not None:
            with self._at_work():
                self._files.put_file(str(manifest), self._path(f"{name}/{MANIFEST}"))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="unroll-") as scratch:
            folder = Path(scratch)
            for place in self._find(name):
                with self._at_work():
                    (folder / place).parent.mkdir(parents=True, exist_ok=True)
                    self._files.get_file(self._path(f"{name}/{place}"), str(folder / place))
            yield folder

    def remove(self, name: str = "") -> None:
        places = sorted(self._find(name), key=lambda place: place.rpartition("/")[2] != MANIFEST)  # first, as on a disk
        self._remove(*(f"{name}/{place}".strip("/") for place in places))

    def clean(self) -> None:
        """Remove nothing: what has no manifest is never read, goes with all else, or is written over."""

    def read_text(self, name: str) -> str | None:
        if not self._find(name):
            return None
        with self._at_work():
            return str(self._files.cat_file(self._path(name)).decode())

    def write_text(self, name: str, text: str) -> None:
        with self._at_work():
            self._files.pipe_file(self._path(name), text.encode())

    def remove_text(self, name: str) -> None:
        if self._find(name):
            self._remove(name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _find(self, name: str = "") -> list[str]:
        """Give the paths from a folder to all files in it; of a file, an empty one.

        fsspec's `glob` and `exists` would take a bucket that is missing for one that is empty.
        """
        path = self._path(name)
        with self._at_work():
            return [found.removeprefix(path).lstrip("/") for found in self._files.find(path)]

    def _remove(self, *names: str) -> None:
        with self._at_work():
            for name in names:
                self._files.rm_file(self._path(name))

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        try:
            yield
        except UnrollError:  # such as a person's wish to stop
            raise
        except Exception as error:  # every kind of store raises errors of its own kind
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise _disk_error(Path(tempfile.gettempdir()) / "unroll", 0, error) from error
            raise InfrastructureError(
                f"{self.url}: the storage failed; {type(error).__name__}: {error}; fix: see the address, the bucket, "
                "the credentials in the environment (for S3: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), then "
                "run again: it goes on"
            ) from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*"))


def _disk_error(path: Path, num_needed: int, error: OSError) -> InfrastructureError:
    parent = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(parent).free / 1e6
    return InfrastructureError(
        f"{path}: can not be written; {error.strerror or error}; {num_needed / 1e6:.2f} MB or more needed, {free:.2f} MB free; "
        "fix: make room or let the folder be written to, then run again: it goes on from the last checkpoint"
    )
