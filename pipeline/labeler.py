"""A model at work: text or encoded examples in, labels out, any number of sequences of any length.

Its folder holds graphs for onnxruntime and vocabularies, with a manifest of hashes and no pickle; a folder with a network as it
was trained does, too. Answers do not depend on what else is asked at the same time: no layer reads padding.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.config import MAIN, ModelConfig, Sizes
from pipeline.config import CAPITALISATION
from pipeline.engines import NETWORK, Engine, EngineName, Forms, open_engine
from pipeline.errors import DataError
from pipeline.examples import Examples, Rows
from pipeline.manifest import check_manifest
from pipeline.stored import read_object, understanding
from pipeline.vocab import Vocab
from pipeline.words import Words, read_words, tokenize

Steps = Sequence[Sequence[float]] | NDArray[np.float32]
"""(T, I) numbers."""


@dataclass(frozen=True)
class Answer:
    """What the network says of one sequence: a label per word, or one; how likely it holds each to be; the further targets'."""

    labels: list[str]
    probabilities: list[float]
    further: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Labels:
    """What the network says of sequences that have words, one after the other.

    Attributes:
        per_word: target -> a label per word.
        per_sequence: target -> a label per sequence.
        probabilities: of the main target's labels.
    """

    per_word: dict[str, list[str]]
    per_sequence: dict[str, list[str]]
    probabilities: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Labeler:
    """What a network's numbers mean, what is known of its training, and what runs it."""

    vocab: Vocab
    meta: dict[str, Any]
    engine: Engine

    @classmethod
    def load(cls, folder: Path, engine: EngineName = "auto") -> "Labeler":
        """Read a model folder whose files match its manifest; torch is needed only where it holds a network as it was trained.

        Args:
            folder: of the model.
            engine: what shall run the network; see `pipeline.engines` and `pipeline.trained`.

        Raises:
            IntegrityError: a file is missing or altered.
            ValueError: the network can not be run by this engine.
        """
        if NETWORK in check_manifest(folder):
            meta, vocab = read_object(folder / "meta.json"), Vocab.load(folder / "vocab.json")
            labeler = cls(vocab, meta, open_engine(folder, engine))
        else:
            from pipeline.trained import Trained

            trained = Trained.load(folder)
            labeler = cls(trained.vocab, trained.meta, trained.engine(engine))
        with understanding(folder):
            labeler.demand_whole()
        return labeler

    def demand_whole(self) -> None:
        """Read all of `meta` that answers hang on; raises whatever code does that meets something else."""
        sizes, config = self.sizes, self.config
        known = {MAIN: len(self.vocab.labels), **{name: len(self.vocab.column_labels(name)) for name in config.heads}}
        said = {MAIN: sizes.num_labels, **{name: sizes.targets[name].num_labels for name in config.heads}}
        if known != said or sizes.task not in ("tagging", "classification"):
            raise ValueError(f"labels are {known}, and {said} by what is said of the {sizes.task} model")
        longest, side = self.meta["max_length"], self.meta.get("truncating")
        if side not in (None, "pre", "post") or not (longest is None or (isinstance(longest, int) and longest > 0)):
            raise ValueError(f"sequences are cut to {longest!r} steps, {side!r}")

    @cached_property
    def config(self) -> ModelConfig:
        """What the network is made of."""
        return ModelConfig(**{**self.meta["model"], "hidden": tuple(self.meta["model"]["hidden"])})

    @cached_property
    def sizes(self) -> Sizes:
        """What the network knows of its data."""
        return Sizes.load(self.meta["sizes"])

    @property
    def is_tagger(self) -> bool:
        """Whether it gives a label per word, not per sequence."""
        return self.sizes.task == "tagging"

    @property
    def columns(self) -> list[str]:
        """Further columns that must be given with the words."""
        return [name for name in self.config.features if name != CAPITALISATION]

    def label_texts(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Label raw texts, cut into words the way the corpora are; where the input is numeric, JSON lists of steps.

        Where further columns are read, a text is a JSON object of lists: `tokens`, and each column under its name.

        A contraction that train taught, such as Portuguese `da`, is read as its words and stays one in the answer, with
        their labels joined: `ADP+DET`.

        Returns:
            One dictionary per text, in order: `words`, `labels`, `probabilities` of a tagger; `label`, `probability` of a
            classifier; and what each further target is, under its name.

        Raises:
            DataError: a sequence to classify has no words, or is no list of steps.
        """
        if self.sizes.vector_size:
            return self._of_sequences(self._ask_values(self._read_steps(texts)))
        if self.columns:
            return self._label_records(texts)
        frame = pl.DataFrame({"text": list(texts)}, schema={"text": pl.String})
        written = frame.select(tokenize(pl.col("text"))).to_series().to_list()
        words = read_words(list(chain.from_iterable(written)), self.vocab.contractions)
        ends = _offsets([len(row) for row in written])
        labels = self._ask(words, np.diff(words.starts[ends]), {})
        return self._of_words(written, words.starts, ends, labels) if self.is_tagger else self._of_sequences(labels)

    def label_words(self, tokens: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """Label texts that are words already; see `label_texts`. Each word is read as it is, contractions, too.

        Raises:
            DataError: a sequence to classify has no words, or the network reads something else than words.
        """
        if self.columns:
            raise self._no_words(f"words with {', '.join(self.columns)}")
        return self._of_given_words(tokens, self._ask(*self._read_tokens(tokens), {}))

    def _no_words(self, wanted: str) -> DataError:
        return DataError(f"words alone can not be labelled; the model reads {wanted}; fix: give those, as JSON texts")

    def _label_records(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        records = [_record(text, f"text {i}", self.columns) for i, text in enumerate(texts, start=1)]
        tokens = [record["tokens"] for record in records]
        columns = {name: [record[name] for record in records] for name in self.columns}
        return self._of_given_words(tokens, self._ask(*self._read_tokens(tokens), columns))

    def _of_given_words(self, tokens: Sequence[Sequence[str]], labels: _Labels) -> list[dict[str, Any]]:
        if not self.is_tagger:
            return self._of_sequences(labels)
        ends = _offsets([len(row) for row in tokens])
        return self._of_words([list(row) for row in tokens], np.arange(ends[-1] + 1), ends, labels)

    def _of_sequences(self, labels: _Labels) -> list[dict[str, Any]]:
        further = {name: values for name, values in labels.per_sequence.items() if name != MAIN}
        table = {"label": labels.per_sequence[MAIN], "probability": labels.probabilities.tolist(), **further}
        return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]

    def _of_words(self, written: list[list[str]], starts: Rows, ends: Rows, labels: _Labels) -> list[dict[str, Any]]:
        """Answer per text, a label per written word.

        Args:
            written: words per text.
            starts: where each written word begins among the words that were read, and their number.
            ends: where each text begins among the written words, and their number.
            labels: of the words that were read.
        """
        likely = labels.probabilities
        if len(starts) <= len(likely):
            likely = np.multiply.reduceat(likely, starts[:-1])
        flat: dict[str, list[Any]] = {"labels": _join(labels.per_word[MAIN], starts), "probabilities": likely.tolist()}
        flat |= {name: _join(values, starts) for name, values in labels.per_word.items() if name != MAIN}
        table: dict[str, list[Any]] = {"words": written, **{name: _cut(values, ends) for name, values in flat.items()}}
        answers = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        for name, values in labels.per_sequence.items():
            for answer, value in zip((answer for answer in answers if answer["words"]), values, strict=True):
                answer[name] = value
        return answers

    def label_tokens(self, tokens: Sequence[Sequence[str]], columns: Sequence[Mapping[str, Sequence[str]]] = ()) -> list[Answer]:
        """Label sequences of words; the answers come in the order of the sequences.

        Args:
            tokens: words per sequence.
            columns: per sequence, a value per word of each of `self.columns`; not read where there are none.

        Raises:
            DataError: a sequence to classify has no words, or the network reads numbers.
        """
        words, lengths = self._read_tokens(tokens)
        labels = self._ask(words, lengths, {name: [row[name] for row in columns] for name in self.columns})
        filled = iter(_answers(labels, self._kept(lengths)))
        return [next(filled) if length else Answer([], []) for length in lengths]

    def label_values(self, values: Sequence[Steps]) -> list[Answer]:
        """Label sequences of numeric steps, each at least one step long; the answers come in their order."""
        lengths = np.array([len(row) for row in values], np.int64)
        return _answers(self._ask_values(values), self._kept(lengths))

    def label_examples(self, examples: Examples) -> list[Answer]:
        """Label encoded sequences; the answers come in the order of the examples."""
        return _answers(self._label(examples, examples.forms), examples.lengths)

    def _ask_values(self, values: Sequence[Steps]) -> _Labels:
        steps = [np.asarray(row, dtype=np.float32) for row in values]
        lengths = np.array([len(row) for row in steps], np.int64)
        return self._label(Examples(_offsets(self._kept(lengths)), values=np.concatenate(steps)[self._keep(lengths)]), None)

    def _read_tokens(self, tokens: Sequence[Sequence[str]]) -> tuple[Words, Rows]:
        if self.sizes.vector_size:
            raise self._no_words("numbers")
        return read_words(list(chain.from_iterable(tokens)), {}), np.array([len(words) for words in tokens], np.int64)

    def _ask(self, words: Words, lengths: Rows, columns: Mapping[str, Sequence[Sequence[str]]]) -> _Labels:
        """Label sequences of so many words; those of none get nothing.

        Raises:
            DataError: a sequence to classify has no words.
        """
        empty = np.flatnonzero(lengths == 0)
        if len(empty) and not self.is_tagger:
            raise DataError(f"text {empty[0] + 1} has no words; nothing can be said of it; fix: leave it out")
        keep, kept = self._keep(lengths), self._kept(lengths)
        rows, forms = self.engine.read_forms(words.forms, self.vocab)
        values = {name: pl.Series([value for row in given for value in row], dtype=pl.String) for name, given in columns.items()}
        per_token = {name: self.vocab.encode_column(name, series)[keep] for name, series in values.items()}
        examples = Examples(_offsets(kept[kept > 0]), tokens=rows[words.tokens[keep]].astype(np.int32), per_token=per_token)
        return self._label(examples, forms)

    def _kept(self, lengths: Rows) -> Rows:
        """Say how many steps are read of sequences of these lengths: as many as of train's."""
        longest = self.meta["max_length"]
        return lengths if longest is None else np.minimum(lengths, longest)

    def _keep(self, lengths: Rows) -> NDArray[np.bool_] | slice:
        """Mark the steps, one sequence after the other, that are read."""
        longest = self.meta["max_length"]
        if longest is None:
            return slice(None)
        place = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
        if self.meta["truncating"] == "pre":
            return place >= np.repeat(lengths - longest, lengths)
        return place < longest

    def _label(self, examples: Examples, forms: Forms) -> _Labels:
        tasks = {MAIN: self.sizes.task, **{name: target.task for name, target in self.sizes.targets.items()}}
        num = {"tagging": int(examples.offsets[-1]), "classification": len(examples)}
        ids = {name: np.zeros(num[tasks[name]], np.int64) for name in (MAIN, *self.config.heads)}
        likely = np.zeros(num[tasks[MAIN]], np.float64)
        for predicted in self.engine.predict(examples, forms):
            lengths = examples.lengths[predicted.rows]
            steps = np.arange(lengths.max())
            is_real = steps < lengths[:, None]
            at = (examples.offsets[predicted.rows][:, None] + steps)[is_real]
            for name, head in predicted.heads.items():
                where, real = (at, is_real) if tasks[name] == "tagging" else (predicted.rows, slice(None))
                ids[name][where] = head.labels[real]
                if name == MAIN:
                    likely[where] = head.probabilities[real]
        named = {name: self._names(name)[found].tolist() for name, found in ids.items()}
        per_word = {name: labels for name, labels in named.items() if tasks[name] == "tagging"}
        return _Labels(per_word, {name: labels for name, labels in named.items() if name not in per_word}, likely)

    def _names(self, target: str) -> NDArray[np.object_]:
        return np.array(self.vocab.labels if target == MAIN else self.vocab.column_labels(target), dtype=object)

    def _read_steps(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return [_steps(text, f"text {i}", self.sizes.vector_size) for i, text in enumerate(texts, start=1)]


def _answers(labels: _Labels, lengths: Rows) -> list[Answer]:
    """Cut what is said of all sequences into an answer for each that has words."""
    ends = _offsets(lengths[lengths > 0])
    likely = labels.probabilities.tolist()
    is_tagger = MAIN in labels.per_word
    cut = {name: _cut(values, ends) for name, values in labels.per_word.items()}
    cut |= {name: [[value] for value in values] for name, values in labels.per_sequence.items()}
    probabilities = _cut(likely, ends) if is_tagger else [[value] for value in likely]
    rows = [dict(zip(cut, row, strict=True)) for row in zip(*cut.values(), strict=True)]
    return [Answer(row.pop(MAIN), own, row) for row, own in zip(rows, probabilities, strict=True)]


def _record(text: str, name: str, columns: list[str]) -> dict[str, list[str]]:
    """Read a JSON object of parallel lists of strings."""
    keys = ["tokens", *columns]
    try:
        given = json.loads(text)
        record = {key: given[key] for key in keys}
    except (ValueError, TypeError, KeyError):
        record = {}
    is_whole = bool(record) and all(isinstance(row, list) and all(isinstance(v, str) for v in row) for row in record.values())
    if not is_whole or len({len(row) for row in record.values()}) != 1:
        raise DataError(f"{name} is no JSON object of equally long lists {keys}; the model reads no less; fix: mend it")
    return record


def _steps(text: str, name: str, size: int) -> NDArray[np.float32]:
    """Read steps of numbers, (T, size), from JSON."""
    try:
        steps = np.asarray(json.loads(text), dtype=np.float32)
    except (ValueError, TypeError):
        steps = np.empty(0, np.float32)
    if steps.ndim != 2 or not len(steps) or steps.shape[1] != size or not np.isfinite(steps).all():
        raise DataError(f"{name} is no JSON list of steps of {size} finite numbers; the model reads nothing else; fix: mend it")
    return steps


def _join(labels: list[str], starts: Rows) -> list[str]:
    """Join the labels of words that are written as one; `starts` has where each written word begins."""
    if len(starts) > len(labels):
        return labels
    begins, widths = starts[:-1], np.diff(starts)
    joined = np.array(labels, dtype=object)[begins].tolist()
    for i in np.flatnonzero(widths > 1).tolist():
        joined[i] = "+".join(labels[begins[i] : starts[i + 1]])
    return joined


def _cut(values: list[Any], ends: Rows) -> list[list[Any]]:
    return [values[begin:end] for begin, end in pairwise(ends.tolist())]


def _offsets(lengths: Sequence[int] | NDArray[Any]) -> Rows:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
