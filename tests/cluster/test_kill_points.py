"""The process that writes checkpoints is killed before, between and after each of their files, then again while it resumes."""

import os
import signal
import subprocess
import sys

import pytest
from project import ROOT, Project
from ruamel.yaml import YAML

from pipeline.job import make_job
from pipeline.layout import Layout
from pipeline.params import load_config

POINTS = [
    *(f"checkpoint: {place}@3" for place in ("begun", "folder made", "tensors written", "meta written", "manifest written")),
    *(f"checkpoint: {place}@3" for place in ("flushed", "old one removed", "renamed", "whole", "old one pruned")),
    *(f"checkpoint: {place}@1" for place in ("tensors written", "manifest written", "renamed")),
    *(f"checkpoint: {place}@9" for place in ("meta written", "flushed", "old one pruned")),
]
TRAIN = """
import torch
from pipeline.job import make_job
from pipeline.layout import Layout
from pipeline.params import load_config
from pipeline.worker import train_worker
config, _ = load_config()
params = config.pipelines["toy"]
train_worker(make_job(params.model, params.train, config.scaling, Layout("toy")), torch.device("cpu"), lambda message: None)
"""


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("encoded"), num_workers=1, epochs=2, checkpoint_steps=5)
    project.stages("fetch", "prepare", "encode")
    return project


def train(folder, **failpoints):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **failpoints}
    return subprocess.run([sys.executable, "-c", TRAIN], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def copy(project, folder):
    for name in ("params.yaml", "corpora.yaml", "drawn.conllu", "data"):
        (folder / name).symlink_to(project.folder / name)
    return folder


def final_of(folder):
    (path,) = folder.glob(".unroll/checkpoints/toy/*/final/tensors.safetensors")
    return path.read_bytes()


@pytest.fixture(scope="module")
def unbroken(encoded, tmp_path_factory):
    folder = copy(encoded, tmp_path_factory.mktemp("unbroken"))
    assert train(folder).returncode == 0
    return final_of(folder)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_of_a_checkpoint_changes_no_bit(encoded, unbroken, tmp_path, point):
    folder = copy(encoded, tmp_path)
    assert train(folder, UNROLL_FAILPOINTS=f"{point}=kill").returncode == -signal.SIGKILL
    again = train(folder, UNROLL_FAILPOINTS="checkpoint: loaded=kill; checkpoint: manifest written=kill")
    assert again.returncode == -signal.SIGKILL
    last = train(folder)
    assert last.returncode == 0, last.stderr
    assert final_of(folder) == unbroken
    assert not list(folder.rglob("*.partial"))


def key_of(folder):
    config, _ = load_config(folder / "params.yaml", folder / "corpora.yaml")
    params = config.pipelines["toy"]
    return make_job(params.model, params.train, config.scaling, Layout("toy", folder / "data", folder / ".unroll")).key


def test_a_checkpoint_of_other_params_is_refused_with_the_difference(encoded, tmp_path):
    folder = copy(encoded, tmp_path)
    assert train(folder, UNROLL_FAILPOINTS="checkpoint: whole@3=kill").returncode == -signal.SIGKILL
    before = folder / ".unroll/checkpoints/toy" / key_of(folder)
    params = YAML().load(folder / "params.yaml")
    params["pipelines"]["toy"]["model"]["hidden"] = [17]
    (folder / "params.yaml").unlink()
    YAML().dump(params, folder / "params.yaml")
    before.rename(before.with_name(key_of(folder)))
    done = train(folder)
    assert done.returncode != 0 and "ParamsError" in done.stderr
    assert "model.hidden was [16] and is [17]; fix: set them back" in done.stderr
