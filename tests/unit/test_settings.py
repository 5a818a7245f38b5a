"""What --set lays over params.yaml, and how its mistakes are told."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from pipeline.params import load_config

ROOT = Path(__file__).resolve().parents[2]
PARAMS = """\
pipelines:
  mine:
    corpus: reuters-r8
    vectors: null
    split: {}
    encode: {}
    model: {hidden: [8], bidirectional: true, merge: sum}
    train:
      lr: 1e-3
    register: {}
  other:
    corpus: reuters-r8
    vectors: null
    split: {}
    encode: {}
    model: {}
    train: {lr: 1e-3}
    register: {}
"""


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS, encoding="utf-8")

    def load(*settings, pipeline="mine"):
        return load_config(path, ROOT / "corpora.yaml", settings, pipeline)[0]

    return load


def _problems(load, *settings, pipeline="mine"):
    with pytest.raises(ParamsError) as caught:
        load(*settings, pipeline=pipeline)
    return str(caught.value).splitlines()


def test_a_short_key_belongs_to_the_chosen_pipeline_and_a_whole_one_to_the_one_it_names(load):
    config = load("train.lr=1e-4", "pipelines.other.model.hidden=[3, 4]")
    assert config.pipelines["mine"].train.lr == 1e-4
    assert config.pipelines["other"].model.hidden == (3, 4)


def test_what_params_yaml_leaves_out_can_be_set(load):
    config = load("train.epochs=2", "scaling.num_workers=3", "model.features={capitalisation: 5}")
    assert config.pipelines["mine"].train.epochs == 2 and config.scaling.num_workers == 3
    assert config.pipelines["mine"].model.features == {"capitalisation": 5}


def test_of_two_values_for_a_key_the_last_holds(load):
    assert load("train.lr=1", "train.lr=2").pipelines["mine"].train.lr == 2


def test_a_section_that_two_pipelines_share_changes_in_the_chosen_one_alone(load):
    config = load("train.lr=7")
    assert config.pipelines["mine"].train.lr == 7 and config.pipelines["other"].train.lr == 1e-3


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.lrr=1", "pipelines.mine.train.lrr is not a key here; did you mean lr?"),
        ("train.lr=fast", "valid number"),
        ("train.lr=0", "greater than 0"),
        ("trian.lr=1", "trian is not a key here; did you mean train?"),
        ("pipelines.mien.train.lr=1", "did you mean mine?"),
        ("train.lr.x=1", "which has no keys; fix: set pipelines.mine.train.lr as a whole"),
        ("train.lr=[1", "the value is not YAML"),
        ("corpus=reuters-r9", "did you mean reuters-r"),
        ("model.pooling=none", "'none'"),
        ("split.val=1", "less than 1"),
    ],
)
def test_a_mistake_is_told_at_its_setting(load, setting, says):
    (problem,) = _problems(load, setting)
    assert problem.startswith(f"--set {setting}: ") and says in problem


def test_a_setting_without_a_value_or_without_a_pipeline_is_told(load):
    assert _problems(load, "train.lr") == ["--set train.lr: has no value; fix: write train.lr=VALUE"]
    (problem,) = _problems(load, "train.lr=1", pipeline=None)
    assert problem.endswith("fix: write pipelines.NAME.train.lr=1")


def test_all_mistakes_of_settings_are_told_at_once(load):
    problems = _problems(load, "train.lrr=1", "model.hidden=[0]", "trian.lr=1", "train.seed")
    assert len(problems) == 4


def test_what_the_file_says_and_a_setting_makes_idle_is_told_with_the_way_out(load):
    (problem,) = _problems(load, "model.bidirectional=false")
    assert "params.yaml:7:" in problem and problem.endswith("or add --set pipelines.mine.model.merge=null")
    assert load("model.bidirectional=false", "model.merge=null").pipelines["mine"].model.merge is None


def test_a_problem_of_two_settings_names_both(load):
    (problem,) = _problems(load, "split.val=0.6", "split.test=0.6", "corpus=ud-portuguese-porttinari", "model.merge=sum")
    assert problem.startswith("--set split.val=0.6 --set split.test=0.6: ") and "nothing to train on" in problem


def test_a_wrong_setting_is_answered_before_torch_and_polars_are_imported():
    code = (
        "import sys; sys.argv = ['unroll', 'run', '-p', 'pos', '--set', 'train.lrr=1']\n"
        "from pipeline.__main__ import main\n"
        "try: main()\n"
        "finally: print([name for name in ('torch', 'ray', 'mlflow', 'polars') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout.strip() == "[]"
    assert done.stderr.startswith("--set train.lrr=1: ") and "Traceback" not in done.stderr
