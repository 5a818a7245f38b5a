"""Where a training keeps its checkpoints: a folder of folders, on a disk or in an object store, each whole or not there.

On a disk a folder is written beside its place, flushed, and renamed. An object store knows no renaming: there a folder's
manifest goes up last, and what has none is not there. The address says which it is: `s3://bucket/prefix`, or a path.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import InfrastructureError
from pipeline.failpoints import reach
from pipeline.manifest import MANIFEST

_PARTIAL = ".partial"


class Store(Protocol):
    """Folders by their names, and small files of text beside them."""

    def names(self) -> list[str]:
        """Give the names of the folders that are there, in order."""

    def writing(self, name: str) -> Any:
        """Give, as a context, an empty folder to write into; at its end it stands whole under a name, in place of another."""

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
        return sorted(path.name for path in self.folder.glob("*/") if path.suffix != _PARTIAL) if self.folder.is_dir() else []

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        partial = self.folder / (name + _PARTIAL)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            for path in [*partial.rglob("*"), partial]:
                _flush(path)
            reach("checkpoint: flushed")
            shutil.rmtree(self.folder / name, ignore_errors=True)
            reach("checkpoint: old one removed")
            partial.rename(self.folder / name)
            reach("checkpoint: renamed")
            _flush(self.folder)
        except OSError as error:
            needed = sum(path.stat().st_size for path in partial.rglob("*")) if partial.is_dir() else 0
            shutil.rmtree(partial, ignore_errors=True)
            raise _disk_error(self.folder / name, needed, error) from error

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        yield self.folder / name

    def remove(self, name: str = "") -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def clean(self) -> None:
        for path in self.folder.glob(f"*{_PARTIAL}"):
            shutil.rmtree(path)

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

        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InfrastructureError(f"{url}: no such storage; {error}; fix: `pip install unroll[s3]` for s3://") from error

    def names(self) -> list[str]:
        with self._at_work():
            found = self._files.glob(f"{self._root}/*/{MANIFEST}")
        return sorted(path.rsplit("/", 2)[1] for path in found)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="unroll-") as scratch:
            yield Path(scratch)
            with self._at_work():
                for path in sorted(Path(scratch).rglob("*"), key=lambda path: (path.name == MANIFEST, path)):
                    if path.is_file():
                        self._files.put_file(str(path), f"{self._root}/{name}/{path.relative_to(scratch).as_posix()}")
                        reach("checkpoint: file sent")

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="unroll-") as scratch:
            with self._at_work():
                self._files.get(f"{self._root}/{name}/", scratch, recursive=True)
            yield Path(scratch)

    def remove(self, name: str = "") -> None:
        path = f"{self._root}/{name}".rstrip("/")
        with self._at_work():
            if self._files.exists(f"{path}/{MANIFEST}"):
                self._files.rm_file(f"{path}/{MANIFEST}")  # first, so that what is left half removed is not there
            if self._files.exists(path):
                self._files.rm(path, recursive=True)

    def clean(self) -> None:
        """Remove nothing: what has no manifest is never read, and the next writing of its name writes over it."""

    def read_text(self, name: str) -> str | None:
        with self._at_work():
            path = f"{self._root}/{name}"
            return str(self._files.cat_file(path).decode()) if self._files.exists(path) else None

    def write_text(self, name: str, text: str) -> None:
        with self._at_work():
            self._files.pipe_file(f"{self._root}/{name}", text.encode())

    def remove_text(self, name: str) -> None:
        with self._at_work():
            self._files.rm_file(f"{self._root}/{name}")

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every kind of store raises errors of its own kind
            raise InfrastructureError(
                f"{self.url}: the storage failed; {type(error).__name__}: {error}; fix: see the address, the credentials in the "
                "environment (for S3: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), then run again: it goes on"
            ) from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_error(path: Path, num_needed: int, error: OSError) -> InfrastructureError:
    parent = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(parent).free / 1e6
    return InfrastructureError(
        f"{path}: can not be written; {error.strerror or error}; {num_needed / 1e6:.1f} MB or more needed, {free:.1f} MB free; "
        "fix: make room or let the folder be written to, then run again: it goes on from the last checkpoint"
    )
