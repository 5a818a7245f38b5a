"""Sweeps that are tracked by MLflow's server on PostgreSQL, both real: many trials of two sweeps at once, one of them killed."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from project import Project, sweep_runs
from servers import free_port, mlflow_server, wait_until

NUM_TRIALS = 10
SPACE = {"units": [4, 8], "model": {"cell": ["gru", "simple_rnn"]}, "train": {"lr": {"min": 1e-3, "max": 0.05, "log": True}}}
SWEEP = {"trials": NUM_TRIALS, "epochs": 2, "searcher": "random", "stopper": "none", "seeds": 0, "space": SPACE}
TOOLS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)

pytestmark = pytest.mark.skipif(TOOLS is None, reason="PostgreSQL is missing: apt install postgresql")


@pytest.fixture(scope="module")
def postgres():
    """A database of its own; gives its address."""
    folder, port = Path(tempfile.mkdtemp(prefix="unroll-")), free_port()
    as_other = []
    if os.geteuid() == 0:  # as which PostgreSQL does not run
        shutil.chown(folder, "nobody", "nogroup")
        as_other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    options = {"check": True, "capture_output": True, "cwd": folder}
    subprocess.run([*as_other, TOOLS / "initdb", "-D", folder / "db", "-U", "unroll", "--auth=trust"], **options)
    command = [*as_other, TOOLS / "postgres", "-D", folder / "db", "-k", folder, "-h", "127.0.0.1", "-p", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        asked = [TOOLS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: subprocess.run(asked, check=False).returncode == 0)
        subprocess.run([TOOLS / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "unroll", "mlflow"], **options)
        yield f"postgresql+psycopg2://unroll@127.0.0.1:{port}/mlflow"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(folder)


def test_two_sweeps_at_once_have_each_trial_once_though_one_is_killed(postgres, tmp_path):
    with mlflow_server(tmp_path, postgres, str(tmp_path / "artifacts")) as url:
        environment, client = {"MLFLOW_TRACKING_URI": url}, MlflowClient(url)
        projects = [Project(tmp_path / name, name=name, sweep={"pipeline": name, **SWEEP}) for name in ("one", "other")]
        for project in projects:
            project.stages("fetch", "prepare", "encode")
        processes = [project.start("sweep", environment=environment) for project in projects]
        while len(_ended(projects[0])) < 2 and processes[0].poll() is None:
            time.sleep(0.05)
        processes[0].kill()
        processes[0].communicate()
        processes[0] = projects[0].start("sweep", environment=environment)
        for process in processes:
            _, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
        for project in projects:
            parent, children = sweep_runs(project, client=client)
            assert [run.data.tags["trial"] for run in children] == [str(number) for number in range(1, NUM_TRIALS + 1)]
            assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
            for run in children:
                assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2]
            assert client.get_model_version_by_alias(project.name, "champion").tags["test_accuracy"]


def _ended(project):
    paths = (project.folder / ".unroll" / "sweeps").rglob("trial-*.json")
    return [path for path in paths if '"state": "finished"' in path.read_text(encoding="utf-8")]
