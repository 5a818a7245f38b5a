"""What every tagger is asked, and how its answers are counted: the same for all, inside each one's environment.

It knows the standard library alone. A tagger's script gives `answer` a function that loads it:

    python benchmarks/peers/spacy_tagger.py single "" 1 <model> <test.json>

Prints one JSON object: of `single`, each sentence asked alone; of `batch`, all of them at once, several times.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

Sentences = list[list[str]]
Tagger = Callable[[Sentences], Sentences]
"""Words of sentences in, their labels out."""
Loader = Callable[[str, str, int], Tagger]
"""Loads a model: its folder or file, a variant of how it runs, sentences per batch."""

PASSES = 3
WARM_UP = 20
"""Sentences asked before anything counts; they are asked again later, of a test split of many hundreds."""


def answer(load: Loader, num_children: int = 0) -> None:
    """Do what the command line asks of this tagger.

    Args:
        load: imports what it needs itself, so that the imports count.
        num_children: processes that work for this one at once; what they share counts for each.
    """
    kind, variant, size, model, test = sys.argv[1:]
    given = json.loads(Path(test).read_text(encoding="utf-8"))
    begun = time.perf_counter()
    tagger = load(model, variant, int(size))
    loaded = {"load_seconds": time.perf_counter() - begun}
    tagger(given["tokens"][:WARM_UP])
    found = KINDS[kind](tagger, given["tokens"], given["labels"])
    print(json.dumps(loaded | found | {"peak_mb": peak_mb() + num_children * _child_mb()}))


def ask_single(tagger: Tagger, sentences: Sentences, labels: Sentences) -> dict[str, Any]:
    """Ask one sentence after the other, each alone; times are in milliseconds."""
    times, answers, begun = [], [], time.perf_counter()
    spent = _cpu_seconds()
    for sentence in sentences:
        start = time.perf_counter()
        answers += tagger([sentence])
        times.append(1000 * (time.perf_counter() - start))
    cores = (_cpu_seconds() - spent) / (time.perf_counter() - begun)
    return percentiles(times) | {"cores": cores, "accuracy": accuracy(answers, labels)}


def ask_batch(tagger: Tagger, sentences: Sentences, labels: Sentences) -> dict[str, Any]:
    """Ask all sentences at once, several times; in the `first` pass nearly every word is new to the process."""
    num_words, speeds, answers = sum(map(len, sentences)), [], []
    begun, spent = time.perf_counter(), _cpu_seconds()
    for _ in range(PASSES):
        start = time.perf_counter()
        answers = tagger(sentences)
        speeds.append(num_words / (time.perf_counter() - start))
    cores = (_cpu_seconds() - spent) / (time.perf_counter() - begun)
    speed = {"words_per_second": statistics.median(speeds), "first": speeds[0]}
    return speed | {"cores": cores, "accuracy": accuracy(answers, labels)}


KINDS: dict[str, Callable[[Tagger, Sentences, Sentences], dict[str, Any]]] = {"single": ask_single, "batch": ask_batch}


def percentiles(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}


def accuracy(answers: Sentences, labels: Sentences) -> float:
    """Give the share of words with the right label."""
    pairs = [(a, b) for answer, row in zip(answers, labels, strict=True) for a, b in zip(answer, row, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)


def pieces(sentences: Sentences, size: int) -> list[Sentences]:
    """Cut sentences into batches."""
    left = iter(sentences)
    return list(iter(lambda: list(islice(left, size)), []))


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mb(process: int | str = "self") -> float:
    """Give the most memory that a process of this machine has held.

    Linux counts it from the start of its program; `ru_maxrss` would also count the process that started it, as it was then.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _child_mb() -> float:
    """Give the most memory that a process forked by this one has held."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
