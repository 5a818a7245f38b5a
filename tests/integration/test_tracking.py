"""What MLflow answers, and what it does not: a store that fails must never look like an empty one, nor lose or double a point."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from project import Project

from pipeline import tracking, tracking_store, versions
from pipeline.errors import InfrastructureError
from pipeline.train import track_missing


def closed_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def dead_server(monkeypatch):
    """A tracking server at a port where nobody listens, with a password."""
    port = closed_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    return port


@pytest.fixture(scope="module")
def made_store(tmp_path_factory):
    """A store in which nothing is; to make one takes seconds, to copy it none."""
    path = tmp_path_factory.mktemp("made") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path.read_bytes()


@pytest.fixture
def empty_store(monkeypatch, tmp_path, made_store):
    (tmp_path / "mlflow.db").write_bytes(made_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path / "mlflow.db"


def points_of(run_id, metric):
    found = MlflowClient(tracking_store.tracking_uri()).get_metric_history(run_id, metric)
    return sorted((point.step, point.value) for point in found)


def test_what_is_not_in_the_store_is_nothing(empty_store):
    assert versions.champion("nobody") is None
    assert tracking.Run.find("0" * 32) is None
    with pytest.raises(LookupError):
        versions.download_model("models:/nobody@champion")


@pytest.mark.parametrize("is_spooled", [False, True])
def test_an_epoch_that_nobody_heard_of_is_tracked_once_all_the_same(empty_store, tmp_path, is_spooled):
    run = tracking.Run.start("some", "run", {}, {})
    run.log({"train/loss": 0.2}, step=2)
    history = [{"epoch": 1.0, "train/loss": 0.3}, {"epoch": 2.0, "train/loss": 0.25}]
    for _ in range(2):
        if is_spooled:
            with tracking.in_use(tmp_path / "work"):
                track_missing(tracking.Run.find(run.run_id), history)
        else:
            track_missing(run, history)
    assert points_of(run.run_id, "train/loss") == [(1, 0.3), (2, 0.2)]


def test_entries_that_are_delivered_twice_are_there_once(empty_store):
    """As after a kill between the delivery and the note of it; the same through a server is in tests/cluster."""
    values = {"one": 1.5, "third": 1 / 3, "none": math.nan, "all": math.inf}
    entries = [
        {
            "kind": "begin",
            "experiment": "some",
            "name": "a",
            "tags": {"k": "1"},
            "further": {},
            "params": {"p": "1"},
            "parent": None,
        },
        *({"kind": "metrics", "metrics": values, "step": step, "time": 1000 + step} for step in range(3)),
        {"kind": "epoch", "metrics": {"train/loss": 0.5}, "step": 1, "time": 1000},
        {"kind": "tags", "tags": {"t": "1"}},
        {"kind": "status", "status": "FINISHED", "time": 5000},
    ]
    runs = {tracking.deliver("begun", entries[: i + 1]) for i in range(len(entries)) for _ in range(2)}
    (run_id,) = runs
    assert all(len(points_of(run_id, name)) == 3 for name in values) and points_of(run_id, "train/loss") == [(1, 0.5)]
    run = MlflowClient(tracking_store.tracking_uri()).get_run(run_id)
    assert (run.info.status, run.info.end_time, run.data.params, run.data.tags["t"]) == ("FINISHED", 5000, {"p": "1"}, "1")


DRIVER = """
import sys
from pathlib import Path
from pipeline.tracking import Run, in_use

with in_use(Path(sys.argv[1])):
    run = Run.start("some", "run", {"a": {"b": 1}}, {})
    print(run.run_id, flush=True)
    for epoch in (1, 2, 3):
        run.log_epoch({"epoch": epoch, "train/loss": 1 / epoch})
        run.log({"other": epoch}, step=epoch)
    run.end("KILLED")
"""


@pytest.mark.parametrize("at", [1, 2])
def test_a_run_of_a_killed_driver_goes_on_after_what_it_left(empty_store, tmp_path, at):
    environment = {**os.environ, "UNROLL_FAILPOINTS": f"spool: delivered@{at}=kill"}
    command = [sys.executable, "-c", DRIVER, tmp_path]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    run_id = killed.stdout.strip()
    with tracking.in_use(tmp_path):
        again = tracking.Run.find(run_id)
        for epoch in (1, 2, 3, 4):
            again.log_epoch({"epoch": epoch, "train/loss": 9.0})
        again.end()
    points = points_of(run_id, "train/loss")
    assert [step for step, _ in points] == [1, 2, 3, 4] and len(set(points_of(run_id, "other"))) == len(
        points_of(run_id, "other")
    )
    found = MlflowClient(tracking_store.tracking_uri()).get_run(run_id)
    assert found.info.status == "FINISHED" and found.data.params == {"a.b": "1"}
    assert not list((tmp_path / "spool").rglob("*.*"))


def test_a_child_that_is_begun_twice_is_one_run(empty_store, tmp_path):
    parent = tracking.Run.start("some", "parent", {}, {})
    for loss in (0.3, 0.2):
        with tracking.in_use(tmp_path):
            child = tracking.Run.begin("some", "child", {}, {"trial": "1", "sweep": "x"}, {"kind": "trial"}, parent.run_id)
            child.log_epoch({"epoch": 1, "train/loss": loss})
            run_id = child.run_id
    client = MlflowClient(tracking_store.tracking_uri())
    assert len(client.search_runs([client.get_run(parent.run_id).info.experiment_id])) == 2
    assert points_of(run_id, "train/loss") == [(1, 0.3)]
    assert client.get_run(run_id).data.tags["mlflow.parentRunId"] == parent.run_id


def test_files_are_kept_as_they_were_when_they_were_logged(empty_store, tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    (report / "page.html").write_text("first", encoding="utf-8")
    run = tracking.Run.start("some", "run", {}, {})
    with tracking.in_use(tmp_path / "work"):
        run.keep(report, "report")
        (report / "page.html").write_text("later", encoding="utf-8")
    kept = MlflowClient(tracking_store.tracking_uri()).download_artifacts(run.run_id, "report/page.html", str(tmp_path))
    assert Path(kept).read_text(encoding="utf-8") == "first" and not list((tmp_path / "work" / "spool").rglob("*.*"))


def test_the_machines_load_is_logged_at_steps_that_go_on(empty_store, tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "_SYSTEM_SECONDS", 0.2)
    run = tracking.Run.start("some", "run", {}, {})
    for _ in range(2):
        with tracking.in_use(tmp_path):
            watch = tracking.Run.find(run.run_id).watch_system()
            time.sleep(1)
            watch.finish()
    steps = [step for step, _ in points_of(run.run_id, "system/cpu_utilization_percentage")]
    assert len(steps) >= 4 and len(set(steps)) == len(steps)


@pytest.mark.parametrize("ask", [versions.champion, tracking.Run.find])
def test_a_server_that_does_not_answer_is_an_error_and_not_an_empty_store(dead_server, ask):
    with pytest.raises(InfrastructureError, match=r"MLflow does not answer; Connection refused; fix:") as told:
        ask("somebody")
    assert f"http://***@127.0.0.1:{dead_server}: MLflow" in str(told.value) and "secret" not in str(told.value)


def test_a_server_that_hangs_is_told_within_10_seconds(monkeypatch):
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{hung.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(InfrastructureError, match=r"does not answer; nothing came within 5 s; fix: start it with `make ui"):
            tracking_store.demand_answer()
    assert time.monotonic() - begun < 9


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql"])
def test_a_database_that_does_not_answer_is_told_at_once(monkeypatch, scheme):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:secret@127.0.0.1:{closed_port()}/store")
    with pytest.raises(InfrastructureError, match=r"://\*\*\*@127.0.0.1.*Connection refused; fix:"):
        tracking_store.demand_answer()


def test_a_folder_that_can_not_be_written_to_is_told_at_once(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/none/mlflow.db")
    with pytest.raises(InfrastructureError, match=r"sqlite:////proc/none/mlflow.db: MLflow can not open this file; .*; fix:"):
        tracking_store.demand_answer()


@pytest.mark.parametrize("command", ["train", "register"])
def test_a_command_that_needs_a_dead_server_ends_in_6_and_one_line_that_tells_how_to_start_it(dead_server, prepared, command):
    process = prepared.start(command, "-p", "toy", environment={"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]})
    out, err = process.communicate()
    assert process.returncode == 6 and len(err.splitlines()) == 1 and "secret" not in out + err
    assert err.startswith(f"http://***@127.0.0.1:{dead_server}: MLflow does not answer; Connection refused; fix: ")
    assert f"make ui UI_PORT={dead_server}" in err


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("prepared"), num_workers=1)
    project.stages("fetch", "prepare", "encode")
    return project
