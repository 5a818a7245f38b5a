"""Named places where a test lets this process die, stop or fail. Nothing happens unless `UNROLL_FAILPOINTS` says so.

    UNROLL_FAILPOINTS="checkpoint: manifest written@2=kill; worker 1, step 37=stop"

The second time that this process comes by the first place it is killed; at the other one it is stopped. What has struck is
noted in the file `UNROLL_FAILPOINTS_LOG`, if there is one, and does not strike again, in this process or another.
"""

import errno
import os
import signal
from collections import Counter
from pathlib import Path

_passed: Counter[str] = Counter()


def reach(place: str) -> None:
    """Say that a place is reached."""
    plan = os.environ.get("UNROLL_FAILPOINTS")
    if not plan:
        return
    _passed[place] += 1
    for point in (part.strip() for part in plan.split(";")):
        where, _, action = point.partition("=")
        name, _, count = where.partition("@")
        if name == place and int(count or 1) == _passed[place] and _strikes(point):
            _ACTIONS[action]()


def _strikes(point: str) -> bool:
    log = os.environ.get("UNROLL_FAILPOINTS_LOG")
    if log is None:
        return True
    path = Path(log)
    if path.exists() and point in path.read_text(encoding="utf-8").splitlines():
        return False
    with path.open("a", encoding="utf-8") as file:
        file.write(point + "\n")
    return True


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _fill_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _exhaust_memory() -> None:
    raise MemoryError


_ACTIONS = {"kill": _kill, "stop": _stop, "fill the disk": _fill_disk, "exhaust memory": _exhaust_memory}
