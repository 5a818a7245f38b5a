"""Mutated files through every reader: each is parsed or a data error that names its line; nothing else may come of it.

    python tests/fuzz/readers.py [--number 100000] [--readers csv,tsv] [--seed 0]

What comes of anything else is printed and kept in .unroll/fuzz. `make fuzz` runs it, and the same under atheris.
"""

import argparse
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl
from mutation import SEEDS, mutate

from pipeline.config import CorpusConfig
from pipeline.corpora import READERS
from pipeline.errors import DataError, ParamsError
from pipeline.reading import EXAMPLE_SCHEMA, TOKEN_COLUMN

KEPT = Path(".unroll/fuzz")
MEMORY = Path("/dev/shm")
"""Where a file is soonest written."""
_NAMED = re.compile(r"c(:\d+:\d+)?: .*", re.DOTALL)


def outcome(data: bytes, corpus: CorpusConfig, folder: Path) -> str:
    """Read a file: `parsed`, `data error`, or `params error` where its width makes the column's number wrong.

    Raises:
        Exception: anything else.
    """
    path = folder / "c"
    path.write_bytes(data)
    try:
        frame = READERS[corpus.format](path, corpus).frame.collect(engine="streaming")
    except DataError as error:
        assert _NAMED.match(str(error).removeprefix(f"{folder}/")), f"names no line: {error}"
        return "data error"
    except ParamsError:
        assert corpus.format == "columns"
        return "params error"
    check(frame, corpus)
    return "parsed"


def check(frame: pl.DataFrame, corpus: CorpusConfig) -> None:
    """Hold what was parsed against what every example is."""
    further = {f"{TOKEN_COLUMN}{name}" for name in corpus.columns.per_token}
    assert set(frame.columns) == {*EXAMPLE_SCHEMA, *further}
    assert frame["id"].null_count() == 0
    steps = frame["values"] if corpus.is_numeric else frame["tokens"]
    assert steps.null_count() == 0 and (corpus.is_numeric or frame.is_empty() or steps.list.len().min() > 0)
    if corpus.task == "tagging":
        assert (frame["tokens"].list.len() == frame["labels"].list.len()).all()
    else:
        assert (frame["labels"].list.len() == 1).all()


def run(name: str, number: int, seed: int, folder: Path) -> Counter[str]:
    """Read so many mutated files; counts what came of them."""
    corpus, content = SEEDS[name]
    rng, found = random.Random(f"{name} {seed}"), Counter[str]()
    for index in range(number):
        data = mutate(content.encode(), rng)
        try:
            found[outcome(data, corpus, folder)] += 1
        except BaseException as error:  # a panic of polars is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            found["OTHER"] += 1
            KEPT.mkdir(parents=True, exist_ok=True)
            (KEPT / f"{name}-{seed}-{index}").write_bytes(data)
            print(f"{name}-{seed}-{index}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
    return found


def main() -> None:
    """Run all readers and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--readers", default=",".join(SEEDS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| reader | files | parsed | data errors | params errors | other |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    others = 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.exists() else None) as folder:
        for name in args.readers.split(","):
            found = run(name, args.number, args.seed, Path(folder))
            counts = [found[kind] for kind in ("parsed", "data error", "params error", "OTHER")]
            print(f"| {name} | {found.total():,} | " + " | ".join(f"{count:,}" for count in counts) + " |", flush=True)
            others += found["OTHER"]
    sys.exit(1 if others else 0)


if __name__ == "__main__":
    main()
