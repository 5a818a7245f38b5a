"""Files that others may have written, read without trust: JSON objects and arrays of numbers. Never a pickle, always a reason."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from pipeline.errors import IntegrityError

_NO_MODEL = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
"""What code raises that meets other keys, types or numbers than those it wrote."""


def read_object(path: Path, fix: str = "use another") -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        IntegrityError: there is none.
    """
    try:
        stored = json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}:1:1: can not be read; {error}; fix: {fix}") from error
    if not isinstance(stored, dict):
        raise IntegrityError(f"{path}:1:1: can not be read; it is no JSON object; fix: {fix}")
    return stored


def open_array(path: Path) -> NDArray[Any]:
    """Map a .npy file into memory, as a plain array: each part taken of a `numpy.memmap` costs microseconds more.

    Raises:
        IntegrityError: it is something else, such as Python objects, which only a pickle holds, or is shorter than it says.
    """
    try:
        return open_memmap(path, mode="r").view(np.ndarray)  # unlike np.load, it has no way to unpickle
    except (OSError, ValueError, TokenError, OverflowError, MemoryError, RecursionError) as error:
        raise IntegrityError(f"{path}: is no .npy of numbers; {error}; fix: do not trust it, or write it anew") from error


@contextmanager
def understanding(folder: Path) -> Iterator[None]:
    """Take what is in a folder for what it says it is, as a context: an error there means that it is something else.

    Raises:
        IntegrityError: naming the folder.
    """
    try:
        yield
    except _NO_MODEL as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise IntegrityError(f"{folder}: is not what this project writes; {reason}; fix: use another") from error
