"""Files over https, from hosts that may lie, fall silent or break off: never more bytes than were promised, never from http.

What came so far is kept under a name of its own, so that whoever was interrupted goes on there, where the server can.
"""

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipeline.config import UrlFile
from pipeline.errors import InfrastructureError, IntegrityError

_CHUNK = 1 << 16
"""Bytes at a time; what had come of a chunk is lost where a connection breaks."""
_TIMEOUT_SECONDS = 30
_TRIES, _PAUSE_SECONDS = 3, 0.5
"""How often a download that broke off is taken up where nothing more comes, and the wait before."""
_PARTIAL_CONTENT, _NO_SUCH_RANGE = 206, 416


@contextmanager
def downloaded(url: str, expected: UrlFile, folder: Path) -> Iterator[Path]:
    """Give, as a context, a file with what is behind a URL, to be checked and moved away; what is left there is removed.

    Args:
        url: begins with https://.
        expected: its length, beyond which nothing is read.
        folder: for what came so far, which stays where this process is killed; made if it is not there.

    Raises:
        IntegrityError: it is longer, or is led to what is not https.
        InfrastructureError: no answer from the network, or no room on the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / hashlib.sha256(f"{url} {expected.sha256}".encode()).hexdigest()
    with kept.with_suffix(".lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may fetch the same: then it waits, and fetches its own
        try:
            _complete(url, expected.bytes, kept)
            yield kept
        except IntegrityError:
            kept.unlink(missing_ok=True)
            raise
        kept.unlink(missing_ok=True)


def _complete(url: str, num_bytes: int, kept: Path) -> None:
    try:
        with kept.open("ab") as file, _session() as session:
            _demand_room(kept, num_bytes - file.tell())
            tries = 0
            while file.tell() < num_bytes and tries < _TRIES:
                before = file.tell()
                time.sleep(_PAUSE_SECONDS if tries else 0)
                _receive(session, url, file, num_bytes)
                tries = 0 if file.tell() > before else tries + 1
    except requests.exceptions.SSLError as error:
        raise IntegrityError(f"{url}: is not who it says it is; {error}; fix: correct the address, or do not trust it") from error
    except requests.RequestException as error:
        raise InfrastructureError(
            f"{url}: can not be fetched; {error}; fix: try again, or put the file into a folder named in UNROLL_MIRROR"
        ) from error
    except OSError as error:
        raise InfrastructureError(f"{kept}: can not be written; {error.strerror}; fix: make room, then run again") from error


def _session() -> requests.Session:
    session = requests.Session()
    session.mount("https://", HTTPAdapter(max_retries=Retry(3, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504))))
    session.hooks["response"].append(_demand_https)
    return session


def _demand_https(answer: requests.Response, *arguments: Any, **options: Any) -> None:
    """Look where an answer leads before anybody follows: not a word goes out unencrypted."""
    target = urljoin(answer.url, answer.headers.get("location", ""))
    if answer.is_redirect and not target.startswith("https://"):
        answer.close()
        raise IntegrityError(f"{answer.url}: leads to {target}, which is not https; fix: correct the address in corpora.yaml")


def _demand_room(kept: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(kept.parent).free
    if num_bytes > free:
        raise InfrastructureError(f"{kept.parent}: {num_bytes:,} bytes needed, {free:,} are free; fix: make room, then run again")


def _receive(session: requests.Session, url: str, file: IO[bytes], num_bytes: int) -> None:
    """Add what the server gives to a file, from its end on or, where the server can not, anew. May break off.

    Raises:
        IntegrityError: it is longer than it should be.
    """
    start = file.tell()
    asked = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with session.get(url, stream=True, timeout=_TIMEOUT_SECONDS, headers=asked) as answer:
        if start and answer.status_code == _NO_SUCH_RANGE:
            return
        answer.raise_for_status()
        if start and not _goes_on(answer, start):
            file.seek(0)
            file.truncate()
        try:
            for chunk in answer.iter_content(_CHUNK):
                if file.tell() + len(chunk) > num_bytes:
                    raise IntegrityError(
                        f"{url}: is longer than {num_bytes} bytes; fix: correct corpora.yaml, or do not trust it"
                    )
                file.write(chunk)
        except requests.RequestException:
            return  # broken off; whoever called sees how far it came


def _goes_on(answer: requests.Response, start: int) -> bool:
    return answer.status_code == _PARTIAL_CONTENT and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
