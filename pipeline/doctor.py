"""What is installed, what there is to compute with, and whether the stores answer: the first thing to look at."""

import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.environment import is_private
from pipeline.errors import InfrastructureError, ParamsError
from pipeline.layout import WORK_DIR
from pipeline.masking import mask
from pipeline.params import load_config

_PACKAGES = ("torch", "ray", "mlflow", "dvc", "polars", "optuna", "numpy")
_LEAST_FREE_GB = 2.0


def run() -> bool:
    """Print a table of findings; returns whether all is well."""
    table = Table(title="unroll doctor")
    for heading in ("what", "found", ""):
        table.add_column(heading)
    all_well = True
    for name, look in CHECKS.items():
        found, is_well = look()
        all_well &= is_well
        table.add_row(name, mask(found), "ok" if is_well else "look here")
    Console().print(table)
    return all_well


def _packages() -> tuple[str, bool]:
    found, all_there = [f"python {platform.python_version()}"], True
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing: run `make setup`")
            all_there = False
    return ", ".join(found), all_there


def _devices() -> tuple[str, bool]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{os.cpu_count()} cores" + (f", {', '.join(gpus)}" if gpus else ", no GPU"), True


def _cluster() -> tuple[str, bool]:
    if is_private():
        return f"this machine, {os.cpu_count()} cores (RAY_ADDRESS is not set)", True
    from pipeline.cluster import connected, find_problems, look_around

    storage = _storage()
    try:
        with connected():
            nodes = look_around(storage)
    except InfrastructureError as error:
        return str(error), False
    problems = find_problems(nodes, storage)
    found = [f"cluster {os.environ['RAY_ADDRESS']} (RAY_ADDRESS), {len(nodes)} nodes"]
    for node in nodes:
        versions = ", ".join(f"{name} {number}" for name, number in node.versions.items())
        sees = "sees" if node.sees_storage else "does not see"
        found.append(f"{node.name}: {node.cpus} cores, {node.gpus} GPUs, {versions or 'no answer'}, {sees} {storage}")
    return "\n".join(found + problems), not problems


def _storage() -> str:
    """Give the address of what workers must see: scaling.storage, or this project's folder."""
    try:
        scaling = load_config()[0].scaling
    except ParamsError:
        return str(Path.cwd())
    return scaling.storage or str(Path.cwd())


def _tracking() -> tuple[str, bool]:
    from pipeline.tracking import deliver_what_waits
    from pipeline.tracking_store import count_experiments, shown_uri

    try:
        num_waiting = deliver_what_waits(WORK_DIR)
        found = f"{shown_uri()}, {count_experiments()} experiments"
    except InfrastructureError as error:
        return str(error), False
    return found + (f", {num_waiting:,} values still wait for it" if num_waiting else ""), num_waiting == 0


def _disk() -> tuple[str, bool]:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    return f"{free_gb:.1f} GB free here", free_gb >= _LEAST_FREE_GB


def _project() -> tuple[str, bool]:
    try:
        config, catalogue = load_config()
    except ParamsError as error:
        return str(error), False
    return f"pipelines {', '.join(config.pipelines)}; {len(catalogue.corpora)} corpora in the catalogue", True


CHECKS: dict[str, Callable[[], tuple[str, bool]]] = {
    "packages": _packages,
    "devices": _devices,
    "cluster": _cluster,
    "tracking": _tracking,
    "disk": _disk,
    "project": _project,
}
