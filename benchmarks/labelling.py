"""Much text through `unroll predict --out`: words per second, the peak memory of all its processes, and what kills leave.

    python benchmarks/labelling.py [--megabytes 2000] [--model MODEL] [--engine int8] [--kills 3]

Texts are drawn: words of syllables by a Zipf-like law that brings ever new ones, a text per line. Without --model a small tagger
with drawn weights labels them, so that what is around the network shows. The file is labelled once without a break, and once by
calls that are killed with SIGKILL at chance places; both outputs must be the same bytes.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from machine import Watch, describe
from reading import HEAD, TAIL, spell

from models.config import ModelConfig, Sizes
from models.network import build_network
from pipeline.digest import file_sha256
from pipeline.trained import Trained
from pipeline.vocab import CAPITALISATIONS, RESERVED, Vocab

_BLOCK_WORDS = 400_000
_SMALL = ModelConfig(word_size=16, char_size=None, char_hidden=0, hidden=(16,), bidirectional=False)


@dataclass(frozen=True)
class Ran:
    """How a call went: its exit status, seconds, and the peak of resident memory, in MB, over all its processes."""

    status: int
    seconds: float
    peak_mb: float


def draw_texts(path: Path, megabytes: float, seed: int = 0) -> int:
    """Write lines of drawn words; returns the number of words."""
    rng, num_words = np.random.default_rng(seed), 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < 1e6 * megabytes:
            ranks = np.minimum(HEAD * (rng.random(_BLOCK_WORDS) ** (-1 / TAIL) - 1), 1e10).astype(np.int64)
            distinct, place = np.unique(ranks, return_inverse=True)
            words = spell(_longer(distinct)).to_numpy()[place]
            ends = rng.geometric(1 / 18, _BLOCK_WORDS // 18).cumsum()
            rows = np.split(words, ends[ends < _BLOCK_WORDS])
            file.writelines(" ".join(row) + "\n" for row in rows if len(row))
            num_words += _BLOCK_WORDS
    return num_words


def _longer(ranks: np.ndarray) -> np.ndarray:
    """Give frequent words two syllables at least; with the space, a word then takes about six bytes, as in English."""
    return 100 + 7 * ranks


def make_small(folder: Path) -> Path:
    """Write a small tagger with drawn weights as an exported model; returns its folder."""
    words = (*RESERVED, *spell(_longer(np.arange(20_000))).str.to_lowercase().unique(maintain_order=True))
    vocab = Vocab(words, RESERVED, tuple("ABCDEFGHIJKLMNOPQ"), lowercase=True, max_word_length=30)
    features = {"capitalisation": len(CAPITALISATIONS)}
    sizes = Sizes("tagging", len(words), len(RESERVED), len(vocab.labels), 0, 0, features, {})
    meta = {"model": asdict(_SMALL), "sizes": asdict(sizes), "max_length": None, "truncating": None}
    Trained(build_network(_SMALL, sizes, seed=0).eval(), vocab, meta).export(folder)
    return folder


def call(arguments: list[str], kill_at: int | None = None, state: Path = Path()) -> Ran:
    """Call `unroll predict`, and kill it where it has read so many bytes."""
    begun, peak = time.monotonic(), 0
    child = psutil.Popen([sys.executable, "-m", "pipeline", "predict", *arguments], stderr=subprocess.DEVNULL)
    while child.poll() is None:
        peak = max(peak, _resident(child))
        if kill_at is not None and _place(state) >= kill_at:
            os.kill(child.pid, signal.SIGKILL)
        time.sleep(0.1)
    return Ran(child.returncode, time.monotonic() - begun, peak / 1e6)


def _resident(process: psutil.Process) -> int:
    try:
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


def _place(state: Path) -> int:
    try:
        return int(json.loads(state.read_text(encoding="utf-8"))["place"]["offset"])
    except (OSError, ValueError):
        return 0


def main() -> None:
    """Draw, label, kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=2000)
    parser.add_argument("--model")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--kills", type=int, default=3)
    args = parser.parse_args()
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts, whole, broken = folder / "texts.txt", folder / "whole.tags", folder / "broken.tags"
        model = args.model or str(make_small(folder / "model"))
        num_words, size = draw_texts(texts, args.megabytes), texts.stat().st_size
        asked = [str(texts), "--model", model, "--engine", args.engine, "--out"]
        watch.look()
        ran = call([*asked, str(whole)])
        rate = num_words / ran.seconds
        print(
            f"{size / 1e6:,.0f} MB, {num_words:,} words, {ran.seconds:,.0f} s: {rate:,.0f} words/s, peak {ran.peak_mb:,.0f} MB",
            flush=True,
        )
        rng = random.Random(0)
        for place in sorted(rng.randrange(size) for _ in range(args.kills)):
            killed = call([*asked, str(broken)], place, broken.with_name(f"{broken.name}.partial") / "state.json")
            print(f"killed at {place / 1e6:,.0f} MB: status {killed.status}, peak {killed.peak_mb:,.0f} MB", flush=True)
        last = call([*asked, str(broken)])
        same = file_sha256(whole) == file_sha256(broken)
        print(f"went on to the end: status {last.status}; the same bytes: {same}; {whole.stat().st_size / 1e6:,.0f} MB written")
    print(json.dumps(describe() | watch.summary()))
    sys.exit(0 if ran.status == last.status == 0 and same else 1)


if __name__ == "__main__":
    main()
