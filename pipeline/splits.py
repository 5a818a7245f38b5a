"""Examples cut into train, val and test, and written as parquet, a file per split.

What has no official part is cut by a hash of its document or of its content, so that the cut does not depend on the order
of rows, and the same text never stands on both sides of it.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.config import CorpusConfig, Part, SplitConfig
from pipeline.corpora import READERS
from pipeline.errors import DataError
from pipeline.reading import Malformed, MalformedError

SPLITS = ("train", "val", "test")
# Small enough that few examples wait in memory for the rest of their group.
_GROUP_ROWS = 20_000
CONTENT = pl.coalesce(
    pl.col("tokens").list.join(" "),
    pl.col("values").list.eval(pl.element().list.eval(pl.element().cast(pl.String)).list.join(",")).list.join(";"),
)
"""What an example says, without its labels."""
Sizes = dict[str, dict[str, int]]
"""Split -> its `examples`, `steps` and distinct `labels`."""


@dataclass(frozen=True)
class Written:
    """What was written of a corpus, and what its files hold that is malformed."""

    sizes: Sizes
    malformed: dict[str, Malformed]


class UnreadableError(DataError):
    """Files of a corpus that can not be read, and what is malformed in all that were."""

    def __init__(self, wrong: Sequence[MalformedError], malformed: dict[str, Malformed]) -> None:
        super().__init__("\n".join(map(str, wrong)))
        self.malformed = malformed


def write_splits(corpus: CorpusConfig, split: SplitConfig | None, raw_dir: Path, out_dir: Path) -> Written:
    """Read a corpus's files and write a parquet file per split, as far as it has examples, into a new folder.

    Args:
        corpus: says how the files are to be read.
        split: what to cut where the corpus has no such part; None leaves every part as it is.
        raw_dir: with the files.
        out_dir: what stood in it goes.

    Raises:
        UnreadableError: naming what is malformed in all of them.
    """
    shutil.rmtree(out_dir, ignore_errors=True)
    out_dir.mkdir(parents=True)
    counts: list[pl.DataFrame] = []
    malformed: dict[str, Malformed] = {}
    wrong: list[MalformedError] = []
    for part, name in corpus.splits.items():
        try:
            reading = READERS[corpus.format](raw_dir / name, corpus)
            whole = reading.frame.with_columns(split=pl.lit(part))
            counts += _write(
                whole if split is None else cut(reading.frame, part, set(corpus.splits), split, corpus.group), out_dir
            )
            malformed[part] = reading.malformed
        except MalformedError as error:
            wrong.append(error)
            malformed[part] = error.malformed
    if wrong:
        raise UnreadableError(wrong, malformed)
    return Written(add_up(counts), malformed)


def cut(frame: pl.LazyFrame, part: Part, parts: set[Part], split: SplitConfig, group: str | None) -> pl.LazyFrame:
    """Add `split`, of train, val and test, to the examples of one part of a corpus.

    Args:
        frame: the examples of the part.
        part: `all` is cut in three; what the corpus lacks is cut from `train`; the others stay whole.
        parts: all that the corpus has.
        split: the shares to cut.
        group: a pattern whose first group, found in an id, names a document, which stays whole.
    """
    shares = {"test": split.test, "val": split.val} if part == "all" else {"val": split.val, "test": split.test}
    shares = {name: share for name, share in shares.items() if name not in parts}
    if part in ("val", "test") or not shares:
        return frame.with_columns(split=pl.lit(part))
    name, start = pl.lit("train"), 0.0
    for other, share in shares.items():
        name = pl.when(pl.col("split").is_between(start, start + share, closed="left")).then(pl.lit(other)).otherwise(name)
        start += share
    return frame.with_columns(split=_drawn(split.seed, group)).with_columns(split=name)


def _drawn(seed: int, group: str | None) -> pl.Expr:
    """Draw a number from 0 to 1, which follows from the seed and an example's document, or else its content."""
    key = CONTENT if group is None else pl.coalesce(pl.col("id").str.extract(group), CONTENT)
    return key.map_batches(lambda keys: _hash(keys, seed), return_dtype=pl.Float64, is_elementwise=True)


def _hash(keys: pl.Series, seed: int) -> pl.Series:
    """Hash texts to numbers from 0 to 1. polars' own hash changes with its version; this one never does."""
    seeded = hashlib.blake2b(f"{seed}:".encode(), digest_size=8)

    def digest(key: bytes) -> bytes:
        hasher = seeded.copy()
        hasher.update(key)
        return hasher.digest()

    digests = b"".join(map(digest, keys.cast(pl.Binary)))
    return pl.Series(np.frombuffer(digests, ">u8") / 2**64)


def _write(frame: pl.LazyFrame, folder: Path) -> list[pl.DataFrame]:
    """Stream examples to the files of their splits; a half-written file never has the name. Gives counts, as of `count`."""
    partial = Path(tempfile.mkdtemp(prefix=".partial", dir=folder))
    counts: list[pl.DataFrame] = []

    def counted(batch: pl.DataFrame) -> pl.DataFrame:
        counts.append(count(batch))
        return batch

    try:
        files = pl.PartitionBy(
            partial, key="split", include_key=False, file_path_provider=lambda file: f"{file.partition_keys.item()}.parquet"
        )
        frame = frame.map_batches(counted, streamable=True)
        frame.sink_parquet(files, compression="lz4", statistics=False, row_group_size=_GROUP_ROWS)
        for path in partial.iterdir():
            path.rename(folder / path.name)
    finally:
        shutil.rmtree(partial)
    return counts


def count(batch: pl.DataFrame) -> pl.DataFrame:
    """Count the examples and steps of a batch with `split`, and name its labels, by split."""
    steps = pl.coalesce(pl.col("tokens").list.len(), pl.col("values").list.len())
    labels = pl.col("labels").explode().unique()
    return batch.group_by("split").agg(examples=pl.len(), steps=steps.cast(pl.Int64).sum(), labels=labels)


def add_up(counts: list[pl.DataFrame]) -> Sizes:
    """Sum up by split what `count` found in batches."""
    if not counts:
        return {}
    labels = pl.col("labels").explode().n_unique()
    total = pl.concat(counts).group_by("split").agg(pl.col("examples").sum(), pl.col("steps").sum(), labels)
    return {split: row for row in total.iter_rows(named=True) for split in [row.pop("split")]}
