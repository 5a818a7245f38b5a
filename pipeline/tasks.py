"""What is to be done with an input and its pieces, and what comes of it; as light as it goes from process to process."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.inputs import FormatName, Piece

if TYPE_CHECKING:
    from pipeline.engines import EngineName


@dataclass(frozen=True)
class Task:
    """How to label an input: by which model folder and engine, from which format into which form."""

    model: Path
    engine: "EngineName"
    format: FormatName
    form: FormatName


@dataclass(frozen=True)
class Job:
    """A piece of an input, and how to label it."""

    piece: Piece
    task: Task


@dataclass(frozen=True)
class Labelled:
    """A piece of an output, and how many words were labelled for it."""

    data: bytes
    num_words: int
