"""What a training reports, its way from the process that trains to the one that shows it, and the way back of a wish to stop.

On one machine both go through files: who follows them needs no process between, and no torch.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class StepResult:
    """One optimizer update: its place in the epoch, from 1, the mean loss in nats per label, the epoch's speed so far.

    Attributes:
        is_stopped: whether the training stops here because it was asked to.
    """

    epoch: int
    step: int
    num_steps: int
    loss: float
    tokens_per_second: float
    is_stopped: bool = False


@dataclass(frozen=True)
class EpochResult:
    """One finished epoch: its metrics, whether its validation score is the best so far, whether training ends with it."""

    epoch: int
    metrics: dict[str, float]
    is_best: bool
    is_last: bool


@dataclass(frozen=True)
class Trouble:
    """What ended the work of some workers, after which all start again from the last checkpoint."""

    text: str


@dataclass(frozen=True)
class Notice:
    """What a worker warns of, and goes on."""

    text: str


Message = StepResult | EpochResult | Trouble | Notice
Emit = Callable[[Message], None]


class Channel(Protocol):
    """The way between the process that trains and the one that shows it, from both ends."""

    def emit(self, message: Message) -> None:
        """Tell, from where it trains."""

    def must_stop(self) -> bool:
        """Say, where it trains, whether it was asked to stop."""

    def take(self) -> list[Message]:
        """Give what came since the last call, in order."""

    def ask_to_stop(self) -> None:
        """Ask the training to stop after the step that it makes."""


class FileChannel:
    """A channel between processes that see one folder: messages are lines of a file, and another file asks to stop.

    What stood there before is not read.

    Args:
        folder: made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._messages, self._stop = folder / "messages.jsonl", folder / "stop"
        folder.mkdir(parents=True, exist_ok=True)
        self._offset = self._messages.stat().st_size if self._messages.exists() else 0
        self._stop.unlink(missing_ok=True)

    def emit(self, message: Message) -> None:
        with self._messages.open("a", encoding="utf-8") as file:
            file.write(json.dumps(pack(message)) + "\n")

    def must_stop(self) -> bool:
        return self._stop.exists()

    def ask_to_stop(self) -> None:
        self._stop.touch()

    def take(self) -> list[Message]:
        """Give the messages that came since the last call, in order.

        A line that is half written waits; one that a killed process left broken is passed over.
        """
        if not self._messages.exists():
            return []
        with self._messages.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        if not whole:
            return []
        self._offset += len(whole) + 1
        messages = []
        for line in whole.splitlines():
            with suppress(ValueError):
                messages.append(unpack(json.loads(line)))
        return messages


Packed = tuple[str, dict[str, Any]]


def pack(message: Message) -> Packed:
    """Turn a message into plain data."""
    return type(message).__name__, asdict(message)


def unpack(packed: Packed) -> Message:
    """Turn plain data back into the message."""
    kind, fields = packed
    return _KINDS[kind](**fields)


_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (StepResult, EpochResult, Trouble, Notice)}
