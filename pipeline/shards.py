"""A folder's shards labelled on a Ray cluster: a task per shard, each on one core, as many at once as there are cores.

All nodes must see the folders of the input and of the output, where the model is put for them. A shard whose node is lost goes
on elsewhere after its last part.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ray
from ray.exceptions import RayError

from pipeline.cluster import connected, preflight
from pipeline.config import ScalingConfig
from pipeline.digest import file_sha256
from pipeline.errors import InfrastructureError, UnrollError
from pipeline.files import STATES, Bar, Shard, label
from pipeline.manifest import MANIFEST


def run(shards: Sequence[Shard], out: Path) -> None:
    """Label shards on the cluster in `RAY_ADDRESS`; those that are finished are passed over.

    Raises:
        UnrollError: a shard can not be labelled. What is done stays.
        InfrastructureError: the cluster will not do, or a shard's task was lost time and again.
    """
    with connected(), Bar(shards) as bar:
        states = out / STATES
        states.mkdir(parents=True, exist_ok=True)
        preflight(str(states), ScalingConfig())
        model = _publish(shards[0].task.model, states)
        begun = {
            ray.remote(_label).options(num_cpus=1).remote(replace(shard, task=replace(shard.task, model=model))): shard
            for shard in shards
        }
        left = list(begun)
        while left:
            (done,), left = ray.wait(left)
            trouble = _result(done, begun[done])
            if trouble is not None:
                raise trouble
            bar.finish(begun[done])


def _label(shard: Shard) -> UnrollError | None:
    """Run on a node; an error is given, not raised: Ray would wrap it in its own."""
    try:
        label([shard], num_workers=1)
    except UnrollError as error:
        return error
    return None


def _result(task: ray.ObjectRef, shard: Shard) -> UnrollError | None:
    try:
        return ray.get(task)
    except RayError as error:
        text = str(error).strip().splitlines()[-1]
        raise InfrastructureError(f"{shard.path}: its task was lost; {text}; fix: run the same again: it goes on") from error


def _publish(model: Path, states: Path) -> Path:
    """Copy a model to where all nodes see it."""
    there = states / f".model-{file_sha256(model / MANIFEST)[:16]}"
    if not there.exists():
        beside = there.with_name(f"{there.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(model, beside)
        beside.rename(there)
    return there
