"""Manifests: a file in a folder that holds the hash of every other, so that what has changed since is never read as data."""

import json
from pathlib import Path

from pipeline.digest import file_sha256
from pipeline.errors import IntegrityError
from pipeline.stored import read_object

MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Write the manifest of a folder, after all its other files: a folder without one is not whole."""
    (folder / MANIFEST).write_text(json.dumps(_hash_files(folder)), encoding="utf-8")


def check_manifest(folder: Path, fix: str = "use another") -> dict[str, str]:
    """Compare every file of a folder, and of the folders in it, with its manifest.

    Args:
        folder: where the manifest is.
        fix: what to do about a folder that is not what was written.

    Returns:
        Path from the folder, with slashes -> sha256; without the manifest's own.

    Raises:
        IntegrityError: a file is missing, altered or in excess; naming it and both hashes.
    """
    written = read_object(folder / MANIFEST, fix)
    found = _hash_files(folder)
    for name in sorted(written.keys() | found.keys()):
        is_now, was = found.get(name, "nothing"), written.get(name, "nothing")
        if is_now != was:
            raise IntegrityError(f"{folder / name}:1:1: is not what was written; sha256 {is_now}, expected {was}; fix: {fix}")
    return found


def _hash_files(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
