"""raw -> prepared: any format becomes one schema, in train, val and test.

What has no official part is cut by a hash of its document or of its content, so that the cut does not depend on the order
of rows, and the same text never stands on both sides of it.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.config import CorpusConfig, Part, SplitConfig
from pipeline.corpora import READERS
from pipeline.errors import DataError
from pipeline.layout import Layout

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
# Small enough that few examples wait in memory for the rest of their group.
_GROUP_ROWS = 20_000


def run(corpus: CorpusConfig, split: SplitConfig, layout: Layout) -> None:
    """Read a corpus's files and write train, val and test.parquet, with a summary of what they hold.

    Raises:
        DataError: a file can not be read, or a split has no examples.
    """
    readings = {part: READERS[corpus.format](layout.raw_dir / name, corpus) for part, name in corpus.splits.items()}
    shutil.rmtree(layout.prepared_dir, ignore_errors=True)
    layout.prepared_dir.mkdir(parents=True)
    counts = []
    for part, reading in readings.items():
        frame = cut(reading.frame, part, set(readings), split, corpus.group)
        counts += _write(frame, layout.prepared_dir)
    summary: dict[str, dict[str, int]] = {"skipped": {str(part): reading.skipped for part, reading in readings.items()}}
    found = add_up(counts)
    for name in SPLITS:
        if name not in found:
            path = layout.prepared_dir / f"{name}.parquet"
            raise DataError(f"{path}:1:1: has no examples; {len(readings)} files were read; fix: change `split` in params.yaml")
        summary[name] = found[name]
        logger.info("%s: %s: %s", layout.pipeline, name, ", ".join(f"{count:,} {what}" for what, count in found[name].items()))
    (layout.prepared_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")


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
    content = pl.coalesce(
        pl.col("tokens").list.join(" "),
        pl.col("values").list.eval(pl.element().list.eval(pl.element().cast(pl.String)).list.join(",")).list.join(";"),
    )
    key = content if group is None else pl.coalesce(pl.col("id").str.extract(group), content)
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


def add_up(counts: list[pl.DataFrame]) -> dict[str, dict[str, int]]:
    """Sum up by split what `count` found in batches: `examples`, `steps`, and how many `labels`."""
    labels = pl.col("labels").explode().n_unique()
    total = pl.concat(counts).group_by("split").agg(pl.col("examples").sum(), pl.col("steps").sum(), labels)
    return {split: row for row in total.iter_rows(named=True) for split in [row.pop("split")]}
