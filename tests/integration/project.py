"""A project in a folder of its own, with a drawn corpus: what a user has, and the commands as a user calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
CORPUS = {
    "task": "tagging",
    "format": "conllu",
    "columns": {"text": "form", "label": "upos", "per_token": {"ending": "xpos"}, "per_sequence": {"size": "size"}},
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
    "model": {
        **{"word_size": 12, "char_size": 6, "char_hidden": 8, "features": {"capitalisation": 2}, "hidden": [16], "crf": True},
        **{"heads": {"ending": 0.5, "size": 0.2}, "pooling": "mean", "input_dropout": 0.1, "dropout": 0.2},
    },
    "train": {"epochs": 3, "batch_tokens": 30, "lr": 0.02, "patience": 0, "precision": "float64", "word_dropout": 0.1},
    "register": {"parity_batches": 20},
}
ENDINGS = {"ado": "VERB", "eza": "NOUN", "oso": "ADJ", "ente": "ADV"}


def draw_corpus(path, num_sentences=200):
    """Write sentences whose words' tags follow from their endings, which stand beside them, and say whether they are long."""
    rng = np.random.default_rng(7)
    blocks = []
    for number in range(num_sentences):
        rows = []
        for i in range(1, rng.integers(2, 14)):
            ending = rng.choice(list(ENDINGS))
            word = "".join(rng.choice(list("bcdfglmnprst"), 2)) + ending
            rows.append("\t".join([str(i), word, "_", ENDINGS[ending], ending, *"_____"]))
        size = "long" if len(rows) > 6 else "short"
        blocks.append(f"# sent_id = {number}\n# size = {size}\n" + "\n".join(rows))
    path.write_text("\n\n".join(blocks) + "\n\n", encoding="utf-8")


class Project:
    """A folder with params, a catalogue and a corpus, in which commands are run."""

    def __init__(self, folder, num_workers=2, sweep=None, model=None, scaling=None, name="toy", **train):
        self.folder, self.name = folder, name
        folder.mkdir(parents=True, exist_ok=True)
        draw_corpus(folder / "drawn.conllu")
        params = {
            "pipelines": {
                name: {**PIPELINE, "model": model or PIPELINE["model"], "train": {**PIPELINE["train"], **train}},
            },
            "scaling": {"num_workers": num_workers, **(scaling or {})},
            "sweep": sweep,
        }
        for name, content in (("params", params), ("corpora", {"corpora": {"drawn": CORPUS}})):
            YAML().dump(content, folder / f"{name}.yaml")

    def start(self, command, *arguments, environment=None, **options):
        """Start a command as a user does; `environment` adds variables."""
        own = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", command, *arguments],
            cwd=self.folder,
            env={**own, "PYTHONPATH": str(ROOT), **(environment or {})},
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
            self.run(name, "-p", self.name)

    def json(self, path):
        return json.loads((self.folder / "data" / self.name / path).read_text(encoding="utf-8"))

    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")

    def metric_steps(self, run_id, metric):
        client = self.client()
        return client.get_run(run_id).info.status, [point.step for point in client.get_metric_history(run_id, metric)]


def swept_project(folder, **sweep):
    """Make a project that is ready to be swept."""
    project = Project(folder, sweep={"pipeline": "toy", **sweep})
    project.stages("fetch", "prepare", "encode")
    return project


def sweep_runs(project, kind="trial", client=None):
    """Give the runs of the only sweep, the parent and its children of one kind, `trial` or `repeat`, in their order."""
    client = client or project.client()
    runs = client.search_runs([client.get_experiment_by_name(project.name).experiment_id])
    (parent,) = (run for run in runs if run.data.tags.get("kind") == "sweep")
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    children = [run for run in children if run.data.tags["kind"] == kind]
    return parent, sorted(children, key=lambda run: int(run.data.tags["trial"]))
