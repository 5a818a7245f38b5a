"""Words per second from raw text to labels, of each engine in a process of its own.

python benchmarks/inference.py data/ewt/model texts.txt --words 1000000
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

ENGINES = ("torch", "onnx", "int8")


def repeat_to(texts: list[str], num_words: int) -> list[str]:
    """Repeat texts until they hold about so many words, by their spaces."""
    repeated, left = [], num_words
    for text in cycle(texts):
        if left <= 0:
            return repeated
        repeated.append(text)
        left -= text.count(" ") + 1
    return repeated


def measure(model_dir: Path, texts: list[str], engine: str, rounds: int = 3) -> dict[str, Any]:
    """Label texts in this process, which should be a fresh one: several times, and the median is what counts.

    Returns:
        `words`; `words_per_second`, and of the `first` round, in which every word form is new; `peak_mb` of the process;
        `load_seconds`, imports included.
    """
    begun = time.perf_counter()
    from pipeline.labeler import Labeler

    labeler = Labeler.load(model_dir, engine)  # type: ignore[arg-type]
    load_seconds = time.perf_counter() - begun
    speeds, num_words = [], 0
    for _ in range(rounds):
        begun = time.perf_counter()
        answers = labeler.label_texts(texts)
        seconds = time.perf_counter() - begun
        num_words = sum(len(answer["words"]) if "words" in answer else 1 for answer in answers)
        speeds.append(num_words / seconds)
        del answers
    return {
        "engine": labeler.engine.name,
        "words": num_words,
        "words_per_second": round(statistics.median(speeds)),
        "first": round(speeds[0]),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load_seconds": round(load_seconds, 2),
    }


def measure_apart(model_dir: Path, texts: list[str], engine: str, rounds: int = 3) -> dict[str, Any]:
    """Call `measure` in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, model_dir, texts, engine, rounds).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("texts", type=Path, help="A file with one text per line.")
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    args = parser.parse_args()
    texts = repeat_to(args.texts.read_text(encoding="utf-8").splitlines(), args.words)
    for engine in args.engines:
        print(json.dumps(measure_apart(args.model_dir, texts, engine, args.rounds)), flush=True)


if __name__ == "__main__":
    main()
