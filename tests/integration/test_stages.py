"""The real stages, as a user calls them, on a drawn corpus: two Ray workers, MLflow on SQLite, a training killed and resumed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
CORPUS = {
    "task": "tagging",
    "format": "conllu",
    "columns": {"text": "form", "label": "upos"},
    "language": "none",
    "licence": "ours",
    "source": {"kind": "path", "path": "drawn.conllu"},
    "splits": {"all": "drawn.conllu"},
}
PIPELINE = {
    "corpus": "drawn",
    "vectors": None,
    "split": {"val": 0.2, "test": 0.2},
    "encode": {},
    "model": {"word_size": 12, "char_size": 6, "char_hidden": 8, "hidden": [16], "dropout": 0.0},
    "train": {"epochs": 3, "batch_tokens": 30, "lr": 0.02, "patience": 0, "precision": "float64", "word_dropout": 0.1},
    "register": {},
}
ENDINGS = {"ado": "VERB", "eza": "NOUN", "oso": "ADJ", "ente": "ADV"}


def _draw_corpus(path, num_sentences=200):
    """Write sentences whose words' tags follow from their endings."""
    rng = np.random.default_rng(7)
    blocks = []
    for number in range(num_sentences):
        rows = []
        for i in range(1, rng.integers(2, 14)):
            ending = rng.choice(list(ENDINGS))
            word = "".join(rng.choice(list("bcdfglmnprst"), 2)) + ending
            rows.append("\t".join([str(i), word, "_", ENDINGS[ending], *"______"]))
        blocks.append(f"# sent_id = {number}\n" + "\n".join(rows))
    path.write_text("\n\n".join(blocks) + "\n\n", encoding="utf-8")


class Project:
    """A folder with params, a catalogue and a corpus, in which commands are run."""

    def __init__(self, folder, num_workers=2, **train):
        self.folder = folder
        _draw_corpus(folder / "drawn.conllu")
        params = {
            "pipelines": {"toy": {**PIPELINE, "train": {**PIPELINE["train"], **train}}},
            "scaling": {"num_workers": num_workers},
        }
        for name, content in (("params", params), ("corpora", {"corpora": {"drawn": CORPUS}})):
            YAML().dump(content, folder / f"{name}.yaml")

    def start(self, command, *arguments, **options):
        environment = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", command, *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, command, *arguments, text=None):
        process = self.start(command, *arguments)
        out, err = process.communicate(text)
        assert process.returncode == 0, err
        return out

    def stages(self, *names):
        for name in names:
            self.run(name, "-p", "toy")

    def json(self, path):
        return json.loads((self.folder / "data" / "toy" / path).read_text(encoding="utf-8"))

    def metric_steps(self, run_id, metric):
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        return client.get_run(run_id).info.status, [point.step for point in client.get_metric_history(run_id, metric)]


def _folder(base, name):
    (base / name).mkdir()
    return base / name


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
    alone = Project(_folder(tmp_path, "alone"), num_workers=1)
    alone.stages("fetch", "prepare", "encode", "train")
    np.testing.assert_allclose(_curve(alone), _curve(whole), rtol=1e-9)


def test_a_training_killed_in_mid_epoch_goes_on_in_its_run_to_the_same_weights(whole, tmp_path):
    killed = Project(_folder(tmp_path, "killed"), checkpoint_seconds=1e-9)
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
