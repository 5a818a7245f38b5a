"""A job's workers on Ray Train: how many there are, where, and what happens when one dies.

On a private Ray, which ends with this process, Ray Train does without what is for clusters: its controller runs here and not
in an actor, and no actors stand by that watch over the controller, share out datasets or ask an autoscaler for machines. Each
would be a Python process more, of seconds of start-up, and one would hold up the end for 10 s.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup
from torch import distributed

from pipeline.cluster import count_workers, is_on_loopback
from pipeline.config import ScalingConfig as Scaling
from pipeline.errors import InfrastructureError
from pipeline.job import Job
from pipeline.layout import WORK_DIR
from pipeline.masking import mask
from pipeline.messages import Channel, Trouble
from pipeline.storage import join
from pipeline.worker import ray_worker


def fit(job: Job, scaling: Scaling, channel: Channel, *, is_own: bool) -> None:
    """Train to the end; Ray is there already.

    Args:
        job: what to train.
        scaling: on how many workers.
        channel: to whoever shows the training.
        is_own: whether this process stays there as long as the training does; it then has Ray Train's controller in it.

    Raises:
        UnrollError: what a worker ended with that a person can mend.
        InfrastructureError: the cluster will not do, or workers died more often than `scaling.max_failures` allows.
    """
    num_workers, use_gpu = count_workers(scaling)
    is_elastic = scaling.min_workers is not None and scaling.min_workers < num_workers and not is_own
    with TemporaryDirectory(prefix="unroll-", ignore_cleanup_errors=True) as meeting_dir:
        trainer = (_PrivateTrainer if is_own else TorchTrainer)(
            ray_worker,
            train_loop_config={"job": job, "channel": channel},
            scaling_config=ScalingConfig(
                num_workers=(scaling.min_workers, num_workers) if is_elastic else num_workers,
                use_gpu=use_gpu,
                resources_per_worker={"CPU": scaling.cpus_per_worker},
            ),
            torch_config=_torch_config(scaling, meeting_dir if is_own or is_on_loopback() else None),
            run_config=RunConfig(
                name=f"{job.key}-{time.time_ns()}",
                storage_path=join(scaling.storage or WORK_DIR.resolve(), "ray"),
                failure_config=FailureConfig(max_failures=scaling.max_failures),
                logging_config=LoggingConfig("ERROR"),
                callbacks=[_Herald(channel)],
            ),
        )
        try:
            trouble = trainer.fit().return_value
        except ray.train.TrainingFailedError as error:
            raise InfrastructureError(
                f"training failed {scaling.max_failures + 1} times; {error}; fix: see the cause above, then run again: it goes "
                "on from the last checkpoint"
            ) from error
    if trouble is not None:
        raise trouble


def _torch_config(scaling: Scaling, meeting_dir: str | None) -> TorchConfig:
    timeout = ceil(scaling.hang_seconds)
    return TorchConfig(timeout_s=timeout) if meeting_dir is None else _LocalTorch(timeout_s=timeout, folder=meeting_dir)


@dataclass
class _LocalTorch(TorchConfig):  # type: ignore[misc]
    """For workers that are all on one machine: they meet in a file. Torch's other meeting place listens on all its addresses.

    Attributes:
        folder: for the file, which is a new one each time that workers start.
    """

    folder: str = ""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _LocalBackend


class _LocalBackend(_TorchBackend):  # type: ignore[misc]
    def on_start(self, worker_group: WorkerGroup, backend_config: _LocalTorch) -> None:
        worker_group.execute(_set_torch_distributed_env_vars)
        path = f"{backend_config.folder}/meeting-{time.time_ns()}"
        further = (len(worker_group), path, backend_config.backend, backend_config.timeout_s)
        ray.get([worker_group.execute_single_async(rank, _meet, rank, *further) for rank in range(len(worker_group))])


def _meet(rank: int, num_workers: int, path: str, backend: str, timeout_seconds: int) -> None:
    store = distributed.FileStore(path, num_workers)  # type: ignore[attr-defined]
    timeout = timedelta(seconds=timeout_seconds)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=num_workers, timeout=timeout)


class _Herald(UserCallback):  # type: ignore[misc]
    """Tells what ended the work of some workers; called where Ray Train's controller is."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def after_exception(self, run_context: TrainRunContext, worker_exceptions: dict[int, Exception]) -> None:
        """Tell of all workers at once."""
        told = (f"worker {rank} {_short(error)}" for rank, error in sorted(worker_exceptions.items()))
        self._channel.emit(Trouble("; ".join(told)))


def _short(error: Exception) -> str:
    text = str(error).strip()
    if "died" in text and ("actor" in text or "node" in text):
        return "was killed, or its machine was lost"
    return f"failed: {mask(text.splitlines()[-1])}"


class _PrivateTrainer(TorchTrainer):  # type: ignore[misc]
    def _create_default_callbacks(self) -> list[Any]:
        for_clusters = (PlacementGroupCleanerCallback, DatasetsCallback)
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, for_clusters)]

    def _initialize_and_run_controller(self, **options: Any) -> ray.train.Result:
        controller = _PrivateController(**options | {"scaling_policy": _PrivateScaling(self.scaling_config)})
        asyncio.run(controller.run())
        return controller.get_result()


class _PrivateScaling(FixedScalingPolicy):  # type: ignore[misc]
    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        pass

    def _maybe_send_resource_request(self) -> None:
        pass


class _PrivateWorkers(WorkerGroup):  # type: ignore[misc]
    def _init_train_context_on_workers(
        self, workers: list[Worker], sync_actor: ActorHandle, further: dict[str, list[Any]]
    ) -> None:
        """As its parent does, without the controller's handle, which only an actor has; our workers do not ask for it."""
        begun = [
            worker.actor.init_train_context.remote(
                train_run_context=self._train_run_context,
                distributed_context=worker.distributed_context,
                synchronization_actor=sync_actor,
                storage_context=self._storage_context,
                worker_callbacks=self._worker_callbacks_to_propagate,
                controller_actor=None,
                **{name: values[number] for name, values in further.items()},
            )
            for number, worker in enumerate(workers)
        ]
        ray.get(begun)
        self._decorate_worker_log_file_paths(workers)

    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: dict[str, Any]) -> dict[str, Any]:
        """Ask for no environment of its own, which takes one more process per worker: all have this process's anyway."""
        return custom_runtime_env


class _PrivateController(TrainController):  # type: ignore[misc]
    worker_group_cls = _PrivateWorkers
