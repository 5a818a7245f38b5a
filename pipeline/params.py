"""params.yaml and corpora.yaml, read once: every error of both is found at once and named with its line.

Neither torch nor ray is imported here: a wrong file is answered at once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from pipeline.checks import check_catalogue, check_names, check_params, did_you_mean
from pipeline.config import Catalogue, Config
from pipeline.errors import ParamsError
from pipeline.settings import Setting, blame, lay_over, read_settings
from pipeline.sweep_checks import check_sweep

if TYPE_CHECKING:
    from pydantic import ValidationError

PARAMS_FILE = Path("params.yaml")
CORPORA_FILE = Path("corpora.yaml")
_SHOWN = 200
"""Characters of a wrong value that are shown."""
_Root = TypeVar("_Root")


@dataclass(frozen=True)
class Problem:
    """One thing wrong, at its place: a line of a file, or a `--set`."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True)
class Params:
    """Both files, read and checked.

    Attributes:
        config: params.yaml, and what was set on the command line.
        catalogue: corpora.yaml.
        written: params.yaml as it was written and set, without defaults.
        settings: what was set on the command line.
    """

    config: Config
    catalogue: Catalogue
    written: Any
    settings: Sequence[Setting]


def load_config(
    params_path: Path = PARAMS_FILE, corpora_path: Path = CORPORA_FILE, settings: Sequence[str] = (), pipeline: str | None = None
) -> tuple[Config, Catalogue]:
    """Read and check both files, as `read_params` does."""
    params = read_params(params_path, corpora_path, settings, pipeline)
    return params.config, params.catalogue


def read_params(
    params_path: Path = PARAMS_FILE, corpora_path: Path = CORPORA_FILE, settings: Sequence[str] = (), pipeline: str | None = None
) -> Params:
    """Read and check both files.

    Args:
        params_path, corpora_path: of the files.
        settings: laid over params.yaml, such as `pipelines.pos.train.lr=1e-3`.
        pipeline: the one that shorter settings, such as `train.lr=1e-3`, belong to.

    Raises:
        ParamsError: with a line per problem, both files' and the settings' together.
    """
    problems: list[Problem | str] = []
    laid, wrong = read_settings(settings, pipeline)
    problems += wrong
    config, written = _load(params_path, Config, problems, laid)
    catalogue, corpora_tree = _load(corpora_path, Catalogue, problems)
    if catalogue is not None:
        problems += _across(config, written, params_path, catalogue, corpora_tree, corpora_path, laid)
    if problems:
        raise ParamsError("\n".join(str(problem) for problem in problems))
    assert config is not None and catalogue is not None
    return Params(config, catalogue, written, laid)


def _load(
    path: Path, root: type[_Root], problems: list[Problem | str], settings: Sequence[Setting] = ()
) -> tuple[_Root | None, Any]:
    from pydantic import TypeAdapter, ValidationError

    from pipeline.plain_yaml import YamlError, read_yaml

    try:
        tree = read_yaml(path)
    except YamlError as error:
        problems.append(Problem(f"{path}:{error.line}:{error.column}", str(error)))
        return None, None
    problems += lay_over(tree, settings)
    try:
        return TypeAdapter(root).validate_json(json.dumps(tree, default=str), strict=True), tree
    except ValidationError as error:
        problems += _explain(error, tree, path, root, settings)
        return None, tree


def _explain(error: "ValidationError", tree: Any, path: Path, root: type, settings: Sequence[Setting]) -> list[Problem]:
    """Turn pydantic's errors into lines of a file, sorted, without the branches of a union that were not meant."""
    found: dict[tuple[Any, ...], str] = {}
    for item in error.errors():
        if not _is_meant(item["loc"], tree):
            continue
        keys = tuple(key for key in item["loc"] if not _is_branch(key))
        name = ".".join(str(key) for key in keys)
        if item["type"] == "unexpected_keyword_argument":
            text = f"{name} is not a key here; {did_you_mean(str(keys[-1]), _keys_at(root, keys[:-1]))}"
        elif item["type"] in ("missing", "missing_argument"):
            text = f"{name} is missing; fix: add it"
        else:
            reason = item["msg"].removeprefix("Input ").removeprefix("Value error, ")
            text = f"{name} is {_shown(item['input'])}; it {reason}; fix: change the value"
        found.setdefault(keys, text)
    in_order = sorted(found, key=lambda keys: _position(tree, keys))
    return [Problem(_place(path, tree, keys, settings), found[keys]) for keys in in_order]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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


def _place(path: Path, tree: Any, keys: tuple[Any, ...], settings: Sequence[Setting]) -> str:
    """Name what set a key on the command line, else its line and column in the file."""
    line, column = _position(tree, keys)
    return blame(settings, keys) or f"{path}:{line}:{column}"


def _position(tree: Any, keys: tuple[Any, ...]) -> tuple[int, int]:
    """Find line and column, from 1, of a key; of the nearest one above where it is not in the file."""
    node, line, column = tree, 1, 1
    for key in keys:
        try:
            at = node.lc.item(key) if isinstance(key, int) else node.lc.key(key)
            node = node[key]
            line, column = at[0] + 1, at[1] + 1
        except (KeyError, IndexError, AttributeError, TypeError):  # not there, or set on the command line
            break
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


def _across(
    config: Config | None,
    params: Any,
    params_path: Path,
    catalogue: Catalogue,
    corpora: Any,
    corpora_path: Path,
    settings: Sequence[Setting],
) -> list[Problem]:
    """Check what one dataclass alone can not; of params.yaml that are wrong in themselves, the names in them."""
    complaints = list(check_names(catalogue, params) if config is None else check_params(config, catalogue, params))
    if config is not None and config.sweep is not None and not complaints:  # a sweep is as sound as the pipeline that it searches
        complaints += check_sweep(config.sweep, config, catalogue)
    found = []
    for it in complaints:
        text = f"{'.'.join(it.keys)} {it.text}"
        if settings and it.keys[2:3] == ("model",) and text.endswith("leave it out") and blame(settings, it.keys) is None:
            text += f", or add --set {'.'.join(it.keys)}=null"  # the file was right before something else was set
        found.append(Problem(_place(params_path, params, it.keys, settings), text))
    wrong = list(check_catalogue(catalogue))
    return found + [Problem(_place(corpora_path, corpora, it.keys, ()), f"{'.'.join(it.keys)} {it.text}") for it in wrong]
