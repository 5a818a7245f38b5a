"""What is tracked in MLflow: runs with their metrics and artifacts. The versions of registered models are in `versions`.

The store is `MLFLOW_TRACKING_URI`, or an SQLite file in the project's folder. Only the driver of a stage writes. Within `in_use`,
what a run logs goes through the spool: it returns at once, outlives a store that is away and a driver that is killed, and arrives
once and in order. Outside it goes straight to the store.
"""

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from threading import Event, Thread
from typing import Any
from urllib.parse import urlencode

from pipeline.deliveries import create, deliver, find_tagged
from pipeline.errors import InfrastructureError
from pipeline.spool import Entry, Spool
from pipeline.tracking_store import (
    away,
    client,
    demand_answer,
    first_line,
    if_there,
    in_short,
    is_away,
    shown_uri,
)

_SYSTEM_SECONDS = 5
"""Between two looks at the machine's load."""


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@dataclass(frozen=True)
class Run:
    """One tracked run.

    Attributes:
        key: its id in MLflow; of one that was begun while MLflow may be away, its name until then.
        began: seconds since 1970.
    """

    key: str
    began: float = field(default_factory=time.time, compare=False)
    _epochs: set[int] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def start(
        cls, experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str], parent: str | None = None
    ) -> "Run":
        """Begin a run.

        Args:
            experiment: made where it is not there yet.
            name: what the run is called in the pages.
            params: names -> values; those in a mapping are named after it, `model.cell`.
            tags: flat names -> texts.
            parent: the run that this one is part of.
        """
        began = cls(create(experiment, name, tags, parent))
        began._keep({"kind": "params", "params": _texts(params)})
        return began

    @classmethod
    def begin(
        cls,
        experiment: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        further: Mapping[str, str],
        parent: str | None = None,
    ) -> "Run":
        """Take up the run that has all of `tags`, or begin it with `further` ones; MLflow is not waited for."""
        run = cls("begun-" + sha256(json.dumps([experiment, sorted(tags.items())]).encode()).hexdigest()[:16])
        entry: Entry = {"kind": "begin", "experiment": experiment, "name": name, "tags": dict(tags), "further": dict(further)}
        entry |= {"params": _texts(params), "parent": parent}
        if _spools:
            run._keep(entry)
            return run
        return cls(deliver(run.key, [entry]))

    @classmethod
    def find(cls, run_id: str) -> "Run | None":
        """Take up a run that may have been begun earlier; None where the store does not know it."""
        found = if_there(lambda: client().get_run(run_id))
        if found is None:
            return None
        run = cls(run_id, found.info.start_time / 1000)
        run._keep({"kind": "status", "status": "RUNNING"})
        return run

    @classmethod
    def find_tagged(cls, experiment: str, tags: Mapping[str, str]) -> "Run | None":
        """Take up the run of an experiment that has all of these tags; None where there is none."""
        found = find_tagged(experiment, tags)
        return None if found is None else cls.find(found)

    @property
    def run_id(self) -> str:
        """Its id in MLflow.

        Raises:
            InfrastructureError: MLflow has not begun it yet, and does not answer.
        """
        if not _spools or not self.key.startswith("begun-"):
            return self.key
        found = _spools[-1].address(self.key, _ID_SECONDS)
        if found is None:
            raise away(f"does not answer; {in_short(_spools[-1].trouble or 'it is slow')}")
        return found

    def steps(self, metric: str) -> set[int]:
        """Give the steps at which a metric was logged, as far as it has arrived."""
        return {int(point.step) for point in client().get_metric_history(self.run_id, metric)}

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at one step."""
        self._keep({"kind": "metrics", **_points(metrics, step)})

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log the metrics of an epoch, at the step `epoch`, unless they were logged before, by whatever process."""
        epoch = int(row["epoch"])
        if epoch not in self._epochs:
            self._keep({"kind": "epoch", **_points(row, epoch)})
            self._epochs.add(epoch)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._keep({"kind": "tags", "tags": _texts(tags)})

    def keep(self, folder: Path, artifact_path: str | None = None) -> None:
        """Store a folder's files as artifacts."""
        if _spools:
            copy = _spools[-1].box(self.key).folder / secrets.token_hex(4)
            try:
                copytree(folder, copy)
            except OSError as error:
                raise InfrastructureError(f"{copy}: can not be written; {error}; fix: make room, then run it again") from error
            self._keep({"kind": "files", "folder": str(copy), "path": artifact_path, "is_copy": True})
        else:
            self._keep({"kind": "files", "folder": str(folder), "path": artifact_path, "is_copy": False})

    def end(self, status: str = "FINISHED") -> None:
        """Close the run: FINISHED, FAILED or KILLED."""
        self._keep({"kind": "status", "status": status, "time": _now()})

    def watch_system(self) -> "SystemWatch":
        """Begin to log this machine's load, memory, disk and network to the run; `finish()` on what is returned ends it."""
        return SystemWatch(self)

    def _keep(self, entry: Entry) -> None:
        if _spools:
            _spools[-1].add(self.key, entry)
        else:
            deliver(self.key, [entry])


_spools: list[Spool] = []
"""Of `in_use`: none, or one."""
_ID_SECONDS = 10.0


def _points(metrics: Mapping[str, float], step: int) -> Entry:
    return {"metrics": {key: float(value) for key, value in metrics.items()}, "step": step, "time": _now()}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in _flat(values)}


def _now() -> int:
    return int(time.time() * 1000)


class SystemWatch:
    """Logs this machine's load to a run, from a thread; a step is 5 s since the run began."""

    def __init__(self, run: Run) -> None:
        self._run, self._ended = run, Event()
        self._thread = Thread(target=self._watch, name="system", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """End it."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor(), *_gpu_monitors()]
        while not self._ended.wait(_SYSTEM_SECONDS):
            found: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                found |= {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
                monitor.clear_metrics()
            try:
                self._run.log(found, step=int((time.time() - self._run.began) / _SYSTEM_SECONDS))
            except InfrastructureError:
                return  # the disk is full, which the training itself will tell


def _gpu_monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    try:
        return [GPUMonitor()]
    except Exception:  # of whatever kind, where there is no GPU or no library for it
        return []


@contextmanager
def in_use(work_dir: Path) -> Iterator[None]:
    """Have what runs log go through the spool, deliver what earlier commands left in it, and tell at the end what waits.

    Args:
        work_dir: the folder `.unroll`, for the spool.

    Raises:
        InfrastructureError: the store is not there, or did not answer what was asked meanwhile.
    """
    if _spools:
        yield
        return
    demand_answer()
    spool = Spool(work_dir / "spool" / sha256(shown_uri().encode()).hexdigest()[:12], deliver)
    _spools.append(spool)
    seconds = _BROKEN_OFF_SECONDS
    try:
        yield
        seconds = _END_SECONDS
    except Exception as error:
        if not is_away(error):
            raise
        raise away(f"failed; {first_line(error)}") from error
    finally:
        _spools.clear()
        try:
            if not spool.wait(seconds):
                _tell(spool)
        finally:
            spool.close()


_END_SECONDS, _BROKEN_OFF_SECONDS = 10.0, 3.0
"""How long the end of a command waits for a store that takes nothing."""


def _tell(spool: Spool) -> None:
    why = f" ({in_short(spool.trouble or 'no answer yet')})"
    waits = f"{spool.waiting:,} values wait in {os.path.relpath(spool.folder)}"
    print(
        f"{shown_uri()}: MLflow does not take what was logged{why}; {waits} and are not lost; "
        "fix: the next `unroll` command that reaches MLflow delivers them, such as `unroll doctor`",
        file=sys.stderr,
        flush=True,
    )


def deliver_what_waits(work_dir: Path) -> int:
    """Deliver what earlier commands left in the spool, as long as the store takes it; says how many values are left."""
    with in_use(work_dir):
        _spools[-1].wait(_END_SECONDS)
        return _spools[-1].waiting


def parent_of(run_id: str) -> str | None:
    """Give the id of the run that a run is part of, if it is part of one."""
    found = if_there(lambda: client().get_run(run_id))
    return None if found is None else found.data.tags.get("mlflow.parentRunId")


def about_run(run_id: str) -> str | None:
    """Name a run in a few words; None where the store does not have it."""
    found = if_there(lambda: client().get_run(run_id))
    return None if found is None else f"{run_id} ({found.info.run_name}, {found.info.status})"


def param_of(run_id: str, name: str) -> str | None:
    """Give a param of a run as text; None where the run or the param is not there."""
    found = if_there(lambda: client().get_run(run_id))
    return None if found is None else found.data.params.get(name)


def artifact_link(run_id: str, path: str) -> str:
    """Give the address of a run's artifact, as seen from MLflow's own pages."""
    return f"get-artifact?{urlencode({'path': path, 'run_uuid': run_id})}"
