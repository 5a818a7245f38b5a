"""A version made again from its commit: a repository with its own history, DVC, the real stages, twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from project import CORPUS, PIPELINE, ROOT, draw_corpus
from ruamel.yaml import YAML

IDENTITY = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]


def call(folder, *command, code=0):
    """Run a command in a project as a user does; gives what it printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")}
    environment = {**own, "PATH": path, "PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def unroll(folder, *arguments, code=0):
    return call(folder, sys.executable, "-m", "pipeline", *arguments, code=code)


def commit(folder, message):
    call(folder, "git", "add", "--all")
    call(folder, "git", *IDENTITY, "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A repository whose commit has been trained and registered; its corpus is a file of one's own that git does not have.

    A later commit can train no more.
    """
    folder = tmp_path_factory.mktemp("project")
    draw_corpus(folder / "drawn.conllu", num_sentences=60)
    pipeline = {**PIPELINE, "corpus": "drawn", "train": {**PIPELINE["train"], "epochs": 1}}
    YAML().dump({"pipelines": {"toy": pipeline}, "scaling": {"num_workers": 1}}, folder / "params.yaml")
    YAML().dump({"corpora": {"drawn": CORPUS}, "vectors": {}}, folder / "corpora.yaml")
    for code in ("models", "pipeline"):
        shutil.copytree(ROOT / code, folder / code, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copy(ROOT / ".dvcignore", folder)
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text(encoding="utf-8") + "*.conllu\n", encoding="utf-8")
    call(folder, "git", "init", "--quiet")
    call(folder, "dvc", "init", "--quiet")
    commit(folder, "a beginning")
    call(folder, "dvc", "repro")
    (folder / "pipeline" / "worker.py").write_text("raise RuntimeError\n", encoding="utf-8")
    commit(folder, "what trains no more")
    return folder


@pytest.fixture
def client(project):
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def test_a_version_is_made_again_to_the_last_bit_and_leaves_nothing_behind(project, client):
    num_runs = len(client.search_runs([client.get_experiment_by_name("toy").experiment_id]))
    said = unroll(project, "reproduce", "toy/1")
    assert "toy version 1 is reproduced: equal weights, equal scores" in said and "differs" not in said
    assert list((project / ".unroll" / "reproduce").iterdir()) == []
    assert len(client.search_runs([client.get_experiment_by_name("toy").experiment_id])) == num_runs
    assert len(call(project, "git", "worktree", "list").splitlines()) == 1


def test_what_comes_out_otherwise_is_named_and_kept(project, client):
    scores = json.loads(client.get_model_version("toy", "1").tags["scores"])
    client.set_model_version_tag("toy", "1", "scores", json.dumps({**scores, "test/accuracy": 0.5}))
    said = unroll(project, "reproduce", "toy/1", code=4)
    client.set_model_version_tag("toy", "1", "scores", json.dumps(scores))
    folder = project / ".unroll" / "reproduce" / "toy-1"
    assert f"{folder}:1:1: is not toy version 1; test/accuracy differ" in said
    assert (folder / "data" / "toy" / "report" / "metrics.json").exists()


def test_the_hashes_of_a_versions_folders_are_those_of_dvc(project):
    said = unroll(project, "lineage", "toy@champion")
    assert said.count(", as in dvc.lock here") == 3 and "a beginning" in said
    assert "drawn.conllu; corpora.yaml here says the same" in said and "sweep: none" in said


@pytest.mark.parametrize(
    ("commit", "says"),
    [("0" * 40, "its commit 0000000000 is not in this repository"), ("0" * 40 + "+", "not committed"), ("none", "outside git")],
)
def test_a_version_whose_code_nobody_knows_is_refused(project, client, commit, says):
    before = client.get_model_version("toy", "1").tags["git_commit"]
    client.set_model_version_tag("toy", "1", "git_commit", commit)
    assert says in unroll(project, "reproduce", "toy/1", code=2)
    client.set_model_version_tag("toy", "1", "git_commit", before)
