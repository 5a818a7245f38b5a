"""An output that grows part by part and stands under its name when it is whole; a run that was killed goes on after its parts.

Until then all is in a folder beside it: what is written so far, and a state that says how much of that is flushed to the
disk, how far the input was read for it, and whose work it is. What lies beyond the state's word is dropped.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

import polars as pl

from pipeline.errors import InfrastructureError
from pipeline.failpoints import reach
from pipeline.inputs import FormatName, Place

logger = logging.getLogger(__name__)

_STATE = "state.json"
_ROWS_PER_GROUP = 65_536
Identity = dict[str, Any]
"""What an output depends on, as JSON: another run goes on with it only where all is the same."""


class Store(Protocol):
    """Keeps parts in a folder."""

    def __init__(self, folder: Path) -> None:
        """Take a folder that is there."""

    def add(self, data: bytes, size: int) -> int:
        """Write a part after `size` of them, and give the new size; what stood beyond is dropped, also where that fails."""

    def has(self, size: int) -> bool:
        """Say whether so much is there."""

    def join(self, size: int) -> Path:
        """Make one file of the parts, flushed."""

    @property
    def whole(self) -> Path:
        """Where `join` puts it."""


class GrowingFile:
    """Parts one after the other in a file; sizes are bytes."""

    def __init__(self, folder: Path) -> None:
        self.whole = folder / "answers"

    def add(self, data: bytes, size: int) -> int:
        try:
            with self.whole.open("ab") as file:
                file.truncate(size)
                _write(file, data)
        except OSError:
            os.truncate(self.whole, size)
            raise
        return size + len(data)

    def has(self, size: int) -> bool:
        return self.whole.exists() and self.whole.stat().st_size >= size

    def join(self, size: int) -> Path:
        self.add(b"", size)
        return self.whole


class Tables:
    """A parquet file per part; sizes count them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.whole = folder, folder / "whole"

    def add(self, data: bytes, size: int) -> int:
        try:
            with self._path(size + 1).open("wb") as file:
                _write(file, data)
        except OSError:
            self._path(size + 1).unlink(missing_ok=True)
            raise
        _flush(self._folder)
        return size + 1

    def has(self, size: int) -> bool:
        return all(self._path(number).exists() for number in range(1, size + 1))

    def join(self, size: int) -> Path:
        paths = [self._path(number) for number in range(1, size + 1)]
        schema = pl.Schema()
        for path in paths:
            schema |= pl.read_parquet_schema(path)
        parts = pl.scan_parquet(paths, glob=False, schema=schema, missing_columns="insert")
        try:
            parts.sink_parquet(self.whole, row_group_size=_ROWS_PER_GROUP, sync_on_close="all", engine="streaming")
        except pl.exceptions.PolarsError as error:
            self.whole.unlink(missing_ok=True)
            raise OSError(str(error)) from error  # as which it came to polars: a disk that is full, most likely
        return self.whole

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.parquet"


STORES: dict[FormatName, type[Store]] = {"text": GrowingFile, "conllu": GrowingFile, "parquet": Tables}


@dataclass(frozen=True)
class _State:
    """How much stands: parts up to `size`, for the input up to `place`; all of it, if `is_whole`."""

    identity: Identity
    size: int = 0
    place: Place = field(default_factory=Place)
    is_whole: bool = False


class Output:
    """The answers to one input.

    Args:
        path: of the file that there will be.
        folder: for what is written until then.
        identity: of the work.
        form: of the file.
    """

    def __init__(self, path: Path, folder: Path, identity: Identity, form: FormatName) -> None:
        self.path, self._folder = path, folder
        self._new, self._store = _State(identity), STORES[form](folder)
        self._lock: TextIO | None = None
        with self._writing(0):
            folder.mkdir(parents=True, exist_ok=True)
            self._hold()
            self._state = self._read()

    @property
    def place(self) -> Place:
        """How far the input has been read."""
        return self._state.place

    @property
    def is_whole(self) -> bool:
        """Whether all parts are there."""
        return self._state.is_whole

    def add(self, data: bytes, place: Place) -> None:
        """Write a part, and that the input is read so far.

        Raises:
            InfrastructureError: the disk is full, or can not be written to.
        """
        with self._writing(len(data)):
            size = self._store.add(data, self._state.size)
            reach("predict: part written")
            self._save(replace(self._state, size=size, place=place))
            reach("predict: part noted")

    def finish(self) -> None:
        """Put the whole under its name, in place of what stood there; only the state is kept beside it.

        Raises:
            InfrastructureError: the disk is full, or can not be written to.
        """
        with self._writing(sum(path.stat().st_size for path in self._folder.iterdir())):
            if not self._state.is_whole:
                self._store.join(self._state.size)
                reach("predict: joined")
                self._save(replace(self._state, is_whole=True))
                reach("predict: whole noted")
            if self._store.whole.exists():
                self._store.whole.replace(self.path)
                _flush(self.path.parent)
                reach("predict: renamed")
            for path in self._folder.iterdir():
                if path.name != _STATE:
                    path.unlink()
        self.close()

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.close()

    def _hold(self) -> None:
        self._lock = (self._folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise InfrastructureError(f"{self.path}: another process writes it; fix: wait for it, or end it") from error

    def _read(self) -> _State:
        """Read how far the last run came, or begin anew where it did other work or its parts are gone."""
        path = self._folder / _STATE
        if not path.exists():
            return self._new
        given = json.loads(path.read_text(encoding="utf-8"))
        state = _State(**given | {"place": Place(**given["place"])})
        names = sorted(name for name in self._new.identity if self._new.identity[name] != state.identity.get(name))
        is_there = self._store.has(state.size) or (state.is_whole and self.path.exists())
        if is_there and not names:
            return state
        why = f"not the same {', '.join(names)} as in the run before" if names else "what was written is gone"
        logger.warning("%s: begins anew: %s", self.path, why)
        path.unlink()  # before a part of this work takes the place of one that the state speaks of
        _flush(self._folder)
        return self._new

    def _save(self, state: _State) -> None:
        path = self._folder / _STATE
        beside = path.with_suffix(".partial")
        with beside.open("wb") as file:
            _write(file, json.dumps(asdict(state)).encode())
        beside.replace(path)
        _flush(self._folder)
        self._state = state

    @contextmanager
    def _writing(self, num_needed: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            parent = next(folder for folder in self._folder.parents if folder.exists())
            free = shutil.disk_usage(parent).free / 1e6
            raise InfrastructureError(
                f"{self.path}: can not be written; {error.strerror or error}; {num_needed / 1e6:.2f} MB or more needed, "
                f"{free:.2f} MB free; fix: make room or let the folder be written to, then run the same again: it goes on"
            ) from error


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
