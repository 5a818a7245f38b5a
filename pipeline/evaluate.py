"""model -> report: the test split, asked once; scores beside floors, tables and pictures, in files and in the MLflow run."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

from models.config import MAIN, Task
from pipeline.diagram import draw
from pipeline.labeler import Labeler
from pipeline.layout import Layout
from pipeline.plots import plot_confusion, plot_label_f1, plot_learning_curves
from pipeline.scores import confusion, label_table, most_frequent_tag_floor, tfidf_floor
from pipeline.scoring import Sequences, Split, answer_split, known_words, score_labels
from pipeline.tracking import Run, git_commit

logger = logging.getLogger(__name__)

_INT8 = "_int8"
"""What the names of scores end in where the model answers in whole numbers."""


def run(task: Task, layout: Layout) -> dict[str, float]:
    """Score a trained model on its test split and write the report folder; returns the metrics."""
    labeler = Labeler.load(layout.model_dir)
    train, test = (Split.read(layout.prepared_dir, name) for name in ("train", "test"))
    answers = answer_split(labeler, test)
    predicted = answers.pop(MAIN)
    words = known_words(train)
    scores = score_labels(test, predicted, words, task == "tagging")
    floor = score_labels(test, _floor(task, train, test), words, task == "tagging")
    for name, labels in answers.items():
        further, kind = test.as_target(name), labeler.sizes.targets[name].task
        cheap = _floor(kind, train.as_target(name), further)
        scores[f"{name}_accuracy"] = score_labels(further, labels, words, kind == "tagging")["accuracy"]
        floor[f"{name}_accuracy"] = score_labels(further, cheap, words, kind == "tagging")["accuracy"]
    whole = _score_int8(layout, test, words, task)
    metrics = {f"test/{name}": value for name, value in (scores | whole).items()}
    metrics |= {f"test/floor_{name}": value for name, value in floor.items()}
    _warn_where_floor_wins(scores, floor)
    _write_report(layout.report_dir, labeler.meta, test, predicted, metrics)
    drawn = draw(labeler.config, task, is_numeric=bool(labeler.sizes.vector_size))
    (layout.report_dir / "network.svg").write_text(drawn, encoding="utf-8")
    tracked = _run_of(labeler.meta, layout)
    (layout.report_dir / "run.json").write_text(json.dumps({"run_id": tracked.run_id}), encoding="utf-8")
    tracked.log(metrics)
    tracked.keep(layout.report_dir, "report")
    tracked.end()
    for name, value in scores.items():
        print(f"{layout.pipeline}: test/{name} {value:.4f}" + (f"  (floor {floor[name]:.4f})" if name in floor else ""))
    for name, value in whole.items():
        lost = 100 * (scores[name.removesuffix(_INT8)] - value)
        print(f"{layout.pipeline}: test/{name} {value:.4f}  ({lost:+.2f} points lost)")
    return metrics


def _score_int8(layout: Layout, test: Split, words: set[str], task: Task) -> dict[str, float]:
    """Score the model as it answers in whole numbers; nothing where it can not."""
    try:
        labeler = Labeler.load(layout.model_dir, "int8")
    except ValueError:
        return {}
    scores = score_labels(test, answer_split(labeler, test)[MAIN], words, task == "tagging")
    return {f"{name}{_INT8}": scores[name] for name in ("accuracy", "entity_f1") if name in scores}


def _floor(task: Task, train: Split, test: Split) -> Sequences:
    """Label the test split the cheap way: the word's most frequent tag; TF-IDF; for numbers, the most frequent label."""
    if task == "tagging":
        return most_frequent_tag_floor(train.tokens, train.labels, test.tokens)
    train_texts, test_texts = ([" ".join(words) for words in split.tokens] for split in (train, test))
    return [[label] for label in tfidf_floor(train_texts, train.flat_labels, test_texts)]


def _warn_where_floor_wins(scores: dict[str, float], floor: dict[str, float]) -> None:
    for name, value in scores.items():
        if value < floor.get(name, 0.0):
            logger.warning("test/%s %.4f is below the floor, %.4f: the cheap way is better here", name, value, floor[name])


def _write_report(folder: Path, meta: dict[str, Any], test: Split, predicted: Sequences, metrics: dict[str, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    gold, flat = test.flat_labels, [label for labels in predicted for label in labels]
    rows = label_table(gold, flat)
    labels = sorted({*gold, *flat})
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    _write_csv(folder / "history.csv", meta["history"])
    _write_csv(folder / "labels.csv", [dict(row) for row in rows])
    plot_learning_curves(meta["history"], meta["best_epoch"], folder / "learning_curves.png")
    plot_confusion(confusion(gold, flat, labels), labels, folder / "confusion.png")
    plot_label_f1(rows, folder / "label_f1.png")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _run_of(meta: dict[str, Any], layout: Layout) -> Run:
    """Take up the run that trained the model; a new one where this store does not know it, as after a clone."""
    found = Run.find(meta["run_id"])
    if found is not None:
        return found
    params = {section: meta[section] for section in ("model", "train")}
    tags = {"pipeline": layout.pipeline, "git_commit": git_commit(), "trained_in": meta["run_id"]}
    return Run.start(layout.pipeline, f"{layout.pipeline}-restored", params, tags)
