import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import Catalogue, Config
from pipeline.errors import ParamsError
from pipeline.params import load_config
from pipeline.schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
PARAMS = """\
pipelines:
  mine:
    corpus: reuters-r8
    vectors: null
    split: {}
    encode: {}
    model:
      hidden: [8]
    train:
      lr: 1e-3
    register: {}
"""


def _problems(tmp_path, params, corpora=None):
    path = tmp_path / "params.yaml"
    path.write_text(params, encoding="utf-8")
    catalogue = ROOT / "corpora.yaml"
    if corpora is not None:
        catalogue = tmp_path / "corpora.yaml"
        catalogue.write_text(corpora, encoding="utf-8")
    with pytest.raises(ParamsError) as caught:
        load_config(path, catalogue)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


def test_the_documented_presets_are_right():
    config, _ = load_config(ROOT / "docs" / "presets.yaml", ROOT / "corpora.yaml")
    assert set(config.pipelines) == {"ewt", "ewt-glove", "trec", "banking77", "wnut17"}


def test_the_documented_networks_are_right():
    config, _ = load_config(ROOT / "docs" / "networks.yaml", ROOT / "corpora.yaml")
    assert len(config.pipelines) >= 12


def test_the_projects_own_files_are_right():
    config, catalogue = load_config(ROOT / "params.yaml", ROOT / "corpora.yaml")
    assert set(config.pipelines) == {"pos", "topic"} and len(catalogue.corpora) >= 11


def test_a_number_in_scientific_notation_is_a_number(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    config, _ = load_config(tmp_path / "params.yaml", ROOT / "corpora.yaml")
    assert config.pipelines["mine"].train.lr == 1e-3


@pytest.mark.parametrize(
    ("old", "new", "start", "says"),
    [
        ("hidden: [8]", "hiden: [8]", "params.yaml:8:7:", "did you mean hidden?"),
        ("hidden: [8]", "hidden: [0]", "params.yaml:8:16:", "greater than or equal to 1"),
        ("hidden: [8]", "hidden: []", "params.yaml:8:7:", "is empty"),
        ("lr: 1e-3", "lr: fast", "params.yaml:10:7:", "valid number"),
        ("lr: 1e-3", "lr: 0", "params.yaml:10:7:", "greater than 0"),
        ("corpus: reuters-r8", "corpus: reuters-r9", "params.yaml:3:5:", "did you mean reuters-r"),
        ("vectors: null", "vectors: glove", "params.yaml:4:5:", "glove-6b-50d"),
        ("split: {}", "split: {val: 0.6, test: 0.6}", "params.yaml:5:5:", "nothing to train on"),
        ("    register: {}\n", "", "params.yaml:2:3:", "register is missing"),
        ("lr: 1e-3", "lr: 1e-3\n      lr: 1e-2", "params.yaml:11:7:", "duplicate key"),
        ("lr: 1e-3", "\tlr: 1e-3", "params.yaml:10:", "is not YAML"),
        ("vectors: null", "vectors: [", "params.yaml:", "is not YAML"),
        ("register: {}", "register: {confidence: 1.0}", "params.yaml:11:16:", "less than 1"),
        ("register: {}", "register: {min_scores: {accuracy: 95}}", "params.yaml:11:29:", "less than or equal to 1"),
        ("register: {}", "register: {checks: [{text: a}]}", "params.yaml:11:25:", "needs one answer"),
        ("register: {}", "register: {checks: [{text: a, labels: [b]}]}", "params.yaml:11:16:", "give its `label: ...`"),
    ],
)
def test_a_mistake_is_named_at_its_line(tmp_path, old, new, start, says):
    problems = "\n".join(_problems(tmp_path, PARAMS.replace(old, new)))
    assert problems.startswith(start) and says in problems


def test_all_mistakes_are_named_at_once(tmp_path):
    wrong = PARAMS.replace("hidden: [8]", "hidden: [8]\n      dropout: 2.0\n      cel: lstm").replace("1e-3", "x")
    wrong = wrong.replace("reuters-r8", "reuters-r9")
    assert [line.split(":")[1] for line in _problems(tmp_path, wrong)] == ["9", "10", "12", "3"]


def test_mistakes_in_the_catalogue_are_named_too(tmp_path):
    catalogue = "corpora:\n  mine:\n    task: tagging\n    format: conllu\n    language: en\n    licence: mine\n"
    wrong = catalogue + "    source: {kind: path, pth: x}\n    splits: {val: x}\n"
    problems = _problems(tmp_path, PARAMS, wrong)
    assert any("corpora.yaml:7" in line and "did you mean path?" in line for line in problems)


def test_a_typo_is_answered_with_exit_code_2(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS.replace("lr:", "l_r:"), encoding="utf-8")
    (tmp_path / "corpora.yaml").write_text((ROOT / "corpora.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "train", "-p", "mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "did you mean lr?" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "root"), [("params", Config), ("corpora", Catalogue)])
def test_the_schemas_for_editors_are_up_to_date(name, root):
    stored = json.loads((ROOT / "docs" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert stored == json_schema(root)
