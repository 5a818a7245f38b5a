"""Who becomes champion, and why not: real stores, real models of known scores, the stage itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from entrants import LABELS, make_entrant, register_entrant, score_of, unknown_score_of
from mlflow import MlflowClient
from project import ROOT

from pipeline import failpoints, registry, tracking_store, versions
from pipeline.config import Check, RegisterConfig
from pipeline.errors import InfrastructureError, IntegrityError, ParamsError
from pipeline.promote import gate_of, promote, roll_back

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own, as it logs a model


@pytest.fixture(scope="module")
def new_store(tmp_path_factory):
    """A store in which nothing is; to make one takes seconds, to copy it none."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{path}"
    try:
        tracking_store.count_experiments()
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]
    return path


@pytest.fixture
def enter(new_store, tmp_path, monkeypatch):
    """Registers a model that says one label, under some demands."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(new_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return lambda label, **demands: register_entrant(make_entrant(tmp_path / label, label), **demands)


def client():
    return MlflowClient(tracking_store.tracking_uri())


def test_a_better_model_takes_the_champions_place_and_a_worse_one_does_not(enter):
    found = [enter(label) for label in "CBD"]
    assert [(it["version"], it["alias"]) for it in found] == [("1", "champion"), ("2", "champion"), ("3", "challenger")]
    assert found[2]["champion_before"] == pytest.approx(score_of("B"))


def test_the_gain_and_its_interval_are_said_in_file_tag_and_terminal(enter, capsys):
    enter("C")
    (line,) = enter("B")["gate"]
    assert line.startswith("gain holds: test/accuracy 0.1226, version 1 has 0.1161: +0.0065, 95% interval -0.")
    assert f"toy: gate: {line}\n" in capsys.readouterr().out
    assert client().get_model_version("toy", "2").tags["gate_gain"] == line.removeprefix("gain ")


def test_a_gain_that_other_examples_might_not_show_is_refused_where_confidence_is_asked(enter):
    enter("B")
    found = enter("A", confidence=0.95)
    assert found["alias"] == "challenger" and "the low end of its 95% interval is not above 0" in found["gate"][0]


def test_no_model_below_the_least_scores_is_champion_even_of_none(enter):
    found = enter("A", min_scores={"accuracy": 0.1, "accuracy_unknown": 0.01})
    assert found["alias"] == "challenger" and found["gate"][1].endswith("too low: accuracy_unknown")
    assert versions.champion("toy") is None


def test_a_better_model_that_is_worse_on_unknown_words_is_refused_where_that_matters(enter):
    enter("C")
    lost = unknown_score_of("C") - unknown_score_of("B")
    assert enter("A", slices={"accuracy_unknown": lost})["alias"] == "challenger"
    assert enter("B", slices={"accuracy_unknown": lost})["alias"] == "champion"


def test_a_champion_must_read_some_texts_as_a_person_expects(enter):
    found = enter("A", checks=(Check("old new", labels=("A", "B")), Check("old", labels=("A",))))
    assert found["alias"] == "challenger"
    assert found["gate"][1] == "checks fails: 1 of 2 texts as expected; 'old new' is A A, expected A B"
    assert enter("B", checks=(Check("old", labels=("B",)),))["alias"] == "champion"


@pytest.mark.parametrize("demands", [{"min_scores": {"acuracy": 0.5}}, {"slices": {"acuracy": 0.5}}, {"metric": "entity_f1"}])
def test_a_score_that_no_model_has_is_named_beside_those_there_are(enter, demands):
    with pytest.raises(ParamsError, match=r"register\.\w+ (names|is).*fix: choose another"):
        enter("A", **demands)


def test_registering_again_changes_nothing(enter, tmp_path):
    enter("C")
    layout = make_entrant(tmp_path / "twice", "B")
    first = register_entrant(layout)
    before = client().get_model_version("toy", "2")
    assert register_entrant(layout) == first
    after = client().get_model_version("toy", "2")
    assert (after.tags, after.description, after.aliases) == (before.tags, before.description, before.aliases)
    assert len(client().search_model_versions("name='toy'")) == 2


def test_other_demands_have_the_same_version_judged_anew(enter, tmp_path):
    layout = make_entrant(tmp_path / "again", "B")
    assert register_entrant(layout, min_scores={"accuracy": 0.9})["alias"] == "challenger"
    assert register_entrant(layout, min_scores={"accuracy": 0.1})["alias"] == "champion"
    assert dict(client().get_registered_model("toy").aliases) == {"champion": 1}
    register_entrant(layout)
    assert "gate_min_scores" not in client().get_model_version("toy", "1").tags


@pytest.mark.parametrize("place", ["created", "completed", "claimed", "alias set"])
def test_a_register_that_ended_half_way_is_finished_by_the_next(enter, tmp_path, monkeypatch, place):
    enter("C")
    layout = make_entrant(tmp_path / "half", "B")
    monkeypatch.setattr(failpoints, "_passed", failpoints.Counter())
    monkeypatch.setenv("UNROLL_FAILPOINTS", f"register: {place}=exhaust memory")
    with pytest.raises(MemoryError):
        register_entrant(layout)
    monkeypatch.delenv("UNROLL_FAILPOINTS")
    assert register_entrant(layout)["alias"] == "champion"
    version = client().get_model_version_by_alias("toy", "champion")
    assert version.version == 2 and version.tags["test_accuracy"] == "0.1226" and version.description.startswith("**toy**")
    assert {"champion_since", "gate_gain", "sha256_weights", "git_commit"} <= set(version.tags)
    assert len(client().search_model_versions("name='toy'")) == 2


def test_a_version_that_another_process_removed_before_it_was_complete_is_no_error(enter):
    enter("C")
    source, run_id = client().get_model_version("toy", "1").source, client().create_run("0").info.run_id

    def create():
        kept, lost = (client().create_model_version("toy", source, run_id).version for _ in range(2))
        client().delete_model_version("toy", lost)  # as who keeps the older one does
        client().set_model_version_tag("toy", lost, "parity", "0 apart")
        raise AssertionError(kept)

    assert registry.enter("toy", run_id, create).number == "2"


def test_a_version_that_nobody_kept_is_an_error(enter):
    enter("C")
    run_id = client().create_run("0").info.run_id
    with pytest.raises(InfrastructureError, match="kept no version of toy"):
        registry.enter("toy", run_id, lambda: client().get_model_version("toy", "9"))


def test_what_is_registered_carries_its_weights_hash_its_data_and_its_params(enter, tmp_path):
    enter("A")
    tags = client().get_model_version("toy", "1").tags
    assert {"md5_prepared", "md5_encoded", "md5_model", "sha256_test", "scores", "params", "environment"} <= set(tags)
    assert tags["sha256_weights"] in (tmp_path / "A/data/toy/model/manifest.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["network.onnx", "vocab.json", "meta.json"])
def test_a_registered_model_with_a_flipped_byte_is_neither_read_nor_served(enter, tmp_path, name):
    enter("A")
    flip_last_byte(versions.download_model("models:/toy@champion") / name)
    command = [sys.executable, "-m", "pipeline", "predict", "--model", "models:/toy@champion"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, input="old\n", capture_output=True, text=True, check=False)
    assert done.returncode == 4 and f"{name}:1:1: is not what was written" in done.stderr and not done.stdout
    with pytest.raises(IntegrityError):
        mlflow.pyfunc.load_model("models:/toy@champion")


def test_a_version_is_promoted_where_the_gate_lets_it(enter, tmp_path):
    enter("B"), enter("A", min_scores={"accuracy": 0.9}), enter("C")
    gate = gate_of("toy", tmp_path / "A/data/toy/prepared", RegisterConfig(), "tagging")
    promote("toy", "2", gate)
    assert versions.champion("toy").number == "2"
    with pytest.raises(ParamsError, match="version 3 is not promoted; fails: gain; fix: --force"):
        promote("toy", "3", gate)
    promote("toy", "3", None)
    assert versions.champion("toy").number == "3"


def test_a_broken_version_is_not_promoted_by_force(enter):
    enter("A"), enter("B")
    flip_last_byte(versions.download_model("models:/toy/2") / "vocab.json")
    with pytest.raises(IntegrityError):
        promote("toy", "2", None)
    assert versions.champion("toy").number == "1"


def test_rollback_goes_back_through_the_champions_in_their_order_and_then_no_further(enter):
    for label in "DCEB":
        enter(label)
    promote("toy", "1", None)
    for number in "42":
        roll_back("toy")
        assert versions.champion("toy").number == number
    with pytest.raises(ParamsError, match="no version was champion before 2"):
        roll_back("toy")


def test_what_was_rolled_back_stays_so_when_it_is_registered_again_whatever_is_asked_of_it(enter, tmp_path):
    enter("C")
    layout = make_entrant(tmp_path / "bad", "B")
    register_entrant(layout)
    roll_back("toy")
    assert register_entrant(layout)["alias"] == "challenger"
    assert "rolled_back fails: " in register_entrant(layout, min_gain=0.001)["gate"][-1]
    assert versions.champion("toy").number == "1"
    promote("toy", "2", None)
    assert "rolled_back" not in client().get_model_version("toy", "2").tags


def test_a_new_model_is_compared_with_the_one_that_was_rolled_back_to(enter):
    for label in "DB":
        enter(label)
    roll_back("toy")
    assert enter("C")["alias"] == "champion"


def test_the_models_page_tells_of_the_champion_there_is(enter):
    enter("C"), enter("B")
    roll_back("toy")
    page = client().get_registered_model("toy")
    assert page.tags["accuracy"] == f"{score_of('C'):.4f}" and "11.61%" in page.description


def test_a_champion_of_before_this_was_noted_is_rolled_back_to(enter):
    enter("C")
    for key in ("champion_since", "claim"):
        client().delete_model_version_tag("toy", "1", key)
    enter("B")
    roll_back("toy")
    assert versions.champion("toy").number == "1"


def test_a_broken_champion_is_an_error_and_no_reason_to_take_its_place(enter):
    enter("C")
    weights = Path(versions.download_model("models:/toy@champion")) / "network.onnx"
    flip_last_byte(weights)
    with pytest.raises(IntegrityError):
        enter("A")
    assert versions.champion("toy").number == "1"


def flip_last_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_ten_models_one_after_the_other_leave_the_best_as_champion(enter):
    order = "EGBJADHCIF"
    assert sorted(order) == list(LABELS)
    for label in order:
        enter(label)
    assert versions.champion("toy").number == str(order.index("A") + 1)
