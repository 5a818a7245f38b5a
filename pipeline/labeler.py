"""A trained model at work: text or encoded examples in, labels out, any number of sequences of any length.

Its folder holds weights, the network's shape and vocabularies, with a manifest of hashes and no pickle. Answers do not
depend on what else is asked at the same time: no layer reads padding.
"""

import json
import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from models.config import MAIN, ModelConfig, Sizes
from models.network import Network, build_network
from pipeline.batches import evaluation_batches
from pipeline.checkpoint import load_checkpoint
from pipeline.config import CAPITALISATION
from pipeline.errors import DataError
from pipeline.examples import Examples
from pipeline.vocab import Vocab
from pipeline.words import expand, tokenize

_BATCH_TOKENS = 4096
"""Steps per batch, padding included: enough to keep the kernels busy, small enough for any machine's memory."""


Steps = Sequence[Sequence[float]] | NDArray[np.float32]
"""(T, I) numbers."""


@dataclass(frozen=True)
class Answer:
    """What the network says of one sequence: a label per word, or one; how likely it holds each to be; the further targets'."""

    labels: list[str]
    probabilities: list[float]
    further: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Labeler:
    """A network with its weights, what its numbers mean, and what is known of its training."""

    network: Network
    vocab: Vocab
    meta: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Labeler":
        """Read a model folder whose files match its manifest.

        Raises:
            IntegrityError: a file is missing or altered.
        """
        tensors, meta = load_checkpoint(folder)
        config = ModelConfig(**{**meta["model"], "hidden": tuple(meta["model"]["hidden"])})
        network = build_network(config, Sizes.load(meta["sizes"]))
        network.to(next(iter(tensors.values())).dtype).load_state_dict(tensors)
        return cls(network.eval(), Vocab.load(folder / "vocab.json"), meta)

    @property
    def is_tagger(self) -> bool:
        """Whether it gives a label per word, not per sequence."""
        return self.network.sizes.task == "tagging"

    @property
    def columns(self) -> list[str]:
        """Further columns that must be given with the words."""
        return [name for name in self.network.config.features if name != CAPITALISATION]

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
        if self.network.sizes.vector_size:
            return [self._of_sequence(answer) for answer in self.label_values(self._read_steps(texts))]
        if self.columns:
            return self._label_records(texts)
        frame = pl.DataFrame({"text": list(texts)}, schema={"text": pl.String})
        texts_words: list[list[str]] = frame.select(tokenize(pl.col("text"))).to_series().to_list()
        expanded = [expand(words, self.vocab.contractions) for words in texts_words]
        answers = self.label_tokens([[part for parts in row for part in parts] for row in expanded])
        if not self.is_tagger:
            return [self._of_sequence(answer) for answer in answers]
        return [
            self._of_words(words, answer, [len(parts) for parts in row])
            for words, row, answer in zip(texts_words, expanded, answers, strict=True)
        ]

    def _label_records(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        records = [_record(text, f"text {i}", self.columns) for i, text in enumerate(texts, start=1)]
        answers = self.label_tokens([record["tokens"] for record in records], records)
        if not self.is_tagger:
            return [self._of_sequence(answer) for answer in answers]
        return [
            self._of_words(record["tokens"], answer, [1] * len(answer.labels))
            for record, answer in zip(records, answers, strict=True)
        ]

    def _of_sequence(self, answer: Answer) -> dict[str, Any]:
        further = {name: values[0] for name, values in answer.further.items()}  # of a classifier, all are per sequence
        return {"label": answer.labels[0], "probability": answer.probabilities[0], **further}

    def _of_words(self, words: list[str], answer: Answer, widths: list[int]) -> dict[str, Any]:
        """Answer per written word; `widths` has the number of words that each is read as."""
        targets = self.network.sizes.targets
        further = {
            name: _join(values, widths) if targets[name].task == "tagging" else values[0]
            for name, values in answer.further.items()
        }
        probabilities = _multiply(answer.probabilities, widths)
        return {"words": words, "labels": _join(answer.labels, widths), "probabilities": probabilities, **further}

    def label_tokens(self, tokens: Sequence[Sequence[str]], columns: Sequence[Mapping[str, Sequence[str]]] = ()) -> list[Answer]:
        """Label sequences of words; the answers come in the order of the sequences.

        Args:
            tokens: words per sequence.
            columns: per sequence, a value per word of each of `self.columns`; not read where there are none.

        Raises:
            DataError: a sequence to classify has no words.
        """
        if not self.is_tagger:
            for i, words in enumerate(tokens):
                if not words:
                    raise DataError(f"text {i + 1} has no words; nothing can be said of it; fix: leave it out")
        tokens = [self._truncate(words) for words in tokens]
        filled = [i for i, words in enumerate(tokens) if words]
        answers = [Answer([], []) for _ in tokens]
        if filled:
            chosen = [tokens[i] for i in filled]
            given = {name: [self._truncate(columns[i][name]) for i in filled] for name in self.columns}
            for i, answer in zip(filled, self.label_examples(self._encode(chosen, given)), strict=True):
                answers[i] = answer
        return answers

    def label_values(self, values: Sequence[Steps]) -> list[Answer]:
        """Label sequences of numeric steps, each at least one step long; the answers come in their order."""
        kept = [np.asarray(self._truncate(steps), dtype=np.float32) for steps in values]
        return self.label_examples(Examples(_offsets(kept), values=np.concatenate(kept)))

    def _truncate(self, steps: Any) -> Any:
        """Cut a sequence as those of train were cut."""
        longest = self.meta["max_length"]
        if longest is None:
            return steps
        return steps[-longest:] if self.meta["truncating"] == "pre" else steps[:longest]

    @torch.inference_mode()
    def label_examples(self, examples: Examples) -> list[Answer]:
        """Label encoded sequences; the answers come in the order of the examples."""
        answers: dict[int, Answer] = {}
        for rows, batch in evaluation_batches(examples, _BATCH_TOKENS):
            predicted = self.network.predict(self.network(batch), batch.lengths)
            named = {name: self._names(name, prediction.labels, batch.lengths) for name, prediction in predicted.items()}
            likely = _cut(predicted[MAIN].probabilities, batch.lengths)
            labels = named.pop(MAIN)
            for number, row in enumerate(rows.tolist()):
                further = {name: lists[number] for name, lists in named.items()}
                answers[row] = Answer(labels[number], likely[number], further)
        return [answers[row] for row in range(len(examples))]

    def _names(self, target: str, ids: torch.Tensor, lengths: torch.Tensor) -> list[list[str]]:
        names = self.vocab.labels if target == MAIN else self.vocab.column_labels(target)
        return [[names[i] for i in row] for row in _cut(ids, lengths)]

    def _read_steps(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return [_steps(text, f"text {i}", self.network.sizes.vector_size) for i, text in enumerate(texts, start=1)]

    def _encode(self, tokens: Sequence[Sequence[str]], columns: Mapping[str, Sequence[Sequence[str]]]) -> Examples:
        flat = pl.Series([word for words in tokens for word in words], dtype=pl.String)
        forms = flat.unique().sort()
        index = flat.to_frame("form").join(forms.to_frame("form").with_row_index(), on="form", how="left", maintain_order="left")
        return Examples(
            _offsets(tokens),
            tokens=index["index"].to_numpy().astype(np.int32),
            forms=self.vocab.encode_forms(forms),
            per_token={
                name: self.vocab.encode_column(name, pl.Series([value for row in rows for value in row], dtype=pl.String))
                for name, rows in columns.items()
            },
        )


def _cut(rows: torch.Tensor, lengths: torch.Tensor) -> list[list[Any]]:
    """Give what (B, T) rows have at their real steps, or (B,) as lists of one."""
    if rows.dim() == 1:
        return [[value] for value in rows.tolist()]
    return [row[:length] for row, length in zip(rows.tolist(), lengths.tolist(), strict=True)]


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


def _join(labels: list[str], widths: list[int]) -> list[str]:
    """Join the labels of words that are written as one; `widths` has their number per written word."""
    left = iter(labels)
    return ["+".join(islice(left, width)) for width in widths]


def _multiply(probabilities: list[float], widths: list[int]) -> list[float]:
    left = iter(probabilities)
    return [math.prod(islice(left, width)) for width in widths]


def _offsets(sequences: Sequence[Sized]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(steps) for steps in sequences])]).astype(np.int64)
