"""A few sequences of a split as a batch for a network: enough to see what it does, few enough to look at every step of it."""

from itertools import chain

import numpy as np
import polars as pl

from models.batch import Batch
from pipeline.batches import make_batch
from pipeline.examples import Examples
from pipeline.scoring import Split
from pipeline.vocab import Vocab

MAX_SEQUENCES = 128
MAX_STEPS = 200


def sample_batch(split: Split, vocab: Vocab, columns: list[str], *, read: slice = slice(None), seed: int = 0) -> Batch:
    """Draw sequences and encode them, without targets.

    Args:
        split: one of its sequences at least has a step.
        vocab: of the network.
        columns: further columns that the network reads.
        read: the steps of a sequence that the network reads.
        seed: of what is drawn.

    Returns:
        At most `MAX_SEQUENCES`, of which as many as `MAX_STEPS` steps are kept.
    """
    lengths = split.lengths
    filled = [number for number, length in enumerate(lengths) if length]
    rows = sorted(np.random.default_rng(seed).permutation(filled)[:MAX_SEQUENCES].tolist())
    kept = {row: _keep(lengths[row], read) for row in rows}
    offsets = np.concatenate([[0], np.cumsum([part.stop - part.start for part in kept.values()])]).astype(np.int64)
    if split.values is not None:
        values = np.concatenate([np.asarray(split.values[row][part], np.float32) for row, part in kept.items()])
        return make_batch(Examples(offsets, values=values), np.arange(len(rows)))
    words = _chain([split.tokens[row][part] for row, part in kept.items()])
    forms = words.unique(maintain_order=True)
    numbers = words.to_frame("form").join(forms.to_frame("form").with_row_index(), on="form", how="left", maintain_order="left")
    per_token = {
        name: vocab.encode_column(name, _chain([split.columns[name][row][part] for row, part in kept.items()]))
        for name in columns
    }
    tokens = numbers["index"].to_numpy().astype(np.int32)
    examples = Examples(offsets, tokens=tokens, forms=vocab.encode_forms(forms), per_token=per_token)
    return make_batch(examples, np.arange(len(rows)))


def _keep(length: int, read: slice) -> slice:
    begin, end, _ = read.indices(length)
    return slice(begin, min(end, begin + MAX_STEPS))


def _chain(rows: list[list[str]]) -> pl.Series:
    return pl.Series(list(chain.from_iterable(rows)), dtype=pl.String)
