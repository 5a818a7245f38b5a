"""What a training reports, and its way from the process that trains to the one that shows it: lines appended to a file.

Who follows the file needs no process between, and no torch.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class StepResult:
    """One optimizer update: its place in the epoch, from 1, the mean loss in nats per label, the epoch's speed so far."""

    epoch: int
    step: int
    num_steps: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True)
class EpochResult:
    """One finished epoch: its metrics, whether its validation score is the best so far, whether training ends with it."""

    epoch: int
    metrics: dict[str, float]
    is_best: bool
    is_last: bool


Emit = Callable[[StepResult | EpochResult], None]


def tell(path: Path, result: StepResult | EpochResult) -> None:
    """Append one message to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps([type(result).__name__, asdict(result)]) + "\n")


class Messages:
    """Reads what `tell` appends to a file, from what stands in it now to what comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def take(self) -> list[StepResult | EpochResult]:
        """Give the messages that came since the last call, in order.

        A line that is half written waits; one that a killed process left broken is passed over.
        """
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        if not whole:
            return []
        self._offset += len(whole) + 1
        messages = []
        for line in whole.splitlines():
            with suppress(ValueError):
                kind, fields = json.loads(line)
                messages.append(_KINDS[kind](**fields))
        return messages


_KINDS: dict[str, type[StepResult] | type[EpochResult]] = {"StepResult": StepResult, "EpochResult": EpochResult}
