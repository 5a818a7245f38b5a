"""`unroll params`: what is in effect, and that it can be read back."""

import json
from pathlib import Path

import pytest

from pipeline import effective
from pipeline.params import load_config, read_params

ROOT = Path(__file__).resolve().parents[2]
CORPORA = ROOT / "corpora.yaml"


@pytest.mark.parametrize("as_json", [False, True], ids=["yaml", "json"])
@pytest.mark.parametrize("name", ["params.yaml", "docs/presets.yaml", "docs/networks.yaml"])
def test_what_is_printed_reads_back_as_the_same_config(tmp_path, capsys, name, as_json):
    params = read_params(ROOT / name, CORPORA)
    effective.run(params, None, as_json=as_json)
    (tmp_path / "params.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_config(tmp_path / "params.yaml", CORPORA)[0] == params.config


def test_defaults_and_settings_are_marked(capsys):
    effective.run(read_params(ROOT / "params.yaml", CORPORA, ["train.lr=1e-4"], "pos"), "pos", as_json=False)
    lines = {line.split(":")[0].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert lines["lr"].split() == ["lr:", "0.0001", "#", "--set"]
    assert lines["layer_norm"].endswith("# default") and "#" not in lines["decay"] and "topic" not in lines


def test_a_default_that_would_do_nothing_is_left_out(capsys):
    effective.run(read_params(ROOT / "params.yaml", CORPORA), "topic", as_json=True)
    topic = json.loads(capsys.readouterr().out)["pipelines"]["topic"]
    assert "test" not in topic["split"], "the corpus has a test split of its own"
    assert "max_word_length" not in topic["encode"], "nothing reads characters"
