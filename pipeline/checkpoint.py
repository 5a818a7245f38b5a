"""Checkpoints: folders of safetensors and JSON, whole or not there at all.

A manifest holds the hash of every file. What has no manifest or does not match it is never loaded. No pickle is read or
written. While a training goes on its checkpoints are written beside it, in a thread: it waits for a copy of its tensors alone.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import IntegrityError
from pipeline.failpoints import reach
from pipeline.manifest import check_manifest, write_manifest
from pipeline.storage import DiskStore, Store, join, open_store
from pipeline.stored import read_object

logger = logging.getLogger(__name__)

STEP = "step-"
"""What the names of the checkpoints begin with that a training goes on from."""
_TENSORS, _META = "tensors.safetensors", "meta.json"

Loaded = tuple[dict[str, Tensor], dict[str, Any]]


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], *files: Path) -> None:
    """Write a checkpoint folder in one indivisible move; one that stands there already is replaced.

    Args:
        folder: where it shall stand; its parent is made.
        tensors: name -> tensor, none sharing memory with another.
        meta: anything that JSON holds.
        files: further files to copy into it.
    """
    _save(DiskStore(folder.parent), folder.name, tensors, meta, files)


def load_checkpoint(folder: Path) -> Loaded:
    """Read a checkpoint whose files match its manifest.

    Raises:
        IntegrityError: a file is missing or is not what was written.
    """
    check_manifest(folder, fix="use another")
    path = folder / _TENSORS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path}: is no safetensors file, as all weights are; {error}; fix: do not trust it") from error
    return tensors, read_object(folder / _META)


def _save(store: Store, name: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], files: tuple[Path, ...] = ()) -> None:
    reach("checkpoint: begun")
    with store.writing(name, sum(tensor.nbytes for tensor in tensors.values())) as folder:
        reach("checkpoint: folder made")
        _write_tensors(tensors, folder / _TENSORS)
        reach("checkpoint: tensors written")
        (folder / _META).write_text(json.dumps(meta), encoding="utf-8")
        reach("checkpoint: meta written")
        for file in files:
            shutil.copyfile(file, folder / file.name)
        write_manifest(folder)
        reach("checkpoint: manifest written")
    reach("checkpoint: whole")


def _write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    except SafetensorError as error:  # which it makes of the system's errors, too, with their number in its text
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]), os.strerror(int(number[1]))) if number else error from error


def load_from(store: Store, name: str) -> Loaded:
    """Read a checkpoint of a store; see `load_checkpoint`."""
    with store.reading(name) as folder:
        return load_checkpoint(folder)


def newest_checkpoint(store: Store) -> Loaded | None:
    """Load the newest whole checkpoint of a training, passing over broken ones with a warning; None where it has none.

    Raises:
        IntegrityError: it has some, and all are broken.
    """
    names = _steps(store)
    for name in reversed(names):
        try:
            found = load_from(store, name)
            reach("checkpoint: loaded")
            return found
        except IntegrityError as error:
            logger.warning("checkpoint passed over: %s", error)
    if names:
        raise IntegrityError(
            f"checkpoints {', '.join(names)}: none is what was written, see above; nothing is left to go on from; fix: remove "
            "the folder that they are in, and the training begins anew"
        )
    return None


def _steps(store: Store) -> list[str]:
    return [name for name in store.names() if name.startswith(STEP)]


class Checkpoints:
    """Writes the checkpoints of one training, one at a time, beside it; the newest steps stay, and what is named otherwise.

    Args:
        address: of a store.
        keep: how many of the newest stay. Each holds the best weights so far, too.
    """

    def __init__(self, address: str, keep: int = 2) -> None:
        self._address, self._store, self._keep = address, open_store(address), keep
        self._thread: Thread | None = None
        self._trouble: Exception | None = None

    def address(self, name: str) -> str:
        """Say where a checkpoint stands."""
        return join(self._address, name)

    @property
    def last(self) -> str | None:
        """The address of the newest step that was written, if there is one."""
        names = _steps(self._store)
        return self.address(names[-1]) if names else None

    def save(self, name: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Copy tensors and begin to write them, once the checkpoint before is written.

        Raises:
            InfrastructureError: the one before could not be written.
        """
        self.finish()
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._thread = Thread(target=self._write, args=(name, copies, json.loads(json.dumps(meta))))
        self._thread.start()

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            InfrastructureError: it could not be.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble

    def _write(self, name: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        try:
            _save(self._store, name, tensors, meta)
            self._store.clean()
            for old in _steps(self._store)[: -self._keep]:
                self._store.remove(old)
                reach("checkpoint: old one pruned")
        except Exception as error:
            self._trouble = error
