"""MLflow is killed, stays away, is locked or written to by many, while commands run: they go on, and each point is there once.

Each test runs commands as a person does, beside a real server or a real SQLite file. A training is held at steps of its own by
failpoints, so that what happens to MLflow happens at a known place of it.
"""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
from mlflow import MlflowClient
from project import Project, sweep_runs, swept_project
from servers import free_port, mlflow_server, wait_until

from pipeline import tracking

EPOCHS = 5
HOLDS = ("worker 0, step 40=stop", "worker 0, step 110=stop")
"""In the second and in the fourth epoch."""
SECONDS = 600


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path / "project", num_workers=1, epochs=EPOCHS, checkpoint_steps=5)
    made.stages("fetch", "prepare", "encode")
    return made


class Tracker:
    """MLflow's server on one port and one SQLite file, which runs while a context lasts and may run again."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.port = folder, free_port()
        self.url, self.store = f"http://127.0.0.1:{self.port}", f"sqlite:///{folder / 'mlflow.db'}"

    def running(self):
        return mlflow_server(self.folder, self.store, str(self.folder / "artifacts"), port=self.port)

    def client(self):
        """Past the server, which may be away."""
        return MlflowClient(self.store)


@pytest.fixture
def tracker(tmp_path):
    return Tracker(tmp_path / "tracker")


def start(project, uri, command="train", holds=HOLDS):
    log = project.folder / "failpoints.log"
    environment = {"MLFLOW_TRACKING_URI": uri, "UNROLL_FAILPOINTS": "; ".join(holds), "UNROLL_FAILPOINTS_LOG": str(log)}
    return project.start(command, "-p", "toy", environment=environment)


def wait_for_hold(project, process, number):
    """Wait until a training is held for the first or second time; gives the process that is held."""
    log = project.folder / "failpoints.log"
    wait_until(lambda: process.poll() is not None or (log.exists() and len(log.read_text().splitlines()) >= number), SECONDS)
    assert process.poll() is None, process.communicate()
    found = []
    wait_until(lambda: found.extend(_stopped(process)) or found, SECONDS)
    return found[0]


def _stopped(process):
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.status() == psutil.STATUS_STOPPED]


def call(project, uri, command, *arguments):
    process = project.start(command, *arguments, environment={"MLFLOW_TRACKING_URI": uri})
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def spooled(project):
    """Give the steps of the epochs that stand in the spool."""
    lines = [line for path in project.folder.glob(".unroll/spool/*/*.jsonl") for line in path.read_text().splitlines()]
    return [entry["step"] for entry in map(json.loads, lines) if entry["kind"] == "epoch"]


def assert_each_point_once(client, run_id, epochs=EPOCHS):
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert {"train/loss", "val/loss", "val/accuracy", "lr"} <= set(run.data.metrics)
    for name in run.data.metrics:
        steps = [point.step for point in client.get_metric_history(run_id, name)]
        assert len(steps) == len(set(steps)), name
        if name.startswith(("train/", "val/")):
            assert sorted(steps) == list(range(1, epochs + 1)), name


def run_id_of(project):
    return project.json("model/meta.json")["run_id"]


def kept_run_id(project):
    return json.loads(next(project.folder.glob(".unroll/checkpoints/toy/*/run.json")).read_text())["run_id"]


def test_a_server_that_is_killed_and_returns_while_a_network_trains_has_each_point_once(project, tracker):
    with tracker.running():
        process = start(project, tracker.url)
        held = wait_for_hold(project, process, 1)
    held.resume()
    held = wait_for_hold(project, process, 2)
    assert {2, 3} <= set(spooled(project)), "the training went on"
    run_id = kept_run_id(project)
    with tracker.running():
        client = tracker.client()
        wait_until(lambda: len(client.get_metric_history(run_id, "train/loss")) == 3, SECONDS)
        held.resume()
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert "wait in" not in err and not spooled(project)
    assert run_id_of(project) == run_id
    assert_each_point_once(tracker.client(), run_id)


def test_a_server_that_never_returns_costs_no_model_and_the_next_command_delivers(project, tracker):
    with tracker.running():
        process = start(project, tracker.url, holds=HOLDS[:1])
        held = wait_for_hold(project, process, 1)
    held.resume()
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0 and "Connection refused" in err and "values wait in .unroll/spool" in err and "fix:" in err
    assert len(err.strip().splitlines()) == 1
    run_id = run_id_of(project)
    assert spooled(project)[-1] == EPOCHS
    for command in ("evaluate", "register"):
        begun = time.monotonic()
        code, _, err = call(project, tracker.url, command, "-p", "toy")
        assert code == 6 and "MLflow does not answer; Connection refused; fix: start it with `make ui UI_PORT=" in err
        assert time.monotonic() - begun < 10
    with tracker.running():
        call(project, tracker.url, "doctor")
        assert not spooled(project)
        assert_each_point_once(tracker.client(), run_id)
        for command in ("evaluate", "register"):
            code, _, err = call(project, tracker.url, command, "-p", "toy")
            assert code == 0, err
        assert {file.path for file in MlflowClient(tracker.url).list_artifacts(run_id)} >= {"report"}
    assert tracker.client().get_model_version_by_alias("toy", "champion").run_id == run_id


def test_a_driver_that_is_killed_while_the_server_is_away_goes_on_in_its_run(project, tracker):
    with tracker.running():
        process = start(project, tracker.url)
        held = wait_for_hold(project, process, 1)
    held.resume()
    wait_for_hold(project, process, 2)
    run_id = kept_run_id(project)
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in tree:
        member.kill()
    psutil.wait_procs(tree, timeout=30)
    process.communicate()
    assert 2 in spooled(project)
    with tracker.running():
        code, _, err = call(project, tracker.url, "train", "-p", "toy")
    assert code == 0, err
    assert run_id_of(project) == run_id
    assert_each_point_once(tracker.client(), run_id)


def test_a_sweep_goes_on_without_its_server_and_registers_when_it_is_back(tmp_path, tracker):
    space = {"train": {"lr": [0.01, 0.02, 0.03]}}
    options = {"trials": 3, "epochs": 2, "searcher": "grid", "stopper": "none", "seeds": 0, "space": space}
    project = swept_project(tmp_path / "swept", **options)
    ledger = project.folder / ".unroll" / "sweeps"
    with tracker.running():
        process = project.start("sweep", environment={"MLFLOW_TRACKING_URI": tracker.url})
        wait_until(lambda: process.poll() is not None or list(ledger.rglob("trial-1.json")), SECONDS)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 6 and "MLflow does not answer" in err and "values wait in .unroll/spool" in err
    states = [json.loads(path.read_text())["state"] for path in ledger.rglob("trial-*.json")]
    assert states == ["finished"] * 3
    with tracker.running():
        code, _, err = call(project, tracker.url, "sweep")
        assert code == 0, err
    _, children = sweep_runs(project, client=tracker.client())
    assert [run.data.tags["trial"] for run in children] == ["1", "2", "3"]
    for run in children:
        assert_each_point_once(tracker.client(), run.info.run_id, epochs=2)


@contextmanager
def locked(path):
    """Lock a SQLite file from a process of its own."""
    code = "import sqlite3, sys; file = sqlite3.connect(sys.argv[1], isolation_level=None); "
    code += "file.execute('BEGIN EXCLUSIVE'); print(1, flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline()
    try:
        yield
    finally:
        holder.communicate("\n")


def test_a_sqlite_file_that_is_locked_for_30_s_while_a_network_trains_loses_nothing(project):
    path = project.folder / "mlflow.db"
    process = start(project, f"sqlite:///{path}")
    held = wait_for_hold(project, process, 1)
    with locked(path):
        begun = time.monotonic()
        held.resume()
        held = wait_for_hold(project, process, 2)
        assert {2, 3} <= set(spooled(project)), "the training went on"
        held.resume()
        time.sleep(max(0.0, 30 - (time.monotonic() - begun)))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite3.connect(path, timeout=0.1).execute("SELECT * FROM runs")
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0 and "Traceback" not in err, err
    project.stages("evaluate")
    assert_each_point_once(project.client(), run_id_of(project))


def test_commands_that_begin_while_the_file_is_locked_for_30_s_wait_for_it(project):
    path = project.folder / "mlflow.db"
    project.client().search_experiments()
    with locked(path):
        process = start(project, f"sqlite:///{path}", holds=())
        time.sleep(30)
        assert process.poll() is None
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0 and "Traceback" not in err, err
    project.stages("evaluate", "register")
    assert_each_point_once(project.client(), run_id_of(project))


WRITER = """
import sys
from pathlib import Path
from pipeline.environment import set_environment
from pipeline.tracking import Run, in_use

set_environment()
with in_use(Path(sys.argv[1])):
    run = Run.start("some", sys.argv[2], {"writer": sys.argv[2]}, {})
    print(run.run_id, flush=True)
    for epoch in range(1, 51):
        run.log_epoch({"epoch": epoch, "train/loss": 1 / epoch, "val/loss": 2 / epoch, "lr": 0.1})
        run.log({"system/load": epoch}, step=epoch)
        run.tag({"last": str(epoch)})
    run.end()
"""


def test_8_processes_that_begin_one_file_and_write_to_it_at_once_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path, str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for i in range(8)
    ]
    ended = [(*writer.communicate(timeout=SECONDS), writer.returncode) for writer in writers]
    assert [code for _, _, code in ended] == [0] * 8, ended
    assert tracking.deliver_what_waits(tmp_path) == 0
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for out, _, _ in ended:
        run = client.get_run(out.strip())
        assert run.info.status == "FINISHED" and run.data.tags["last"] == "50"
        for name in ("train/loss", "val/loss", "lr", "system/load"):
            steps = [point.step for point in client.get_metric_history(out.strip(), name)]
            assert sorted(steps) == list(range(1, 51))
