"""Two engines beside each other: the gate before a model is registered, and the check that padding changes no answer.

Sequences are drawn from the vocabulary, unknown words, numbers and all lengths, so that what a test split lacks is asked, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import polars as pl

from models.config import Sizes
from pipeline.engines import Engine, Forms, Output
from pipeline.examples import Examples, Rows
from pipeline.scoring import Split
from pipeline.vocab import RESERVED, Vocab
from pipeline.words import read_words

TOLERANCE = 1e-5
"""By how much logits may differ, for each unit of the largest one if that is above 1: float32 holds no more."""
_MOST_SEQUENCES, _MOST_STEPS = 8, 60
_NUM_FORMS = 2000


@dataclass(frozen=True)
class Parity:
    """How far apart two engines are.

    Attributes:
        num_batches: that both were asked.
        num_labels: that they gave, past each row's end left out.
        worst: largest difference of two logits.
        scaled: the same, divided by the largest logit of its batch where that is above 1.
        num_other_labels: labels that differ although their logits are further apart than the tolerance.
    """

    num_batches: int = 0
    num_labels: int = 0
    worst: float = 0.0
    scaled: float = 0.0
    num_other_labels: int = 0

    def __add__(self, other: "Parity") -> "Parity":
        """Join what two sets of batches gave."""
        return Parity(
            self.num_batches + other.num_batches,
            self.num_labels + other.num_labels,
            max(self.worst, other.worst),
            max(self.scaled, other.scaled),
            self.num_other_labels + other.num_other_labels,
        )

    def holds(self, tolerance: float = TOLERANCE) -> bool:
        """Say whether the two are the same as far as their arithmetic can tell."""
        return self.scaled <= tolerance and not self.num_other_labels

    def __str__(self) -> str:
        """Say it in a line."""
        labels = f"{self.num_labels:,} labels in {self.num_batches:,} batches"
        return f"{labels}: logits at most {self.worst:.1e} apart, {self.num_other_labels:,} other labels"


def compare(first: Output, second: Output, lengths: Rows, tolerance: float = TOLERANCE) -> Parity:
    """Compare what two engines say of a batch.

    Args:
        first: what is right.
        second: what is held against it.
        lengths: (B,) real steps of each row.
        tolerance: by how much logits may differ, of the largest one if that is above 1.
    """
    first, second = (output.real(lengths) for output in (first, second))
    logits, found = first.logits, second.logits
    difference = np.abs(logits - found)
    worst = float(difference.max()) if np.isfinite(difference).all() else np.inf
    scale = max(1.0, float(np.abs(logits).max()))
    chosen = [np.take_along_axis(logits, each.labels[:, None], 1)[:, 0] for each in (first, second)]
    is_other = (first.labels != second.labels) & (np.abs(chosen[0] - chosen[1]) > 2 * tolerance * scale)
    return Parity(1, len(logits), worst, worst / scale, int(is_other.sum()))


@dataclass(frozen=True)
class Asked:
    """Sequences for any engine.

    Attributes:
        examples: whose `tokens` are places in `forms`.
        forms: distinct word forms; None where the input is numeric.
    """

    examples: Examples
    forms: Sequence[str] | None

    @classmethod
    def of_split(cls, split: Split, vocab: Vocab, columns: Sequence[str]) -> "Asked":
        """Take a prepared split's, with the further columns that the network reads."""
        if split.values is not None:
            values = np.concatenate([np.asarray(steps, np.float32) for steps in split.values])
            return cls(Examples(_offsets([len(steps) for steps in split.values]), values=values), None)
        words = read_words(list(chain.from_iterable(split.tokens)), {})
        tokens = words.tokens.astype(np.int32)
        flat = {name: pl.Series([value for row in split.columns[name] for value in row]) for name in columns}
        per_token = {name: vocab.encode_column(name, values) for name, values in flat.items()}
        return cls(Examples(_offsets([len(words) for words in split.tokens]), tokens=tokens, per_token=per_token), words.forms)

    @classmethod
    def draw(cls, lengths: Rows, vocab: Vocab, sizes: Sizes, columns: Sequence[str], seed: int = 0) -> "Asked":
        """Draw sequences of these lengths: known words, strings of known and unknown characters, any column's values."""
        rng, num_steps = np.random.default_rng(seed), int(lengths.sum())
        if sizes.vector_size:
            values = 2 * rng.standard_normal((num_steps, sizes.vector_size), np.float32)
            return cls(Examples(_offsets(lengths), values=values), None)
        known = rng.choice(np.array(vocab.words, dtype=object), _NUM_FORMS // 2)
        letters = np.array([*vocab.chars[len(RESERVED) :], "\N{SNOWMAN}", "\N{CJK UNIFIED IDEOGRAPH-6587}"], dtype=object)
        drawn = ["".join(rng.choice(letters, size)) for size in rng.integers(1, 40, _NUM_FORMS // 2)]
        forms = sorted({*known, *drawn})
        tokens = rng.integers(0, len(forms), num_steps).astype(np.int32)
        per_token = {name: rng.integers(1, sizes.features[name], num_steps).astype(np.int32) for name in columns}
        return cls(Examples(_offsets(lengths), tokens=tokens, per_token=per_token), forms)

    @property
    def lengths(self) -> Rows:
        """Steps of each sequence, (n,)."""
        return self.examples.lengths

    def encoded(self, engine: Engine, vocab: Vocab) -> tuple[Examples, Forms]:
        """Give what an engine is asked."""
        if self.forms is None or self.examples.tokens is None:
            return self.examples, None
        rows, forms = engine.read_forms(self.forms, vocab)
        return replace(self.examples, tokens=rows[self.examples.tokens].astype(np.int32)), forms


def compare_engines(
    right: Engine, held: Engine, asked: Asked, vocab: Vocab, batches: Iterable[Rows], tolerance: float = TOLERANCE
) -> Parity:
    """Ask two engines the same batches, given by the numbers of their sequences."""
    sides = [(engine, *asked.encoded(engine, vocab)) for engine in (right, held)]
    found = Parity()
    for rows in batches:
        one, other = (engine.run(examples, forms, rows).heads for engine, examples, forms in sides)
        for name, output in one.items():
            found += compare(output, other[name], asked.lengths[rows], tolerance)
    return found


def compare_padding(engine: Engine, asked: Asked, vocab: Vocab, seed: int = 0) -> Parity:
    """Compare what each sequence is answered alone, without padding, with its answers beside others, in three orders.

    Returns:
        A batch counts for each sequence and order.
    """
    examples, forms = asked.encoded(engine, vocab)
    num, rng = len(examples), np.random.default_rng(seed)
    alone = [engine.run(examples, forms, np.array([row])).heads for row in range(num)]
    longest = int(asked.lengths.argmax())
    orders = [np.arange(num), rng.permutation(num)]
    batches = [part for order in orders for part in np.array_split(order, -(-num // _MOST_SEQUENCES))]
    batches += [np.array([row, longest]) for row in range(num) if row != longest]
    found = Parity()
    for rows in batches:
        together = engine.run(examples, forms, rows).heads
        for name, output in together.items():
            for place, row in enumerate(rows):
                found += compare(alone[row][name], output.row(place), asked.lengths[[row]])
    return found


def draw_batches(num: int, seed: int = 0) -> tuple[Rows, list[Rows]]:
    """Draw batches of all shapes; returns the lengths of all sequences, and the numbers of each batch's."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, _MOST_SEQUENCES + 1, num)
    lengths = np.exp(rng.uniform(0, np.log(_MOST_STEPS + 1), sizes.sum())).astype(np.int64)
    return lengths, np.split(np.arange(len(lengths)), sizes.cumsum()[:-1])


def _offsets(lengths: Sequence[int] | Rows) -> Rows:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
