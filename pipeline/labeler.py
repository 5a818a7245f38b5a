"""A trained model at work: text or encoded examples in, labels out, any number of sequences of any length.

Its folder holds weights, the network's shape and vocabularies, with a manifest of hashes and no pickle. Answers do not
depend on what else is asked at the same time: no layer reads padding.
"""

import json
import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from models.config import ModelConfig, Sizes
from models.network import Network, build_network
from pipeline.batches import evaluation_batches
from pipeline.checkpoint import load_checkpoint
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
    """What the network says of one sequence: a label per word, or one label; and how likely it holds each to be."""

    labels: list[str]
    probabilities: list[float]


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
        network = build_network(config, Sizes(**meta["sizes"]), seed=0)
        network.to(next(iter(tensors.values())).dtype).load_state_dict(tensors)
        return cls(network.eval(), Vocab.load(folder / "vocab.json"), meta)

    @property
    def is_tagger(self) -> bool:
        """Whether it gives a label per word, not per sequence."""
        return self.network.sizes.task == "tagging"

    def label_texts(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Label raw texts, cut into words the way the corpora are; where the input is numeric, JSON lists of steps.

        A contraction that train taught, such as Portuguese `da`, is read as its words and stays one in the answer, with
        their labels joined: `ADP+DET`.

        Returns:
            One dictionary per text, in order: `words`, `labels`, `probabilities` of a tagger; `label`, `probability` of a
            classifier.

        Raises:
            DataError: a sequence to classify has no words, or is no list of steps.
        """
        if self.network.sizes.vector_size:
            return [_of_sequence(answer) for answer in self.label_values(self._read_steps(texts))]
        frame = pl.DataFrame({"text": list(texts)}, schema={"text": pl.String})
        texts_words: list[list[str]] = frame.select(tokenize(pl.col("text"))).to_series().to_list()
        expanded = [expand(words, self.vocab.contractions) for words in texts_words]
        answers = self.label_tokens([[part for parts in row for part in parts] for row in expanded])
        if not self.is_tagger:
            return [_of_sequence(answer) for answer in answers]
        return [
            {"words": words, **_joined(answer, [len(parts) for parts in row])}
            for words, row, answer in zip(texts_words, expanded, answers, strict=True)
        ]

    def label_tokens(self, tokens: Sequence[Sequence[str]]) -> list[Answer]:
        """Label sequences of words; the answers come in the order of the sequences.

        Raises:
            DataError: a sequence to classify has no words.
        """
        if not self.is_tagger:
            for i, words in enumerate(tokens):
                if not words:
                    raise DataError(f"text {i + 1} has no words; nothing can be said of it; fix: leave it out")
            tokens = [words[: self.meta["max_length"]] for words in tokens]
        filled = [i for i, words in enumerate(tokens) if words]
        answers = [Answer([], []) for _ in tokens]
        if filled:
            for i, answer in zip(filled, self.label_examples(self._encode([tokens[i] for i in filled])), strict=True):
                answers[i] = answer
        return answers

    def label_values(self, values: Sequence[Steps]) -> list[Answer]:
        """Label sequences of numeric steps, each at least one step long; the answers come in their order."""
        flat = np.concatenate([np.asarray(steps, dtype=np.float32) for steps in values])
        return self.label_examples(Examples(_offsets(values), values=flat))

    @torch.inference_mode()
    def label_examples(self, examples: Examples) -> list[Answer]:
        """Label encoded sequences; the answers come in the order of the examples."""
        names = self.vocab.labels
        answers: dict[int, Answer] = {}
        for rows, batch in evaluation_batches(examples, _BATCH_TOKENS):
            likely, ids = self.network(batch).softmax(-1).max(-1)
            for row, length, p, i in zip(rows.tolist(), batch.lengths.tolist(), likely.tolist(), ids.tolist(), strict=True):
                if self.is_tagger:
                    answers[row] = Answer([names[label] for label in i[:length]], p[:length])
                else:
                    answers[row] = Answer([names[i]], [p])
        return [answers[row] for row in range(len(examples))]

    def _read_steps(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return [_steps(text, f"text {i}", self.network.sizes.vector_size) for i, text in enumerate(texts, start=1)]

    def _encode(self, tokens: Sequence[Sequence[str]]) -> Examples:
        flat = pl.Series([word for words in tokens for word in words], dtype=pl.String)
        forms = flat.unique().sort()
        index = flat.to_frame("form").join(forms.to_frame("form").with_row_index(), on="form", how="left", maintain_order="left")
        return Examples(_offsets(tokens), tokens=index["index"].to_numpy().astype(np.int32), forms=self.vocab.encode_forms(forms))


def _steps(text: str, name: str, size: int) -> NDArray[np.float32]:
    """Read steps of numbers, (T, size), from JSON."""
    try:
        steps = np.asarray(json.loads(text), dtype=np.float32)
    except (ValueError, TypeError):
        steps = np.empty(0, np.float32)
    if steps.ndim != 2 or not len(steps) or steps.shape[1] != size or not np.isfinite(steps).all():
        raise DataError(f"{name} is no JSON list of steps of {size} finite numbers; the model reads nothing else; fix: mend it")
    return steps


def _of_sequence(answer: Answer) -> dict[str, Any]:
    return {"label": answer.labels[0], "probability": answer.probabilities[0]}


def _joined(answer: Answer, widths: list[int]) -> dict[str, Any]:
    """Join the labels of words that are written as one; `widths` has their number per written word."""
    labels, probabilities = iter(answer.labels), iter(answer.probabilities)
    return {
        "labels": ["+".join(islice(labels, width)) for width in widths],
        "probabilities": [math.prod(islice(probabilities, width)) for width in widths],
    }


def _offsets(sequences: Sequence[Sized]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(steps) for steps in sequences])]).astype(np.int64)
