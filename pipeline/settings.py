"""What `--set` says on a command line, laid over params.yaml before it is checked, so that it is checked as the file is.

A key is written as `dvc exp run -S` takes it, `pipelines.pos.train.lr=1e-3`, or, where a pipeline is chosen, without its
beginning: `train.lr=1e-3`. A value is YAML and takes the place of the whole value that was there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from pipeline.checks import did_you_mean
from pipeline.config import Config, PipelineConfig

_ROOTS = [item.name for item in fields(Config)]
_SECTIONS = [item.name for item in fields(PipelineConfig)]


@dataclass(frozen=True)
class Setting:
    """One `--set`.

    Attributes:
        text: as it was written.
        keys: the path in params.yaml that it sets.
        value: what it is set to.
    """

    text: str
    keys: tuple[str, ...]
    value: Any

    def __str__(self) -> str:
        return f"--set {self.text}"


def read_settings(texts: Sequence[str], pipeline: str | None) -> tuple[list[Setting], list[str]]:
    """Read what was written, in order; gives what is wrong with some of it, too, a line each.

    Args:
        texts: such as `train.lr=1e-3`.
        pipeline: that short keys belong to; None where no pipeline is chosen.
    """
    settings: list[Setting] = []
    problems: list[str] = []
    for text in texts:
        key, sign, value = text.partition("=")
        first = key.split(".")[0]
        if not sign:
            problems.append(f"--set {text}: has no value; fix: write {text}=VALUE")
        elif not all(key.split(".")):
            problems.append(f"--set {text}: names no key; fix: write train.lr=1e-3 or pipelines.NAME.train.lr=1e-3")
        elif first in _SECTIONS and pipeline is None:
            problems.append(f"--set {text}: belongs to no pipeline; fix: write pipelines.NAME.{text}")
        elif first not in _ROOTS + _SECTIONS:
            problems.append(f"--set {text}: {first} is not a key here; {did_you_mean(first, _ROOTS + _SECTIONS)}")
        else:
            keys = tuple(key.split("."))
            before = () if first in _ROOTS else ("pipelines", pipeline or "")
            read, problem = _read_value(value)
            if problem is None:
                settings.append(Setting(text, before + keys, read))
            else:
                problems.append(f"--set {text}: {problem}")
    return settings, problems


def _read_value(text: str) -> tuple[Any, str | None]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="rt").load(text), None
    except (YAMLError, ValueError) as error:
        return None, f"the value is not YAML; {str(getattr(error, 'problem', error)).splitlines()[0]}; fix: mend or quote it"


def lay_over(tree: Any, settings: Sequence[Setting]) -> list[str]:
    """Set values in params.yaml's tree, a later one over an earlier one; returns what is wrong, a line each."""
    problems: list[str] = []
    for setting in settings:
        if not isinstance(tree, dict):
            return problems  # the file itself is wrong, which is told of it
        names = tree.get("pipelines")
        if setting.keys[0] == "pipelines" and len(setting.keys) > 2 and isinstance(names, dict) and setting.keys[1] not in names:
            name = setting.keys[1]
            problems.append(f"{setting}: params.yaml has no pipeline {name!r}; {did_you_mean(name, list(map(str, names)))}")
            continue
        node = tree
        for number, key in enumerate(setting.keys[:-1], start=1):
            below = node.get(key)
            if below is not None and not isinstance(below, dict):
                place = ".".join(setting.keys[:number])
                problems.append(f"{setting}: {place} is {below!r}, which has no keys; fix: set {place} as a whole")
                break
            if below is None:
                node[key] = {}
            node = node[key]
        else:
            node[setting.keys[-1]] = setting.value
    return problems


def blame(settings: Sequence[Setting], keys: tuple[Any, ...]) -> str | None:
    """Name what set a key of params.yaml, or else all that set something below it; None where nothing did."""
    above = [setting for setting in settings if keys[: len(setting.keys)] == setting.keys]
    below = [setting for setting in settings if setting.keys[: len(keys)] == keys]
    return " ".join(str(setting) for setting in above[-1:] or below) or None
