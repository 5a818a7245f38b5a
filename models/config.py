"""What a network is made of, as data: plain dataclasses that need neither torch nor a validator to be read.

Ranges stand in the annotations; `pipeline.params` has them checked when a file is read. Nothing here builds anything.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

PAD_ID = 0
UNKNOWN_ID = 1
"""The first two rows of the word table and of the character table."""

CellName = Literal["simple_rnn", "lstm", "gru"]
PoolingName = Literal["final", "max", "mean"]


class Range:
    """The numbers that a field takes; pydantic reads it from the annotation, for checks and for the JSON Schema.

    Args:
        bounds: any of `ge`, `gt`, `le`, `lt`, each a number.
    """

    def __init__(self, **bounds: float) -> None:
        self.bounds = bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        return {**handler(source), **self.bounds}


Positive = Annotated[int, Range(ge=1)]
Count = Annotated[int, Range(ge=0)]
Share = Annotated[float, Range(ge=0, lt=1)]


@dataclass(frozen=True)
class ModelConfig:
    """The network: inputs -> stacked recurrent layers -> head. The head follows from the task of the corpus."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    word_size: Count = 100
    """Numbers in a word's embedding; 0 leaves words out."""
    char_size: Positive = 25
    """Numbers in a character's embedding."""
    char_hidden: Count = 25
    """Units per direction of the character BiLSTM; 0 leaves characters out."""
    cell: CellName = "lstm"
    """The recurrent cell."""
    hidden: tuple[Positive, ...] = (200,)
    """Units per direction of each recurrent layer, from the input upwards."""
    bidirectional: bool = True
    """Read each sequence from both ends."""
    pooling: PoolingName = "final"
    """Classification: what is taken from the outputs over time. `final` is each direction's last state."""
    dense: Count = 0
    """Units of the feed-forward layer before the softmax of a classifier; 0 leaves it out."""
    dropout: Share = 0.4
    """Share of the inputs of each recurrent layer and of the head that is set to 0 in training."""
    tune_vectors: bool = True
    """Train word embeddings that came from a file; `false` keeps them as they are."""


@dataclass(frozen=True)
class Sizes:
    """What a network must know of its data.

    Attributes:
        task: `tagging` (a label per step) or `classification` (a label per sequence).
        num_words: rows of the word table, padding and the unknown word among them.
        num_fixed_words: the last of these rows, whose words only pre-trained vectors know; no training changes them.
        num_chars: rows of the character table, padding and the unknown character among them.
        num_labels: classes.
        vector_size: numbers per step where the input is numeric; 0 for text.
    """

    task: Literal["tagging", "classification"]
    num_words: int
    num_chars: int
    num_labels: int
    vector_size: int = 0
    num_fixed_words: int = 0
