"""Checkpoints: folders of safetensors and JSON, whole or not there at all.

A checkpoint is written beside its place, flushed to the disk, and renamed; a manifest holds the hash of every file. What
has no manifest or does not match it is never loaded. No pickle is read or written.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.digest import file_sha256
from pipeline.errors import IntegrityError

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_PARTIAL = ".partial"


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], *files: Path) -> None:
    """Write a checkpoint folder in one indivisible move; one that stands there already is replaced.

    Args:
        folder: where it shall stand; its parent is made.
        tensors: name -> tensor, none sharing memory with another.
        meta: anything that JSON holds.
        files: further files to copy into it.
    """
    partial = folder.with_name(folder.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial / "tensors.safetensors")
    (partial / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    for file in files:
        shutil.copyfile(file, partial / file.name)
    hashes = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
    (partial / MANIFEST).write_text(json.dumps(hashes), encoding="utf-8")
    for path in [*partial.iterdir(), partial]:
        _flush(path)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    _flush(folder.parent)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint whose files match its manifest.

    Raises:
        IntegrityError: a file is missing or is not what was written.
    """
    check_manifest(folder)
    return load_file(folder / "tensors.safetensors"), json.loads((folder / "meta.json").read_text(encoding="utf-8"))


def check_manifest(folder: Path) -> None:
    """Compare every file of a folder with the manifest in it.

    Raises:
        IntegrityError: naming the file and both hashes.
    """
    try:
        hashes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{folder / MANIFEST}:1:1: can not be read; {error}; fix: use another checkpoint") from error
    for name, expected in hashes.items():
        path = folder / name
        found = file_sha256(path) if path.is_file() else "nothing"
        if found != expected:
            raise IntegrityError(f"{path}:1:1: is not what was written; sha256 {found}, expected {expected}; fix: use another")


def newest_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Load the newest whole checkpoint of a folder, passing over broken ones with a warning; None where there is none."""
    for path in sorted(_checkpoints(folder), reverse=True):
        try:
            return load_checkpoint(path)
        except IntegrityError as error:
            logger.warning("checkpoint passed over: %s", error)
    return None


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove all but the newest checkpoints, and what unfinished writing left."""
    for path in sorted(_checkpoints(folder))[:-keep]:
        shutil.rmtree(path)
    for path in folder.glob(f"*{_PARTIAL}"):
        shutil.rmtree(path)


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("step-*") if path.is_dir() and path.suffix != _PARTIAL]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
