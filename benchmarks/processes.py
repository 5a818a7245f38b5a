"""Fresh processes, and when each said what: a contender's start-up counts, and nothing of it stays for the next."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]
ROOT = Path(__file__).parent.parent


def lines(arguments: list[str], cwd: Path = ROOT) -> Iterator[tuple[float, str]]:
    """Run Python with these arguments; yield each line of its output, with the seconds since its start.

    Raises:
        RuntimeError: it failed; the message holds the end of what it said.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    start, said = time.perf_counter(), []
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            yield time.perf_counter() - start, line.rstrip("\n")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{''.join(said[-20:])}")


def events(arguments: list[str]) -> list[Event]:
    """Run a script that prints JSON objects, one per line; each gets `at`, the seconds since the start of the process."""
    return [json.loads(line) | {"at": at} for at, line in lines(arguments) if line.startswith("{")]


def of_kind(found: list[Event], kind: str) -> list[Event]:
    return [event for event in found if event["event"] == kind]
