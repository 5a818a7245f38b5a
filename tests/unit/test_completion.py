"""What the Tab key offers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.completion import complete_addresses, complete_models, complete_pipelines

ROOT = Path(__file__).resolve().parents[2]


def test_the_pipelines_of_params_yaml_are_offered(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert complete_pipelines("") == ["pos", "topic"] and complete_pipelines("t") == ["topic"]


@pytest.mark.parametrize("content", [None, "pipelines: [", "nothing", "pipelines:"])
def test_where_params_yaml_can_not_be_read_nothing_is_offered(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "params.yaml").write_text(content, encoding="utf-8")
    assert complete_pipelines("") == []


def test_registered_versions_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pos", "broken"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data/pos/registry.json").write_text(json.dumps({"model": "pos", "version": "3"}), encoding="utf-8")
    (tmp_path / "data/broken/registry.json").write_text("{", encoding="utf-8")
    assert complete_addresses("") == ["pos@champion", "pos/3"]
    assert complete_models("models:/pos/") == ["models:/pos/3"]


def test_a_shell_that_asks_is_answered():
    environment = {**os.environ, "_UNROLL_COMPLETE": "complete_bash", "COMP_WORDS": "unroll train -p ", "COMP_CWORD": "3"}
    code = "import sys; sys.argv = ['unroll']; from pipeline.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pos", "topic"]
