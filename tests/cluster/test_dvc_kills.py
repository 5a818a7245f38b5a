"""DVC killed in each stage, and two at once: afterwards stands what one unbroken run leaves. It takes minutes.

Every run is of the same folder, which is put back to how the unbroken run had it before the stage in question.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from project import ROOT, Project
from ruamel.yaml import YAML

from pipeline.digest import file_sha256

BEGUN = {  # stage -> what is there once it has begun to write
    "fetch": "data/toy/raw/*",
    "prepare": "data/toy/prepared/*",
    "encode": "data/toy/encoded/train/*",
    "train": ".unroll/checkpoints/toy/*/step-00001-*[1-9]/manifest.json",  # of a step in mid-epoch
    "evaluate": "data/toy/report/*",
    "register": "mlartifacts/models/*/artifacts/MLmodel",
}
LAST = {"fetch": "train", "prepare": "encode", "encode": "encode"}
"""How far the second run goes after a kill in an early stage; after one in another, to the end."""
REFUSED = ("is busy, it is being blocked by", "Unable to acquire lock")


class Repository:
    """A project under git and DVC, with what it was before each of its stages.

    Attributes:
        project: in one folder for all runs, as MLflow's store holds whole paths.
        hashes: of what is the same in every run, as an unbroken one leaves it: a stage's folder; of train, the weights.
    """

    def __init__(self, folder):
        self._states = folder / "states"
        self.project = Project(folder / "project", num_workers=1, epochs=2, checkpoint_seconds=0.05)
        self.path = self.project.folder
        with (self.path / "corpora.yaml").open("a", encoding="utf-8") as catalogue:
            catalogue.write("vectors: {}\n")
        for code in ("models", "pipeline"):
            shutil.copytree(ROOT / code, self.path / code, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".gitignore"):
            shutil.copy(ROOT / name, self.path)
        subprocess.run(["git", "init", "--quiet"], cwd=self.path, check=True)
        self.dvc("init", "--quiet")
        shutil.copy(ROOT / ".dvc" / "config", self.path / ".dvc")
        for stage in BEGUN:
            shutil.copytree(self.path, self._states / stage, symlinks=True)
            self.dvc("repro", stage)
        self.hashes = self.hashes_now()

    def back_to(self, stage):
        """Put everything back to before a stage."""
        shutil.rmtree(self.path)
        shutil.copytree(self._states / stage, self.path, symlinks=True)

    def start(self, *arguments):
        environment = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.path),
            "DVC_SITE_CACHE_DIR": str(self._states.parent / "site"),
            "DVC_NO_ANALYTICS": "1",
        }
        return subprocess.Popen(
            ["dvc", *arguments],
            cwd=self.path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def dvc(self, *arguments):
        process = self.start(*arguments)
        out, _ = process.communicate()
        assert process.returncode == 0, out
        return out

    def hashes_now(self):
        done = self.locked()
        found = {stage: done[stage]["outs"][0]["md5"] for stage in ("fetch", "prepare", "encode") if stage in done}
        if "train" in done:
            found["train"] = file_sha256(self.path / "data" / "toy" / "model" / "tensors.safetensors")
        return found

    def hashes_to(self, last):
        """Give the hashes of the unbroken run up to a stage."""
        stages = list(BEGUN)
        return {stage: each for stage, each in self.hashes.items() if stages.index(stage) <= stages.index(last)}

    def locked(self):
        """Give the stages that DVC says are done."""
        path = self.path / "dvc.lock"
        stages = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"] if path.exists() else {}
        return {name.removesuffix("@toy"): entry for name, entry in stages.items()}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """An unbroken run."""
    return Repository(tmp_path_factory.mktemp("kills"))


def wait_until_begun(repository, process, stage):
    deadline = time.monotonic() + 180
    while not any(repository.path.glob(BEGUN[stage])):
        if process.poll() is not None:
            pytest.fail(process.stdout.read())
        assert time.monotonic() < deadline, stage
        time.sleep(0.002)


def kill(repository, process):
    """Kill a run where it is, and all it has started; Ray's processes are in sessions of their own."""
    os.killpg(process.pid, signal.SIGSTOP)  # or it would go on while its children are looked for
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in tree:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while left := [each for each in psutil.process_iter() if _is_in(each, repository.path)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _is_in(process, folder):
    try:
        return process.cwd().startswith(str(folder))
    except psutil.Error:
        return False


def tracked(repository):
    """List the runs of the store, with the epochs of each; MLflow itself would go on with the store of the test before."""
    query = (
        "select run_uuid, status, (select group_concat(step) from (select step from metrics "
        "where metrics.run_uuid = runs.run_uuid and key = 'train/loss' order by step)) from runs"
    )
    with closing(sqlite3.connect(repository.path / "mlflow.db")) as store:
        return store.execute(query).fetchall()


@pytest.mark.parametrize("stage", BEGUN)
def test_a_run_after_one_killed_ends_with_the_hashes_of_one_unbroken(repository, stage):
    repository.back_to(stage)
    process = repository.start("repro")
    wait_until_begun(repository, process, stage)
    kill(repository, process)
    assert stage not in repository.locked()

    last = LAST.get(stage, "register")
    repository.dvc("repro", last)

    assert repository.hashes_now() == repository.hashes_to(last)
    if last == "register":
        assert "up to date" in repository.dvc("status")
        registered = repository.project.json("registry.json")
        assert (registered["version"], registered["alias"]) == ("1", "champion")
        assert tracked(repository) == [(registered["run_id"], "FINISHED", "1,2")]


@pytest.mark.parametrize(("begun", "last"), [(None, "encode"), ("train", "train")])
def test_of_two_runs_at_once_one_is_refused_and_the_other_ends_well(repository, begun, last):
    """The second begins with the first, or while that is in a stage."""
    repository.back_to(begun or "fetch")
    runs = [repository.start("repro", last)]
    if begun is not None:
        wait_until_begun(repository, runs[0], begun)
    runs.append(repository.start("repro", last))
    said = [run.communicate()[0] for run in runs]
    codes = [run.returncode for run in runs]
    assert sorted(codes) == [0, 255], said
    assert any(text in said[codes.index(255)] for text in REFUSED), said
    assert repository.hashes_now() == repository.hashes_to(last)
