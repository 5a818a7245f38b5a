"""A version made again from its commit, params and corpus, with nothing that is kept here, and held against what was registered.

It happens in a folder and a tracking store of its own: neither this folder nor the real store is written to. Weights are the same
to the last bit on one machine, as long as the same parts of each step are read (`train.accumulate`, or as many workers).
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from models.config import ModelConfig
from pipeline import commits, registry
from pipeline.config import EncodeConfig, SplitConfig, TrainConfig
from pipeline.digest import file_sha256
from pipeline.errors import InfrastructureError, IntegrityError, ParamsError
from pipeline.layout import WORK_DIR, Layout
from pipeline.origin import WEIGHTS, environment, weights_sha256
from pipeline.params import CORPORA_FILE, PARAMS_FILE
from pipeline.tracking import param_of
from pipeline.versions import Version

_DEFAULTS: dict[str, Any] = {"split": SplitConfig(), "encode": EncodeConfig(), "model": ModelConfig(), "train": TrainConfig()}
_ABSENT = "absent"
_WIDTH = 200
"""Of what is not a terminal: two hashes beside each other."""


@dataclass(frozen=True)
class Row:
    """One thing that was registered, and what it is now.

    Attributes:
        name: of it.
        was: with the version.
        now: made again.
        decides: whether the version counts as reproduced only where it is equal.
    """

    name: str
    was: str
    now: str
    decides: bool = True

    @property
    def is_equal(self) -> bool:
        """Whether it is the same, to the last digit."""
        return self.was == self.now


def run(address: str, work_dir: Path = WORK_DIR) -> None:
    """Make a version again and print how it compares; the folder is kept where it differs.

    Args:
        address: such as `pos/3`.
        work_dir: of this project.

    Raises:
        ParamsError: there is no such version, or nothing tells what it was made from.
        IntegrityError: what came out is not what was registered.
        InfrastructureError: git or a stage failed.
    """
    version = registry.resolve(address)
    commit = _demand_origin(version)
    folder = (work_dir / "reproduce" / f"{version.name}-{version.number}").resolve()
    home = commits.check_out(commit, folder)
    write_params(home / PARAMS_FILE, version)
    write_corpora(home / CORPORA_FILE, version)
    print(f"{version.name} version {version.number}: stages up to evaluate, at {commit[:10]}, in {folder}", flush=True)
    _run_stages(home, version.name)
    rows = compare(version, Layout(version.name, home / "data"))
    _show(version, rows)
    differing = [row.name for row in rows if row.decides and not row.is_equal]
    if differing:
        raise IntegrityError(
            f"{folder}:1:1: is not {version.name} version {version.number}; {', '.join(differing)} differ; the folder is kept; "
            "fix: look for what else is other than it was, such as the machine or the number of workers"
        )
    commits.remove(folder)
    print(f"{version.name} version {version.number} is reproduced: equal weights, equal scores")


def _demand_origin(version: Version) -> str:
    """Give the commit of a version that can be made again.

    Raises:
        ParamsError: it can not.
    """
    what, commit = f"{version.name} version {version.number}", version.tags.get("git_commit", "none")
    lacks = [key for key in ("params", "scores", WEIGHTS) if key not in version.tags]
    if lacks:
        raise ParamsError(f"{what}: its tags lack {', '.join(lacks)}; fix: register its run again")
    if commit == "none":
        raise ParamsError(f"{what}: was made outside git, so nothing tells by which code; fix: train in a repository")
    if commit.endswith("+"):
        raise ParamsError(f"{what}: was made with changes to {commit[:10]} that were not committed; fix: commit, then train")
    if not commits.is_known(commit):
        raise ParamsError(f"{what}: its commit {commit[:10]} is not in this repository; fix: `git fetch`")
    return commit


def write_params(path: Path, version: Version) -> None:
    """Have a commit's params.yaml say what the version was made with, which is something else after a sweep."""
    yaml = YAML()
    tree = yaml.load(path.read_text(encoding="utf-8"))
    if version.name not in tree["pipelines"]:
        raise ParamsError(f"{path}:1:1: has no pipeline {version.name!r}; its version can not be made again; fix: use another")
    node, params = tree["pipelines"][version.name], json.loads(version.tags["params"])
    changed = _overlay(node, {key: params[key] for key in ("corpus", "vectors")}, {"vectors": None})
    for section, default in _DEFAULTS.items():
        changed |= _overlay(node[section], params[section], json.loads(json.dumps(asdict(default))))
    if "sweep" in version.tags:
        workers = param_of(version.tags["sweep"], "workers_per_trial")
        tree.setdefault("scaling", {})["num_workers"] = int(workers or 1)
        changed = True
    if changed:
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)


def _overlay(node: Any, params: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Set what differs in a section; what it leaves out and is as the default has it stays out."""
    wrong = [key for key, value in params.items() if value != node.get(key, defaults.get(key))]
    for key in wrong:
        node[key] = params[key]
    return bool(wrong)


def write_corpora(path: Path, version: Version) -> None:
    """Have files of one's own, which a commit does not hold, found where they are."""
    yaml = YAML()
    tree = yaml.load(path.read_text(encoding="utf-8"))
    source = tree["corpora"][json.loads(version.tags["params"])["corpus"]]["source"]
    if source["kind"] == "path" and not (path.parent / source["path"]).exists():
        source["path"] = str(Path(source["path"]).resolve())
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)


def _run_stages(home: Path, name: str) -> None:
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}", "PYTHONPATH": str(home)}
    own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if "UNROLL_MIRROR" in os.environ:
        own["UNROLL_MIRROR"] = str(Path(os.environ["UNROLL_MIRROR"]).resolve())
    command = ["dvc", "repro", "--force", "--no-run-cache", "--no-commit", f"evaluate@{name}"]
    try:
        code = subprocess.run(command, cwd=home, env={**os.environ, **own}, check=False).returncode
    except OSError as error:
        raise InfrastructureError(f"dvc: can not be run; {error.strerror}; fix: `make setup`") from error
    if code:
        raise InfrastructureError(f"{home}: dvc ended with {code}; a stage failed, as it says above; fix: mend that; run again")


def compare(version: Version, layout: Layout) -> list[Row]:
    """Hold a model and its report against a version's tags: the weights and each score decide, data and machine explain.

    Raises:
        IntegrityError: the model is not what was written.
    """
    tags, metrics = version.tags, json.loads((layout.report_dir / "metrics.json").read_text(encoding="utf-8"))
    scores = json.loads(tags["scores"])
    rows = [Row("weights sha256", tags[WEIGHTS], weights_sha256(layout.model_dir))]
    rows += [Row(name, _digits(scores, name), _digits(metrics, name)) for name in {**scores, **metrics}]
    data = {path.stem: file_sha256(path) for path in sorted(layout.prepared_dir.glob("*.parquet"))}
    rows += [Row(f"{name} sha256", tags.get(f"sha256_{name}", _ABSENT), now, decides=False) for name, now in data.items()]
    was, now = json.loads(tags.get("environment", "{}")), environment()
    return rows + [Row(name, was[name], now.get(name, _ABSENT), decides=False) for name in was if was[name] != now.get(name)]


def _digits(scores: Mapping[str, float], name: str) -> str:
    return repr(scores[name]) if name in scores else _ABSENT


def _show(version: Version, rows: list[Row]) -> None:
    table = Table("", f"{version.name} version {version.number}", "made again", "")
    for row in rows:
        table.add_row(row.name, row.was, row.now, "equal" if row.is_equal else "differs")
    Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH).print(table)
