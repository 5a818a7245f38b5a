"""Whether training is as fast, and as small, on much data as on little: made-up corpora of 0.2, 2 and 20 million words.

    python benchmarks/scale.py [--rounds 2] [--millions 0.2 2 20]

Words follow Zipf's law over a vocabulary that grows with the corpus (Heaps), sentences are as long as English EWT's. Each round
makes 300 steps of the EWT tagger in two workers, in fresh processes, the sizes interleaved; the corpora are kept between runs.
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from corpora import make_project
from processes import ROOT, events, of_kind
from rich.console import Console
from rich.table import Table

from models.config import Sizes
from pipeline.plans import plan_epoch

HERE = Path(__file__).parent
STEPS, NUM_LABELS, NUM_CHARS, BATCH_SEQUENCES, BATCH_TOKENS = 300, 17, 110, 32, 8192
EWT_FORMS, EWT_WORDS = 23_000, 0.2e6
HEAPS = 0.6
"""A corpus ten times as long has 10 ** 0.6 times as many distinct words."""
FLAT = 0.1
"""Speeds within this share of each other count as equal."""


def make_corpus(folder: Path, num_words: int, seed: int = 1) -> None:
    """Write an encoded tagging corpus as pipeline/examples.py reads it."""
    rng = np.random.default_rng(seed)
    num_forms = int(EWT_FORMS * (num_words / EWT_WORDS) ** HEAPS)
    chances = np.cumsum(1 / (np.arange(num_forms) + 2.7))
    _write_forms(folder / "forms", num_forms, rng)
    for split, words in (("train", num_words), ("val", 20_000), ("test", 20_000)):
        lengths = np.minimum(1 + rng.gamma(1.4, 11.0, size=words // 16).astype(np.int64), 150)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        for kind in ("per_token", "per_sequence"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        np.save(folder / split / "offsets.npy", offsets)
        chosen = np.searchsorted(chances, rng.random(offsets[-1], dtype=np.float32) * chances[-1])
        np.save(folder / split / "tokens.npy", np.minimum(chosen, num_forms - 1).astype(np.int32))
        np.save(folder / split / "labels.npy", rng.integers(NUM_LABELS, size=offsets[-1], dtype=np.int32))
    sizes = Sizes("tagging", num_forms + 2, NUM_CHARS, NUM_LABELS, features={"capitalisation": 7})
    (folder / "summary.json").write_text(json.dumps({"sizes": asdict(sizes)}), encoding="utf-8")


def _write_forms(folder: Path, num_forms: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lengths = np.minimum(1 + rng.poisson(6, size=num_forms), 30)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    np.save(folder / "word_ids.npy", np.arange(2, num_forms + 2, dtype=np.int32))
    np.save(folder / "char_ids.npy", rng.integers(2, NUM_CHARS, size=offsets[-1], dtype=np.int32))
    np.save(folder / "char_offsets.npy", offsets)
    np.save(folder / "capitalisation.npy", rng.integers(2, 7, size=num_forms, dtype=np.int32))


def plan_seconds(encoded: Path) -> float:
    """Time the plan of an epoch, which every worker makes for itself before its first step."""
    lengths = np.diff(np.load(encoded / "train" / "offsets.npy"))
    start = time.perf_counter()
    plan_epoch(lengths, BATCH_TOKENS, 1, 0, BATCH_SEQUENCES)
    return time.perf_counter() - start


def measure(folder: Path, project: Path, sizes: list[float], rounds: int) -> list[dict[str, float]]:
    """Give a row per size: speeds, memory of a worker, the plan."""
    rows: list[dict[str, float]] = []
    for millions in sizes:
        encoded = folder / f"{millions:g}"
        if not (encoded / "summary.json").exists():
            make_corpus(encoded, int(millions * 1e6))
        stored = json.loads((encoded / "summary.json").read_text(encoding="utf-8"))["sizes"]
        rows.append({"millions": millions, "num_words": stored["num_words"], "plan_seconds": plan_seconds(encoded)})
    found: dict[float, list[dict[str, float]]] = {millions: [] for millions in sizes}
    for _ in range(rounds):
        for millions in sizes:
            command = [str(HERE / "ours.py"), f"--project={project}", f"--encoded={folder / f'{millions:g}'}"]
            said = events([*command, "--workers=2", f"--steps={STEPS}"])
            end, first = of_kind(said, "end")[0], of_kind(said, "first_step")[0]
            speed = of_kind(said, "epoch")[0]["words_per_second"]
            found[millions].append({"speed": speed, "first_step": first["at"], "worker_mb": end["peak_mb_per_worker"]})
    for row in rows:
        outcomes = found[row["millions"]]
        row |= {name: statistics.median(outcome[name] for outcome in outcomes) for name in outcomes[0]}
        row |= {"slowest": min(it["speed"] for it in outcomes), "fastest": max(it["speed"] for it in outcomes)}
    return rows


def show(rows: list[dict[str, float]]) -> None:
    table = Table(title=f"{STEPS} steps of the EWT tagger in 2 workers", title_justify="left")
    headings = (
        "million words",
        "vocabulary",
        "words/s",
        "lowest to highest",
        "MB per worker",
        "start to first step, s",
        "plan, s",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        speeds = (f"{row['speed']:,.0f}", f"{row['slowest']:,.0f} to {row['fastest']:,.0f}")
        rest = (f"{row['worker_mb']:,.0f}", f"{row['first_step']:.1f}", f"{row['plan_seconds']:.2f}")
        table.add_row(f"{row['millions']:g}", f"{row['num_words']:,}", *speeds, *rest)
    Console(width=120, highlight=False).print(table)
    for name, label in (("speed", "words/s"), ("worker_mb", "memory per worker"), ("plan_seconds", "the plan of an epoch")):
        ratio = max(row[name] for row in rows) / max(min(row[name] for row in rows), 1e-9)
        verdict = "flat" if ratio <= 1 + FLAT else "not flat"
        print(f"{label}: {verdict}, the most is {ratio:.2f} times the least")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--millions", type=float, nargs="+", default=[0.2, 2, 20])
    parser.add_argument("--folder", type=Path, default=ROOT / ".unroll" / "scale")
    options = parser.parse_args()
    project = ROOT / ".unroll" / "bench"
    make_project(project)
    rows = measure(options.folder.resolve(), project, options.millions, options.rounds)
    (HERE / "scale.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    show(rows)


if __name__ == "__main__":
    main()
