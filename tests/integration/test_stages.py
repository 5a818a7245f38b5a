"""The real stages, as a user calls them, on a drawn corpus: two Ray workers, MLflow on SQLite, a training killed and resumed."""

import json
import time
from xml.etree import ElementTree

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
    rows = [line.split("\t") for line in out.splitlines() if line and not line.startswith("#")]
    assert rows == [["zzeza", "NOUN", "eza"], ["vvoso", "ADJ", "oso"], ["kkado", "VERB", "ado"]]
    sizes = [line for line in out.splitlines() if line.startswith("#")]
    assert len(sizes) == 2 and set(sizes) <= {"# size = short", "# size = long"}


def test_every_target_is_scored_beside_its_floor(whole):
    metrics = whole.json("report/metrics.json")
    assert metrics["test/ending_accuracy"] > max(0.99, metrics["test/floor_ending_accuracy"])
    assert 0.5 < metrics["test/size_accuracy"] <= 1 and "test/floor_size_accuracy" in metrics


def test_the_page_of_a_run_is_kept_with_it(whole):
    run_id = whole.json("report/run.json")["run_id"]
    kept = {file.path for file in whole.client().list_artifacts(run_id, "report")}
    page = (whole.folder / "data" / "toy" / "report" / "report.html").read_text(encoding="utf-8")
    assert "report/report.html" in kept and run_id in page
    assert "ending, a further target" in page and "size, a further target" in page


def test_the_summary_counts_what_was_trained(whole):
    out = whole.run("summary", "-p", "toy")
    assert f"as torch holds them: {whole.json('model/meta.json')['num_parameters']:,}" in out and "CRF" in out


def test_a_summary_needs_no_corpus_where_the_sizes_are_given(tmp_path):
    project = Project(tmp_path, model={"word_size": 64, "char_hidden": 0, "hidden": [128], "bidirectional": False})
    out = project.run("summary", "-p", "toy", "--num-words", "1000", "--num-labels", "10")
    assert "64,000" in out and "98,816" in out and "1,290" in out
    process = project.start("summary", "-p", "toy", "--num-words", "1000")
    _, err = process.communicate()
    assert process.returncode == 2 and "--num-labels, --num-words" in err


def test_the_diagram_is_a_picture_of_the_pipelines_network(whole):
    whole.run("diagram", "-p", "toy", "-o", "net.svg")
    assert "CRF" in ElementTree.parse(whole.folder / "net.svg").getroot().find("{http://www.w3.org/2000/svg}desc").text


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
