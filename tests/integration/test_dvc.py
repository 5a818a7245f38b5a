"""What runs again when something changes: dvc.yaml as it is, DVC itself, two pipelines up to their encoded corpora."""

import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
from project import CORPUS, PIPELINE, ROOT, draw_corpus
from ruamel.yaml import YAML

STAGES = {f"{stage}@{pipeline}" for stage in ("fetch", "prepare", "encode") for pipeline in ("one", "two")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project whose corpora are encoded."""
    folder = tmp_path_factory.mktemp("built")
    corpora = {}
    for name in ("one", "two"):
        draw_corpus(folder / f"{name}.conllu", num_sentences=40)
        corpora[name] = {
            **deepcopy(CORPUS),
            "source": {"kind": "path", "path": f"{name}.conllu"},
            "splits": {"all": f"{name}.conllu"},
        }
    params = {"pipelines": {name: {**deepcopy(PIPELINE), "corpus": name} for name in corpora}}
    YAML().dump(params, folder / "params.yaml")
    YAML().dump({"corpora": corpora, "vectors": {}}, folder / "corpora.yaml")
    for code in ("models", "pipeline"):
        shutil.copytree(ROOT / code, folder / code)
    shutil.copy(ROOT / "dvc.yaml", folder)
    dvc(folder, "init", "--no-scm")
    assert set(ran(dvc(folder, "repro", "encode"))) == STAGES
    return folder


@pytest.fixture
def project(built, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(built, tmp_path / "project", symlinks=True)


def dvc(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(["dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ran(output: str) -> list[str]:
    return re.findall("Running stage '(.+)'", output)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_what_has_not_changed_does_not_run_again(project):
    assert ran(dvc(project, "repro", "--dry", "encode")) == []


def test_a_comment_in_params_runs_nothing(project):
    change(project / "params.yaml", "pipelines:", "# a thought\npipelines:")
    assert ran(dvc(project, "repro", "--dry", "encode")) == []


def test_a_changed_train_param_runs_neither_prepare_nor_encode(project):
    change(project / "params.yaml", "lr: 0.02", "lr: 0.01")
    assert set(ran(dvc(project, "repro", "--dry", "train"))) == {"train@one", "train@two"}


def test_a_changed_entry_of_the_catalogue_runs_its_own_pipeline_alone(project):
    change(project / "corpora.yaml", "licence: ours", "licence: yours")
    assert {stage.split("@")[1] for stage in ran(dvc(project, "repro", "--dry", "encode"))} == {"one"}


def test_a_changed_file_of_ones_own_runs_its_own_pipeline_alone(project):
    (project / "data" / "two" / "raw" / "two.conllu").unlink()
    (project / "data" / "two" / "raw" / "two.conllu").symlink_to(project / "two.conllu")
    change(project / "two.conllu", "\tNOUN\t", "\tVERB\t")
    assert set(ran(dvc(project, "repro", "encode"))) == {stage for stage in STAGES if stage.endswith("two")}
