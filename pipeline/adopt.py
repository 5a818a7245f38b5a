"""What a sweep proposes, as a change to params.yaml, and making it: every comment and every other line stays."""

import difflib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from pipeline.checks import idle_elsewhere
from pipeline.errors import ParamsError
from pipeline.layout import Layout
from pipeline.params import CORPORA_FILE, PARAMS_FILE, load_config


@dataclass(frozen=True)
class Proposal:
    """A change to one pipeline.

    Attributes:
        pipeline: its name.
        changes: section -> key -> new value; null takes the key's default.
    """

    pipeline: str
    changes: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, layout: Layout) -> "Proposal":
        """Read what the last sweep of a pipeline proposed.

        Raises:
            ParamsError: there was none.
        """
        path = _path(layout)
        if not path.is_file():
            raise ParamsError(f"{path}: is not there; no sweep of {layout.pipeline} has ended; fix: run `unroll sweep` first")
        return cls(layout.pipeline, json.loads(path.read_text(encoding="utf-8")))

    def save(self, layout: Layout) -> None:
        """Keep it until it is adopted or another sweep ends."""
        _path(layout).write_text(json.dumps(self.changes), encoding="utf-8")

    def show(self, file: IO[str]) -> None:
        """Write it as it would stand in params.yaml."""
        sections = {section: {key: _written(value) for key, value in keys.items()} for section, keys in self.changes.items()}
        _yaml().dump({"pipelines": {self.pipeline: sections}}, file)


def run(layout: Layout, params_path: Path = PARAMS_FILE, corpora_path: Path = CORPORA_FILE) -> None:
    """Make the change that the last sweep of a pipeline proposed, and print it.

    Options of other sections that would then do nothing are taken out. The file is only replaced by one that is right.

    Raises:
        ParamsError: there is no proposal, or the file is wrong.
    """
    proposal = Proposal.load(layout)
    config, catalogue = load_config(params_path, corpora_path)
    if proposal.pipeline not in config.pipelines:
        raise ParamsError(f"{params_path}:1:1: has no pipeline {proposal.pipeline!r}, which the sweep was of; fix: name it again")
    pipeline = config.pipelines[proposal.pipeline]
    before = params_path.read_text(encoding="utf-8")
    tree = _yaml().load(before)
    node = tree["pipelines"][proposal.pipeline]
    for section, keys in proposal.changes.items():
        pipeline = replace(pipeline, **{section: replace(getattr(pipeline, section), **keys)})
        for key, value in keys.items():
            node[section][key] = _written(value)
    for section, key, _ in idle_elsewhere(pipeline, catalogue.corpora[pipeline.corpus]):
        if section:
            node.get(section, {}).pop(key, None)
        else:
            node[key] = None
    beside = params_path.with_suffix(".adopted.yaml")
    try:
        with beside.open("w", encoding="utf-8") as file:
            _yaml().dump(tree, file)
        load_config(beside, corpora_path)
        beside.replace(params_path)
    finally:
        beside.unlink(missing_ok=True)
    old, new = before.splitlines(), params_path.read_text(encoding="utf-8").splitlines()
    print("\n".join(difflib.unified_diff(old, new, str(params_path), str(params_path), lineterm="")) or "nothing to change")


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 1000
    yaml.preserve_quotes = True
    yaml.representer.add_representer(type(None), lambda representer, _: representer.represent_scalar(_NULL, "null"))
    return yaml


_NULL = "tag:yaml.org,2002:null"


def _written(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    row = CommentedSeq(value)
    row.fa.set_flow_style()
    return row


def _path(layout: Layout) -> Path:
    return layout.work_dir / "sweeps" / layout.pipeline / "proposal.json"
