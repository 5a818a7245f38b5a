"""What a version was made with is what its commit's params.yaml comes to say, whatever the sweep that it came from changed."""

import json
from dataclasses import asdict
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.params import load_config
from pipeline.reproduce import write_corpora, write_params
from pipeline.versions import Version

ROOT = Path(__file__).resolve().parents[2]


def version_with(**changes):
    """Give a version of `pos` with the params that stand in params.yaml but for some keys of `model` and `train`."""
    params = json.loads(json.dumps(asdict(load_config(ROOT / "params.yaml", ROOT / "corpora.yaml")[0].pipelines["pos"])))
    for key, value in changes.items():
        section, _, name = key.partition("_in_")
        params[name][section] = value
    return Version("pos", "1", "run", {"params": json.dumps(params)})


def test_params_that_are_the_commits_own_leave_its_file_as_it_is(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    write_params(path, version_with())
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_what_a_sweep_changed_is_written_and_the_file_is_right(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    shape = {
        "hidden_in_model": [50, 50],
        "cell_in_model": "simple_rnn",
        "activation_in_model": "relu",
        "forget_bias_in_model": None,
    }
    write_params(path, version_with(lr_in_train=0.004, **shape))
    pipeline = load_config(path, ROOT / "corpora.yaml")[0].pipelines["pos"]
    assert (pipeline.train.lr, pipeline.model.hidden, pipeline.model.activation) == (0.004, (50, 50), "relu")


def test_files_of_ones_own_are_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry = {"task": "tagging", "source": {"kind": "path", "path": "../mine.conllu"}}
    path = tmp_path / "elsewhere" / "deep" / "corpora.yaml"
    path.parent.mkdir(parents=True)
    YAML().dump({"corpora": {"ud-portuguese-porttinari": entry}}, path)
    write_corpora(path, version_with())
    source = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["corpora"]["ud-portuguese-porttinari"]["source"]
    assert source["path"] == str((tmp_path.parent / "mine.conllu").resolve())
