"""model -> report: the test split, asked once; scores beside floors, tables, pictures, a page, in files and in the MLflow run."""

import csv
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.config import MAIN, Task
from models.network import Network
from models.through_time import Direction, look_through_time
from pipeline import commits
from pipeline.config import CAPITALISATION
from pipeline.diagram import draw
from pipeline.judged import judge
from pipeline.labeler import Answer, Labeler
from pipeline.layout import Layout
from pipeline.network_sentence import say_network
from pipeline.plots import plot_confusion, plot_label_f1, plot_learning_curves
from pipeline.run_report import INT8, PAGE, Findings, write_report
from pipeline.sample import sample_batch
from pipeline.scores import LabelRow, confusion, label_table, most_frequent_tag_floor, tfidf_floor
from pipeline.scoring import Sequences, Split, answer_split, ask_split, by_target, known_words, score_labels
from pipeline.tracking import Run, in_use
from pipeline.trained import Trained
from pipeline.vocab import Vocab

logger = logging.getLogger(__name__)

_FLOORS = {
    "tagging": "each word's most frequent label in train",
    "classification": "TF-IDF and logistic regression",
    "numbers": "the most frequent label of train",
}


@dataclass(frozen=True)
class _Asked:
    """A model, the splits, and what it says of the test split: an answer per example, and every target's labels."""

    network: Network
    vocab: Vocab
    meta: dict[str, Any]
    train: Split
    test: Split
    answers: list[Answer]
    predicted: dict[str, Sequences]

    @property
    def is_numeric(self) -> bool:
        return bool(self.network.sizes.vector_size)


def run(task: Task, layout: Layout) -> dict[str, float]:
    """Score a trained model on its test split and write the report folder; returns the metrics.

    Raises:
        InfrastructureError: MLflow did not answer as it began.
    """
    with in_use(layout.work_dir):
        return _run(task, layout)


def _run(task: Task, layout: Layout) -> dict[str, float]:
    asked = _ask(layout)
    scores, floor = _score_targets(asked)
    whole = _score_int8(layout, asked.test, known_words(asked.train), task)
    metrics = {f"test/{name}": value for name, value in (scores | whole).items()}
    metrics |= {f"test/floor_{name}": value for name, value in floor.items()}
    _warn_where_floor_wins(scores, floor)
    directions = _look_through_time(asked)
    tracked = _run_of(asked.meta, layout)
    _write_files(layout.report_dir, asked, metrics)
    (layout.report_dir / "run.json").write_text(json.dumps({"run_id": tracked.run_id}), encoding="utf-8")
    write_report(_tell(layout, asked, metrics, directions, tracked.run_id), layout.report_dir / PAGE)
    tracked.log(metrics)
    tracked.keep(layout.report_dir, "report")
    tracked.end()
    for name, value in scores.items():
        print(f"{layout.pipeline}: test/{name} {value:.4f}" + (f"  (floor {floor[name]:.4f})" if name in floor else ""))
    for name, value in whole.items():
        lost = 100 * (scores[name.removesuffix(INT8)] - value)
        print(f"{layout.pipeline}: test/{name} {value:.4f}  ({lost:+.2f} points lost)")
    return metrics


def _ask(layout: Layout) -> _Asked:
    trained = Trained.load(layout.model_dir)
    train, test = (Split.read(layout.prepared_dir, name) for name in ("train", "test"))
    answers = ask_split(Labeler(trained.vocab, trained.meta, trained.engine("auto")), test)
    return _Asked(trained.network.float(), trained.vocab, trained.meta, train, test, answers, by_target(answers))


def _look_through_time(asked: _Asked) -> list[Direction]:
    """Look at a few sequences, as far as the model reads them."""
    longest = asked.meta["max_length"]
    read = slice(None) if longest is None else slice(-longest, None) if asked.meta["truncating"] == "pre" else slice(longest)
    columns = [name for name in asked.network.config.features if name != CAPITALISATION]
    return look_through_time(asked.network, sample_batch(asked.test, asked.vocab, columns, read=read))


def _score_targets(asked: _Asked) -> tuple[dict[str, float], dict[str, float]]:
    """Score the main target and the accuracy of each further one, and beside them what the cheap way makes of them."""
    sizes, train, test, words = asked.network.sizes, asked.train, asked.test, known_words(asked.train)
    scores = score_labels(test, asked.predicted[MAIN], words, sizes.task == "tagging")
    floor = score_labels(test, _floor(sizes.task, train, test), words, sizes.task == "tagging")
    for name in asked.network.config.heads:
        further, kind = test.as_target(name), sizes.targets[name].task
        cheap = _floor(kind, train.as_target(name), further)
        scores[f"{name}_accuracy"] = score_labels(further, asked.predicted[name], words, kind == "tagging")["accuracy"]
        floor[f"{name}_accuracy"] = score_labels(further, cheap, words, kind == "tagging")["accuracy"]
    return scores, floor


def _score_int8(layout: Layout, test: Split, words: set[str], task: Task) -> dict[str, float]:
    """Score the model as it answers in whole numbers; nothing where it can not."""
    try:
        labeler = Labeler.load(layout.model_dir, "int8")
    except ValueError:
        return {}
    scores = score_labels(test, answer_split(labeler, test)[MAIN], words, task == "tagging")
    return {f"{name}{INT8}": scores[name] for name in ("accuracy", "entity_f1") if name in scores}


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


def _write_files(folder: Path, asked: _Asked, metrics: dict[str, float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    gold, flat = asked.test.flat_labels, [label for labels in asked.predicted[MAIN] for label in labels]
    rows = label_table(gold, flat)
    labels = sorted({*gold, *flat})
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    _write_csv(folder / "history.csv", asked.meta["history"])
    _write_csv(folder / "labels.csv", [dict(row) for row in rows])
    plot_learning_curves(asked.meta["history"], asked.meta["best_epoch"], folder / "learning_curves.png")
    plot_confusion(confusion(gold, flat, labels), labels, folder / "confusion.png")
    plot_label_f1(rows, folder / "label_f1.png")
    drawn = draw(asked.network.config, asked.network.sizes.task, is_numeric=asked.is_numeric)
    (folder / "network.svg").write_text(drawn, encoding="utf-8")


def _tell(layout: Layout, asked: _Asked, metrics: dict[str, float], directions: list[Direction], run_id: str) -> Findings:
    """Put together what the page tells."""
    config, task = asked.network.config, asked.network.sizes.task
    sizes = json.loads((layout.prepared_dir / "summary.json").read_text(encoding="utf-8"))
    epochs = f"{asked.meta['best_epoch']} of {len(asked.meta['history'])}"
    parameters = f"{asked.meta['num_parameters']:,}"
    facts = {"parameters": parameters, "epoch": epochs, "run": run_id, "commit": commits.current()}
    return Findings(
        pipeline=layout.pipeline,
        task=task,
        about=say_network(config, asked.network.sizes),
        floor=_FLOORS["numbers" if asked.is_numeric else task],
        facts=facts,
        metrics=metrics,
        sizes={name: sizes[name] for name in ("train", "val", "test")},
        flaws=json.loads(layout.flaws_path.read_text(encoding="utf-8")),
        history=asked.meta["history"],
        best_epoch=asked.meta["best_epoch"],
        diagram=(layout.report_dir / "network.svg").read_text(encoding="utf-8"),
        judged=judge(asked.test.labels, asked.predicted[MAIN], [answer.probabilities for answer in asked.answers]),
        train=asked.train,
        test=asked.test,
        labels=_label_rows(asked, MAIN),
        further={name: _label_rows(asked, name) for name in config.heads},
        directions=directions,
        bptt_steps=config.bptt_steps,
    )


def _label_rows(asked: _Asked, target: str) -> list[LabelRow]:
    gold = asked.test.as_target(target).flat_labels
    return label_table(gold, [label for labels in asked.predicted[target] for label in labels])


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
    tags = {"pipeline": layout.pipeline, "git_commit": commits.current(), "trained_in": meta["run_id"]}
    return Run.start(layout.pipeline, f"{layout.pipeline}-restored", params, tags)
