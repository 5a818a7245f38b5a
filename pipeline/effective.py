"""The params that a command would use, as YAML or JSON that can be read back: params.yaml, what was set, and every default."""

import json
import sys
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from pipeline.checks import idle_elsewhere
from pipeline.params import Params
from pipeline.settings import blame

_COLUMN = 40
"""Where remarks begin."""
Keys = tuple[str, ...]


@dataclass(frozen=True)
class _Leaf:
    """A value, and where it comes from where that is not params.yaml."""

    value: Any
    remark: str | None


def run(params: Params, pipeline: str | None, *, as_json: bool) -> None:
    """Print what params.yaml comes to.

    Args:
        params: as they were read.
        pipeline: the only one to show, with `scaling`; None shows all.
        as_json: without remarks.
    """
    tree = _section(params.config, params, ())
    if pipeline is not None:
        tree = {"pipelines": {pipeline: tree["pipelines"][pipeline]}, "scaling": tree["scaling"]}
    if as_json:
        print(json.dumps(_bare(tree), indent=2, ensure_ascii=False))
        return
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Writes null, which is else nothing."""

    Representer.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer, yaml.width = Representer, 1000
    yaml.dump(_with_remarks(tree), sys.stdout)


def _section(section: Any, params: Params, at: Keys) -> dict[str, Any]:
    """Give a section's keys, but for defaults that would do nothing."""
    named = {item.name: getattr(section, item.name) for item in fields(section)} if is_dataclass(section) else section
    idle = _idle(params, at)
    found: dict[str, Any] = {}
    for name, value in named.items():
        keys = (*at, name)
        if keys in idle and value not in (None, 0, False):
            continue
        is_section = is_dataclass(value) or keys == ("pipelines",)
        found[name] = _section(value, params, keys) if is_section else _Leaf(_plain(value), _remark(params, keys))
    return found


def _idle(params: Params, at: Keys) -> set[Keys]:
    """Name the keys of a pipeline whose defaults would do nothing: written out, each would be an error."""
    if len(at) < 2 or at[0] != "pipelines":
        return set()
    pipeline = params.config.pipelines[at[1]]
    idle = idle_elsewhere(pipeline, params.catalogue.corpora[pipeline.corpus])
    return {(*at[:2], *((section, key) if section else (key,))) for section, key, _ in idle}


def _plain(value: Any) -> Any:
    """Turn a value into what YAML and JSON have."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(part) for key, part in asdict(value).items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _remark(params: Params, keys: Keys) -> str | None:
    node = params.written
    for key in keys:
        node = node.get(key, _ABSENT) if isinstance(node, dict) else _ABSENT
    return "--set" if blame(params.settings, keys) else "default" if node is _ABSENT else None


_ABSENT = object()


def _bare(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: _bare(value) if isinstance(value, dict) else value.value for key, value in tree.items()}


def _with_remarks(tree: dict[str, Any]) -> Any:
    """Give what ruamel.yaml writes: sections in blocks, values on one line, remarks behind them."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    shown = CommentedMap()
    for key, value in tree.items():
        if isinstance(value, dict):
            shown[key] = _with_remarks(value)
            continue
        shown[key] = value.value
        if isinstance(value.value, list | dict):
            shown[key] = CommentedSeq(value.value) if isinstance(value.value, list) else CommentedMap(value.value)
            shown[key].fa.set_flow_style()
        if value.remark is not None:
            shown.yaml_add_eol_comment(value.remark, key, column=_COLUMN)
    return shown
