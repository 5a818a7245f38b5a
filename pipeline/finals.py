"""The finalists of a sweep: its best networks, trained again with other seeds, and compared beyond luck.

The training by which a network became a finalist does not count: it was picked for being high.
"""

import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.config import MAIN
from pipeline.budget import TOLERANCE
from pipeline.checkpoint import load_from, save_checkpoint
from pipeline.config import SweepConfig
from pipeline.job import FINAL, Job
from pipeline.labeler import Labeler
from pipeline.noise import LEVEL, Tally, compare
from pipeline.scores import count_entities
from pipeline.scoring import Sequences, Split, answer_split
from pipeline.space import SEED, Chosen
from pipeline.storage import open_store
from pipeline.trials import Trial

_APART = 1000
"""A network's own seed times this, and a number from 1, is the seed of a further training."""


_SMALL = 0.001
"""No smaller probability is told: they are counted among some thousand draws."""


class Repeats:
    """Chooses what is trained again, in the place of a study: every finalist with every further seed.

    Args:
        wanted: samples that are not trained yet.
    """

    def __init__(self, wanted: Iterable[Chosen]) -> None:
        self._left = iter(wanted)

    def ask(self, number: int) -> Chosen | None:
        """Give the next sample."""
        return next(self._left, None)

    def take_up(self, trial: Trial) -> None:
        """Nothing is learnt from a trial."""

    def must_stop(self, number: int, epoch: int, score: float) -> bool:
        """None is stopped."""
        return False

    def end(self, trial: Trial) -> None:
        """Nothing is learnt from a trial."""


def num_finalists(config: SweepConfig) -> int:
    """Give how many networks of a search are trained again."""
    return config.finalists or 3


def repeated(chosen: Chosen, seed: int, num_seeds: int) -> list[Chosen]:
    """Give a sample with other seeds.

    Args:
        chosen: the sample.
        seed: of a training of it, unless it has its own.
        num_seeds: how many others.
    """
    first = _APART * chosen.get(SEED, seed)
    return [chosen | {SEED: first + number} for number in range(1, num_seeds + 1)]


@dataclass(frozen=True)
class Finalist:
    """One network of the finals.

    Attributes:
        trial: of the search.
        scores: of its further seeds, on val.
        mean, low, high: their mean, with a 95 % interval over other examples and seeds.
        p_value: how often luck alone would set two finalists as far apart as this one and the best.
        is_tied: whether it may be as good as the best.
        words_per_second: labelled by this machine, by the median of its seeds; steps where the input is numeric.
    """

    trial: Trial
    scores: list[float]
    mean: float
    low: float
    high: float
    p_value: float
    is_tied: bool
    words_per_second: float


@dataclass(frozen=True)
class Verdict:
    """What the finals came to.

    Attributes:
        finalists: best first.
        metric: that they were compared by.
    """

    finalists: list[Finalist]
    metric: str

    @property
    def proposed(self) -> Finalist:
        """The smallest network of those that may be as good as the best; of those that are as small, to 1 %, the best."""
        tied = [it for it in self.finalists if it.is_tied]
        least = min(it.trial.parameters for it in tied)
        return next(it for it in tied if it.trial.parameters <= (1 + TOLERANCE) * least)

    def says(self, it: Finalist) -> str:
        """Say in a few words how a finalist stands."""
        if it is self.finalists[0]:
            text = "the best"
        else:
            p_value = f"p = {it.p_value:.2g}" if it.p_value >= _SMALL else f"p < {_SMALL}"
            text = f"{'tied' if it.is_tied else 'worse'} ({p_value})"
        return f"{text}; proposed" if it is self.proposed else text


def judge(entries: list[tuple[Trial, list[Job]]], monitor: str, val: Split, seed: int) -> Verdict | None:
    """Compare finalists on the validation examples; None where no finalist has two further trainings.

    Args:
        entries: a trial of the search, and its further trainings that came to their ends.
        monitor: the pipeline's; where it is the loss, networks are compared by accuracy.
        val: the validation split.
        seed: of what the comparison draws.
    """
    entries = [(trial, jobs) for trial, jobs in entries if jobs]
    if all(len(jobs) < 2 for _, jobs in entries):
        return None
    metric = "entity_f1" if monitor == "entity_f1" else "accuracy"
    asked = [[_ask(job, metric, val) for job in jobs] for _, jobs in entries]
    tallies = [_tally([counts for counts, _ in answers]) for answers in asked]
    found = compare(tallies, seed)
    finalists = [
        Finalist(
            trial=trial,
            scores=tallies[i].scores.tolist(),
            mean=float(found.scores[i]),
            low=float(found.low[i]),
            high=float(found.high[i]),
            p_value=float(found.p_values[i, found.best]),
            is_tied=bool(found.p_values[i, found.best] > LEVEL),
            words_per_second=statistics.median(speed for _, speed in asked[i]),
        )
        for i, (trial, _) in enumerate(entries)
    ]
    return Verdict(sorted(finalists, key=lambda it: -it.mean), metric)


Counts = list[tuple[int, int]]
"""Of each example what a network found, and what was possible."""


def _tally(counts: list[Counts]) -> Tally:
    table = np.array(counts, np.float64)  # (S, N, 2)
    return Tally(table[:, :, 0], table[:, :, 1])


def _ask(job: Job, metric: str, val: Split) -> tuple[Counts, float]:
    """Count what a trained network makes of each example; gives its words in a second, too."""
    with tempfile.TemporaryDirectory() as folder:
        weights, meta = load_from(open_store(job.checkpoints), FINAL)
        save_checkpoint(Path(folder) / "model", weights, meta, job.encoded_dir / "vocab.json")
        labeler = Labeler.load(Path(folder) / "model")
    begun = time.perf_counter()
    answers = answer_split(labeler, val)[MAIN]
    num_words = sum(map(len, val.tokens if val.values is None else val.values))
    return _count(metric, val.labels, answers), num_words / (time.perf_counter() - begun)


def _count(metric: str, gold: Sequences, answers: Sequences) -> Counts:
    if metric == "entity_f1":
        counts = [count_entities(sought, found) for sought, found in zip(gold, answers, strict=True)]
        return [(2 * right, found + sought) for right, found, sought in counts]
    pairs = zip(gold, answers, strict=True)
    return [(sum(a == b for a, b in zip(sought, found, strict=True)), len(sought)) for sought, found in pairs]
