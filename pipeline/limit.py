"""A prepared corpus with only so many examples a split, spread evenly over each, for a first look at what a change does."""

import json
import logging
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.splits import SPLITS, add_up, count

logger = logging.getLogger(__name__)


def keep_some(prepared_dir: Path, num_examples: int) -> None:
    """Leave out all but some examples of each split, in place, the same ones each time.

    Args:
        prepared_dir: what prepare wrote.
        num_examples: of a split at most.
    """
    path = prepared_dir / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    for split in SPLITS:
        num_there = summary[split]["examples"]
        rows = np.linspace(0, num_there - 1, min(num_examples, num_there)).round().astype(np.int64)
        file = prepared_dir / f"{split}.parquet"
        numbered = pl.scan_parquet(file).with_row_index("row")
        kept = numbered.filter(pl.col("row").is_in(rows.tolist())).drop("row").collect()
        partial = file.with_suffix(".partial")
        kept.write_parquet(partial, compression="lz4")
        partial.rename(file)
        summary[split] = add_up([count(kept.with_columns(split=pl.lit(split)))])[split]
        logger.info("%s: %d of %d examples", file, len(kept), num_there)
    path.write_text(json.dumps(summary, indent=2), encoding="utf-8")
