"""What a network is made of, as data: plain dataclasses that need neither torch nor a validator to be read.

Ranges stand in the annotations; `pipeline.params` has them checked when a file is read. Nothing here builds anything.
An option that applies to some networks only is null where it is not set, so that one that would do nothing is found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

PAD_ID = 0
UNKNOWN_ID = 1
"""The first two rows of the word table, of the character table and of every feature's table."""

CellName = Literal["simple_rnn", "lstm", "gru"]
PoolingName = Literal["final", "max", "mean", "attention"]
MergeName = Literal["concat", "sum", "mul", "ave"]
CharacterName = Literal["lstm", "gru", "cnn"]
Task = Literal["tagging", "classification"]

NUM_RESERVED = 2
"""How many those are: the first real entry of a table has this id."""
IGNORED = -100
"""The id of a label that train does not have, or that padding holds: it carries no loss, and no prediction equals it."""

MAIN = "label"
"""The target that every corpus has."""


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
Weight = Annotated[float, Range(gt=0)]


@dataclass(frozen=True)
class ModelConfig:
    """The network: inputs -> stacked recurrent layers -> heads."""

    __pydantic_config__ = {"extra": "forbid", "use_attribute_docstrings": True}

    word_size: Count = 100
    """Numbers in a word's embedding; 0 leaves words out. Numeric steps: units of the linear layer in its place."""
    tune_vectors: bool | None = None
    """Pre-trained vectors: train those of train's words further (null: true); `false` keeps all as they are."""
    char_hidden: Count | None = None
    """Units per direction of the character network, or filters of the CNN (null: 25); 0 leaves characters out."""
    char_encoder: CharacterName | None = None
    """Characters: a BiLSTM (null: lstm), a bidirectional GRU, or a convolution with max pooling."""
    char_size: Positive | None = None
    """Characters: numbers in a character's embedding (null: 25)."""
    char_width: Positive | None = None
    """The CNN: characters that a filter reads at once (null: 3)."""
    features: dict[str, Positive] = field(default_factory=dict)
    """Further columns of the input -> numbers in their embeddings: `capitalisation`, or any of the corpus's `per_token`."""
    cell: CellName = "lstm"
    """The recurrent cell."""
    activation: Literal["tanh", "relu"] | None = None
    """simple_rnn: what is applied to its sum (null: tanh)."""
    reset_after: bool | None = None
    """gru: the reset gate acts after the matrix product, as in cuDNN (null: true), or before it (Chung et al. 2014)."""
    forget_bias: float | None = None
    """lstm: the forget gate's bias at the start (null: 1)."""
    hidden: tuple[Positive, ...] = (200,)
    """Units per direction of each recurrent layer, from the input upwards."""
    bidirectional: bool = True
    """Read each sequence from both ends."""
    merge: MergeName | None = None
    """bidirectional: how the two directions become one output (null: concat)."""
    go_backwards: bool = False
    """One direction: read each sequence from its end."""
    learned_state: bool = False
    """Learn the state before the first step, which is zero otherwise."""
    bptt_steps: Positive | None = None
    """Cut the gradient through time every so many steps (truncated back-propagation); null never cuts it."""
    residual: bool = False
    """Several layers: each above the first adds its input to its output; widths must agree."""
    layer_norm: bool = False
    """Normalise the inputs of each recurrent layer."""
    pooling: PoolingName | None = None
    """Classification: what is taken from the outputs over time. `final` (null) is each direction's last state."""
    dense: Count | None = None
    """Classification: units of a feed-forward layer before the softmax (null: 0, none)."""
    crf: bool = False
    """Tagging: score whole label sequences with a conditional random field, not each label by itself."""
    bio: bool | None = None
    """crf: never give I-x after anything but B-x or I-x (null: false)."""
    heads: dict[str, Weight] = field(default_factory=dict)
    """Further targets, of the corpus's `per_token` and `per_sequence` columns -> weight of their loss; `label` has 1."""
    input_dropout: Share = 0.4
    """Share of the numbers that the recurrent layers and the character network read that is set to 0 in training."""
    dropout: Share = 0.4
    """The same between recurrent layers and before each head."""
    recurrent_dropout: Share = 0.0
    """Share of each layer's state that is not read in training, the same at all steps of a sequence (Gal and Ghahramani 2016)."""


@dataclass(frozen=True)
class Target:
    """What a further head predicts: a label per step or per sequence, of so many."""

    task: Task
    num_labels: int


@dataclass(frozen=True)
class Sizes:
    """What a network must know of its data.

    Attributes:
        task: `tagging` (a label per step) or `classification` (a label per sequence).
        num_words: rows of the word table, padding and the unknown word among them.
        num_chars: rows of the character table, padding and the unknown character among them.
        num_labels: classes.
        vector_size: numbers per step where the input is numeric; 0 for text.
        num_fixed_words: the last rows of the word table, whose words only pre-trained vectors know; no training changes them.
        features: further column of the input -> rows of its table, padding and the unknown value among them.
        targets: further target -> what it is.
        labels: the classes' names, where the network must know them: for `bio`.
    """

    task: Task
    num_words: int
    num_chars: int
    num_labels: int
    vector_size: int = 0
    num_fixed_words: int = 0
    features: dict[str, int] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    @classmethod
    def load(cls, stored: dict[str, Any]) -> "Sizes":
        """Read what `dataclasses.asdict` gave, through JSON or not."""
        targets = {name: Target(**target) for name, target in stored["targets"].items()}
        return cls(**{**stored, "targets": targets, "labels": tuple(stored["labels"])})


@dataclass(frozen=True)
class Setting:
    """What a network is for, as far as it decides which options do something.

    Attributes:
        task: of the main target.
        is_numeric: the steps are numbers, not words.
        has_vectors: there are pre-trained word vectors.
        sequence_targets: the further targets that are a label per sequence.
    """

    task: Task
    is_numeric: bool = False
    has_vectors: bool = False
    sequence_targets: tuple[str, ...] = ()

    def pools(self, config: ModelConfig) -> bool:
        """Say whether any head of a network reads a whole sequence."""
        return self.task == "classification" or any(name in self.sequence_targets for name in config.heads)


@dataclass(frozen=True)
class _Rule:
    """When an option does something, and what it is for."""

    key: str
    applies: Callable[[ModelConfig, Setting], bool]
    purpose: str


_RULES = (
    _Rule("tune_vectors", lambda config, it: it.has_vectors and bool(config.word_size), "pre-trained vectors"),
    _Rule("char_hidden", lambda config, it: not it.is_numeric, "words"),
    _Rule("char_encoder", lambda config, it: not it.is_numeric and config.char_hidden != 0, "characters"),
    _Rule("char_size", lambda config, it: not it.is_numeric and config.char_hidden != 0, "characters"),
    _Rule("char_width", lambda config, it: config.char_encoder == "cnn", "char_encoder: cnn"),
    _Rule("features", lambda config, it: not it.is_numeric, "words"),
    _Rule("activation", lambda config, it: config.cell == "simple_rnn", "cell: simple_rnn"),
    _Rule("reset_after", lambda config, it: config.cell == "gru", "cell: gru"),
    _Rule("forget_bias", lambda config, it: config.cell == "lstm", "cell: lstm"),
    _Rule("merge", lambda config, it: config.bidirectional, "bidirectional: true"),
    _Rule("go_backwards", lambda config, it: not config.bidirectional, "bidirectional: false"),
    _Rule("residual", lambda config, it: len(config.hidden) > 1, "several layers"),
    _Rule("pooling", lambda config, it: it.pools(config), "classification"),
    _Rule("dense", lambda config, it: it.pools(config), "classification"),
    _Rule("crf", lambda config, it: it.task == "tagging", "tagging"),
    _Rule("bio", lambda config, it: config.crf, "crf: true"),
)


def find_idle(config: ModelConfig, setting: Setting) -> Iterator[tuple[str, str]]:
    """Yield every option that is set and would do nothing, with what it is for."""
    for rule in _RULES:
        if getattr(config, rule.key) != getattr(ModelConfig(), rule.key) and not rule.applies(config, setting):
            yield rule.key, rule.purpose


def is_idle(key: str, config: ModelConfig, setting: Setting) -> bool:
    """Say whether an option would do nothing in a network, whatever its value."""
    return any(rule.key == key and not rule.applies(config, setting) for rule in _RULES)


def rank(key: str) -> int:
    """Say how late an option is to be chosen: after those that decide whether it does something."""
    return [rule.key for rule in _RULES].index(key) + 1 if any(rule.key == key for rule in _RULES) else 0


def drop_idle(config: ModelConfig, setting: Setting) -> ModelConfig:
    """Take out every option that would do nothing: for a sweep, which changes the options that others hang on."""
    while idle := dict(find_idle(config, setting)):
        config = replace(config, **{key: getattr(ModelConfig(), key) for key in idle})
    return config


def find_clashes(config: ModelConfig, setting: Setting) -> Iterator[tuple[str, str]]:
    """Yield every option that can not be had with another: its key, and what is wrong and how to mend it."""
    if not config.hidden:
        yield "hidden", "is empty; fix: give the units of each layer, such as [200]"
    if setting.is_numeric and not config.word_size:
        yield "word_size", "is 0, so the numbers would go nowhere; fix: set the units of the linear layer that reads them"
    if not setting.is_numeric and not config.word_size and config.char_hidden == 0 and not config.features:
        yield "word_size", "and char_hidden are both 0, so nothing would be read; fix: set one of them"
    if config.residual and len(set(config.hidden)) > 1:
        yield "residual", f"adds what is of equal width; hidden is {list(config.hidden)}; fix: give all layers one width"
    is_merged = config.bidirectional and config.merge not in (None, "concat")
    if config.residual and is_merged and setting.pools(config) and config.pooling in (None, "final"):
        yield "residual", f"has no final state with merge: {config.merge}; fix: take merge: concat or another pooling"
