"""raw -> prepared: any format becomes one schema, in train, val and test.

What has no official part is cut by a hash of its document or of its content, so that the cut does not depend on the order
of rows, and the same text never stands on both sides of it.
"""

import hashlib
import json
from pathlib import Path

import polars as pl

from pipeline.config import CorpusConfig, SplitConfig
from pipeline.corpora import READERS
from pipeline.errors import DataError
from pipeline.layout import Layout


def run(corpus: CorpusConfig, split: SplitConfig, layout: Layout) -> None:
    """Read a corpus's files and write train, val and test.parquet, with a summary of what they hold.

    Raises:
        DataError: a file can not be read, or a split has no examples.
    """
    readings = {part: READERS[corpus.format](layout.raw_dir / name, corpus) for part, name in corpus.splits.items()}
    frames = {str(part): reading.frame for part, reading in readings.items()}
    layout.prepared_dir.mkdir(parents=True, exist_ok=True)
    summary: dict[str, dict[str, int]] = {"skipped": {str(part): reading.skipped for part, reading in readings.items()}}
    for name, frame in cut(frames, split, corpus.group).items():
        path = layout.prepared_dir / f"{name}.parquet"
        _write(frame, path)
        counts = _count(path)
        if not counts["examples"]:
            raise DataError(f"{path}:1:1: has no examples; {len(frames)} files were read; fix: change `split` in params.yaml")
        summary[name] = counts
        print(f"{layout.pipeline}: {name}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    (layout.prepared_dir / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")


def cut(frames: dict[str, pl.LazyFrame], split: SplitConfig, group: str | None) -> dict[str, pl.LazyFrame]:
    """Give train, val and test of what a corpus has: all of them, `all` alone, or `train` with or without the others.

    Args:
        frames: part of the corpus -> its examples.
        split: the shares to cut.
        group: a pattern whose first group, found in an id, names a document, which stays whole.
    """
    if "all" in frames:
        drawn = _drawn(frames["all"], split.seed, group)
        is_test, is_val = pl.col("drawn") < split.test, pl.col("drawn") < split.test + split.val
        parts = {"train": drawn.filter(~is_val), "val": drawn.filter(is_val & ~is_test), "test": drawn.filter(is_test)}
    else:
        missing = {"val": split.val, "test": split.test}
        drawn = _drawn(frames["train"], split.seed, group)
        parts, start = {}, 0.0
        for name, share in missing.items():
            if name in frames:
                parts[name] = _drawn(frames[name], split.seed, group)
            else:
                parts[name] = drawn.filter(pl.col("drawn").is_between(start, start + share, closed="left"))
                start += share
        parts["train"] = drawn.filter(pl.col("drawn") >= start)
    return {name: parts[name].sort("drawn", "id").drop("drawn") for name in ("train", "val", "test")}


def _drawn(frame: pl.LazyFrame, seed: int, group: str | None) -> pl.LazyFrame:
    """Add `drawn`, from 0 to 1, which follows from the seed and an example's document, or else its content."""
    content = pl.coalesce(
        pl.col("tokens").list.join(" "),
        pl.col("values").list.eval(pl.element().list.eval(pl.element().cast(pl.String)).list.join(",")).list.join(";"),
    )
    key = content if group is None else pl.coalesce(pl.col("id").str.extract(group), content)
    return frame.with_columns(key.map_batches(lambda keys: _hash(keys, seed), return_dtype=pl.Float64).alias("drawn"))


def _hash(keys: pl.Series, seed: int) -> pl.Series:
    """Hash texts to numbers from 0 to 1. polars' own hash changes with its version; this one never does."""
    digests = (hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys)
    return pl.Series([int.from_bytes(digest, "big") / 2**64 for digest in digests], dtype=pl.Float64)


def _write(frame: pl.LazyFrame, path: Path) -> None:
    """Stream a frame to disk; a half-written file never has the name."""
    partial = path.with_name(path.name + ".partial")
    try:
        frame.sink_parquet(partial)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _count(path: Path) -> dict[str, int]:
    frame = pl.scan_parquet(path)
    steps = pl.coalesce(pl.col("tokens").list.len(), pl.col("values").list.len())
    labels = frame.select(pl.col("labels").explode()).collect().to_series().n_unique()
    examples, tokens = frame.select(pl.len(), steps.sum().alias("steps")).collect().row(0)
    return {"examples": examples, "steps": tokens or 0, "labels": labels}
