"""Where to run: this machine's own Ray, or the cluster in `RAY_ADDRESS`; what is there, and how work is sent to it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import ray
from ray.exceptions import RaySystemError

import models
import pipeline
from pipeline.config import ScalingConfig
from pipeline.environment import MEMORY, RAY
from pipeline.errors import InfrastructureError

_PROBE_SECONDS = 5.0
_MOST_CPU_WORKERS = 4
"""More processes than this gain little on one machine's cores: the network is small beside its gradient's journey."""


@contextmanager
def connected(least_cpus: int = 1) -> Iterator[None]:
    """Join the cluster in `RAY_ADDRESS`, or start a private one on this machine and end it afterwards.

    Args:
        least_cpus: logical cores that a private one must offer, even where the machine has fewer.

    Raises:
        InfrastructureError: the cluster does not answer.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    quiet = ray.LoggingConfig(log_level="ERROR")
    if not is_private():
        _probe(address)
        code = {"py_modules": [models, pipeline], "env_vars": RAY | MEMORY}
        try:
            ray.init(address=address, runtime_env=code, logging_config=quiet, log_to_driver=False)
        except (ConnectionError, RaySystemError) as error:
            raise InfrastructureError(
                f"RAY_ADDRESS={address}: the cluster does not take us in; {str(error).splitlines()[0]}; fix: use the cluster's "
                "token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH) and its versions of Ray and Python"
            ) from error
    else:
        num_cpus = max(os.cpu_count() or 1, least_cpus)
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            logging_config=quiet,
            log_to_driver=False,
            _system_config={"prestart_worker_first_driver": False},  # none would be used: ours have an environment of their own
        )
    try:
        yield
    finally:
        ray.shutdown()


def is_private() -> bool:
    """Say whether work runs on a Ray of this process's own, not on the cluster in `RAY_ADDRESS`."""
    return os.environ.get("RAY_ADDRESS", "local") in ("", "local")


def count_workers(scaling: ScalingConfig) -> tuple[int, bool]:
    """Say how many training processes to start on the cluster that is joined, and whether each has a GPU.

    Raises:
        InfrastructureError: the cluster is smaller than what is asked for.
    """
    there = ray.cluster_resources()
    num_gpus, num_cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    most = num_gpus or max(1, num_cpus // scaling.cpus_per_worker)
    if scaling.num_workers is None:
        return (num_gpus, True) if num_gpus else (min(most, _MOST_CPU_WORKERS), False)
    use_gpu = num_gpus >= scaling.num_workers
    if not use_gpu and scaling.num_workers * scaling.cpus_per_worker > num_cpus:
        raise InfrastructureError(
            f"scaling asks for {scaling.num_workers} workers of {scaling.cpus_per_worker} cores; the cluster has {num_cpus} "
            f"cores and {num_gpus} GPUs; fix: lower scaling.num_workers or join a larger cluster in RAY_ADDRESS"
        )
    return scaling.num_workers, use_gpu


def describe() -> str:
    """Say in one line where work would run, without starting anything.

    Raises:
        InfrastructureError: the cluster does not answer.
    """
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return f"this machine, {os.cpu_count()} cores (RAY_ADDRESS is not set)"
    _probe(address)
    return f"cluster {address} (RAY_ADDRESS)"


def _probe(address: str) -> None:
    """Knock at the address: Ray itself would wait for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname is None or parts.port is None:
        return  # `auto`: Ray finds a running cluster or says that there is none
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=_PROBE_SECONDS).close()
    except OSError as error:
        raise InfrastructureError(
            f"RAY_ADDRESS={address}: no cluster answers; {error}; fix: start one (`ray start --head`) or unset RAY_ADDRESS"
        ) from error
