"""From a raw CoNLL-U file to encoded ids: megabytes per second of both stages, and the memory that they take.

    python benchmarks/reading.py [megabytes ...]

Each size is drawn anew into a temporary folder: made-up words by a Zipf-like law that brings ever new ones, with comments,
ranges and columns about as in a treebank of Universal Dependencies. Both stages run one after the other in a fresh process.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from pipeline import encode, prepare
from pipeline.config import Columns, CorpusConfig, EncodeConfig, PathSource, SplitConfig
from pipeline.flaws import Look, find_flaws
from pipeline.layout import Layout
from pipeline.splits import SPLITS

TAIL, HEAD = 0.5, 5.0
"""Of the law of words: the share of ranks above r falls as (1 + r / HEAD) ** -TAIL."""
RANGE_SHARE = 0.01
BLOCK_WORDS = 400_000
SYLLABLES = np.array([a + b for a in "bcdfghjklmnprstvwxyz" for b in "aeiou"])
TAGS = np.array(
    [
        "NOUN",
        "PUNCT",
        "VERB",
        "PRON",
        "ADP",
        "DET",
        "PROPN",
        "ADJ",
        "AUX",
        "ADV",
        "CCONJ",
        "PART",
        "NUM",
        "SCONJ",
        "X",
        "INTJ",
        "SYM",
    ]
)
FEATS = np.array(
    [
        "_",
        "_",
        "Number=Sing",
        "Mood=Ind|Number=Sing|Person=3|Tense=Pres|VerbForm=Fin",
        "Case=Nom|Number=Sing|Person=1|PronType=Prs",
    ]
)
RELATIONS = np.array(
    [
        "punct",
        "case",
        "det",
        "nsubj",
        "obj",
        "obl",
        "root",
        "advmod",
        "conj",
        "nmod:poss",
        "aux",
        "amod",
        "mark",
        "cc",
        "acl:relcl",
    ]
)


def draw_corpus(path: Path, megabytes: float, seed: int = 0) -> None:
    """Write a CoNLL-U file of about a size; the same for ever, and a longer one begins as a shorter one."""
    rng = np.random.default_rng(seed)
    first = 0
    with path.open("wb") as file:
        while file.tell() < 1e6 * megabytes:
            lengths = rng.geometric(1 / 16, BLOCK_WORDS // 16)
            block = _lines(rng, lengths, first)
            block.write_csv(file, include_header=False, quote_style="never")
            first += len(lengths)


def _lines(rng: np.random.Generator, lengths: np.ndarray, first: int) -> pl.DataFrame:
    """Draw sentences; a row holds a word's line, and before it what stands above."""
    num_words = int(lengths.sum())
    begins = np.repeat(lengths.cumsum() - lengths, lengths)
    index = np.arange(num_words) - begins + 1
    ranks = HEAD * (rng.random(num_words) ** (-1 / TAIL) - 1)
    distinct, place = np.unique(np.minimum(ranks, 1e10).astype(np.int64), return_inverse=True)
    words = pl.DataFrame(
        {
            "sentence": np.repeat(np.arange(first, first + len(lengths)), lengths),
            "index": index,
            "form": spell(distinct).gather(place),
            "lexical": _entries(distinct).gather(place),
            "head": rng.integers(0, 30, num_words),
            "relation": RELATIONS[rng.integers(0, len(RELATIONS), num_words)],
            "misc": np.where(rng.random(num_words) < 0.15, "SpaceAfter=No", "_"),
            # Every second word may begin a range, so that none overlap, but not the last of a sentence.
            "is_range": (rng.random(num_words) < 2 * RANGE_SHARE) & (index % 2 == 1) & (index < np.repeat(lengths, lengths)),
        }
    )
    texts = words.group_by("sentence", maintain_order=True).agg(pl.col("form").str.join(" "))["form"]
    names = pl.Series(np.arange(first, first + len(lengths))).cast(pl.String)
    above = "\n# sent_id = drawn-" + names + "\n# text = " + texts + "\n"
    comments = pl.concat([pl.Series([""]), above]).gather(np.where(index == 1, words["sentence"].to_numpy() - first + 1, 0))
    column = pl.col
    span = pl.format(
        "{}-{}\t{}\t_\t_\t_\t_\t_\t_\t_\t_\n", "index", column("index") + 1, column("form") + column("form").shift(-1)
    )
    deps = pl.format("{}:{}", "head", "relation")
    return words.with_columns(above=comments).select(
        pl.concat_str("above", pl.when("is_range").then(span).otherwise(pl.lit("")), "index", pl.lit("\t"), "form", pl.lit("\t"),
                      "lexical", pl.lit("\t"), "head", pl.lit("\t"), "relation", pl.lit("\t"), deps, pl.lit("\t"), "misc")
    )  # fmt: skip


def spell(ranks: np.ndarray) -> pl.Series:
    """Spell ranks as syllables, frequent words being short; every seventh has a capital."""
    spelt, left = SYLLABLES[ranks % 100], ranks // 100
    while left.any():
        spelt, left = np.where(left > 0, np.char.add(spelt, SYLLABLES[left % 100]), spelt), left // 100
    return pl.Series(np.where(ranks % 7 == 3, np.char.capitalize(spelt), spelt))


def _entries(ranks: np.ndarray) -> pl.Series:
    """Give what a dictionary says of a word: lemma, two tags, features."""
    tags = TAGS[ranks % len(TAGS)]
    lemma = spell(ranks - ranks % 3).str.to_lowercase()
    return lemma + "\t" + pl.Series(tags) + "\t" + pl.Series(np.char.add(tags, "1")) + "\t" + pl.Series(FEATS[ranks % len(FEATS)])


def measure(megabytes: float) -> dict[str, float]:
    """Draw a corpus, run both stages on it in a fresh process, and give MB, seconds, MB/s and the peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn" / "raw" / "c"
        path.parent.mkdir(parents=True)
        draw_corpus(path, megabytes)
        command = [sys.executable, __file__, "--stages", folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])


def run_stages(folder: Path) -> dict[str, float]:
    """Prepare and encode what lies in a folder, in this process."""
    layout, own = Layout("drawn", folder), PathSource("path", ".")
    corpus = CorpusConfig("tagging", "conllu", "none", "none", own, {"all": "c"}, Columns("form", "upos"))
    start = time.perf_counter()
    prepare.run(corpus, SplitConfig(), layout)
    middle = time.perf_counter()
    encode.run(corpus, EncodeConfig(), None, layout)
    end = time.perf_counter()
    find_flaws(Look({name: layout.prepared_dir / f"{name}.parquet" for name in SPLITS}))
    seconds_of_looking = time.perf_counter() - end
    size = (layout.raw_dir / "c").stat().st_size / 1e6
    return {
        "megabytes": size,
        "words": json.loads((layout.prepared_dir / "summary.json").read_text())["train"]["steps"] / 0.8,
        "forms": len(np.load(layout.encoded_dir / "forms" / "word_ids.npy", mmap_mode="r")),
        "prepare MB/s": size / (middle - start),
        "read MB/s": size / (middle - start - seconds_of_looking),
        "encode MB/s": size / (end - middle),
        "both MB/s": size / (end - start),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def main() -> None:
    if sys.argv[1:2] == ["--stages"]:
        print(json.dumps(run_stages(Path(sys.argv[2]))))
        return
    sizes = [float(size) for size in sys.argv[1:]] or [300, 1000, 3000]
    print("| MB | distinct words | prepare MB/s | without looking for flaws | encode MB/s | both MB/s | peak memory MB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    speeds = []
    for size in sizes:
        found = measure(size)
        speeds.append(found["both MB/s"])
        rates = " | ".join(f"{found[key]:.0f}" for key in ("prepare MB/s", "read MB/s", "encode MB/s", "both MB/s", "peak MB"))
        print(f"| {found['megabytes']:.0f} | {found['forms']:,} | {rates} |", flush=True)
    print(f"\nThe dearest megabyte costs {max(speeds) / min(speeds) - 1:.0%} more than the cheapest.")


if __name__ == "__main__":
    main()
