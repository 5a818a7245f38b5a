"""Where a registered model came from, and whether all that is still here: version, run, commit, data, corpus, sweep."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree
from ruamel.yaml import YAML

from pipeline import commits, registry, tracking, versions
from pipeline.config import Catalogue
from pipeline.masking import mask
from pipeline.origin import FOLDERS, WEIGHTS

LOCK_FILE = Path("dvc.lock")
_WIDTH = 1000
"""Of what is not a terminal: no line is cut there."""
_STAGES = {"prepared": "prepare", "encoded": "encode", "model": "train"}
"""Folder of a pipeline -> the stage that writes it."""


def run(address: str, catalogue: Catalogue, lock_path: Path = LOCK_FILE) -> None:
    """Print a version's lineage.

    Args:
        address: such as `pos@champion` or `pos/3`.
        catalogue: what corpora.yaml says here.
        lock_path: what DVC says here.

    Raises:
        ParamsError: there is no such version.
    """
    version = registry.resolve(address)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    console.print(draw(version, catalogue, lock_path))


def draw(version: versions.Version, catalogue: Catalogue, lock_path: Path) -> Tree:
    """Give a version's lineage as a tree, from the version back to its corpus."""
    tags = version.tags
    scores = {key: value for key, value in json.loads(tags.get("scores", "{}")).items() if "floor" not in key}
    aliases = "".join(f", {alias}" for alias in registry.aliases(version))
    tree = Tree(f"[bold]{escape(version.name)} version {version.number}[/bold]{aliases}")
    _add(tree, "scores", ", ".join(f"{key} {value:.4f}" for key, value in scores.items()) or None)
    _add(tree, "weights", tags.get(WEIGHTS), "sha256 ")
    run = _add(tree, "run", tracking.about_run(version.run_id) or f"{version.run_id}, which this store does not have")
    commit = _add(run, "commit", _about_commit(tags.get("git_commit", "none")))
    if "environment" in tags:
        _add(commit, "environment", ", ".join(f"{name} {value}" for name, value in json.loads(tags["environment"]).items()))
    locked = _locked(version.name, lock_path)
    data = commit.add("data, as DVC hashes it")
    for folder in FOLDERS:
        _add(data, folder, _beside(tags.get(f"md5_{folder}"), locked.get(folder), lock_path))
    corpus = _add(data, "corpus", tags.get("corpus"))
    _add(corpus, "source", _about_source(tags, catalogue))
    _add(tree, "sweep", (tracking.about_run(tags["sweep"]) or tags["sweep"]) if "sweep" in tags else "none")
    return tree


def _add(tree: Tree, what: str, text: str | None, prefix: str = "") -> Tree:
    return tree.add(f"{what}: {escape(prefix + mask(text)) if text else 'not noted'}")


def _about_commit(commit: str) -> str:
    if commit == "none":
        return "none; it was trained outside git"
    if commit.endswith("+"):
        return f"{commit[:-1]} and changes that were not committed"
    return f"{commit} {commits.title(commit)}" if commits.is_known(commit) else f"{commit}, which is not in this repository"


def _beside(noted: str | None, here: str | None, lock_path: Path) -> str | None:
    if noted is None:
        return None
    if here is None:
        return f"{noted}; {lock_path} here has none"
    return f"{noted}, as in {lock_path} here" if noted == here else f"{noted}; differs from {lock_path} here, {here}"


def _about_source(tags: dict[str, str], catalogue: Catalogue) -> str | None:
    noted = tags.get("corpus_source")
    if noted is None:
        return None
    source, entry = json.loads(noted), catalogue.corpora.get(tags["corpus"])
    is_same = entry is not None and json.loads(json.dumps(asdict(entry.source))) == source
    return f"{_told(source)}; corpora.yaml here {'says the same' if is_same else 'differs'}"


def _told(source: dict[str, Any]) -> str:
    if source["kind"] == "wheel":
        return f"{source['package']}, sha256 {source['sha256']}"
    if source["kind"] == "url":
        return source["base"] + "; " + ", ".join(f"{name} sha256 {file['sha256']}" for name, file in source["files"].items())
    return source["path"]


def _locked(name: str, lock_path: Path) -> dict[str, str]:
    """Give the hash of each folder of a pipeline, as DVC has noted it here."""
    if not lock_path.is_file():
        return {}
    stages = YAML(typ="safe").load(lock_path.read_text(encoding="utf-8")).get("stages", {})
    outs = {folder: stages.get(f"{stage}@{name}", {}).get("outs", []) for folder, stage in _STAGES.items()}
    return {folder: out["md5"] for folder, found in outs.items() for out in found if out["path"].endswith(f"/{folder}")}
