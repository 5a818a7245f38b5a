"""A registered model behind `mlflow models serve` on loopback, and one client that waits for each answer."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil
from peers.asking import Sentences, accuracy, peak_mb, percentiles

START_SECONDS = 120


def measure_rest(python: Path, model: Path, given: dict[str, Sentences], log: Path) -> dict[str, Any]:
    """Ask a fresh server one sentence after the other over one connection.

    Returns:
        `p50` and `p99` in milliseconds; `accuracy`; `load_seconds` until it answers;
        `peak_mb`, what its processes held at most, added up.
    """
    begun = time.perf_counter()
    with _serve(python, model, log) as (server, port):
        loaded = time.perf_counter() - begun
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        _ask(connection, given["tokens"][0])
        times, answers = [], []
        for sentence in given["tokens"]:
            start = time.perf_counter()
            answers.append(_ask(connection, sentence))
            times.append(1000 * (time.perf_counter() - start))
        connection.close()
        held = sum(peak_mb(one.pid) for one in [server, *server.children(recursive=True)])
    right = accuracy(answers, given["labels"])
    return percentiles(times) | {"accuracy": right, "load_seconds": loaded, "peak_mb": held}


def _ask(connection: HTTPConnection, words: list[str]) -> list[str]:
    body = json.dumps({"inputs": [json.dumps(words, ensure_ascii=False)], "params": {"tokens": True}}).encode()
    connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"the server answered {answer.status}: {said.decode()}")
    return json.loads(said)["predictions"][0]["labels"]


@contextmanager
def _serve(python: Path, model: Path, log: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Run the server in a session of its own until the end of the context, once it answers."""
    port = _free_port()
    command = [str(python), "-m", "mlflow", "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])  # MLflow starts uvicorn by its name
    settings = clean_environment() | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=settings,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not _is_up(port):
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not answer:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.05)
        yield psutil.Process(server.pid), port
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def clean_environment() -> dict[str, str]:
    """Give this process's environment without what would lead another Python to this one's packages."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def _is_up(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
