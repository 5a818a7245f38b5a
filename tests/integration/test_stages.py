"""The real stages, as a user calls them, on a drawn corpus: two Ray workers, MLflow on SQLite, a training killed and resumed."""

import json
import time

import numpy as np
import psutil
import pytest
from project import Project


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every stage with two workers."""
    project = Project(tmp_path_factory.mktemp("whole"))
    project.stages("fetch", "prepare", "encode", "train", "evaluate", "register")
    return project


def _curve(project):
    return [[row["train/loss"], row["val/loss"], row["val/accuracy"]] for row in project.json("model/meta.json")["history"]]


def test_the_stages_end_in_a_champion_that_has_learnt_its_corpus(whole):
    assert whole.json("registry.json")["alias"] == "champion"
    metrics = whole.json("report/metrics.json")
    assert metrics["test/accuracy"] > 0.99
    assert metrics["test/accuracy_unknown"] > metrics["test/floor_accuracy_unknown"]


def test_words_that_no_corpus_had_are_tagged_by_the_registered_model(whole):
    out = whole.run("predict", "--model", "models:/toy@champion", text="zzeza vvoso\nkkado\n")
    assert [line.split("\t")[:2] for line in out.splitlines() if line] == [["zzeza", "NOUN"], ["vvoso", "ADJ"], ["kkado", "VERB"]]


def test_registering_the_same_run_again_makes_no_second_version(whole):
    before = whole.json("registry.json")
    whole.stages("register")
    assert whole.json("registry.json") == before


def test_one_worker_gives_the_curve_of_two(whole, tmp_path):
    alone = Project(tmp_path, num_workers=1)
    alone.stages("fetch", "prepare", "encode", "train")
    np.testing.assert_allclose(_curve(alone), _curve(whole), rtol=1e-9)


def test_a_training_killed_in_mid_epoch_goes_on_in_its_run_to_the_same_weights(whole, tmp_path):
    killed = Project(tmp_path, checkpoint_seconds=1e-9)
    killed.stages("fetch", "prepare", "encode")
    process = killed.start("train", "-p", "toy", start_new_session=True)
    checkpoints = killed.folder / ".unroll" / "checkpoints" / "toy"
    deadline = time.monotonic() + 300
    while not (started := list(checkpoints.glob("*/step-00001-*[1-9]/manifest.json"))):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.01)
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in tree:
        member.kill()
    psutil.wait_procs(tree, timeout=30)
    process.communicate()
    run_id = json.loads((started[0].parents[1] / "run.json").read_text(encoding="utf-8"))["run_id"]
    assert not (killed.folder / "data" / "toy" / "model").exists()

    killed.stages("train")

    assert killed.json("model/meta.json")["run_id"] == run_id
    assert killed.metric_steps(run_id, "train/loss") == ("FINISHED", [1, 2, 3])
    np.testing.assert_allclose(_curve(killed), _curve(whole), rtol=1e-12)
