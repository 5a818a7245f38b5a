"""MLflow's store: its address, whether it answers at all, asked in seconds and without MLflow, and a client that is patient.

A store that is away, slow or locked must neither look like an empty one nor end in a traceback.
"""

import fcntl
import logging
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipeline.errors import InfrastructureError
from pipeline.masking import mask

SQLITE = "sqlite:///"
_CONNECT_SECONDS, _ANSWER_SECONDS = 3, 5
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443}
_AWAY = (502, 503, 504)
"""What a proxy answers when the server behind it does not."""
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
"""What MLflow answers where a run, a model, a version or an alias is not there."""
_COLLISIONS = {"BAD_REQUEST", "INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"}
"""What MLflow answers where two processes write the same row at once."""
_PASSING = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}
"""What MLflow's client says where a server does not answer, or can not now."""
_LOCKED = "database is locked"
_LOCKED_SECONDS, _AWAY_SECONDS, _PAUSE_SECONDS = 90.0, 3.0, 0.5
"""How long a call is made again while another process locks the SQLite file, and while a server is away; MLflow itself waits 20 s
for a lock in each call, and 5 s as it opens the file."""
_TRIES = 7
_Found = TypeVar("_Found")


def tracking_uri() -> str:
    """Give the store's address: `MLFLOW_TRACKING_URI`, else a SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{Path('mlflow.db').resolve()}"


def shown_uri() -> str:
    """Give the store's address without what is secret in it."""
    return mask(tracking_uri())


def demand_answer() -> None:
    """Ask whether the store is there; takes at most 8 s.

    Raises:
        InfrastructureError: it is not.
    """
    uri = tracking_uri()
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if uri.startswith(SQLITE):
        _demand_file(uri)
    elif scheme in ("http", "https"):
        _demand_server(uri)
    elif scheme in _PORTS and parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or _PORTS[scheme]), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise away(f"does not answer; {error.strerror or error}") from error


def away(what: str) -> InfrastructureError:
    """Make the error of a store that is not there, with the way to mend it.

    Args:
        what: is wrong with it.
    """
    return InfrastructureError(f"{shown_uri()}: MLflow {what}; fix: {_remedy()}")


def _remedy() -> str:
    parts = urlsplit(tracking_uri())
    if tracking_uri().startswith(SQLITE):
        return "see that it is there, may be written to, and has room on its disk; then run it again"
    if parts.scheme not in ("http", "https"):
        return "see that MLFLOW_TRACKING_URI names a database that this machine reaches, then run it again"
    port = parts.port or _PORTS[parts.scheme]
    if parts.hostname in ("127.0.0.1", "localhost", "::1"):
        start = f"start it with `make ui UI_PORT={port}`"
    else:
        start = f"start it on {parts.hostname} with `mlflow server --port {port} ...`, as docs/clusters.md has it"
    return f"{start}, or unset MLFLOW_TRACKING_URI for a file on this machine; then run it again"


def _demand_server(uri: str) -> None:
    import requests

    host = urlsplit(uri)
    address = f"{host.scheme}://{host.netloc.rpartition('@')[2]}/health"  # anyone may ask this, so no password goes along
    try:
        status = requests.get(address, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS)).status_code
    except requests.exceptions.SSLError:
        return  # it is there; whom MLflow trusts is for its own settings to say
    except requests.exceptions.Timeout as error:
        raise away(f"does not answer; nothing came within {_ANSWER_SECONDS} s") from error
    except requests.exceptions.RequestException as error:
        raise away(f"does not answer; {first_line(error)}") from error
    if status in _AWAY:
        raise away(f"does not answer; the server before it says {status}")


def _file_of(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def artifacts_beside() -> str | None:
    """Give the address of the artifacts' folder beside a store that is a file; None where a server says where they go."""
    uri = tracking_uri()
    return (_file_of(uri).resolve().parent / "mlartifacts").as_uri() if uri.startswith(SQLITE) else None


def _demand_file(uri: str) -> None:
    path = _file_of(uri)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise away(f"can not open this file; {error.strerror}") from error
    # never opened here: closing it would end the locks that SQLite has on it in this process
    if not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
        raise away("can not open this file; it may not be written to")


def client() -> Any:
    """Give MLflow's client, which waits while another process holds the SQLite file.

    Raises:
        InfrastructureError: the store is not there.
    """
    import mlflow

    uri = tracking_uri()
    with _opening:
        if uri not in _opened:
            demand_answer()
            for name, level in _LOG_LEVELS.items():
                logging.getLogger(name).setLevel(level)
        mlflow.set_tracking_uri(uri)
        found = patiently(mlflow.MlflowClient) if uri in _opened else _open(mlflow.MlflowClient)
        _opened.add(uri)
    return _Patient(found)


_opening, _opened = Lock(), set[str]()
_LOG_LEVELS = {"mlflow": logging.WARNING, "alembic": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
"""The last tells with a traceback of each SQLite file that is locked, which is waited for."""


def _open(connect: Callable[[], _Found]) -> _Found:
    try:
        with _alone(tracking_uri()):
            return patiently(connect)
    except Exception as error:
        raise away(f"can not be opened; {first_line(error)}") from error


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold a SQLite file against other processes that would make its tables at the same moment."""
    if not uri.startswith(SQLITE) or not os.access(_file_of(uri).parent, os.W_OK):
        yield
        return
    with _file_of(uri).with_name(f"{_file_of(uri).name}.lock").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Patient:
    """MLflow's client, which calls again where the store is locked or, save for what would be made twice, away for a moment."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return partial(patiently, getattr(self._client, name), may_repeat=not name.startswith("create_"))


def patiently(ask: Callable[..., _Found], *arguments: Any, may_repeat: bool = True, **named: Any) -> _Found:
    """Call, and again where the store was locked, for minutes, or away, for seconds.

    Args:
        ask: called with `arguments` and `named`.
        may_repeat: whether it does no harm twice; a store that was locked has done nothing.
    """
    begun = time.monotonic()
    while True:
        try:
            return ask(*arguments, **named)
        except Exception as error:
            is_locked = _LOCKED in str(error)
            so_long = time.monotonic() - begun
            if so_long > (_LOCKED_SECONDS if is_locked else _AWAY_SECONDS):
                raise
            if not (is_locked or (may_repeat and is_away(error))):
                raise
        time.sleep(_PAUSE_SECONDS)


def entities() -> ModuleType:
    """Give MLflow's own kinds of things, such as `Metric`."""
    import mlflow.entities

    return mlflow.entities


def is_away(error: BaseException) -> bool:
    """Say whether an error means that the store does not answer, or not now; the same may go well later."""
    return _LOCKED in str(error) or code_of(error) in _PASSING


def code_of(error: BaseException) -> str | None:
    """Give MLflow's own word for an error, such as `RESOURCE_DOES_NOT_EXIST`; None for what is not of MLflow."""
    return getattr(error, "error_code", None)


def first_line(error: BaseException) -> str:
    """Give what is said of an error in few words, without passwords."""
    return in_short(str(error) or type(error).__name__)


def in_short(text: str) -> str:
    """Give the plain words inside the text of an error, such as `Connection refused`; else its first line, without passwords."""
    found = re.findall(r"\[Errno -?\d+\] ([^'\")]+)", text) or re.findall(
        r"\(\w+\.\w*Error\) (.+)", text
    )  # a socket's, a database's
    return mask(found[-1] if found else text.splitlines()[0])


def if_there(ask: Callable[[], _Found]) -> _Found | None:
    """Give what MLflow answers; None where what is asked for is not there.

    Raises:
        InfrastructureError: the store failed.
    """
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        demand_missing(error)
        return None


def insist(write: Callable[[], _Found]) -> _Found:
    """Write to the store, and again where another process wrote the same at the same moment, which MLflow reports as an error."""
    from mlflow.exceptions import MlflowException

    for number in range(_TRIES):
        try:
            return write()
        except MlflowException as error:
            if error.error_code not in _COLLISIONS or number == _TRIES - 1 or _LOCKED in str(error):
                raise
            time.sleep(random.uniform(0, 0.05 * 2**number))  # so that two do not meet again
    raise AssertionError("the last try returns or raises")


def demand_missing(error: Any) -> None:
    """Let an error of MLflow pass that says a thing is not there; a store that fails must not look like an empty one.

    Raises:
        InfrastructureError: the store failed.
    """
    if error.error_code not in _MISSING:
        raise away(f"failed; {first_line(error)}") from error


def count_experiments() -> int:
    """Ask the store how many experiments it has.

    Raises:
        InfrastructureError: it does not answer.
    """
    try:
        return len(client().search_experiments())
    except Exception as error:
        if not is_away(error):
            raise
        raise away(f"does not answer; {first_line(error)}") from error
