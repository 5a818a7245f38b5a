"""What is known of a sweep's trials, on disk: a small file each, so that a sweep whose driver was killed goes on."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.space import Chosen
from pipeline.storage import DiskStore

State = Literal["running", "finished", "stopped early", "failed"]


@dataclass
class Trial:
    """One network of a sweep.

    Attributes:
        number: from 1, in the order of beginning.
        chosen: its sample of the space.
        parameters: numbers that it trains, the word table aside.
        state: `running` also where the driver was killed meanwhile.
        scores: epoch, from 1 -> validation score; higher is better.
        seconds: of training.
        node: where it ran, by Ray's name.
        problem: why it failed.
        memory: bytes that its process was estimated to take at its highest; 0 where that was not asked.
        peak_memory: what it took; 0 where the system does not tell.
    """

    number: int
    chosen: Chosen
    parameters: int = 0
    state: State = "running"
    scores: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    node: str = ""
    problem: str = ""
    memory: int = 0
    peak_memory: int = 0

    @property
    def best(self) -> float | None:
        """The best score of any epoch; None before the first."""
        return max(self.scores.values(), default=None)


class Ledger:
    """The trials of one sweep, and what is known of the sweep itself, kept as they change.

    Args:
        folder: made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._store = DiskStore(folder)
        self.trials = {trial.number: trial for trial in self._load(folder)}
        self.facts: dict[str, Any] = json.loads(self._store.read_text(_FACTS) or "{}")

    def keep(self, trial: Trial) -> None:
        """Write a trial, new or changed."""
        self.trials[trial.number] = trial
        self._store.write_text(_NAME.format(trial.number), json.dumps(asdict(trial)))

    def note(self, **facts: Any) -> None:
        """Write what is known of the sweep itself."""
        self.facts |= facts
        self._store.write_text(_FACTS, json.dumps(self.facts))

    def _load(self, folder: Path) -> Iterator[Trial]:
        for path in sorted(folder.glob(_NAME.format("*"))):
            stored = json.loads(path.read_text(encoding="utf-8"))
            yield Trial(**stored | {"scores": {int(epoch): score for epoch, score in stored["scores"].items()}})


_NAME = "trial-{}.json"
_FACTS = "sweep.json"
