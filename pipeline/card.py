"""What a registered model is, on its version's page: a page of Markdown for whoever thinks of using it."""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import CorpusConfig, PathSource, Source, UrlSource
from pipeline.labeler import Labeler
from pipeline.layout import Layout
from pipeline.network_sentence import say_network

MOST_CHARACTERS = 5000
"""That a page holds in some databases."""
_MOST_LABELS = 10
"""Rows of the table of labels: those that are found worst."""
_GAP = "&nbsp;"
"""Between a table and what follows it, which MLflow's pages set without any."""
_SIGNS = re.compile(r"[\\|`*<\[]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What Markdown reads as more than itself; not the _ within a name."""


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes:
        layout: of the pipeline; its name is the model's.
        labeler: the model.
        corpus_name: in corpora.yaml.
        corpus: what stands there.
        metrics: of the report.
        tags: where it came from; see `pipeline.origin`.
        pictures: title -> address.
    """

    layout: Layout
    labeler: Labeler
    corpus_name: str
    corpus: CorpusConfig
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    pictures: Mapping[str, str]


def write_card(subject: Subject) -> str:
    """Write a model's card; what is of least use is left out where it gets too long."""
    needed = [
        _summary(subject),
        _scores(subject.metrics),
        _GAP,
        _data(subject),
        _limits(subject),
        _use(subject),
        _lineage(subject.tags),
    ]
    pictures = "\n".join(f"![{title}]({address})" for title, address in subject.pictures.items())
    labels = _labels(subject.layout.report_dir / "labels.csv")
    for further in ([labels, labels and _GAP, pictures], [pictures], []):
        text = "\n\n".join(part for part in [*needed, *further] if part)
        if len(text) <= MOST_CHARACTERS:
            return text
    return text[: MOST_CHARACTERS - 1] + "…"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table of Markdown: the first column to the left, numbers to the right and apart, which MLflow's pages forget."""
    heads = list(heads)
    cells = [[_cell(first), *(f"&emsp;{_cell(text)}" for text in further)] for first, *further in [heads, *rows]]
    lines = [cells[0], ["---", *["---:"] * (len(heads) - 1)], *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Keep what a text holds from ending its cell or its row, or from being read as Markdown."""
    return " ".join(_SIGNS.sub(r"\\\g<0>", text).split())


def _summary(subject: Subject) -> str:
    labeler = subject.labeler
    task = "a label per word" if labeler.is_tagger else "one label per text"
    heads = ", ".join(labeler.config.heads)
    further = f", and beside it {heads}" if heads else ""
    return (
        f"**{subject.layout.pipeline}**: {task}{further}, trained on {subject.corpus_name}.\n\n"
        f"**Network.** {say_network(labeler.config, labeler.sizes)} It has {labeler.meta['num_parameters']:,} parameters.\n\n"
        f"**Input.** {_input(labeler, subject.corpus)}."
    )


def _input(labeler: Labeler, corpus: CorpusConfig) -> str:
    size = labeler.sizes.vector_size
    if size:
        return f"A JSON list of steps, each a list of {size} numbers"
    if labeler.columns:
        return f"A JSON object of equally long lists: tokens, {', '.join(labeler.columns)}"
    language = "" if corpus.language == "none" else f", language {corpus.language}"
    return f"Plain text in UTF-8{language}, {'a sentence' if labeler.is_tagger else 'a text'} at a time"


def _scores(metrics: Mapping[str, float]) -> str:
    scores = {key.removeprefix("test/"): value for key, value in metrics.items()}
    rows = []
    for name, value in scores.items():
        if not name.startswith("floor_"):
            floor = scores.get(f"floor_{name}")
            rows.append([name.replace("_", " ").replace("f1", "F1"), f"{value:.2%}", "" if floor is None else f"{floor:.2%}"])
    return table(["on test", "model", "floor"], rows)


def _labels(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["f1"]))
    heads = ["label, worst first" if len(rows) > _MOST_LABELS else "label", "F1", "precision", "recall", "on test"]
    shown = [[row["label"], *(f"{float(row[key]):.1%}" for key in ("f1", "precision", "recall")), row["support"]] for row in rows]
    return table(heads, shown[:_MOST_LABELS])


def _data(subject: Subject) -> str:
    corpus, text = (
        subject.corpus,
        f"**Data.** {subject.corpus_name}: {_source(subject.corpus.source)}. Licence: {subject.corpus.licence}.",
    )
    path = subject.layout.prepared_dir / "summary.json"
    if not path.is_file():
        return text
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    unit = "steps" if corpus.is_numeric else "words"
    sizes = [
        f"{split} {summary[split]['examples']:,} ({summary[split]['steps']:,} {unit})"
        for split in ("train", "val", "test")
        if split in summary
    ]
    return f"{text} Examples: {', '.join(sizes)}."


def _source(source: Source) -> str:
    if isinstance(source, UrlSource):
        return source.base
    return "files of one's own" if isinstance(source, PathSource) else f"the package {source.package}"


def _limits(subject: Subject) -> str:
    labeler, limits = subject.labeler, []
    if labeler.sizes.vector_size:
        limits.append("it reads numbers that are scaled as the corpus has them")
    else:
        language = f" in {subject.corpus.language}" if subject.corpus.language != "none" else ""
        limits.append(f"it knows text{language} like that of its corpus; other text was not tried")
        limits.append("raw text is cut into words by the corpus's conventions, as far as rules can; no sentences are split")
        limits.append(f"words that train lacks are {_unknown(subject)}")
    if labeler.meta.get("max_length"):
        limits.append(f"at most {labeler.meta['max_length']} steps of a sequence are read")
    names = labeler.vocab.labels
    limits.append(f"it says one of {len(names)} labels, whatever it is asked, and how likely that is was not calibrated")
    return "\n".join(["**Limits.**\n", *(f"- {text[0].upper()}{text[1:]}." for text in limits)])


def _unknown(subject: Subject) -> str:
    config, score = subject.labeler.config, subject.metrics.get("test/accuracy_unknown")
    read = "read by their characters" if config.char_hidden != 0 else "read as one and the same word, or by their vectors"
    return read + (f", {score:.2%} of them rightly" if score is not None else "")


def _use(subject: Subject) -> str:
    name = subject.layout.pipeline
    texts = "[text, ...]"
    return (
        f"**Use.** `unroll predict --model models:/{name}@champion`, or "
        f"`mlflow.pyfunc.load_model('models:/{name}@champion').predict({texts})`."
    )


def _lineage(tags: Mapping[str, str]) -> str:
    parts = [f"commit {tags['git_commit']}"]
    parts += [f"{name} {tags[f'md5_{name}']}" for name in ("prepared", "encoded") if f"md5_{name}" in tags]
    parts += [f"weights sha256 {tags['sha256_weights']}"]
    parts += [f"sweep {tags['sweep']}"] if "sweep" in tags else []
    return "\n".join(["**Lineage.**\n", *(f"- {part}" for part in parts)])
