"""What runs log, on its way to a store that may be away, slow or locked: a file per run, delivered in order by a thread.

A line of a run's file is an entry, plain data. Beside it stands how far it was delivered, which is written after each delivery:
whoever is killed in between delivers an entry twice, so a delivery must bear to be repeated. A file is locked by the process that
has it, and removed once all of it has arrived. What the store will never take is set aside and told. Nothing here knows MLflow.
"""

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from threading import Event, Lock, Thread
from typing import IO, Any

from pipeline.errors import InfrastructureError
from pipeline.failpoints import reach

logger = logging.getLogger(__name__)

Entry = dict[str, Any]
Deliver = Callable[[str, list[Entry]], str]
"""Takes a run's address and the next of its entries; gives the address of those that follow."""

_MOST_LINES, _MOST_VALUES = 100, 1000
"""Of what is delivered at once."""
_FIRST_PAUSE, _LONGEST_PAUSE, _LAST_PAUSE = 0.2, 20.0, 1.0
"""Seconds between tries: they double, up to the longest; at the end of a command, when it is waited for, up to the last."""
_OTHERS_SECONDS = 30
"""How long another process may take that delivers a run's file."""


class RefusedError(Exception):
    """The store will never take an entry."""


class Box:
    """One run's file, while this process has it.

    Args:
        path: of the file; made where it is not there.

    Attributes:
        address: of the run; the name of the file, until a delivery says otherwise.
        waiting: values that were not delivered yet; an entry without metrics counts as one.

    Raises:
        BlockingIOError: another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._state = path, path.with_suffix(".done")
        self._file, self._lock = _locked(path), Lock()
        done = json.loads(self._state.read_text(encoding="utf-8")) if self._state.exists() else {}
        self._offset, self.address = done.get("bytes", 0), done.get("address", path.stem)
        content = path.read_bytes()
        self._size = content.rfind(b"\n") + 1
        os.ftruncate(self._file.fileno(), self._size)  # a line that a killed process left half written
        self.waiting = sum(_values(_entry(line)) for line in content[self._offset : self._size].splitlines())

    @property
    def folder(self) -> Path:
        """A place for what does not go into a line; it goes with the file."""
        return self._path.with_suffix(".files")

    def add(self, entry: Entry) -> None:
        """Append an entry.

        Raises:
            InfrastructureError: the disk does not take it.
        """
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            try:
                if self._file.write(line) != len(line):
                    raise OSError("No space left on device")
            except OSError as error:
                os.ftruncate(self._file.fileno(), self._size)
                free = shutil.disk_usage(self._path.parent).free / 1e6
                why = f"{error.strerror or error}; {free:.2f} MB free"
                raise InfrastructureError(
                    f"{self._path}: can not be written; {why}; fix: make room, then run it again"
                ) from error
            self._size += len(line)
            self.waiting += _values(entry)

    def first(self) -> tuple[list[Entry], int]:
        """Give those of the next entries that may go together, and where those after them begin."""
        found: list[Entry] = []
        with self._lock, self._path.open("rb") as file:
            file.seek(self._offset)
            end = self._offset
            for line in islice(file, _MOST_LINES):
                entry = _entry(line)
                is_metrics = all("metrics" in other for other in [*found, entry])
                if found and not (is_metrics and sum(map(_values, [*found, entry])) <= _MOST_VALUES):
                    break
                found.append(entry)
                end += len(line)
        return found, end

    def pass_by(self, entries: list[Entry], end: int) -> None:
        """Note that entries were delivered."""
        with self._lock:
            if self._file.closed:
                return
            partial = self._state.with_suffix(".partial")
            partial.write_text(json.dumps({"bytes": end, "address": self.address}), encoding="utf-8")
            partial.rename(self._state)
            self._offset = end
            self.waiting -= sum(map(_values, entries))

    def set_aside(self, entry: Entry) -> None:
        """Keep an entry that the store refused beside the others."""
        with self._path.with_suffix(".refused").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Leave the file to other processes; remove it where all of it was delivered."""
        with self._lock:
            if self._offset == self._size:
                shutil.rmtree(self.folder, ignore_errors=True)
                self._state.unlink(missing_ok=True)  # first: what is left without it is delivered once more
                self._path.unlink(missing_ok=True)
            self._file.close()


def _entry(line: bytes) -> Entry:
    """Read a line; one that a disk has lost is an entry of a kind that no store takes."""
    try:
        return json.loads(line)
    except ValueError:
        return {"kind": "broken", "line": line.decode(errors="replace")}


def _values(entry: Entry) -> int:
    return len(entry.get("metrics", (None,)))


def _locked(path: Path) -> IO[bytes]:
    """Open a file of which no other process has the lock, and which none has removed meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
        file.close()


class Spool:
    """The files of all runs that this process logs to, and those that others left, with the thread that delivers them.

    Args:
        folder: of the files; made when something is logged.
        deliver: brings entries to the store. A `RefusedError` sets them aside; after any other error they are brought again.

    Attributes:
        trouble: why the last delivery failed; empty where it did not.
    """

    def __init__(self, folder: Path, deliver: Deliver) -> None:
        self._folder, self._deliver = folder.resolve(), deliver
        self._boxes: dict[str, Box] = {}
        self._opening, self._awake, self._hurried, self._closed = Lock(), Event(), Event(), False
        self.trouble, self._delivered, self._longest = "", 0, _LONGEST_PAUSE
        self._refused: set[Box] = set()
        self._thread = Thread(target=self._work, name="spool", daemon=True)
        self._take_up()
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Values that were not delivered yet."""
        return sum(box.waiting for box in self._all())

    @property
    def folder(self) -> Path:
        """Where they wait."""
        return self._folder

    def add(self, run: str, entry: Entry) -> None:
        """Keep an entry of a run, and have it delivered.

        Raises:
            InfrastructureError: the disk does not take it, or another process logs to this run.
        """
        self.box(run).add(entry)
        self._awake.set()

    def box(self, run: str) -> Box:
        """Give a run's file; waits for another process that delivers it."""
        end = time.monotonic() + _OTHERS_SECONDS
        while True:
            with self._opening:
                if run in self._boxes:
                    return self._boxes[run]
                try:
                    return self._boxes.setdefault(run, Box(self._folder / f"{run}.jsonl"))
                except BlockingIOError as error:
                    if time.monotonic() > end:
                        raise InfrastructureError(
                            f"{self._folder / run}.jsonl: another process logs to this run; fix: wait for it, or end it"
                        ) from error
            time.sleep(0.1)

    def wait(self, seconds: float) -> bool:
        """Wait until all was delivered, as long as something is in any `seconds`; says whether it was."""
        self._hurry()
        seen, since = -1, 0.0
        while self.waiting:
            if self._delivered != seen:
                seen, since = self._delivered, time.monotonic()
            if time.monotonic() - since > seconds:
                return False
            time.sleep(0.02)
        return True

    def address(self, run: str, seconds: float) -> str | None:
        """Give a run's address when its first entry was delivered; None where that takes longer."""
        self._hurry()
        box, end = self.box(run), time.monotonic() + seconds
        while box.address == run:
            if time.monotonic() > end:
                return None
            time.sleep(0.02)
        return box.address

    def close(self) -> None:
        """End the thread, and leave what waits to the next process."""
        self._closed = True
        self._awake.set()
        self._hurried.set()
        self._thread.join(timeout=1)  # longer only in a call that the store does not answer
        for box in self._all():
            box.close()

    def _hurry(self) -> None:
        """Try again at once, and soon after that: somebody waits."""
        self._longest = _LAST_PAUSE
        self._hurried.set()

    def _all(self) -> list[Box]:
        with self._opening:
            return list(self._boxes.values())

    def _take_up(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                self._boxes[path.stem] = Box(path)
            except BlockingIOError:
                continue  # its own process delivers it

    def _work(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed:
            self._awake.clear()
            sent = [self._send(box) for box in self._all() if box.waiting]
            if not all(sent):
                self._hurried.wait(min(pause, self._longest))
                pause = min(2 * pause, _LONGEST_PAUSE)
                if self._longest == _LAST_PAUSE and not self._closed:
                    self._hurried.clear()
            elif sent:
                pause = _FIRST_PAUSE
            else:
                self._awake.wait()

    def _send(self, box: Box) -> bool:
        """Deliver the next entries of a run; says whether that went well."""
        entries, end = box.first()
        try:
            for group in self._groups(box, entries):
                self._bring(box, group)
            reach("spool: delivered")
            box.pass_by(entries, end)
        except Exception as error:  # whatever it is, it must neither end the thread nor lose an entry
            self.trouble = str(error) or type(error).__name__
            return False
        self.trouble = ""
        self._delivered += len(entries)
        return True

    def _groups(self, box: Box, entries: list[Entry]) -> Iterator[list[Entry]]:
        """Give entries together, or one by one where the store has refused some of this run."""
        if box in self._refused:
            yield from ([entry] for entry in entries)
        else:
            yield entries

    def _bring(self, box: Box, entries: list[Entry]) -> None:
        try:
            box.address = self._deliver(box.address, entries)
        except RefusedError as error:
            if box not in self._refused:
                self._refused.add(box)
                logger.warning("run %s: %s; what is refused is kept in %s", box.address, error, self._folder)
            if len(entries) > 1:
                for entry in entries:
                    self._bring(box, [entry])
            else:
                box.set_aside(entries[0])
