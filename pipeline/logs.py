"""How much a command tells on its way, and in which form; results are printed, and stand apart from all that is set here.

Lines for a person: how it goes on standard output, warnings and errors on standard error. Or each as a JSON object, all on
standard error, so that standard output holds results alone.
"""

import io
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

_OURS = logging.getLogger("pipeline")
_NO_TERMINAL = "TTY_COMPATIBLE"
"""Of rich: 0 has it draw no moving bars."""


class _Terminal(logging.Handler):
    """Prints lines as they are, with a word before warnings, and before errors that are not ours."""

    def emit(self, record: logging.LogRecord) -> None:
        is_plain = record.name.split(".")[0] == _OURS.name and record.levelno != logging.WARNING
        line = self.format(record) if is_plain else f"{record.levelname}: {self.format(record)}"
        print(line, file=sys.stdout if record.levelno < logging.WARNING else sys.stderr, flush=True)


class _Json(logging.Handler):
    """Writes each line as an object with its time in UTC, level, logger and message."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": self.format(record)}
        print(json.dumps(line, ensure_ascii=False), file=self._out, flush=True)


class _Logged(io.TextIOBase):
    """Stands for standard error: what a library prints there is logged, too."""

    def __init__(self, before: TextIO) -> None:
        self.before = before
        self._begun = ""

    def fileno(self) -> int:
        return self.before.fileno()

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                _OURS.getChild("stderr").warning("%s", line)
        return len(text)


def set_up(level: int = logging.INFO, *, as_json: bool = False) -> None:
    """Choose for this process; of other libraries one level less is shown.

    Args:
        level: of logging: DEBUG tells each step, INFO how it goes, ERROR nothing but what ends a command.
        as_json: write objects.
    """
    reset()
    handler: logging.Handler = _Json(sys.stderr) if as_json else _Terminal()
    for logger, least in ((_OURS, level), (logging.getLogger(), min(level + 10, logging.ERROR))):
        logger.addHandler(handler)
        logger.setLevel(least)
    _OURS.propagate = False
    logging.captureWarnings(as_json)
    if as_json:
        sys.stderr = _Logged(sys.stderr)
    if as_json or level > logging.INFO:
        os.environ[_NO_TERMINAL] = "0"


def reset() -> None:
    """Take back what `set_up` set."""
    if isinstance(sys.stderr, _Logged):
        sys.stderr = sys.stderr.before
    if os.environ.get(_NO_TERMINAL) == "0":
        del os.environ[_NO_TERMINAL]
    for logger in (_OURS, logging.getLogger()):
        for handler in logger.handlers[:]:
            if isinstance(handler, _Terminal | _Json):
                logger.removeHandler(handler)
    _OURS.propagate = True
    _OURS.setLevel(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    logging.captureWarnings(False)
