"""What a sweep chooses from: values and ranges for any key of a pipeline's network and training.

A key is chosen after those that decide whether it does something, and only where it does: so no two samples differ in what
changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from models.config import ModelConfig, drop_idle, is_idle, rank
from pipeline.checks import idle_elsewhere, setting_for
from pipeline.config import CorpusConfig, PipelineConfig, SweepSpace, TrainConfig

SECTIONS: dict[str, type] = {"model": ModelConfig, "train": TrainConfig}
WIDTH = ("layers", "units")
"""The choices that together make `model.hidden`."""


@dataclass(frozen=True)
class Values:
    """One of these is taken."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Interval:
    """A number from `low` to `high` is taken, on a logarithmic scale or a plain one."""

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False


Choice = Values | Interval
Chosen = dict[str, Any]
"""A sample: `layers`, `units`, `model.<key>`, `train.<key>` -> what was taken; those that would do nothing are not there."""
SEED, EPOCHS = "train.seed", "train.epochs"
"""Further parts of a sample: of one that is trained again, and of one that is trained for a time."""
Ask = Callable[[str, Choice], Any]


def field_type(section: str, key: str) -> Any:
    """Give the annotated type of a key of params.yaml."""
    return get_type_hints(SECTIONS[section], include_extras=True)[key]


def number_type(kind: Any) -> type | None:
    """Give int or float where an annotated type is one, or one or nothing; else None."""
    if kind in (int, float):
        return kind
    parts = get_args(kind) if get_origin(kind) in (Annotated, Union, UnionType) else ()
    return next(filter(None, map(number_type, parts)), None)


@dataclass(frozen=True)
class Space:
    """The choices around a pipeline.

    Attributes:
        choices: name -> choice, in the order in which they are taken.
        pipeline: what holds where nothing is chosen.
        corpus: its corpus.
    """

    choices: dict[str, Choice]
    pipeline: PipelineConfig
    corpus: CorpusConfig

    @classmethod
    def of(cls, written: SweepSpace, pipeline: PipelineConfig, corpus: CorpusConfig) -> "Space":
        """Make the space that params.yaml names, which was checked."""
        choices: dict[str, Choice] = {name: Values(getattr(written, name)) for name in WIDTH if getattr(written, name)}
        for section in SECTIONS:
            keys = getattr(written, section)
            for key in sorted(keys, key=rank):
                choices[f"{section}.{key}"] = read_choice(keys[key], field_type(section, key))
        return cls(choices, pipeline, corpus)

    def apply(self, chosen: Chosen) -> PipelineConfig:
        """Give the pipeline as a sample has it, without options that do nothing beside what was chosen."""
        sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for name, value in chosen.items():
            section, _, key = name.partition(".")
            if key:
                sections[section][key] = tuple(value) if isinstance(value, list) else value
        model = self.pipeline.model
        if any(name in chosen for name in WIDTH):
            units = chosen.get("units", model.hidden[0])
            sections["model"]["hidden"] = (units,) * chosen.get("layers", len(model.hidden))
        model = drop_idle(replace(model, **sections["model"]), setting_for(self.pipeline, self.corpus))
        applied = replace(self.pipeline, model=model, train=replace(self.pipeline.train, **sections["train"]))
        idle = [key for section, key, _ in idle_elsewhere(applied, self.corpus) if section == "train"]
        return replace(applied, train=replace(applied.train, **{key: getattr(TrainConfig(), key) for key in idle}))

    def is_idle(self, name: str, chosen: Chosen) -> bool:
        """Say whether a choice would do nothing beside what was chosen before."""
        section, _, key = name.partition(".")
        applied = self.apply(chosen)
        if section == "model":
            return is_idle(key, applied.model, setting_for(self.pipeline, self.corpus))
        return any((section, key) == found[:2] for found in idle_elsewhere(applied, self.corpus))

    def draw(self, ask: Ask) -> Chosen:
        """Take one sample, asking for each choice in turn."""
        chosen: Chosen = {}
        for name, choice in self.choices.items():
            if not self.is_idle(name, chosen):
                chosen[name] = ask(name, choice)
        return chosen

    def grid(self) -> Iterator[Chosen]:
        """Take every sample once; of a range its two ends."""
        path: list[list[int]] = []  # of each choice on the way, its place among its values and their number
        while True:
            depth = 0

            def ask(name: str, choice: Choice) -> Any:
                nonlocal depth
                values = choice.values if isinstance(choice, Values) else (choice.low, choice.high)
                if depth == len(path):
                    path.append([0, len(values)])
                depth += 1
                return values[path[depth - 1][0]]

            yield self.draw(ask)
            while path and path[-1][0] + 1 == path[-1][1]:
                path.pop()
            if not path:
                return
            path[-1][0] += 1


def read_choice(written: Any, kind: Any) -> Choice:
    """Turn what params.yaml has for a key of some type into a choice; it was checked."""
    if isinstance(written, dict):
        return Interval(written["min"], written["max"], written.get("log", False), number_type(kind) is int)
    return Values(tuple(tuple(value) if isinstance(value, list) else value for value in written))
